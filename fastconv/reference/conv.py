"""Convolution (in fact correlation) over any number of axes, as loops over its outputs."""

from collections.abc import Iterator

import numpy as np

from fastconv.geometry import ConvGeometry, Ints
from fastconv.reference.overlap import Slices, overlap


@np.errstate(all="ignore")
def conv2d(x, w, b=None, stride=1, padding=0, dilation=1, groups=1) -> np.ndarray:
    """Return y, (n, co, oh, ow): each output is the sum of a window of x times the weights of its channel, plus a bias.

    ``y[n, co, oh, ow] = b[co] + sum over ci, kh, kw of w[co, ci, kh, kw] * x[n, g(co) + ci, ih, iw]`` with
    ``ih = oh * stride - padding + kh * dilation`` wherever that lies inside x.
    """
    geometry = _geometry(x, w, b, stride, padding, dilation, groups)
    x, w = np.asarray(x, np.float64), np.asarray(w, np.float64)
    y = np.zeros(geometry.y_shape)
    for n, co, position, channels, taps, places in _terms(geometry):
        y[n, co, *position] = np.sum(w[co, :, *taps] * x[n, channels, *places])
        if b is not None:
            y[n, co, *position] += b[co]
    return y


@np.errstate(all="ignore")
def conv2d_backward(dy, x, w, b=None, stride=1, padding=0, dilation=1, groups=1) -> tuple:
    """Return dx, dw, db: every product of the forward pass sends dy to its two factors."""
    geometry = _geometry(x, w, b, stride, padding, dilation, groups)
    dy, x, w = (np.asarray(array, np.float64) for array in (dy, x, w))
    dx, dw, db = np.zeros(x.shape), np.zeros(w.shape), np.zeros(len(w))
    for n, co, position, channels, taps, places in _terms(geometry):
        share = dy[n, co, *position]
        dx[n, channels, *places] += share * w[co, :, *taps]
        dw[co, :, *taps] += share * x[n, channels, *places]
        db[co] += share
    return dx, dw, None if b is None else db


def _geometry(x, w, b, *options) -> ConvGeometry:
    b_shape = None if b is None else b.shape
    return ConvGeometry.make("reference.conv", x.shape, w.shape, b_shape, *options, ndim=x.ndim - 2)


def _terms(geometry: ConvGeometry) -> Iterator[tuple[int, int, Ints, slice, Slices, Slices]]:
    """Yield for every output: its index, the input channels of its group, and where its window meets the input."""
    for position in np.ndindex(geometry.output_size):
        taps, places = overlap(geometry.window, geometry.input_size, position)
        for n in range(geometry.batch):
            for co in range(geometry.out_channels):
                first = co // geometry.group_out * geometry.group_in
                yield n, co, position, slice(first, first + geometry.group_in), taps, places
