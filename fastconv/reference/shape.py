"""Flattening, which moves no element."""

from math import prod

import numpy as np


def flatten(x, start_dim=1, end_dim=-1) -> np.ndarray:
    """Return x with the axes from `start_dim` to `end_dim`, both included, made into one."""
    first, last = start_dim % x.ndim, end_dim % x.ndim
    return np.array(x, np.float64).reshape(*x.shape[:first], prod(x.shape[first : last + 1]), *x.shape[last + 1 :])


def flatten_backward(dy, x, start_dim=1, end_dim=-1) -> np.ndarray:
    """Return dy in the shape of x."""
    return np.array(dy, np.float64).reshape(x.shape)
