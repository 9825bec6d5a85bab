"""The softmax family, which normalises along one axis."""

import numpy as np

from fastconv import runtime
from fastconv.arguments import as_int
from fastconv.arrays import check_shape, reals
from fastconv.cpu import softmax as kernels


def softmax(x: np.ndarray, dim: int = -1) -> np.ndarray:
    """Exponentials that are scaled to sum to 1 along an axis.

    Parameters
    ----------
    x : ndarray
        float32 or float64, at least one axis.
    dim : int
        Axis along which the sum runs.

    Returns
    -------
    ndarray
        `y`, of the shape and dtype of `x`.

    Raises
    ------
    TypeError, ValueError
        `x` is no array of float32 or float64, or `dim` is not one of its axes.
    """
    return _along("softmax", dim, *reals("softmax", x=x))


def softmax_backward(dy: np.ndarray, x: np.ndarray, dim: int = -1, *, saved: np.ndarray | None = None) -> np.ndarray:
    """Gradient of `softmax`: ``y * (dy - sum(dy * y))``.

    Parameters
    ----------
    dy, x : ndarray
        Gradient of the result, and what `softmax` was given; of one shape and dtype.
    dim : int
        Axis along which the sum runs.
    saved : ndarray, optional
        The result of `softmax`, which is computed again without it.

    Returns
    -------
    ndarray
        `dx`, of the shape of `x`.

    Raises
    ------
    TypeError, ValueError
        Arrays of another dtype or shape, or `dim` is not one of their axes.
    """
    return _along_backward("softmax", dim, dy, x, saved)


def log_softmax(x: np.ndarray, dim: int = -1) -> np.ndarray:
    """Logarithm of `softmax`, exact also where that underflows.

    Parameters
    ----------
    x : ndarray
        float32 or float64, at least one axis.
    dim : int
        Axis along which the sum runs.

    Returns
    -------
    ndarray
        `y`, of the shape and dtype of `x`.

    Raises
    ------
    TypeError, ValueError
        `x` is no array of float32 or float64, or `dim` is not one of its axes.
    """
    return _along("log_softmax", dim, *reals("log_softmax", x=x))


def log_softmax_backward(
    dy: np.ndarray, x: np.ndarray, dim: int = -1, *, saved: np.ndarray | None = None
) -> np.ndarray:
    """Gradient of `log_softmax`: ``dy - exp(y) * sum(dy)``.

    Parameters
    ----------
    dy, x : ndarray
        Gradient of the result, and what `log_softmax` was given; of one shape and dtype.
    dim : int
        Axis along which the sum runs.
    saved : ndarray, optional
        The result of `log_softmax`, which is computed again without it.

    Returns
    -------
    ndarray
        `dx`, of the shape of `x`.

    Raises
    ------
    TypeError, ValueError
        Arrays of another dtype or shape, or `dim` is not one of their axes.
    """
    return _along_backward("log_softmax", dim, dy, x, saved)


def _along(op: str, dim: int, *arrays: np.ndarray) -> np.ndarray:
    """Run an op along axis `dim` of arrays of one shape."""
    shape = arrays[0].shape
    if not shape:
        raise ValueError(f"{op}: x must have at least one axis, got shape ()")
    axis = as_int(op, "dim", dim, low=-len(shape), high=len(shape) - 1) % len(shape)
    result = runtime.empty(shape, arrays[0].dtype)
    if result.size:
        kernels.run(op, axis, *arrays, result)
    return result


def _along_backward(forward: str, dim: int, dy, x, saved) -> np.ndarray:
    op = f"{forward}_backward"
    dy, x, y = reals(op, dy=dy, x=x, saved=saved)
    check_shape(op, "dy", dy, x.shape)
    y = _along(forward, dim, x) if y is None else y
    check_shape(op, "saved", y, x.shape)
    return _along(op, dim, dy, y)
