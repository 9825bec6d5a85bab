"""Which way a convolution is computed: the geometry alone decides.

Few channels in a group leave the lanes of `direct` empty, which are output channels; those of `pixels` are pixels.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from fastconv.cpu import direct, direct_weight, pixels
from fastconv.cpu.loop import Program
from fastconv.cpu.primitive import VECTOR_BYTES
from fastconv.geometry import ConvGeometry

FEW = 3 / 4  # of the lanes: for 64 -> 1, 6, 12, 14 channels pixels ran 2.9, 1.8, 1.2 and 0.97 times as fast, 16 lanes


def _few(channels: int, geometry: ConvGeometry, dtype: np.dtype) -> bool:
    return channels <= FEW * VECTOR_BYTES / dtype.itemsize and pixels.fits(geometry)


@lru_cache(maxsize=512)
def forward_plan(geometry: ConvGeometry, dtype: np.dtype, bias: bool) -> Program:
    """Program of (x, w, b, y)."""
    way = pixels if _few(geometry.group_out, geometry, dtype) else direct
    return way.forward_plan(geometry, dtype, bias)


@lru_cache(maxsize=512)
def backward_data_plan(geometry: ConvGeometry, dtype: np.dtype) -> Program:
    """Program of (dy, w, None, dx)."""
    way = pixels if _few(geometry.group_in, geometry, dtype) else direct
    return way.backward_data_plan(geometry, dtype)


@lru_cache(maxsize=512)
def backward_weight_plan(geometry: ConvGeometry, dtype: np.dtype) -> Program:
    """Program of (x, dy, dw, db)."""
    return direct_weight.backward_weight_plan(geometry, dtype)
