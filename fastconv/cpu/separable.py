"""Linear maps along the axes of planes: adaptive means, interpolation, a bed of nails, and the gradients of all.

A row of the result is a sum of rows, with vectors of neighbouring columns, and a column a sum of columns, whose
elements are gathered. Gathering costs more, so it is done where there are fewer rows: before the rows are summed where
their number grows, after it where it shrinks.
"""

from __future__ import annotations

from functools import reduce

import numpy as np

from fastconv import jit
from fastconv.cpu.axis_maps import AxisMap, join, whole
from fastconv.cpu.loop import Program, kernel
from fastconv.cpu.simd import VECTOR_BYTES, fma, head, lanes, load, load_at, load_beside, splat, store

CHUNK = 1 << 14  # outputs of a task, or inputs where they are more

# ---- kernels ---------------------------------------------------------------------------------------------------

# Row r of the result is made of rows `row_places[k]` from k = `row_first[r]` on. Column j is made of the
# `column_counts[j]` columns from `column_first[j]` on, no more than `most[i]` of them in the i-th vector of columns.
FIELDS = dict.fromkeys(("row_first", "row_places", "column_first", "column_counts", "most"), "int32") | dict.fromkeys(
    ("in_rows", "in_columns", "out_rows", "out_columns", "all_planes", "planes", "bands", "band_rows", "step"), "int"
)
REALS = dict.fromkeys(("x", "y", "row_weights", "column_weights", "buffer"), "real")


@jit.inline
def sum_rows(args, x, columns, row, j):
    """Vector of columns, from the j-th on, of a row of the result; `x` has rows of `columns` elements."""
    first, last, wanted = args.row_first[row], args.row_first[row + 1], head(x, columns - j)
    if first == last:
        return splat(x, 0.0)
    total = load(x, args.row_places[first] * columns + j, wanted) * splat(x, args.row_weights[first])
    for k in range(first + 1, last):
        v = load(x, args.row_places[k] * columns + j, wanted)
        total = fma(v, splat(x, args.row_weights[k]), total)
    return total


@jit.inline
def sum_columns(args, line, j):
    """Vector of the result's columns, from the j-th on, of a row."""
    wanted = head(line, args.out_columns - j)
    places, counts = load_beside(args.column_first, j, line, wanted), load_beside(args.column_counts, j, line, wanted)
    total = load_at(line, places, splat(counts, 0) < counts) * load(args.column_weights, j, wanted)
    for t in range(1, args.most[j // lanes(line)]):
        v = load_at(line, places + splat(places, t), splat(counts, t) < counts)
        total = fma(v, load(args.column_weights, t * args.out_columns + j, wanted), total)
    return total


def _rows_first(args, task, slot):
    buffer, n = args.buffer + slot * args.step, lanes(args.x)
    first_plane, first_row = task // args.bands * args.planes, task % args.bands * args.band_rows
    for plane in range(first_plane, min(args.all_planes, first_plane + args.planes)):
        x = args.x + plane * args.in_rows * args.in_columns
        for row in range(first_row, min(args.out_rows, first_row + args.band_rows)):
            for j in range(0, args.in_columns, n):
                store(buffer, j, sum_rows(args, x, args.in_columns, row, j), head(x, args.in_columns - j))
            y = args.y + (plane * args.out_rows + row) * args.out_columns
            for j in range(0, args.out_columns, n):
                store(y, j, sum_columns(args, buffer, j), head(y, args.out_columns - j))


ROWS_FIRST = kernel(**REALS, **FIELDS)(_rows_first)


def _columns_first(args, task, slot):
    buffer, n, columns = args.buffer + slot * args.step, lanes(args.x), args.out_columns
    first_plane, band = task // args.bands * args.planes, task % args.bands
    first_met, last_met, first_row = args.met_first[band], args.met_first[band + 1], band * args.band_rows
    for plane in range(first_plane, min(args.all_planes, first_plane + args.planes)):
        x = args.x + plane * args.in_rows * args.in_columns
        for k in range(first_met, last_met):
            for j in range(0, columns, n):
                v = sum_columns(args, x + args.met[k] * args.in_columns, j)
                store(buffer, (k - first_met) * columns + j, v, head(x, columns - j))
        for row in range(first_row, min(args.out_rows, first_row + args.band_rows)):
            for j in range(0, columns, n):
                place = (plane * args.out_rows + row) * columns + j
                store(args.y, place, sum_rows(args, buffer, columns, row, j), head(x, columns - j))


# A band of rows of the result meets rows `met[k]` from k = `met_first[band]` on; `row_places` counts from there.
COLUMNS_FIRST = kernel(**REALS, **FIELDS, met="int32", met_first="int32")(_columns_first)

# ---- plans -----------------------------------------------------------------------------------------------------


def column_tables(program: Program, columns: AxisMap) -> dict[str, int]:
    """Tables of the places of columns, for kernels that gather."""
    n, counts = VECTOR_BYTES // program.dtype.itemsize, columns.counts
    first = np.where(counts > 0, columns.places[np.minimum(columns.first[:-1], len(columns.places) - 1)], 0)
    most = np.maximum.reduceat(counts, np.arange(0, columns.outputs, n))
    return {
        "column_first": program.table(first),
        "column_counts": program.table(counts),
        "most": program.table(most),
    }


def _weights_by_tap(columns: AxisMap) -> np.ndarray:
    """Weights of the t-th place of each column, (t, columns), 0 where there is none."""
    weights = np.zeros((max(1, columns.counts.max()), columns.outputs))
    inside = np.arange(len(columns.places)) - columns.first[columns.owners]
    weights[inside, columns.owners] = columns.weights
    return weights


def cut(planes: int, elements: int, rows: int) -> tuple[int, dict[str, int]]:
    """Cut planes, of so many elements in so many rows, into tasks: some planes, or some rows of one."""
    group = max(1, CHUNK // elements)
    band = -(-rows // -(-elements // CHUNK))
    bands = -(-rows // band)
    return -(-planes // group) * bands, {"all_planes": planes, "planes": group, "bands": bands, "band_rows": band}


def _rows_met(rows: AxisMap, band_rows: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Rows that each band of the result meets, and for every place its number among them."""
    met, numbers = [], []
    for top in range(0, rows.outputs, band_rows):
        ends = rows.first[[top, min(rows.outputs, top + band_rows)]]
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
        met, numbers = _rows_met(rows, sizes["band_rows"])
        buffer, step = program.worker_workspace(max(map(len, met)) * columns.outputs)
        arguments |= {
            "row_places": program.table(numbers), "met": program.table(np.concatenate(met)),
            "met_first": program.table(np.cumsum([0, *map(len, met)])),
        }  # fmt: skip
        program.add(COLUMNS_FIRST, tasks, **arguments, buffer=buffer, step=step)
    else:
        buffer, step = program.worker_workspace(columns.size)
        program.add(ROWS_FIRST, tasks, **arguments, row_places=program.table(rows.places), buffer=buffer, step=step)
    return program
