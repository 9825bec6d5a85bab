"""Gradients of a deformable convolution with respect to its input, its offsets and its mask.

The gradient of the columns is a product of dy with the transposed weights,

    [pixels x columns] = dy[pixels x channels] * w[channels x columns]

Each row of it meets the four pixels that its sample was made of twice. Their products with it, summed over the
channels, give the slopes along y and x and the gradient of the mask. Added to the same pixels of dx, it is the gradient
of the input.

Samples of neighbouring outputs may meet in one pixel, so a task owns all pixels of a range of channels of one image,
and adds to them in a fixed order. What ranges give for offsets that they share is added afterwards, in their order.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod

import numpy as np

from fastconv import jit
from fastconv.cpu.deform_sample import (
    BEHIND,
    BELOW,
    BOTTOM_LEFT,
    BOTTOM_RIGHT,
    MASK,
    SPOT_FIELDS,
    TOP_LEFT,
    TOP_RIGHT,
    VECTORS,
    Ranges,
    Spots,
    column_place,
    find_spots,
)
from fastconv.cpu.epilogue import no_ending
from fastconv.cpu.gemm import pack_panel
from fastconv.cpu.loop import Program, kernel
from fastconv.cpu.microkernel import call_tiles, most_rows, tile
from fastconv.cpu.panels import clear, scatter_lanes
from fastconv.cpu.simd import fma, head, lanes, load, load_strided, splat, store, sum_lanes
from fastconv.geometry import DeformGeometry

PASS = 128  # products of a pass: 16 KB of weights, half of the L1 cache
COLUMN_BYTES = 256 << 10  # of the columns of a block of pixels
MOST_PIXELS = 224
MOST_CHANNELS = 128  # of a range
ENOUGH_TASKS = 16  # so that a task more or less on one of a few cores costs little
SLOPES = 3  # sums for each sample: along y, along x, and for the mask

# ---- kernels ---------------------------------------------------------------------------------------------------


@kernel(
    w="real", panels="real", firsts="int64", group_in="int", group_out="int", taps="int", vectors="int",
    panel_step="int",
)  # fmt: skip
def pack_range(args, task, slot):
    """Pack the weights of one range to ``[vectors / 2][output channel][2 vectors]``."""
    n, first = lanes(args.w), args.firsts[task]
    count, group = args.firsts[task + 1] - first, first // args.group_in
    panel = args.panels + task * args.panel_step
    clear(panel, args.panel_step)
    for channel in range(args.group_out):
        row = (group * args.group_out + channel) * args.group_in + first % args.group_in
        for tap in range(args.taps):
            for v in range(args.vectors):
                index, present = tap * args.vectors + v, head(args.w, count - v * n)
                weights = load_strided(args.w, (row + v * n) * args.taps + tap, args.taps, present)
                place = (index // VECTORS * args.group_out + channel) * VECTORS + index % VECTORS
                store(panel, place * n, weights)


@jit.inline
def column_gradients(args, dy, first, count, packed, panel, columns):
    """Multiply the gradients of some outputs with the weights of a range."""
    n = lanes(dy)
    tiles = (count + args.height - 1) // args.height
    for i in range(tiles):
        pack_panel(
            dy, 0, args.group_out, args.plane, first + i * args.height, args.height, 0, args.group_out,
            packed + i * args.height * args.group_out,
        )  # fmt: skip
    shift = args.height * VECTORS * n
    for block in range(args.column_blocks):
        target = columns + block * args.block * VECTORS * n
        for k in range(0, args.group_out, PASS):
            start, start_rows, start_shift = target, args.column_rows, shift
            if k == 0:
                start, start_rows, start_shift = args.zeros, args.no_offsets, 0
            call_tiles(
                args.tile, min(PASS, args.group_out - k), tiles, args.height * args.group_out, shift, start_shift,
                packed + k * args.height, args.no_offsets, args.dy_steps,
                panel + (block * args.group_out + k) * VECTORS * n, args.panel_rows,
                target, args.column_rows, start, start_rows,
            )  # fmt: skip


@jit.inline
def spread(args, source, target, tap, count, spots, places, columns, sums):
    """Take the gradients of one tap's samples to the pixels that they were made of, and to their places."""
    n, size = lanes(source), args.block
    pitch = args.vectors * n
    for p in range(count):
        a, b = places[TOP_LEFT * size + p] * pitch, places[TOP_RIGHT * size + p] * pitch
        c, d = places[BOTTOM_LEFT * size + p] * pitch, places[BOTTOM_RIGHT * size + p] * pitch
        weight_a, weight_b = splat(source, spots[TOP_LEFT * size + p]), splat(source, spots[TOP_RIGHT * size + p])
        weight_c, weight_d = splat(source, spots[BOTTOM_LEFT * size + p]), splat(source, spots[BOTTOM_RIGHT * size + p])
        factor, zero = splat(source, spots[MASK * size + p]), splat(source, 0.0)
        sum_a, sum_b, sum_c, sum_d = zero, zero, zero, zero
        for v in range(args.vectors):
            gradient, i = load(columns, column_place(args, tap * args.vectors + v) + p * VECTORS * n), v * n
            sum_a, sum_b = fma(gradient, load(source, a + i), sum_a), fma(gradient, load(source, b + i), sum_b)
            sum_c, sum_d = fma(gradient, load(source, c + i), sum_c), fma(gradient, load(source, d + i), sum_d)
            if args.need_x:
                share = factor * gradient
                store(target, a + i, fma(weight_a, share, load(target, a + i)))
                store(target, b + i, fma(weight_b, share, load(target, b + i)))
                store(target, c + i, fma(weight_c, share, load(target, c + i)))
                store(target, d + i, fma(weight_d, share, load(target, d + i)))
        if args.need_offset:
            below, behind = splat(source, spots[BELOW * size + p]), splat(source, spots[BEHIND * size + p])
            one = splat(source, 1.0)
            along_y = fma(behind, sum_d - sum_b, (one - behind) * (sum_c - sum_a))
            along_x = fma(below, sum_d - sum_c, (one - below) * (sum_b - sum_a))
            sums[p] = spots[MASK * size + p] * sum_lanes(along_y)
            sums[args.plane + p] = spots[MASK * size + p] * sum_lanes(along_x)
        if args.need_mask:
            value = fma(weight_d, sum_d, fma(weight_c, sum_c, fma(weight_b, sum_b, weight_a * sum_a)))
            sums[2 * args.plane + p] = sum_lanes(value)


