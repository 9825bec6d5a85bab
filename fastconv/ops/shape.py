"""Flattening, between convolutions and fully connected layers."""

from math import prod

import numpy as np

from fastconv import runtime
from fastconv.arguments import as_int
from fastconv.arrays import check_shape, reals


def flatten(x: np.ndarray, start_dim: int = 1, end_dim: int = -1) -> np.ndarray:
    """Make one axis of several neighbouring ones.

    Parameters
    ----------
    x : ndarray
        float32 or float64.
    start_dim, end_dim : int
        First and last of the axes, both included.

    Returns
    -------
    ndarray
        A copy of `x` in its new shape, (n, c * h * w) from (n, c, h, w).

    Raises
    ------
    TypeError, ValueError
        `x` is no array of float32 or float64, or there are no such axes.
    """
    op = "flatten"
    (x,) = reals(op, x=x)
    return _copy(x, _flat_shape(op, x.shape, start_dim, end_dim))


def flatten_backward(dy: np.ndarray, x: np.ndarray, start_dim: int = 1, end_dim: int = -1) -> np.ndarray:
    """Gradient of `flatten`: dy in the shape of x.

    Parameters
    ----------
    dy, x : ndarray
        Gradient of the result, and what `flatten` was given.
    start_dim, end_dim : int
        As `flatten` was given them.

    Returns
    -------
    ndarray
        `dx`, a copy.

    Raises
    ------
    TypeError, ValueError
        Arrays of another dtype or shape, or there are no such axes.
    """
    op = "flatten_backward"
    dy, x = reals(op, dy=dy, x=x)
    check_shape(op, "dy", dy, _flat_shape(op, x.shape, start_dim, end_dim))
    return _copy(dy, x.shape)


def _flat_shape(op: str, shape: tuple[int, ...], start_dim: int, end_dim: int) -> tuple[int, ...]:
    if not shape:
        raise ValueError(f"{op}: x must have at least one axis, got shape ()")
    ndim = len(shape)
    first = as_int(op, "start_dim", start_dim, low=-ndim, high=ndim - 1) % ndim
    last = as_int(op, "end_dim", end_dim, low=-ndim, high=ndim - 1) % ndim
    if first > last:
        raise ValueError(f"{op}: start_dim must not exceed end_dim, got {start_dim} and {end_dim} for shape {shape}")
    return (*shape[:first], prod(shape[first : last + 1]), *shape[last + 1 :])


def _copy(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    result = runtime.empty(shape, array.dtype)
    np.copyto(result, array.reshape(shape))
    return result
