"""Bands of rows copied between zeros, so that pixels can be lanes.

In the copy of a band all rows have the same pitch, and follow each other. One difference of addresses then leads from
every output of the band to its input through a tap, and a vector of neighbouring places holds the inputs of
neighbouring outputs, across the ends of rows: a plane of 14 x 14 fills its lanes as well as one of 224 x 224. Sums that
stand between two rows, where no output is, are computed and left out.
"""

from __future__ import annotations

import numpy as np

from fastconv import jit
from fastconv.cpu.axes import ONE_PLANE, Side, Tap
from fastconv.cpu.loop import Program
from fastconv.cpu.panels import clear, copy_lines, split_lines
from fastconv.cpu.schedule import split
from fastconv.cpu.simd import VECTOR_BYTES, lanes, prefetch, prefetch_to_write
from fastconv.geometry import ConvGeometry

BAND_BYTES = 100 << 10  # of copied input and of what is computed from it: together they stay in L2
TASK_BYTES = 32 << 10  # of output, below which a task computes several planes
AHEAD = 3  # calls from the request for a line of output to its use: 144 planes of 56 x 56 went from 4.0 to 3.4 ms
ENOUGH_TASKS = 16  # so that a task more or less on one of a few cores costs little
MOST_LONGER = 8 / 7  # of a row that is rounded up to whole vectors


