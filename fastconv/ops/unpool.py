"""Unpooling: to where maxima were, along one, two or three axes, or to a bed of nails."""

import numpy as np

from fastconv import runtime
from fastconv.arguments import as_ints
from fastconv.arrays import check_shape, integers, reals
from fastconv.cpu import resample, unpool
from fastconv.geometry import UnpoolGeometry
from fastconv.geometry.shapes import check_bytes, check_gradient, split_input
from fastconv.ops.batch import add_batch, remove_batch
from fastconv.ops.indices import check_indices


def max_unpool2d(
    x: np.ndarray, indices: np.ndarray, kernel_size, stride=None, padding=0, output_size=None
) -> np.ndarray:
    """Put elements back to where max pooling found them, between zeros.

    Of several elements with one index the last in C order stays, whatever the number of threads.

    Parameters
    ----------
    x : (n, c, h, w) or (c, h, w) ndarray
        float32 or float64. Without a batch the result has none.
    indices : (n, c, h, w) ndarray of int
        Flat positions in the planes of the result, as `max_pool2d` returns them with ``return_indices=True``.
    kernel_size, stride, padding : int or (int, int)
        Those of the pooling; a stride of None is the kernel's size.
    output_size : sequence of int, optional
        Size of the result, or its whole shape, where a pooling of several sizes gives that of `x`; without it
        ``(h - 1) * stride - 2 * padding + kernel_size``.

    Returns
    -------
    (n, c, oh, ow) ndarray
        `y`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type, shape or value, or an index lies outside the planes; nothing is written then.
    """
    return _forward("max_unpool2d", 2, x, indices, (kernel_size, stride, padding, output_size))


def max_unpool2d_backward(
    dy: np.ndarray, x: np.ndarray, indices: np.ndarray, kernel_size, stride=None, padding=0, output_size=None
) -> np.ndarray:
    """Gradient of `max_unpool2d`: that of its place for each element, and 0 for one that another has overwritten.

    PyTorch gives the gradient of the place to all elements that share it, which is not the derivative.

    Parameters
    ----------
    dy : (n, c, oh, ow) or (c, oh, ow) ndarray
        Gradient of the result.
    x, indices : (n, c, h, w) or (c, h, w) ndarray
        What `max_unpool2d` was given.
    kernel_size, stride, padding, output_size
        As `max_unpool2d` was given them.

    Returns
    -------
    (n, c, h, w) ndarray
        `dx`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type, shape or value, or an index lies outside the planes.
    """
    return _backward("max_unpool2d_backward", 2, dy, x, indices, (kernel_size, stride, padding, output_size))


def max_unpool1d(
    x: np.ndarray, indices: np.ndarray, kernel_size, stride=None, padding=0, output_size=None
) -> np.ndarray:
    """`max_unpool2d` along one axis.

    Parameters
    ----------
    x, indices : (n, c, w) or (c, w) ndarray
    kernel_size, stride, padding, output_size
        As in `max_unpool2d`.

    Returns
    -------
    (n, c, ow) ndarray
        `y`.

    Raises
    ------
    TypeError, ValueError
        As from `max_unpool2d`.
    """
    return _forward("max_unpool1d", 1, x, indices, (kernel_size, stride, padding, output_size))


def max_unpool1d_backward(
    dy: np.ndarray, x: np.ndarray, indices: np.ndarray, kernel_size, stride=None, padding=0, output_size=None
) -> np.ndarray:
    """Gradient of `max_unpool1d`.

    Parameters
    ----------
    dy : (n, c, ow) ndarray
    x, indices : (n, c, w) or (c, w) ndarray
    kernel_size, stride, padding, output_size
        As in `max_unpool2d_backward`.

    Returns
    -------
    (n, c, w) ndarray
        `dx`.

    Raises
    ------
    TypeError, ValueError
        As from `max_unpool2d_backward`.
    """
    return _backward("max_unpool1d_backward", 1, dy, x, indices, (kernel_size, stride, padding, output_size))


def max_unpool3d(
    x: np.ndarray, indices: np.ndarray, kernel_size, stride=None, padding=0, output_size=None
) -> np.ndarray:
    """`max_unpool2d` along three axes.

    Parameters
    ----------
    x, indices : (n, c, d, h, w) or (c, d, h, w) ndarray
    kernel_size, stride, padding, output_size
        As in `max_unpool2d`.

    Returns
    -------
    (n, c, od, oh, ow) ndarray
        `y`.

    Raises
    ------
    TypeError, ValueError
        As from `max_unpool2d`.
    """
    return _forward("max_unpool3d", 3, x, indices, (kernel_size, stride, padding, output_size))


