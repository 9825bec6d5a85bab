"""Softmax and its logarithm along rows, with their gradients, and the gradient of cross entropy.

The largest element of a row is subtracted first: no exponential overflows, and one of them is 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fastconv import jit
from fastconv.cpu.loop import Kernel, Program, kernel
from fastconv.cpu.simd import head, iota, lanes, largest_lane, load, select, splat, store, sum_lanes
from fastconv.cpu.simd_math import exp

CHUNK = 1 << 13  # elements of a task

# ---- one row ---------------------------------------------------------------------------------------------------


@jit.inline
def row_largest(x, columns):
    """Largest element; NaN is passed over, since the sum of exponentials becomes NaN anyway."""
    best = splat(x, -math.inf)
    for i in range(0, columns, lanes(x)):
        v = load(x, i, head(x, columns - i), -math.inf)
        best = select(v > best, v, best)
    return largest_lane(best)


@jit.inline
def row_exponentials(x, columns, shift):
    """Sum of exp(x - shift)."""
    total = splat(x, 0.0)
    for i in range(0, columns, lanes(x)):
        total = total + exp(load(x, i, head(x, columns - i), -math.inf) - shift)
    return sum_lanes(total)


@jit.inline
def row_product(x, y, columns):
    """Sum of x * y."""
    total = splat(x, 0.0)
    for i in range(0, columns, lanes(x)):
        mask = head(x, columns - i)
        total = total + load(x, i, mask) * load(y, i, mask)
    return sum_lanes(total)


@jit.inline
def row_sum(x, columns):
    """Sum of x."""
    total = splat(x, 0.0)
    for i in range(0, columns, lanes(x)):
        total = total + load(x, i, head(x, columns - i))
    return sum_lanes(total)


# ---- kernels ---------------------------------------------------------------------------------------------------


def each_row(**arrays: str) -> Callable[[Callable], Kernel]:
    """Make a kernel of a function ``(args, row, start)`` that treats one row, whose first element is `start`."""

    def decorate(function: Callable) -> Kernel:
        treat = jit.inline(function)

        def run(args, task, slot):
            for row in range(task * args.chunk, min(args.rows, (task + 1) * args.chunk)):
                treat(args, row, row * args.columns)

        run.__name__ = run.__qualname__ = function.__name__
        run.__doc__ = function.__doc__
        return kernel(**arrays, rows="int", columns="int", chunk="int")(run)

    return decorate


@each_row(x="real", y="real")
def softmax(args, row, start):
    """Write y = exp(x) / sum(exp(x))."""
    x, y, columns = args.x + start, args.y + start, args.columns
    shift = splat(x, row_largest(x, columns))
    share = splat(x, 1.0) / splat(x, row_exponentials(x, columns, shift))
    for i in range(0, columns, lanes(x)):
        mask = head(x, columns - i)
        store(y, i, exp(load(x, i, mask) - shift) * share, mask)


@each_row(x="real", y="real")
def log_softmax(args, row, start):
    """Write y = x - log(sum(exp(x)))."""
    x, y, columns = args.x + start, args.y + start, args.columns
    shift = splat(x, row_largest(x, columns))
    logarithm = splat(x, math.log(row_exponentials(x, columns, shift)))
    for i in range(0, columns, lanes(x)):
        mask = head(x, columns - i)
        store(y, i, load(x, i, mask) - shift - logarithm, mask)


@each_row(dy="real", y="real", dx="real")
def softmax_backward(args, row, start):
    """Write dx = y * (dy - sum(dy * y))."""
    dy, y, dx, columns = args.dy + start, args.y + start, args.dx + start, args.columns
    mean = splat(y, row_product(dy, y, columns))
    for i in range(0, columns, lanes(y)):
        mask = head(y, columns - i)
        store(dx, i, load(y, i, mask) * (load(dy, i, mask) - mean), mask)


@each_row(dy="real", y="real", dx="real")
def log_softmax_backward(args, row, start):
    """Write dx = dy - exp(y) * sum(dy)."""
    dy, y, dx, columns = args.dy + start, args.y + start, args.dx + start, args.columns
    total = splat(y, row_sum(dy, columns))
    for i in range(0, columns, lanes(y)):
        mask = head(y, columns - i)
        store(dx, i, load(dy, i, mask) - exp(load(y, i, mask)) * total, mask)


@each_row(y="real", target="int64", weight="real", dx="real")
def cross_entropy_backward(args, row, start):
    """Write dx = (exp(y) - 1 at the target) * the row's weight, where y is the logarithm of the softmax."""
    y, dx, columns = args.y + start, args.dx + start, args.columns
    weight, one = splat(y, args.weight[row]), splat(y, 1.0)
    target = splat(iota(y, 0), args.target[row])
    for i in range(0, columns, lanes(y)):
        mask = head(y, columns - i)
        p = exp(load(y, i, mask))
        store(dx, i, select(iota(y, i) == target, p - one, p) * weight, mask)


@lru_cache(maxsize=256)
def _plan(step: Kernel, rows: int, columns: int, dtype: np.dtype) -> Program:
    arrays = [name for name, kind in step.fields if kind != "int"]
    program = Program(dtype, " ".join(arrays))
    chunk = max(1, CHUNK // max(1, columns))
    tasks = -(-rows // chunk) if columns else 0
    sizes = {"rows": rows, "columns": columns, "chunk": chunk}
    program.add(step, tasks, **sizes, **{name: getattr(program, name) for name in arrays})
    return program


def run(step: Kernel, *arrays: NDArray) -> None:
    """Run one of the kernels above along the last axis of the arrays; the last one is written."""
    *rest, columns = arrays[0].shape
    _plan(step, math.prod(rest), columns, arrays[0].dtype)(*arrays)
