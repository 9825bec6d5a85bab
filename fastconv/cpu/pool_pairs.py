"""Max pooling in windows of 2x2, side by side: all that is loaded is used at once.

The kernels of `pool_windows` load a row once for each tap. On small maps, where a row is one vector, that takes three
times as long.
"""

from __future__ import annotations

from fastconv import jit
from fastconv.cpu.loop import kernel
from fastconv.cpu.pool_windows import KEEP, better, rectified
from fastconv.cpu.simd import deinterleave, head, interleave, iota, lanes, load, load_beside, select, splat, store

SIZES = dict.fromkeys(("all_planes", "planes", "in_rows", "in_columns", "out_rows", "out_columns"), "int")


@kernel(x="real", y="real", saved="uint8", **KEEP, **SIZES)
def max_pairs(args, task, slot):
    """Maxima of the windows of some planes, and their positions if they are wanted."""
    n, size, columns = lanes(args.x), args.in_columns, args.out_columns
    last = splat(iota(args.x, 0), 3)
    for plane in range(task * args.planes, min(args.all_planes, (task + 1) * args.planes)):
        for row in range(args.out_rows):
            upper, place = (plane * args.in_rows + 2 * row) * size, (plane * args.out_rows + row) * columns
            for j in range(0, columns, n):
                i, rest = upper + 2 * j, columns - j
                low, high, wanted = head(args.x, 2 * rest), head(args.x, 2 * rest - n), head(args.x, rest)
                v0, v1 = deinterleave(load(args.x, i, low), load(args.x, i + n, high))
                v2, v3 = deinterleave(load(args.x, i + size, low), load(args.x, i + size + n, high))
                best = better(better(better((v3, last), v2, 2), v1, 1), v0, 0)
                if args.relu:
                    best = rectified(best, args.nowhere)
                store(args.y, place + j, best[0], wanted)
                if args.keep:
                    store(args.saved, place + j, best[1], wanted)


@jit.inline
def store_pair(dx, i, rest, dy, where, position):
    """Write a row of gradients: those of windows whose maximum is at a position, or at the next one, side by side."""
    zero = splat(dx, 0.0)
    even = select(where == splat(where, position), dy, zero)
    low, high = interleave(even, select(where == splat(where, position + 1), dy, zero))
    store(dx, i, low, head(dx, rest))
    store(dx, i + lanes(dx), high, head(dx, rest - lanes(dx)))


@kernel(dy="real", saved="uint8", dx="real", **SIZES)
def max_pairs_backward(args, task, slot):
    """Gradients of some planes; a row or column that is left over gets zeros."""
    dx, n, size, columns = args.dx, lanes(args.dx), args.in_columns, args.out_columns
    for plane in range(task * args.planes, min(args.all_planes, (task + 1) * args.planes)):
        for row in range((args.in_rows + 1) // 2):
            upper, place = (plane * args.in_rows + 2 * row) * size, (plane * args.out_rows + row) * columns
            for j in range(0, (size + 1) // 2, n):
                i, rest = upper + 2 * j, size - 2 * j
                real = head(dx, columns - j if row < args.out_rows else 0)
                dy, where = load(args.dy, place + j, real), load_beside(args.saved, place + j, dx, real)
                store_pair(dx, i, rest, dy, where, 0)
                if 2 * row + 1 < args.in_rows:
                    store_pair(dx, i + size, rest, dy, where, 2)
