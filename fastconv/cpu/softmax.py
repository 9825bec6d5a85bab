"""Softmax and its logarithm with their gradients, along rows: the elements of a sum lie side by side.

The largest element of a row is subtracted first: no exponential overflows, and one of them is 1. `softmax_planes` has
the same along any other axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fastconv import jit
from fastconv.cpu import softmax_planes
from fastconv.cpu.loop import Kernel, Program, kernel
from fastconv.cpu.simd import head, lanes, largest_lane, load, select, splat, store, sum_lanes
from fastconv.cpu.simd_math import exp_below_one

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
        total = total + exp_below_one(load(x, i, head(x, columns - i), -math.inf) - shift)
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
    shift, total = splat(x, row_largest(x, columns)), splat(x, 0.0)
    for i in range(0, columns, lanes(x)):
        e = exp_below_one(load(x, i, head(x, columns - i), -math.inf) - shift)
        total = total + e
        store(y, i, e, head(x, columns - i))
    share = splat(x, 1.0) / splat(x, sum_lanes(total))
    for i in range(0, columns, lanes(x)):
        mask = head(x, columns - i)
        store(y, i, load(y, i, mask) * share, mask)


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
        store(dx, i, load(dy, i, mask) - exp_below_one(load(y, i, mask)) * total, mask)


KERNELS = {
    "softmax": (softmax, softmax_planes.softmax),
    "softmax_backward": (softmax_backward, softmax_planes.softmax_backward),
    "log_softmax": (log_softmax, softmax_planes.log_softmax),
    "log_softmax_backward": (log_softmax_backward, softmax_planes.log_softmax_backward),
}
"""For each op its kernel along rows and the one along any other axis."""


@lru_cache(maxsize=256)
def row_plan(step: Kernel, rows: int, columns: int, dtype: np.dtype, **options: float) -> Program:
    """Plan of the arrays of a kernel on rows, in its order."""
    arrays = [name for name, kind in step.fields if kind not in ("int", "scalar")]
    program = Program(dtype, " ".join(arrays))
    chunk = max(1, CHUNK // max(1, columns))
    tasks = -(-rows // chunk) if columns else 0
    sizes = {"rows": rows, "columns": columns, "chunk": chunk}
    places = {name: getattr(program, name) for name in arrays}
    program.add(step, tasks, alone=rows * columns <= CHUNK, **sizes, **places, **options)
    return program


def run(name: str, axis: int, *arrays: NDArray) -> None:
    """Run an op along an axis of its arrays, which have one shape; the last one is written."""
    shape, dtype = arrays[0].shape, arrays[0].dtype
    rows, places = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    along_rows, along_planes = KERNELS[name]
    if places == 1:
        row_plan(along_rows, rows, shape[axis], dtype)(*arrays)
    else:
        softmax_planes.plane_plan(along_planes, rows, shape[axis], places, dtype)(*arrays)
