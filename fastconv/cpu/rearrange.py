"""Blocks of pixels that become channels, and channels that become blocks of pixels.

A row of pixels holds the elements of as many rows of channels as a block has columns, in turn. `deep` has the channels,
`wide` the pixels.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from fastconv import jit
from fastconv.cpu.loop import Kernel, Program, kernel
from fastconv.cpu.simd import deinterleave, head, interleave, lanes, load, load_strided, store, store_strided

CHUNK = 1 << 14  # elements of a task

# ``channel[(c * block + i) * block + j]`` is where in an image of `deep` the channel of pixel (i, j) of a block starts.
FIELDS = dict.fromkeys(("rows", "columns", "channels", "block", "lines", "all_lines"), "int") | {"channel": "int64"}


@jit.inline
def line_of(args, line):
    """Where a row of pixels starts in `wide`, its first row of channels in `deep`, and its channels in the table."""
    rows, columns, block = args.rows, args.columns, args.block
    i, row, plane = line % block, line // block % rows, line // (block * rows)
    image, c = plane // args.channels, plane % args.channels
    start = image * args.channels * block * block * rows * columns + row * columns
    return line * columns * block, start, (c * block + i) * block


def _to_space(args, task, slot):
    n, block, columns = lanes(args.wide), args.block, args.columns
    for line in range(task * args.lines, min(args.all_lines, (task + 1) * args.lines)):
        wide, deep, first = line_of(args, line)
        for x in range(0, columns, n):
            wanted = head(args.deep, columns - x)
            if block == 2:
                left = load(args.deep, deep + args.channel[first] + x, wanted)
                low, high = interleave(left, load(args.deep, deep + args.channel[first + 1] + x, wanted))
                store(args.wide, wide + 2 * x, low, head(args.wide, 2 * (columns - x)))
                store(args.wide, wide + 2 * x + n, high, head(args.wide, 2 * (columns - x) - n))
                continue
            for j in range(block):
                v = load(args.deep, deep + args.channel[first + j] + x, wanted)
                store_strided(args.wide, wide + x * block + j, block, v, wanted)


def _to_depth(args, task, slot):
    n, block, columns = lanes(args.wide), args.block, args.columns
    for line in range(task * args.lines, min(args.all_lines, (task + 1) * args.lines)):
        wide, deep, first = line_of(args, line)
        for x in range(0, columns, n):
            wanted = head(args.deep, columns - x)
            if block == 2:
                low = load(args.wide, wide + 2 * x, head(args.wide, 2 * (columns - x)))
                high = load(args.wide, wide + 2 * x + n, head(args.wide, 2 * (columns - x) - n))
                left, right = deinterleave(low, high)
                store(args.deep, deep + args.channel[first] + x, left, wanted)
                store(args.deep, deep + args.channel[first + 1] + x, right, wanted)
                continue
            for j in range(block):
                v = load_strided(args.wide, wide + x * block + j, block, wanted)
                store(args.deep, deep + args.channel[first + j] + x, v, wanted)


TO_SPACE = kernel(deep="real", wide="real", **FIELDS)(_to_space)
TO_DEPTH = kernel(deep="real", wide="real", **FIELDS)(_to_depth)

# What varies slowest among the channels comes first: the row and the column in a block, and the channel of pixels.
ORDERS = {"DCR": "ijc", "SPD": "jic", "CRD": "cij"}


def _starts(channels: int, block: int, order: str, size: int) -> list[int]:
    sizes = {"c": channels, "i": block, "j": block}
    slow, middle, fast = ORDERS[order]
    places = ({"c": c, "i": i, "j": j} for c, i, j in product(range(channels), range(block), range(block)))
    return [((p[slow] * sizes[middle] + p[middle]) * sizes[fast] + p[fast]) * size for p in places]


@lru_cache(maxsize=256)
def _plan(step: Kernel, shape: tuple[int, ...], block: int, order: str, dtype: np.dtype) -> Program:
    program, (images, channels, rows, columns) = Program(dtype, "deep wide"), shape
    all_lines, lines = images * channels * rows * block, max(1, CHUNK // (columns * block))
    table = program.table(_starts(channels, block, order, rows * columns), np.int64)
    program.add(
        step, -(-all_lines // lines), deep=program.deep, wide=program.wide, channel=table,
        rows=rows, columns=columns, channels=channels, block=block, lines=lines, all_lines=all_lines,
    )  # fmt: skip
    return program


def _shape(deep: NDArray, block: int) -> tuple[int, ...]:
    n, channels, rows, columns = deep.shape
    return n, channels // block**2, rows, columns


def to_space(deep: NDArray, wide: NDArray, block: int, order: str) -> None:
    """Write the pixels that channels hold."""
    _plan(TO_SPACE, _shape(deep, block), block, order, deep.dtype)(deep, wide)


def to_depth(wide: NDArray, deep: NDArray, block: int, order: str) -> None:
    """Write the channels that pixels become."""
    _plan(TO_DEPTH, _shape(deep, block), block, order, deep.dtype)(deep, wide)
