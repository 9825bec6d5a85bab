"""Cutting a convolution into regions of output, and each region into calls of the register tile.

A *region* is what one task computes: some rows of the output, or part of a long row. Its rows are gathered into
*spans*: a few rows that meet the input in the same way, up to a shift. All spans of one kind share one list of *calls*,
so that a large image needs no more tables than a small one.

The products of a sum are cut into *passes*: all spans go through one pass before the next begins, so that its part of
the weights stays in the L1 cache (L2 feeds the tile at 120 GFLOP/s, L1 at 136).
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from fastconv.cpu.microkernel import MOST_POINTERS, UNROLLED, most_rows, tile
from fastconv.cpu.simd import VECTOR_BYTES
from fastconv.cpu.slabs import SLABS, Slabs
from fastconv.cpu.tables import Tables
from fastconv.cpu.taps import Phase, View

INPUT_BYTES = 300 << 10  # of input that a task reads: it stays in L2 while all output channels pass over it
SUMS_BYTES = 64 << 10  # of sums that a task holds
PASS_BYTES = 12 << 10  # of weights in a pass: they stay in L1 as well
SHORT_SUM = 64  # products of one kernel column, below which partial sums cost more than multiplying zeros
FEW_ZEROS = 0.05  # share of products with padding below which the same holds: 92 -> 111 GFLOP/s, 64 channels of 56x56
LARGE_PLANE = 8 << 10  # bytes of a channel, from which each lies in pages of its own: copied rows need fewer

REGION = 4 + SLABS  # numbers of a region

Range = tuple[int, int]


def split(n: int, most: int) -> list[int]:
    """n as a sum of parts of at most `most` that differ by at most one."""
    parts = -(-n // most)
    return [n // parts + (i < n % parts) for i in range(parts)]


def apart(elements: int, dtype: np.dtype) -> int:
    """Round up to an odd number of cache lines: streams a multiple of 4096 bytes apart would evict each other."""
    line = 64 // dtype.itemsize
    return (-(-elements // line) | 1) * line


def panel_vectors(channels: int, n: int) -> int:
    """Vectors side by side in a tile: two, or one or three where that wastes fewer lanes."""
    return {1: 1, 3: 3}.get(-(-channels // n), 2)


class Schedule:
    """Regions, spans and calls of one view.

    Attributes
    ----------
    regions : list
        (first span, last span, pixels, place in the output plane, and its `Slabs`: first input row, rows of a
        slab, first input column, slabs, rows from one to the next).
    spans : list
        (place in the input, place in the sums, where the passes of its kind stand in `passes`, how many such there are,
        from one to the next in the input, in the sums).
    passes : list
        First call of each pass of each kind, and the last of its last.
    calls : list
        (tile, depth, a, a_rows, a_steps, b, b_steps, c, c_rows, first): offsets as the register tile takes them;
        `first` where the sums start with the bias.
    copied : bool
        Input rows are copied between zeros first; `pitch` columns a row, `slab_rows` rows a slab, `copy_plane` elements
        a channel.
    filled : bool
        The sums start with the bias in memory, because no call is the first of all sums.
    """

    def __init__(self, view: View, in_channels: int, out_channels: int, dtype: np.dtype, exact: bool = False):
        self.view, self.channels = view, in_channels
        self.dtype, self.n = dtype, VECTOR_BYTES // dtype.itemsize
        self.vectors = panel_vectors(out_channels, self.n)
        self.width = self.vectors * self.n
        self.row_bytes = self.width * dtype.itemsize
        self.tables = Tables()
        self.no_offsets = self.tables.place([0] * most_rows(1))
        self.padded = not exact and self._pad_columns()
        self.copied = self.padded or view.in_rows * view.in_columns * dtype.itemsize >= LARGE_PLANE
        work = [self._passes(p) for p in view.columns]
        self._work = list(zip(view.columns, work, strict=True))
        self.order = self._order()
        self.pass_count = max(1, max(len(passes) for passes in work))
        first_covers = all(passes and passes[0][0] == (0, p.count) for p, passes in self._work)
        self.filled = not (first_covers and all(view.row_taps))
        self.regions: list[tuple[int, ...]] = []
        self.spans: list[tuple[int, ...]] = []
        self.passes: list[int] = []
        self.calls: list[tuple[int, ...]] = []
        self._kinds: dict[tuple, int] = {}
        self._build()

    def _build(self) -> None:
        view, cut = self.view, self._cut()
        widths = [high - low for low, high in (self._input_columns(columns) for _, columns in cut)]
        self.pitch = max(widths) if self.copied else view.in_columns
        met = [view.slabs(rows) for rows, _ in cut]
        self.slab_rows = max(slabs.rows for slabs in met)
        self.copy_plane = view.in_rows * view.in_columns
        if self.copied:
            most_rows_met = max(slabs.planes for slabs in met) * self.slab_rows
            self.copy_plane = apart(most_rows_met * self.pitch + self.n, self.dtype)
        self.copy_size = self.channels * self.copy_plane + self.n if self.copied else 0
        self.most_pixels = max(len(rows) * (columns[1] - columns[0]) for rows, columns in cut)
        for (rows, columns), slabs in zip(cut, met, strict=True):
            self._add_region(rows, columns, slabs)

    def _order(self) -> np.ndarray:
        """Row of the panel of each product (channel, tap row, tap column), in the order in which passes read them."""
        view = self.view
        order = np.full((self.channels, view.tap_rows, view.tap_columns), -1)
        met = [tap for tap, _ in sorted(max(view.row_taps, key=len), key=lambda pair: pair[1])]
        tap_rows = met + [tap for tap in range(view.tap_rows) if tap not in met]
        place = 0
        for _, passes in self._work:
            for _, taps, (first, last) in passes:
                shape = (last - first, view.tap_rows, len(taps))
                block = np.ix_(range(first, last), tap_rows, [t for t, _ in taps])
                order[block] = place + np.arange(np.prod(shape)).reshape(shape)
                place += np.prod(shape)
        never = order < 0  # taps that meet only padding
        order[never] = place + np.arange(np.count_nonzero(never))
        return order

    # ---- passes ----

    def _pad_columns(self) -> bool:
        """Whether rows are copied between zeros: where sums are short, or where the zeros are few."""
        inside = [
            (phase.count, *phase.inside(offset, self.view.in_columns))
            for phase in self.view.columns
            for _, offset in phase.taps
        ]
        all_products, real = sum(count for count, _, _ in inside), sum(high - low for _, low, high in inside)
        short = self.channels * self.view.tap_rows < SHORT_SUM
        return all_products > real and (short or all_products <= real * (1 + FEW_ZEROS))

    def _groups(self, phase: Phase, *, padded: bool) -> list[tuple[Range, list[tuple[int, int]]]]:
        """Taps of a phase, by the range of outputs for which they meet input; the longest range first."""
        if padded:
            return [((0, phase.count), list(phase.taps))] if phase.taps else []
        found: dict[Range, list[tuple[int, int]]] = {}
        for tap, offset in phase.taps:
            found.setdefault(phase.inside(offset, self.view.in_columns), []).append((tap, offset))
        met = [(outputs, taps) for outputs, taps in found.items() if outputs[0] < outputs[1]]
        return sorted(met, key=lambda group: group[0][0] - group[0][1])

    def _passes(self, phase: Phase) -> list[tuple[Range, list[tuple[int, int]], Range]]:
        """List the passes of a phase: (outputs, taps, channels) of each."""
        in_order = sorted(phase.taps, key=lambda pair: pair[1])
        groups = self._groups(replace(phase, taps=tuple(in_order)), padded=self.padded)
        most_taps = max((len(taps) for _, taps in groups), default=1)
        most = max(1, PASS_BYTES // (self.row_bytes * self.view.tap_rows * most_taps))
        size = split(self.channels, most)[0]
        if size > UNROLLED:  # so that few products are left over when they are taken several at a time
            size = -(-size // UNROLLED) * UNROLLED
        return [
            (outputs, taps, (first, min(first + size, self.channels)))
            for first in range(0, self.channels, size)
            for outputs, taps in groups
        ]

    # ---- regions ----

    def _cut(self) -> list[tuple[range, Range]]:
        """Rows and columns of each region: some whole rows, or part of one."""
        view = self.view
        most = max(1, SUMS_BYTES // self.row_bytes)
        if view.out_columns > most:
            spacing = view.columns[0].spacing
            part = max(spacing, most // spacing * spacing)
            starts = range(0, view.out_columns, part)
            parts = [(q, min(q + part, view.out_columns)) for q in starts]
            return [(range(r, r + 1), columns) for r in range(view.out_rows) for columns in parts]
        height = view.out_height if self.copied else view.out_rows  # a copy holds what one plane of outputs meets
        rows = 1
        while rows < height and (rows + 1) * view.out_columns <= most and self._fits(rows + 1, height):
            rows += 1
        rows = split(height, rows)[0]
        whole_lines = self.n // math.gcd(self.n, view.out_columns)
        if rows > whole_lines:  # results then leave in whole cache lines
            rows = rows // whole_lines * whole_lines
        return [
            (range(r, min(r + rows, plane + height)), (0, view.out_columns))
            for plane in range(0, view.out_rows, height)
            for r in range(plane, plane + height, rows)
        ]

    def _fits(self, rows: int, height: int) -> bool:
        first = self.view.out_rows // height // 2 * height + (height - rows) // 2
        met = self.view.slabs(range(first, first + rows))
        return met.planes * met.rows * self.channels * self.view.in_columns * self.dtype.itemsize <= INPUT_BYTES

    def _input_columns(self, columns: Range) -> Range:
        """Input columns, existing or not, that these output columns meet."""
        met = [
            j * phase.advance + offset
            for phase in self.view.columns
            for low, high in [self._outputs(phase, columns)]
            if low < high
            for _, offset in phase.taps
            for j in (low, high - 1)
        ]
        return (min(met), max(met) + 1) if met else (0, 1)

    @staticmethod
    def _outputs(phase: Phase, columns: Range) -> Range:
        """Range of a phase's outputs that lie in these columns."""
        low, high = (-((phase.first - q) // phase.spacing) for q in columns)
        return max(0, low), min(phase.count, high)

    def _add_region(self, rows: range, columns: Range, met: Slabs) -> None:
        first_span = len(self.spans)
        column = self._input_columns(columns)[0] if self.copied else 0
        strips: list[list[tuple[int, int, int]]] = []
        for kind, group in self._alike(rows, met):
            r, start = group[0]
            shape = tuple((row - r, first - start) for row, first in group)
            source = start * self.pitch - column
            target = (r - rows.start) * self.view.out_columns * self.width
            self._extend(strips, (source, target, self._kind(kind, shape, columns)))
        for strip in strips:
            shifts = [b - a for a, b in zip(*strip[:2], strict=True)][:2] if len(strip) > 1 else [0, 0]
            self.spans.append((*strip[0], len(strip), *shifts))
        pixels = len(rows) * (columns[1] - columns[0])
        y = rows.start * self.view.out_columns + columns[0]
        self.regions.append((first_span, len(self.spans), pixels, y, *met.describe(column)))

    @staticmethod
    def _extend(strips: list[list[tuple[int, int, int]]], span: tuple[int, int, int]) -> None:
        """Append a span to the strip of its kind, if it lies as far from the last one as that from the one before."""
        for strip in strips:
            (x, sums, kind), (x_last, sums_last, _) = strip[0], strip[-1]
            gaps = max(1, len(strip) - 1)
            even = (x_last - x, sums_last - sums) == (gaps * (span[0] - x_last), gaps * (span[1] - sums_last))
            if kind == span[2] and (even or len(strip) == 1):
                strip.append(span)
                return
        strips.append([span])

    def _alike(self, rows: range, met: Slabs) -> list[tuple[tuple, list[Range]]]:
        """List groups of (row, first input row) that meet the input in the same way, as many as one tile takes."""
        alike: dict[tuple, list[Range]] = {}
        for r in rows:
            taps = self.view.row_taps[r]
            if self.copied:
                taps = tuple((tap, met.copied(place, self.slab_rows)) for tap, place in taps)
            start = taps[0][1] if taps else 0
            alike.setdefault(tuple((tap, place - start) for tap, place in taps), []).append((r, start))
        groups = []
        for kind, members in alike.items():
            place = 0
            for count in split(len(members), self._rows_at_once()):
                groups.append((kind, members[place : place + count]))
                place += count
        return sorted(groups, key=lambda group: group[1])

    # ---- calls ----

    def _rows_at_once(self) -> int:
        """Image rows in one tile: several where they are short."""
        longest = max(p.count for p in self.view.columns)
        return max(1, min(MOST_POINTERS, most_rows(self.vectors) // longest))

    def _kind(self, kind: tuple, shape: tuple, columns: Range) -> int:
        """Where the passes of such spans stand: rows that start `shape` apart and meet the input rows of `kind`."""
        key = kind, shape, columns
        if key not in self._kinds:
            self._kinds[key] = len(self.passes)
            for index in range(self.pass_count):
                self.passes.append(len(self.calls))
                for phase, passes in self._work:
                    if index < len(passes):
                        self._add_calls(phase, passes[index], kind, shape, columns, index == 0)
            self.passes.append(len(self.calls))
        return self._kinds[key]

    def _add_calls(self, phase: Phase, work: tuple, kind: tuple, shape: tuple, columns: Range, first: bool) -> None:
        """Append the calls of one pass of one phase."""
        (low, high), taps, channels = work
        begin, end = self._outputs(phase, columns)
        low, high = max(low, begin), min(high, end)
        if low >= high or not kind:
            return
        depth, a, a_steps, b, b_steps = self._products(taps, channels, kind)
        a_rows = self.tables.place(start * self.pitch for _, start in shape)
        for run in split(high - low, most_rows(self.vectors) // len(shape)):
            pixels = [row * self.view.out_columns + j * phase.spacing for row, _ in shape for j in range(run)]
            address = tile(self.dtype, run * len(shape), self.vectors, run, phase.advance)
            c = (phase.first + low * phase.spacing - columns[0]) * self.width
            c_rows = self.tables.place(p * self.width for p in pixels)
            starts = first and not self.filled
            source = a + low * phase.advance
            self.calls.append((address, depth, source, a_rows, a_steps, b, b_steps, c, c_rows, int(starts)))
            low += run

    def _products(self, taps: list[Range], channels: Range, kind: tuple) -> tuple[int, int, int, int, int]:
        """Depth of the sums, and where the input and the weight of each product lie: of the first one, and tables.

        Tables count from the first: most passes share theirs, which stay in L1.
        """
        rows = sorted(kind, key=lambda pair: pair[1])
        order = [(t, offset, c, r, row) for c in range(*channels) for r, row in rows for t, offset in taps]
        t, offset, c, r, row = np.array(order, np.int64).T
        a, b = c * self.copy_plane + row * self.pitch + offset, self.order[c, r, t] * self.width
        return len(order), int(a[0]), self.tables.place(a - a[0]), int(b[0]), self.tables.place(b - b[0])
