"""Max and average pooling: which kernel does it, on which tables, cut into which tasks.

Memory is what pooling waits for: the position of a maximum inside its window fits in a byte, where an index into the
plane takes eight.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache, reduce
from math import prod

import numpy as np
from numpy.typing import NDArray

from fastconv.cpu import pool_pairs, pool_windows
from fastconv.cpu.loop import Program
from fastconv.cpu.taps import View, backward_view, forward_view
from fastconv.geometry import PoolGeometry, Window

CHUNK = 1 << 14  # outputs of a task


def position_type(geometry: PoolGeometry) -> np.dtype:
    """Type of the saved positions: the smallest that counts the places of a window, and one for nowhere."""
    return np.dtype(np.uint8 if prod(geometry.window.kernel) < 256 else np.int32)


# ---- tables and tasks ------------------------------------------------------------------------------------------


def _tasks(geometry: PoolGeometry, view: View) -> tuple[int, dict[str, int]]:
    """Count the tasks, and size them: some planes, or some rows of one."""
    planes, size = geometry.batch * geometry.channels, view.out_rows * view.out_columns
    group = max(1, CHUNK // size)
    rows = -(-view.out_rows // -(-size // CHUNK))
    bands = -(-view.out_rows // rows)
    return -(-planes // group) * bands, {"all_planes": planes, "planes": group, "bands": bands, "band_rows": rows}


def _tables(program: Program, view: View) -> dict[str, int]:
    row_taps = [pair for pairs in view.row_taps for pair in pairs]
    return {
        "row_first": program.table(np.cumsum([0, *map(len, view.row_taps)])),
        "row_taps": program.table(row_taps),
        "column_taps": program.table([pair for phase in view.columns for pair in phase.taps]),
        "in_rows": view.in_rows,
        "in_columns": view.in_columns,
        "out_rows": view.out_rows,
        "out_columns": view.out_columns,
        "tap_columns": view.tap_columns,
    }


def _forward(program: Program, geometry: PoolGeometry) -> tuple[int, dict[str, int]]:
    view = forward_view(geometry)
    tasks, sizes = _tasks(geometry, view)
    return tasks, {**sizes, **_tables(program, view), "advance": view.columns[0].advance}


def _backward(program: Program, geometry: PoolGeometry) -> tuple[int, dict[str, int]]:
    view = backward_view(geometry)
    tasks, sizes = _tasks(geometry, view)
    phase_first = program.table(np.cumsum([0, *(len(phase.taps) for phase in view.columns)]))
    return tasks, {**sizes, **_tables(program, view), "phase_first": phase_first, "phases": len(view.columns)}


def _are_pairs(geometry: PoolGeometry) -> bool:
    """Whether all windows are 2x2, side by side and inside the input."""
    side_by_side = Window((2, 2), (2, 2), (1, 1), ((0, 0), (0, 0)))
    sizes = zip(geometry.output_size, geometry.input_size, strict=True)
    return replace(geometry.window, ceil_mode=False) == side_by_side and all(2 * o <= n for o, n in sizes)


def _pairs(geometry: PoolGeometry) -> tuple[int, dict[str, int]]:
    (in_rows, in_columns), (out_rows, out_columns) = geometry.input_size, geometry.output_size
    planes = geometry.batch * geometry.channels
    group = max(1, CHUNK // (out_rows * out_columns))
    return -(-planes // group), {
        "all_planes": planes, "planes": group,
        "in_rows": in_rows, "in_columns": in_columns, "out_rows": out_rows, "out_columns": out_columns,
    }  # fmt: skip


# ---- max pooling -----------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def _max_plan(geometry: PoolGeometry, dtype: np.dtype, keep: bool, relu: bool) -> Program:
    program = Program(dtype, "x y saved")
    arrays = {"x": program.x, "y": program.y, "saved": program.saved}
    arrays |= {"keep": int(keep), "relu": int(relu), "nowhere": prod(geometry.window.kernel)}
    if _are_pairs(geometry):
        tasks, sizes = _pairs(geometry)
        program.add(pool_pairs.max_pairs, tasks, **arrays, **sizes)
    else:
        tasks, sizes = _forward(program, geometry)
        program.add(pool_windows.MAX[position_type(geometry).name], tasks, **arrays, **sizes)
    return program


def max_pool(x: NDArray, y: NDArray, saved: NDArray | None, geometry: PoolGeometry, relu: bool = False) -> None:
    """Write maxima, and their positions inside the windows unless `saved` is None.

    With `relu` they are cut off at zero, and the position of a maximum that was cut off is the window's size: nowhere.
    """
    _max_plan(geometry, x.dtype, saved is not None, relu)(x, y, saved)


@lru_cache(maxsize=256)
def _max_backward_plan(geometry: PoolGeometry, dtype: np.dtype) -> Program:
    program = Program(dtype, "dy saved dx")
    arrays = {"dy": program.dy, "saved": program.saved, "dx": program.dx}
    if _are_pairs(geometry):
        tasks, sizes = _pairs(geometry)
        program.add(pool_pairs.max_pairs_backward, tasks, **arrays, **sizes)
    else:
        tasks, sizes = _backward(program, geometry)
        program.add(pool_windows.MAX_BACKWARD[position_type(geometry).name], tasks, **arrays, **sizes)
    return program


def max_pool_backward(dy: NDArray, saved: NDArray, dx: NDArray, geometry: PoolGeometry) -> None:
    """Write the gradient: dy at the saved positions, summed where windows overlap."""
    _max_backward_plan(geometry, dy.dtype)(dy, saved, dx)


@lru_cache(maxsize=256)
def _indices_plan(geometry: PoolGeometry) -> Program:
    window, planes, rows = geometry.window, geometry.batch * geometry.channels, prod(geometry.output_size[:-1])
    steps = np.cumprod([1, *geometry.input_size[:0:-1]])[::-1]  # elements from one index of an axis to the next

    def flat(sizes, along):
        """Flat offsets of a grid, whose axes have the given coordinates."""
        return reduce(np.add.outer, (step * along(axis, np.arange(n)) for axis, (n, step) in enumerate(sizes))).ravel()

    offsets = flat(zip(window.kernel, steps, strict=True), lambda a, k: k * window.dilation[a])
    starts = zip((*geometry.output_size[:-1], 1), steps, strict=True)
    origins = flat(starts, lambda a, o: o * window.stride[a] - window.padding[a][0])
    group = max(1, CHUNK // (rows * geometry.output_size[-1]))
    program = Program(np.dtype(np.float32), "saved indices")
    program.add(
        pool_windows.FLAT_INDICES[position_type(geometry).name], -(-planes // group),
        saved=program.saved, indices=program.indices, advance=window.stride[-1],
        origins=program.table(origins, np.int64), offsets=program.table(offsets, np.int64),
        all_planes=planes, planes=group, out_rows=rows, out_columns=geometry.output_size[-1],
    )  # fmt: skip
    return program


def flat_indices(saved: NDArray, indices: NDArray[np.int64], geometry: PoolGeometry) -> None:
    """Turn positions inside windows into flat indices into the input's planes."""
    _indices_plan(geometry)(saved, indices)


