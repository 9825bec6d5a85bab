"""The fully connected layer."""

from math import prod

import numpy as np

from fastconv import runtime
from fastconv.arguments import as_flag, as_needs
from fastconv.arrays import check_shape, reals
from fastconv.cpu import gemm


def linear(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None, *, relu: bool = False, return_saved: bool = False
):
    """Fully connected layer: ``x @ w.T + b``.

    Parameters
    ----------
    x : (..., in) ndarray
        float32 or float64.
    w : (out, in) ndarray
    b : (out,) ndarray, optional
    relu : bool
        Return ``relu(y)`` in place of `y`, in the same pass over memory.
    return_saved : bool
        Return what `linear_backward` takes as `saved`, too.

    Returns
    -------
    y : (..., out) ndarray
    saved : (..., out) ndarray
        `y` again. Only with `return_saved`.

    Raises
    ------
    TypeError, ValueError
        Arrays of another dtype, or of shapes that do not fit.
    """
    op = "linear"
    x, w, b = reals(op, x=x, w=w, b=b)
    _check(op, x, w, b)
    y = runtime.empty((*x.shape[:-1], w.shape[0]), x.dtype)
    as_flag(op, "relu", relu)
    if y.size:
        gemm.linear(_matrix(x), w, b, _matrix(y), relu)
    return (y, y) if as_flag(op, "return_saved", return_saved) else y


def linear_backward(
    dy: np.ndarray,
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    needs: tuple[bool, bool, bool] = (True, True, True),
    *,
    relu: bool = False,
    saved: np.ndarray | None = None,
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
    relu : bool
        Whether `linear` was given it.
    saved : (..., out) ndarray, optional
        What `linear` returned with ``return_saved=True``; only `relu` needs it, and computes it again without it.

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
    dy, x, w, b, y = reals(op, dy=dy, x=x, w=w, b=b, saved=saved)
    _check(op, x, w, b)
    expected = (*x.shape[:-1], w.shape[0])
    if dy.shape != expected:
        raise ValueError(f"{op}: dy must have the shape of the output, {expected}, got {dy.shape}")
    if y is not None:
        check_shape(op, "saved", y, expected)
    if not as_flag(op, "relu", relu):
        y = None
    elif y is None:
        y = linear(x, w, b, relu=True)
    need_x, need_w, need_b = as_needs(op, needs)
    dx = runtime.empty(x.shape, x.dtype) if need_x else None
    dw = runtime.zeros(w.shape, x.dtype) if need_w else None
    db = runtime.zeros(b.shape, x.dtype) if need_b and b is not None else None
    if dy.size:
        gemm.linear_backward(*map(_matrix, (dy, x, w, y, dx, dw)), db)
    return dx, dw, db


def _matrix(array: np.ndarray | None) -> np.ndarray | None:
    if array is None or array.ndim == 2:
        return array
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
