"""Adaptive pooling along one, two or three axes: to a given size, whatever that of the input."""

import numpy as np

from fastconv import runtime
from fastconv.arguments import as_flag
from fastconv.arrays import check_shape, integers, reals
from fastconv.cpu import adaptive, pool, unpool
from fastconv.geometry import AdaptiveGeometry
from fastconv.ops.batch import add_batch, remove_batch
from fastconv.ops.indices import check_indices


def adaptive_max_pool2d(x: np.ndarray, output_size, return_indices: bool = False, *, return_saved: bool = False):
    """Largest element of each of (oh, ow) windows that cover the input.

    Along an axis, window o of m goes from ``floor(o n / m)`` to ``ceil((o + 1) n / m)``: neighbours may share elements.
    NaN and equals are treated as in `max_pool2d`.

    Parameters
    ----------
    x : (n, c, h, w) or (c, h, w) ndarray
        float32 or float64. Without a batch the results have none.
    output_size : int or (int, int)
        Number of windows along each axis; None for as many as there are elements.
    return_indices : bool
        Return where the maxima lie, too.
    return_saved : bool
        Return what `adaptive_max_pool2d_backward` takes as `saved`, too.

    Returns
    -------
    y : (n, c, oh, ow) ndarray
    indices : (n, c, oh, ow) ndarray of int64
        Flat positions in the (h, w) planes. Only with `return_indices`.
    saved : (n, c, oh, ow) ndarray of int64
        The indices again. Only with `return_saved`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type, shape or value; the message names it.
    """
    return _max_forward("adaptive_max_pool2d", 2, x, output_size, return_indices, return_saved)


def adaptive_max_pool2d_backward(
    dy: np.ndarray, x: np.ndarray, output_size, *, saved: np.ndarray | None = None
) -> np.ndarray:
    """Gradient of `adaptive_max_pool2d`: each output's gradient goes to the element that won.

    Parameters
    ----------
    dy : (n, c, oh, ow) or (c, oh, ow) ndarray
        Gradient of the result.
    x : (n, c, h, w) or (c, h, w) ndarray
        What `adaptive_max_pool2d` was given.
    output_size
        As `adaptive_max_pool2d` was given it.
    saved : (n, c, oh, ow) ndarray of int, optional
        What `adaptive_max_pool2d` returned with ``return_saved=True``; computed again without it.

    Returns
    -------
    (n, c, h, w) ndarray
        `dx`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type, shape or value, or `saved` holds an index outside the planes.
    """
    return _max_backward("adaptive_max_pool2d_backward", 2, dy, x, output_size, saved)


def adaptive_max_pool1d(x: np.ndarray, output_size, return_indices: bool = False, *, return_saved: bool = False):
    """`adaptive_max_pool2d` along one axis.

    Parameters
    ----------
    x : (n, c, w) or (c, w) ndarray
    output_size, return_indices, return_saved
        As in `adaptive_max_pool2d`.

    Returns
    -------
    (n, c, ow) ndarray
        `y`, with `indices` and `saved` if they are asked for.

    Raises
    ------
    TypeError, ValueError
        As from `adaptive_max_pool2d`.
    """
    return _max_forward("adaptive_max_pool1d", 1, x, output_size, return_indices, return_saved)


def adaptive_max_pool1d_backward(
    dy: np.ndarray, x: np.ndarray, output_size, *, saved: np.ndarray | None = None
) -> np.ndarray:
    """Gradient of `adaptive_max_pool1d`.

    Parameters
    ----------
    dy : (n, c, ow) ndarray
    x : (n, c, w) or (c, w) ndarray
    output_size, saved
        As in `adaptive_max_pool2d_backward`.

    Returns
    -------
    (n, c, w) ndarray
        `dx`.

    Raises
    ------
    TypeError, ValueError
        As from `adaptive_max_pool2d_backward`.
    """
    return _max_backward("adaptive_max_pool1d_backward", 1, dy, x, output_size, saved)


