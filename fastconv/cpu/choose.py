"""Which algorithm computes a convolution, and which view: lanes are pixels where few channels meet, else channels.

`candidates` lists the ways to compute a pass, and `chosen` takes one: rules pick among the direct sums, and a model of
costs decides between that sum and the transforms. The geometry alone decides, never the number of threads, and never
the size of the batch: an image has the same bits in every batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from functools import lru_cache, partial
from math import log2, prod

import numpy as np

from fastconv.cpu import (
    depthwise,
    depthwise_weight,
    direct,
    direct_weight,
    pixels,
    pixels_weight,
    pointwise,
    rowwise,
    rowwise_weight,
    transformed,
    transformed_weight,
)
from fastconv.cpu.axes import Side
from fastconv.cpu.circles import MOST_PANEL_BYTES, circles, panel_bytes, why_not_dense, why_not_fourier
from fastconv.cpu.epilogue import PLAIN, Epilogue
from fastconv.cpu.fourier import fourier, points_of
from fastconv.cpu.loop import Program
from fastconv.cpu.points import Family, winograd
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
PREPACKED_BATCH = 2  # images that share the reading of packed weights
WINOGRAD_OUTPUTS = (4, 2)  # of a tile, along an axis


@dataclass(frozen=True, slots=True)
class Transform:
    """Nanoseconds of a family's transforms.

    Attributes
    ----------
    tile : float
        To bring an element of a tile to a point, or back.
    weight, packed_weight, weight_gradient : float
        To bring a weight to a point; to read one that was packed; to bring its gradient back.
    batch : int
        Images over which the weights' transform is spread, whatever the batch.
    """

    tile: float
    weight: float
    packed_weight: float
    weight_gradient: float
    batch: int


# A packed weight costs reading: in ResNet-18, one image of 512 channels of 7 x 7 took 8.3 ms, of which products are 1.
WINOGRAD = Transform(0.55, 0.7, 0.8, 1.2, 8)
# From 5 x 5 to 9 x 9 kernels and rows of 7 to 25 taps, 16 to 256 channels on planes of 4 x 4 to 56 x 56, rows to 60000;
# of tiles up to 16 x 16, or rows up to 32: above, they grow with the logarithm. Large kernels have more weights, and
# are for training in the first place: a larger batch shares their transform, which is not packed.
FOURIER = Transform(0.55, 0.9, 0.9, 2.0, 16)
LARGE_FACTOR, FACTOR_TIMES = 7, 0.12  # odd, of a size, and how much longer each more makes the transform
FEWEST_CHANNELS = 8  # a group, from which circular tiles may pay


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to compute a pass of a convolution.

    Attributes
    ----------
    name : str
        As a user would say it: 'direct', 'winograd 4x4', 'fft 16x16'.
    algorithm : str
        What a user asks for to get it: 'direct', 'winograd' or 'fft'.
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

    They are the views of a direct sum, then the transforms.
    """
    return _direct_sums(kind, geometry, dtype) + _winograd(kind, geometry, dtype) + _fourier(kind, geometry, dtype)


