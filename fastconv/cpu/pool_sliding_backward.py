"""Gradients of pooling for the windows of `pool_sliding`: each row of dy is read once. Lanes are neighbouring windows.

Elements of dx gather from the windows that they lie in. Columns `step` apart, and likewise rows, meet the same taps,
and which these are is known when a kernel is compiled. A block of windows walks down the plane, writes `step` rows of
dx at a time, and keeps the rows of dy that the next ones need.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from fastconv import jit
from fastconv.cpu.loop import Kernel, kernel
from fastconv.cpu.pool_sliding import SIZES, inside
from fastconv.cpu.simd import head, interleave, lanes, load, load_beside, prefetch, select, splat, store


def slide_back(taps: int, step: int, padding: int, read: Callable, give: Callable, **fields: str) -> Kernel:
    """Make a kernel for windows of taps x taps elements.

    ``item = read(args, line, row, columns, real)`` is what windows of a row give, if they exist: for each of three
    taps, those from a column on, where `real` is 1. ``first, second = give(item, row_tap, taps)`` is what they give
    through one row of their taps: to the columns that the first tap and the third meet, and those of the second.
    """
    swapped = padding % step == 1  # of two rows or columns of dx, the second is the one that the first tap meets
    s0, s1, s2 = ((padding + (t - padding) % step - t) // step for t in range(3))  # from there to the tap's window

    @jit.inline
    def item_of(args, plane, row, j, real):
        """Item of a row of windows, which may not exist."""
        columns = j + s0, j + s1, j + s2
        if 0 <= row < args.in_rows:
            line = (plane * args.in_rows + row) * args.in_columns
            prefetch(args.dy, line + j + args.ahead)
            return read(args, line, row, columns, real)
        none = head(args.dy, 0)
        return read(args, 0, 0, columns, (none, none, none))

    @jit.inline
    def write(args, place, sums, rest):
        """Write a row of dx, of which `rest` elements are left."""
        if step == 1:
            store(args.dx, place, sums[0] + sums[1], head(args.dx, rest))
            return
        low, high = interleave(sums[1], sums[0]) if swapped else interleave(sums[0], sums[1])
        store(args.dx, place, low, head(args.dx, rest))
        store(args.dx, place + lanes(args.dx), high, head(args.dx, rest - lanes(args.dx)))

    @jit.inline
    def sums_of(a, b, c):
        """Sum what two rows of dx get, that of the first tap and that of the second; `a` is the last row of windows."""
        first, second = give(a, 0, taps), give(b if s1 < s0 else a, 1, taps)
        if taps == 3:
            third = give(c if step == 1 else b, 2, taps)
            first = first[0] + third[0], first[1] + third[1]
        return first, second

    def run(args, task, slot):
        dx, columns, size, n = args.dx, args.out_columns, args.in_columns, lanes(args.dx)
        first_plane, first_row = task // args.bands * args.planes, task % args.bands * args.band_rows
        last_row = min(-(-args.out_rows // step), first_row + args.band_rows)
        for plane in range(first_plane, min(args.all_planes, first_plane + args.planes)):
            for top in range(first_row, last_row, args.strip):
                for j in range(0, -(-columns // step), n):
                    real = inside(dx, j + s0, size), inside(dx, j + s1, size), inside(dx, j + s2, size)
                    a = b = item_of(args, plane, top + s0 - 1, j, real)
                    if step == 1:
                        b = item_of(args, plane, top + s0 - 2, j, real)
                    for row in range(top, min(last_row, top + args.strip)):
                        a, b, c = item_of(args, plane, row + s0, j, real), a, b
                        first, second = sums_of(a, b, c)
                        place, rest = (plane * args.out_rows + row * step) * columns + j * step, columns - j * step
                        if step == 1:
                            write(args, place, (first[0] + second[0], first[1] + second[1]), rest)
                        else:
                            write(args, place, second if swapped else first, rest)
                            if row * step + 1 < args.out_rows:
                                write(args, place + columns, first if swapped else second, rest)

    run.__name__ = run.__qualname__ = f"{read.__name__}_{taps}_{step}_{padding}"
    return kernel(dy="real", dx="real", **fields, **SIZES)(run)


@jit.inline
def max_rows(args, line, row, columns, real):
    """Gradients, and positions of the maxima that they belong to."""
    c0, c1, c2 = columns
    return (
        (load(args.dy, line + c0, real[0]), load_beside(args.saved, line + c0, args.dy, real[0])),
        (load(args.dy, line + c1, real[1]), load_beside(args.saved, line + c1, args.dy, real[1])),
        (load(args.dy, line + c2, real[2]), load_beside(args.saved, line + c2, args.dy, real[2])),
    )


@jit.inline
def where_won(item, position):
    """Gradients of the windows whose maximum is at this position."""
    return select(item[1] == splat(item[1], position), item[0], splat(item[0], 0.0))


@jit.inline
def give_to_maxima(item, row_tap, taps):
    """Give to the elements that won."""
    first, second = where_won(item[0], row_tap * taps), where_won(item[1], row_tap * taps + 1)
    return first + where_won(item[2], row_tap * taps + 2) if taps == 3 else first, second


@jit.inline
def avg_rows(args, line, row, columns, real):
    """Shares of the gradients."""
    c0, c1, c2 = columns
    share = splat(args.dy, args.row_shares[row])
    return (
        load(args.dy, line + c0, real[0]) * (share * load(args.column_shares, c0, real[0])),
        load(args.dy, line + c1, real[1]) * (share * load(args.column_shares, c1, real[1])),
        load(args.dy, line + c2, real[2]) * (share * load(args.column_shares, c2, real[2])),
    )


@jit.inline
def give_to_all(item, row_tap, taps):
    """Give the same to each row of elements."""
    return item[0] + item[2] if taps == 3 else item[0], item[1]


@cache
def max_kernel(taps: int, step: int, padding: int) -> Kernel:
    """Kernel for the gradient of maxima."""
    return slide_back(taps, step, padding, max_rows, give_to_maxima, saved="uint8")


@cache
def avg_kernel(taps: int, step: int, padding: int) -> Kernel:
    """Kernel for the gradient of means."""
    return slide_back(taps, step, padding, avg_rows, give_to_all, row_shares="real", column_shares="real")