def adaptive_max_pool3d(x: np.ndarray, output_size, return_indices: bool = False, *, return_saved: bool = False):
    """`adaptive_max_pool2d` along three axes.

    Parameters
    ----------
    x : (n, c, d, h, w) or (c, d, h, w) ndarray
    output_size, return_indices, return_saved
        As in `adaptive_max_pool2d`.

    Returns
    -------
    (n, c, od, oh, ow) ndarray
        `y`, with `indices` and `saved` if they are asked for.

    Raises
    ------
    TypeError, ValueError
        As from `adaptive_max_pool2d`.
    """
    return _max_forward("adaptive_max_pool3d", 3, x, output_size, return_indices, return_saved)


def adaptive_max_pool3d_backward(
    dy: np.ndarray, x: np.ndarray, output_size, *, saved: np.ndarray | None = None
) -> np.ndarray:
    """Gradient of `adaptive_max_pool3d`.

    Parameters
    ----------
    dy : (n, c, od, oh, ow) ndarray
    x : (n, c, d, h, w) or (c, d, h, w) ndarray
    output_size, saved
        As in `adaptive_max_pool2d_backward`.

    Returns
    -------
    (n, c, d, h, w) ndarray
        `dx`.

    Raises
    ------
    TypeError, ValueError
        As from `adaptive_max_pool2d_backward`.
    """
    return _max_backward("adaptive_max_pool3d_backward", 3, dy, x, output_size, saved)


def adaptive_avg_pool2d(x: np.ndarray, output_size) -> np.ndarray:
    """Mean of each of (oh, ow) windows that cover the input.

    Parameters
    ----------
    x : (n, c, h, w) or (c, h, w) ndarray
        float32 or float64. Without a batch the result has none.
    output_size : int or (int, int)
        Number of windows along each axis, None for as many as there are elements; see `adaptive_max_pool2d`.

    Returns
    -------
    (n, c, oh, ow) ndarray
        `y`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type, shape or value; the message names it.
    """
    return _avg_forward("adaptive_avg_pool2d", 2, x, output_size)


def adaptive_avg_pool2d_backward(dy: np.ndarray, x: np.ndarray, output_size) -> np.ndarray:
    """Gradient of `adaptive_avg_pool2d`: each output's gradient goes to the elements of its window in equal shares.

    Parameters
    ----------
    dy : (n, c, oh, ow) or (c, oh, ow) ndarray
        Gradient of the result.
    x : (n, c, h, w) or (c, h, w) ndarray
        What `adaptive_avg_pool2d` was given; only its shape and dtype count.
    output_size
        As `adaptive_avg_pool2d` was given it.

    Returns
    -------
    (n, c, h, w) ndarray
        `dx`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type, shape or value; the message names it.
    """
    return _avg_backward("adaptive_avg_pool2d_backward", 2, dy, x, output_size)


def adaptive_avg_pool1d(x: np.ndarray, output_size) -> np.ndarray:
    """`adaptive_avg_pool2d` along one axis.

    Parameters
    ----------
    x : (n, c, w) or (c, w) ndarray
    output_size
        As in `adaptive_avg_pool2d`.

    Returns
    -------
    (n, c, ow) ndarray
        `y`.

    Raises
    ------
    TypeError, ValueError
        As from `adaptive_avg_pool2d`.
    """
    return _avg_forward("adaptive_avg_pool1d", 1, x, output_size)


def adaptive_avg_pool1d_backward(dy: np.ndarray, x: np.ndarray, output_size) -> np.ndarray:
    """Gradient of `adaptive_avg_pool1d`.

    Parameters
    ----------
    dy : (n, c, ow) ndarray
    x : (n, c, w) or (c, w) ndarray
    output_size
        As in `adaptive_avg_pool2d_backward`.

    Returns
    -------
    (n, c, w) ndarray
        `dx`.

    Raises
    ------
    TypeError, ValueError
        As from `adaptive_avg_pool2d_backward`.
    """
    return _avg_backward("adaptive_avg_pool1d_backward", 1, dy, x, output_size)


