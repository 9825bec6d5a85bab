"""Gradient of a convolution with respect to weights and bias where a group has few channels: lanes are pixels.

With x and dy copied to the same pitch, dy between zeros,

    dw[o, c, kh, kw] = sum over q of dy[o, q - kh * pitch] * x[c, q + kw]

runs over all places q of the copies: an outer product of the pairs (o, kh) with the pairs (c, kw), of which the dot
tile computes a block at a time. A depthwise 3 x 3 gradient takes 6 loads for its 9 products. Each sum is a vector,
whose lanes are added at the very end.

Bands are dealt to a fixed number of parts, whose sums are added in order: results do not depend on threads.
"""

from __future__ import annotations

from functools import cache, lru_cache
from math import prod

import numpy as np

from fastconv import jit, runtime
from fastconv.cpu.axes import Side
from fastconv.cpu.bands import BAND_FIELDS, ENOUGH_TASKS, Bands, band_of, copy_band
from fastconv.cpu.loop import Program, kernel
from fastconv.cpu.microkernel_pixels import MOST_DOT_POINTERS, call_dot_tile, dot_tile
from fastconv.cpu.panels import clear, copy_lines
from fastconv.cpu.simd import lanes, load, store, sum_lanes
from fastconv.cpu.tables import Tables
from fastconv.geometry import ConvGeometry

TASK_BYTES = 256 << 10  # of one image's input and output, below which a task sums several groups


