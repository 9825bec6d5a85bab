"""Matrix products on the register tile, for the fully connected layer: C = A B + bias, A or B given transposed.

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
FEW_ELEMENTS, FEW_PRODUCTS = 1 << 16, 1 << 21  # to pack, or to multiply: about 30 us
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
        pack, count * parts, alone=lines * depth < FEW_ELEMENTS,
        x=x, panels=panels, along=int(along), depth=depth, lines=lines, width=width, parts=parts,
    )  # fmt: skip
    return panels


def _add_product(
    program: Program,
    a: At,
    b: At,
    bias: At | None,
    c: At,
    sizes: tuple[int, int, int],
    *,
    a_transposed: bool = False,
    b_transposed: bool = False,
) -> None:
    """Append the steps of a product; `sizes` are rows, depth and columns, none of them 0."""
    (rows, depth, columns), dtype = sizes, program.dtype
    n = VECTOR_BYTES // dtype.itemsize
    vectors = min(2, -(-columns // n))
    width, panels = vectors * n, -(-columns // (vectors * n))
    height = -(-rows // -(-rows // most_rows(vectors)))  # tiles of equal heights
    tiles = min(MOST_TILES, max(1, TASK // (height * width * depth)), -(-rows // height))
    steps, heights = np.arange(min(DEPTH, depth)), np.arange(height)
    sums, worker_step = program.worker_workspace((tiles * height + 1) * width)
    packed_a = _add_pack(program, a, not a_transposed, rows, depth, height)
    packed_b = _add_pack(program, b, b_transposed, columns, depth, width)
    program.add(
        multiply, panels * -(-rows // (tiles * height)), alone=rows * depth * columns < FEW_PRODUCTS,
        tile=tile(dtype, height, vectors, run=height), height=height, vectors=vectors,
        a=packed_a, a_steps=program.table(steps * height),
        b=packed_b, b_steps=program.table(steps * width), no_offset=program.table(0 * heights),
        sums=sums, sums_rows=program.table(heights * width), worker_step=worker_step,
        bias=bias or 0, has_bias=int(bias is not None), c=c, c_rows=program.table(heights * columns),
        rows=rows, depth=depth, columns=columns, panels=panels, group=tiles * height,
    )  # fmt: skip


@lru_cache(maxsize=256)
def _forward_plan(n: int, inputs: int, outputs: int, dtype: np.dtype, has_bias: bool) -> Program:
    program = Program(dtype, "x w b y")
    bias, sizes = program.b if has_bias else None, (n, inputs, outputs)
    _add_product(program, program.x, program.w, bias, program.y, sizes, b_transposed=True)
    return program


def linear(x: NDArray, w: NDArray, b: NDArray | None, y: NDArray) -> None:
    """Write y[n x out] = x[n x in] * w.T[in x out] + b; no axis may be empty."""
    _forward_plan(*x.shape, w.shape[0], x.dtype, b is not None)(x, w, b, y)


@lru_cache(maxsize=256)
def _backward_plan(n: int, inputs: int, outputs: int, dtype: np.dtype, needs: tuple[bool, bool, bool]) -> Program:
    program = Program(dtype, "dy x w dx dw db")
    if needs[0]:
        _add_product(program, program.dy, program.w, None, program.dx, (n, outputs, inputs))
    if needs[1]:
        _add_product(program, program.dy, program.x, None, program.dw, (outputs, n, inputs), a_transposed=True)
    if needs[2]:
        tasks = -(-outputs * dtype.itemsize // VECTOR_BYTES)
        few = n * outputs < FEW_ELEMENTS
        program.add(sum_columns, tasks, alone=few, x=program.dy, sums=program.db, rows=n, columns=outputs)
    return program


def linear_backward(
    dy: NDArray, x: NDArray, w: NDArray, dx: NDArray | None, dw: NDArray | None, db: NDArray | None
) -> None:
    """Write those gradients that are not None.

    They are dx[n x in] = dy[n x out] * w[out x in], dw[out x in] = dy.T[out x n] * x[n x in] and db = the sum of dy's
    rows; no axis may be empty.
    """
    needs = dx is not None, dw is not None, db is not None
    _backward_plan(*x.shape, w.shape[0], x.dtype, needs)(dy, x, w, dx, dw, db)
