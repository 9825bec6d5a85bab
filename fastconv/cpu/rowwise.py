"""The same convolutions by large tiles: a row of transformed columns at a time.

A tile of hundreds of points is too much for the order of `transformed`: the points of a few tiles would not stay in the
L2 cache. So the columns of all tiles of a *round* are transformed first, and those of all weights; then a task takes
one row of each, or the two that are real and imaginary part of one frequency, all the way: across to points, products,
and back to a row of the results. Points never leave the task's caches. Last, the columns are transformed back.

Two to three bytes of rows travel where six of points would, and U, which is many times as large as the weights, is
never in memory as a whole: 64 channels of 28 x 28 with 5 x 5 kernels went from 8.8 to 5.2 ms.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from fastconv import jit
from fastconv.cpu.epilogue import PLAIN, Epilogue, ending_of
from fastconv.cpu.loop import Program, kernel
from fastconv.cpu.points import Family, Passage
from fastconv.cpu.schedule import apart, split
from fastconv.cpu.simd import VECTOR_BYTES, lanes
from fastconv.cpu.tiles import TILE_FIELDS, Tiles, cross_row, passage_arguments, passage_fields, strips_of, widest_strip
from fastconv.cpu.transform import call_map
from fastconv.cpu.transformed import Plan, backward_side, forward_side, place_scratch
from fastconv.cpu.transformed_steps import (
    LINE_FIELDS,
    PRODUCT_FIELDS,
    TAP_FIELDS,
    WRITE_FIELDS,
    load_constants,
    multiply,
    read_strip,
    taps_to_rows,
    write_strip,
)
from fastconv.geometry import ConvGeometry

MANY_POINTS = 128  # of a tile; up to there V and M of 28 tiles of 64 channels stay in L2
BLOCK_TILES = 28  # of a product: two register tiles
ROUND_BYTES = 14 << 20  # of rows of a round: of the input, and of the results
TAPS_BYTES = 6 << 20  # of rows of weights
POINT_BYTES = 4 << 20  # of one row of U that a task holds

# ---- kernels ---------------------------------------------------------------------------------------------------


@jit.inline
def strip_rows(args, slot, group, block, channel, planes, window, passage, rows, pitch, total, summed):
    """Transform the columns of a block's tiles: ``rows[row][strip][column][lane]``; strips lie `pitch` apart."""
    n = lanes(rows)
    down, down_from, down_to = passage
    lines = args.lines + slot * args.worker_step
    first, last = strips_of(args, block)
    for strip in range(first, last):
        start = read_strip(args, lines, group, strip, channel, strip == first, planes, window, total, summed)
        target = rows + (strip - first) * pitch
        call_map(down, window[2], lines, down_from + start, n, target, down_to, n, lines)


@kernel(r="real", r_vector="int", r_strip="int", vectors="int", first_block="int", block_count="int", **LINE_FIELDS)
def transform_columns(args, task, slot):
    """Transform the columns of a block of tiles, for a vector of channels of one group."""
    n = lanes(args.x)
    block, outer = args.first_block + task % args.block_count, task // args.block_count
    group, vector = outer // args.vectors, outer % args.vectors
    planes = args.x, args.x_channels, args.x_rows, args.x_columns, args.top, args.left
    window = args.tile_lines, args.line_step, args.line_columns
    passage = args.x_down, args.x_down_from, args.x_down_to
    strip = strips_of(args, block)[0] - strips_of(args, args.first_block)[0]
    rows = args.r + ((group * args.vectors + vector) * args.r_vector + strip * args.r_strip)
    strip_rows(args, slot, group, block, vector * n, planes, window, passage, rows, args.r_strip, args.x, False)


