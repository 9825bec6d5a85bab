"""Dropping the pixels that a stride steps over, and putting zeros back in their places.

A convolution of one tap with a stride reads some pixels only: it is the convolution without a stride of a smaller
image. Its gradient for the input is zero everywhere else, or the bias, where that is a function of its own.
"""

from __future__ import annotations

from math import prod

import numpy as np

from fastconv import jit
from fastconv.cpu.loop import At, Program, kernel
from fastconv.cpu.simd import deinterleave, head, interleave, lanes, load, load_strided, splat, store, store_strided
from fastconv.geometry import ConvGeometry

CHUNK = 1 << 14  # elements of a task


@jit.inline
def load_every(row, first, step, count):
    """Elements first, first + step, ... of a row, `count` of them; 0 in the lanes behind."""
    n = lanes(row)
    if step == 2:
        reach = 2 * count - 1
        low = load(row, 2 * first, head(row, reach))
        return deinterleave(low, load(row, 2 * first + n, head(row, reach - n)))[0]
    return load_strided(row, first * step, step, head(row, count))


@kernel(
    x="real", y="real", places="int64", all_planes="int", planes="int", plane="int", rows="int", columns="int",
    step="int",
)  # fmt: skip
def keep_pixels(args, task, slot):
    """Copy the pixels that a stride meets, of some planes; `places` is where the rows that it meets start."""
    for index in range(task * args.planes, min(args.all_planes, (task + 1) * args.planes)):
        for row in range(args.rows):
            line, target = args.x + (index * args.plane + args.places[row]), (index * args.rows + row) * args.columns
            for j in range(0, args.columns, lanes(args.x)):
                v = load_every(line, j, args.step, args.columns - j)
                store(args.y, target + j, v, head(args.y, args.columns - j))


@kernel(
    y="real", x="real", b="real", sources="int64", all_planes="int", planes="int", rows="int", columns="int",
    in_rows="int", in_columns="int", step="int", channels="int", has_bias="int",
)  # fmt: skip
def spread_pixels(args, task, slot):
    """Write the pixels of some planes to where the stride met them, and zeros, or the bias, elsewhere.

    `sources` has the row that each row of `x` gets, or -1.
    """
    n, size = lanes(args.x), args.in_columns
    for index in range(task * args.planes, min(args.all_planes, (task + 1) * args.planes)):
        rest = splat(args.x, args.b[index % args.channels] if args.has_bias else 0.0)
        for row in range(args.in_rows):
            line, source = args.x + (index * args.in_rows + row) * size, args.sources[row]
            values = args.y + (index * args.rows + source) * args.columns
            if source >= 0 and args.step == 2:
                for j in range(0, size, 2 * n):
                    v = load(values, j // 2, head(values, args.columns - j // 2))
                    low, high = interleave(v, rest)
                    store(line, j, low, head(line, size - j))
                    store(line, j + n, high, head(line, size - j - n))
                continue
            for j in range(0, size, n):
                store(line, j, rest, head(line, size - j))
            if source >= 0:
                for j in range(0, args.columns, n):
                    mask = head(values, args.columns - j)
                    store_strided(line, j * args.step, args.step, load(values, j, mask), mask)


def _rows(geometry: ConvGeometry) -> np.ndarray:
    """Row of the input that each row of the output meets; rows are those of all axes but the last."""
    met = np.zeros(1, np.int64)
    for size, outputs, step in zip(
        geometry.input_size[:-1], geometry.output_size[:-1], geometry.window.stride[:-1], strict=True
    ):
        met = np.add.outer(met * size, np.arange(outputs) * step).ravel()
    return met


def _sizes(planes: int, size: int) -> tuple[int, dict[str, int]]:
    group = max(1, CHUNK // size)
    return -(-planes // group), {"all_planes": planes, "planes": group}


def add_keep(program: Program, geometry: ConvGeometry, planes: int, x: At, y: At) -> None:
    """Append the step that copies, from some planes of x, the pixels that the stride meets."""
    columns, rows = geometry.output_size[-1], _rows(geometry)
    tasks, sizes = _sizes(planes, rows.size * columns)
    program.add(
        keep_pixels, tasks, x=x, y=y, places=program.table(rows * geometry.input_size[-1], np.int64),
        plane=prod(geometry.input_size), rows=rows.size, columns=columns, step=geometry.window.stride[-1], **sizes,
    )  # fmt: skip


def add_spread(program: Program, geometry: ConvGeometry, planes: int, y: At, x: At, bias: bool) -> None:
    """Append the step that writes some planes of x from the pixels that the stride meets, and the bias elsewhere."""
    rows, in_rows = _rows(geometry), prod(geometry.input_size[:-1])
    sources = np.full(in_rows, -1)
    sources[rows] = np.arange(rows.size)
    tasks, sizes = _sizes(planes, prod(geometry.input_size))
    program.add(
        spread_pixels, tasks, y=y, x=x, b=program.b, channels=geometry.in_channels, has_bias=int(bias),
        sources=program.table(sources, np.int64), rows=rows.size,
        columns=geometry.output_size[-1], in_rows=in_rows, in_columns=geometry.input_size[-1],
        step=geometry.window.stride[-1], **sizes,
    )  # fmt: skip
