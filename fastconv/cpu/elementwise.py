"""Functions of one element at a time, and their gradients. Memory is what they wait for."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fastconv import jit
from fastconv.cpu import simd_math
from fastconv.cpu.loop import Kernel, Program, kernel
from fastconv.cpu.simd import head, lanes, load, select, splat, store

CHUNK = 1 << 15  # elements of a task: long enough to be worth another thread, short enough to stay in the cache


def each_vector(*arrays: str) -> Callable[[Callable], Kernel]:
    """Make a kernel of a function ``(args, i, mask)`` that treats one vector, of the lanes in the mask, from i on."""

    def decorate(function: Callable) -> Kernel:
        treat = jit.inline(function)

        def run(args, task, slot):
            n = lanes(args.y)
            first = task * args.chunk
            last = min(args.size, first + args.chunk)
            whole = last - (last - first) % n
            for i in range(first, whole, n):
                treat(args, i, head(args.y, n))
            if whole < last:
                treat(args, whole, head(args.y, last - whole))

        run.__name__ = run.__qualname__ = function.__name__
        run.__doc__ = function.__doc__
        return kernel(**dict.fromkeys(arrays, "real"), size="int", chunk="int")(run)

    return decorate


@jit.inline
def rectify(v):
    """max(v, 0); NaN stays NaN."""
    zero = splat(v, 0.0)
    return select(v <= zero, zero, v)


@each_vector("x", "y")
def relu(args, i, mask):
    """Write y = max(x, 0)."""
    store(args.y, i, rectify(load(args.x, i, mask)), mask)


@each_vector("dy", "y", "dx")
def relu_backward(args, i, mask):
    """Write dx = dy where y > 0 or NaN, else 0."""
    zero = splat(args.dx, 0.0)
    store(args.dx, i, select(load(args.y, i, mask) <= zero, zero, load(args.dy, i, mask)), mask)


@each_vector("x", "y")
def relu6(args, i, mask):
    """Write y = min(max(x, 0), 6)."""
    y, six = rectify(load(args.x, i, mask)), splat(args.y, 6.0)
    store(args.y, i, select(y >= six, six, y), mask)


@each_vector("dy", "y", "dx")
def relu6_backward(args, i, mask):
    """Write dx = dy where 0 < y < 6 or y is NaN, else 0."""
    y, zero = load(args.y, i, mask), splat(args.dx, 0.0)
    dx = select(y <= zero, zero, load(args.dy, i, mask))
    store(args.dx, i, select(y >= splat(args.dx, 6.0), zero, dx), mask)


@each_vector("x", "y")
def sigmoid(args, i, mask):
    """Write y = 1 / (1 + exp(-x))."""
    store(args.y, i, simd_math.sigmoid(load(args.x, i, mask)), mask)


@each_vector("dy", "y", "dx")
def sigmoid_backward(args, i, mask):
    """Write dx = dy * y * (1 - y)."""
    y = load(args.y, i, mask)
    store(args.dx, i, load(args.dy, i, mask) * (y * (splat(args.dx, 1.0) - y)), mask)


@each_vector("x", "y")
def tanh(args, i, mask):
    """Write y = tanh(x)."""
    store(args.y, i, simd_math.tanh(load(args.x, i, mask)), mask)


@each_vector("dy", "y", "dx")
def tanh_backward(args, i, mask):
    """Write dx = dy * (1 - y) * (1 + y)."""
    y, one = load(args.y, i, mask), splat(args.dx, 1.0)
    store(args.dx, i, load(args.dy, i, mask) * ((one - y) * (one + y)), mask)


@lru_cache(maxsize=256)
def _plan(step: Kernel, size: int, dtype: np.dtype) -> Program:
    arrays = [name for name, kind in step.fields if kind == "real"]
    program = Program(dtype, " ".join(arrays))
    program.add(step, -(-size // CHUNK), size=size, chunk=CHUNK, **{name: getattr(program, name) for name in arrays})
    return program


def run(step: Kernel, *arrays: NDArray) -> None:
    """Run one of the kernels above on arrays of one size; the last one is written."""
    _plan(step, arrays[0].size, arrays[0].dtype)(*arrays)