class Bands:
    """Bands of some rows, or parts of one row, and the layout of their copies.

    A channel's copy has a plane for each phase of the input. Its rows lie `pitch` apart; the zeros at the end of each
    also serve as the padding before the next. Before the first row there are `lead` zeros.

    Parameters
    ----------
    side : Side
    dtype : dtype
    channels : int
        Planes of output, of any phase, that a band needs room for.
    """

    def __init__(self, side: Side, dtype: np.dtype, channels: int):
        rows, columns = side.rows, side.columns
        self.side, self.n = side, VECTOR_BYTES // dtype.itemsize
        planes = side.in_channels * side.steps
        most = BAND_BYTES // (max(planes, channels) * dtype.itemsize)  # elements of a plane's copy
        most_columns = max(most // (1 + rows.more) - columns.more, 8 * self.n, columns.more)
        self.band_columns, self.band_rows = split(columns.count, most_columns)[0], 1
        if self.band_columns == columns.count:
            self.first_column, lead = 0, max(0, -columns.first)
            self.pitch = self._aligned(max(columns.count + max(0, columns.last), columns.used + lead))
            # At least twice as many rows as the next band copies again.
            self.band_rows = split(rows.count, max(1, 2 * rows.more, most // self.pitch - rows.more))[0]
        else:  # part of a row is copied with its own padding
            self.first_column, lead = columns.first, 0
            self.pitch = self.band_columns + columns.more
        self.parts = -(-columns.count // self.band_columns)
        self.count = -(-rows.count // self.band_rows) * self.parts
        self.pixels = (self.band_rows - 1) * self.pitch + self.band_columns
        line = 64 // dtype.itemsize
        self.lead = -(-lead // line) * line
        # The last vector of a band, seen through the last tap, still lies in its plane. An odd number of cache lines:
        # at a multiple of 4096 bytes planes would evict each other.
        end = self.lead + (self.band_rows + rows.more) * self.pitch + max(columns.more, columns.last) + 2 * self.n
        self.plane = (-(-end // line) | 1) * line
        self.copy_size = planes * self.plane

    def _aligned(self, pitch: int) -> int:
        """Whole vectors, where that costs few lanes: then fewer loads cross a cache line."""
        whole = -(-pitch // self.n) * self.n
        return whole if whole <= pitch * MOST_LONGER else pitch

    def place(self, channel: int, row: Tap, column: Tap) -> int:
        """Where in the copy stands what the band's first output meets in a channel, through a tap of each axis."""
        side = self.side
        plane = (channel * side.rows.step + row[2]) * side.columns.step + column[2]
        return plane * self.plane + (row[1] - side.rows.first) * self.pitch + self.lead + column[1] - self.first_column

    def arguments(self, program: Program) -> dict[str, int]:
        """Arguments of a kernel over bands, of the kinds in BAND_FIELDS."""
        rows, columns, depth = self.side.rows, self.side.columns, self.side.depth
        channels = self.side.in_channels // depth.taps
        return dict(
            bands=self.count, parts=self.parts, band_rows=self.band_rows, band_columns=self.band_columns,
            rows=rows.count, columns=columns.count, first_row=rows.first, first_column=self.first_column,
            more_rows=rows.more, row_step=rows.step, column_step=columns.step,
            used_columns=min(columns.size, columns.used * columns.step),
            pitch=self.pitch, lead=self.lead, copy_plane=self.plane,
            x_channels=self.side.in_channels, x_rows=rows.size, x_columns=columns.size,
            depths=len(depth.met), x_planes=channels * depth.planes,
            met=program.table(depth.places(channels), np.int64),
        )  # fmt: skip

    def share(self, geometry: ConvGeometry, dtype: np.dtype, calls: int) -> dict[str, int]:
        """Arguments that say what a task computes, of the kinds in SHARE_FIELDS; a band takes so many `calls` of tiles.

        Before each of them some lines are fetched, of the input that is copied next and of the output.
        """
        side, rows = self.side, self.side.rows
        x_part = min(rows.size, self.band_rows * rows.step) * side.columns.size
        y_part = min(rows.outputs, self.band_rows * rows.spacing) * side.columns.outputs
        planes, all_planes = 1, geometry.batch * geometry.groups * len(side.depth.met)
        if self.count == 1:
            most = TASK_BYTES // (side.out_channels * y_part * dtype.itemsize)
            planes = max(1, min(most, all_planes // ENOUGH_TASKS))
        if self.parts > 1 or side.depth != ONE_PLANE:
            x_part = y_part = 0  # one row follows another without a gap: the processor sees that; volumes: not tried
        lines = calls * self.n
        return dict(
            planes=planes, all_planes=all_planes, groups=geometry.groups,
            y_channels=side.out_channels, y_rows=rows.outputs, y_columns=side.columns.outputs,
            x_part=x_part, x_share=-(-x_part // lines) * self.n, y_share=-(-y_part // lines) * self.n,
        )  # fmt: skip


def _integers(names: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), "int")


BAND_FIELDS = _integers(
    "bands parts band_rows band_columns rows columns first_row first_column more_rows row_step column_step "
    "used_columns pitch lead copy_plane x_channels x_rows x_columns depths x_planes"
) | {"met": "int64"}
SHARE_FIELDS = _integers("planes all_planes groups y_channels y_rows y_columns x_part x_share y_share")


@jit.inline
def band_of(args, band):
    """Return (first row, rows, first column, columns) of a band's places."""
    row, column = band // args.parts * args.band_rows, band % args.parts * args.band_columns
    return row, min(args.band_rows, args.rows - row), column, min(args.band_columns, args.columns - column)


@jit.inline
def copy_band(args, x, depth, row, rows, column, target):
    """Copy what the outputs of `rows` rows from (depth, row, column) on meet in every channel; zeros if nothing is."""
    row, rows, column = row + args.first_row, rows + args.more_rows, column + args.first_column
    steps, pitch, plane = args.row_step, args.pitch, args.copy_plane
    for c in range(args.x_channels):
        place = args.met[depth * args.x_channels + c]
        for phase in range(steps):
            first = min(rows, max(0, -row)) if place >= 0 else rows
            # Steps are 1 or 2: a division took longer than copying a row.
            last = max(first, min(rows, ((args.x_rows - phase + steps - 1) >> (steps - 1)) - row))
            source = x + (place * args.x_rows + (row + first) * steps + phase) * args.x_columns
            line, count = steps * args.x_columns, last - first
            begin, end = args.lead + first * pitch, args.lead + last * pitch
            even = target + (c * steps + phase) * args.column_step * plane
            odd = even + plane
            clear_around(even, begin, end, plane)
            if args.column_step == 1:
                copy_lines(source, line, count, args.used_columns, column, even + begin, pitch)
            else:
                clear_around(odd, begin, end, plane)
                split_lines(source, line, count, args.used_columns, 2 * column, even + begin, odd + begin, pitch)


@jit.inline
def clear_around(plane, begin, end, size):
    """Write zeros before and behind the rows of a plane; what follows the plane is written later."""
    clear(plane, begin)
    clear(plane + end, size - end)


@jit.inline
def next_input(args, x, row, rows):
    """Where the input of the next band begins: below this one's, or in the next plane."""
    if row + rows == args.rows:
        return x + args.x_planes * args.x_rows * args.x_columns
    return x + (row + rows) * args.row_step * args.x_columns


@jit.inline
def fetch(args, x, y, call):
    """Ask for a share of the next band's input, and for the output of a call soon to come."""
    n = lanes(x)
    for c in range(args.x_planes):
        plane = c * args.x_rows * args.x_columns
        for i in range(call * args.x_share, min((call + 1) * args.x_share, args.x_part), n):
            prefetch(x, plane + i)
    for c in range(args.y_channels):
        plane = c * args.y_rows * args.y_columns
        for i in range((call + AHEAD) * args.y_share, (call + AHEAD + 1) * args.y_share, n):
            prefetch_to_write(y, plane + i)
