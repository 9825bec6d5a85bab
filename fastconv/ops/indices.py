"""Indices into planes that come from outside: a kernel believes them, so they are looked at first."""

from math import prod

import numpy as np


def check_indices(op: str, name: str, indices: np.ndarray, size: tuple[int, ...]) -> None:
    """Raise ValueError unless all indices, int64, lie in planes of `size`."""
    places = prod(size)
    if indices.size and indices.view(np.uint64).max() >= places:  # one look finds those below 0 as well
        low, high = indices.min(), indices.max()
        raise ValueError(f"{op}: {name} must lie from 0 to {places - 1}, in planes of {size}, got {low} to {high}")
