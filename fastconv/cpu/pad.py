"""Padding that repeats the input: reflected, replicated or circular; and the gradient, which adds it up again.

Each axis has a table: which element of the input stands at each place of the padded axis. A row is a run of neighbours
in the middle, and a few single elements at both ends. The gradient walks through the same rows in the same order and
adds, so that the sums of an element always have the same order.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod

import numpy as np

from fastconv import jit
from fastconv.arguments import Ints, Pairs
from fastconv.cpu.epilogue import no_ending
from fastconv.cpu.loop import Program, kernel
from fastconv.cpu.panels import clear, write_line
from fastconv.cpu.simd import head, lanes, load, store

TASK_BYTES = 64 << 10  # of padded planes, below which a task has several
FEW_BYTES = 128 << 10  # that one thread copies alone

FIELDS = {
    "x": "real", "y": "real", "all_planes": "int", "planes": "int", "rows": "int64", "columns": "int64",
    "row_count": "int", "column_count": "int", "before": "int", "x_rows": "int", "x_columns": "int",
}  # fmt: skip


@kernel(**FIELDS)
def pad_planes(args, task, slot):
    """Fill the padded rows of some planes."""
    for plane in range(task * args.planes, min(args.all_planes, (task + 1) * args.planes)):
        x = args.x + plane * args.x_rows * args.x_columns
        for r in range(args.row_count):
            line = x + args.rows[r] * args.x_columns
            target = args.y + (plane * args.row_count + r) * args.column_count
            write_line(line, args.x_columns, target + args.before, no_ending(target))
            for j in range(args.before):
                target[j] = line[args.columns[j]]
            for j in range(args.before + args.x_columns, args.column_count):
                target[j] = line[args.columns[j]]


@kernel(**FIELDS)
def add_planes(args, task, slot):
    """Add the padded rows y of some planes to the rows of x that they were copied from."""
    for plane in range(task * args.planes, min(args.all_planes, (task + 1) * args.planes)):
        x = args.x + plane * args.x_rows * args.x_columns
        clear_line(x, args.x_rows * args.x_columns)
        for r in range(args.row_count):
            line = x + args.rows[r] * args.x_columns
            source = args.y + (plane * args.row_count + r) * args.column_count
            add_line(source + args.before, args.x_columns, line)
            for j in range(args.before):
                line[args.columns[j]] += source[j]
            for j in range(args.before + args.x_columns, args.column_count):
                line[args.columns[j]] += source[j]


@jit.inline
def clear_line(target, count):
    """Write zeros, and nothing behind them."""
    whole = count // lanes(target) * lanes(target)
    clear(target, whole)
    for i in range(whole, count):
        target[i] = 0


@jit.inline
def add_line(source, count, target):
    """``target[k] += source[k]`` for k < count."""
    n = lanes(source)
    for k in range(0, count, n):
        mask = head(source, count - k)
        store(target, k, load(target, k, mask) + load(source, k, mask), mask)


def places(size: int, before: int, after: int, mode: str) -> np.ndarray:
    """Return which of `size` elements stands at each place of the padded axis."""
    place = np.arange(-before, size + after)
    if mode == "circular":
        return place % size
    if mode == "replicate":
        return place.clip(0, size - 1)
    return np.abs((place + size - 1) % max(1, 2 * size - 2) - (size - 1))


def pad(x: np.ndarray, y: np.ndarray, pairs: Pairs, mode: str) -> None:
    """Pad the spatial axes of x, (n, c, *size), to y; `mode` is 'reflect', 'replicate' or 'circular'."""
    _plan("pad", prod(x.shape[:2]), x.shape[2:], pairs, mode, x.dtype)(x, y)


def pad_backward(dy: np.ndarray, dx: np.ndarray, pairs: Pairs, mode: str) -> None:
    """Gradient of `pad`: dx, (n, c, *size), from dy."""
    _plan("add", prod(dx.shape[:2]), dx.shape[2:], pairs, mode, dx.dtype)(dx, dy)


@lru_cache(maxsize=256)
def _plan(kind: str, count: int, size: Ints, pairs: Pairs, mode: str, dtype: np.dtype) -> Program:
    """Program of (x, y), the array without padding and the one with it."""
    tables = [places(n, *pair, mode) for n, pair in zip(size, pairs, strict=True)]
    rows = np.zeros(1, np.int64)
    for n, table in zip(size[:-1], tables[:-1], strict=True):
        rows = np.add.outer(rows * n, table).ravel()
    plane_bytes = len(rows) * len(tables[-1]) * dtype.itemsize
    planes = max(1, TASK_BYTES // plane_bytes)
    program = Program(dtype, "x y")
    program.add(
        pad_planes if kind == "pad" else add_planes, -(-count // planes), alone=count * plane_bytes < FEW_BYTES,
        x=program.x, y=program.y, all_planes=count, planes=planes, rows=program.table(rows, np.int64),
        columns=program.table(tables[-1], np.int64), row_count=len(rows), column_count=len(tables[-1]),
        before=pairs[-1][0], x_rows=prod(size[:-1]), x_columns=size[-1],
    )  # fmt: skip
    return program
