"""What the taps of a deformable convolution read: its *columns*, between the pixels of the input.

Each tap of each output has a place of its own, which all channels of an offset group share. So lanes are channels: the
input is copied to *ranges* of channels, ``[range][pixel][channel]``, and a sample is the sum of four rows of such a
range. With pixels as lanes, each of the four would be a gather of scattered elements, some ten times slower.

Where a pixel is not inside the input, one of zeros that follows the last one takes its place. What is read for a block
of outputs is written as ``[vectors / 2][output][2 vectors]``. The register tile can read it both ways: as factors A,
for its rows lie a constant two vectors apart, and as factors B, for each product is a whole row of lanes.
"""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import NDArray

from fastconv import jit
from fastconv.cpu.loop import At, Program, kernel
from fastconv.cpu.panels import gather_lanes
from fastconv.cpu.simd import VECTOR_BYTES, fma, head, lanes, load, load_beside, select, splat, store
from fastconv.cpu.simd_math import floor, to_integers
from fastconv.geometry import DeformGeometry

CHUNK = 1 << 10  # pixels of a task that copies
VECTORS = 2  # side by side in a column

# Lines of a block of spots: the weights of the four pixels around a place, its mask, and how far it lies from the first
# of them. Beside them, as integers, are the four pixels.
TOP_LEFT, TOP_RIGHT, BOTTOM_LEFT, BOTTOM_RIGHT, MASK, BELOW, BEHIND = range(7)
SPOT_LINES, PLACE_LINES = 7, 4

SPOT_FIELDS = dict(
    offset="real", mask="real", has_mask="int", rows="int32", columns="int32", tap_rows="int32", tap_columns="int32",
    in_rows="int", in_columns="int", plane="int", taps="int", offset_groups="int", block="int", spots="real",
    places="int32", worker_step="int", places_step="int", x="real", range_step="int", vectors="int",
)  # fmt: skip

# ---- kernels ---------------------------------------------------------------------------------------------------


@kernel(
    x="real", ranges="real", firsts="int64", range_count="int", range_step="int", vectors="int", channels="int",
    plane="int", chunk="int", chunks="int",
)  # fmt: skip
def gather_channels(args, task, slot):
    """Copy some pixels of one range of one image; after the last one come the zeros that stand for no pixel."""
    n, index, part = lanes(args.x), task // args.chunks, task % args.chunks
    image, which = index // args.range_count, index % args.range_count
    first, pixel = args.firsts[which], part * args.chunk
    channels, pitch = args.firsts[which + 1] - first, args.vectors * n
    count = min(args.chunk, args.plane - pixel)
    source = args.x + ((image * args.channels + first) * args.plane + pixel)
    target = args.ranges + (index * args.range_step + pixel * pitch)
    for c in range(0, pitch, n):
        present = min(n, channels - c)
        if present > 0:
            gather_lanes(source + c * args.plane, args.plane, present, count, target + c, pitch)
        else:
            for k in range(count):
                store(target, k * pitch + c, splat(target, 0.0))
    if part == args.chunks - 1:
        for c in range(0, pitch, n):
            store(target, count * pitch + c, splat(target, 0.0))


@jit.inline
def locate(base, shift, offset):
    """Row at or before a place, and the fraction of a row that is left: neither is rounded."""
    whole = floor(offset)
    fraction = offset - whole
    fraction = select(fraction == fraction, fraction, splat(offset, 0.0))  # inf - inf
    return base + splat(base, shift) + to_integers(whole), fraction


@jit.inline
def inside(row, fraction, rows):
    """Masks of where a row, and the next one, are rows of the input. Nothing is read at -1 and before it."""
    before, last = splat(row, -1), splat(row, rows - 1)
    first = (row > before) & (row <= last)
    return first, ((row > before) | ((row == before) & (fraction > splat(fraction, 0.0)))) & (row < last)


@jit.inline
def find_spots(args, image, offset_group, tap, first, count, spots, places):
    """Find where one tap lands for `count` outputs, from the `first` of a plane on."""
    n, size = lanes(spots), args.block
    line = (image * args.offset_groups + offset_group) * args.taps + tap
    offset, nowhere = args.offset + (2 * line * args.plane + first), args.in_rows * args.in_columns
    one, zero = splat(spots, 1.0), splat(spots, 0.0)
    for j in range(0, count, n):
        present = head(spots, count - j)
        y, x = load(offset, j, present), load(offset, args.plane + j, present)
        row, below = locate(load_beside(args.rows, first + j, offset, present), args.tap_rows[tap], y)
        column, behind = locate(load_beside(args.columns, first + j, offset, present), args.tap_columns[tap], x)
        top, bottom = inside(row, below, args.in_rows)
        left, right = inside(column, behind, args.in_columns)
        # A pixel takes part only if the whole place is inside; weights are those of zeros elsewhere.
        known = (y == y) & (x == x)
        rows, columns = (top | bottom) & known, left | right
        below = select(known, select(rows & columns, below, zero), y + x)
        behind = select(known, select(rows & columns, behind, zero), y + x)
        above, before = one - below, one - behind
        store(spots, TOP_LEFT * size + j, above * before)
        store(spots, TOP_RIGHT * size + j, above * behind)
        store(spots, BOTTOM_LEFT * size + j, below * before)
        store(spots, BOTTOM_RIGHT * size + j, below * behind)
        store(spots, BELOW * size + j, below)
        store(spots, BEHIND * size + j, behind)
        factor = one
        if args.has_mask:
            factor = load(args.mask, line * args.plane + first + j, present)
        store(spots, MASK * size + j, factor)
        pixel, none = row * splat(row, args.in_columns) + column, splat(row, nowhere)
        next_row, next_column = splat(row, args.in_columns), splat(row, 1)
        store(places, TOP_LEFT * size + j, select(top & left & rows, pixel, none))
        store(places, TOP_RIGHT * size + j, select(top & right & rows, pixel + next_column, none))
        store(places, BOTTOM_LEFT * size + j, select(bottom & left & rows, pixel + next_row, none))
        store(places, BOTTOM_RIGHT * size + j, select(bottom & right & rows, pixel + next_row + next_column, none))


