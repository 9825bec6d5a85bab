"""Losses that compare elements: their sums over a fixed cut of the arrays, and their gradients.

A task adds up one chunk in four registers, and the sums of the chunks are added in order: rounding stays small, and
threads do not show.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fastconv import jit
from fastconv.cpu.elementwise import each_vector
from fastconv.cpu.elementwise import run as run_each
from fastconv.cpu.loop import Kernel, Program, kernel
from fastconv.cpu.simd import address_of, fma, head, lanes, load, select, splat, store, sum_lanes
from fastconv.cpu.simd_math import log1p_exp, sigmoid
from fastconv.cpu.softmax import each_row

CHUNK = 1 << 13  # elements of a sum


def each_chunk(name: str, value: Callable, **fields: str) -> Kernel:
    """Make a kernel of a function ``(args, i, mask)`` that gives one vector of losses; their sums are written."""
    value = jit.inline(value)

    def run(args, task, slot):
        like = args.x
        n, first = lanes(like), task * args.chunk
        last = min(args.size, first + args.chunk)
        a = b = c = d = splat(like, 0.0)
        full, whole = head(like, n), last - (last - first) % (4 * n)
        for i in range(first, whole, 4 * n):
            a, b = a + value(args, i, full), b + value(args, i + n, full)
            c, d = c + value(args, i + 2 * n, full), d + value(args, i + 3 * n, full)
        for i in range(whole, last, n):
            mask = head(like, last - i)
            a = a + select(mask, value(args, i, mask), splat(like, 0.0))
        args.sums[task] = sum_lanes((a + b) + (c + d))

    run.__name__ = run.__qualname__ = f"{name}_sums"
    return kernel(**fields, sums="real", size="int", chunk="int")(run)


@lru_cache(maxsize=256)
def _sum_plan(step: Kernel, size: int, dtype: np.dtype) -> Program:
    arrays = [name for name, kind in step.fields if kind == "real"]
    program = Program(dtype, " ".join(arrays))
    places = {name: getattr(program, name) for name in arrays}
    program.add(step, -(-size // CHUNK), alone=size <= 2 * CHUNK, size=size, chunk=CHUNK, **places)
    return program


class Loss:
    """The kernels of a loss: of each element, of their sum, and of the gradient."""

    def __init__(self, name: str, value: Callable, gradient: Callable, **fields: str):
        """Take ``value(args, i, mask)``, and ``gradient(args, i, mask)``, to be multiplied by an element's share."""
        slope = jit.inline(gradient)

        def shared(args, i, mask):
            share = load(args.share, i, mask) if args.option else splat(args.x, args.share[0])
            return slope(args, i, mask) * share

        self.each = each_vector(f"{name}_each", value, **fields)
        self.sums = each_chunk(name, value, **fields)
        self.gradient = each_vector(f"{name}_gradient", shared, **fields, share="real")

    def total(self, *arrays: NDArray | None) -> np.floating:
        """Sum of the losses of all elements."""
        size, dtype = arrays[0].size, arrays[0].dtype
        sums = np.zeros(-(-size // CHUNK), dtype)
        _sum_plan(self.sums, size, dtype)(*arrays, sums)
        with np.errstate(all="ignore"):
            return sums.sum(dtype=dtype)

    def write(self, *arrays: NDArray | None) -> None:
        """Write the loss of each element into the last array."""
        run_each(self.each, *arrays)

    def write_gradient(self, *arrays: NDArray | None) -> None:
        """Write the gradients into the last array; the one before has the share of each element, or one for all."""
        run_each(self.gradient, *arrays, option=float(arrays[-2].size == arrays[0].size))


def squared_error(args, i, mask):
    """(x - target)**2."""
    d = load(args.x, i, mask) - load(args.target, i, mask)
    return d * d


def squared_error_gradient(args, i, mask):
    """2 * (x - target)."""
    d = load(args.x, i, mask) - load(args.target, i, mask)
    return d + d


@jit.inline
def factor(p, i, mask):
    """Weights of elements, 1 where there are none."""
    return load(p, i, mask) if address_of(p) else splat(p, 1.0)


@jit.inline
def positive_share(args, t, i, mask):
    """Weight of log(sigmoid(x)): 1 + (pos_weight - 1) * target, less 1 - target."""
    one = splat(args.x, 1.0)
    return fma(factor(args.pos_weight, i, mask) - one, t, one)


def logistic_error(args, i, mask):
    """Weight * ((1 - target) * x + share * log(1 + e**-x))."""
    x, t = load(args.x, i, mask), load(args.target, i, mask)
    loss = fma(splat(x, 1.0) - t, x, positive_share(args, t, i, mask) * log1p_exp(splat(x, 0.0) - x))
    return loss * factor(args.weight, i, mask)


def logistic_error_gradient(args, i, mask):
    """Weight * (1 - target - share * sigmoid(-x))."""
    x, t = load(args.x, i, mask), load(args.target, i, mask)
    slope = splat(x, 1.0) - t - positive_share(args, t, i, mask) * sigmoid(splat(x, 0.0) - x)
    return slope * factor(args.weight, i, mask)


SQUARED = Loss("squared", squared_error, squared_error_gradient, x="real", target="real")
LOGISTIC = Loss(
    "logistic", logistic_error, logistic_error_gradient, x="real", target="real", weight="real", pos_weight="real"
)

# ---- overlap ---------------------------------------------------------------------------------------------------


@each_row(x="real", target="real", squared="int", both="real", sizes="real")
def overlaps(args, row, start):
    """Write the sum of x * target, and that of x + target or of their squares."""
    x, target, columns = args.x + start, args.target + start, args.columns
    both = size = size_of_target = splat(x, 0.0)
    for i in range(0, columns, lanes(x)):
        mask = head(x, columns - i)
        p, t = load(x, i, mask), load(target, i, mask)
        both = fma(p, t, both)
        if args.squared:
            size, size_of_target = fma(p, p, size), fma(t, t, size_of_target)
        else:
            size, size_of_target = size + p, size_of_target + t
    args.both[row], args.sizes[row] = sum_lanes(both), sum_lanes(size + size_of_target)


@each_row(x="real", target="real", squared="int", of_target="real", of_size="real", dx="real")
def overlap_gradients(args, row, start):
    """Write dx = of_target * target + of_size * (1 or 2 * x)."""
    x, target, dx, columns = args.x + start, args.target + start, args.dx + start, args.columns
    of_target, of_size = splat(x, args.of_target[row]), splat(x, args.of_size[row])
    for i in range(0, columns, lanes(x)):
        mask = head(x, columns - i)
        p = load(x, i, mask)
        slope = p + p if args.squared else splat(x, 1.0)
        store(dx, i, fma(of_target, load(target, i, mask), of_size * slope), mask)
