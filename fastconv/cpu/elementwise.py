"""Functions of one element at a time, and their gradients. Memory is what most of them wait for.

A function is two lines of arithmetic on a vector: its value, and its gradient, which follows from x or, where that is
simpler, from y. `FUNCTIONS` is the table of them all; kernels are made from its entries.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import pi, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastconv import jit
from fastconv.cpu import simd_math
from fastconv.cpu.loop import At, Kernel, Program, kernel
from fastconv.cpu.simd import fma, head, lanes, load, select, splat, store, stream

CHUNK = 1 << 15  # elements of a task: long enough to be worth another thread, short enough to stay in the cache
ALONE = 1 << 14  # elements that one thread passes over sooner than two meet
PAST_CACHES = 16 << 20  # bytes of a result from which it is stored past the caches

# ---- kernels ---------------------------------------------------------------------------------------------------


def each_vector(name: str, value: Callable, **fields: str) -> Kernel:
    """Make a kernel of a function ``(args, i, mask)`` that gives one vector of the result, from element i on."""
    value = jit.inline(value)

    def run(args, task, slot):
        out = args.out
        n = lanes(out)
        first = task * args.chunk
        last = min(args.size, first + args.chunk)
        whole = last - (last - first) % n
        full = head(out, n)
        if args.past:
            for i in range(first, whole, n):
                stream(out, i, value(args, i, full))
        else:
            for i in range(first, whole, n):
                store(out, i, value(args, i, full))
        if whole < last:
            rest = head(out, last - whole)
            store(out, whole, value(args, whole, rest), rest)

    run.__name__ = run.__qualname__ = name
    return kernel(**fields, out="real", option="scalar", size="int", chunk="int", past="int")(run)


def add(program: Program, step: Kernel, size: int, option: float = 0.0, *, past: bool = False, **arrays: At) -> None:
    """Append a step to a program: one of the kernels here on `size` elements."""
    tasks, alone = -(-size // CHUNK), size <= ALONE
    program.add(step, tasks, alone=alone, option=option, size=size, chunk=CHUNK, past=int(past), **arrays)


@lru_cache(maxsize=256)
def _plan(step: Kernel, size: int, dtype: np.dtype, option: float) -> Program:
    arrays = [name for name, kind in step.fields if kind == "real"]
    program = Program(dtype, " ".join(arrays))
    places = {name: getattr(program, name) for name in arrays}
    add(program, step, size, option, past=size * dtype.itemsize >= PAST_CACHES, **places)
    return program


def run(step: Kernel, *arrays: NDArray, option: float = 0.0) -> None:
    """Run one of the kernels here on arrays of one size; the last one is written, and starts at a whole register."""
    _plan(step, arrays[0].size, arrays[0].dtype, option)(*arrays)


class Pointwise(NamedTuple):
    """The kernels of a function of one element.

    Attributes
    ----------
    forward : Kernel
        Of x and the result.
    backward : Kernel
        Of dy, the array that `by` says, and the result.
    by : {'x', 'y'}
        Which of the two the gradient follows from.
    """

    forward: Kernel
    backward: Kernel
    by: str


def pointwise(by: str, value: Callable, gradient: Callable, *, option: bool = False) -> Pointwise:
    """Make the kernels of ``value(x)`` and ``gradient(dy, x or y)``; with `option` both take one more vector."""
    value, gradient = jit.inline(value), jit.inline(gradient)
    if option:

        def forward(args, i, mask):
            return value(load(args.x, i, mask), splat(args.x, args.option))

        def backward(args, i, mask):
            return gradient(load(args.dy, i, mask), load(args.given, i, mask), splat(args.dy, args.option))

    else:

        def forward(args, i, mask):
            return value(load(args.x, i, mask))

        def backward(args, i, mask):
            return gradient(load(args.dy, i, mask), load(args.given, i, mask))

    return Pointwise(
        each_vector(value.__name__, forward, x="real"),
        each_vector(gradient.__name__, backward, dy="real", given="real"),
        by,
    )


# ---- functions with kinks --------------------------------------------------------------------------------------
# At a kink the slope is that of PyTorch. Where a comparison is with NaN, NaN has to come out: so it is written.


@jit.inline
def rectify(x):
    """max(x, 0); NaN stays NaN."""
    zero = splat(x, 0.0)
    return select(x <= zero, zero, x)


@jit.inline
def rectify_gradient(dy, y):
    """Return dy where y > 0 or NaN, else 0."""
    zero = splat(y, 0.0)
    return select(y <= zero, zero, dy)


@jit.inline
def rectify6(x):
    """min(max(x, 0), 6); NaN stays NaN."""
    six = splat(x, 6.0)
    return select(x >= six, six, rectify(x))


@jit.inline
def rectify6_gradient(dy, y):
    """Return dy where 0 < y < 6 or y is NaN, else 0."""
    return select(y >= splat(y, 6.0), splat(y, 0.0), rectify_gradient(dy, y))


@jit.inline
def leak(x, slope):
    """X where it is positive, else x * slope."""
    return select(x > splat(x, 0.0), x, x * slope)


@jit.inline
def leak_gradient(dy, x, slope):
    """Return dy where x is positive, else dy * slope."""
    return select(x > splat(x, 0.0), dy, dy * slope)


@jit.inline
def hard_sigmoid(x):
    """min(max(x + 3, 0), 6) / 6."""
    return rectify6(x + splat(x, 3.0)) * splat(x, 1 / 6)


@jit.inline
def hard_sigmoid_gradient(dy, x):
    """dy / 6 where -3 < x < 3 or x is NaN, else 0."""
    flat = (x <= splat(x, -3.0)) | (x >= splat(x, 3.0))
    return select(flat, splat(x, 0.0), dy * splat(x, 1 / 6))


@jit.inline
def hard_swish(x):
    """X * hard_sigmoid(x)."""
    return x * hard_sigmoid(x)


@jit.inline
def hard_swish_gradient(dy, x):
    """Return dy * (x / 3 + 1/2) between -3 and 3, 0 below and dy above."""
    three = splat(x, 3.0)
    y = select(x >= three, dy, dy * fma(x, splat(x, 1 / 3), splat(x, 0.5)))
    return select(x <= splat(x, -3.0), splat(x, 0.0), y)


# ---- functions with exponentials -------------------------------------------------------------------------------


@jit.inline
def sigmoid_gradient(dy, y):
    """Return dy * y * (1 - y)."""
    return dy * (y * (splat(y, 1.0) - y))


@jit.inline
def tanh_gradient(dy, y):
    """Return dy * (1 - y) * (1 + y)."""
    one = splat(y, 1.0)
    return dy * ((one - y) * (one + y))


@jit.inline
def exponential_unit(x, alpha):
    """X where it is positive, else alpha * (e**x - 1)."""
    return select(x > splat(x, 0.0), x, alpha * simd_math.expm1(x))


@jit.inline
def exponential_unit_gradient(dy, x, alpha):
    """Return dy where x is positive, else dy * alpha * e**x."""
    return select(x > splat(x, 0.0), dy, dy * (alpha * simd_math.exp(x)))


@jit.inline
def swish(x):
    """X * sigmoid(x)."""
    return x * simd_math.sigmoid(x)


@jit.inline
def swish_gradient(dy, x):
    """Return dy * s * (1 + x * (1 - s)) with s = sigmoid(x)."""
    s, one = simd_math.sigmoid(x), splat(x, 1.0)
    return dy * (s * fma(x, one - s, one))


@jit.inline
def gauss_unit(x):
    """X * cdf(x), with the cdf of the normal distribution."""
    return x * simd_math.normal_cdf(x)


@jit.inline
def gauss_unit_gradient(dy, x):
    """Return dy * (cdf(x) + x * density(x))."""
    bell, cdf = simd_math.bell(x)
    return dy * fma(x, bell * splat(x, 1 / sqrt(2 * pi)), cdf)


@jit.inline
def gauss_argument(x):
    """Twice sqrt(2 / pi) * (x + 0.044715 x**3), whose sigmoid is close to the normal distribution's cdf."""
    return x * fma(x * x, splat(x, 2 * sqrt(2 / pi) * 0.044715), splat(x, 2 * sqrt(2 / pi)))


