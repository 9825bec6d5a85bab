"""Matrix products on the register tile: C = A B + bias, where A or B may be given transposed.

    c[rows x columns] = a[rows x depth] * b[depth x columns] + bias[columns]

Both factors are packed into panels of a tile's height or width, ``[depth][height]`` and ``[depth][width]``, padded with
zeros: the tile reads them from front to back, and one shape of it serves all layouts. At the edges of C, sums stand in
scratch memory first, and leave it through masks.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fastconv.cpu.loop import At, Program, kernel
from fastconv.cpu.microkernel import call_tile, most_rows, tile
from fastconv.cpu.primitive import VECTOR_BYTES
from fastconv.cpu.simd import head, lanes, load, splat, store, transpose

PART = 256  # products of a panel that a task packs
DEPTH = 1 << 11  # products that a tile sums at a time: its part of B's panel, 256 KB, stays in L2
TASK = 1 << 20  # products of a task
MOST_TILES = 8  # tiles of a task, one below the other

# ---- kernels ---------------------------------------------------------------------------------------------------


@kernel(x="real", panels="real", along="int", depth="int", lines="int", width="int", parts="int")
def pack(args, task, slot):
    """Pack `width` lines of a matrix: element k of line j goes to ``panels[j // width][k][j % width]``.

    Lines lie one after the other where `along` is 1, and side by side where it is 0.
    """
    x, depth, lines, width = args.x, args.depth, args.lines, args.width
    n = lanes(x)
    line, first = task // args.parts * width, task % args.parts * PART
    last = min(depth, first + PART)
    for j in range(0, width, n):
        target, write = args.panels + (line * depth + j), head(x, width - j)
        if args.along:
            for k in range(first, last, n):
                source, read = x + ((line + j) * depth + k), head(x, last - k)
                transpose(source, depth, lines - line - j, read, target + k * width, width, last - k, write)
        else:
            read = head(x, lines - line - j)
            for k in range(first, last):
                store(target, k * width, load(x, k * lines + (line + j), read), write)


@kernel(
    tile="int", height="int", vectors="int", a="real", a_steps="int32", b="real", b_steps="int32", no_offset="int32",
    sums="real", sums_rows="int32", worker_step="int", bias="real", has_bias="int", c="real", c_rows="int32",
    rows="int", depth="int", columns="int", panels="int", group="int",
)  # fmt: skip
def multiply(args, task, slot):
    """Compute a group of rows of C in the columns of a panel of B."""
    n = lanes(args.a)
    width, panel = args.vectors * n, task % args.panels
    left = panel * width
    first = task // args.panels * args.group
    last = min(args.rows, first + args.group)
    sums = args.sums + slot * args.worker_step
    bias = sums + args.group * width
    for j in range(0, width, n):
        value = splat(bias, 0.0)
        if args.has_bias:
            value = load(args.bias, left + j, head(bias, args.columns - left - j))
        store(bias, j, value)
    # Rows of tiles that lie in C as a whole.
    whole = (last - first) // args.height * args.height if left + width <= args.columns else 0
    for k in range(0, args.depth, DEPTH):
        b = args.b + (panel * args.depth + k) * width
        for row in range(first, last, args.height):
            target, target_rows = sums + (row - first) * width, args.sums_rows
            if row < first + whole:
                target, target_rows = args.c + (row * args.columns + left), args.c_rows
            start, start_rows = (target, target_rows) if k > 0 else (bias, args.no_offset)
            call_tile(
                args.tile, min(DEPTH, args.depth - k), args.a + (row * args.depth + k * args.height), args.no_offset,
                args.a_steps, b, args.b_steps, target, target_rows, start, start_rows,
            )  # fmt: skip
    for j in range(0, min(width, args.columns - left), n):
        wanted = head(args.c, args.columns - left - j)
        for row in range(first + whole, last):
            store(args.c, row * args.columns + left + j, load(sums, (row - first) * width + j), wanted)


@kernel(x="real", sums="real", rows="int", columns="int")
def sum_columns(args, task, slot):
    """Sum of the rows of x, for the columns of one vector."""
    j = task * lanes(args.x)
    present, total = head(args.x, args.columns - j), splat(args.x, 0.0)
    for row in range(args.rows):
        total = total + load(args.x, row * args.columns + j, present)
    store(args.sums, j, total, present)


# ---- plans -----------------------------------------------------------------------------------------------------


def _add_pack(program: Program, x: At, along: bool, lines: int, depth: int, width: int) -> At:
    """Append the packing of a factor; return where its panels will be."""
    panels, parts, count = program.workspace(-(-lines // width) * width * depth), -(-depth // PART), -(-lines // width)
    program.add(
        pack, count * parts, x=x, panels=panels, along=int(along), depth=depth, lines=lines, width=width, parts=parts
    )
    return panels


@lru_cache(maxsize=256)
def _plan(
    rows: int, depth: int, columns: int, dtype: np.dtype, a_transposed: bool, b_transposed: bool, has_bias: bool
) -> Program:
    n = VECTOR_BYTES // dtype.itemsize
    vectors = min(2, -(-columns // n))
    width, panels = vectors * n, -(-columns // (vectors * n))
    height = -(-rows // -(-rows // most_rows(vectors)))  # tiles of equal heights
    tiles = min(MOST_TILES, max(1, TASK // (height * width * depth)), -(-rows // height))
    steps, heights = np.arange(min(DEPTH, depth)), np.arange(height)

    program = Program(dtype, "a b bias c")
    sums, worker_step = program.worker_workspace((tiles * height + 1) * width)
    a = _add_pack(program, program.a, not a_transposed, rows, depth, height)
    b = _add_pack(program, program.b, b_transposed, columns, depth, width)
    program.add(
        multiply, panels * -(-rows // (tiles * height)), tile=tile(dtype, height, vectors, run=height), height=height,
        vectors=vectors, a=a, a_steps=program.table(steps * height), b=b, b_steps=program.table(steps * width),
        no_offset=program.table(0 * heights), sums=sums, sums_rows=program.table(heights * width),
        worker_step=worker_step, bias=program.bias, has_bias=int(has_bias),
        c=program.c, c_rows=program.table(heights * columns),
        rows=rows, depth=depth, columns=columns, panels=panels, group=tiles * height,
    )  # fmt: skip
    return program


def matrix_product(
    a: NDArray,
    b: NDArray,
    c: NDArray,
    bias: NDArray | None = None,
    *,
    a_transposed: bool = False,
    b_transposed: bool = False,
) -> None:
    """Write ``c = a @ b + bias``, or with ``a.T`` or ``b.T`` in their places; no axis may be empty."""
    rows, columns = c.shape
    depth = a.shape[0] if a_transposed else a.shape[1]
    _plan(rows, depth, columns, c.dtype, a_transposed, b_transposed, bias is not None)(a, b, bias, c)


@lru_cache(maxsize=256)
def _sums_plan(rows: int, columns: int, dtype: np.dtype) -> Program:
    program = Program(dtype, "x sums")
    tasks = -(-columns * dtype.itemsize // VECTOR_BYTES)
    program.add(sum_columns, tasks, x=program.x, sums=program.sums, rows=rows, columns=columns)
    return program


def column_sums(x: NDArray, sums: NDArray) -> None:
    """Write the sum of the rows of a matrix."""
    _sums_plan(*x.shape, x.dtype)(x, sums)
