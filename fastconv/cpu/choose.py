"""Which algorithm computes a convolution, and which view: lanes are pixels where few channels meet, else channels.

`candidates` lists the ways to compute a pass, and `chosen` takes one: rules pick among the direct sums, and a model of
costs decides between that sum and the transforms. The geometry alone decides, never the number of threads, and never
the size of the batch: an image has the same bits in every batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from math import prod

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
from fastconv.cpu.epilogue import PLAIN, Epilogue
from fastconv.cpu.loop import Program
from fastconv.cpu.simd import VECTOR_BYTES
from fastconv.geometry import ConvGeometry

PASSES = ("forward", "backward_data", "backward_weight")

# Views, from 3 x 3 and 5 x 5 kernels on planes of 7 x 7 to 56 x 56, with 1 to 32 output channels a group and 1, 4, 16,
# 64 input channels, in float32 and float64, with AVX-512 and with AVX2.
FULL_ENOUGH = 3 / 4  # of a vector, above which channels fill it: with 12 of 16 pixels took 0.7-0.95 of the time
FEW_CHANNELS = "few channels meet, and few taps: their sums stay in registers"
SHORT_SUM = 8  # vectors in a plane of output, below which the sums of a gradient are read and written too often

# Algorithms. Nanoseconds of one core with AVX-512 in float32, from 3 x 3 layers of 16 to 512 channels on planes of
# 4 x 4 to 224 x 224. In float64 they double, or nearly: registers hold half the numbers, which are twice the bytes.
DIRECT = (1 / 38, 1 / 57)  # a multiply-add, where the channels of the result fill one vector, or more
DIRECT_WEIGHT = (1 / 34, 1 / 50)  # the same in the weights' gradient
PRODUCT = 1 / 50  # a multiply-add at a point
TRANSFORM = 0.55  # to bring an element of a tile to a point, or back
WEIGHT, WEIGHT_GRADIENT = 0.7, 1.2  # to bring a weight to a point, and its gradient back
NOMINAL_BATCH = 8  # images over which the weights' transform is spread
READ, PREPACKED_BATCH = 0.8, 2  # to read a weight at a point that was brought there before, and images that share it:
# in ResNet-18, one image of 512 channels of 7 x 7 took 8.3 ms, of which the products are 1
WINOGRAD_OUTPUTS = (4, 2)  # of a tile, along an axis


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to compute a pass of a convolution.

    Attributes
    ----------
    name : str
        As a user would say it: 'direct', 'winograd 4x4'.
    algorithm : str
        What a user asks for to get it: 'direct' or 'winograd'.
    plan : callable
        Makes the Program, of (geometry, dtype), and, but for the weights' gradient, whether there is a bias; in the
        forward pass also of the `Epilogue`.
    milliseconds : float or None
        Predicted time on one core; None where a rule alone decides.
    why_not : str or None
        What of the geometry it cannot do.
    rule : str or None
        The rule that decides, in words.
    behind : bool
        Whether the rule puts another one before it.
    """

    name: str
    algorithm: str
    plan: Callable[..., Program]
    milliseconds: float | None
    why_not: str | None
    rule: str | None
    behind: bool


@lru_cache(maxsize=512)
def forward_plan(
    geometry: ConvGeometry,
    dtype: np.dtype,
    bias: bool,
    algorithm: str = "auto",
    epilogue: Epilogue = PLAIN,
    prepacked: bool = False,
) -> Program:
    """Program of (x, w, b, y) and what the epilogue takes; if `prepacked`, to be called with packed weights."""
    ways = candidates("prepacked" if prepacked else "forward", geometry, dtype)
    program = chosen(ways, algorithm).plan(geometry, dtype, bias, epilogue)
    return program.prepacked() if prepacked else program


@lru_cache(maxsize=512)
def backward_data_plan(geometry: ConvGeometry, dtype: np.dtype, bias: bool, algorithm: str = "auto") -> Program:
    """Program of (dy, w, b, dx), where a bias is added to dx: that is the forward pass of a transposed convolution."""
    return chosen(candidates("backward_data", geometry, dtype), algorithm).plan(geometry, dtype, bias)


