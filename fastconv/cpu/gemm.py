"""Matrix products on the register tile, for the fully connected layer: C = A B + bias, A or B given transposed.

    c[rows x columns] = a[rows x depth] * b[depth x columns] + bias[columns]

Both factors are packed into panels of a tile's height or width, ``[depth][height]`` and ``[depth][width]``, padded with
zeros: the tile reads them from front to back, and one shape of it serves all layouts. B is packed once for all; each
task packs its rows of A for itself, so that they need not come from another core's cache. At the edges of C, sums stand
in scratch memory first, and leave it through masks.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fastconv import jit
from fastconv.cpu import elementwise
from fastconv.cpu.elementwise import rectify
from fastconv.cpu.loop import At, Program, kernel
from fastconv.cpu.microkernel import call_tile, most_rows, tile
from fastconv.cpu.primitive import VECTOR_BYTES
from fastconv.cpu.simd import head, lanes, load, splat, store, transpose

PART = 256  # products of a panel of B that a task packs
DEPTH = 1 << 11  # products that a tile sums at a time: its part of B's panel, 256 KB, stays in L2
TASK = 1 << 20  # products of a task
FEW_ELEMENTS, FEW_PRODUCTS = 1 << 16, 1 << 21  # to pack, or to multiply: about 30 us
MOST_TILES = 8  # tiles of a task, one below the other
ENOUGH_TASKS = 8

# ---- kernels ---------------------------------------------------------------------------------------------------


@jit.inline
def pack_panel(x, along, depth, lines, line, width, first, last, panel):
    """Pack `width` of the lines of a matrix, from `line` on: element k of the j-th goes to ``panel[k][j]``.

    Lines lie one after the other where `along` is 1, and side by side where it is 0; their elements from `first` to
    `last` are packed.
    """
    n = lanes(x)
    for j in range(0, width, n):
        target, write = panel + j, head(x, width - j)
        if along:
            for k in range(first, last, n):
                source, read = x + ((line + j) * depth + k), head(x, last - k)
                transpose(source, depth, lines - line - j, read, target + k * width, width, last - k, write)
        else:
            read = head(x, lines - line - j)
            for k in range(first, last):
                store(target, k * width, load(x, k * lines + (line + j), read), write)


@kernel(b="real", panels="real", along="int", depth="int", columns="int", width="int", parts="int")
def pack(args, task, slot):
    """Pack part of a panel of B."""
    left, first = task // args.parts * args.width, task % args.parts * PART
    panel = args.panels + left * args.depth
    last = min(args.depth, first + PART)
    pack_panel(args.b, args.along, args.depth, args.columns, left, args.width, first, last, panel)


@kernel(
    tile="int", height="int", vectors="int", a="real", along="int", a_steps="int32", b="real", b_steps="int32",
    no_offset="int32", scratch="real", sums_rows="int32", worker_step="int", bias="real", has_bias="int", c="real",
    c_rows="int32", rows="int", depth="int", columns="int", panels="int", part="int", parts="int", group="int",
    relu="int",
)  # fmt: skip
def multiply(args, task, slot):
    """Pack a group of rows of A, and compute them in the columns of some panels of B."""
    packed = args.scratch + slot * args.worker_step
    first = task // args.parts * args.group
    last = min(args.rows, first + args.group)
    for row in range(first, last, args.height):
        panel = packed + (row - first) * args.depth
        pack_panel(args.a, args.along, args.depth, args.rows, row, args.height, 0, args.depth, panel)
    left = task % args.parts * args.part
    for panel in range(left, min(args.panels, left + args.part)):
        multiply_panel(args, packed, first, last, panel)


@jit.inline
def multiply_panel(args, packed, first, last, panel):
    """Compute a group of rows of C in the columns of a panel of B."""
    n = lanes(args.a)
    width = args.vectors * n
    left = panel * width
    sums = packed + args.group * args.depth
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
                args.tile, min(DEPTH, args.depth - k), packed + ((row - first) * args.depth + k * args.height),
                args.no_offset, args.a_steps, b, args.b_steps, target, target_rows, start, start_rows,
            )  # fmt: skip
    for j in range(0, min(width, args.columns - left), n):
        wanted = head(args.c, args.columns - left - j)
        for row in range(first + whole, last):
            store(args.c, row * args.columns + left + j, load(sums, (row - first) * width + j), wanted)
        if args.relu:  # the block is still in the L1 cache
            for row in range(first, last):
                place = row * args.columns + left + j
                store(args.c, place, rectify(load(args.c, place, wanted)), wanted)


@kernel(x="real", sums="real", rows="int", columns="int")
def sum_columns(args, task, slot):
    """Sum of the rows of x, for the columns of one vector."""
    j = task * lanes(args.x)
    present, total = head(args.x, args.columns - j), splat(args.x, 0.0)
    for row in range(args.rows):
        total = total + load(args.x, row * args.columns + j, present)
    store(args.sums, j, total, present)


# ---- plans -----------------------------------------------------------------------------------------------------


def _add_pack(program: Program, b: At, along: bool, depth: int, columns: int, width: int, weights: bool) -> At:
    """Append the packing of B, which may be `weights` that are packed for many calls; return where it will be."""
    count, parts = -(-columns // width), -(-depth // PART)
    panels = (program.packed if weights else program.workspace)(count * width * depth)
    program.add(
        pack, count * parts, packs=weights, alone=columns * depth < FEW_ELEMENTS,
        b=b, panels=panels, along=int(along), depth=depth, columns=columns, width=width, parts=parts,
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
    weights: bool = False,
    relu: bool = False,
) -> None:
    """Append the steps of a product; `sizes` are rows, depth and columns, none of them 0.

    `weights` says whether B is what `Program.pack` packs.
    """
    (rows, depth, columns), dtype = sizes, program.dtype
    n = VECTOR_BYTES // dtype.itemsize
    vectors = min(2, -(-columns // n))
    width, panels = vectors * n, -(-columns // (vectors * n))
    height = -(-rows // -(-rows // most_rows(vectors)))  # tiles of equal heights
    count = -(-rows // height)
    tiles = max(1, min(MOST_TILES, TASK // (height * width * depth), count // ENOUGH_TASKS))
    group = -(-count // -(-count // tiles)) * height  # rows of a task: as many in each
    groups = -(-rows // group)
    part = -(-panels // min(panels, max(1, ENOUGH_TASKS // groups)))
    parts = -(-panels // part)
    steps, heights = np.arange(min(DEPTH, depth)), np.arange(height)
    scratch, worker_step = program.worker_workspace(group * (depth + width) + width)
    packed_b = _add_pack(program, b, b_transposed, depth, columns, width, weights)
    program.add(
        multiply, parts * groups, alone=rows * depth * columns < FEW_PRODUCTS,
        tile=tile(dtype, height, vectors, run=height), height=height, vectors=vectors,
        a=a, along=int(not a_transposed), a_steps=program.table(steps * height),
        b=packed_b, b_steps=program.table(steps * width), no_offset=program.table(0 * heights),
        scratch=scratch, sums_rows=program.table(heights * width), worker_step=worker_step,
        bias=bias or 0, has_bias=int(bias is not None), c=c, c_rows=program.table(heights * columns),
        rows=rows, depth=depth, columns=columns, panels=panels, part=part, parts=parts, group=group,
        relu=int(relu),
    )  # fmt: skip


@lru_cache(maxsize=256)
def forward_plan(n: int, inputs: int, outputs: int, dtype: np.dtype, has_bias: bool, relu: bool) -> Program:
    """Program of (x, w, b, y), where x has `n` rows; no axis may be empty."""
    program = Program(dtype, "x w b y")
    bias, sizes = program.b if has_bias else None, (n, inputs, outputs)
    _add_product(program, program.x, program.w, bias, program.y, sizes, b_transposed=True, weights=True, relu=relu)
    return program


def linear(x: NDArray, w: NDArray, b: NDArray | None, y: NDArray, relu: bool = False) -> None:
    """Write y[n x out] = x[n x in] * w.T[in x out] + b, or ReLU of that; no axis may be empty."""
    forward_plan(*x.shape, w.shape[0], x.dtype, b is not None, relu)(x, w, b, y)


@lru_cache(maxsize=256)
def _backward_plan(
    n: int, inputs: int, outputs: int, dtype: np.dtype, needs: tuple[bool, bool, bool], relu: bool
) -> Program:
    program = Program(dtype, "dy x w y dx dw db")
    dy, few = program.dy, n * outputs < FEW_ELEMENTS
    if relu:
        dy, step = program.workspace(n * outputs), elementwise.FUNCTIONS["relu"].backward
        elementwise.add(program, step, n * outputs, dy=program.dy, given=program.y, out=dy)
    if needs[0]:
        _add_product(program, dy, program.w, None, program.dx, (n, outputs, inputs))
    if needs[1]:
        _add_product(program, dy, program.x, None, program.dw, (outputs, n, inputs), a_transposed=True)
    if needs[2]:
        tasks = -(-outputs * dtype.itemsize // VECTOR_BYTES)
        program.add(sum_columns, tasks, alone=few, x=dy, sums=program.db, rows=n, columns=outputs)
    return program


def linear_backward(
    dy: NDArray,
    x: NDArray,
    w: NDArray,
    y: NDArray | None,
    dx: NDArray | None,
    dw: NDArray | None,
    db: NDArray | None,
) -> None:
    """Write those gradients that are not None.

    They are dx[n x in] = dy[n x out] * w[out x in], dw[out x in] = dy.T[out x n] * x[n x in] and db = the sum of dy's
    rows; no axis may be empty. Where `y` is given, it was ReLU's: dy counts where y > 0.
    """
    needs = dx is not None, dw is not None, db is not None
    _backward_plan(*x.shape, w.shape[0], x.dtype, needs, y is not None)(dy, x, w, y, dx, dw, db)
