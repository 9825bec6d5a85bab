"""Interpolation, and a bed of nails: which map each axis has; `separable` applies them."""

from __future__ import annotations

from functools import lru_cache
from math import prod

import numpy as np
from numpy.typing import NDArray

from fastconv.cpu import separable
from fastconv.cpu.axis_maps import AxisMap, linear, nails, nearest
from fastconv.cpu.loop import Program
from fastconv.geometry import ResampleGeometry


def _maps(geometry: ResampleGeometry) -> list[AxisMap]:
    axes = zip(geometry.input_size, geometry.output_size, geometry.steps, strict=True)
    if geometry.mode == "nearest":
        return [nearest(*axis) for axis in axes]
    return [linear(*axis, geometry.align_corners) for axis in axes]


@lru_cache(maxsize=256)
def _interpolation(geometry: ResampleGeometry, dtype: np.dtype, backward: bool) -> Program:
    maps = [axis.transposed() if backward else axis for axis in _maps(geometry)]
    return separable.plan(maps, geometry.batch * geometry.channels, dtype)


def interpolate(x: NDArray, y: NDArray, geometry: ResampleGeometry) -> None:
    """Write means of neighbours."""
    _interpolation(geometry, x.dtype, False)(x, y)


def interpolate_backward(dy: NDArray, dx: NDArray, geometry: ResampleGeometry) -> None:
    """Write the gradient: what each element has given, from all outputs that it was given to."""
    _interpolation(geometry, dy.dtype, True)(dy, dx)


@lru_cache(maxsize=256)
def _nails(x_shape: tuple[int, ...], kernel: tuple[int, ...], dtype: np.dtype, backward: bool) -> Program:
    maps = [nails(size, step) for size, step in zip(x_shape[2:], kernel, strict=True)]
    return separable.plan([axis.transposed() if backward else axis for axis in maps], prod(x_shape[:2]), dtype)


def bed_of_nails(x: NDArray, y: NDArray, kernel: tuple[int, ...]) -> None:
    """Write each element into the first place of a block of zeros."""
    _nails(x.shape, kernel, x.dtype, False)(x, y)


def bed_of_nails_backward(dy: NDArray, dx: NDArray, kernel: tuple[int, ...]) -> None:
    """Write the gradients of the first places."""
    _nails(dx.shape, kernel, dx.dtype, True)(dy, dx)
