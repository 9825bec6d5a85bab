"""Linear maps along the axes of planes: adaptive means, interpolation, a bed of nails, and the gradients of all.

A row of the result is a sum of rows, with vectors of neighbouring columns, and a column a sum of columns, whose
elements are picked from two registers. That costs more, so it is done where there are fewer rows: before the rows are
summed where their number grows, after it where it shrinks. (Gathering from memory took 2 to 5 times as long.)
"""

from __future__ import annotations

from functools import reduce

import numpy as np

from fastconv import jit
from fastconv.cpu.axis_maps import AxisMap, join, whole
from fastconv.cpu.loop import Program, kernel
from fastconv.cpu.simd import VECTOR_BYTES, fma, head, lanes, load, load_beside, permute, splat, store

CHUNK = 1 << 14  # outputs of a task, or inputs where they are more

# ---- kernels ---------------------------------------------------------------------------------------------------

# Row r of the result is made of rows `row_places[k]` from k = `row_first[r]` on. Columns of the result are treated in
# groups, those of group g from `group_first[g]` on. They are made of columns from `group_base[g]` on: two registers of
# them, the last lane of which is 0. The t-th column of column j stands at ``column_places[t * out_columns + j]`` there;
# where there is none, at the last lane.
GROUPS = dict.fromkeys(("group_first", "group_base", "group_most", "column_places", "column_counts"), "int32")
SIZES = ("in_rows", "in_columns", "out_rows", "out_columns", "groups", "all_planes", "planes", "bands", "band_rows")
FIELDS = dict.fromkeys(("row_first", "row_places", "met"), "int32") | dict.fromkeys((*SIZES, "step"), "int")
REALS = dict.fromkeys(("x", "y", "row_weights", "column_weights", "buffer"), "real")


@jit.inline
def sum_of_rows(source, places, weights, first, last, columns, j, wanted):
    """Vector of a sum of rows, from column j on."""
    if first == last:
        return splat(source, 0.0)
    total = load(source, places[first] * columns + j, wanted) * splat(source, weights[first])
    for k in range(first + 1, last):
        total = fma(load(source, places[k] * columns + j, wanted), splat(source, weights[k]), total)
    return total


@jit.inline
def sum_rows(args, source, columns, target, first_row, rows):
    """Rows of the result, from the first on, of rows of so many columns."""
    n, row_first, places, weights = lanes(source), args.row_first, args.row_places, args.row_weights
    whole = columns // n * n
    rest = head(source, columns - whole)
    for row in range(first_row, first_row + rows):
        first, last = row_first[row], row_first[row + 1]
        line = target + (row - first_row) * columns
        for j in range(0, whole, n):
            store(line, j, sum_of_rows(source, places, weights, first, last, columns, j, head(source, n)))
        if whole < columns:
            store(line, whole, sum_of_rows(source, places, weights, first, last, columns, whole, rest), rest)


@jit.inline
def sum_wide(args, source, met, rows, target, j, base):
    """Column j of the result, made of more columns than two registers hold, of some rows."""
    for r in range(rows):
        line = source + met[r] * args.in_columns + base
        total = line[0] * args.column_weights[j]
        for t in range(1, args.column_counts[j]):
            total += line[t] * args.column_weights[t * args.out_columns + j]
        target[r * args.out_columns + j] = total


@jit.inline
def sum_columns(args, source, met, rows, target):
    """Columns of the result, of rows ``met[0]``, ``met[1]``, ..."""
    n, size, columns = lanes(source), args.in_columns, args.out_columns
    places, weights = args.column_places, args.column_weights
    for group in range(args.groups):
        j, base, most = args.group_first[group], args.group_base[group], args.group_most[group]
        if most >= 2 * n:
            sum_wide(args, source, met, rows, target, j, base)
            continue
        wanted = head(source, args.group_first[group + 1] - j)
        some, more = head(source, size - base), head(source, min(size - base - n, n - 1))
        at, weight = load_beside(places, j, source, wanted), load(weights, j, wanted)
        next_at, next_weight = load_beside(places, columns + j, source, wanted), load(weights, columns + j, wanted)
        for r in range(rows):
            line = met[r] * size + base
            low, high = load(source, line, some), load(source, line + n, more)
            total = permute(low, high, at) * weight
            if most > 1:
                total = fma(permute(low, high, next_at), next_weight, total)
            for t in range(2, most):
                v = permute(low, high, load_beside(places, t * columns + j, source, wanted))
                total = fma(v, load(weights, t * columns + j, wanted), total)
            store(target, r * columns + j, total, wanted)


def _rows_first(args, task, slot):
    buffer, columns = args.buffer + slot * args.step, args.in_columns
    first_plane, first_row = task // args.bands * args.planes, task % args.bands * args.band_rows
    planes, rows = min(args.all_planes - first_plane, args.planes), min(args.out_rows - first_row, args.band_rows)
    for p in range(planes):
        x = args.x + (first_plane + p) * args.in_rows * columns
        sum_rows(args, x, columns, buffer + p * rows * columns, first_row, rows)
    y = args.y + (first_plane * args.out_rows + first_row) * args.out_columns
    sum_columns(args, buffer, args.met, planes * rows, y)


ROWS_FIRST = kernel(**REALS, **FIELDS, **GROUPS)(_rows_first)  # `met` counts the rows of the buffer