@kernel(
    x="real", dy="real", sums="real", copy="real", gradient="real", worker_step="int", tiles="int64", tile_count="int",
    tables="int32", units="int", sum_parts="int", groups="int", group_count="int", sums_step="int", bias_place="int",
    y_channels="int", gradient_plane="int", **BAND_FIELDS,
)  # fmt: skip
def sum_pixels(args, task, slot):
    """Sum the products of a part of all bands, for some groups."""
    part, first = task % args.sum_parts, task // args.sum_parts * args.group_count
    last = min(first + args.group_count, args.groups)
    sums = args.sums + part * args.groups * args.sums_step
    copy, gradient = args.copy + slot * args.worker_step, args.gradient + slot * args.worker_step
    clear(sums + first * args.sums_step, (last - first) * args.sums_step)
    clear(gradient, args.y_channels * args.gradient_plane)
    for unit in range(part * args.units // args.sum_parts, (part + 1) * args.units // args.sum_parts):
        row, rows, column, columns = band_of(args, unit % args.bands)
        image, depth = unit // args.bands // args.depths, unit // args.bands % args.depths
        for group in range(first, last):
            plane = image * args.groups + group
            x = args.x + plane * args.x_planes * args.x_rows * args.x_columns
            dy = args.dy + (plane * args.y_channels * args.depths + depth) * args.rows * args.columns
            copy_band(args, x, depth, row, rows, column, copy)
            here = sums + group * args.sums_step
            copy_gradient(args, dy, row, rows, column, columns, gradient, here + args.bias_place)
            add_band(args, rows, copy, gradient, here, x, dy)


@jit.inline
def copy_gradient(args, dy, row, rows, column, columns, target, bias_sums):
    """Copy a band of dy between `more_rows` rows of zeros, and add it to the sums of the bias."""
    n, count = lanes(dy), rows * args.pitch
    for o in range(args.y_channels):
        band = target + (o * args.gradient_plane + args.more_rows * args.pitch)
        source = dy + (o * args.depths * args.rows + row) * args.columns
        copy_lines(source, args.columns, rows, column + columns, column, band, args.pitch)
        clear(band + count, args.gradient_plane - args.more_rows * args.pitch - count)
        total = load(bias_sums, o * n)
        for i in range(0, count, 4 * n):
            total = total + ((load(band, i) + load(band, i + n)) + (load(band, i + 2 * n) + load(band, i + 3 * n)))
        store(bias_sums, o * n, total)


@jit.inline
def add_band(args, rows, copy, gradient, sums, x, dy):
    """Add the products of a band to all sums of a group, and fetch what lies behind it in x and dy."""
    n = lanes(copy)
    x_size, y_size = args.x_planes * args.x_rows * args.x_columns, args.y_channels * args.rows * args.columns
    fetched = 0
    for t in range(args.tile_count):
        tile = args.tiles + 5 * t
        depth = ((rows + tile[1]) * args.pitch + n - 1) // n
        call_dot_tile(
            tile[0], depth, gradient, args.tables + tile[2], copy, args.tables + tile[3], sums + tile[4],
            x + (x_size + min(fetched, x_size)), dy + (y_size + min(fetched, y_size)),
        )  # fmt: skip
        fetched += depth * n


@kernel(
    sums="real", dw="real", db="real", places="int32", weights="int", y_channels="int", sum_parts="int",
    part_step="int", sums_step="int", bias_place="int",
)  # fmt: skip
def add_lanes(args, task, slot):
    """Add the parts, and then the lanes, of all sums of one group."""
    sums = args.sums + task * args.sums_step
    for i in range(args.weights):
        args.dw[task * args.weights + i] = add_parts(args, sums + args.places[i])
    for o in range(args.y_channels):
        place = args.bias_place + o * lanes(sums)
        args.db[task * args.y_channels + o] = add_parts(args, sums + place)


@jit.inline
def add_parts(args, sums):
    """Sum of a vector's lanes in all parts."""
    total = load(sums, 0)
    for part in range(1, args.sum_parts):
        total = total + load(sums, part * args.part_step)
    return sum_lanes(total)


# ---- plans -----------------------------------------------------------------------------------------------------


@cache
def tile_shape(rows: int, columns: int) -> tuple[int, int]:
    """Shape of the tiles that cover rows x columns sums with the fewest loads; one of x, not aligned, counts as two."""
    shapes = []
    for i in range(1, min(rows, MOST_DOT_POINTERS - 1) + 1):
        for j in range(1, min(columns, MOST_DOT_POINTERS - i) + 1):
            high, wide = -(-rows // i), -(-columns // j)
            i, j = -(-rows // high), -(-columns // wide)
            if (i + 1) * j + 1 <= runtime.registers():
                shapes.append((high * wide * (i + 2 * j), i, j))
    return min(shapes)[1:]


class Sums:
    """The tiles that compute all sums of a group.

    Attributes
    ----------
    tiles : list
        (tile, rows that it runs over beyond the band's own, a_rows, b_rows, place of its sums).
    places : ndarray
        Where the sum of each weight stands, as the weights lie in memory; then come those of the bias, `bias_place`.
    size : int
        Elements of all sums.
    gradient_plane : int
        Elements of a channel in the copy of dy.
    """

    def __init__(self, side: Side, bands: Bands, dtype: np.dtype):
        self.side, self.bands, self.dtype, self.tables = side, bands, dtype, Tables()
        more, n = side.rows.more, bands.n
        self.gradient_plane = -(-((bands.band_rows + 2 * more) * bands.pitch + 4 * n) // n) * n
        self.tiles: list[tuple[int, ...]] = []
        self.places = np.zeros(side.group_step, np.int64)
        self.bias_place = 0
        for phase in range(side.rows.step):
            self._add_phase(phase)
        self.size = self.bias_place + side.out_channels * n

    def _add_phase(self, phase: int) -> None:
        """Add the tiles of the kernel rows that meet one phase of the input's rows."""
        side = self.side
        row_taps = [tap for tap in side.rows.phases[0] if tap[2] == phase]
        outputs = [(row, o) for row in row_taps for o in range(side.out_channels)]
        inputs = [(c, column) for c in range(side.in_channels) for column in side.columns.phases[0]]
        if outputs:
            high, wide = tile_shape(len(outputs), len(inputs))
            for i in range(0, len(outputs), high):
                for j in range(0, len(inputs), wide):
                    self._add_tile(outputs[i : i + high], inputs[j : j + wide], high, wide)

    def _add_tile(self, outputs: list, inputs: list, high: int, wide: int) -> None:
        """Add a tile; where it has too many rows or columns, they repeat its last one."""
        bands, n = self.bands, self.bands.n
        first, last = outputs[0][0], outputs[-1][0]
        outer = outputs + outputs[-1:] * (high - len(outputs))
        inner = inputs + inputs[-1:] * (wide - len(inputs))
        # Row q of the tile's run meets row q + first of the input and, through a tap, row q + first - tap of dy.
        a_rows = [
            o * self.gradient_plane + (self.side.rows.more + first[1] - row[1]) * bands.pitch for row, o in outer
        ]
        b_rows = [bands.place(c, first, column) for c, column in inner]
        address = dot_tile(self.dtype, high, wide)
        tables = self.tables.place(a_rows), self.tables.place(b_rows)
        self.tiles.append((address, last[1] - first[1], *tables, self.bias_place))
        for i, (row, o) in enumerate(outputs):
            for j, (c, column) in enumerate(inputs):
                weight = o * self.side.out_step + self.side.weight(c, row, column)
                self.places[weight] = self.bias_place + (i * wide + j) * n
        self.bias_place += high * wide * n


@lru_cache(maxsize=512)
def backward_weight_plan(geometry: ConvGeometry, dtype: np.dtype) -> Program:
    """Program of (x, dy, dw, db)."""
    side = Side.forward(geometry)
    bands = Bands(side, dtype, side.out_channels)
    sums = Sums(side, bands, dtype)
    program = Program(dtype, "x dy dw db")
    program.multiplies_padding = True
    group_elements = (prod(geometry.x_shape[1:]) + prod(geometry.y_shape[1:])) // geometry.groups
    count = max(1, min(TASK_BYTES // (group_elements * dtype.itemsize), geometry.groups))
    blocks, units = -(-geometry.groups // count), geometry.batch * len(side.depth.met) * bands.count
    parts = max(1, min(units, ENOUGH_TASKS // blocks))
    place = program.workspace(parts * geometry.groups * sums.size)
    copy, worker_step = program.worker_workspace(bands.copy_size + side.out_channels * sums.gradient_plane + bands.n)
    program.add(
        sum_pixels, parts * blocks, x=program.x, dy=program.dy, sums=place, copy=copy,
        gradient=copy + bands.copy_size * dtype.itemsize, worker_step=worker_step,
        tiles=program.table(sums.tiles, np.int64), tile_count=len(sums.tiles),
        tables=program.table(sums.tables.array()), units=units, sum_parts=parts,
        groups=geometry.groups, group_count=count, sums_step=sums.size, bias_place=sums.bias_place,
        y_channels=side.out_channels, gradient_plane=sums.gradient_plane, **bands.arguments(program),
    )  # fmt: skip
    program.add(
        add_lanes, geometry.groups, sums=place, dw=program.dw, db=program.db, places=program.table(sums.places),
        weights=side.group_step, y_channels=side.out_channels, sum_parts=parts,
        part_step=geometry.groups * sums.size, sums_step=sums.size, bias_place=sums.bias_place,
    )  # fmt: skip
    return program
