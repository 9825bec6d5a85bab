"""The gradient for weights and bias by large tiles, a row of transformed columns at a time; see `rowwise`.

A task takes a row of the tiles of x and of ``dy`` across to points, sums their products, and takes the sums back to a
row of the weights: from one round to the next, only rows of weights are kept.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from fastconv import jit
from fastconv.cpu.loop import Program, kernel
from fastconv.cpu.points import Family
from fastconv.cpu.rowwise import by_rows, strip_rows, transform_columns
from fastconv.cpu.schedule import apart, split
from fastconv.cpu.simd import lanes, load, splat, store
from fastconv.cpu.tiles import TILE_FIELDS, Tiles, cross_row, passage_arguments, passage_fields, strips_of, widest_strip
from fastconv.cpu.transformed import place_scratch
from fastconv.cpu.transformed_weight import (
    GRADIENT_FIELDS,
    GRADIENT_LINES,
    SUM_FIELDS,
    TAP_FIELDS,
    WeightPlan,
    multiply_tiles,
    write_taps,
)
from fastconv.geometry import ConvGeometry

BLOCK_TILES = 64  # whose products are summed at a time
ROUND_BYTES = 14 << 20  # of rows of a round: of x, and of dy
TAPS_BYTES = 6 << 20  # of rows of weights
POINT_BYTES = 4 << 20  # of one row of S that a task holds

# ---- kernels ---------------------------------------------------------------------------------------------------


@kernel(
    r_dy="real", dy_vector="int", dy_strip="int", vectors="int", first_block="int", block_count="int",
    first_channel="int", fresh="int", bias_step="int", **GRADIENT_LINES | GRADIENT_FIELDS,
)  # fmt: skip
def transform_gradient_columns(args, task, slot):
    """Transform the columns of all tiles of dy in a round, for a vector of channels of one group; sum the pixels."""
    n = lanes(args.dy)
    group, channel = task // args.vectors, args.first_channel + task % args.vectors * n
    total = args.bias_sums + (group * args.bias_step + channel)
    if args.fresh:
        store(total, 0, splat(total, 0))
    planes = args.dy, args.y_channels, args.y_rows, args.y_columns, 0, 0
    window = args.dy_lines, args.dy_line_step, args.dy_columns
    passage = args.dy_down, args.dy_down_from, args.dy_down_to
    start = strips_of(args, args.first_block)[0]
    for block in range(args.first_block, args.first_block + args.block_count):
        rows = args.r_dy + (task * args.dy_vector + (strips_of(args, block)[0] - start) * args.dy_strip)
        strip_rows(args, slot, group, block, channel, planes, window, passage, rows, args.dy_strip, total, True)


@kernel(
    r="real", r_vector="int", r_strip="int", r_dy="real", dy_vector="int", dy_strip="int", z="real", z_vector="int",
    z_row="int", v="real", d="real", s="real", sums="real", vectors="int", first_block="int", block_count="int",
    fresh="int", row_count="int", row_places="int64", worker_step="int", x_channels="int", kernel_columns="int",
    **passage_fields("x") | passage_fields("dy") | passage_fields("dw") | TILE_FIELDS | SUM_FIELDS,
)  # fmt: skip
def sum_rows(args, task, slot):
    """Sum the products of a row of the tiles of a round of one group, and add them to that row of the weights."""
    n = lanes(args.v)
    group, row = task // args.row_count, task % args.row_count
    points, own = args.row_places[3 * row + 2], slot * args.worker_step
    v, d, s = args.v + own, args.d + own, args.s + own
    start, wide = strips_of(args, args.first_block)[0], args.panels * args.width // n
    for block in range(args.first_block, args.first_block + args.block_count):
        first, last = strips_of(args, block)
        for vector in range(args.vectors):
            source = args.r + ((group * args.vectors + vector) * args.r_vector + (first - start) * args.r_strip)
            cross_strips(args, args.x_across, args.x_across_tables, row, last - first, source, args.r_strip,
                         v + vector * n, args.v_pitch)  # fmt: skip
        for lane in range(wide):
            source = args.r_dy + ((group * wide + lane) * args.dy_vector + (first - start) * args.dy_strip)
            cross_strips(args, args.dy_across, args.dy_across_tables, row, last - first, source, args.dy_strip,
                         d + lane * n, args.d_pitch)  # fmt: skip
        multiply_tiles(args, (last - first) * args.strip, block == args.first_block, 0, points, v, d, s)
    for lane in range(wide):
        for vector in range(args.vectors):
            z = args.z + ((group * wide + lane) * args.vectors + vector) * args.z_vector
            target = z if args.fresh else args.sums + own
            source = s + (lane * n // args.width * args.s_panel + vector * n * args.width + lane * n % args.width)
            ins = min(n, args.x_channels - vector * n)
            cross_row(args.dw_across, args.dw_across_tables, row, ins, source, args.width, target,
                      args.kernel_columns * n)  # fmt: skip
            if not args.fresh:
                first_row, count = args.row_places[3 * row], args.row_places[3 * row + 1]
                add(z + first_row * args.z_row, target + first_row * args.z_row, count * args.z_row)


@jit.inline
def cross_strips(args, across, tables, row, strips, source, step, target, pitch):
    """Take a row of some strips to points; tiles lie `pitch` apart there."""
    for strip in range(strips):
        here = source + strip * step
        there = target + strip * args.strip * pitch
        cross_row(across, tables, row, args.strip, here, args.tile_columns * lanes(target), there, pitch)


@jit.inline
def add(total, more, count):
    """Add `count` numbers to others."""
    for i in range(0, count, lanes(total)):
        store(total, i, load(total, i) + load(more, i))


@kernel(z="real", z_vector="int", **TAP_FIELDS)
def transform_sums_back(args, task, slot):
    """Transform rows of weights back, for a vector of input channels and one of output channels of one group."""
    n = lanes(args.z)
    vector, outer = task % args.vectors, task // args.vectors
    wide = args.panels * args.width // n
    channel = args.first_channel + outer % wide * n
    if channel < args.y_channels:
        write_taps(args, slot, outer // wide, vector, channel, args.z + task * args.z_vector)


# ---- plans -----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=512)
def backward_weight_plan(geometry: ConvGeometry, dtype: np.dtype, *, family: Family) -> Program:
    """Program of (x, dy, dw, db), by the tiles of a family."""
    return RowWeightPlan(geometry, family, dtype).program


class RowWeightPlan(WeightPlan):
    """Builds the program, by rows."""

    def _cut(self) -> None:
        geometry, family, n, dtype = self.geometry, self.family, self.n, self.dtype
        self.points = max(len(crossing.points) for crossing in family.inputs.across)
        self.z_row = apart(geometry.window.kernel[1] * n * n, dtype)
        self.z_vector = family.sums.rows * self.z_row
        taps_bytes = self.width // n * self.vectors * self.z_vector * geometry.groups * dtype.itemsize
        most = min(TAPS_BYTES // taps_bytes, POINT_BYTES // (self.points * self.s_panel * dtype.itemsize))
        self.chunk = split(self.panels, max(1, most))[0]
        tile_size = family.gradients.tall, family.gradients.wide
        wide = widest_strip(family.inputs, family.gradients.wide)
        row_bytes = self.points * (self.vectors * n + self.chunk * self.width) * dtype.itemsize
        tile_bytes = (self.vectors * n + self.width) * family.inputs.tall * family.inputs.wide * dtype.itemsize
        most = min(BLOCK_TILES, POINT_BYTES // row_bytes, ROUND_BYTES // 2 // (tile_bytes * geometry.groups))
        self.tiles = Tiles.make(geometry.batch, geometry.output_size, tile_size, most, wide)
        self.r_strip, self.dy_strip = self._columns(self.tiles.strip) * n, self.tiles.strip * family.gradients.wide * n
        lanes_held = self.vectors * self.r_strip + self.chunk * self.width // n * self.dy_strip
        strips = max(1, ROUND_BYTES // (lanes_held * family.inputs.rows * geometry.groups * dtype.itemsize))
        of_block = self.tiles.most // self.tiles.strip
        self.round = split(self.tiles.blocks, max(1, strips // of_block))[0]
        self.r_row, self.dy_row = (
            apart(self.round * of_block * strip, dtype) for strip in (self.r_strip, self.dy_strip)
        )

    def _build(self) -> None:
        family, program, groups = self.family, self.program, self.geometry.groups
        wide, sizes = self.chunk * self.width // self.n, self._scratch_sizes()
        r_vector, dy_vector = (family.inputs.rows * row for row in (self.r_row, self.dy_row))
        bias_step = self.panels * self.width
        shared = {
            "r": groups * self.vectors * r_vector, "r_dy": groups * wide * dy_vector,
            "z": groups * wide * self.vectors * self.z_vector, "bias_sums": groups * bias_step,
        }  # fmt: skip
        own = {
            "v": self.points * self.v_step, "d": self.points * self.d_step, "s": self.points * self.s_step,
            "sums": self.z_vector, "lines": sizes["lines"], "taps": sizes["taps"],
        }  # fmt: skip
        self.common = {name: program.workspace(size) for name, size in shared.items()}
        self.common |= place_scratch(program, own)
        self.common |= self._sizes() | self._passages() | self._products()
        places = [(crossing.places[0][0], len({i for i, _ in crossing.places}), len(crossing.points))
                  for crossing in family.inputs.across]  # fmt: skip
        self.common |= dict(
            r_vector=r_vector, r_strip=self.r_strip, dy_vector=dy_vector, dy_strip=self.dy_strip,
            z_vector=self.z_vector, z_row=self.z_row, part_count=1, bias_step=bias_step,
            row_count=len(places), row_places=program.table(places, np.int64),
        )  # fmt: skip
        for first in range(0, self.panels, self.chunk):
            self._add_chunk(first, min(self.chunk, self.panels - first))

    def _add_chunk(self, first_panel: int, panels: int) -> None:
        groups, blocks, wide = self.geometry.groups, self.tiles.blocks, panels * self.width // self.n
        channel = first_panel * self.width
        for first in range(0, blocks, self.round):
            count = min(self.round, blocks - first)
            part = dict(first_block=first, block_count=count)
            if first_panel == 0 or count < blocks:
                self._add(transform_columns, groups * self.vectors * count, **part)
            self._add(transform_gradient_columns, groups * wide, vectors=wide, first_channel=channel,
                      fresh=int(first == 0), **part)  # fmt: skip
            self._add(sum_rows, groups * self.common["row_count"], panels=panels, fresh=int(first == 0), **part)
        self._add(transform_sums_back, groups * wide * self.vectors, panels=panels, first_channel=channel)

    def _passages(self) -> dict:
        family, n, program, columns = self.family, self.n, self.program, self.geometry.window.kernel[1]
        line = (self._columns(self.tiles.strip) + n) * n
        ring, dy_ring = ([i % p.tall * line for i in range(2 * p.tall)] for p in (family.inputs, family.gradients))
        taps = [i * columns * n for i in range(family.sums.tall)]
        return {
            **passage_arguments(program, "x", by_rows(family.inputs), ring, self.r_row, n, self.v_step),
            **passage_arguments(program, "dy", by_rows(family.gradients), dy_ring, self.dy_row, n, self.d_step),
            **passage_arguments(program, "dw", by_rows(family.sums), taps, self.z_row, n, self.s_step, back=True),
            "line_step": line, "dy_line_step": line,
        }  # fmt: skip
