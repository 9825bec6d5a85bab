"""Convolution, and its gradients."""

import numpy as np

from fastconv import runtime
from fastconv.arguments import as_needs
from fastconv.arrays import reals
from fastconv.cpu import choose, direct, direct_weight
from fastconv.cpu.loop import Program
from fastconv.geometry import ConvGeometry

ALGORITHMS = ("auto", "direct", "winograd")
PRECISIONS = ("fp32", "strict")

Padding = int | str | tuple[int | tuple[int, int], ...]


def conv2d(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    stride: int | tuple[int, int] = 1,
    padding: Padding = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
    *,
    algorithm: str = "auto",
    precision: str = "fp32",
) -> np.ndarray:
    """Convolve in two dimensions (cross-correlation, as in every deep-learning library).

    The result is ::

        y[n, co, oh, ow] = b[co] + sum over ci, kh, kw of
            w[co, ci, kh, kw] * x[n, ci, oh * stride + kh * dilation - padding, ow * stride + kw * dilation - padding]

    Where the sum leaves `x` it adds nothing: NaN and Inf reach only outputs whose window holds them.

    Parameters
    ----------
    x : (n, ci, h, w) ndarray
        float32 or float64.
    w : (co, ci / groups, kh, kw) ndarray
    b : (co,) ndarray, optional
    stride, dilation : int or (int, int)
    padding : int, (int, int), ((int, int), (int, int)), 'same' or 'valid'
        Zeros around the input: for both axes, for each axis, or for each end of each axis.
    groups : int
        The channels are split into this many independent convolutions.
    algorithm : 'auto', 'direct' or 'winograd'
        ``'direct'`` sums the products as they stand. ``'winograd'`` does a 3 x 3 kernel of stride 1 with a quarter of
        the multiplications (A. Lavin and S. Gray, arXiv:1509.09308): in float32 errors relative to the largest output
        are up to 5e-6 instead of 1e-6. ``'auto'`` takes the fastest; the size of the batch has no part in that.
    precision : 'fp32' or 'strict'
        ``'strict'`` allows direct sums only.

    Returns
    -------
    (n, co, oh, ow) ndarray
        `y`, with ``oh = (h + before + after - dilation * (kh - 1) - 1) // stride + 1``; likewise `ow`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type or value; the message names it.
    MemoryError
        There is no memory for the result.
    """
    op = "conv2d"
    x, w, b = reals(op, x=x, w=w, b=b)
    geometry = _geometry(op, x, w, b, stride, padding, dilation, groups)
    algorithm = _algorithm(op, geometry, algorithm, precision)
    y = runtime.empty(geometry.y_shape, x.dtype)
    if y.size:
        _finite_plan("forward_plan", w, geometry, x.dtype, b is not None, algorithm=algorithm)(x, w, b, y)
    return y


def conv2d_backward(
    dy: np.ndarray,
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    stride: int | tuple[int, int] = 1,
    padding: Padding = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
    needs: tuple[bool, bool, bool] = (True, True, True),
    *,
    algorithm: str = "auto",
    precision: str = "fp32",
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """Gradients of `conv2d` with respect to its three arrays.

    Parameters
    ----------
    dy : (n, co, oh, ow) ndarray
        Gradient of the result.
    x, w, b, stride, padding, dilation, groups
        What `conv2d` was given.
    needs : (bool, bool, bool)
        Which of the three gradients are wanted.
    algorithm, precision : str
        As in `conv2d`, for each of the gradients.

    Returns
    -------
    dx, dw, db : ndarray or None
        None where it is not wanted, and for `db` where `b` is None.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type or value; the message names it.
    MemoryError
        There is no memory for a result.
    """
    op = "conv2d_backward"
    dy, x, w, b = reals(op, dy=dy, x=x, w=w, b=b)
    geometry = _geometry(op, x, w, b, stride, padding, dilation, groups)
    geometry.check_gradient(op, dy.shape)
    algorithm = _algorithm(op, geometry, algorithm, precision)
    need_x, need_w, need_b = as_needs(op, needs)
    dx = _input_gradient(dy, w, geometry, algorithm) if need_x else None
    if not need_w:
        return dx, None, dy.sum(axis=(0, 2, 3)) if need_b and b is not None else None
    dw, db = _weight_gradient(x, dy, geometry, algorithm)
    return dx, dw, db if need_b and b is not None else None


def _input_gradient(dy: np.ndarray, w: np.ndarray, geometry: ConvGeometry, algorithm: str) -> np.ndarray:
    dx = runtime.empty(geometry.x_shape, dy.dtype)
    if dx.size:
        _finite_plan("backward_data_plan", w, geometry, dy.dtype, algorithm=algorithm)(dy, w, None, dx)
    return dx


def _weight_gradient(
    x: np.ndarray, dy: np.ndarray, geometry: ConvGeometry, algorithm: str
) -> tuple[np.ndarray, np.ndarray]:
    dw = runtime.empty(geometry.w_shape, x.dtype)
    db = runtime.empty((geometry.out_channels,), x.dtype)
    plan = choose.backward_weight_plan(geometry, x.dtype, algorithm)
    plan(x, dy, dw, db)
    if plan.multiplies_padding and not np.isfinite(dw).all():  # 0 * inf: perhaps from padding, which adds nothing
        direct_weight.backward_weight_plan(geometry, x.dtype, exact=True)(x, dy, dw, db)
    return dw, db


def _finite_plan(kind: str, w: np.ndarray, *about: object, algorithm: str) -> Program:
    """Return the plan; an exact one where weights that are not finite would make NaN of padding."""
    plan = getattr(choose, kind)(*about, algorithm)
    if plan.multiplies_padding and not np.isfinite(w).all():
        return getattr(direct, kind)(*about, exact=True)
    return plan


def _algorithm(op: str, geometry: ConvGeometry, algorithm: str, precision: str) -> str:
    """Return the algorithm to choose from, checked."""
    for name, value, known in (("algorithm", algorithm, ALGORITHMS), ("precision", precision, PRECISIONS)):
        if not isinstance(value, str):
            raise TypeError(f"{op}: {name} must be a string, got {value!r}")
        if value not in known:
            raise ValueError(f"{op}: {name} must be one of {known}, got {value!r}")
    if algorithm == "winograd":
        if precision == "strict":
            raise ValueError(f"{op}: precision='strict' allows direct sums only, got algorithm='winograd'")
        reason = choose.why_not_winograd(geometry)
        if reason:
            raise ValueError(f"{op}: algorithm='winograd' does not fit this convolution: {reason}")
    return "direct" if precision == "strict" else algorithm


def _geometry(op, x, w, b, stride, padding, dilation, groups) -> ConvGeometry:
    b_shape = None if b is None else b.shape
    return ConvGeometry.make(op, x.shape, w.shape, b_shape, stride, padding, dilation, groups)
