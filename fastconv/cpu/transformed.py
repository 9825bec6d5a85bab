"""Convolution, and its gradient for the input, by fewer multiplications: transform, products at points, transform.

    M[q][tile][co] = sum_ci V[q][tile][ci] * U[q][ci][co]        at each of the family's points q

V comes from tiles of the input, U from the weights, and M goes back to tiles of the output; the register tile computes
the products. The gradient for the input is a convolution of ``dy`` with flipped, transposed weights.

A task computes a block of tiles for some *panels* of output channels, and the channels of a sum pass by in *passes*, so
that what a task holds stays in the L2 cache. Either each task transforms its own block of tiles and all share the
weights' transform, or, where there are few tiles and many channels, each transforms its own weights, a pass at a time,
and all share the tiles'.

A strip whose results are not all finite is computed again, directly: NaN and Inf reach exactly the outputs whose window
holds them, and padding is never multiplied.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fastconv.cpu.calls import compile_piece
from fastconv.cpu.epilogue import PLAIN, Epilogue
from fastconv.cpu.loop import At, Kernel, Program, kernel
from fastconv.cpu.microkernel import most_rows, tile
from fastconv.cpu.points import Family
from fastconv.cpu.schedule import PASS_BYTES, apart, panel_vectors, split
from fastconv.cpu.simd import VECTOR_BYTES, lanes
from fastconv.cpu.tiles import Tiles, grouped, line_pieces, passage_arguments, strips_of, widest_strip
from fastconv.cpu.transformed_steps import (
    INPUT_FIELDS,
    OUTPUT_FIELDS,
    PRODUCT_FIELDS,
    WEIGHT_FIELDS,
    multiply,
    read_taps,
    transform_outputs,
    transform_tiles,
    transform_weights,
)
from fastconv.geometry import ConvGeometry

FEW_TILES = 28  # of a task that transforms its own: two register tiles, and with their products they stay in L2
BLOCK_TILES = 56  # the same, where weights do not: they come from L3 for each task
FEW_WEIGHTS = 1 << 20  # bytes of U that do
SHARED_TILES = 136  # of a round of tasks that transform their own weights: V stays in L3, a panel's M in L2
SHARED_BYTES = 16 << 20  # of what tasks share
MANY_WEIGHTS = 4 << 20  # bytes of U from which tasks transform their own: 256 channels of 14x14, 12.7 -> 8.9 ms
ENOUGH_BLOCKS = 4  # so that all cores have work

# ---- kernels ---------------------------------------------------------------------------------------------------


@kernel(v="real", v_group="int", vectors="int", block="int", **INPUT_FIELDS)
def transform_block(args, task, slot):
    """Transform a block of tiles, for a vector of channels of one group, for all tasks that follow."""
    group, vector = task // args.vectors, task % args.vectors
    v = args.v + group * args.v_group + vector * args.v_channels
    transform_tiles(args, slot, group, args.block, vector * lanes(v), v)


@kernel(u="real", u_size="int", panels="int", passes="int", **WEIGHT_FIELDS)
def transform_panels(args, task, slot):
    """Transform a pass of a panel of weights, for all tasks that follow."""
    group, panel, index = task // args.passes // args.panels, task // args.passes % args.panels, task % args.passes
    transform_weights(args, slot, group, panel, index * args.pass_size, args.u + task * args.u_size)


@kernel(
    points="int", v="real", v_group="int", v_worker="int", vectors="int", u="real", u_size="int", u_worker="int",
    m="real", own_tiles="int", own_weights="int", first_block="int", block_count="int", chunk="int", chunks="int",
    panels="int", passes="int",
    **INPUT_FIELDS | WEIGHT_FIELDS | PRODUCT_FIELDS | OUTPUT_FIELDS,
)  # fmt: skip
def convolve(args, task, slot):
    """Compute a block of tiles of one group, for a chunk of its panels of output channels."""
    n = lanes(args.x)
    block = args.first_block + task // args.chunks % args.block_count
    group = task // args.chunks // args.block_count
    first_strip, last_strip = strips_of(args, block)
    v = args.v + (group * args.v_group + slot * args.v_worker)
    m = args.m + slot * args.worker_step
    if args.own_tiles:
        for vector in range(args.vectors):
            transform_tiles(args, slot, group, block, vector * n, v + vector * args.v_channels)
    first_panel = task % args.chunks * args.chunk
    for panel in range(first_panel, min(first_panel + args.chunk, args.panels)):
        for index in range(args.passes):
            u = args.u + slot * args.u_worker
            if args.own_weights:
                transform_weights(args, slot, group, panel, index * args.pass_size, u)
            else:
                u = u + ((group * args.panels + panel) * args.passes + index) * args.u_size
            multiply(args, args.points, last_strip - first_strip, index * args.pass_size, v, u, m)
        transform_outputs(args, slot, group, panel, block, m)


# ---- plans -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Side:
    """What differs between the convolution and its gradient for the input: sizes, and how the weights are read.

    The weight of output channel o, input channel k and tap t is at ``first_tap + o * w_lane + k * w_channel + t *
    tap_step`` of its group.
    """

    batch: int
    groups: int
    in_channels: int  # of a group
    out_channels: int
    in_size: tuple[int, int]
    out_size: tuple[int, int]
    kernel: tuple[int, int]
    before: tuple[int, int]
    w_lane: int
    w_channel: int
    flipped: bool


def forward_side(geometry: ConvGeometry) -> Side:
    """y from x."""
    taps = geometry.window.kernel[0] * geometry.window.kernel[1]
    return Side(
        geometry.batch, geometry.groups, geometry.group_in, geometry.group_out, geometry.input_size,
        geometry.output_size, geometry.window.kernel, tuple(before for before, _ in geometry.window.padding),
        geometry.group_in * taps, taps, False,
    )  # fmt: skip


def backward_side(geometry: ConvGeometry) -> Side:
    """dx from dy."""
    kernel, taps = geometry.window.kernel, geometry.window.kernel[0] * geometry.window.kernel[1]
    before = tuple(k - 1 - before for k, (before, _) in zip(kernel, geometry.window.padding, strict=True))
    return Side(
        geometry.batch, geometry.groups, geometry.group_out, geometry.group_in, geometry.output_size,
        geometry.input_size, kernel, before, taps, geometry.group_in * taps, True,
    )  # fmt: skip


@lru_cache(maxsize=512)
def forward_plan(
    geometry: ConvGeometry, dtype: np.dtype, bias: bool, epilogue: Epilogue = PLAIN, *, family: Family
) -> Program:
    """Program of (x, w, b, y) and what the epilogue takes, by the tiles of a family."""
    about = forward_side(geometry), family, dtype, bias, epilogue
    program = Plan(*about).program
    program.prepacked = lambda: Plan(*about, prepacked=True).program
    return program


@lru_cache(maxsize=512)
def backward_data_plan(geometry: ConvGeometry, dtype: np.dtype, bias: bool, *, family: Family) -> Program:
    """Program of (dy, w, b, dx), by the tiles of a family; `b` is None without a bias."""
    return Plan(backward_side(geometry), family, dtype, bias, PLAIN).program


class Plan:
    """Builds the program of a side."""

    def __init__(
        self, side: Side, family: Family, dtype: np.dtype, bias: bool, epilogue: Epilogue, prepacked: bool = False
    ):
        self.side, self.family, self.dtype, self.bias, self.epilogue = side, family, dtype, bias, epilogue
        self.prepacked = prepacked
        self.program = epilogue.program(dtype)
        self.n = VECTOR_BYTES // dtype.itemsize
        self.vectors = -(-side.in_channels // self.n)
        self.width = panel_vectors(side.out_channels, self.n) * self.n
        self.panels = -(-side.out_channels // self.width)
        self._cut()
        # All points of a vector of channels lie together: a map writes to many points, and so to few pages.
        self.v_step = apart(self.tiles.most * self.n, dtype)
        self.v_channels = self.points * self.v_step
        self.m_step = apart(self.tiles.most * self.width, dtype)
        self._build()

    def _cut(self) -> None:
        """Cut the channels into passes, and the planes into blocks of tiles."""
        side, family, dtype = self.side, self.family, self.dtype
        # A pass of a panel stays in L1.
        most = max(1, PASS_BYTES // (self.width * dtype.itemsize * self.n))
        self.pass_size = split(self.vectors, most)[0] * self.n
        self.passes = -(-side.in_channels // self.pass_size)
        self.points = family.points
        self.u_step = apart(self.n * self.width, dtype)
        self.u_vector = self.points * self.u_step
        self.u_size = self.pass_size // self.n * self.u_vector
        tile_size = family.outputs.tall, family.outputs.wide
        u_bytes = side.groups * self.panels * self.passes * self.u_size * dtype.itemsize
        block = FEW_TILES if u_bytes <= FEW_WEIGHTS else BLOCK_TILES
        wide = widest_strip(family.inputs, family.outputs.wide)
        many = Tiles.make(side.batch, side.out_size, tile_size, block, wide)
        self.shared_tiles = u_bytes > MANY_WEIGHTS or many.blocks * side.groups < ENOUGH_BLOCKS
        self.own_weights = self.shared_tiles and not self.prepacked
        self.tiles = many
        if self.shared_tiles:
            room = SHARED_BYTES // (family.points * side.groups * self.vectors * VECTOR_BYTES)
            self.tiles = Tiles.make(side.batch, side.out_size, tile_size, min(room, SHARED_TILES), wide)
        self.group = grouped(self.tiles, family.inputs, family.outputs)

    def _build(self) -> None:
        side, program, points = self.side, self.program, self.family.points
        v_size, panels = self.vectors * self.v_channels, side.groups * self.panels * self.passes
        pieces = {"m": points * self.m_step, "u": self.u_size * self.own_weights, "v": v_size * (not self.shared_tiles)}
        scratch = place_scratch(program, pieces | self._line_sizes())
        m, u, v, worker = scratch.pop("m"), scratch.pop("u"), scratch.pop("v"), scratch["worker_step"]
        sizes, common = self._sizes(), self._arguments(scratch)
        if not self.own_weights:
            u = program.packed(panels * self.u_size)
            self._add(transform_panels, panels, common, sizes, packs=True, u=u)
        if self.shared_tiles:
            v = program.workspace(v_size * side.groups)
        block_count = 1 if self.shared_tiles else self.tiles.blocks
        for first in range(0, self.tiles.blocks, block_count):
            if self.shared_tiles:
                self._add(transform_block, side.groups * self.vectors, common, sizes, v=v, v_group=v_size, block=first)
            chunk = 1 if self.shared_tiles else self.panels
            chunks = -(-self.panels // chunk)
            self._add(
                convolve, side.groups * block_count * chunks, common, sizes, m=m,
                v=v, v_group=v_size if self.shared_tiles else 0, v_worker=0 if self.shared_tiles else worker,
                u=u, u_worker=worker if self.own_weights else 0,
                own_tiles=int(not self.shared_tiles), own_weights=int(self.own_weights),
                first_block=first, block_count=block_count, chunk=chunk, chunks=chunks,
            )  # fmt: skip

    def _add(self, step, tasks: int, *known: dict, packs: bool = False, **more) -> None:
        values = {name: value for part in known for name, value in part.items()} | more
        add_step(self.program, step, tasks, values, packs=packs)

    def _line_sizes(self) -> dict[str, int]:
        """Elements of the scratch memory of the transforms."""
        family, n, taps = self.family, self.n, self.side.kernel
        columns = self._line_columns() + n
        out_columns = self.tiles.strip * family.outputs.wide
        return {
            "lines": family.inputs.tall * columns * n,
            "rows": family.inputs.rows * self._row_columns() * n,
            "taps": (taps[0] * taps[1] + 1) * n**2,
            "taps_rows": family.taps.rows * taps[1] * n**2,
            "out_lines": family.outputs.tall * out_columns * n,
            "out_rows": family.outputs.rows * self.group * family.outputs.wide * n,
            "constants": 2 * n,
        }

    def _line_columns(self) -> int:
        """Input columns that a strip meets."""
        return (self.tiles.strip - 1) * self.family.outputs.wide + self.family.inputs.wide

    def _row_columns(self) -> int:
        """Input columns that a group of tiles meets."""
        return (self.group - 1) * self.family.outputs.wide + self.family.inputs.wide

    def _sizes(self) -> dict[str, int]:
        """Arguments that are sizes."""
        side = self.side
        return self.tiles.arguments() | dict(
            groups=side.groups, x_channels=side.in_channels, x_rows=side.in_size[0], x_columns=side.in_size[1],
            y_channels=side.out_channels, top=side.before[0], left=side.before[1],
            kernel_rows=side.kernel[0], kernel_columns=side.kernel[1],
            w_group=side.in_channels * side.out_channels * side.kernel[0] * side.kernel[1],
            w_lane=side.w_lane, w_channel=side.w_channel,
            first_tap=side.kernel[0] * side.kernel[1] - 1 if side.flipped else 0, tap_step=-1 if side.flipped else 1,
            points=self.family.points, v_step=self.v_step, v_channels=self.v_channels, vectors=self.vectors,
            u_step=self.u_step, u_vector=self.u_vector, u_size=self.u_size, m_step=self.m_step, panels=self.panels,
            passes=self.passes, pass_size=self.pass_size, width=self.width, has_bias=int(self.bias),
        )  # fmt: skip

    def _arguments(self, scratch: dict) -> dict:
        """Arguments that are places: arrays, scratch memory, tables."""
        program = self.program
        arrays = dict(x=program.x, w=program.w, b=program.b, y=program.y) | self.epilogue.arguments(program)
        pieces = line_pieces(self.dtype) | {"read_taps": compile_piece(read_taps, self.dtype, "riiiiir")}
        return arrays | scratch | pieces | self._passages() | self._products()

    def _passages(self) -> dict:
        family, n, program = self.family, self.n, self.program
        line, row = (self._line_columns() + n) * n, self._row_columns() * n
        out_row = self.group * family.outputs.wide * n
        ring = [i % family.inputs.tall * line for i in range(2 * family.inputs.tall)]
        taps, rows = self._tap_places(), self.side.kernel[1] * n * n
        out_line = self.tiles.strip * family.outputs.wide * n
        out = [i * out_line for i in range(family.outputs.tall)]
        return {
            **passage_arguments(program, "x", family.inputs, ring, row, n, self.v_step),
            **passage_arguments(program, "w", family.taps.flip() if self.side.flipped else family.taps,
                                taps, rows, n, self.u_step),
            **passage_arguments(program, "y", family.outputs, out, out_row, n, self.m_step, back=True),
            "group": self.group, "line_step": line, "line_columns": self._line_columns(),
            "tile_lines": family.inputs.tall,
        }  # fmt: skip

    def _tap_places(self) -> list[int]:
        """Where the rows of a kernel lie."""
        rows, columns = self.side.kernel
        return [i * columns * self.n for i in range(rows)[:: -1 if self.side.flipped else 1]]

    def _products(self) -> dict:
        """How the register tile goes through tiles of the planes and channels of a pass."""
        n, rows = self.n, most_rows(self.width // self.n)
        channels = range(self.pass_size)
        tables = [
            [k // n * self.v_channels + k % n for k in channels],
            [k // n * self.u_vector + k % n * self.width for k in channels],
            [i * self.width for i in range(rows)],
            [0] * rows,
        ]
        starts = np.cumsum([0, *map(len, tables)])
        fewest = self.tiles.fewest // self.tiles.strip
        runs = [
            tile_runs(self.dtype, count, self.width // self.n, self.n)
            for count in sorted({self.tiles.fewest, self.tiles.most})
        ]
        return {
            "steps": self.program.table(np.concatenate(tables)),
            **dict(zip(("a_steps", "b_steps", "c_rows", "no_rows"), map(int, starts), strict=False)),
            "zeros": self.program.table(np.zeros(self.width), self.dtype),
            "tile_runs": self.program.table(runs, np.int64), "fewest": fewest,
        }  # fmt: skip


# ---- what plans share ------------------------------------------------------------------------------------------


def add_step(program: Program, step: Kernel, tasks: int, values: dict, *, packs: bool = False) -> None:
    """Append a step to a program, with those of the values that it takes."""
    program.add(step, tasks, packs=packs, **{name: values[name] for name, _ in step.fields})


def place_scratch(program: Program, sizes: dict[str, int]) -> dict[str, At | int]:
    """Places of pieces of each worker's scratch memory, and the step from one worker to the next."""
    pieces = {name: apart(size, program.dtype) for name, size in sizes.items()}
    place, worker_step = program.worker_workspace(sum(pieces.values()))
    places: dict[str, At | int] = {"worker_step": worker_step}
    for name, size in pieces.items():
        places[name] = place
        place = place + size * program.dtype.itemsize
    return places


def tile_runs(dtype: np.dtype, count: int, vectors: int, step: int) -> list[int]:
    """`count` rows, `step` apart, as runs of register tiles of two heights: (address, rows, repeats) of each."""
    parts = split(count, most_rows(vectors))
    heights = parts[0], parts[-1]
    repeats = parts.count(heights[0]), parts.count(heights[1]) if heights[0] != heights[1] else 0
    return [
        value
        for height, times in zip(heights, repeats, strict=True)
        for value in (tile(dtype, height, vectors, height, step), height, times)
    ]
