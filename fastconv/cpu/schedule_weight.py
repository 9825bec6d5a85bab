"""Cutting the gradient with respect to the weights into bands of pixels, entries of taps, and tiles of channels.

A *band* is a set of output pixels whose ``dy`` is packed at a time: some rows, or part of a long row, or several small
images. An *entry* is a run of neighbouring taps in a kernel row, with the pixels of the band for which they meet input.
A *tile* is a group of channels: with an entry it makes one call of the register tile, whose rows are channels x taps of
the run.
"""

from __future__ import annotations

import numpy as np

from fastconv.cpu.microkernel import MOST_POINTERS, most_rows, tile
from fastconv.cpu.schedule import FEW_ZEROS, apart, panel_vectors, split
from fastconv.cpu.simd import VECTOR_BYTES
from fastconv.cpu.slabs import SLABS, Slabs
from fastconv.cpu.tables import Tables
from fastconv.cpu.taps import View

PIXEL_BYTES = 25 << 10  # of packed dy: it stays in L1 while all weights pass over it
FEW_CHANNELS = 8  # below which the tile fills its rows with taps

BAND = 5 + SLABS  # numbers of a band

Range = tuple[int, int]


class WeightSchedule:
    """Bands, entries and tiles of one view.

    Attributes
    ----------
    images : int
        Images in a band.
    bands : list
        (first entry, last entry, pixels of an image, place in the output plane, place in the input plane, and its
        `Slabs`: first input row, rows of a slab, first input column, slabs, rows from one to the next); for all
        `images`, then again for those that are left at the end.
    entries : list
        (depth, a_steps, b_steps, first row of the sums).
    tiles : list
        (address, a_rows, first row of the sums, rows).
    channels : list
        (first, last) channel of each tile.
    reach : int
        Input columns that a band meets.
    run, rows : int
        Neighbouring taps of a tile, rows of the sums.
    copied : bool
        Input rows are copied between zeros first.
    """

    def __init__(
        self, view: View, batch: int, groups: int, in_channels: int, out_channels: int, dtype: np.dtype, exact: bool
    ):
        self.view, self.in_channels, self.dtype = view, in_channels, dtype
        self.n = VECTOR_BYTES // dtype.itemsize
        self.vectors = panel_vectors(out_channels, self.n)
        self.width = self.vectors * self.n
        self.tables = Tables()
        (self.phase,) = view.columns
        self.advance = self.phase.advance
        self._choose_run(exact)
        self.starts = [min(t, view.tap_columns - self.run) for t in range(0, view.tap_columns, self.run)]
        self.rows = view.tap_rows * len(self.starts) * in_channels * self.run
        most_pixels = max(1, PIXEL_BYTES // (self.width * dtype.itemsize))
        plane = view.out_rows * view.out_columns
        self.images = 1 if self.copied else max(1, min(batch, most_pixels // plane))
        self.image_step = groups * in_channels * view.in_rows * view.in_columns
        self.bands: list[tuple[int, ...]] = []
        self.entries: list[tuple[int, ...]] = []
        self.tiles: list[tuple[int, ...]] = []
        self.channels: list[Range] = []
        self._kinds: dict[tuple, Range] = {}
        self._build(batch, most_pixels)

    def _choose_run(self, exact: bool) -> None:
        """Let neighbouring taps share an address where all pixels meet input through all of them, or nearly all."""
        view, phase = self.view, self.phase
        ranges = [phase.inside(offset, view.in_columns) for _, offset in phase.taps]
        real = sum(high - low for low, high in ranges)
        zeros = phase.count * len(ranges) - real
        few = self.in_channels < FEW_CHANNELS or zeros <= FEW_ZEROS * real
        self.shared = view.tap_columns > 1 and few and not (exact and zeros)
        self.copied = self.shared and zeros > 0
        self.run = split(view.tap_columns, most_rows(self.vectors))[0] if self.shared else 1

    def _build(self, batch: int, most_pixels: int) -> None:
        view, cut = self.view, self._cut(most_pixels)
        spans = [self._input_columns(columns) for _, columns in cut]
        self.reach = max(high - low for low, high in spans)
        self.pitch = self.reach if self.copied else view.in_columns
        met = [view.slabs(rows) for rows, _ in cut]
        self.slab_rows = max(slabs.rows for slabs in met)
        self.copy_plane = view.in_rows * view.in_columns
        if self.copied:
            most_rows_met = max(slabs.planes for slabs in met) * self.slab_rows
            self.copy_plane = apart(most_rows_met * self.pitch + self.n, self.dtype)
        self.most_pixels = max(len(rows) * (columns[1] - columns[0]) for rows, columns in cut) * self.images
        self._add_tiles()
        for images in (self.images, batch % self.images):
            for (rows, columns), (column, _), slabs in zip(cut, spans, met, strict=True):
                self._add_band(rows, columns, column, images, slabs)

    def _cut(self, most: int) -> list[tuple[range, Range]]:
        view = self.view
        if view.out_columns > most:
            first, parts = 0, []
            for count in split(view.out_columns, most):
                parts.append((first, first + count))
                first += count
            return [(range(r, r + 1), columns) for r in range(view.out_rows) for columns in parts]
        height = view.out_height if self.copied else view.out_rows  # a copy holds what one plane of outputs meets
        rows = split(height, most // view.out_columns)[0]
        return [
            (range(r, min(r + rows, plane + height)), (0, view.out_columns))
            for plane in range(0, view.out_rows, height)
            for r in range(plane, plane + height, rows)
        ]

    def _input_columns(self, columns: Range) -> Range:
        offsets = [offset for _, offset in self.phase.taps]
        return columns[0] * self.advance + min(offsets), (columns[1] - 1) * self.advance + max(offsets) + 1

    # ---- tiles and entries ----

    def _add_tiles(self) -> None:
        most = MOST_POINTERS if self.run == 1 else max(1, min(MOST_POINTERS, most_rows(self.vectors) // self.run))
        step = self.phase.taps[1][1] - self.phase.taps[0][1] if self.view.tap_columns > 1 else 1
        first = 0
        for count in split(self.in_channels, most):
            a_rows = self.tables.place(c * self.copy_plane for c in range(first, first + count))
            rows = count * self.run
            address = tile(self.dtype, rows, self.vectors, self.run, step)
            self.tiles.append((address, a_rows, first * self.run, rows))
            self.channels.append((first, first + count))
            first += count

    def _add_band(self, rows: range, columns: Range, column: int, images: int, met: Slabs) -> None:
        taps = tuple(tuple((tap, self._row(place, met)) for tap, place in self.view.row_taps[r]) for r in rows)
        kind = (taps, columns, images)
        if kind not in self._kinds:
            first = len(self.entries)
            for r in range(self.view.tap_rows):
                for p, start in enumerate(self.starts):
                    self._add_entry(r, p, start, taps, columns, column if self.copied else 0, images)
            self._kinds[kind] = (first, len(self.entries))
        pixels = len(rows) * (columns[1] - columns[0])
        y = rows.start * self.view.out_columns + columns[0]
        x = 0 if self.copied else met.first * self.view.in_columns
        self.bands.append((*self._kinds[kind], pixels, y, x, *met.describe(column)))

    def _row(self, place: int, met: Slabs) -> int:
        """Return where an input row stands, counted from the first one or in the copy."""
        return met.copied(place, self.slab_rows) if self.copied else place - met.first

    def _add_entry(self, r: int, p: int, start: int, taps: tuple, columns: Range, column: int, images: int) -> None:
        """Append the pixels that meet input through tap row r and the run of taps from `start` on."""
        offset = self.phase.taps[start][1]
        low, high = (0, self.phase.count) if self.shared else self.phase.inside(offset, self.view.in_columns)
        low, high = max(low, columns[0]), min(high, columns[1])
        met = [(i, place) for i, row in enumerate(taps) for tap, place in row if tap == r]
        if not met or low >= high or not images:
            return
        i, place = np.array(met).T[:, None, :, None]
        image, j = np.arange(images)[:, None, None], np.arange(low, high)
        size = columns[1] - columns[0]
        a = image * self.image_step + place * self.pitch + j * self.advance + offset - column
        b = (image * len(taps) + i) * size + j - columns[0]
        first = (r * len(self.starts) + p) * self.in_channels * self.run
        steps = self.tables.place(a.ravel()), self.tables.place(b.ravel() * self.width)
        self.entries.append((a.size, *steps, first))

    def positions(self) -> np.ndarray:
        """Row of the sums of each weight (channel, tap row, tap column)."""
        c, r, t = np.indices((self.in_channels, self.view.tap_rows, self.view.tap_columns)).reshape(3, -1)
        p = t // self.run
        within = t - np.array(self.starts)[p]
        return ((r * len(self.starts) + p) * self.in_channels + c) * self.run + within
