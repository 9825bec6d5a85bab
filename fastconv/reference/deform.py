"""Deformable convolution, as loops over its outputs and the samples that their taps take."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import floor, isnan, nan

import numpy as np

from fastconv.geometry import DeformGeometry, Ints


@np.errstate(all="ignore")
def deform_conv2d(x, offset, w, b=None, stride=1, padding=0, dilation=1, mask=None) -> np.ndarray:
    """Return y, (n, co, oh, ow): a convolution whose taps read x at places of their own, between its pixels.

    ``y[n, co, oh, ow] = b[co] + sum over ci, kh, kw of w[co, ci, kh, kw] * mask * x[n, g(co) + ci, row, column]`` with
    ``row = oh * stride - padding + kh * dilation + offset``, likewise the column; see `Sample` for what x is there.
    """
    geometry = _geometry(x, offset, w, b, stride, padding, dilation, mask)
    w, y = np.asarray(w, np.float64), np.zeros(geometry.conv.y_shape)
    for n, position in _outputs(geometry):
        columns = _columns(geometry, x, offset, mask, n, position)
        for co, channels in enumerate(_groups(geometry)):
            y[n, co, *position] = np.sum(w[co] * columns[channels]) + (0 if b is None else b[co])
    return y


@np.errstate(all="ignore")
def deform_conv2d_backward(dy, x, offset, w, b=None, stride=1, padding=0, dilation=1, mask=None) -> tuple:
    """Return dx, doffset, dw, db and dmask: every product of the forward pass sends dy to its factors."""
    geometry = _geometry(x, offset, w, b, stride, padding, dilation, mask)
    dy, x, w = (np.asarray(array, np.float64) for array in (dy, x, w))
    dx, doffset, dw, dmask = (np.zeros(s) for s in (x.shape, offset.shape, w.shape, geometry.mask_shape))
    for n, position in _outputs(geometry):
        columns = _columns(geometry, x, offset, mask, n, position)
        gradient = np.zeros(columns.shape)  # of the columns
        for co, channels in enumerate(_groups(geometry)):
            gradient[channels] += dy[n, co, *position] * w[co]
            dw[co] += dy[n, co, *position] * columns[channels]
        for channels, tap, line, sample in _samples(geometry, offset, n, position):
            share = gradient[channels, *tap]
            factor = 1 if mask is None else mask[n, line, *position]
            for place, weight in sample.corners():
                dx[n, channels, *place] += weight * factor * share
            met = np.sum(share * sample.pixels(x[n, channels]), axis=-1)
            for axis, slope in enumerate(sample.slopes(met)):
                doffset[n, 2 * line + axis, *position] = factor * slope
            dmask[n, line, *position] = sample.value(met)
    return dx, doffset, dw, None if b is None else dy.sum((0, 2, 3)), None if mask is None else dmask


@dataclass
class Sample:
    """What a tap reads at row y and column x of planes of a size: the linear interpolation of four pixels.

    Around the planes lie zeros. A place at -1 or the size, or beyond, is outside and reads 0. Where a coordinate is
    NaN, so is what is read, and no pixel has a part in it.
    """

    y: float
    x: float
    size: Ints

    def __post_init__(self):
        self.undefined = isnan(self.y) or isnan(self.x)
        self.outside = not (-1 < self.y < self.size[0] and -1 < self.x < self.size[1])
        self.top, self.left = (0, 0) if self.outside else (floor(self.y), floor(self.x))
        self.below, self.behind = (0.0, 0.0) if self.outside else (self.y - self.top, self.x - self.left)
        if self.undefined:
            self.below = self.behind = nan

    def corners(self) -> Iterator[tuple[Ints, float]]:
        """Yield the pixels around the place, and their weights."""
        for down, right in product((0, 1), repeat=2):
            place = self.top + down, self.left + right
            if not self.outside and 0 <= place[0] < self.size[0] and 0 <= place[1] < self.size[1]:
                yield place, (self.below if down else 1 - self.below) * (self.behind if right else 1 - self.behind)

    def pixels(self, planes: np.ndarray) -> np.ndarray:
        """Return the four pixels of each plane, (2, 2, planes), zeros where there are none."""
        pixels = np.zeros((2, 2, len(planes)))
        for place, _ in self.corners():
            pixels[place[0] - self.top, place[1] - self.left] = planes[:, *place]
        return pixels

    def value(self, pixels: np.ndarray) -> np.ndarray:
        """Return what is read, of four pixels of each plane."""
        (a, b), (c, d) = pixels
        upper, lower = 1 - self.below, self.below
        left, right = 1 - self.behind, self.behind
        return upper * left * a + upper * right * b + lower * left * c + lower * right * d

    def slopes(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the derivatives of that with respect to y and x."""
        (a, b), (c, d) = pixels
        return (
            (1 - self.behind) * (c - a) + self.behind * (d - b),
            (1 - self.below) * (b - a) + self.below * (d - c),
        )


def _geometry(x, offset, w, b, stride, padding, dilation, mask) -> DeformGeometry:
    b_shape, mask_shape = (None if array is None else array.shape for array in (b, mask))
    shapes = x.shape, offset.shape, w.shape, b_shape, mask_shape
    return DeformGeometry.make("reference.deform_conv2d", *shapes, stride, padding, dilation)


def _outputs(geometry: DeformGeometry) -> Iterator[tuple[int, Ints]]:
    return product(range(geometry.conv.batch), np.ndindex(geometry.conv.output_size))


def _groups(geometry: DeformGeometry) -> Iterator[slice]:
    """Yield the input channels of each output channel."""
    for co in range(geometry.conv.out_channels):
        first = co // geometry.conv.group_out * geometry.conv.group_in
        yield slice(first, first + geometry.conv.group_in)


def _samples(geometry, offset, n, position) -> Iterator[tuple[slice, Ints, int, Sample]]:
    """Yield for every tap and offset group of an output: channels, tap, number of the pair of offsets, sample."""
    window = geometry.conv.window
    for group in range(geometry.offset_groups):
        channels = slice(group * geometry.offset_channels, (group + 1) * geometry.offset_channels)
        for number, tap in enumerate(np.ndindex(window.kernel)):
            line = group * geometry.taps + number
            place = [
                position[axis] * window.stride[axis] - window.padding[axis][0] + tap[axis] * window.dilation[axis]
                + float(offset[n, 2 * line + axis, *position])
                for axis in (0, 1)
            ]  # fmt: skip
            yield channels, tap, line, Sample(*place, geometry.conv.input_size)


def _columns(geometry, x, offset, mask, n, position) -> np.ndarray:
    """Return what all taps of an output read, times the mask: (ci, kh, kw)."""
    columns = np.zeros((geometry.conv.in_channels, *geometry.conv.window.kernel))
    for channels, tap, line, sample in _samples(geometry, offset, n, position):
        factor = 1 if mask is None else mask[n, line, *position]
        columns[channels, *tap] = factor * sample.value(sample.pixels(x[n, channels]))
    return columns
