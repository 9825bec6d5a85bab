"""LP pooling along one, two or three axes: the norm of what lies in each window."""

from math import isfinite
from numbers import Real

import numpy as np

from fastconv import runtime
from fastconv.arguments import as_flag
from fastconv.arrays import check_shape, reals
from fastconv.cpu import pool_powers
from fastconv.geometry import PoolGeometry
from fastconv.ops.batch import add_batch, remove_batch


def lp_pool2d(
    x: np.ndarray, norm_type: float, kernel_size, stride=None, ceil_mode: bool = False, *, return_saved: bool = False
):
    """Root of the sum of powers in each window, ``y = (sum x**p) ** (1 / p)``.

    As in PyTorch it is `x` that is raised to the power, not its magnitude: with p odd or no whole number, a negative
    sum gives NaN. A window that hangs over the end, with `ceil_mode`, counts as if its mean were that of a whole one.

    Parameters
    ----------
    x : (n, c, h, w) or (c, h, w) ndarray
        float32 or float64. Without a batch the result has none.
    norm_type : float
        The exponent p > 0: 1 gives sums, 2 Euclidean norms; towards infinity the result tends to the maximum.
    kernel_size, stride : int or (int, int)
        The window, and its steps (`kernel_size` if None).
    ceil_mode : bool
        Whether a last window that hangs over the end counts.
    return_saved : bool
        Return what `lp_pool2d_backward` takes as `saved`, too.

    Returns
    -------
    y : (n, c, oh, ow) ndarray
    saved : (n, c, oh, ow) ndarray
        `y` itself. Only with `return_saved`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type, shape or value; the message names it.
    """
    return _forward("lp_pool2d", 2, x, norm_type, (kernel_size, stride, 0, 1, ceil_mode), return_saved)


def lp_pool2d_backward(
    dy: np.ndarray,
    x: np.ndarray,
    norm_type: float,
    kernel_size,
    stride=None,
    ceil_mode: bool = False,
    *,
    saved: np.ndarray | None = None,
) -> np.ndarray:
    """Gradient of `lp_pool2d`, ``dx = dy (x / y) ** (p - 1)`` summed over windows.

    Where y is 0 there is no derivative, as at the tip of a cone; the gradient is 0 there.

    Parameters
    ----------
    dy : (n, c, oh, ow) or (c, oh, ow) ndarray
        Gradient of the result.
    x : (n, c, h, w) or (c, h, w) ndarray
        What `lp_pool2d` was given.
    norm_type, kernel_size, stride, ceil_mode
        As `lp_pool2d` was given them.
    saved : (n, c, oh, ow) ndarray, optional
        What `lp_pool2d` returned; computed again without it.

    Returns
    -------
    (n, c, h, w) ndarray
        `dx`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type, shape or value; the message names it.
    """
    return _backward("lp_pool2d_backward", 2, dy, x, norm_type, (kernel_size, stride, 0, 1, ceil_mode), saved)


def lp_pool1d(
    x: np.ndarray, norm_type: float, kernel_size, stride=None, ceil_mode: bool = False, *, return_saved: bool = False
):
    """`lp_pool2d` along one axis.

    Parameters
    ----------
    x : (n, c, w) or (c, w) ndarray
    norm_type, kernel_size, stride, ceil_mode, return_saved
        As in `lp_pool2d`.

    Returns
    -------
    (n, c, ow) ndarray
        `y`, with `saved` if it is asked for.

    Raises
    ------
    TypeError, ValueError
        As from `lp_pool2d`.
    """
    return _forward("lp_pool1d", 1, x, norm_type, (kernel_size, stride, 0, 1, ceil_mode), return_saved)


