"""Inputs without a batch, one axis fewer, as PyTorch accepts them: they get a batch of one, and lose it again."""

import numpy as np


def add_batch(rank: int, *arrays: np.ndarray | None) -> tuple:
    """Return whether the first array lacks its batch axis, and the arrays, with that axis if it does.

    Parameters
    ----------
    rank : int
        Number of axes of an array with a batch.
    *arrays : ndarray or None
    """
    if arrays[0].ndim != rank - 1:
        return False, *arrays
    return True, *(None if array is None else array[None] for array in arrays)


def remove_batch(single: bool, array: np.ndarray | None) -> np.ndarray | None:
    """Undo `add_batch`: drop the first axis if `single`."""
    return array[0] if single and array is not None else array
