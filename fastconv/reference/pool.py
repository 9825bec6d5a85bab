"""Pooling over any number of axes, as loops over its outputs."""

from collections.abc import Iterator
from itertools import product
from math import isnan, prod

import numpy as np

from fastconv.geometry import Ints, PoolGeometry
from fastconv.reference.overlap import Slices, overlap


def max_pool2d(
    x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False, *, relu=False
):
    """Return the largest element of each window, (n, c, oh, ow), and on request where it lies, flat in (H, W), int64.

    Padding never wins. NaN wins against every number. Among equals the first in row-major order wins.
    """
    geometry = _geometry(x, kernel_size, stride, padding, dilation, ceil_mode)
    y = np.zeros(geometry.y_shape)
    indices = np.zeros(geometry.y_shape, np.int64)
    for n, c, position, places in _windows(geometry):
        winner = _winner(x[n, c], places)
        value = x[n, c, *winner]
        y[n, c, *position] = 0 if relu and value <= 0 else value
        indices[n, c, *position] = np.ravel_multi_index(winner, geometry.input_size)
    return (y, indices) if return_indices else y


@np.errstate(all="ignore")
def max_pool2d_backward(
    dy, x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, *, relu=False
) -> np.ndarray:
    """Return dx: each output sends its gradient to the element that won, if the winner passes the ReLU."""
    geometry = _geometry(x, kernel_size, stride, padding, dilation, ceil_mode)
    dx = np.zeros(x.shape)
    for n, c, position, places in _windows(geometry):
        winner = _winner(x[n, c], places)
        if not (relu and x[n, c, *winner] <= 0):
            dx[n, c, *winner] += dy[n, c, *position]
    return dx


@np.errstate(all="ignore")
def avg_pool2d(
    x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None
) -> np.ndarray:
    """Return the mean of each window, (n, c, oh, ow).

    The sum is divided by `divisor_override`; without it by the number of elements in the window, counting padding
    (but nothing past it, where `ceil_mode` lets a window hang over) or, with `count_include_pad` false, only real ones.
    """
    geometry = _geometry(x, kernel_size, stride, padding, 1, ceil_mode)
    y = np.zeros(geometry.y_shape)
    for n, c, position, places in _windows(geometry):
        elements = np.asarray(x[n, c, *places], np.float64)
        y[n, c, *position] = elements.sum() / _divisor(
            geometry, position, elements.size, count_include_pad, divisor_override
        )
    return y


@np.errstate(all="ignore")
def avg_pool2d_backward(
    dy, x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None
) -> np.ndarray:
    """Return dx: each output sends an equal share of its gradient to every element of its window."""
    geometry = _geometry(x, kernel_size, stride, padding, 1, ceil_mode)
    dx = np.zeros(x.shape)
    for n, c, position, places in _windows(geometry):
        count = x[n, c, *places].size
        divisor = _divisor(geometry, position, count, count_include_pad, divisor_override)
        dx[n, c, *places] += float(dy[n, c, *position]) / divisor
    return dx


@np.errstate(all="ignore")
def lp_pool2d(x, norm_type, kernel_size, stride=None, ceil_mode=False) -> np.ndarray:
    """Return the p-th root of the sum of p-th powers in each window, (n, c, oh, ow).

    Where `ceil_mode` lets a window hang over the end, the sum counts as many elements as a whole window has: it is the
    mean of the powers times the size of the window.
    """
    geometry = _geometry(x, kernel_size, stride, 0, 1, ceil_mode)
    y = np.zeros(geometry.y_shape)
    for n, c, position, places in _windows(geometry):
        y[n, c, *position] = _power_sum(geometry, x[n, c, *places], norm_type) ** (1 / norm_type)
    return y


@np.errstate(all="ignore")
def lp_pool2d_backward(dy, x, norm_type, kernel_size, stride=None, ceil_mode=False) -> np.ndarray:
    """Return dx: ``dy (x / y) ** (p - 1)``, and 0 where the sum of powers is 0, at which there is no derivative."""
    geometry = _geometry(x, kernel_size, stride, 0, 1, ceil_mode)
    dx = np.zeros(x.shape)
    for n, c, position, places in _windows(geometry):
        total = _power_sum(geometry, x[n, c, *places], norm_type)
        if total != 0:
            slope = float(dy[n, c, *position]) * total ** (1 / norm_type - 1)
            elements = np.asarray(x[n, c, *places], np.float64)
            dx[n, c, *places] += slope * elements ** (norm_type - 1) * prod(geometry.window.kernel) / elements.size
    return dx


# Nothing above counts axes.
max_pool1d = max_pool3d = max_pool2d
max_pool1d_backward = max_pool3d_backward = max_pool2d_backward
avg_pool1d = avg_pool3d = avg_pool2d
avg_pool1d_backward = avg_pool3d_backward = avg_pool2d_backward
lp_pool1d = lp_pool3d = lp_pool2d
lp_pool1d_backward = lp_pool3d_backward = lp_pool2d_backward


def _geometry(x, *options) -> PoolGeometry:
    return PoolGeometry.make("reference.pool", x.shape, *options, ndim=x.ndim - 2)


def _windows(geometry: PoolGeometry) -> Iterator[tuple[int, int, Ints, Slices]]:
    """Yield for every output its index and the real elements of its window."""
    for position in np.ndindex(geometry.output_size):
        _, places = overlap(geometry.window, geometry.input_size, position)
        for n, c in np.ndindex(geometry.batch, geometry.channels):
            yield n, c, position, places


def _winner(plane: np.ndarray, places: Slices) -> Ints:
    """Return the place of the largest element; every window holds one, so there is always a first candidate."""
    best, *rest = product(*(range(along.start, along.stop, along.step) for along in places))
    for place in rest:
        if plane[place] > plane[best] or (isnan(plane[place]) and not isnan(plane[best])):
            best = place
    return best


def _power_sum(geometry: PoolGeometry, elements: np.ndarray, norm_type: float) -> np.float64:
    powers = np.asarray(elements, np.float64) ** norm_type
    return powers.sum() * prod(geometry.window.kernel) / elements.size


def _divisor(geometry: PoolGeometry, position: Ints, real: int, count_include_pad: bool, override: int | None) -> int:
    if override is not None:
        return override
    if not count_include_pad:
        return real
    window = geometry.window
    axes = zip(position, geometry.input_size, window.kernel, window.stride, window.padding, strict=True)
    return prod(min(k, size + before + after - o * stride) for o, size, k, stride, (before, after) in axes)
