"""Which view computes a convolution: lanes are pixels where few channels meet, else channels.

The geometry alone decides, never the number of threads. The constants are from 3 x 3 and 5 x 5 kernels on planes of
7 x 7 to 56 x 56, with 1 to 32 output channels a group and 1, 4, 16, 64 input channels, in float32 and float64, on one
core with AVX-512 and with AVX2.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import prod
from types import ModuleType

import numpy as np

from fastconv.cpu import depthwise, direct, direct_weight, pixels, pixels_weight
from fastconv.cpu.axes import Side
from fastconv.cpu.loop import Program
from fastconv.cpu.simd import VECTOR_BYTES
from fastconv.geometry import ConvGeometry

FULL_ENOUGH = 3 / 4  # of a vector, above which channels fill it: with 12 of 16 pixels took 0.7-0.95 of the time
SHORT_SUM = 8  # vectors in a plane of output, below which the sums of a gradient are read and written too often


@lru_cache(maxsize=512)
def forward_plan(geometry: ConvGeometry, dtype: np.dtype, bias: bool) -> Program:
    """Program of (x, w, b, y)."""
    return _view(Side.forward, geometry, dtype).forward_plan(geometry, dtype, bias)


@lru_cache(maxsize=512)
def backward_data_plan(geometry: ConvGeometry, dtype: np.dtype) -> Program:
    """Program of (dy, w, None, dx)."""
    return _view(Side.backward, geometry, dtype).backward_data_plan(geometry, dtype)


@lru_cache(maxsize=512)
def backward_weight_plan(geometry: ConvGeometry, dtype: np.dtype) -> Program:
    """Program of (x, dy, dw, db)."""
    side = _side(Side.forward, geometry)
    view = pixels_weight if side and _few_weights(side, geometry, dtype) else direct_weight
    return view.backward_weight_plan(geometry, dtype)


def _side(make: Callable[[ConvGeometry], Side], geometry: ConvGeometry) -> Side | None:
    """Return the axes along which pixels can be lanes, if they can."""
    if len(geometry.input_size) > 2:
        return None
    side = make(geometry)
    return side if side.fits() else None


def _view(make: Callable[[ConvGeometry], Side], geometry: ConvGeometry, dtype: np.dtype) -> ModuleType:
    side = _side(make, geometry)
    if side is None or side.out_channels > FULL_ENOUGH * (VECTOR_BYTES // dtype.itemsize):
        return direct
    return depthwise if depthwise.fits(side) else pixels


def _few_weights(side: Side, geometry: ConvGeometry, dtype: np.dtype) -> bool:
    """Whether to sum a vector for each weight: with 16 lanes, up to 16 x 1, 11 x 4, 8 x 16 or 5 x 64 channels."""
    lanes = VECTOR_BYTES // dtype.itemsize
    short = prod(geometry.output_size) < SHORT_SUM * lanes
    return side.out_channels * side.in_channels**0.25 <= (lanes / 2 if short else lanes)
