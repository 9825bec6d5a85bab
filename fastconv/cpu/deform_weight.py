"""Gradient of a deformable convolution with respect to its weights: the product of dy with the columns.

    dw[channels x columns] = dy[channels x pixels] * columns[pixels x columns]

Rows of the tile are output channels, lanes are input channels, and a product is a pixel. Blocks of pixels are dealt to
a fixed number of parts, whose sums are added in order: results do not depend on threads.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod

import numpy as np

from fastconv.cpu.deform_backward import COLUMN_BYTES, MOST_PIXELS, ranges_of
from fastconv.cpu.deform_sample import SPOT_FIELDS, VECTORS, Spots, find_spots, sample
from fastconv.cpu.gemm import pack_panel
from fastconv.cpu.loop import Program, kernel
from fastconv.cpu.microkernel import call_tiles, most_rows, tile
from fastconv.cpu.panels import clear
from fastconv.cpu.simd import head, lanes, load, store_strided
from fastconv.geometry import DeformGeometry

ENOUGH_TASKS = 16  # so that a task more or less on one of a few cores costs little


@kernel(
    dy="real", packed="real", taken="real", sums="real", sums_step="int", tile="int", height="int", row_tiles="int",
    column_blocks="int", share="int", shares="int", units="int", parts="int", groups="int", group_out="int",
    ranges_of_group="int", ranges_of_offsets="int", range_count="int", no_offsets="int32", dy_steps="int32",
    column_steps="int32", sums_rows="int32", **SPOT_FIELDS,
)  # fmt: skip
def multiply_columns(args, task, slot):
    """Sum the products of a part of all blocks of pixels, for one range of channels."""
    n, part, index = lanes(args.x), task % args.parts, task // args.parts
    group, width = index // args.ranges_of_group, VECTORS * n
    spots, places = args.spots + slot * args.worker_step, args.places + slot * args.places_step
    packed, taken = args.packed + slot * args.worker_step, args.taken + slot * args.worker_step
    sums = args.sums + task * args.sums_step
    clear(sums, args.sums_step)
    for unit in range(part * args.units // args.parts, (part + 1) * args.units // args.parts):
        image, first = unit // args.shares, unit % args.shares * args.share
        count = min(args.share, args.plane - first)
        for tap in range(args.taps):
            find_spots(args, image, index // args.ranges_of_offsets, tap, first, count, spots, places)
            source = args.x + (image * args.range_count + index) * args.range_step
            sample(args, source, tap, count, spots, places, taken)
        dy = args.dy + (image * args.groups + group) * args.group_out * args.plane
        for i in range(args.row_tiles):
            panel = packed + i * args.height * args.share
            row = i * args.height
            pack_panel(dy + first, 1, args.plane, args.group_out, row, args.height, 0, count, panel)
        for block in range(args.column_blocks):
            target = sums + block * args.row_tiles * args.height * width
            call_tiles(
                args.tile, count, args.row_tiles, args.height * args.share, args.height * width, args.height * width,
                packed, args.no_offsets, args.dy_steps, taken + block * args.block * width, args.column_steps,
                target, args.sums_rows, target, args.sums_rows,
            )  # fmt: skip


@kernel(
    sums="real", dw="real", firsts="int64", parts="int", sums_step="int", rows="int", taps="int", vectors="int",
    group_in="int", group_out="int",
)  # fmt: skip
def add_parts(args, task, slot):
    """Add the parts of the sums of one range, and put them where its weights are."""
    n, first = lanes(args.dw), args.firsts[task]
    count, group = args.firsts[task + 1] - first, first // args.group_in
    sums = args.sums + task * args.parts * args.sums_step
    for channel in range(args.group_out):
        row = (group * args.group_out + channel) * args.group_in + first % args.group_in
        for tap in range(args.taps):
            for j in range(0, count, n):
                index = tap * args.vectors + j // n
                place = ((index // VECTORS * args.rows + channel) * VECTORS + index % VECTORS) * n
                total = load(sums, place)
                for part in range(1, args.parts):
                    total = total + load(sums, part * args.sums_step + place)
                store_strided(args.dw, (row + j) * args.taps + tap, args.taps, total, head(args.dw, count - j))


@lru_cache(maxsize=256)
def plan(geometry: DeformGeometry, dtype: np.dtype) -> Program:
    """Program of (dy, x, offset, mask, dw)."""
    program = Program(dtype, "dy x offset mask dw")
    conv, ranges = geometry.conv, ranges_of(geometry, dtype)
    n, plane = ranges.n, prod(conv.output_size)
    width, firsts = VECTORS * n, program.table(ranges.firsts, np.int64)
    column_blocks = -(-geometry.taps * ranges.vectors // VECTORS)
    pixels = max(1, min(plane, MOST_PIXELS, COLUMN_BYTES // (column_blocks * width * dtype.itemsize)))
    shares = -(-plane // pixels)
    share, units = -(-plane // shares), shares * conv.batch
    row_tiles = -(-conv.group_out // most_rows(VECTORS))
    height = -(-conv.group_out // row_tiles)
    parts = max(1, min(units, ENOUGH_TASKS // ranges.count))
    spots, steps = Spots(geometry, ranges, share), np.arange(max(share, height))
    sizes = spots.elements, row_tiles * height * share, column_blocks * width * spots.block
    scratch, worker_step = program.worker_workspace(sum(sizes))
    spots_place, packed, taken = (scratch + sum(sizes[:i]) * dtype.itemsize for i in range(3))
    sums_step = column_blocks * row_tiles * height * width
    sums = program.workspace(ranges.count * parts * sums_step)
    x = ranges.add_gather(program, program.x)
    program.add(
        multiply_columns, ranges.count * parts, **spots.arguments(program, x, spots_place, worker_step),
        dy=program.dy, packed=packed, taken=taken, sums=sums, sums_step=sums_step,
        tile=tile(dtype, height, VECTORS, run=height), height=height, row_tiles=row_tiles, column_blocks=column_blocks,
        share=share, shares=shares, units=units, parts=parts, groups=conv.groups, group_out=conv.group_out,
        ranges_of_group=ranges.per_group, ranges_of_offsets=ranges.per_offset_group, range_count=ranges.count,
        no_offsets=program.table(0 * steps), dy_steps=program.table(steps * height),
        column_steps=program.table(steps * width), sums_rows=program.table(steps[:height] * width),
    )  # fmt: skip
    program.add(
        add_parts, ranges.count, sums=sums, dw=program.dw, firsts=firsts, parts=parts, sums_step=sums_step,
        rows=row_tiles * height, taps=geometry.taps, vectors=ranges.vectors, group_in=conv.group_in,
        group_out=conv.group_out,
    )  # fmt: skip
    return program
