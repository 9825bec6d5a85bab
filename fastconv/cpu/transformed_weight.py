"""Gradient of a convolution for weights and bias by fewer multiplications: the transposed algorithm.

    S[q][ci][co] = sum_tile V[q][tile][ci] * D[q][tile][co]        at each of the family's points q

V comes from tiles of the input, as in the convolution, D from tiles of ``dy``, and S goes to ``dw``. The register tile
takes input channels for rows, and tiles for products.

Where S is small, tiles are dealt to a fixed number of *parts* whose sums are added in order at the end; a task then
transforms its own tiles, a block at a time, and they stay in L2. Else all share the transforms of a *round* of tiles,
tasks take points, and output channels come in chunks whose S is bounded. A gradient that is not finite has to be
computed again, directly.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from fastconv import jit
from fastconv.cpu.calls import call_piece
from fastconv.cpu.epilogue import PLAIN
from fastconv.cpu.loop import Program, kernel
from fastconv.cpu.microkernel import call_tiles, most_rows
from fastconv.cpu.points import Family
from fastconv.cpu.schedule import apart, panel_vectors, split
from fastconv.cpu.simd import VECTOR_BYTES, head, lanes, load, splat, store
from fastconv.cpu.tiles import (
    Tiles,
    cross,
    grouped,
    line_pieces,
    passage_arguments,
    passage_fields,
    strips_of,
    widest_strip,
)
from fastconv.cpu.transform import call_map
from fastconv.cpu.transformed import add_step, place_scratch, tile_runs
from fastconv.cpu.transformed_steps import INPUT_FIELDS, LINE_FIELDS, lines_to_points
from fastconv.geometry import ConvGeometry

PART_BYTES = 3 << 20  # of S, up to which parts have sums of their own
PARTS = 4
BLOCK_TILES = 42  # of a part at a time
ROUND_BYTES = 12 << 20  # of V and D that tasks share
SUMS_BYTES = 8 << 20  # of S in a chunk of output channels
POINTS = 3  # of a task
PASS_TILES = 64  # whose V and D, for the channels of a register tile, stay in L1 together

GRADIENT_FIELDS = dict(
    dy="real", y_channels="int", dy_lines="int", dy_line_step="int", dy_columns="int", width="int", d_pitch="int",
    bias_sums="real", **passage_fields("dy"),
)  # fmt: skip
SUM_FIELDS = dict(
    steps="int32", channel_runs="int64", v_step="int", d_step="int", s_step="int", s_panel="int",
    a_steps="int", b_steps="int", c_rows="int", no_rows="int", zeros="real", width="int", panels="int",
    v_pitch="int", d_pitch="int",
)  # fmt: skip


@jit.inline
def transform_inputs(args, slot, group, block, channel, v):
    """Transform the tiles of a block of x, for a vector of channels: ``v[point][tile][channel]``."""
    planes = args.x, args.x_channels, args.x_rows, args.x_columns, args.top, args.left
    window = args.tile_lines, args.line_step, args.line_columns
    passage = args.x_down, args.x_down_from, args.x_down_to, args.x_across, args.x_across_tables, args.x_across_count
    lines_to_points(args, slot, group, block, channel, planes, window, passage, v + channel, args.v_pitch, v, False)


@jit.inline
def transform_gradients(args, slot, group, block, first, channel, d, total):
    """Transform the tiles of a block of dy, for a vector of channels: ``d[point][tile][channel - first]``; sum them."""
    planes = args.dy, args.y_channels, args.y_rows, args.y_columns, 0, 0
    window = args.dy_lines, args.dy_line_step, args.dy_columns
    passage = (
        args.dy_down, args.dy_down_from, args.dy_down_to, args.dy_across, args.dy_across_tables, args.dy_across_count
    )  # fmt: skip
    target = d + (channel - first)
    lines_to_points(args, slot, group, block, channel, planes, window, passage, target, args.d_pitch, total, True)


@jit.inline
def multiply_tiles(args, tiles, fresh, first, last, v, d, s):
    """Add the products of `tiles` tiles at the points from `first` on: ``s[point][panel][ci][lane]``.

    V and D of one point stay in L2, or even in L1, while all panels of output channels pass over them.
    """
    for q in range(first, last):
        for panel in range(args.panels):
            a, b = v + q * args.v_step, d + (q * args.d_step + panel * args.width)
            c = s + (q * args.s_step + panel * args.s_panel)
            for t in range(0, tiles, PASS_TILES):
                depth = min(PASS_TILES, tiles - t)
                multiply_pass(args, depth, fresh and t == 0, a + t * args.v_pitch, b + t * args.d_pitch, c)


@jit.inline
def multiply_pass(args, depth, fresh, a, b, c):
    """Add the products of `depth` tiles at one point: ``c[ci][lane]``, or start it with them."""
    steps = args.steps
    for r in range(0, 6, 3):
        address, rows, repeats = args.channel_runs[r], args.channel_runs[r + 1], args.channel_runs[r + 2]
        shift = rows * args.width
        start, start_rows, start_shift = c, steps + args.c_rows, shift
        if fresh:
            start, start_rows, start_shift = args.zeros, steps + args.no_rows, 0
        call_tiles(
            address, depth, repeats, rows, shift, start_shift, a, steps + args.no_rows, steps + args.a_steps,
            b, steps + args.b_steps, c, steps + args.c_rows, start, start_rows,
        )  # fmt: skip
        a, c = a + repeats * rows, c + repeats * shift


# ---- kernels ---------------------------------------------------------------------------------------------------


@kernel(
    v="real", d="real", s="real", points="int", part_count="int", vectors="int", part_step="int", bias_step="int",
    **INPUT_FIELDS | GRADIENT_FIELDS | SUM_FIELDS,
)  # fmt: skip
def sum_part(args, task, slot):
    """Transform the tiles of a part of the blocks, and sum their products, for all channels of one group."""
    n = lanes(args.x)
    group, part = task // args.part_count, task % args.part_count
    v, d = args.v + slot * args.worker_step, args.d + slot * args.worker_step
    s, totals = args.s + task * args.part_step, args.bias_sums + task * args.bias_step
    first, last = part * args.blocks // args.part_count, (part + 1) * args.blocks // args.part_count
    for i in range(0, args.bias_step, n):
        store(totals, i, splat(totals, 0))
    for block in range(first, last):
        start, end = strips_of(args, block)
        for vector in range(args.vectors):
            transform_inputs(args, slot, group, block, vector * n, v)
        for channel in range(0, args.panels * args.width, n):
            transform_gradients(args, slot, group, block, 0, channel, d, totals + channel)
        multiply_tiles(args, (end - start) * args.strip, block == first, 0, args.points, v, d, s)


@kernel(v="real", v_group="int", vectors="int", block="int", v_pitch="int", **INPUT_FIELDS)
def transform_input_block(args, task, slot):
    """Transform a block of tiles of x, for a vector of channels of one group, for all tasks that follow."""
    group, channel = task // args.vectors, task % args.vectors * lanes(args.x)
    transform_inputs(args, slot, group, args.block, channel, args.v + group * args.v_group)


GRADIENT_LINES = {name: kind for name, kind in LINE_FIELDS.items() if not name.startswith(("x", "v_", "line_"))}


@kernel(
    d="real", d_group="int", vectors="int", block="int", first_channel="int", fresh="int", bias_step="int",
    rows="real", group="int", **GRADIENT_LINES | GRADIENT_FIELDS,
)  # fmt: skip
def transform_gradient_block(args, task, slot):
    """Transform a block of tiles of dy, for a vector of channels of one group, for all tasks that follow."""
    n = lanes(args.dy)
    group, channel = task // args.vectors, args.first_channel + task % args.vectors * n
    total = args.bias_sums + group * args.bias_step + channel
    if args.fresh:
        store(total, 0, splat(total, 0))
    d = args.d + group * args.d_group
    transform_gradients(args, slot, group, args.block, args.first_channel, channel, d, total)


@kernel(
    v="real", v_group="int", d="real", d_group="int", s="real", points="int", part_step="int", tiles="int",
    fresh="int", **SUM_FIELDS,
)  # fmt: skip
def sum_round(args, task, slot):
    """Sum the products of a round of tiles for some points of one group."""
    tasks = -(-args.points // POINTS)
    group, first = task // tasks, task % tasks * POINTS
    multiply_tiles(
        args, args.tiles, args.fresh, first, min(first + POINTS, args.points),
        args.v + group * args.v_group, args.d + group * args.d_group, args.s + group * args.part_step,
    )  # fmt: skip


@kernel(s="real", s_step="int", part_count="int", part_step="int", points="int")
def add_parts(args, task, slot):
    """Add the sums of all parts at one point of a group, in order, to those of the first."""
    s = args.s + (task // args.points * args.part_count * args.part_step + task % args.points * args.s_step)
    for i in range(0, args.s_step, lanes(s)):
        total = load(s, i)
        for part in range(1, args.part_count):
            total = total + load(s, part * args.part_step + i)
        store(s, i, total)


TAP_FIELDS = dict(
    write_line="int", dw="real", db="real", bias_sums="real", taps="real", worker_step="int", part_count="int",
    bias_step="int", width="int", panels="int", vectors="int", first_channel="int", x_channels="int", y_channels="int",
    kernel_rows="int", kernel_columns="int", limits="real", **passage_fields("dw"),
)  # fmt: skip


@kernel(s="real", taps_rows="real", part_step="int", s_panel="int", **TAP_FIELDS)
def transform_sums(args, task, slot):
    """Transform the sums of a vector of input channels and a panel of output channels back, and write dw and db."""
    n = lanes(args.s)
    vector, outer = task % args.vectors, task // args.vectors
    panel, group = outer % args.panels, outer // args.panels
    rows, row = args.taps_rows + slot * args.worker_step, args.kernel_columns * n
    s = args.s + (group * args.part_count * args.part_step + panel * args.s_panel + vector * n * args.width)
    ins = min(n, args.x_channels - vector * n)
    for v in range(0, args.width, n):
        channel = args.first_channel + panel * args.width + v
        if channel < args.y_channels:
            cross(args.dw_across, args.dw_across_count, args.dw_across_tables, ins, s + v, args.width, rows, row)
            write_taps(args, slot, group, vector, channel, rows)


@jit.inline
def write_taps(args, slot, group, vector, channel, rows):
    """Transform the columns of ``rows[row][ci][column][lane]`` back to dw; with the first ones, write db."""
    n = lanes(rows)
    taps, row = args.taps + slot * args.worker_step, args.kernel_columns * n
    count, ins = args.kernel_rows * args.kernel_columns, min(n, args.x_channels - vector * n)
    channels = min(n, args.y_channels - channel)
    for j in range(args.kernel_columns):
        call_map(
            args.dw_down, ins, rows + j * n, args.dw_down_from, row,
            taps + j * n, args.dw_down_to, count * n, taps,
        )  # fmt: skip
    place = ((group * args.y_channels + channel) * args.x_channels + vector * n) * count
    call_piece(
        args.write_line, taps, ins * count, args.dw + place, args.x_channels * count, channels, args.limits, 0
    )  # fmt: skip
    if vector == 0:
        write_bias(args, group, channel, channels)


@jit.inline
def write_bias(args, group, channel, channels):
    """Add the sums of all parts for a vector of channels, in order, and write them."""
    totals = args.bias_sums + (group * args.part_count * args.bias_step + channel)
    total = load(totals, 0)
    for part in range(1, args.part_count):
        total = total + load(totals, part * args.bias_step)
    store(args.db, group * args.y_channels + channel, total, head(totals, channels))


# ---- plans -----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=512)
def backward_weight_plan(geometry: ConvGeometry, dtype: np.dtype, family: Family) -> Program:
    """Program of (x, dy, dw, db), by the tiles of a family."""
    return WeightPlan(geometry, family, dtype).program


class WeightPlan:
    """Builds the program."""

    def __init__(self, geometry: ConvGeometry, family: Family, dtype: np.dtype):
        self.geometry, self.family, self.dtype = geometry, family, dtype
        self.program = Program(dtype, "x dy dw db")
        self.program.multiplies_padding = True
        self.n = VECTOR_BYTES // dtype.itemsize
        self.vectors = -(-geometry.group_in // self.n)
        self.width = panel_vectors(geometry.group_out, self.n) * self.n
        self.panels = -(-geometry.group_out // self.width)
        self.s_panel = self.vectors * self.n * self.width
        self.points = family.points
        self._cut()
        self.group = grouped(self.tiles, family.inputs, family.gradients)
        self.v_pitch, self.d_pitch = apart(self.vectors * self.n, dtype), apart(self.chunk * self.width, dtype)
        self.v_step, self.d_step = (apart(self.tiles.most * p, dtype) for p in (self.v_pitch, self.d_pitch))
        self.s_step = apart(self.chunk * self.s_panel, dtype)
        self._build()

    def _cut(self) -> None:
        """Cut the planes into blocks of tiles, and these into parts; or else the output channels into chunks."""
        geometry, family, dtype = self.geometry, self.family, self.dtype
        s_bytes = family.points * self.s_panel * self.panels * geometry.groups * dtype.itemsize
        tile_size = family.gradients.tall, family.gradients.wide
        size, batch = geometry.output_size, geometry.batch
        wide = widest_strip(family.inputs, family.gradients.wide)
        self.tiles = Tiles.make(batch, size, tile_size, BLOCK_TILES, wide, PARTS)
        enough = self.tiles.strips * self.tiles.strip >= PARTS * BLOCK_TILES
        self.parts = PARTS if s_bytes <= PART_BYTES and enough else 0
        self.chunk = self.panels
        if not self.parts:
            panel_bytes = s_bytes // self.panels
            self.chunk = split(self.panels, max(1, SUMS_BYTES // panel_bytes))[0]
            held = (self.vectors * self.n + self.chunk * self.width) * geometry.groups * dtype.itemsize
            self.tiles = Tiles.make(batch, size, tile_size, ROUND_BYTES // (family.points * held), wide)

    def _build(self) -> None:
        geometry, program, points = self.geometry, self.program, self.family.points
        part_step, bias_step = points * self.s_step, self.panels * self.width
        v_size, d_size = points * self.v_step, points * self.d_step
        parts = max(1, self.parts)
        sizes = self._scratch_sizes()
        shared = {"s": geometry.groups * parts * part_step, "bias_sums": geometry.groups * parts * bias_step}
        (sizes if self.parts else shared).update(
            {name: size if self.parts else geometry.groups * size for name, size in (("v", v_size), ("d", d_size))}
        )
        self.common = {name: program.workspace(size) for name, size in shared.items()}
        self.common |= place_scratch(program, sizes)
        self.common |= self._sizes() | self._passages() | self._products()
        self.common |= {
            "part_count": parts, "part_step": part_step, "bias_step": bias_step, "v_group": v_size, "d_group": d_size,
        }  # fmt: skip
        if self.parts:
            self._add_parts()
        else:
            self._add_rounds()

    def _add_parts(self) -> None:
        groups, points = self.geometry.groups, self.family.points
        self._add(sum_part, groups * self.parts)
        self._add(add_parts, groups * points)
        self._add(transform_sums, groups * self.panels * self.vectors, first_channel=0)

    def _add_rounds(self) -> None:
        groups, n = self.geometry.groups, self.n
        for first in range(0, self.panels, self.chunk):
            panels, channel = min(self.chunk, self.panels - first), first * self.width
            for block in range(self.tiles.blocks):
                fresh = int(block == 0)
                if first == 0 or self.tiles.blocks > 1:
                    self._add(transform_input_block, groups * self.vectors, block=block)
                wide = panels * self.width // n
                self._add(transform_gradient_block, groups * wide, vectors=wide, block=block,
                          first_channel=channel, fresh=fresh)  # fmt: skip
                self._add(sum_round, groups * -(-self.family.points // POINTS), panels=panels,
                          tiles=self.tiles.of_block(block), fresh=fresh)  # fmt: skip
            self._add(transform_sums, groups * panels * self.vectors, panels=panels, first_channel=channel)

    def _add(self, step, tasks: int, **more) -> None:
        add_step(self.program, step, tasks, self.common | more)

    def _scratch_sizes(self) -> dict[str, int]:
        """Elements of the scratch memory of the transforms."""
        family, n, taps = self.family, self.n, self.geometry.window.kernel
        lines = max(family.inputs.tall * (self._columns(self.tiles.strip) + n), 1)
        row_columns = self._columns(self.group)
        return {
            "lines": lines * n,
            "rows": max(family.inputs.rows, family.gradients.rows) * row_columns * n,
            "taps": (taps[0] * taps[1] + 1) * n**2,
            "taps_rows": family.sums.rows * taps[1] * n**2,
        }

    def _columns(self, tiles: int) -> int:
        """Input columns that so many tiles meet."""
        return (tiles - 1) * self.family.gradients.wide + self.family.inputs.wide

    def _sizes(self) -> dict[str, int]:
        """Arguments that are sizes."""
        geometry, family = self.geometry, self.family
        (top, _), (left, _) = geometry.window.padding
        return self.tiles.arguments() | line_pieces(self.dtype) | PLAIN.arguments(self.program) | dict(
            x=self.program.x, dy=self.program.dy, dw=self.program.dw, db=self.program.db,
            groups=geometry.groups, x_channels=geometry.group_in, y_channels=geometry.group_out,
            x_rows=geometry.input_size[0], x_columns=geometry.input_size[1], top=top, left=left,
            kernel_rows=geometry.window.kernel[0], kernel_columns=geometry.window.kernel[1],
            tile_lines=family.inputs.tall, dy_lines=family.gradients.tall, group=self.group,
            line_columns=self._columns(self.tiles.strip), dy_columns=self.tiles.strip * family.gradients.wide,
            vectors=self.vectors, panels=self.panels, width=self.width, s_panel=self.s_panel,
            v_pitch=self.v_pitch, d_pitch=self.d_pitch, v_step=self.v_step, d_step=self.d_step, s_step=self.s_step,
            points=family.points, v_channels=0,
        )  # fmt: skip

    def _passages(self) -> dict:
        family, n, program, columns = self.family, self.n, self.program, self.geometry.window.kernel[1]
        line = (self._columns(self.tiles.strip) + n) * n
        row = self._columns(self.group) * n
        ring, dy_ring = ([i % p.tall * line for i in range(2 * p.tall)] for p in (family.inputs, family.gradients))
        taps = [i * columns * n for i in range(family.sums.tall)]
        return {
            **passage_arguments(program, "x", family.inputs, ring, row, n, self.v_step),
            **passage_arguments(program, "dy", family.gradients, dy_ring, row, n, self.d_step),
            **passage_arguments(program, "dw", family.sums, taps, columns * n * n, n, self.s_step, back=True),
            "line_step": line, "dy_line_step": line,
        }  # fmt: skip

    def _products(self) -> dict:
        """How the register tile goes through input channels and tiles."""
        rows = most_rows(self.width // self.n)
        tables = [
            [t * self.v_pitch for t in range(PASS_TILES)],
            [t * self.d_pitch for t in range(PASS_TILES)],
            [i * self.width for i in range(rows)],
            [0] * rows,
        ]
        starts = np.cumsum([0, *map(len, tables)])
        return {
            "steps": self.program.table(np.concatenate(tables)),
            **dict(zip(("a_steps", "b_steps", "c_rows", "no_rows"), map(int, starts), strict=False)),
            "zeros": self.program.table(np.zeros(self.width), self.dtype),
            "channel_runs": self.program.table(
                tile_runs(self.dtype, self.geometry.group_in, self.width // self.n, 1), np.int64
            ),
        }
