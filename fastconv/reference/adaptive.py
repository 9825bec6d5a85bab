"""Adaptive pooling over any number of axes, as loops over its outputs."""

from collections.abc import Iterator
from math import isnan, prod

import numpy as np

from fastconv.geometry import AdaptiveGeometry, Ints
from fastconv.reference.overlap import Slices


def adaptive_max_pool2d(x, output_size, return_indices=False):
    """Return the largest element of each window, and on request where it lies in its plane, flat, int64.

    NaN wins against every number; among equals the first in row-major order wins.
    """
    geometry = _geometry(x, output_size)
    y, indices = np.zeros(geometry.y_shape), np.zeros(geometry.y_shape, np.int64)
    for n, c, position, places in _windows(geometry):
        winner = _winner(x[n, c], places)
        y[n, c, *position] = x[n, c, *winner]
        indices[n, c, *position] = np.ravel_multi_index(winner, geometry.input_size)
    return (y, indices) if return_indices else y


@np.errstate(all="ignore")
def adaptive_max_pool2d_backward(dy, x, output_size) -> np.ndarray:
    """Return dx: each output sends its gradient to the element that won."""
    geometry = _geometry(x, output_size)
    dx = np.zeros(x.shape)
    for n, c, position, places in _windows(geometry):
        dx[n, c, *_winner(x[n, c], places)] += dy[n, c, *position]
    return dx


@np.errstate(all="ignore")
def adaptive_avg_pool2d(x, output_size) -> np.ndarray:
    """Return the mean of each window."""
    geometry = _geometry(x, output_size)
    y = np.zeros(geometry.y_shape)
    for n, c, position, places in _windows(geometry):
        y[n, c, *position] = np.asarray(x[n, c, *places], np.float64).mean()
    return y


@np.errstate(all="ignore")
def adaptive_avg_pool2d_backward(dy, x, output_size) -> np.ndarray:
    """Return dx: each output sends an equal share of its gradient to every element of its window."""
    geometry = _geometry(x, output_size)
    dx = np.zeros(x.shape)
    for n, c, position, places in _windows(geometry):
        dx[n, c, *places] += float(dy[n, c, *position]) / prod(place.stop - place.start for place in places)
    return dx


# Nothing above counts axes.
adaptive_max_pool1d = adaptive_max_pool3d = adaptive_max_pool2d
adaptive_max_pool1d_backward = adaptive_max_pool3d_backward = adaptive_max_pool2d_backward
adaptive_avg_pool1d = adaptive_avg_pool3d = adaptive_avg_pool2d
adaptive_avg_pool1d_backward = adaptive_avg_pool3d_backward = adaptive_avg_pool2d_backward


def _geometry(x, output_size) -> AdaptiveGeometry:
    return AdaptiveGeometry.make("reference.adaptive", x.shape, output_size, ndim=x.ndim - 2)


def _windows(geometry: AdaptiveGeometry) -> Iterator[tuple[int, int, Ints, Slices]]:
    """Yield for every output its index and its window: from floor(o n / m) to ceil((o + 1) n / m) along each axis."""
    for n, c, *position in np.ndindex(geometry.y_shape):
        axes = zip(position, geometry.input_size, geometry.output_size, strict=True)
        yield n, c, tuple(position), tuple(slice(o * size // m, -(-(o + 1) * size // m)) for o, size, m in axes)


def _winner(plane: np.ndarray, places: Slices) -> Ints:
    corner, window = [place.start for place in places], plane[places]
    best, *rest = np.ndindex(window.shape)
    for place in rest:
        if window[place] > window[best] or (isnan(window[place]) and not isnan(window[best])):
            best = place
    return tuple(start + step for start, step in zip(corner, best, strict=True))
