"""Which algorithm computes a convolution, and which view: lanes are pixels where few channels meet, else channels.

The geometry alone decides, never the number of threads, and never the size of the batch: an image has the same bits in
every batch. Constants are times of one core with AVX-512 unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import prod
from types import ModuleType

import numpy as np

from fastconv.cpu import (
    depthwise,
    depthwise_weight,
    direct,
    direct_weight,
    pixels,
    pixels_weight,
    pointwise,
    transformed,
    transformed_weight,
)
from fastconv.cpu.axes import Side
from fastconv.cpu.loop import Program
from fastconv.cpu.simd import VECTOR_BYTES
from fastconv.geometry import ConvGeometry

# Views, from 3 x 3 and 5 x 5 kernels on planes of 7 x 7 to 56 x 56, with 1 to 32 output channels a group and 1, 4, 16,
# 64 input channels, in float32 and float64, with AVX-512 and with AVX2.
FULL_ENOUGH = 3 / 4  # of a vector, above which channels fill it: with 12 of 16 pixels took 0.7-0.95 of the time
SHORT_SUM = 8  # vectors in a plane of output, below which the sums of a gradient are read and written too often

# Algorithms. Nanoseconds, from 3 x 3 layers of 16 to 512 channels on planes of 4 x 4 to 224 x 224.
DIRECT, DIRECT_WEIGHT = 1 / 60, 1 / 50  # a multiply-add; the same in the weights' gradient
PRODUCT = 1 / 50  # a multiply-add at a point
TRANSFORM = 0.45  # to bring an element of a tile to a point, or back
WEIGHT, WEIGHT_GRADIENT = 0.7, 1.2  # to bring a weight to a point, and its gradient back
NOMINAL_BATCH = 8  # images over which the weights' transform is spread
WINOGRAD_OUTPUTS = (4, 2)  # of a tile, along an axis


@lru_cache(maxsize=512)
def forward_plan(geometry: ConvGeometry, dtype: np.dtype, bias: bool, algorithm: str = "auto") -> Program:
    """Program of (x, w, b, y)."""
    outputs = _tile(geometry, dtype, algorithm, transposed=False)
    if outputs:
        return transformed.forward_plan(geometry, dtype, bias, outputs)
    return _view(Side.forward, geometry, dtype).forward_plan(geometry, dtype, bias)


@lru_cache(maxsize=512)
def backward_data_plan(geometry: ConvGeometry, dtype: np.dtype, algorithm: str = "auto") -> Program:
    """Program of (dy, w, None, dx)."""
    outputs = _tile(geometry, dtype, algorithm, transposed=True)
    if outputs:
        return transformed.backward_data_plan(geometry, dtype, outputs)
    return _view(Side.backward, geometry, dtype).backward_data_plan(geometry, dtype)


@lru_cache(maxsize=512)
def backward_weight_plan(geometry: ConvGeometry, dtype: np.dtype, algorithm: str = "auto") -> Program:
    """Program of (x, dy, dw, db)."""
    outputs = _weight_tile(geometry, dtype, algorithm)
    if outputs:
        return transformed_weight.backward_weight_plan(geometry, dtype, outputs)
    side = _side(Side.forward, geometry)
    if side and depthwise_weight.fits(side):
        return depthwise_weight.backward_weight_plan(geometry, dtype)
    view = pixels_weight if side and _few_weights(side, geometry, dtype) else direct_weight
    return view.backward_weight_plan(geometry, dtype)


# ---- algorithms ------------------------------------------------------------------------------------------------


def why_not_winograd(geometry: ConvGeometry) -> str | None:
    """Say what of a geometry Winograd's algorithm cannot do; None where it can."""
    window = geometry.window
    if window.kernel != (3, 3):
        return f"it needs a kernel of (3, 3), got {window.kernel}"
    if window.stride != (1, 1) or window.dilation != (1, 1):
        return f"it needs stride and dilation 1, got {window.stride} and {window.dilation}"
    return None


def _tile(geometry: ConvGeometry, dtype: np.dtype, algorithm: str, *, transposed: bool) -> int:
    """Return the outputs of Winograd's tile along an axis, or 0 for a direct sum; `transposed` for x's gradient."""
    ins, outs, size = geometry.group_in, geometry.group_out, geometry.output_size
    if transposed:
        ins, outs, size = outs, ins, geometry.input_size
    costs = {m: _winograd_cost(ins, outs, size, m, dtype, NOMINAL_BATCH, WEIGHT) for m in WINOGRAD_OUTPUTS}
    best = min(costs, key=lambda m: costs[m])
    direct_cost = DIRECT * NOMINAL_BATCH * prod(size) * 9 * ins * outs
    return best if _takes_winograd(geometry, dtype, algorithm, costs[best], direct_cost) else 0


def _weight_tile(geometry: ConvGeometry, dtype: np.dtype, algorithm: str) -> int:
    """Return the same for the gradient of the weights, a sum over the batch: that may choose by the batch's size."""
    ins, outs, size, tile = geometry.group_in, geometry.group_out, geometry.output_size, WINOGRAD_OUTPUTS[0]
    cost = _winograd_cost(ins, outs, size, tile, dtype, geometry.batch, WEIGHT_GRADIENT)
    direct_cost = DIRECT_WEIGHT * geometry.batch * prod(size) * 9 * ins * outs
    return tile if geometry.batch and _takes_winograd(geometry, dtype, algorithm, cost, direct_cost) else 0


def _takes_winograd(geometry: ConvGeometry, dtype: np.dtype, algorithm: str, cost: float, direct_cost: float) -> bool:
    if algorithm == "direct" or why_not_winograd(geometry):
        return False
    # In float64 a transform moves twice the bytes, and a register holds half the products.
    return algorithm == "winograd" or (dtype == np.float32 and cost < direct_cost)


def _winograd_cost(
    ins: int, outs: int, size: tuple[int, ...], tile: int, dtype: np.dtype, batch: int, weight: float
) -> float:
    """Nanoseconds of a group of F(tile x tile, 3 x 3)."""
    lanes = VECTOR_BYTES // dtype.itemsize
    points = (tile + 2) ** 2
    tiles = batch * prod(-(-n // tile) for n in size)
    ins_held, outs_held = (-(-c // lanes) * lanes for c in (ins, outs))
    return points * (
        tiles * (PRODUCT * ins * outs_held + TRANSFORM * (ins_held + outs_held)) + weight * ins * outs_held
    )


# ---- views of a direct sum -------------------------------------------------------------------------------------


def _side(make: Callable[[ConvGeometry], Side], geometry: ConvGeometry) -> Side | None:
    """Return the axes along which pixels can be lanes, if they can."""
    if len(geometry.input_size) > 2:
        return None
    side = make(geometry)
    return side if side.fits() else None


def _view(make: Callable[[ConvGeometry], Side], geometry: ConvGeometry, dtype: np.dtype) -> ModuleType:
    if pointwise.fits(geometry):
        return pointwise
    side = _side(make, geometry)
    if side and depthwise.fits(side):
        return depthwise
    few = side and side.out_channels <= FULL_ENOUGH * (VECTOR_BYTES // dtype.itemsize)
    return pixels if few else direct


def _few_weights(side: Side, geometry: ConvGeometry, dtype: np.dtype) -> bool:
    """Whether to sum a vector for each weight: with 16 lanes, up to 16 x 1, 11 x 4, 8 x 16 or 5 x 64 channels."""
    lanes = VECTOR_BYTES // dtype.itemsize
    short = prod(geometry.output_size) < SHORT_SUM * lanes
    return side.out_channels * side.in_channels**0.25 <= (lanes / 2 if short else lanes)
