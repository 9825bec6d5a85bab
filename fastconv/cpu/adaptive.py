"""Maxima of adaptive windows, which differ in size. Means of them are one of the maps of `separable`.

The rows of a window are compared first, with vectors of neighbouring columns, which leaves the winner of each column
and its row; then columns, whose winners are picked from registers. Of equals that one wins whose row comes first.
"""

from __future__ import annotations

from functools import lru_cache, reduce

import numpy as np
from numpy.typing import NDArray

from fastconv import jit
from fastconv.cpu import separable
from fastconv.cpu.axis_maps import AxisMap, join, means, whole
from fastconv.cpu.loop import Program, kernel
from fastconv.cpu.pool_windows import existing
from fastconv.cpu.simd import head, iota, lanes, load, load_beside, permute, select, splat, store
from fastconv.geometry import AdaptiveGeometry


@jit.inline
def column_winners(args, x, row, j):
    """Maxima, and their rows, of the columns from the j-th on."""
    first, wanted = args.row_first[row], head(x, args.in_columns - j)
    best = load(x, args.row_places[first] * args.in_columns + j, wanted)
    rows = splat(iota(x, 0), args.row_places[first])
    for k in range(first + 1, args.row_first[row + 1]):
        v = load(x, args.row_places[k] * args.in_columns + j, wanted)
        won = ~(v <= best) & (best == best)  # NaN wins, and among equals the first
        best, rows = select(won, v, best), select(won, splat(rows, args.row_places[k]), rows)
    return best, rows


@jit.inline
def better(best, v):
    """Winner of two, each a maximum, its row and its column: NaN wins, and among equals that of the first row."""
    number, better_number = v[0] == v[0], best[0] == best[0]
    as_good = (v[0] == best[0]) | (~number & ~better_number)
    won = (~(v[0] <= best[0]) & better_number) | (as_good & (v[1] < best[1]))
    return select(won, v[0], best[0]), select(won, v[1], best[1]), select(won, v[2], best[2])


@jit.inline
def two_registers(args, best_line, rows_line, first):
    """Maxima, and their rows, of the columns from the first on."""
    n = lanes(best_line)
    some, more = head(best_line, args.in_columns - first), head(best_line, args.in_columns - first - n)
    maxima = load(best_line, first, some), load(best_line, first + n, more)
    rows = load_beside(rows_line, first, best_line, some), load_beside(rows_line, first + n, best_line, more)
    return maxima, rows


@jit.inline
def window_winners(args, best_line, rows_line, group):
    """Maxima, and their flat indices, of a group of windows."""
    n, j, base, most = lanes(best_line), args.group_first[group], args.group_base[group], args.group_most[group]
    wanted = head(best_line, args.group_first[group + 1] - j)
    places = load_beside(args.column_places, j, best_line, wanted)
    counts = load_beside(args.column_counts, j, best_line, wanted)
    maxima, rows = two_registers(args, best_line, rows_line, base)
    best = permute(maxima[0], maxima[1], places), permute(rows[0], rows[1], places), places
    for t in range(1, most):
        if t % (2 * n) == 0:  # a window wider than two registers is a group of its own
            maxima, rows = two_registers(args, best_line, rows_line, base + t)
        at, real = places + splat(places, t), splat(counts, t) < counts
        found = better(best, (permute(maxima[0], maxima[1], at), permute(rows[0], rows[1], at), at))
        best = select(real, found[0], best[0]), select(real, found[1], best[1]), select(real, found[2], best[2])
    return best[0], best[1] * splat(places, args.in_columns) + best[2] + splat(places, base)


def _adaptive_max(args, task, slot):
    n, best_line, rows_line = lanes(args.x), args.best + slot * args.step, args.rows + slot * args.rows_step
    first_plane, first_row = task // args.bands * args.planes, task % args.bands * args.band_rows
    for plane in range(first_plane, min(args.all_planes, first_plane + args.planes)):
        x = args.x + plane * args.in_rows * args.in_columns
        for row in range(first_row, min(args.out_rows, first_row + args.band_rows)):
            for j in range(0, args.in_columns, n):
                best, rows = column_winners(args, x, row, j)
                store(best_line, j, best, existing(x, j, args.in_columns))
                store(rows_line, j, rows, existing(x, j, args.in_columns))
            place = (plane * args.out_rows + row) * args.out_columns
            for g in range(args.groups):
                j = place + args.group_first[g]
                wanted = head(x, args.group_first[g + 1] - args.group_first[g])
                best, indices = window_winners(args, best_line, rows_line, g)
                store(args.y, j, best, wanted)
                store(args.indices, j, indices, wanted)


ADAPTIVE_MAX = kernel(
    x="real", y="real", best="real", indices="int64", rows="int32", step="int", rows_step="int",
    **dict.fromkeys(("row_first", "row_places"), "int32"), **separable.GROUPS, **dict.fromkeys(separable.SIZES, "int"),
)(_adaptive_max)  # fmt: skip


def _maps(geometry: AdaptiveGeometry) -> list[AxisMap]:
    return [means(size, geometry.windows(axis)) for axis, size in enumerate(geometry.input_size)]


@lru_cache(maxsize=256)
def _max_plan(geometry: AdaptiveGeometry, dtype: np.dtype) -> Program:
    program, maps = Program(dtype, "x y indices"), _maps(geometry)
    rows, columns = reduce(join, maps[:-1], whole()), maps[-1]
    elements = max(rows.size * columns.size, rows.outputs * columns.outputs)
    tasks, sizes = separable.cut(geometry.batch * geometry.channels, elements, rows.outputs)
    best, step = program.worker_workspace(2 * columns.size)  # maxima, and their rows in numbers no wider
    program.add(
        ADAPTIVE_MAX, tasks, x=program.x, y=program.y, indices=program.indices, **sizes,
        best=best, step=step, rows=best + columns.size * dtype.itemsize, rows_step=step * dtype.itemsize // 4,
        in_rows=rows.size, in_columns=columns.size, out_rows=rows.outputs, out_columns=columns.outputs,
        row_first=program.table(rows.first), row_places=program.table(rows.places),
        **separable.column_tables(program, columns),
    )  # fmt: skip
    return program


def adaptive_max(x: NDArray, y: NDArray, indices: NDArray[np.int64], geometry: AdaptiveGeometry) -> None:
    """Write maxima, and their flat indices in the planes."""
    _max_plan(geometry, x.dtype)(x, y, indices)


@lru_cache(maxsize=256)
def _avg_plan(geometry: AdaptiveGeometry, dtype: np.dtype, backward: bool) -> Program:
    maps = [axis.transposed() if backward else axis for axis in _maps(geometry)]
    return separable.plan(maps, geometry.batch * geometry.channels, dtype)


def adaptive_avg(x: NDArray, y: NDArray, geometry: AdaptiveGeometry) -> None:
    """Write means."""
    _avg_plan(geometry, x.dtype, False)(x, y)


def adaptive_avg_backward(dy: NDArray, dx: NDArray, geometry: AdaptiveGeometry) -> None:
    """Write the gradient of means."""
    _avg_plan(geometry, dy.dtype, True)(dy, dx)