@lru_cache(maxsize=512)
def backward_weight_plan(geometry: ConvGeometry, dtype: np.dtype, algorithm: str = "auto") -> Program:
    """Program of (x, dy, dw, db)."""
    return chosen(candidates("backward_weight", geometry, dtype), algorithm).plan(geometry, dtype)


def candidates(kind: str, geometry: ConvGeometry, dtype: np.dtype) -> list[Candidate]:
    """List the ways to compute a pass, one of `PASSES`, or 'prepacked', which is forward with weights packed before.

    They are the views of a direct sum, then Winograd's algorithm.
    """
    return _direct_sums(kind, geometry, dtype) + _transforms(kind, geometry, dtype)


def chosen(ways: Sequence[Candidate], algorithm: str = "auto") -> Candidate:
    """Take one of the candidates: by the rules first, then by the predicted time.

    Who asks for an algorithm, 'direct' or 'winograd', gets it wherever it can compute the pass, against the rules too.
    """
    able = [way for way in ways if not way.why_not]
    able = [way for way in able if way.algorithm == algorithm] or able
    in_front = [way for way in able if not way.behind]
    return min(in_front or able, key=lambda way: way.milliseconds)


def why_not_winograd(geometry: ConvGeometry) -> str | None:
    """Say what of a geometry Winograd's algorithm cannot do; None where it can."""
    window = geometry.window
    if window.kernel != (3, 3):
        return f"it needs a kernel of (3, 3), got {window.kernel}"
    if window.stride != (1, 1) or window.dilation != (1, 1):
        return f"it needs stride and dilation 1, got {window.stride} and {window.dilation}"
    return None


# ---- the model of costs ----------------------------------------------------------------------------------------


def _transforms(kind: str, geometry: ConvGeometry, dtype: np.dtype) -> list[Candidate]:
    module, tiles, why_not = transformed, WINOGRAD_OUTPUTS, why_not_winograd(geometry)
    if kind == "backward_weight":
        module, tiles = transformed_weight, WINOGRAD_OUTPUTS[:1]
        why_not = why_not or (None if geometry.batch else "it needs an image")
    in_single = dtype == np.float32
    rule = None if in_single else f"{dtype} is always summed directly"
    return [
        Candidate(
            f"winograd {m}x{m}",
            "winograd",
            partial(getattr(module, f"{_pass(kind)}_plan"), outputs=m),
            None if why_not else _winograd_milliseconds(kind, geometry, dtype, m),
            why_not,
            rule,
            behind=not in_single,
        )
        for m in tiles
    ]