def adaptive_avg_pool3d(x: np.ndarray, output_size) -> np.ndarray:
    """`adaptive_avg_pool2d` along three axes.

    Parameters
    ----------
    x : (n, c, d, h, w) or (c, d, h, w) ndarray
    output_size
        As in `adaptive_avg_pool2d`.

    Returns
    -------
    (n, c, od, oh, ow) ndarray
        `y`.

    Raises
    ------
    TypeError, ValueError
        As from `adaptive_avg_pool2d`.
    """
    return _avg_forward("adaptive_avg_pool3d", 3, x, output_size)


def adaptive_avg_pool3d_backward(dy: np.ndarray, x: np.ndarray, output_size) -> np.ndarray:
    """Gradient of `adaptive_avg_pool3d`.

    Parameters
    ----------
    dy : (n, c, od, oh, ow) ndarray
    x : (n, c, d, h, w) or (c, d, h, w) ndarray
    output_size
        As in `adaptive_avg_pool2d_backward`.

    Returns
    -------
    (n, c, d, h, w) ndarray
        `dx`.

    Raises
    ------
    TypeError, ValueError
        As from `adaptive_avg_pool2d_backward`.
    """
    return _avg_backward("adaptive_avg_pool3d_backward", 3, dy, x, output_size)


def _max_forward(op, ndim, x, output_size, return_indices, return_saved):
    (x,) = reals(op, x=x)
    single, x = add_batch(ndim + 2, x)
    geometry = AdaptiveGeometry.make(op, x.shape, output_size, ndim=ndim)
    wanted = as_flag(op, "return_indices", return_indices), as_flag(op, "return_saved", return_saved)
    y, indices = (remove_batch(single, array) for array in _max_pool(x, geometry, any(wanted)))
    return (y, *(indices for flag in wanted if flag)) if any(wanted) else y


def _max_backward(op, ndim, dy, x, output_size, saved):
    dy, x = reals(op, dy=dy, x=x)
    saved = None if saved is None else integers(op, "saved", saved)
    single, x, dy, saved = add_batch(ndim + 2, x, dy, saved)
    geometry = AdaptiveGeometry.make(op, x.shape, output_size, ndim=ndim)
    geometry.check_gradient(op, dy.shape)
    if saved is None:
        saved = _max_pool(x, geometry, True)[1]
    else:
        check_shape(op, "saved", saved, geometry.y_shape)
        check_indices(op, "saved", saved, geometry.input_size)
    dx = runtime.empty(x.shape, x.dtype)
    unpool.scatter(dy, saved, dx, geometry.batch * geometry.channels, add=True)
    return remove_batch(single, dx)


def _max_pool(x: np.ndarray, geometry: AdaptiveGeometry, keep: bool) -> tuple[np.ndarray, np.ndarray | None]:
    y, even = runtime.empty(geometry.y_shape, x.dtype), geometry.even
    indices = runtime.empty(y.shape, np.int64) if keep or even is None else None
    if even is None:
        adaptive.adaptive_max(x, y, indices, geometry)
        return y, indices
    saved = runtime.empty(y.shape, pool.position_type(even)) if keep else None
    pool.max_pool(x, y, saved, even)
    if keep:
        pool.flat_indices(saved, indices, even)
    return y, indices


def _avg_forward(op, ndim, x, output_size):
    (x,) = reals(op, x=x)
    single, x = add_batch(ndim + 2, x)
    geometry = AdaptiveGeometry.make(op, x.shape, output_size, ndim=ndim)
    y, even = runtime.empty(geometry.y_shape, x.dtype), geometry.even
    if even is None:
        adaptive.adaptive_avg(x, y, geometry)
    else:
        pool.avg_pool(x, y, even, True, None)
    return remove_batch(single, y)


def _avg_backward(op, ndim, dy, x, output_size):
    dy, x = reals(op, dy=dy, x=x)
    single, x, dy = add_batch(ndim + 2, x, dy)
    geometry = AdaptiveGeometry.make(op, x.shape, output_size, ndim=ndim)
    geometry.check_gradient(op, dy.shape)
    dx, even = runtime.empty(x.shape, x.dtype), geometry.even
    if even is None:
        adaptive.adaptive_avg_backward(dy, dx, geometry)
    else:
        pool.avg_pool_backward(dy, dx, even, True, None)
    return remove_batch(single, dx)
