"""Direct convolution and its gradient with respect to the input where very few channels meet: lanes are pixels.

A depthwise convolution is one, of any multiplier; so is the gradient with respect to an input of one channel. The slide
tile reads planes where they lie: no copy is made, and forward, gradient, stride 1 and stride 2 differ in what the tile
is compiled for. Measured on planes of 12 x 12 to 112 x 112, this takes the time of the memory.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from fastconv.cpu.axes import ONE_PLANE, Side
from fastconv.cpu.epilogue import EPILOGUE_FIELDS, PLAIN, Epilogue, distance
from fastconv.cpu.loop import Program, kernel
from fastconv.cpu.microkernel_slide import call_slide, slide_tile
from fastconv.cpu.schedule import split
from fastconv.cpu.strip import blocks_of, sizes_of
from fastconv.geometry import ConvGeometry

TASK_BYTES = 64 << 10  # of input and output, below which a task computes several planes
BAND_BYTES = 256 << 10  # of the same, above which a plane is cut into bands of rows
AHEAD_BYTES = 4 << 10  # from the request for a line to its use: 64 x 576 planes of 12 x 12, stride 2, took 3.9 ms
# without requests, 3.1 ms at one plane ahead, 2.8 ms at 4 KiB
ENOUGH_TASKS = 16  # so that a task more or less on one of a few cores costs little
MOST_SUMS = 16  # half of the registers of AVX-512
MOST_TAPS = 128  # all its products stand in the tile's code
MOST_SHARED_TAPS = 32  # with 7 x 7 weights and 64 output channels the other view took 1.4 ms, this one 1.7
MOST_PAIRS = 4  # of input and output channels


@kernel(
    x="real", w="real", b="real", y="real", tile="int", sizes="int64", rows="int", bands="int", band_rows="int",
    planes="int", all_planes="int", blocks="int", groups="int", x_step="int", y_step="int", out_channels="int",
    group_step="int", out_step="int", b_step="int", ahead="int",
    **EPILOGUE_FIELDS,
)  # fmt: skip
def slide_planes(args, task, slot):
    """Compute a band of output rows in some groups."""
    row, plane = task % args.bands * args.band_rows, task // args.bands * args.planes
    rows, last = min(args.band_rows, args.rows - row), min(plane + args.planes, args.all_planes)
    apart = distance(args.addend, args.y)
    while plane < last:
        group = plane % args.groups
        count = min(args.blocks, last - plane, args.groups - group)
        for o in range(args.out_channels):
            call_slide(
                args.tile, args.sizes, args.x + plane * args.x_step,
                args.w + (group * args.group_step + o * args.out_step),
                args.b + (group * args.out_channels + o) * args.b_step,
                args.y + (plane * args.out_channels + o) * args.y_step, count, row, rows, args.ahead,
                args.limits, apart,
            )  # fmt: skip
        plane += count


# ---- plans -----------------------------------------------------------------------------------------------------


def thin(side: Side) -> bool:
    """Whether so few channels meet that to load an input for each output costs little: 2 x 2, 1 x 64, but not 4 x 4."""
    if side.depth != ONE_PLANE:
        return False
    return min(side.in_channels, side.out_channels) == 1 or side.in_channels * side.out_channels <= MOST_PAIRS


def taps_of(side: Side) -> int:
    """Taps of the kernel."""
    return side.group_step // (side.in_channels * side.out_channels)


def fits(side: Side) -> bool:
    """Whether the slide serves: few channels, and few taps, so that sums and shared weights stay in registers."""
    sums = side.spacings * (side.rows.more + 1)
    most = MOST_TAPS if side.out_channels == 1 else MOST_SHARED_TAPS
    return thin(side) and 1 < taps_of(side) <= most and sums <= MOST_SUMS


def band_rows_of(side: Side, dtype: np.dtype, planes: int) -> int:
    """Rows of output places in a band, where there are so many planes."""
    bands = max(-(-plane_sizes(side)[2] * dtype.itemsize // BAND_BYTES), -(-ENOUGH_TASKS // max(1, planes)))
    # At least four times as many rows as a band loads again.
    return split(side.rows.count, max(1, 4 * side.rows.more, side.rows.count // bands))[0]


def plane_sizes(side: Side) -> tuple[int, int, int]:
    """Elements of a plane of the input, and of the output, and both."""
    x, y = side.rows.size * side.columns.size, side.rows.outputs * side.columns.outputs
    return x, y, x + y


def planes_ahead(side: Side, dtype: np.dtype) -> int:
    """Planes from a request to its use."""
    x, y, _ = plane_sizes(side)
    return -(-AHEAD_BYTES // (max(x * side.in_channels, y * side.out_channels) * dtype.itemsize))


@lru_cache(maxsize=512)
def forward_plan(geometry: ConvGeometry, dtype: np.dtype, bias: bool, epilogue: Epilogue = PLAIN) -> Program:
    """Program of (x, w, b, y) and what the epilogue takes."""
    return _program(Side.forward(geometry), geometry, dtype, bias, epilogue)


@lru_cache(maxsize=512)
def backward_data_plan(geometry: ConvGeometry, dtype: np.dtype, bias: bool) -> Program:
    """Program of (dy, w, b, dx); `b` is None without a bias."""
    return _program(Side.backward(geometry), geometry, dtype, bias, PLAIN)


def _program(side: Side, geometry: ConvGeometry, dtype: np.dtype, bias: bool, epilogue: Epilogue) -> Program:
    all_planes = geometry.batch * geometry.groups
    band_rows, blocks = band_rows_of(side, dtype, all_planes), blocks_of(side, dtype.itemsize)
    bands = -(-side.rows.count // band_rows)
    x_plane, y_plane, _ = plane_sizes(side)
    group_bytes = (x_plane * side.in_channels + y_plane * side.out_channels) * dtype.itemsize
    planes = max(1, min(TASK_BYTES // group_bytes, all_planes // ENOUGH_TASKS))

    program = epilogue.program(dtype)
    program.multiplies_padding = True
    program.add(
        slide_planes, -(-all_planes // planes) * bands, x=program.x, w=program.w,
        b=program.b if bias else program.table(np.zeros(1), dtype), b_step=int(bias), y=program.y,
        tile=slide_tile(side, dtype, blocks, epilogue != PLAIN), sizes=program.table(sizes_of(side, bias), np.int64),
        rows=side.rows.count, bands=bands, band_rows=band_rows, planes=planes, all_planes=all_planes, blocks=blocks,
        groups=geometry.groups, x_step=side.in_channels * x_plane, y_step=y_plane, out_channels=side.out_channels,
        group_step=side.group_step, out_step=side.out_step, ahead=planes_ahead(side, dtype),
        **epilogue.arguments(program),
    )  # fmt: skip
    return program
