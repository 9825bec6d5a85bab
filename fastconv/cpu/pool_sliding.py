"""Small square windows, 2x2 two apart or 3x3 one or two apart: each row is read once. Lanes are neighbouring columns.

A block of one vector of columns walks down the plane, and keeps what the next windows need of the rows that it has
met: the winner, or the sum, of the columns of each. So a row is loaded once, columns are compared once for all windows
that share the row, and the masks at a plane's borders are made once for a block. A row of padding is an item of its own
that changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

from fastconv import jit
from fastconv.cpu.loop import Kernel, kernel
from fastconv.cpu.pool_windows import KEEP, rectified
from fastconv.cpu.simd import (
    deinterleave,
    head,
    iota,
    lanes,
    load,
    prefetch,
    select,
    span,
    splat,
    store,
)

WINDOWS = {(2, 2), (3, 2), (3, 1)}  # size and step, along both axes

# Outputs are cut into tasks of some planes, or of a band of the rows of one. A block of columns walks down `strip` rows
# before the next one does, and meanwhile asks for what lies `ahead`: what will be read a strip later.
SIZES = dict.fromkeys(("in_rows", "in_columns", "out_rows", "out_columns", "strip", "ahead"), "int") | dict.fromkeys(
    ("all_planes", "planes", "bands", "band_rows"), "int"
)

# ---- columns of a row ------------------------------------------------------------------------------------------


@jit.inline
def inside(row, first, size):
    """Mask of the lanes, of elements from the first on, that lie in a row of `size` elements."""
    return span(row, -first, size - first)


@jit.inline
def masks_beside(row, first, size):
    """Masks for `columns_beside`."""
    return inside(row, first, size), inside(row, first + 1, size), inside(row, first + 2, size), head(row, 0)


@jit.inline
def columns_beside(row, first, real, fill):
    """Columns that three taps meet, where windows are one apart."""
    return load(row, first, real[0], fill), load(row, first + 1, real[1], fill), load(row, first + 2, real[2], fill)


@jit.inline
def masks_apart(row, first, size):
    """Masks for `columns_apart`."""
    n = lanes(row)
    low, high = inside(row, first, size), inside(row, first + n, size)
    return low, high, inside(row, first + 2, size), inside(row, first + 2 + n, size)


@jit.inline
def columns_apart(row, first, real, fill):
    """Columns that three taps meet, where windows are two apart."""
    n = lanes(row)
    v0, v1 = deinterleave(load(row, first, real[0], fill), load(row, first + n, real[1], fill))
    third = deinterleave(load(row, first + 2, real[2], fill), load(row, first + 2 + n, real[3], fill))
    return v0, v1, third[0]


COLUMNS = {1: (masks_beside, columns_beside), 2: (masks_apart, columns_apart)}  # by the step

# ---- forward ---------------------------------------------------------------------------------------------------


def slide(
    taps: int, step: int, fill: float, across: Callable, join: Callable, finish: Callable, **fields: str
) -> Kernel:
    """Make a kernel for windows of taps x taps elements.

    ``item = across(x, v, taps)`` of the columns v of a row, which are `fill` where there is padding; ``state =
    join(items, taps, before, row_tap)`` of three rows, where `before` has the lanes whose first column is padding and
    `row_tap` is the first row that is none; and ``finish(args, state, row, column, place, wanted)`` for the outputs.
    """
    masks_of, columns_of = COLUMNS[step]

    @jit.inline
    def item_of(args, x, row, j, real):
        """Item of a row, which may be padding."""
        if 0 <= row < args.in_rows:
            line = x + row * args.in_columns
            prefetch(line, args.ahead + j * step)
            if step == 2:
                prefetch(line, args.ahead + j * step + lanes(x))
            return across(x, columns_of(line, j * step - args.padding, real, fill), taps)
        nothing = splat(x, fill)
        return across(x, (nothing, nothing, nothing), taps)

    def run(args, task, slot):
        columns, padding, n = args.out_columns, args.padding, lanes(args.x)
        first_plane, first_row = task // args.bands * args.planes, task % args.bands * args.band_rows
        last_row = min(args.out_rows, first_row + args.band_rows)
        for plane in range(first_plane, min(args.all_planes, first_plane + args.planes)):
            x = args.x + plane * args.in_rows * args.in_columns
            for top in range(first_row, last_row, args.strip):
                for j in range(0, columns, n):
                    first, wanted = j * step - padding, head(x, columns - j)
                    real, before = masks_of(x, first, args.in_columns), span(x, 0, -(first // step))
                    b = c = item_of(args, x, top * step - padding, j, real)
                    if step == 1:
                        c = item_of(args, x, top - padding + 1, j, real)
                    for row in range(top, min(last_row, top + args.strip)):
                        i = row * step - padding
                        if step == 1:
                            a, b, c = b, c, item_of(args, x, i + 2, j, real)
                        elif taps == 3:
                            a, b, c = c, item_of(args, x, i + 1, j, real), item_of(args, x, i + 2, j, real)
                        else:
                            a, b = item_of(args, x, i, j, real), item_of(args, x, i + 1, j, real)
                        state = join((a, b, c), taps, before, max(0, -i))
                        finish(args, state, row, j, (plane * args.out_rows + row) * columns + j, wanted)

    run.__name__ = run.__qualname__ = f"{finish.__name__}_{taps}_{step}"
    return kernel(x="real", y="real", padding="int", **fields, **SIZES)(run)


@jit.inline
def better(best, v, position):
    """Maximum, and its position, of what was found and of v, which comes after it: NaN wins, among equals the first."""
    won = ~(v <= best[0]) & (best[0] == best[0])
    return select(won, v, best[0]), select(won, position, best[1])


@jit.inline
def max_across(x, v, taps):
    """Maxima of a row's columns, and their taps."""
    zero = splat(iota(x, 0), 0)
    best = better((v[0], zero), v[1], splat(zero, 1))
    return better(best, v[2], splat(zero, 2)) if taps == 3 else best