@jit.inline
def column_place(args, index):
    """Where vector `index` of the first pixel's column stands."""
    return (index // VECTORS * args.block * VECTORS + index % VECTORS) * lanes(args.x)


@jit.inline
def sample(args, source, number, count, spots, places, columns):
    """Write what a tap reads of a range at `count` outputs, as the `number`-th tap of their columns."""
    n, size = lanes(source), args.block
    pitch = args.vectors * n
    for p in range(count):
        a, b = splat(source, spots[TOP_LEFT * size + p]), splat(source, spots[TOP_RIGHT * size + p])
        c, d = splat(source, spots[BOTTOM_LEFT * size + p]), splat(source, spots[BOTTOM_RIGHT * size + p])
        factor = splat(source, spots[MASK * size + p])
        at_a, at_b = source + places[TOP_LEFT * size + p] * pitch, source + places[TOP_RIGHT * size + p] * pitch
        at_c, at_d = source + places[BOTTOM_LEFT * size + p] * pitch, source + places[BOTTOM_RIGHT * size + p] * pitch
        for v in range(args.vectors):
            value = fma(b, load(at_b, v * n), a * load(at_a, v * n))
            value = fma(d, load(at_d, v * n), fma(c, load(at_c, v * n), value))
            place = column_place(args, number * args.vectors + v) + p * VECTORS * n
            store(columns, place, factor * value)


# ---- plans -----------------------------------------------------------------------------------------------------


class Ranges:
    """The channels of the input in ranges of at most `most`, which lie in one group and share their offsets.

    Attributes
    ----------
    firsts : list of int
        First channel of each range, and the number of all channels.
    vectors : int
        Vectors that hold the channels of a range.
    """

    def __init__(self, geometry: DeformGeometry, dtype: np.dtype, most: int):
        self.geometry, self.n = geometry, VECTOR_BYTES // dtype.itemsize
        segment, channels = geometry.segment, geometry.conv.in_channels
        count = -(-segment // most)
        self.vectors = -(-segment // (count * self.n))
        size = min(segment, self.vectors * self.n)
        starts = range(0, segment, size)
        self.firsts = [start + first for start in range(0, channels, segment) for first in starts] + [channels]
        self.count = len(self.firsts) - 1
        self.per_group = self.count // geometry.conv.groups
        self.per_offset_group = self.count // geometry.offset_groups
        self.plane = prod(geometry.conv.input_size)
        self.step = (self.plane + 1) * self.vectors * self.n

    def channels(self, index: int) -> int:
        """Channels of a range."""
        return self.firsts[index + 1] - self.firsts[index]

    def add_gather(self, program: Program, x: At) -> At:
        """Append the copy of the input; return where its ranges will be."""
        conv = self.geometry.conv
        place, chunks = program.workspace(conv.batch * self.count * self.step), -(-self.plane // CHUNK)
        program.add(
            gather_channels, conv.batch * self.count * chunks, x=x, ranges=place,
            firsts=program.table(self.firsts, np.int64), range_count=self.count, range_step=self.step,
            vectors=self.vectors, channels=conv.in_channels, plane=self.plane, chunk=CHUNK, chunks=chunks,
        )  # fmt: skip
        return place


class Spots:
    """The arguments of `find_spots` and `sample`, and the scratch memory that they need for blocks of pixels."""

    def __init__(self, geometry: DeformGeometry, ranges: Ranges, pixels: int):
        self.geometry, self.ranges = geometry, ranges
        self.block = -(-pixels // ranges.n) * ranges.n
        self.elements = (SPOT_LINES + PLACE_LINES) * self.block  # an integer takes no more room than a real number

    def arguments(self, program: Program, x: At, scratch: At, worker_step: int) -> dict[str, object]:
        """Return the arguments, given the places of the ranges and of the scratch memory."""
        conv, window, item = self.geometry.conv, self.geometry.conv.window, program.dtype.itemsize
        rows, columns = (self._starts(axis) for axis in (0, 1))
        taps = [np.arange(size) * gap for size, gap in zip(window.kernel, window.dilation, strict=True)]
        return {
            "offset": program.offset, "mask": program.mask, "has_mask": int(self.geometry.masked),
            "rows": program.table(np.repeat(rows, columns.size)),
            "columns": program.table(np.tile(columns, rows.size)),
            "tap_rows": program.table(np.repeat(taps[0], taps[1].size)),
            "tap_columns": program.table(np.tile(taps[1], taps[0].size)),
            "in_rows": conv.input_size[0], "in_columns": conv.input_size[1], "plane": prod(conv.output_size),
            "taps": self.geometry.taps, "offset_groups": self.geometry.offset_groups, "block": self.block,
            "spots": scratch, "places": scratch + SPOT_LINES * self.block * item, "worker_step": worker_step,
            "places_step": worker_step * item // 4, "x": x, "range_step": self.ranges.step,
            "vectors": self.ranges.vectors,
        }  # fmt: skip

    def _starts(self, axis: int) -> NDArray[np.int64]:
        """Row (or column) of the input where each output's window starts."""
        window, outputs = self.geometry.conv.window, self.geometry.conv.output_size[axis]
        return np.arange(outputs) * window.stride[axis] - window.padding[axis][0]
