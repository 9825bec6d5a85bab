"""The fully connected layer."""

from math import prod

import numpy as np

from fastconv import runtime
from fastconv.arguments import as_needs
from fastconv.arrays import reals
from fastconv.cpu import gemm


def linear(x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
    """Fully connected layer: ``x @ w.T + b``.

    Parameters
    ----------
    x : (..., in) ndarray
        float32 or float64.
    w : (out, in) ndarray
    b : (out,) ndarray, optional

    Returns
    -------
    (..., out) ndarray
        `y`.

    Raises
    ------
    TypeError, ValueError
        Arrays of another dtype, or of shapes that do not fit.
    """
    op = "linear"
    x, w, b = reals(op, x=x, w=w, b=b)
    _check(op, x, w, b)
    y = runtime.empty((*x.shape[:-1], w.shape[0]), x.dtype)
    if y.size:
        gemm.linear(_matrix(x), w, b, _matrix(y))
    return y


def linear_backward(
    dy: np.ndarray,
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    needs: tuple[bool, bool, bool] = (True, True, True),
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """Gradients of `linear`: ``dy @ w``, ``dy.T @ x`` and the sum of dy over all but its last axis.

    Parameters
    ----------
    dy : (..., out) ndarray
        Gradient of the result.
    x, w, b : ndarray
        What `linear` was given.
    needs : (bool, bool, bool)
        Which of the three gradients are wanted.

    Returns
    -------
    dx, dw, db : ndarray or None
        None where it is not wanted, and for `db` where `b` is None.

    Raises
    ------
    TypeError, ValueError
        Arrays of another dtype, or of shapes that do not fit.
    """
    op = "linear_backward"
    dy, x, w, b = reals(op, dy=dy, x=x, w=w, b=b)
    _check(op, x, w, b)
    expected = (*x.shape[:-1], w.shape[0])
    if dy.shape != expected:
        raise ValueError(f"{op}: dy must have the shape of the output, {expected}, got {dy.shape}")
    need_x, need_w, need_b = as_needs(op, needs)
    dx = runtime.empty(x.shape, x.dtype) if need_x else None
    dw = runtime.zeros(w.shape, x.dtype) if need_w else None
    db = runtime.zeros(b.shape, x.dtype) if need_b and b is not None else None
    if dy.size:
        gemm.linear_backward(_matrix(dy), _matrix(x), w, None if dx is None else _matrix(dx), dw, db)
    return dx, dw, db


def _matrix(array: np.ndarray) -> np.ndarray:
    return array.reshape(prod(array.shape[:-1]), array.shape[-1])


def _check(op: str, x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> None:
    if w is None:
        raise TypeError(f"{op}: w must be a numpy.ndarray, got None")
    if w.ndim != 2 or not w.size:
        raise ValueError(f"{op}: w must have shape (out, in), neither of them empty, got {w.shape}")
    if x.ndim < 1 or x.shape[-1] != w.shape[1]:
        raise ValueError(f"{op}: x must have shape (..., {w.shape[1]}) for w of shape {w.shape}, got {x.shape}")
    if b is not None and b.shape != (w.shape[0],):
        raise ValueError(f"{op}: b must have shape ({w.shape[0]},), one bias per output, got {b.shape}")
