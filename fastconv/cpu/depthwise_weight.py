"""Gradient of a convolution with respect to weights and bias where very few channels meet: lanes are pixels.

The gather tile reads the planes of x and dy where they lie. Each sum is a vector, whose lanes are added at the very
end; a kernel with more weights than there are registers is gathered a few of its rows at a time.

Images and bands are dealt to a fixed number of parts, whose sums are added in order: results do not depend on threads.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from fastconv import jit, runtime
from fastconv.cpu.axes import Side
from fastconv.cpu.depthwise import ENOUGH_TASKS, MOST_TAPS, band_rows_of, plane_sizes, planes_ahead, taps_of, thin
from fastconv.cpu.loop import Program, kernel
from fastconv.cpu.microkernel_gather import call_gather, gather_tile
from fastconv.cpu.panels import clear
from fastconv.cpu.schedule import split
from fastconv.cpu.simd import VECTOR_BYTES, lanes, load, span, sum_lanes
from fastconv.cpu.strip import SIZES, blocks_of, sizes_of
from fastconv.geometry import ConvGeometry

TASK_BYTES = 256 << 10  # of one image's input and output, below which a task sums several groups
SUMS = dict.fromkeys(
    ("taps", "in_channels", "out_channels", "groups", "group_count", "blocks", "sum_parts", "sums_step", "bias_place"),
    "int",
)  # of a group: a vector for each weight, for each output channel's bias, and one that nobody reads


@kernel(
    x="real", dy="real", sums="real", tiles="int64", tile_step="int", tile_count="int", rows="int", bands="int",
    band_rows="int", units="int", x_step="int", y_step="int", ahead="int", **SUMS,
)  # fmt: skip
def gather_planes(args, task, slot):
    """Sum the products of a part of all bands, for some groups."""
    part, first = task % args.sum_parts, task // args.sum_parts * args.group_count
    last = min(first + args.group_count, args.groups)
    sums = args.sums + part * args.groups * args.sums_step
    clear(sums + first * args.sums_step, (last - first) * args.sums_step)
    for unit in range(part * args.units // args.sum_parts, (part + 1) * args.units // args.sum_parts):
        row, image = unit % args.bands * args.band_rows, unit // args.bands * args.groups
        for group in range(first, last, args.blocks):
            # Behind the task's last group the next image follows.
            ahead = args.ahead if group + args.ahead < last else args.ahead + args.groups - (last - first)
            gather_group(
                args, image + group, min(args.blocks, last - group), row, min(args.band_rows, args.rows - row),
                sums + group * args.sums_step, ahead,
            )  # fmt: skip


@jit.inline
def gather_group(args, plane, count, row, rows, sums, ahead):
    """Sum the products of a band of all channels of a group, or of `count` groups that share their vectors."""
    n = lanes(sums)
    for o in range(args.out_channels):
        dy = args.dy + (plane * args.out_channels + o) * args.y_step
        for c in range(args.in_channels):
            x = args.x + (plane * args.in_channels + c) * args.x_step
            for t in range(args.tile_count):
                tile = args.tiles + t * args.tile_step
                bias = sums + (args.bias_place + (o if c == t == 0 else args.out_channels)) * n
                weights = sums + (o * args.in_channels + c) * args.taps * n
                call_gather(tile[0], tile + 1, x, dy, weights, bias, count, row, rows, ahead)


@kernel(sums="real", dw="real", db="real", **SUMS)
def add_blocks(args, task, slot):
    """Add the parts, and then the lanes, of all sums of some groups."""
    for group in range(task * args.group_count, min((task + 1) * args.group_count, args.groups)):
        block, wide = group % args.blocks, lanes(args.sums) // args.blocks
        own = span(args.sums, block * wide, (block + 1) * wide)
        sums = args.sums + (group - block) * args.sums_step
        for i in range(args.bias_place):
            args.dw[group * args.bias_place + i] = add_parts(args, sums, i, own)
        for o in range(args.out_channels):
            args.db[group * args.out_channels + o] = add_parts(args, sums, args.bias_place + o, own)


@jit.inline
def add_parts(args, sums, i, own):
    """Sum of a vector's lanes, of those that belong to a group, in all parts."""
    place = i * lanes(sums)
    total = load(sums, place, own)
    for part in range(1, args.sum_parts):
        total = total + load(sums, part * args.groups * args.sums_step + place, own)
    return sum_lanes(total)


# ---- plans -----------------------------------------------------------------------------------------------------


def fits(side: Side) -> bool:
    """Whether the gather serves: few channels, all of whose sums stay in registers; or one."""
    alone = side.in_channels == side.out_channels == 1
    return thin(side) and (alone or len(passes(side)) == 1) and 1 < taps_of(side) <= MOST_TAPS


def passes(side: Side) -> list[Side]:
    """Cut the kernel's rows so that the sums of each part stay in registers, with the rows of dy that they meet."""
    taps = side.rows.phases[0]
    most = max(1, (runtime.registers() - 2) // (len(side.columns.phases[0]) + 1))
    count = split(len(taps), most)[0]
    parts = [taps[i : i + count] for i in range(0, len(taps), count)]
    rows = [replace(side.rows, phases=(part,), first=part[0][1], last=part[-1][1]) for part in parts]
    return [replace(side, rows=part) for part in rows]


@lru_cache(maxsize=512)
def backward_weight_plan(geometry: ConvGeometry, dtype: np.dtype) -> Program:
    """Program of (x, dy, dw, db)."""
    side, groups = Side.forward(geometry), geometry.groups
    band_rows, blocks = band_rows_of(side, dtype, geometry.batch * groups), blocks_of(side, dtype.itemsize)
    x_plane, y_plane, _ = plane_sizes(side)
    group_bytes = (x_plane * side.in_channels + y_plane * side.out_channels) * dtype.itemsize
    count = max(1, min(TASK_BYTES // group_bytes, groups // ENOUGH_TASKS))
    count = -(-count // blocks) * blocks
    tasks, bands = -(-groups // count), -(-side.rows.count // band_rows)
    units = geometry.batch * bands
    tiles = [(gather_tile(part, dtype, blocks), *sizes_of(part)) for part in passes(side)]

    program = Program(dtype, "x dy dw db")
    program.multiplies_padding = True
    shared = dict(
        taps=taps_of(side), in_channels=side.in_channels,
        out_channels=side.out_channels, groups=groups, group_count=count, blocks=blocks,
        sum_parts=max(1, min(units, ENOUGH_TASKS // tasks)), bias_place=side.group_step,
        sums_step=(side.group_step + side.out_channels + 1) * (VECTOR_BYTES // dtype.itemsize),
    )  # fmt: skip
    sums = program.workspace(shared["sum_parts"] * groups * shared["sums_step"])
    program.add(
        gather_planes, shared["sum_parts"] * tasks, x=program.x, dy=program.dy, sums=sums,
        tiles=program.table(tiles, np.int64), tile_step=len(SIZES) + 1, tile_count=len(tiles), rows=side.rows.count,
        bands=bands, band_rows=band_rows, units=units, x_step=x_plane, y_step=y_plane,
        ahead=planes_ahead(side, dtype), **shared,
    )  # fmt: skip
    program.add(add_blocks, tasks, sums=sums, dw=program.dw, db=program.db, **shared)
    return program
