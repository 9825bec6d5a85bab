"""Bands of rows copied between zeros, so that pixels can be lanes.

In the copy of a band all rows have the same pitch, and follow each other. One difference of addresses then leads from
every output of the band, rows and columns alike, to its input through a tap, and a vector of neighbouring places holds
the inputs of neighbouring outputs, across the ends of rows: a plane of 14 x 14 fills its lanes as well as one of 224 x
224. Sums that stand between two rows, where no output is, are computed and left out.

Where the convolution's stride is 2, even and odd rows and columns are copied apart; where the gradient's is, its even
and odd outputs are computed apart, and interleaved as they leave.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastconv import jit
from fastconv.cpu.panels import copy_lines
from fastconv.cpu.schedule import split
from fastconv.cpu.simd import VECTOR_BYTES, deinterleave, head, interleave, lanes, load, span, splat, store
from fastconv.cpu.taps import Phase

MOST_STEP = 2  # rows and columns are copied apart, or interleaved, two by two
MOST_LONGER = 9 / 8  # of a row that is rounded up to whole vectors
ONE_ROW = (Phase(0, 1, 1, 1, ((0, 0),)),)


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis, in *places*: an output stands at ``place * spacing + phase``, an input at ``place * step + phase``.

    Attributes
    ----------
    size, outputs : int
        Inputs and outputs.
    count : int
        Places of outputs.
    step, spacing : int
        Phases of the inputs, and of the outputs: one of the two is 1.
    first, last : int
        Places of the inputs that an output at place 0 meets lie from `first` to `last`.
    phases : tuple
        For each phase of the outputs its taps, (tap, place and phase of what an output at place 0 meets), in their
        order.
    """

    size: int
    outputs: int
    count: int
    step: int
    spacing: int
    first: int
    last: int
    phases: tuple[tuple[tuple[int, int, int], ...], ...]

    @classmethod
    def of(cls, phases: tuple[Phase, ...], size: int, outputs: int) -> Axis:
        """Describe the phases of an axis of `size` inputs."""
        step = phases[0].advance
        met = [sorted((*divmod(offset, step), tap) for tap, offset in phase.taps) for phase in phases]
        places = [place for taps in met for place, _, _ in taps] or [0]
        taps = tuple(tuple((tap, place, phase) for place, phase, tap in taps) for taps in met)
        return cls(size, outputs, phases[0].count, step, phases[0].spacing, min(places), max(places), taps)

    @property
    def more(self) -> int:
        """Places of inputs that a row of outputs meets beyond its own number."""
        return self.last - self.first

    @property
    def used(self) -> int:
        """Places of inputs that matter, from the first on."""
        return max(0, min(-(-self.size // self.step), self.count + self.last))

    def fits(self) -> bool:
        """Whether copies and sums of it can be made: each phase has taps, and there are at most two."""
        phases = max(self.step, self.spacing)
        return phases <= MOST_STEP and len(self.phases) == self.spacing and all(self.phases)

    def reach(self, phase: int) -> list[tuple[int, int]]:
        """For each place of outputs, which of the phase's taps meet input: (first, last), at least one."""
        offsets = [place * self.step + rest for _, place, rest in self.phases[phase]]
        ranges = []
        for place in range(0, self.count * self.step, self.step):
            low = sum(place + offset < 0 for offset in offsets)
            high = sum(place + offset < self.size for offset in offsets)
            low = min(low, len(offsets) - 1)
            ranges.append((low, max(high, low + 1)))
        return ranges


class Bands:
    """Bands of some rows, or parts of one row, and the layout of their copies.

    A channel's copy has a plane for each phase of the input. Its rows lie `pitch` apart, and are that long with the
    zeros behind them; these also serve as the padding before the next row. Before the first row there are `lead` zeros.

    Parameters
    ----------
    rows, columns : Axis
    channels : int
        Input channels of a group.
    dtype : dtype
    most : int
        Elements of a copy, unless a row has more.
    """

    def __init__(self, rows: Axis, columns: Axis, channels: int, dtype: np.dtype, most: int):
        self.rows, self.columns, self.channels = rows, columns, channels
        self.n = VECTOR_BYTES // dtype.itemsize
        planes = channels * rows.step * columns.step
        most_columns = max(most // (planes * (1 + rows.more)) - columns.more, 8 * self.n, columns.more)
        self.band_columns = split(columns.count, most_columns)[0]
        self.whole = self.band_columns == columns.count
        if self.whole:
            self.first_column, self.lead = 0, max(0, -columns.first)
            pitch = max(columns.count + max(0, columns.last), columns.used + self.lead)
            self.pitch = self._aligned(pitch)
        else:
            self.first_column, self.lead = columns.first, 0
            self.pitch = self.band_columns + columns.more
        most_rows = max(1, most // (planes * self.pitch) - rows.more) if self.whole else 1
        self.band_rows = split(rows.count, most_rows)[0]
        line = 64 // dtype.itemsize
        self.lead = -(-self.lead // line) * line
        # An odd number of cache lines: at a multiple of 4096 bytes planes would evict each other.
        lines = -(-(self.lead + (self.band_rows + rows.more) * self.pitch + 2 * self.n) // line) | 1
        self.plane = lines * line
        self.copy_size = planes * self.plane
        self.bands, self.parts = -(-rows.count // self.band_rows), -(-columns.count // self.band_columns)
        self.pixels = (self.band_rows - 1) * self.pitch + self.band_columns

    def _aligned(self, pitch: int) -> int:
        """Round up to whole vectors where that costs few lanes: copies, and some of the loads, then cross no line."""
        whole = -(-pitch // self.n) * self.n
        return whole if whole <= pitch * MOST_LONGER else pitch

    def place(self, channel: int, row: tuple[int, int, int], column: tuple[int, int, int]) -> int:
        """Place in the copy of what the band's first output meets in a channel, through a tap of each axis."""
        plane = (channel * self.rows.step + row[2]) * self.columns.step + column[2]
        place = (row[1] - self.rows.first) * self.pitch + self.lead + column[1] - self.first_column
        return plane * self.plane + place

    def arguments(self) -> dict[str, int]:
        """Arguments of a kernel that copies bands."""
        rows, columns = self.rows, self.columns
        return {
            "x_channels": self.channels, "x_rows": rows.size, "x_columns": columns.size,
            "used_columns": min(columns.size, columns.used * columns.step),
            "row_step": rows.step, "column_step": columns.step,
            "pitch": self.pitch, "lead": self.lead, "copy_plane": self.plane,
            "rows": rows.count, "columns": columns.count, "band_rows": self.band_rows, "band_columns":
            self.band_columns, "first_row": rows.first, "first_column": self.first_column, "more_rows": rows.more,
            "bands": self.bands, "parts": self.parts,
        }  # fmt: skip


FIELDS = dict.fromkeys(
    "x_channels x_rows x_columns used_columns row_step column_step pitch lead copy_plane rows columns band_rows "
    "band_columns first_row first_column more_rows bands parts".split(),
    "int",
)


@jit.inline
def copy_band(args, x, row, rows, column, target):
    """Copy the input of outputs in `rows` rows from (row, column) on, in every channel; zeros where there is none."""
    row, rows, column = row + args.first_row, rows + args.more_rows, column + args.first_column
    steps, pitch, plane = args.row_step, args.pitch, args.copy_plane
    for c in range(args.x_channels):
        for phase in range(steps):
            first = min(rows, max(0, -row))
            last = max(first, min(rows, (args.x_rows - phase + steps - 1) // steps - row))
            source = x + (c * args.x_rows + (row + first) * steps + phase) * args.x_columns
            even = target + (c * steps + phase) * args.column_step * plane
            begin, end = args.lead + first * pitch, args.lead + last * pitch
            clear(even, begin)
            if args.column_step == 1:
                copy_lines(source, steps * args.x_columns, last - first, args.used_columns, column, even + begin, pitch)
            else:
                odd = even + plane
                clear(odd, begin)
                split_lines(
                    source, steps * args.x_columns, last - first, args.used_columns, 2 * column,
                    even + begin, odd + begin, pitch,
                )  # fmt: skip
                clear(odd + end, plane - end - lanes(x))
            clear(even + end, plane - end - lanes(x))


@jit.inline
def clear(target, count):
    """Write zeros, in whole vectors."""
    zero = splat(target, 0)
    for i in range(0, count, lanes(target)):
        store(target, i, zero)


@jit.inline
def split_lines(source, step, rows, columns, column, even, odd, pitch):
    """Copy `rows` rows that lie `step` apart, even and odd columns from `column` on apart, `pitch` of each."""
    n = lanes(source)
    for r in range(rows):
        for k in range(0, pitch, n):
            line, here = source + r * step, column + 2 * k
            low = load(line, here, span(source, -here, columns - here))
            high = load(line, here + n, span(source, -here - n, columns - here - n))
            low, high = deinterleave(low, high)
            store(even, r * pitch + k, low)
            store(odd, r * pitch + k, high)


@jit.inline
def write_line(source, count, target):
    """``source[k]`` -> ``target[k]`` for k < count."""
    n = lanes(source)
    for k in range(0, count - n + 1, n):
        store(target, k, load(source, k))
    if count >= n:
        store(target, count - n, load(source, count - n))
    else:
        store(target, 0, load(source, 0), head(target, count))


@jit.inline
def interleave_line(even, odd, count, target):
    """``even[k], odd[k]`` -> ``target[2 * k], target[2 * k + 1]``, for `count` of these."""
    n = lanes(even)
    for k in range(0, count, 2 * n):
        low, high = interleave(load(even, k // 2), load(odd, k // 2))
        store(target, k, low, head(target, count - k))
        store(target, k + n, high, head(target, count - k - n))
