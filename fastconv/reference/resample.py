"""Interpolation along any number of axes, as loops over its outputs."""

from collections.abc import Iterator
from itertools import product
from math import floor, prod

import numpy as np

from fastconv.geometry import Ints, ResampleGeometry


@np.errstate(all="ignore")
def interpolate(x, size=None, scale_factor=None, mode="nearest", align_corners=None) -> np.ndarray:
    """Return x resampled along all axes but the first two: for each output a mean of elements with weights."""
    geometry = ResampleGeometry.make("reference.interpolate", x.shape, size, scale_factor, mode, align_corners)
    y = np.zeros(geometry.y_shape)
    for position, sources in _outputs(geometry):
        for place, weight in sources:
            y[:, :, *position] += weight * np.asarray(x[:, :, *place], np.float64)
    return y


@np.errstate(all="ignore")
def interpolate_backward(dy, x, size=None, scale_factor=None, mode="nearest", align_corners=None) -> np.ndarray:
    """Return dx: each output sends its gradient, times their weights, to the elements that it was made of."""
    geometry = ResampleGeometry.make("reference.interpolate", x.shape, size, scale_factor, mode, align_corners)
    dx = np.zeros(x.shape)
    for position, sources in _outputs(geometry):
        for place, weight in sources:
            dx[:, :, *place] += weight * np.asarray(dy[:, :, *position], np.float64)
    return dx


def _outputs(geometry: ResampleGeometry) -> Iterator[tuple[Ints, list[tuple[Ints, float]]]]:
    """Yield for every output the elements that it is made of, and their weights."""
    sources = _nearest if geometry.mode == "nearest" else _linear
    for position in np.ndindex(geometry.output_size):
        axes = zip(position, geometry.input_size, geometry.steps, strict=True)
        corners = product(*(sources(o, n, step, geometry.align_corners) for o, n, step in axes))
        yield position, [(tuple(i for i, _ in corner), prod(w for _, w in corner)) for corner in corners]


def _nearest(o: int, n: int, step: float, align_corners: bool) -> list[tuple[int, float]]:
    """Return the element at ``floor(o * step)``, in float32 as PyTorch computes it."""
    return [(min(floor(np.float32(o) * np.float32(step)), n - 1), 1.0)]


def _linear(o: int, n: int, step: float, align_corners: bool) -> list[tuple[int, float]]:
    """Return the two neighbours of the source of output o; elements of weight 0 are left out."""
    source = o * step if align_corners else (o + 0.5) * step - 0.5
    source = min(max(source, 0.0), n - 1)
    low = floor(source)
    return [(i, w) for i, w in ((low, low + 1 - source), (low + 1, source - low)) if w > 0]
