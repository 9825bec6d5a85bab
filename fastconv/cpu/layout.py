"""Exchanging two axes of an array: pixels with channels last, and planes of channels, become each other."""

from __future__ import annotations

from functools import lru_cache
from math import prod

import numpy as np

from fastconv.cpu.loop import Program, kernel
from fastconv.cpu.simd import head, lanes, transpose

TASK_ROWS = 256  # of a task: with some hundred columns, a few thousand cache lines


@kernel(x="real", y="real", rows="int", columns="int", parts="int")
def exchange_axes(args, task, slot):
    """Transpose some rows of one matrix."""
    n, rows, columns = lanes(args.x), args.rows, args.columns
    first = task % args.parts * TASK_ROWS
    x, y = args.x + task // args.parts * rows * columns, args.y + task // args.parts * rows * columns
    for j in range(0, columns, n):
        read = head(x, columns - j)
        for i in range(first, min(rows, first + TASK_ROWS), n):
            transpose(
                x + (i * columns + j), columns, rows - i, read, y + (j * rows + i), rows, columns - j, head(y, rows - i)
            )


def channels_first(x: np.ndarray, y: np.ndarray) -> None:
    """Copy x, (n, *size, c), to y, (n, c, *size)."""
    _plan(len(x), prod(x.shape[1:-1]), x.shape[-1], x.dtype)(x, y)


def channels_last(x: np.ndarray, y: np.ndarray) -> None:
    """Copy x, (n, c, *size), to y, (n, *size, c)."""
    _plan(len(x), x.shape[1], prod(x.shape[2:]), x.dtype)(x, y)


@lru_cache(maxsize=256)
def _plan(count: int, rows: int, columns: int, dtype: np.dtype) -> Program:
    """Program of (x, y): `count` matrices of rows x columns are transposed."""
    program = Program(dtype, "x y")
    parts = -(-rows // TASK_ROWS)
    few = count * rows * columns * dtype.itemsize < 1 << 17
    program.add(
        exchange_axes, count * parts, alone=few, x=program.x, y=program.y, rows=rows, columns=columns, parts=parts
    )
    return program