@jit.inline
def max_join(items, taps, before, row_tap):
    """Maxima of the rows, and their positions: the first one that is no padding, unless an element is larger."""
    a, b, c = items
    first = splat(a[1], row_tap * taps)
    best = splat(a[0], -math.inf), select(before, splat(first, row_tap * taps + 1), first)
    best = better(best, a[0], a[1])
    best = better(best, b[0], b[1] + splat(first, taps))
    return better(best, c[0], c[1] + splat(first, 2 * taps)) if taps == 3 else best


@jit.inline
def max_sliding(args, state, row, column, place, wanted):
    """Write maxima, and their positions if they are wanted."""
    best, where = rectified(state, args.nowhere) if args.relu else state
    store(args.y, place, best, wanted)
    if args.keep:
        store(args.saved, place, where, wanted)


@jit.inline
def sum_across(x, v, taps):
    """Sum of a row's columns."""
    return v[0] + v[1] + v[2] if taps == 3 else v[0] + v[1]


@jit.inline
def sum_join(items, taps, before, row_tap):
    """Sum of the rows."""
    a, b, c = items
    return a + b + c if taps == 3 else a + b


@jit.inline
def avg_sliding(args, state, row, column, place, wanted):
    """Write means."""
    share = splat(args.x, args.row_shares[row]) * load(args.column_shares, column, wanted)
    store(args.y, place, state * share, wanted)


@cache
def max_kernel(taps: int, step: int) -> Kernel:
    """Kernel for maxima."""
    return slide(taps, step, -math.inf, max_across, max_join, max_sliding, saved="uint8", **KEEP)


@cache
def avg_kernel(taps: int, step: int) -> Kernel:
    """Kernel for means."""
    return slide(taps, step, 0.0, sum_across, sum_join, avg_sliding, row_shares="real", column_shares="real")
