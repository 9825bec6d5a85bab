"""Maxima along a third axis: of each slice first, by the kernels for two, then of the slices. Lanes are neighbours.

A slice's maxima serve all windows that hold it. The order is that of the elements, so that NaN and equals win as they
should: slices one after the other, and within a slice its own winner.
"""

from __future__ import annotations

import math

from fastconv.cpu.loop import kernel
from fastconv.cpu.pool_sliding import better
from fastconv.cpu.pool_windows import KEEP, rectified
from fastconv.cpu.simd import head, iota, lanes, load, load_beside, splat, store

SIZES = ("all_planes", "planes", "slices", "depth", "size", "taps", "stride", "dilation", "before", "area")


def _max_slices(args, task, slot):
    y, x, positions, saved, n, size = args.y, args.x, args.positions, args.saved, lanes(args.y), args.size
    taps, dilation, area, keep, relu, nowhere = args.taps, args.dilation, args.area, args.keep, args.relu, args.nowhere
    first = task * args.planes
    for k in range(first * args.depth, min(args.all_planes, first + args.planes) * args.depth):
        plane, out = k // args.depth, k % args.depth
        top = out * args.stride - args.before
        start = max(0, -(top // dilation))
        end = min(taps, -((top - args.slices) // dilation))
        for i in range(0, size, n):
            wanted = head(y, size - i)
            best = splat(y, -math.inf), splat(iota(y, 0), 0)
            for t in range(start, end):
                place = (plane * args.slices + top + t * dilation) * size + i
                where = load_beside(positions, place, y, wanted)
                v = load(x, place, wanted)
                where = where + splat(where, t * area)
                best = better(best, v, where) if t > start else (v, where)
            best = rectified(best, nowhere) if relu else best
            store(y, k * size + i, best[0], wanted)
            if keep:
                store(saved, k * size + i, best[1], wanted)


# `slices` of `size` maxima, with their `positions` in windows of `area` places, become `depth` slices of y.
MAX = kernel(
    x="real", positions="uint8", y="real", saved="uint8", **KEEP, **dict.fromkeys(SIZES, "int")
)(_max_slices)  # fmt: skip
