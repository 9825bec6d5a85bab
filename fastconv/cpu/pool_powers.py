"""LP pooling: the root of a mean of powers, as the kernels of average pooling between two passes over elements.

The mean times the size of a window is the sum of its powers, p-th ones; the gradient is ``dy (x / y) ** (p - 1)``.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod

import numpy as np
from numpy.typing import NDArray

from fastconv import jit
from fastconv.cpu.elementwise import CHUNK
from fastconv.cpu.loop import Kernel, Program, kernel
from fastconv.cpu.pool import add_means
from fastconv.cpu.simd import head, lanes, load, select, splat, square_root, store
from fastconv.geometry import PoolGeometry

WHOLE = 64  # exponents that are whole numbers and no larger are products


@jit.inline
def power(v, n):
    """v**n for n >= 0, by squaring."""
    result = splat(v, 1.0)
    while n > 0:
        if n % 2 == 1:
            result = result * v
        v = v * v
        n = n // 2
    return result


def _powers(args, task, slot):
    n, last = lanes(args.y), min(args.size, (task + 1) * args.chunk)
    for i in range(task * args.chunk, last, n):
        if args.whole >= 0:
            store(args.y, i, power(load(args.x, i, head(args.x, last - i)), args.whole), head(args.y, last - i))
        else:
            for k in range(i, min(i + n, last)):
                args.y[k] = args.x[k] ** args.exponent


def _roots(args, task, slot):
    n, last = lanes(args.y), min(args.size, (task + 1) * args.chunk)
    for i in range(task * args.chunk, last, n):
        if args.whole == 2:
            store(args.y, i, square_root(load(args.y, i, head(args.y, last - i))), head(args.y, last - i))
        elif args.whole != 1:
            for k in range(i, min(i + n, last)):
                args.y[k] = args.y[k] ** args.exponent


def _slopes(args, task, slot):
    n, last = lanes(args.y), min(args.size, (task + 1) * args.chunk)
    for i in range(task * args.chunk, last, n):
        wanted = head(args.y, last - i)
        if args.whole < 0:
            for k in range(i, min(i + n, last)):
                args.slope[k] = args.y[k] ** args.exponent
            y = load(args.slope, i, wanted)
        else:
            y = power(load(args.y, i, wanted), args.whole)
        zero = splat(y, 0.0)
        store(args.slope, i, select(load(args.y, i, wanted) == zero, zero, load(args.dy, i, wanted) / y), wanted)


def _products(args, task, slot):
    n, last = lanes(args.x), min(args.size, (task + 1) * args.chunk)
    for i in range(task * args.chunk, last, n):
        wanted = head(args.x, last - i)
        if args.whole >= 0:
            v = power(load(args.x, i, wanted), args.whole)
            store(args.dx, i, load(args.dx, i, wanted) * v, wanted)
        else:
            for k in range(i, min(i + n, last)):
                args.dx[k] = args.dx[k] * args.x[k] ** args.exponent


_SIZES = {"size": "int", "chunk": "int", "whole": "int", "exponent": "scalar"}

POWERS = kernel(x="real", y="real", **_SIZES)(_powers)  # y = x ** p
ROOTS = kernel(y="real", **_SIZES)(_roots)  # y = y ** (1 / p)
SLOPES = kernel(dy="real", y="real", slope="real", **_SIZES)(_slopes)  # slope = dy / y ** (p - 1), 0 where y is 0
PRODUCTS = kernel(x="real", dx="real", **_SIZES)(_products)  # dx = dx * x ** (p - 1)


def _add(program: Program, step: Kernel, size: int, exponent: float, whole: float, **arrays: object) -> None:
    """Append a pass over `size` elements; `whole` is what counts as the exponent if it is a whole number."""
    number = int(whole) if whole == int(whole) and 0 <= whole <= WHOLE else -1
    program.add(step, -(-size // CHUNK), size=size, chunk=CHUNK, whole=number, exponent=float(exponent), **arrays)


@lru_cache(maxsize=256)
def _plan(geometry: PoolGeometry, norm_type: float, dtype: np.dtype) -> Program:
    program = Program(dtype, "x y")
    size = prod(geometry.x_shape)
    powers = program.workspace(size)
    _add(program, POWERS, size, norm_type, norm_type, x=program.x, y=powers)
    _add_sums(program, geometry, False, x=powers, y=program.y)
    _add(program, ROOTS, prod(geometry.y_shape), 1 / norm_type, norm_type, y=program.y)
    return program


def _add_sums(program: Program, geometry: PoolGeometry, backward: bool, **ends: object) -> None:
    """Append sums over windows; those of a window that hangs over the end are scaled to a whole window."""
    add_means(program, geometry, backward, True, None, scale=prod(geometry.window.kernel), **ends)


def lp_pool(x: NDArray, y: NDArray, geometry: PoolGeometry, norm_type: float) -> None:
    """Write the root of the sum of the powers in each window."""
    _plan(geometry, norm_type, x.dtype)(x, y)


@lru_cache(maxsize=256)
def _backward_plan(geometry: PoolGeometry, norm_type: float, dtype: np.dtype) -> Program:
    program, size = Program(dtype, "dy x y dx"), prod(geometry.y_shape)
    slope = program.workspace(size)
    _add(program, SLOPES, size, norm_type - 1, norm_type - 1, dy=program.dy, y=program.y, slope=slope)
    _add_sums(program, geometry, True, dy=slope, dx=program.dx)
    _add(program, PRODUCTS, prod(geometry.x_shape), norm_type - 1, norm_type - 1, x=program.x, dx=program.dx)
    return program


def lp_pool_backward(dy: NDArray, x: NDArray, y: NDArray, dx: NDArray, geometry: PoolGeometry, p: float) -> None:
    """Write the gradient; y is the result."""
    _backward_plan(geometry, p, dy.dtype)(dy, x, y, dx)
