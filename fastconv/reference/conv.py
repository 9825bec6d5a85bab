"""Convolution (in fact correlation) over any number of axes, as loops over its outputs, and its transpose."""

from collections.abc import Iterator

import numpy as np

from fastconv.geometry import ConvGeometry, ConvTransposeGeometry, Ints
from fastconv.reference.overlap import Slices, overlap

NUMPY_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}  # of numpy.pad


@np.errstate(all="ignore")
def conv2d(
    x, w, b=None, stride=1, padding=0, dilation=1, groups=1, *, padding_mode="zeros", residual=None, relu=False
) -> np.ndarray:
    """Return y, (n, co, oh, ow): each output is the sum of a window of x times the weights of its channel, plus a bias.

    ``y[n, co, oh, ow] = b[co] + sum over ci, kh, kw of w[co, ci, kh, kw] * x[n, g(co) + ci, ih, iw]`` with
    ``ih = oh * stride - padding + kh * dilation`` wherever that lies inside x. A padding mode lets x go on.
    An addend, and the limits of ReLU and ReLU6, come last.
    """
    options = stride, padding, dilation, groups
    if x.ndim < w.ndim:
        residual = None if residual is None else residual[None]
        return conv2d(x[None], w, b, *options, padding_mode=padding_mode, residual=residual, relu=relu)[0]
    geometry = _geometry(x, w, b, *options)
    x, w = np.asarray(x, np.float64), np.asarray(w, np.float64)
    if padding_mode != "zeros":
        x, geometry = x[_sources(geometry, padding_mode)], geometry.padded()
    y = _correlate(x, w, b, geometry)
    return np.clip(y if residual is None else y + residual, *_limits(relu))


@np.errstate(all="ignore")
def conv2d_backward(
    dy, x, w, b=None, stride=1, padding=0, dilation=1, groups=1, *, padding_mode="zeros", residual=None, relu=False
) -> tuple:
    """Return dx, dw, db: every product of the forward pass sends dy to its two factors.

    What ReLU cut off sends nothing. Where there is an addend, its gradient comes last.
    """
    options = stride, padding, dilation, groups
    if x.ndim < w.ndim:
        more = {"padding_mode": padding_mode, "residual": None if residual is None else residual[None], "relu": relu}
        dx, dw, db, *dresidual = conv2d_backward(dy[None], x[None], w, b, *options, **more)
        return dx[0], dw, db, *(gradient[0] for gradient in dresidual)
    geometry = _geometry(x, w, b, *options)
    if relu is not False:
        y, (low, high) = (
            conv2d(x, w, b, *options, padding_mode=padding_mode, residual=residual, relu=relu),
            _limits(relu),
        )
        dy = np.where((y <= low) | (y >= high), 0, dy)
    dy, x, w = (np.asarray(array, np.float64) for array in (dy, x, w))
    if padding_mode == "zeros":
        dx, dw, db = _correlate_backward(dy, x, w, geometry)
    else:
        sources, dx = _sources(geometry, padding_mode), np.zeros(x.shape)
        padded_dx, dw, db = _correlate_backward(dy, x[sources], w, geometry.padded())
        np.add.at(dx, sources, padded_dx)
    gradients = dx, dw, None if b is None else db
    return gradients if residual is None else (*gradients, dy)


def _limits(relu: bool | float) -> tuple[float, float]:
    """Return the least and the largest result."""
    if relu is False:
        return -np.inf, np.inf
    return 0.0, np.inf if relu is True else relu


conv1d = conv3d = conv2d  # the definition counts no axes
conv1d_backward = conv3d_backward = conv2d_backward


@np.errstate(all="ignore")
def conv_transpose2d(x, w, b=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1) -> np.ndarray:
    """Return y, (n, co, oh, ow): every input is spread over a window of outputs, times the weights; plus a bias.

    It is the gradient of a convolution with respect to its input, seen as a function of its own.
    """
    options = stride, padding, output_padding, groups, dilation
    if x.ndim < w.ndim:
        return conv_transpose2d(x[None], w, b, *options)[0]
    geometry = _transpose_geometry(x, w, b, *options)
    y = np.zeros(geometry.y_shape)
    x, w = np.asarray(x, np.float64), np.asarray(w, np.float64)
    for n, ci, position, channels, taps, places in _terms(geometry.convolution):
        y[n, channels, *places] += x[n, ci, *position] * w[ci, :, *taps]
    return y if b is None else y + b.reshape(-1, *[1] * (x.ndim - 2))


@np.errstate(all="ignore")
def conv_transpose2d_backward(dy, x, w, b=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1) -> tuple:
    """Return dx, dw, db: dx is a convolution of dy."""
    options = stride, padding, output_padding, groups, dilation
    if x.ndim < w.ndim:
        dx, dw, db = conv_transpose2d_backward(dy[None], x[None], w, b, *options)
        return dx[0], dw, db
    convolution = _transpose_geometry(x, w, b, *options).convolution
    dy, x, w = (np.asarray(array, np.float64) for array in (dy, x, w))
    dx, (_, dw, _) = _correlate(dy, w, None, convolution), _correlate_backward(x, dy, w, convolution)
    return dx, dw, None if b is None else dy.sum(axis=(0, *range(2, dy.ndim)))


conv_transpose1d = conv_transpose3d = conv_transpose2d
conv_transpose1d_backward = conv_transpose3d_backward = conv_transpose2d_backward


def _correlate(x, w, b, geometry: ConvGeometry) -> np.ndarray:
    y = np.zeros(geometry.y_shape)
    for n, co, position, channels, taps, places in _terms(geometry):
        y[n, co, *position] = np.sum(w[co, :, *taps] * x[n, channels, *places])
        if b is not None:
            y[n, co, *position] += b[co]
    return y


def _correlate_backward(dy, x, w, geometry: ConvGeometry) -> tuple:
    dx, dw, db = np.zeros(x.shape), np.zeros(w.shape), np.zeros(len(w))
    for n, co, position, channels, taps, places in _terms(geometry):
        share = dy[n, co, *position]
        dx[n, channels, *places] += share * w[co, :, *taps]
        dw[co, :, *taps] += share * x[n, channels, *places]
        db[co] += share
    return dx, dw, db


def _geometry(x, w, b, *options) -> ConvGeometry:
    b_shape = None if b is None else b.shape
    return ConvGeometry.make("reference.conv", x.shape, w.shape, b_shape, *options, ndim=x.ndim - 2)


def _transpose_geometry(x, w, b, *options) -> ConvTransposeGeometry:
    b_shape = None if b is None else b.shape
    return ConvTransposeGeometry.make("reference.conv", x.shape, w.shape, b_shape, *options, ndim=x.ndim - 2)


def _sources(geometry: ConvGeometry, padding_mode: str) -> tuple:
    """Index x with this to get it with its border."""
    channels = [np.arange(size) for size in geometry.x_shape[:2]]
    axes = zip(geometry.input_size, geometry.window.padding, strict=True)
    return np.ix_(*channels, *(np.pad(np.arange(size), pair, NUMPY_MODES[padding_mode]) for size, pair in axes))


def _terms(geometry: ConvGeometry) -> Iterator[tuple[int, int, Ints, slice, Slices, Slices]]:
    """Yield for every output: its index, the input channels of its group, and where its window meets the input."""
    for position in np.ndindex(geometry.output_size):
        taps, places = overlap(geometry.window, geometry.input_size, position)
        for n in range(geometry.batch):
            for co in range(geometry.out_channels):
                first = co // geometry.group_out * geometry.group_in
                yield n, co, position, slice(first, first + geometry.group_in), taps, places