def _winograd_milliseconds(kind: str, geometry: ConvGeometry, dtype: np.dtype, tile: int) -> float:
    """Predict the time of F(tile x tile, 3 x 3).

    The gradient of the weights is a sum over the batch, and may be chosen by the batch's size.
    """
    ins, outs, size = _extents(kind, geometry)
    lanes = VECTOR_BYTES // dtype.itemsize
    ins_held, outs_held = (_vectors(c, dtype) * lanes for c in (ins, outs))
    of_weights = WEIGHT_GRADIENT
    if kind != "backward_weight":
        once, share = (READ, PREPACKED_BATCH) if kind == "prepacked" else (WEIGHT, NOMINAL_BATCH)
        of_weights = once * _images(geometry) / share
    tiles = _images(geometry) * prod(-(-n // tile) for n in size)
    at_a_point = tiles * (PRODUCT * ins * outs_held + TRANSFORM * (ins_held + outs_held)) + of_weights * ins * outs_held
    return _milliseconds(geometry, dtype, (tile + 2) ** 2 * at_a_point)


def _direct_milliseconds(kind: str, geometry: ConvGeometry, dtype: np.dtype) -> float:
    ins, outs, size = _extents(kind, geometry)
    vectors = _vectors(outs, dtype)
    lanes = vectors * (VECTOR_BYTES // dtype.itemsize)
    cost = (DIRECT_WEIGHT if kind == "backward_weight" else DIRECT)[vectors > 1]
    products = _images(geometry) * prod(size) * prod(geometry.window.kernel) * ins * lanes
    return _milliseconds(geometry, dtype, products * cost)


def _extents(kind: str, geometry: ConvGeometry) -> tuple[int, int, tuple[int, ...]]:
    """Return the channels of a group that meet, those of the result, and the size of the plane that is tiled."""
    if kind == "backward_data":
        return geometry.group_out, geometry.group_in, geometry.input_size
    return geometry.group_in, geometry.group_out, geometry.output_size


def _vectors(channels: int, dtype: np.dtype) -> int:
    """Return how many vectors hold the channels."""
    return -(-channels // (VECTOR_BYTES // dtype.itemsize))


def _pass(kind: str) -> str:
    return "forward" if kind == "prepacked" else kind


def _images(geometry: ConvGeometry) -> int:
    """Return the batch; an empty one chooses like one image."""
    return max(1, geometry.batch)


def _milliseconds(geometry: ConvGeometry, dtype: np.dtype, nanoseconds: float) -> float:
    """Convert the nanoseconds of a group in float32."""
    return nanoseconds * 1e-6 * geometry.groups * dtype.itemsize / 4


# ---- the rules: views of a direct sum --------------------------------------------------------------------------


def _direct_sums(kind: str, geometry: ConvGeometry, dtype: np.dtype) -> list[Candidate]:
    side = _side(kind, geometry)
    weight = kind == "backward_weight"
    window = depthwise_weight if weight else depthwise
    no_pixels = None if side else "it needs strides of 1 or 2, and few taps beyond the input"
    no_window = None if side and window.fits(side) else "it needs very few channels a group, and a small kernel"
    no_product = None if pointwise.fits(geometry) else "it needs a kernel of one tap and no padding"
    views = [
        ("direct", direct_weight if weight else direct, None),
        ("pixels", pixels_weight if weight else pixels, no_pixels),
        ("depthwise", window, no_window),
        *([] if weight else [("pointwise", pointwise, no_product)]),
    ]
    name, rule = (_weight_view if weight else _view)(side, geometry, dtype)
    modelled = why_not_winograd(geometry) is None
    milliseconds = _direct_milliseconds(kind, geometry, dtype) if modelled else None
    return [
        Candidate(
            view,
            "direct",
            getattr(module, f"{_pass(kind)}_plan"),
            milliseconds if view == name else None,
            why_not,
            rule,
            behind=view != name,
        )
        for view, module, why_not in views
    ]


def _side(kind: str, geometry: ConvGeometry) -> Side | None:
    """Return the axes along which pixels can be lanes, if they can."""
    side = Side.backward(geometry) if kind == "backward_data" else Side.forward(geometry)
    return side if side.fits() else None


def _view(side: Side | None, geometry: ConvGeometry, dtype: np.dtype) -> tuple[str, str]:
    """Name the view to take, and the rule in words."""
    if pointwise.fits(geometry):
        return "pointwise", "one tap without padding is a matrix product"
    if side is None:
        return "direct", "lanes cannot be pixels"
    if depthwise.fits(side):
        return "depthwise", FEW_CHANNELS
    lanes = VECTOR_BYTES // dtype.itemsize
    channels = f"result channels a group ({side.out_channels})"
    if side.out_channels <= FULL_ENOUGH * lanes:
        return "pixels", f"{channels} do not fill vectors of {lanes}"
    return "direct", f"{channels} fill vectors of {lanes}"


def _weight_view(side: Side | None, geometry: ConvGeometry, dtype: np.dtype) -> tuple[str, str]:
    """Name the same for the gradient of the weights.

    Pixels sum a vector for each weight: with 16 lanes, of up to 16 x 1, 11 x 4, 8 x 16 or 5 x 64 channels.
    """
    if side is None:
        return "direct", "lanes cannot be pixels"
    if depthwise_weight.fits(side):
        return "depthwise", FEW_CHANNELS
    lanes = VECTOR_BYTES // dtype.itemsize
    short = prod(geometry.output_size) < SHORT_SUM * lanes
    channels = f"channels a group ({side.out_channels} x {side.in_channels})"
    if side.out_channels * side.in_channels**0.25 <= (lanes / 2 if short else lanes):
        return "pixels", f"{channels} are few enough to sum a vector for each weight"
    return "direct", f"{channels} are too many to sum a vector for each weight"