@kernel(taps_r="real", taps_vector="int", chunk="int", first_panel="int", **TAP_FIELDS)
def transform_kernel_columns(args, task, slot):
    """Transform the columns of all kernels of a vector of output channels, of one group."""
    n = lanes(args.w)
    wide = args.chunk * args.width // n
    lane = args.first_panel * args.width + task % wide * n
    taps_to_rows(args, slot, task // wide, lane, 0, args.x_channels, args.taps_r + task * args.taps_vector)


@kernel(
    r="real", r_vector="int", r_strip="int", vectors="int", taps_r="real", taps_vector="int", o="real", o_vector="int",
    o_strip="int", v="real", u="real", m="real", u_panel="int", u_vector="int", first_block="int", block_count="int",
    chunk="int", row_count="int", row_sizes="int64", worker_step="int", kernel_columns="int",
    **passage_fields("x") | passage_fields("w") | passage_fields("y") | TILE_FIELDS | PRODUCT_FIELDS,
)  # fmt: skip
def convolve_rows(args, task, slot):
    """Compute a row of the results of a round from that row of the input, for a chunk of panels of one group."""
    n = lanes(args.v)
    group, row = task // args.row_count, task % args.row_count
    own = slot * args.worker_step
    u, v, m = args.u + own, args.v + own, args.m + own
    wide = args.width // n
    for lane in range(args.chunk * wide):
        taps = args.taps_r + (group * args.chunk * wide + lane) * args.taps_vector
        target = u + (lane // wide * args.u_panel + lane % wide * n)
        for vector in range(args.vectors):
            channels = min(n, args.x_channels - vector * n)
            source = taps + vector * args.kernel_columns * n * n
            cross_row(
                args.w_across, args.w_across_tables, row, channels, source, args.kernel_columns * n,
                target + vector * args.u_vector, args.width,
            )  # fmt: skip
    start = strips_of(args, args.first_block)[0]
    for block in range(args.first_block, args.first_block + args.block_count):
        first, last = strips_of(args, block)
        for vector in range(args.vectors):
            rows = args.r + (group * args.vectors + vector) * args.r_vector
            for strip in range(first, last):
                source = rows + (strip - start) * args.r_strip
                target = v + (vector * args.v_channels + (strip - first) * args.strip * n)
                cross_row(
                    args.x_across, args.x_across_tables, row, args.strip, source, args.tile_columns * n, target, n
                )
        for panel in range(args.chunk):
            multiply(args, args.row_sizes[row], last - first, 0, v, u + panel * args.u_panel, m)
            for j in range(wide):
                rows = args.o + ((group * args.chunk + panel) * wide + j) * args.o_vector
                for strip in range(first, last):
                    source = m + (j * n + (strip - first) * args.strip * args.width)
                    target = rows + (strip - start) * args.o_strip
                    cross_row(
                        args.y_across, args.y_across_tables, row, args.strip, source, args.width,
                        target, args.tile_columns * n,
                    )  # fmt: skip


@kernel(
    o="real", o_vector="int", o_strip="int", first_block="int", block_count="int", chunk="int", first_panel="int",
    **WRITE_FIELDS,
)  # fmt: skip
def transform_columns_back(args, task, slot):
    """Transform the columns of a block of results back, and write them, for a vector of channels of one group."""
    n = lanes(args.y)
    block, outer = args.first_block + task % args.block_count, task // args.block_count
    wide = args.chunk * args.width // n
    group, channel = outer // wide, args.first_panel * args.width + outer % wide * n
    lines, constants = args.out_lines + slot * args.worker_step, args.constants + slot * args.worker_step
    first, last = strips_of(args, block)
    rows = args.o + (outer * args.o_vector + (first - strips_of(args, args.first_block)[0]) * args.o_strip)
    load_constants(args, group, channel, constants)
    ending = ending_of(args)
    for strip in range(first, last if channel < args.y_channels else first):
        source = rows + (strip - first) * args.o_strip
        columns = args.strip * args.tile_columns
        call_map(args.y_down, columns, source, args.y_down_from, n, lines, args.y_down_to, n, constants)
        write_strip(args, group, strip, channel, lines, constants, ending)


# ---- plans -----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=512)
def forward_plan(
    geometry: ConvGeometry, dtype: np.dtype, bias: bool, epilogue: Epilogue = PLAIN, *, family: Family
) -> Program:
    """Program of (x, w, b, y) and what the epilogue takes, by the tiles of a family."""
    return RowPlan(forward_side(geometry), family, dtype, bias, epilogue).program


@lru_cache(maxsize=512)
def backward_data_plan(geometry: ConvGeometry, dtype: np.dtype, bias: bool, *, family: Family) -> Program:
    """Program of (dy, w, b, dx), by the tiles of a family; `b` is None without a bias."""
    return RowPlan(backward_side(geometry), family, dtype, bias, PLAIN).program


def suits(family: Family) -> bool:
    """Whether a family has too many points for the order of `transformed`, and rows to take one by one."""
    return family.points > MANY_POINTS and len(family.inputs.across) > 1


def by_rows(passage: Passage) -> Passage:
    """Return the passage with the points of each crossing numbered from 0."""
    across = tuple(replace(crossing, points=tuple(range(len(crossing.points)))) for crossing in passage.across)
    return replace(passage, across=across)


class RowPlan(Plan):
    """Builds the program of a side, by rows."""

    def _cut(self) -> None:
        side, family, n, dtype = self.side, self.family, self.n, self.dtype
        self.pass_size, self.passes = self.vectors * n, 1
        self.points = max(len(crossing.points) for crossing in family.inputs.across)
        self.u_step = apart(n * self.width, dtype)
        self.u_vector = self.points * self.u_step
        self.u_size = self.vectors * self.u_vector
        self.taps_row = apart(self.pass_size * side.kernel[1] * n, dtype)
        self.taps_vector = family.taps.rows * self.taps_row
        panel_bytes = self.width // n * self.taps_vector * side.groups * dtype.itemsize
        most = min(TAPS_BYTES // panel_bytes, POINT_BYTES // (self.u_size * dtype.itemsize))
        self.chunk = split(self.panels, max(1, most))[0]
        wide = widest_strip(family.inputs, family.outputs.wide)
        tile_size = family.outputs.tall, family.outputs.wide
        tile_bytes = self.vectors * family.inputs.tall * family.inputs.wide * VECTOR_BYTES * side.groups
        most = min(BLOCK_TILES, ROUND_BYTES // 2 // tile_bytes)
        self.tiles = Tiles.make(side.batch, side.out_size, tile_size, most, wide)
        self.group = self.tiles.strip
        self.r_strip, self.o_strip = self._line_columns() * n, self.tiles.strip * family.outputs.wide * n
        held = self.vectors * self.r_strip * family.inputs.rows + self.chunk * self.width // n * self.o_strip * (
            family.outputs.rows
        )
        strips = max(1, ROUND_BYTES // (held * side.groups * dtype.itemsize))
        of_block = self.tiles.most // self.tiles.strip
        self.round = split(self.tiles.blocks, max(1, strips // of_block))[0]
        self.r_row, self.o_row = (apart(self.round * of_block * strip, dtype) for strip in (self.r_strip, self.o_strip))

    def _build(self) -> None:
        side, family, program, n = self.side, self.family, self.program, self.n
        wide = self.chunk * self.width // n
        r_vector, o_vector = family.inputs.rows * self.r_row, family.outputs.rows * self.o_row
        shared = {
            "r": side.groups * self.vectors * r_vector + n, "o": side.groups * wide * o_vector,
            "taps_r": side.groups * wide * self.taps_vector,
        }  # fmt: skip
        scratch = {name: program.workspace(size) for name, size in shared.items()}
        lines = self._line_sizes()
        scratch |= place_scratch(
            program,
            {
                "v": self.vectors * self.v_channels, "u": self.chunk * self.u_size, "m": self.points * self.m_step,
                **{name: lines[name] for name in ("lines", "taps", "out_lines", "constants")},
            },
        )  # fmt: skip
        row_sizes = [len(crossing.points) for crossing in family.inputs.across]
        common = self._sizes() | self._arguments(scratch) | dict(
            r_vector=r_vector, r_strip=self.r_strip, o_vector=o_vector, o_strip=self.o_strip,
            taps_vector=self.taps_vector, u_panel=self.u_size, row_count=len(row_sizes),
            row_sizes=program.table(row_sizes, np.int64),
        )  # fmt: skip
        for panel in range(0, self.panels, self.chunk):
            self._add_chunk(common | dict(first_panel=panel, chunk=min(self.chunk, self.panels - panel)))

    def _add_chunk(self, common: dict) -> None:
        groups, blocks = self.side.groups, self.tiles.blocks
        wide = groups * common["chunk"] * self.width // self.n
        self._add(transform_kernel_columns, wide, common)
        for first in range(0, blocks, self.round):
            count = min(self.round, blocks - first)
            part = common | dict(first_block=first, block_count=count)
            if common["first_panel"] == 0 or count < blocks:
                self._add(transform_columns, groups * self.vectors * count, part)
            self._add(convolve_rows, groups * common["row_count"], part)
            self._add(transform_columns_back, wide * count, part)

    def _passages(self) -> dict:
        family, n, program = self.family, self.n, self.program
        line, out_line = (self._line_columns() + n) * n, self.tiles.strip * family.outputs.wide * n
        taps = self._tap_places()
        ring = [i % family.inputs.tall * line for i in range(2 * family.inputs.tall)]
        out = [i * out_line for i in range(family.outputs.tall)]
        weights = by_rows(family.taps.flip() if self.side.flipped else family.taps)
        return {
            **passage_arguments(program, "x", by_rows(family.inputs), ring, self.r_row, n, self.v_step),
            **passage_arguments(program, "w", weights, taps, self.taps_row, n, self.u_step),
            **passage_arguments(program, "y", by_rows(family.outputs), out, self.o_row, n, self.m_step, back=True),
            "group": self.group, "line_step": line, "line_columns": self._line_columns(),
            "tile_lines": family.inputs.tall,
        }  # fmt: skip
