"""Max and average pooling: which kernel does it, on which tables, cut into which tasks.

Memory is what pooling waits for: the position of a maximum inside its window fits in a byte, where an index into the
plane takes eight.
"""

from __future__ import annotations

from functools import lru_cache, reduce
from math import prod

import numpy as np
from numpy.typing import NDArray

from fastconv.cpu import pool_places, pool_planes, pool_slices, pool_sliding, pool_sliding_backward, pool_windows
from fastconv.cpu.loop import At, Kernel, Program
from fastconv.cpu.taps import backward_view, forward_view
from fastconv.geometry import PoolGeometry, Window

CHUNK = 1 << 14  # outputs of a task
WALK = 1 << 11  # elements, read and written, that a block of columns may pass: they stay in the L1 cache


def position_type(geometry: PoolGeometry) -> np.dtype:
    """Type of the saved positions: the smallest that counts the places of a window, and one for nowhere."""
    return np.dtype(np.uint8 if prod(geometry.window.kernel) < 256 else np.int32)


# ---- which kernel ----------------------------------------------------------------------------------------------


def _is_plane(geometry: PoolGeometry) -> bool:
    """Whether the only window is the input itself."""
    return geometry.window.kernel == geometry.input_size and not any(map(any, geometry.window.padding))


def _slides(geometry: PoolGeometry) -> bool:
    """Whether `pool_sliding` has kernels for the windows: small squares, with as much padding above as on the left."""
    window = geometry.window
    squares = [(k, s, p[0]) for k, s, p in zip(window.kernel, window.stride, window.padding, strict=True)]
    known = (window.kernel[0], window.stride[0]) in pool_sliding.WINDOWS
    return len(squares) == 2 and squares[0] == squares[1] and known and window.dilation == (1, 1)


def _slices(geometry: PoolGeometry) -> PoolGeometry:
    """Return the pooling of each slice along the first axis as a plane of its own."""
    window = geometry.window
    inner = Window(window.kernel[1:], window.stride[1:], window.dilation[1:], window.padding[1:], window.ceil_mode)
    channels = geometry.channels * geometry.input_size[0]
    return PoolGeometry(geometry.batch, channels, geometry.input_size[1:], geometry.output_size[1:], inner)


def _flattened(geometry: PoolGeometry) -> PoolGeometry:
    """Leave out the first of three axes if windows are one slice thick and take them all."""
    window = geometry.window
    thin = len(window.kernel) == 3 and (window.kernel[0], window.stride[0], window.padding[0]) == (1, 1, (0, 0))
    return _slices(geometry) if thin else geometry


# ---- tables and tasks ------------------------------------------------------------------------------------------