@kernel(
    dy="real", panels="real", panel_step="int", zeros="real", gradient="real", packed="real", taken="real",
    sums="real", dx="real", tile="int", height="int", share="int", column_blocks="int", group_out="int", groups="int",
    ranges_of_group="int", ranges_of_offsets="int", range_count="int", firsts="int64", channels="int",
    no_offsets="int32", dy_steps="int32", panel_rows="int32", column_rows="int32", need_x="int", need_offset="int",
    need_mask="int", **SPOT_FIELDS,
)  # fmt: skip
def spread_range(args, task, slot):
    """Compute what one range of channels of one image gives."""
    n, pixels = lanes(args.x), args.in_rows * args.in_columns
    image, index = task // args.range_count, task % args.range_count
    group, pitch = index // args.ranges_of_group, args.vectors * n
    spots, places = args.spots + slot * args.worker_step, args.places + slot * args.places_step
    packed, taken = args.packed + slot * args.worker_step, args.taken + slot * args.worker_step
    gradient, source = args.gradient + slot * args.worker_step, args.x + task * args.range_step
    dy = args.dy + (image * args.groups + group) * args.group_out * args.plane
    panel = args.panels + index * args.panel_step
    if args.need_x:
        clear(gradient, pixels * pitch)
    for first in range(0, args.plane, args.share):
        count = min(args.share, args.plane - first)
        column_gradients(args, dy, first, count, packed, panel, taken)
        for tap in range(args.taps):
            find_spots(args, image, index // args.ranges_of_offsets, tap, first, count, spots, places)
            sums = args.sums + ((task * args.taps + tap) * SLOPES * args.plane + first)
            spread(args, source, gradient, tap, count, spots, places, taken, sums)
    if args.need_x:
        channel = args.firsts[index]
        channels = args.firsts[index + 1] - channel
        target = args.dx + (image * args.channels + channel) * pixels
        ending = no_ending(target)
        for c in range(0, channels, n):
            scatter_lanes(gradient + c, pitch, pixels, target + c * pixels, pixels, min(n, channels - c), ending)


@kernel(
    sums="real", doffset="real", dmask="real", taps="int", offset_groups="int", ranges="int", plane="int",
    need_offset="int", need_mask="int",
)  # fmt: skip
def add_ranges(args, task, slot):
    """Add what the ranges give for the offsets and the mask of one tap."""
    line, tap = task, task % args.taps
    step = args.taps * SLOPES * args.plane
    sums = args.sums + (task // args.taps * args.ranges * args.taps + tap) * SLOPES * args.plane
    if args.need_offset:
        add_lines(sums, step, args.ranges, 2 * args.plane, args.doffset + 2 * line * args.plane)
    if args.need_mask:
        add_lines(sums + 2 * args.plane, step, args.ranges, args.plane, args.dmask + line * args.plane)


@jit.inline
def add_lines(lines, step, count, elements, target):
    """Sum of `count` lines that lie `step` apart."""
    for j in range(0, elements, lanes(lines)):
        present = head(lines, elements - j)
        total = load(lines, j, present)
        for i in range(1, count):
            total = total + load(lines, i * step + j, present)
        store(target, j, total, present)


# ---- plans -----------------------------------------------------------------------------------------------------


def ranges_of(geometry: DeformGeometry, dtype: np.dtype) -> Ranges:
    """Ranges of channels, short enough for there to be enough tasks, yet worth a pass over all pixels."""
    n = Ranges(geometry, dtype, 1).n
    most = geometry.conv.batch * geometry.conv.in_channels // ENOUGH_TASKS
    return Ranges(geometry, dtype, min(MOST_CHANNELS, max(VECTORS * n, most // n * n)))


@lru_cache(maxsize=256)
def plan(geometry: DeformGeometry, dtype: np.dtype, needs: tuple[bool, bool, bool]) -> Program:
    """Program of (dy, x, offset, mask, w, dx, doffset, dmask); needs are of the last three."""
    program = Program(dtype, "dy x offset mask w dx doffset dmask")
    conv, ranges = geometry.conv, ranges_of(geometry, dtype)
    n, plane = ranges.n, prod(conv.output_size)
    firsts = program.table(ranges.firsts, np.int64)
    column_blocks = -(-geometry.taps * ranges.vectors // VECTORS)
    column_bytes = column_blocks * VECTORS * n * dtype.itemsize
    pixels = max(1, min(plane, MOST_PIXELS, COLUMN_BYTES // column_bytes))
    pixels = -(-plane // -(-plane // pixels))
    tiles = -(-pixels // most_rows(VECTORS))
    height = -(-pixels // tiles)
    spots, steps = Spots(geometry, ranges, tiles * height), np.arange(max(PASS, height))
    sizes = ranges.step, spots.elements, tiles * height * conv.group_out, column_blocks * VECTORS * n * spots.block
    scratch, worker_step = program.worker_workspace(sum(sizes))
    gradient, spots_place, packed, taken = (scratch + sum(sizes[:i]) * dtype.itemsize for i in range(4))
    needed = dict(zip(("need_x", "need_offset", "need_mask"), map(int, needs), strict=True))
    panel_step = column_blocks * VECTORS * n * conv.group_out
    panels = program.workspace(ranges.count * panel_step)
    sums = program.workspace(conv.batch * ranges.count * geometry.taps * SLOPES * plane)
    program.add(
        pack_range, ranges.count, w=program.w, panels=panels, firsts=firsts, group_in=conv.group_in,
        group_out=conv.group_out, taps=geometry.taps, vectors=ranges.vectors, panel_step=panel_step,
    )  # fmt: skip
    x = ranges.add_gather(program, program.x)
    program.add(
        spread_range, conv.batch * ranges.count, **spots.arguments(program, x, spots_place, worker_step),
        dy=program.dy, panels=panels, panel_step=panel_step, zeros=program.table(np.zeros(VECTORS * n), dtype),
        gradient=gradient, packed=packed, taken=taken, sums=sums, dx=program.dx,
        tile=tile(dtype, height, VECTORS, run=height), height=height, share=tiles * height,
        column_blocks=column_blocks, group_out=conv.group_out, groups=conv.groups, ranges_of_group=ranges.per_group,
        ranges_of_offsets=ranges.per_offset_group, range_count=ranges.count, firsts=firsts, channels=conv.in_channels,
        no_offsets=program.table(0 * steps), dy_steps=program.table(steps * height),
        panel_rows=program.table(steps * VECTORS * n), column_rows=program.table(steps[:height] * VECTORS * n),
        **needed,
    )  # fmt: skip
    if needs[1] or needs[2]:
        program.add(
            add_ranges, conv.batch * geometry.offset_groups * geometry.taps, sums=sums, doffset=program.doffset,
            dmask=program.dmask, taps=geometry.taps, offset_groups=geometry.offset_groups,
            ranges=ranges.per_offset_group, plane=plane, need_offset=needed["need_offset"],
            need_mask=needed["need_mask"],
        )  # fmt: skip
    return program