# ---- average pooling -------------------------------------------------------------------------------------------


def _counts(geometry: PoolGeometry, count_include_pad: bool, divisor: int | None) -> tuple[NDArray, NDArray]:
    """By what a window's sum is divided: a number for its row times one for its column."""
    if divisor is not None:
        return np.full(prod(geometry.output_size[:-1]), divisor), np.ones(geometry.output_size[-1])
    window, counts = geometry.window, []
    for axis, (size, outputs) in enumerate(zip(geometry.input_size, geometry.output_size, strict=True)):
        before, after = window.padding[axis]
        first = np.arange(outputs) * window.stride[axis] - before
        last = np.minimum(first + window.kernel[axis], size + after)  # a window that hangs over ends with the padding
        if not count_include_pad:
            first, last = np.maximum(first, 0), np.minimum(last, size)
        counts.append(last - first)
    return reduce(np.multiply.outer, counts[:-1], np.ones(())).ravel(), counts[-1]


@lru_cache(maxsize=256)
def _avg_plan(
    geometry: PoolGeometry, dtype: np.dtype, count_include_pad: bool, divisor: int | None, backward: bool
) -> Program:
    program = Program(dtype, "dy dx" if backward else "x y")
    rows, columns = _counts(geometry, count_include_pad, divisor)
    counts = {"row_counts": program.table(rows, dtype), "column_counts": program.table(columns, dtype)}
    if backward:
        tasks, sizes = _backward(program, geometry)
        program.add(pool_windows.AVG_BACKWARD, tasks, dy=program.dy, dx=program.dx, **counts, **sizes)
    else:
        tasks, sizes = _forward(program, geometry)
        program.add(pool_windows.AVG, tasks, x=program.x, y=program.y, **counts, **sizes)
    return program


def avg_pool(x: NDArray, y: NDArray, geometry: PoolGeometry, count_include_pad: bool, divisor: int | None) -> None:
    """Write means."""
    _avg_plan(geometry, x.dtype, count_include_pad, divisor, False)(x, y)


def avg_pool_backward(
    dy: NDArray, dx: NDArray, geometry: PoolGeometry, count_include_pad: bool, divisor: int | None
) -> None:
    """Write the gradient: equal shares of dy, summed where windows overlap."""
    _avg_plan(geometry, dy.dtype, count_include_pad, divisor, True)(dy, dx)