def _planes(geometry: PoolGeometry) -> tuple[int, dict[str, int]]:
    """Cut planes that are windows into tasks."""
    planes, size = geometry.batch * geometry.channels, prod(geometry.input_size)
    group = max(1, CHUNK // size)
    return -(-planes // group), {"all_planes": planes, "planes": group, "size": size}


def _bands(geometry: PoolGeometry, rows: int, columns: int) -> tuple[int, dict[str, int]]:
    """Cut what is computed, rows x columns elements of each plane, into tasks: some planes, or some rows of one."""
    planes, size = geometry.batch * geometry.channels, rows * columns
    group = max(1, CHUNK // size)
    band = -(-rows // -(-size // CHUNK))
    bands = -(-rows // band)
    sizes = {"all_planes": planes, "planes": group, "bands": bands, "band_rows": band}
    return -(-planes // group) * bands, sizes


def _strip(geometry: PoolGeometry, rows: int, backward: bool) -> int:
    """Rows that a block of columns walks down before the next block does.

    Whole planes if they stay in the L1 cache. In larger ones single rows, since memory is fastest in its own order; but
    forward, where windows overlap, a longer walk shares more.
    """
    fitting = WALK * rows // (prod(geometry.input_size) + prod(geometry.output_size))
    if fitting >= rows:
        return rows
    overlap = geometry.window.kernel[0] > geometry.window.stride[0]
    return max(2, fitting) if overlap and not backward else 1


def _sliding(geometry: PoolGeometry, backward: bool) -> tuple[tuple[int, ...], int, dict[str, int]]:
    """Choice of a kernel for windows that slide, tasks and sizes: of x and y, or backward of dy and dx."""
    read, written, (step, _) = geometry.input_size, geometry.output_size, geometry.window.stride
    taps, padding = geometry.window.kernel[0], geometry.window.padding[0][0]
    if backward:  # `step` rows of dx are written at a time
        read, written = written, read
    rows, width = (-(-written[0] // step), written[1] * step) if backward else written
    strip = _strip(geometry, rows, backward)
    tasks, sizes = _bands(geometry, rows, width)
    sizes |= zip(("in_rows", "in_columns", "out_rows", "out_columns"), (*read, *written), strict=True)
    sizes |= {"strip": strip, "ahead": strip * read[1] * (1 if backward else step)}
    return ((taps, step, padding), tasks, sizes) if backward else ((taps, step), tasks, sizes | {"padding": padding})


def _tables(program: Program, geometry: PoolGeometry, backward: bool) -> tuple[int, dict[str, int]]:
    """Tables for windows of any kind: the (tap, input row) that each row meets, and the taps of the columns."""
    view = backward_view(geometry) if backward else forward_view(geometry)
    tasks, sizes = _bands(geometry, view.out_rows, view.out_columns)
    tables = {
        **sizes,
        "row_first": program.table(np.cumsum([0, *map(len, view.row_taps)])),
        "row_taps": program.table([pair for pairs in view.row_taps for pair in pairs]),
        "column_taps": program.table([pair for phase in view.columns for pair in phase.taps]),
        "in_rows": view.in_rows, "in_columns": view.in_columns,
        "out_rows": view.out_rows, "out_columns": view.out_columns, "tap_columns": view.tap_columns,
    }  # fmt: skip
    if not backward:
        return tasks, tables | {"advance": view.columns[0].advance}
    phase_first = program.table(np.cumsum([0, *(len(phase.taps) for phase in view.columns)]))
    return tasks, tables | {"phase_first": phase_first, "phases": len(view.columns)}


def add_pooling(program: Program, geometry: PoolGeometry, backward: bool, kernels: tuple, **arguments: object) -> None:
    """Append the step that fits, of kernels for planes that are windows, for small windows, and for all others."""
    of_planes, sliding, of_all = kernels
    if _is_plane(geometry):
        tasks, sizes = _planes(geometry)
        program.add(of_planes, tasks, **sizes, **arguments)
    elif _slides(geometry):
        shape, tasks, sizes = _sliding(geometry, backward)
        program.add(sliding(*shape), tasks, **sizes, **arguments)
    else:
        tasks, sizes = _tables(program, geometry, backward)
        program.add(of_all, tasks, **sizes, **arguments)


# ---- max pooling -----------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def _max_plan(geometry: PoolGeometry, dtype: np.dtype, keep: bool, relu: bool) -> Program:
    program, flat = Program(dtype, "x y saved"), _flattened(geometry)
    options = {"keep": int(keep), "relu": int(relu), "nowhere": prod(geometry.window.kernel)}
    if len(flat.input_size) < 3 or _is_plane(geometry) or position_type(geometry) != np.uint8:
        _add_maxima(program, flat, x=program.x, y=program.y, saved=program.saved, **options)
        return program
    slices = _slices(geometry)
    maxima = program.workspace(prod(slices.y_shape))
    positions = program.workspace(prod(slices.y_shape), np.uint8)
    _add_maxima(program, slices, x=program.x, y=maxima, saved=positions, keep=1, relu=0, nowhere=0)
    _add_slices(program, geometry, x=maxima, positions=positions, y=program.y, saved=program.saved, **options)
    return program


def _add_maxima(program: Program, geometry: PoolGeometry, **arguments: object) -> None:
    positions = position_type(geometry).name
    kernels = pool_planes.MAX[positions], pool_sliding.max_kernel, pool_windows.MAX[positions]
    add_pooling(program, geometry, False, kernels, **arguments)


def _add_slices(program: Program, geometry: PoolGeometry, **arguments: object) -> None:
    """Append the maximum of slices that are maxima themselves."""
    window, planes, size = geometry.window, geometry.batch * geometry.channels, prod(geometry.output_size[1:])
    group = max(1, CHUNK // (size * geometry.output_size[0]))
    program.add(
        pool_slices.MAX, -(-planes // group), all_planes=planes, planes=group, slices=geometry.input_size[0],
        depth=geometry.output_size[0], size=size, taps=window.kernel[0], stride=window.stride[0],
        dilation=window.dilation[0], before=window.padding[0][0], area=prod(window.kernel[1:]), **arguments,
    )  # fmt: skip


def max_pool(x: NDArray, y: NDArray, saved: NDArray | None, geometry: PoolGeometry, relu: bool = False) -> None:
    """Write maxima, and their positions inside the windows unless `saved` is None.

    With `relu` they are cut off at zero, and the position of a maximum that was cut off is the window's size: nowhere.
    """
    _max_plan(geometry, x.dtype, saved is not None, relu)(x, y, saved)


@lru_cache(maxsize=256)
def _max_backward_plan(geometry: PoolGeometry, dtype: np.dtype) -> Program:
    program, flat, positions = Program(dtype, "dy saved dx"), _flattened(geometry), position_type(geometry).name
    arrays = {"dy": program.dy, "saved": program.saved, "dx": program.dx}
    if _is_plane(flat) or _slides(flat):
        kernels = pool_planes.MAX_BACKWARD[positions], pool_sliding_backward.max_kernel, None
        add_pooling(program, flat, True, kernels, **arrays)
        return program
    sizes = {"size": prod(geometry.input_size), "places": prod(geometry.window.kernel)}
    _add_places(program, geometry, pool_places.MAX_BACKWARD[positions], **sizes, **arrays)
    return program


def max_pool_backward(dy: NDArray, saved: NDArray, dx: NDArray, geometry: PoolGeometry) -> None:
    """Write the gradient: dy at the saved positions, summed where windows overlap."""
    _max_backward_plan(geometry, dy.dtype)(dy, saved, dx)


def _add_places(program: Program, geometry: PoolGeometry, step: Kernel, **arguments: object) -> None:
    """Append a step that finds where positions inside windows lie in the planes."""
    window, planes, rows = geometry.window, geometry.batch * geometry.channels, prod(geometry.output_size[:-1])
    steps = np.cumprod([1, *geometry.input_size[:0:-1]])[::-1]  # elements from one index of an axis to the next

    def flat(sizes, along):
        """Flat offsets of a grid, whose axes have the given coordinates."""
        return reduce(np.add.outer, (step * along(axis, np.arange(n)) for axis, (n, step) in enumerate(sizes))).ravel()

    offsets = flat(zip(window.kernel, steps, strict=True), lambda a, k: k * window.dilation[a])
    starts = zip((*geometry.output_size[:-1], 1), steps, strict=True)
    origins = flat(starts, lambda a, o: o * window.stride[a] - window.padding[a][0])
    group = max(1, CHUNK // max(rows * geometry.output_size[-1], prod(geometry.input_size)))
    program.add(
        step, -(-planes // group), **arguments, advance=window.stride[-1],
        origins=program.table(origins, np.int64), offsets=program.table(offsets, np.int64),
        all_planes=planes, planes=group, out_rows=rows, out_columns=geometry.output_size[-1],
    )  # fmt: skip


@lru_cache(maxsize=256)
def _indices_plan(geometry: PoolGeometry) -> Program:
    program = Program(np.dtype(np.float32), "saved indices")
    step = pool_places.FLAT_INDICES[position_type(geometry).name]
    _add_places(program, geometry, step, saved=program.saved, indices=program.indices)
    return program


def flat_indices(saved: NDArray, indices: NDArray[np.int64], geometry: PoolGeometry) -> None:
    """Turn positions inside windows into flat indices into the input's planes."""
    _indices_plan(geometry)(saved, indices)


# ---- average pooling -------------------------------------------------------------------------------------------


def _shares(geometry: PoolGeometry, count_include_pad: bool, divisor: int | None) -> tuple[NDArray, NDArray]:
    """Return what each element of a window counts: a number for the window's row times one for its column."""
    rows, columns = prod(geometry.output_size[:-1]), geometry.output_size[-1]
    if divisor is not None:
        return np.full(rows, 1 / divisor), np.ones(columns)
    window, counts = geometry.window, []
    for axis, (size, outputs) in enumerate(zip(geometry.input_size, geometry.output_size, strict=True)):
        before, after = window.padding[axis]
        first = np.arange(outputs) * window.stride[axis] - before
        last = np.minimum(first + window.kernel[axis], size + after)  # a window that hangs over ends with the padding
        if not count_include_pad:
            first, last = np.maximum(first, 0), np.minimum(last, size)
        counts.append(last - first)
    most = counts[-1].max()  # so that the share of a whole window is rounded once
    return 1 / (reduce(np.multiply.outer, counts[:-1], np.ones(())).ravel() * most), most / counts[-1]


def add_means(
    program: Program,
    geometry: PoolGeometry,
    backward: bool,
    count_include_pad: bool,
    divisor: int | None,
    scale: int = 1,
    **ends: At,
) -> None:
    """Append the step that averages x into y, or backward dy into dx, times a number."""
    geometry = _flattened(geometry)
    rows, columns = _shares(geometry, count_include_pad, divisor)
    rows = rows * scale
    shares = {"row_shares": program.table(rows, program.dtype), "column_shares": program.table(columns, program.dtype)}
    if backward:
        kernels = pool_planes.AVG_BACKWARD, pool_sliding_backward.avg_kernel, pool_windows.AVG_BACKWARD
    else:
        kernels = pool_planes.AVG, pool_sliding.avg_kernel, pool_windows.AVG
    add_pooling(program, geometry, backward, kernels, **ends, **shares)


@lru_cache(maxsize=256)
def _avg_plan(
    geometry: PoolGeometry, dtype: np.dtype, count_include_pad: bool, divisor: int | None, backward: bool
) -> Program:
    ends = "dy dx" if backward else "x y"
    program = Program(dtype, ends)
    places = {name: getattr(program, name) for name in ends.split()}
    add_means(program, geometry, backward, count_include_pad, divisor, **places)
    return program


def avg_pool(x: NDArray, y: NDArray, geometry: PoolGeometry, count_include_pad: bool, divisor: int | None) -> None:
    """Write means."""
    _avg_plan(geometry, x.dtype, count_include_pad, divisor, False)(x, y)


def avg_pool_backward(
    dy: NDArray, dx: NDArray, geometry: PoolGeometry, count_include_pad: bool, divisor: int | None
) -> None:
    """Write the gradient: equal shares of dy, summed where windows overlap."""
    _avg_plan(geometry, dy.dtype, count_include_pad, divisor, True)(dy, dx)