@jit.inline
def gauss_unit_by_tanh(x):
    """X * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x**3))) / 2."""
    return x * simd_math.sigmoid(gauss_argument(x))


@jit.inline
def gauss_unit_by_tanh_gradient(dy, x):
    """Return dy * (s + x * s * (1 - s) * slope), where s is the sigmoid and slope that of its argument."""
    s = simd_math.sigmoid(gauss_argument(x))
    slope = fma(x * x, splat(x, 6 * sqrt(2 / pi) * 0.044715), splat(x, 2 * sqrt(2 / pi)))
    return dy * fma(x * slope, s * (splat(x, 1.0) - s), s)


FUNCTIONS = {
    "relu": pointwise("y", rectify, rectify_gradient),
    "relu6": pointwise("y", rectify6, rectify6_gradient),
    "leaky_relu": pointwise("x", leak, leak_gradient, option=True),
    "elu": pointwise("x", exponential_unit, exponential_unit_gradient, option=True),
    "sigmoid": pointwise("y", simd_math.sigmoid, sigmoid_gradient),
    "tanh": pointwise("y", simd_math.tanh, tanh_gradient),
    "silu": pointwise("x", swish, swish_gradient),
    "hardsigmoid": pointwise("x", hard_sigmoid, hard_sigmoid_gradient),
    "hardswish": pointwise("x", hard_swish, hard_swish_gradient),
    "gelu": pointwise("x", gauss_unit, gauss_unit_gradient),
    "gelu_tanh": pointwise("x", gauss_unit_by_tanh, gauss_unit_by_tanh_gradient),
}
"""The function of each name, as the ops know it; ``option`` is their `negative_slope` or `alpha`."""
