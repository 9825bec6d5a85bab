"""Local response normalisation: each element is divided by a power of the squares around it, across channels.

A task takes a block of neighbouring places of one sample with all its channels, which stays in the cache: a square is
read once for each channel that it counts for.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from fastconv import jit
from fastconv.cpu.loop import Program, kernel
from fastconv.cpu.simd import VECTOR_BYTES, fma, head, lanes, load, splat, store
from fastconv.cpu.simd_math import power

BLOCK = 1 << 15  # elements of a block
ALONE = 1 << 13  # elements that one thread passes over sooner than two meet

SIZES = {
    "channels": "int", "places": "int", "blocks": "int", "width": "int", "before": "int", "after": "int",
    "slope": "scalar", "beta": "scalar",
}  # fmt: skip


@jit.inline
def block(args, task):
    """Return where a task's block starts, and how many places it has."""
    sample, number = task // args.blocks, task % args.blocks
    place = number * args.width
    return sample * args.channels * args.places + place, min(args.width, args.places - place)


@kernel(x="real", y="real", base="real", k="scalar", **SIZES)
def forward(args, task, slot):
    """Write base = k + slope * sum(x**2), over the channels from `before` ahead to `after` behind, and y."""
    start, count = block(args, task)
    x, step = args.x + start, args.places
    slope, exponent = splat(x, args.slope), splat(x, -args.beta)
    for c in range(args.channels):
        first, last = max(0, c - args.before), min(args.channels, c + args.after + 1)
        at = c * step
        for i in range(0, count, lanes(x)):
            mask = head(x, count - i)
            total = splat(x, 0.0)
            for j in range(first, last):
                v = load(x + j * step, i, mask)
                total = fma(v, v, total)
            base = fma(slope, total, splat(x, args.k))
            store(args.base + (start + at), i, base, mask)
            store(args.y + (start + at), i, load(x + at, i, mask) * power(base, exponent), mask)


@kernel(dy="real", x="real", base="real", dx="real", terms="real", terms_step="int", **SIZES)
def backward(args, task, slot):
    """Write dx = dy * base**-beta - 2 * beta * slope * x * sum(dy * x * base**(-beta - 1))."""
    start, count = block(args, task)
    x, dx, terms, step = args.x + start, args.dx + start, args.terms + slot * args.terms_step, args.places
    exponent, factor = splat(x, -args.beta), splat(x, -2.0 * args.beta * args.slope)
    for c in range(args.channels):
        at = c * step
        for i in range(0, count, lanes(x)):
            mask = head(x, count - i)
            base = load(args.base + (start + at), i, mask, 1.0)
            direct = load(args.dy + (start + at), i, mask) * power(base, exponent)
            store(dx + at, i, direct, mask)
            store(terms + c * args.width, i, direct * load(x + at, i, mask) / base, mask)
    for c in range(args.channels):
        first, last = max(0, c - args.after), min(args.channels, c + args.before + 1)
        for i in range(0, count, lanes(x)):
            mask = head(x, count - i)
            total = splat(x, 0.0)
            for j in range(first, last):
                total = total + load(terms + j * args.width, i, mask)
            v = fma(factor * load(x + c * step, i, mask), total, load(dx + c * step, i, mask))
            store(dx + c * step, i, v, mask)


Shape = tuple[int, int, int]
"""Samples, channels, and elements of a channel in a sample."""


def _sizes(shape: Shape, dtype: np.dtype, size: int, alpha: float, beta: float) -> tuple[int, dict]:
    samples, channels, places = shape
    n = VECTOR_BYTES // dtype.itemsize
    width = max(n, min(BLOCK // channels // n * n, -(-places // n) * n))
    blocks = -(-places // width)
    return samples * blocks, {
        "channels": channels, "places": places, "blocks": blocks, "width": width, "before": size // 2,
        "after": (size - 1) // 2, "slope": alpha / size, "beta": beta,
    }  # fmt: skip


@lru_cache(maxsize=256)
def forward_plan(shape: Shape, dtype: np.dtype, size: int, alpha: float, beta: float, k: float) -> Program:
    """Plan of arrays (x, y, base)."""
    program = Program(dtype, "x y base")
    tasks, sizes = _sizes(shape, dtype, size, alpha, beta)
    alone = shape[0] * shape[1] * shape[2] <= ALONE
    program.add(forward, tasks, alone=alone, x=program.x, y=program.y, base=program.base, k=k, **sizes)
    return program


@lru_cache(maxsize=256)
def backward_plan(shape: Shape, dtype: np.dtype, size: int, alpha: float, beta: float) -> Program:
    """Plan of arrays (dy, x, base, dx)."""
    program = Program(dtype, "dy x base dx")
    tasks, sizes = _sizes(shape, dtype, size, alpha, beta)
    terms, terms_step = program.worker_workspace(sizes["channels"] * sizes["width"])
    alone = shape[0] * shape[1] * shape[2] <= ALONE
    places = {name: getattr(program, name) for name in program.names}
    program.add(backward, tasks, alone=alone, terms=terms, terms_step=terms_step, **places, **sizes)
    return program