def _columns_first(args, task, slot):
    buffer, columns = args.buffer + slot * args.step, args.out_columns
    first_plane, band = task // args.bands * args.planes, task % args.bands
    first_met, first_row = args.met_first[band], band * args.band_rows
    planes, rows = min(args.all_planes - first_plane, args.planes), min(args.out_rows - first_row, args.band_rows)
    met = args.met_first[band + 1] - first_met
    x = args.x + first_plane * args.in_rows * args.in_columns
    sum_columns(args, x, args.met + first_met, planes * met, buffer)
    for p in range(planes):
        y = args.y + ((first_plane + p) * args.out_rows + first_row) * columns
        sum_rows(args, buffer + p * met * columns, columns, y, first_row, rows)


# A band of rows of the result meets rows `met[k]` from k = `met_first[band]` on, and `row_places` counts from there. A
# task of several planes has all of their rows, one plane after the other.
COLUMNS_FIRST = kernel(**REALS, **FIELDS, **GROUPS, met_first="int32")(_columns_first)

# ---- plans -----------------------------------------------------------------------------------------------------


def column_tables(program: Program, columns: AxisMap) -> dict[str, int]:
    """Tables of groups of columns, each made of columns that two registers hold, or else of a single one."""
    n, counts = VECTOR_BYTES // program.dtype.itemsize, columns.counts
    starts = columns.places[np.minimum(columns.first[:-1], len(columns.places) - 1)]
    starts = np.maximum.accumulate(np.where(counts > 0, starts, 0))  # of no columns: anywhere
    ends, groups = starts + counts, [0]
    for j in range(1, columns.outputs):
        first = groups[-1]
        if j - first == n or ends[first : j + 1].max() - starts[first] >= 2 * n:
            groups.append(j)
    base = np.repeat(starts[groups], np.diff([*groups, columns.outputs]))
    taps = np.arange(max(2, counts.max()))[:, None]
    return {
        "groups": len(groups),
        "group_first": program.table([*groups, columns.outputs]),
        "group_base": program.table(starts[groups]),
        "group_most": program.table(np.maximum.reduceat(counts, groups)),
        "column_places": program.table(np.where(taps < counts, starts - base + taps, 2 * n - 1)),
        "column_counts": program.table(counts),
    }


def _weights_by_tap(columns: AxisMap) -> np.ndarray:
    """Weights of the t-th place of each column, (t, columns), 0 where there is none."""
    weights = np.zeros((max(2, columns.counts.max()), columns.outputs))
    inside = np.arange(len(columns.places)) - columns.first[columns.owners]
    weights[inside, columns.owners] = columns.weights
    return weights


def cut(planes: int, elements: int, rows: int) -> tuple[int, dict[str, int]]:
    """Cut planes, of so many elements in so many rows, into tasks: some planes, or some rows of one."""
    group = max(1, CHUNK // elements)
    band = -(-rows // -(-elements // CHUNK))
    bands = -(-rows // band)
    return -(-planes // group) * bands, {"all_planes": planes, "planes": group, "bands": bands, "band_rows": band}


def _rows_met(rows: AxisMap, sizes: dict[str, int]) -> tuple[list[np.ndarray], np.ndarray]:
    """Rows that each band of the result meets, and for every place its number among them; all, if there is one band."""
    if sizes["bands"] == 1:
        return [np.arange(sizes["planes"] * rows.size)], rows.places
    met, numbers = [], []
    for top in range(0, rows.outputs, sizes["band_rows"]):
        ends = rows.first[[top, min(rows.outputs, top + sizes["band_rows"])]]
        found, number = np.unique(rows.places[slice(*ends)], return_inverse=True)
        met.append(found)
        numbers.append(number)
    return met, np.concatenate(numbers)


def plan(maps: list[AxisMap], planes: int, dtype: np.dtype) -> Program:
    """Return a program of x and y that applies a map to each axis of `planes` planes."""
    program, columns = Program(dtype, "x y"), maps[-1]
    rows = reduce(join, maps[:-1], whole())
    outputs, inputs = rows.outputs * columns.outputs, rows.size * columns.size
    tasks, sizes = cut(planes, max(outputs, inputs), rows.outputs)
    arguments = {
        "x": program.x, "y": program.y, **sizes,
        "in_rows": rows.size, "in_columns": columns.size, "out_rows": rows.outputs, "out_columns": columns.outputs,
        "row_first": program.table(rows.first), "row_weights": program.table(rows.weights, dtype),
        "column_weights": program.table(_weights_by_tap(columns), dtype), **column_tables(program, columns),
    }  # fmt: skip
    if rows.size < rows.outputs or rows.size == 1:
        met, numbers = _rows_met(rows, sizes)
        longest = max(map(len, met)) if sizes["bands"] > 1 else sizes["planes"] * rows.size
        buffer, step = program.worker_workspace(longest * columns.outputs)
        first = np.cumsum([0, *map(len, met)]) if sizes["bands"] > 1 else [0, rows.size]
        arguments |= {"row_places": program.table(numbers), "met": program.table(np.concatenate(met))}
        program.add(COLUMNS_FIRST, tasks, **arguments, buffer=buffer, step=step, met_first=program.table(first))
    else:
        lines = sizes["planes"] * sizes["band_rows"]
        buffer, step = program.worker_workspace(lines * columns.size)
        arguments |= {"row_places": program.table(rows.places), "met": program.table(np.arange(lines))}
        program.add(ROWS_FIRST, tasks, **arguments, buffer=buffer, step=step)
    return program
