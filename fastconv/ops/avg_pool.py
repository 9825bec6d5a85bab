"""Average pooling along one, two or three axes."""

import numpy as np

from fastconv import runtime
from fastconv.arguments import as_flag, as_int
from fastconv.arrays import reals
from fastconv.cpu import pool
from fastconv.geometry import PoolGeometry
from fastconv.ops.batch import add_batch, remove_batch


def avg_pool2d(
    x: np.ndarray,
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> np.ndarray:
    """Mean of each window.

    Parameters
    ----------
    x : (n, c, h, w) or (c, h, w) ndarray
        float32 or float64. Without a batch the result has none.
    kernel_size, stride : int or (int, int)
        The window, and its steps (`kernel_size` if None).
    padding : int, (int, int), pairs (before, after), 'same' or 'valid'
        At most half the window.
    ceil_mode : bool
        Whether a last window that hangs over the padded end counts.
    count_include_pad : bool
        Whether the sum is divided by the number of elements with those of the padding, or of real ones only.
    divisor_override : int, optional
        By what the sum is divided instead.

    Returns
    -------
    (n, c, oh, ow) ndarray
        `y`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type, shape or value; the message names it.
    """
    window = kernel_size, stride, padding, 1, ceil_mode
    return _forward("avg_pool2d", 2, x, window, count_include_pad, divisor_override)


def avg_pool2d_backward(
    dy: np.ndarray,
    x: np.ndarray,
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> np.ndarray:
    """Gradient of `avg_pool2d`: each output's gradient goes to the elements of its window in equal shares.

    Parameters
    ----------
    dy : (n, c, oh, ow) or (c, oh, ow) ndarray
        Gradient of the result.
    x : (n, c, h, w) or (c, h, w) ndarray
        What `avg_pool2d` was given; only its shape and dtype count.
    kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
        As `avg_pool2d` was given them.

    Returns
    -------
    (n, c, h, w) ndarray
        `dx`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type, shape or value; the message names it.
    """
    window = kernel_size, stride, padding, 1, ceil_mode
    return _backward("avg_pool2d_backward", 2, dy, x, window, count_include_pad, divisor_override)


def avg_pool1d(
    x: np.ndarray,
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> np.ndarray:
    """`avg_pool2d` along one axis.

    Parameters
    ----------
    x : (n, c, w) or (c, w) ndarray
    kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
        As in `avg_pool2d`.

    Returns
    -------
    (n, c, ow) ndarray
        `y`.

    Raises
    ------
    TypeError, ValueError
        As from `avg_pool2d`.
    """
    window = kernel_size, stride, padding, 1, ceil_mode
    return _forward("avg_pool1d", 1, x, window, count_include_pad, divisor_override)


def avg_pool1d_backward(
    dy: np.ndarray,
    x: np.ndarray,
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> np.ndarray:
    """Gradient of `avg_pool1d`.

    Parameters
    ----------
    dy : (n, c, ow) ndarray
    x : (n, c, w) or (c, w) ndarray
    kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
        As in `avg_pool2d_backward`.

    Returns
    -------
    (n, c, w) ndarray
        `dx`.

    Raises
    ------
    TypeError, ValueError
        As from `avg_pool2d_backward`.
    """
    window = kernel_size, stride, padding, 1, ceil_mode
    return _backward("avg_pool1d_backward", 1, dy, x, window, count_include_pad, divisor_override)


def avg_pool3d(
    x: np.ndarray,
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> np.ndarray:
    """`avg_pool2d` along three axes.

    Parameters
    ----------
    x : (n, c, d, h, w) or (c, d, h, w) ndarray
    kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
        As in `avg_pool2d`.

    Returns
    -------
    (n, c, od, oh, ow) ndarray
        `y`.

    Raises
    ------
    TypeError, ValueError
        As from `avg_pool2d`.
    """
    window = kernel_size, stride, padding, 1, ceil_mode
    return _forward("avg_pool3d", 3, x, window, count_include_pad, divisor_override)


def avg_pool3d_backward(
    dy: np.ndarray,
    x: np.ndarray,
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> np.ndarray:
    """Gradient of `avg_pool3d`.

    Parameters
    ----------
    dy : (n, c, od, oh, ow) ndarray
    x : (n, c, d, h, w) or (c, d, h, w) ndarray
    kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
        As in `avg_pool2d_backward`.

    Returns
    -------
    (n, c, d, h, w) ndarray
        `dx`.

    Raises
    ------
    TypeError, ValueError
        As from `avg_pool2d_backward`.
    """
    window = kernel_size, stride, padding, 1, ceil_mode
    return _backward("avg_pool3d_backward", 3, dy, x, window, count_include_pad, divisor_override)


def _forward(op, ndim, x, window, count_include_pad, divisor_override):
    (x,) = reals(op, x=x)
    single, x = add_batch(ndim + 2, x)
    geometry = PoolGeometry.make(op, x.shape, *window, ndim=ndim)
    counting = _counting(op, count_include_pad, divisor_override)
    y = runtime.empty(geometry.y_shape, x.dtype)
    pool.avg_pool(x, y, geometry, *counting)
    return remove_batch(single, y)


def _backward(op, ndim, dy, x, window, count_include_pad, divisor_override):
    dy, x = reals(op, dy=dy, x=x)
    single, x, dy = add_batch(ndim + 2, x, dy)
    geometry = PoolGeometry.make(op, x.shape, *window, ndim=ndim)
    geometry.check_gradient(op, dy.shape)
    counting = _counting(op, count_include_pad, divisor_override)
    dx = runtime.empty(x.shape, x.dtype)
    pool.avg_pool_backward(dy, dx, geometry, *counting)
    return remove_batch(single, dx)


def _counting(op: str, count_include_pad: bool, divisor_override: int | None) -> tuple[bool, int | None]:
    divisor = None if divisor_override is None else as_int(op, "divisor_override", divisor_override, low=1)
    return as_flag(op, "count_include_pad", count_include_pad), divisor
