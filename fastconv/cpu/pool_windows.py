"""Pooling windows of any size, stride, padding and dilation. Lanes are neighbouring outputs of a row.

Which input meets which output stands in tables, made from the same `taps` as those of convolution: a stride, a
dilation or a padding is an entry in a table. Gradients of means are gathered, not scattered: each element of dx visits
the windows that it lies in, so that nothing has to be cleared first. Those of maxima are in `pool_places`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from fastconv import jit
from fastconv.cpu.loop import Kernel, kernel
from fastconv.cpu.simd import (
    deinterleave,
    head,
    interleave,
    iota,
    lanes,
    load,
    load_strided,
    select,
    span,
    splat,
    store,
    store_strided,
)

# Outputs are cut into tasks of some planes, or of a band of the rows of one. `row_taps` holds (tap, input row) pairs,
# those of output row r from `row_first[r]` on; `column_taps` holds (tap, offset) pairs.
VIEW = dict.fromkeys(("row_first", "row_taps", "column_taps"), "int32") | dict.fromkeys(
    ("in_rows", "in_columns", "out_rows", "out_columns", "tap_columns", "all_planes", "planes", "bands", "band_rows"),
    "int",
)

# ---- columns of a row ------------------------------------------------------------------------------------------


@jit.inline
def existing(row, first, size):
    """Mask of the lanes whose element, the first one being `first`, lies in a row of `size` elements."""
    n = lanes(row)
    if first >= 0 and first + n <= size:
        return head(row, n)
    return span(row, -first, size - first)


@jit.inline
def load_columns(row, first, step, size):
    """Elements first, first + step, ... of a row of `size` elements, and the mask of those that exist; 0 elsewhere."""
    n = lanes(row)
    if step == 1:
        real = existing(row, first, size)
        return load(row, first, real), real
    if step == 2:
        if first >= 0 and first + 2 * n <= size:
            return deinterleave(load(row, first), load(row, first + n))[0], head(row, n)
        low = load(row, first, existing(row, first, size))
        high = load(row, first + n, existing(row, first + n, size))
        return deinterleave(low, high)[0], span(row, (1 - first) >> 1, (size - first + 1) >> 1)
    real = span(row, -(first // step), -((first - size) // step))
    return load_strided(row, first, step, real), real


# ---- forward ---------------------------------------------------------------------------------------------------


def fold_windows(start: Callable, meet: Callable, finish: Callable, **fields: str) -> Kernel:
    """Make a kernel that visits the elements of each window, from the last to the first.

    ``state = start(args)``, ``state = meet(args, state, v, real, position)`` for each position in the window, with its
    elements v, which exist where the mask `real` is 1, and ``finish(args, state, row, column, place)`` for the outputs.
    """

    def run(args, task, slot):
        columns, taps, size, advance = args.out_columns, args.tap_columns, args.in_columns, args.advance
        row_first, row_taps, column_taps = args.row_first, args.row_taps, args.column_taps
        first_plane, first_row = task // args.bands * args.planes, task % args.bands * args.band_rows
        for plane in range(first_plane, min(args.all_planes, first_plane + args.planes)):
            for row in range(first_row, min(args.out_rows, first_row + args.band_rows)):
                place = (plane * args.out_rows + row) * columns
                for j in range(0, columns, lanes(args.x)):
                    state = start(args)
                    for e in range(row_first[row + 1] - 1, row_first[row] - 1, -1):
                        line = args.x + (plane * args.in_rows + row_taps[2 * e + 1]) * size
                        position = row_taps[2 * e] * taps
                        for t in range(taps - 1, -1, -1):
                            first = j * advance + column_taps[2 * t + 1]
                            v, real = load_columns(line, first, advance, size)
                            state = meet(args, state, v, real, position + t)
                    finish(args, state, row, j, place + j)

    run.__name__ = run.__qualname__ = finish.__name__
    return kernel(x="real", y="real", advance="int", **fields, **VIEW)(run)


@jit.inline
def nothing_yet(args):
    """Maximum of no elements, and its position."""
    return splat(args.x, -math.inf), splat(iota(args.x, 0), 0)


@jit.inline
def better(best, v, position):
    """Maximum, and its position, of what was found and of v, which comes before it: NaN wins, and among equals v."""
    won = (v >= best[0]) | (v != v)
    return select(won, v, best[0]), select(won, splat(best[1], position), best[1])


@jit.inline
def larger(args, state, v, real, position):
    """Maximum so far, and its position."""
    found, where = better(state, v, position)
    return select(real, found, state[0]), select(real, where, state[1])


@jit.inline
def rectified(best, nowhere):
    """ReLU of a maximum: zero, and the position `nowhere`, unless it is positive or NaN."""
    v, where = best
    zero = splat(v, 0.0)
    return select(v <= zero, zero, v), select(v <= zero, splat(where, nowhere), where)


@jit.inline
def max_pool(args, state, row, column, place):
    """Write maxima, and their positions if they are wanted."""
    best, where = rectified(state, args.nowhere) if args.relu else state
    wanted = head(args.x, args.out_columns - column)
    store(args.y, place, best, wanted)
    if args.keep:
        store(args.saved, place, where, wanted)


@jit.inline
def zero(args):
    """Sum of no elements."""
    return splat(args.x, 0.0)


@jit.inline
def plus(args, state, v, real, position):
    """Sum so far; v is 0 where there is no element."""
    return state + v


@jit.inline
def avg_pool(args, state, row, column, place):
    """Write means."""
    wanted = head(args.x, args.out_columns - column)
    share = splat(args.x, args.row_shares[row]) * load(args.column_shares, column, wanted)
    store(args.y, place, state * share, wanted)


KEEP = {"keep": "int", "relu": "int", "nowhere": "int"}  # whether to write positions; the position of a ReLU's zero

MAX = {
    dtype: fold_windows(nothing_yet, larger, max_pool, saved=dtype, **KEEP) for dtype in ("uint8", "int32")
}  # by the type of the saved positions
AVG = fold_windows(zero, plus, avg_pool, row_shares="real", column_shares="real")

# ---- backward --------------------------------------------------------------------------------------------------


@jit.inline
def gather_phase(args, share, plane, row, phase, j):
    """Sum of what the elements of a phase, from the j-th on, get from the windows that they lie in."""
    total = splat(args.dx, 0.0)
    for e in range(args.row_first[row], args.row_first[row + 1]):
        dy_row = args.row_taps[2 * e + 1]
        line = (plane * args.in_rows + dy_row) * args.in_columns
        position = args.row_taps[2 * e] * args.tap_columns
        for t in range(args.phase_first[phase], args.phase_first[phase + 1]):
            column = j + args.column_taps[2 * t + 1]
            real = existing(args.dx, column, args.in_columns)
            total = total + share(args, line + column, dy_row, column, real, position + args.column_taps[2 * t])
    return total


def gather_windows(share: Callable, **fields: str) -> Kernel:
    """Make a kernel that sums what each element of dx gets from the windows that it lies in.

    ``share(args, place, row, column, real, position)`` is what the windows at `place`, at a row and from a column on,
    give to the elements at a position inside them, for the windows that exist: those where the mask `real` is 1.
    """

    def run(args, task, slot):
        dx, columns, spacing = args.dx, args.out_columns, args.phases
        n = lanes(dx)
        first_plane, first_row = task // args.bands * args.planes, task % args.bands * args.band_rows
        for plane in range(first_plane, min(args.all_planes, first_plane + args.planes)):
            for row in range(first_row, min(args.out_rows, first_row + args.band_rows)):
                line = dx + (plane * args.out_rows + row) * columns
                for j in range(0, -(-columns // spacing), n):
                    rest = columns - j * spacing
                    if spacing == 2:
                        even = gather_phase(args, share, plane, row, 0, j)
                        low, high = interleave(even, gather_phase(args, share, plane, row, 1, j))
                        store(line, 2 * j, low, head(dx, rest))
                        store(line, 2 * j + n, high, head(dx, rest - n))
                        continue
                    for phase in range(spacing):
                        total = gather_phase(args, share, plane, row, phase, j)
                        if spacing == 1:
                            store(line, j, total, head(dx, rest))
                        else:
                            wanted = head(dx, -((phase - rest) // spacing))
                            store_strided(line, j * spacing + phase, spacing, total, wanted)

    run.__name__ = run.__qualname__ = share.__name__
    return kernel(dy="real", dx="real", phase_first="int32", phases="int", **fields, **VIEW)(run)


@jit.inline
def avg_pool_backward(args, place, row, column, real, position):
    """Equal shares of the gradient of each window."""
    share = splat(args.dx, args.row_shares[row]) * load(args.column_shares, column, real)
    return load(args.dy, place, real) * share


AVG_BACKWARD = gather_windows(avg_pool_backward, row_shares="real", column_shares="real")
