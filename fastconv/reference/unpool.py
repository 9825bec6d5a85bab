"""Unpooling over any number of axes: to where the maxima were, or to every so many places."""

import numpy as np

from fastconv.geometry import UnpoolGeometry


def max_unpool2d(x, indices, kernel_size, stride=None, padding=0, output_size=None) -> np.ndarray:
    """Return planes of zeros with each element at its index in them; of several at one place the last in C order."""
    geometry = _geometry(x, kernel_size, stride, padding, output_size)
    y = np.zeros((*x.shape[:2], geometry.places))
    for n, c, *position in np.ndindex(x.shape):
        y[n, c, indices[n, c, *position]] = x[n, c, *position]
    return y.reshape(geometry.y_shape)


def max_unpool2d_backward(dy, x, indices, kernel_size, stride=None, padding=0, output_size=None) -> np.ndarray:
    """Return dx: each element gets the gradient of its place; one that another has overwritten gets 0."""
    geometry = _geometry(x, kernel_size, stride, padding, output_size)
    flat, last = np.reshape(dy, (*x.shape[:2], geometry.places)), {}
    for n, c, *position in np.ndindex(x.shape):
        last[n, c, int(indices[n, c, *position])] = tuple(position)
    dx = np.zeros(x.shape)
    for (n, c, place), position in last.items():
        dx[n, c, *position] = flat[n, c, place]
    return dx


# Nothing above counts axes.
max_unpool1d = max_unpool3d = max_unpool2d
max_unpool1d_backward = max_unpool3d_backward = max_unpool2d_backward


def unpool_bed_of_nails(x, kernel_size) -> np.ndarray:
    """Return blocks of zeros, one for each element, with the element in the first place of its block."""
    kernel = _kernel(x, kernel_size)
    y = np.zeros((*x.shape[:2], *(size * step for size, step in zip(x.shape[2:], kernel, strict=True))))
    for n, c, *position in np.ndindex(x.shape):
        y[n, c, *(o * step for o, step in zip(position, kernel, strict=True))] = x[n, c, *position]
    return y


def unpool_bed_of_nails_backward(dy, x, kernel_size) -> np.ndarray:
    """Return dx: the gradients of the first places of the blocks."""
    kernel = _kernel(x, kernel_size)
    dx = np.zeros(x.shape)
    for n, c, *position in np.ndindex(x.shape):
        dx[n, c, *position] = dy[n, c, *(o * step for o, step in zip(position, kernel, strict=True))]
    return dx


def _geometry(x, *options) -> UnpoolGeometry:
    return UnpoolGeometry.make("reference.unpool", x.shape, *options, ndim=x.ndim - 2)


def _kernel(x, kernel_size) -> tuple[int, ...]:
    return tuple(map(int, np.broadcast_to(kernel_size, x.ndim - 2)))