def chosen(ways: Sequence[Candidate], algorithm: str = "auto") -> Candidate:
    """Take one of the candidates: by the rules first, then by the predicted time.

    Who asks for an algorithm, such as 'direct', gets it wherever it can compute the pass, against the rules too.
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
    return why_not_dense(geometry)


# ---- the model of costs ----------------------------------------------------------------------------------------


def _winograd(kind: str, geometry: ConvGeometry, dtype: np.dtype) -> list[Candidate]:
    tiles, why_not = WINOGRAD_OUTPUTS, why_not_winograd(geometry)
    if kind == "backward_weight":
        tiles = WINOGRAD_OUTPUTS[:1]
        why_not = why_not or _why_no_image(geometry)
    ways = []
    for m in tiles:
        about = kind, geometry, dtype, (m + 2) ** 2, (m, m), WINOGRAD
        milliseconds = None if why_not else _transformed_milliseconds(*about)
        plan = _transformed_plan(kind, winograd(m, 3))
        ways.append(_transform(f"winograd {m}x{m}", "winograd", plan, milliseconds, why_not, dtype))
    return ways


def _fourier(kind: str, geometry: ConvGeometry, dtype: np.dtype) -> list[Candidate]:
    why_not = why_not_fourier(geometry)
    if kind == "backward_weight":
        why_not = why_not or _why_no_image(geometry)
    if why_not:
        return [_transform("fft", "fft", None, None, why_not, dtype)]
    milliseconds, size, outputs = min(_circular_tiles(kind, geometry, dtype))
    plan = _transformed_plan(kind, fourier(size, outputs, geometry.window.kernel))
    rule = "few channels a group" if min(geometry.group_in, geometry.group_out) < FEWEST_CHANNELS else None
    return [_transform("fft {}x{}".format(*size), "fft", plan, milliseconds, why_not, dtype, rule)]


def _why_no_image(geometry: ConvGeometry) -> str | None:
    return None if geometry.batch else "it needs an image"


def _transform(
    name: str, algorithm: str, plan: Callable | None, milliseconds: float | None, why_not: str | None,
    dtype: np.dtype, rule: str | None = None,
) -> Candidate:  # fmt: skip
    if dtype != np.float32:
        rule = f"{dtype} is always summed directly"
    return Candidate(name, algorithm, plan, milliseconds, why_not, rule, behind=rule is not None)


def _transformed_plan(kind: str, family: Family) -> Callable[..., Program]:
    """Return what makes the plan: of all points of a few tiles, or of a row of points of many."""
    large = rowwise.suits(family)
    if kind == "backward_weight":
        module = rowwise_weight if large else transformed_weight
    else:
        module = rowwise if large else transformed
    return partial(getattr(module, f"{_pass(kind)}_plan"), family=family)


def _circular_tiles(kind: str, geometry: ConvGeometry, dtype: np.dtype) -> list[tuple[float, tuple, tuple]]:
    """List (milliseconds, size, outputs) of the tiles that a panel of weights leaves memory for."""
    found = []
    for size, outputs in circles(kind, geometry):
        if panel_bytes(geometry, size) <= MOST_PANEL_BYTES:
            times = max(1, log2(prod(size)) / (5 if 1 in size else 8))
            odd = max(n // (n & -n) for n in size)
            times *= 1 + max(0, odd - LARGE_FACTOR) * FACTOR_TIMES
            *costs, batch = astuple(FOURIER)
            price = Transform(*(times * cost for cost in costs), batch)
            milliseconds = _transformed_milliseconds(kind, geometry, dtype, points_of(size), outputs, price)
            found.append((milliseconds, size, outputs))
    return found


def _transformed_milliseconds(
    kind: str, geometry: ConvGeometry, dtype: np.dtype, points: int, tile: tuple[int, int], price: Transform
) -> float:
    """Predict the time of tiles of so many outputs.

    The gradient of the weights is a sum over the batch, and may be chosen by the batch's size.
    """
    ins, outs, size = _extents(kind, geometry)
    lanes = VECTOR_BYTES // dtype.itemsize
    ins_held, outs_held = (_vectors(c, dtype) * lanes for c in (ins, outs))
    of_weights = price.weight_gradient
    if kind == "prepacked":
        of_weights = price.packed_weight * _images(geometry) / PREPACKED_BATCH
    elif kind != "backward_weight":
        of_weights = price.weight * _images(geometry) / price.batch
    tiles = _images(geometry) * prod(-(-n // m) for n, m in zip(size, tile, strict=True))
    of_tiles = tiles * (PRODUCT * ins * outs_held + price.tile * (ins_held + outs_held))
    return _milliseconds(geometry, dtype, points * (of_tiles + of_weights * ins * outs_held))


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
    modelled = None in (why_not_winograd(geometry), why_not_fourier(geometry))
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