def lp_pool1d_backward(
    dy: np.ndarray,
    x: np.ndarray,
    norm_type: float,
    kernel_size,
    stride=None,
    ceil_mode: bool = False,
    *,
    saved: np.ndarray | None = None,
) -> np.ndarray:
    """Gradient of `lp_pool1d`.

    Parameters
    ----------
    dy : (n, c, ow) ndarray
    x : (n, c, w) or (c, w) ndarray
    norm_type, kernel_size, stride, ceil_mode, saved
        As in `lp_pool2d_backward`.

    Returns
    -------
    (n, c, w) ndarray
        `dx`.

    Raises
    ------
    TypeError, ValueError
        As from `lp_pool2d_backward`.
    """
    return _backward("lp_pool1d_backward", 1, dy, x, norm_type, (kernel_size, stride, 0, 1, ceil_mode), saved)


def lp_pool3d(
    x: np.ndarray, norm_type: float, kernel_size, stride=None, ceil_mode: bool = False, *, return_saved: bool = False
):
    """`lp_pool2d` along three axes.

    Parameters
    ----------
    x : (n, c, d, h, w) or (c, d, h, w) ndarray
    norm_type, kernel_size, stride, ceil_mode, return_saved
        As in `lp_pool2d`.

    Returns
    -------
    (n, c, od, oh, ow) ndarray
        `y`, with `saved` if it is asked for.

    Raises
    ------
    TypeError, ValueError
        As from `lp_pool2d`.
    """
    return _forward("lp_pool3d", 3, x, norm_type, (kernel_size, stride, 0, 1, ceil_mode), return_saved)


def lp_pool3d_backward(
    dy: np.ndarray,
    x: np.ndarray,
    norm_type: float,
    kernel_size,
    stride=None,
    ceil_mode: bool = False,
    *,
    saved: np.ndarray | None = None,
) -> np.ndarray:
    """Gradient of `lp_pool3d`.

    Parameters
    ----------
    dy : (n, c, od, oh, ow) ndarray
    x : (n, c, d, h, w) or (c, d, h, w) ndarray
    norm_type, kernel_size, stride, ceil_mode, saved
        As in `lp_pool2d_backward`.

    Returns
    -------
    (n, c, d, h, w) ndarray
        `dx`.

    Raises
    ------
    TypeError, ValueError
        As from `lp_pool2d_backward`.
    """
    return _backward("lp_pool3d_backward", 3, dy, x, norm_type, (kernel_size, stride, 0, 1, ceil_mode), saved)


def _forward(op, ndim, x, norm_type, window, return_saved):
    (x,) = reals(op, x=x)
    single, x = add_batch(ndim + 2, x)
    geometry = PoolGeometry.make(op, x.shape, *window, ndim=ndim)
    norm_type = _exponent(op, norm_type)
    as_flag(op, "return_saved", return_saved)
    y = remove_batch(single, _lp_pool(x, geometry, norm_type))
    return (y, y) if return_saved else y


def _backward(op, ndim, dy, x, norm_type, window, saved):
    dy, x, y = reals(op, dy=dy, x=x, saved=saved)
    single, x, dy, y = add_batch(ndim + 2, x, dy, y)
    geometry = PoolGeometry.make(op, x.shape, *window, ndim=ndim)
    geometry.check_gradient(op, dy.shape)
    norm_type = _exponent(op, norm_type)
    if y is None:
        y = _lp_pool(x, geometry, norm_type)
    check_shape(op, "saved", y, geometry.y_shape)
    dx = runtime.empty(x.shape, x.dtype)
    pool_powers.lp_pool_backward(dy, x, y, dx, geometry, norm_type)
    return remove_batch(single, dx)


def _lp_pool(x: np.ndarray, geometry: PoolGeometry, norm_type: float) -> np.ndarray:
    y = runtime.empty(geometry.y_shape, x.dtype)
    pool_powers.lp_pool(x, y, geometry, norm_type)
    return y


def _exponent(op: str, norm_type: float) -> float:
    if not isinstance(norm_type, Real) or isinstance(norm_type, bool):
        raise TypeError(f"{op}: norm_type must be a number, got {norm_type!r} ({type(norm_type).__name__})")
    if not (norm_type > 0 and isfinite(norm_type)):
        raise ValueError(f"{op}: norm_type must be positive and finite, got {norm_type!r}")
    return float(norm_type)