def max_unpool3d_backward(
    dy: np.ndarray, x: np.ndarray, indices: np.ndarray, kernel_size, stride=None, padding=0, output_size=None
) -> np.ndarray:
    """Gradient of `max_unpool3d`.

    Parameters
    ----------
    dy : (n, c, od, oh, ow) ndarray
    x, indices : (n, c, d, h, w) or (c, d, h, w) ndarray
    kernel_size, stride, padding, output_size
        As in `max_unpool2d_backward`.

    Returns
    -------
    (n, c, d, h, w) ndarray
        `dx`.

    Raises
    ------
    TypeError, ValueError
        As from `max_unpool2d_backward`.
    """
    return _backward("max_unpool3d_backward", 3, dy, x, indices, (kernel_size, stride, padding, output_size))


def unpool_bed_of_nails(x: np.ndarray, kernel_size) -> np.ndarray:
    """Put each element into the first place of a block of zeros.

    Parameters
    ----------
    x : (n, c, *size) ndarray
        float32 or float64; one, two or three sizes.
    kernel_size : int or sequence of int
        Size of a block along each axis.

    Returns
    -------
    (n, c, *size) ndarray
        `y`, each size times that of a block.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type, shape or value; the message names it.
    """
    op = "unpool_bed_of_nails"
    (x,) = reals(op, x=x)
    kernel, y_shape = _blocks(op, x, kernel_size)
    y = runtime.empty(y_shape, x.dtype)
    resample.bed_of_nails(x, y, kernel)
    return y


def unpool_bed_of_nails_backward(dy: np.ndarray, x: np.ndarray, kernel_size) -> np.ndarray:
    """Gradient of `unpool_bed_of_nails`: that of the first place of each block.

    Parameters
    ----------
    dy : (n, c, *size) ndarray
        Gradient of the result.
    x : (n, c, *size) ndarray
        What `unpool_bed_of_nails` was given; only its shape and dtype count.
    kernel_size : int or sequence of int
        As `unpool_bed_of_nails` was given it.

    Returns
    -------
    (n, c, *size) ndarray
        `dx`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type, shape or value; the message names it.
    """
    op = "unpool_bed_of_nails_backward"
    dy, x = reals(op, dy=dy, x=x)
    kernel, y_shape = _blocks(op, x, kernel_size)
    check_gradient(op, dy.shape, y_shape)
    dx = runtime.empty(x.shape, x.dtype)
    resample.bed_of_nails_backward(dy, dx, kernel)
    return dx


def _forward(op, ndim, x, indices, options):
    (x,) = reals(op, x=x)
    single, x, indices = add_batch(ndim + 2, x, integers(op, "indices", indices))
    geometry = _geometry(op, ndim, x, indices, options)
    y = runtime.empty(geometry.y_shape, x.dtype)
    unpool.scatter(x, indices, y, geometry.batch * geometry.channels)
    return remove_batch(single, y)


def _backward(op, ndim, dy, x, indices, options):
    dy, x = reals(op, dy=dy, x=x)
    single, x, dy, indices = add_batch(ndim + 2, x, dy, integers(op, "indices", indices))
    geometry = _geometry(op, ndim, x, indices, options)
    geometry.check_gradient(op, dy.shape)
    dx = runtime.empty(x.shape, x.dtype)
    unpool.gather(dy, indices, dx, geometry.batch * geometry.channels)
    return remove_batch(single, dx)


def _geometry(op: str, ndim: int, x: np.ndarray, indices: np.ndarray, options: tuple) -> UnpoolGeometry:
    geometry = UnpoolGeometry.make(op, x.shape, *options, ndim=ndim)
    check_shape(op, "indices", indices, x.shape)
    check_indices(op, "indices", indices, geometry.output_size)
    return geometry


def _blocks(op: str, x: np.ndarray, kernel_size) -> tuple[tuple[int, ...], tuple[int, ...]]:
    ndim = x.ndim - 2
    if not 1 <= ndim <= 3:
        raise ValueError(f"{op}: x must have 3, 4 or 5 axes (n, c, *size), got shape {x.shape}")
    batch, channels, size = split_input(op, x.shape, ndim)
    kernel = as_ints(op, "kernel_size", kernel_size, ndim, low=1)
    y_shape = batch, channels, *(n * step for n, step in zip(size, kernel, strict=True))
    check_bytes(op, y_shape)
    return kernel, y_shape
