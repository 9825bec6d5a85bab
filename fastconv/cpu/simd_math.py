"""The functions exp and tanh of each lane, within 2 units in the last place, and sigmoid, within 3; NaN passes through.

The method is that of W. J. Cody and W. Waite, *Software Manual for the Elementary Functions* (1980), chapters 6 and 12,
with fused products: ``x = n ln 2 + r``, where ln 2 is the sum of two numbers so that r is exact enough, and then
``e**x = 2**n e**r``. The polynomials are Chebyshev fits, made with mpmath's `chebyfit`; their errors stay below 0.15
units in the last place.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from llvmlite import ir
from numba.core import types

from fastconv import jit
from fastconv.cpu.primitive import (
    ELEMENTS,
    I32,
    Vector,
    are,
    broadcast,
    integers_beside,
    intrinsic,
    mangled,
    primitive,
)
from fastconv.cpu.simd import fma, select, splat

FARTHEST_INTEGER = 1 << 30

# ---- constants of both precisions ------------------------------------------------------------------------------


def _constant_types(like, single, double):
    fits = are(Vector, like) and are(types.Float, like.element, single, double)
    return (like, like, types.float64, types.float64) if fits else None


def _emit_constant(b, sig, like, single, double):
    element = sig.return_type.element
    value = double if element == types.float64 else b.fptrunc(single, ELEMENTS[element])
    return broadcast(b, value, sig.return_type.lanes)


@primitive(_constant_types, _emit_constant)
def constant(like, single: float, double: float):
    """Return copies of one number for float32, of another for float64."""
    return np.full_like(like, single if like.dtype == np.float32 else double)


def polynomial(single: tuple[float, ...], double: tuple[float, ...]) -> Callable:
    """Decorate the name of a polynomial; coefficients from the constant term on, for float32 and float64."""

    def emit(b, sig, x):
        *rest, p = (
            ir.Constant(x.type, [c] * x.type.count)
            for c in (single if sig.return_type.element == types.float32 else double)
        )
        for c in reversed(rest):
            p = intrinsic(b, f"llvm.fma.{mangled(x.type)}", x.type, p, x, c)
        return p

    def decorate(named: Callable) -> Callable:
        def twin(x):
            *rest, p = (x.dtype.type(c) for c in (single if x.dtype == np.float32 else double))
            for c in reversed(rest):
                p = p * x + c
            return p

        twin.__name__, twin.__module__, twin.__doc__ = named.__name__, named.__module__, named.__doc__
        return primitive(_one_vector, emit)(twin)

    return decorate


# ---- parts of a number -----------------------------------------------------------------------------------------


def _one_vector(x):
    return (x, x) if are(Vector, x) and are(types.Float, x.element) else None


def _two_vectors(x, y):
    return (x, x, x) if x == y and _one_vector(x) else None


def _emit_named(name: str) -> Callable:
    return lambda b, sig, *xs: intrinsic(b, f"llvm.{name}.{mangled(xs[0].type)}", xs[0].type, *xs)


@primitive(_one_vector, _emit_named("rint"))
def nearest(x):
    """Whole number nearest to each lane, the even one of two."""
    return np.rint(x)


@primitive(_one_vector, _emit_named("floor"))
def floor(x):
    """Largest whole number that is not above each lane."""
    return np.floor(x)


@primitive(_one_vector, _emit_named("fabs"))
def magnitude(x):
    """Absolute value."""
    return np.abs(x)


@primitive(_two_vectors, _emit_named("copysign"))
def with_sign(x, y):
    """Lanes of x with the signs of y."""
    return np.copysign(x, y)


def _emit_integers(b, sig, x):
    lanes = sig.return_type.llvm
    name = f"llvm.fptosi.sat.{mangled(lanes)}.{mangled(x.type)}"
    limit = ir.Constant(lanes, [FARTHEST_INTEGER] * lanes.count)
    low = ir.Constant(lanes, [-FARTHEST_INTEGER] * lanes.count)
    n = intrinsic(b, name, lanes, x)
    n = b.select(b.icmp_signed(">", n, limit), limit, n)
    return b.select(b.icmp_signed("<", n, low), low, n)


@primitive(lambda x: (integers_beside(x), x) if _one_vector(x) else None, _emit_integers)
def to_integers(x):
    """Whole numbers as integers; those beyond +-2**30 become that, so that a few can be added, and NaN 0."""
    limited = np.clip(np.nan_to_num(x, nan=0, posinf=FARTHEST_INTEGER), -FARTHEST_INTEGER, FARTHEST_INTEGER)
    return limited.astype(f"i{x.dtype.itemsize}")


def _emit_scale(b, sig, x, n):
    lanes, real = x.type.count, x.type.element
    integers = ir.VectorType(I32, lanes)
    n = b.select(b.fcmp_ordered("==", n, n), n, ir.Constant(x.type, None))  # the conversion of NaN is not defined
    n = b.fptosi(n, integers)
    half = b.ashr(n, ir.Constant(integers, [1] * lanes))
    width, bias, place = (32, 127, 23) if real == ir.FloatType() else (64, 1023, 52)
    bits = ir.VectorType(ir.IntType(width), lanes)
    # In two factors: 2**128 is not a float32, and a subnormal result has to be rounded only once.
    for part in (half, b.sub(n, half)):
        exponent = b.add(part, ir.Constant(integers, [bias] * lanes))
        exponent = exponent if width == 32 else b.sext(exponent, bits)
        x = b.fmul(x, b.bitcast(b.shl(exponent, ir.Constant(bits, [place] * lanes)), x.type))
    return x


@primitive(_two_vectors, _emit_scale)
def scale_by_power(x, n):
    """Return ``x * 2**n`` for whole n, at most twice the largest exponent; NaN counts as n = 0."""
    return np.ldexp(x, np.nan_to_num(n).astype(np.int32))


# ---- functions -------------------------------------------------------------------------------------------------


@polynomial(
    single=(0.5, 0.16666577, 0.0416665547, 0.00836317307, 0.00139261761),
    double=(
        0.5, 0.16666666666666667, 0.041666666666624162, 0.0083333333333300644, 0.0013888888917196719,
        0.00019841269863040545, 2.4801521322368693e-5, 2.7557268480310026e-6, 2.7620075879983367e-7,
        2.5100375832561234e-8,
    ),
)  # fmt: skip
def exp_tail(r):
    """``(e**r - 1 - r) / r**2`` for r from -ln(2) / 2 to ln(2) / 2."""


@jit.inline
def exp(x):
    """e**x: infinite above the largest number, 0 below half the smallest."""
    top, bottom = constant(x, 89.0, 710.0), constant(x, -104.0, -746.0)
    x = select(x > top, top, x)
    x = select(x < bottom, bottom, x)
    n = nearest(x * splat(x, 1.4426950408889634))
    # The number nearest to ln 2, and what is left of ln 2.
    r = fma(n, constant(x, -0.693147182464599609375, -0.6931471805599453), x)
    r = fma(n, constant(x, 1.90465429996e-9, -2.3190468138462996e-17), r)
    one = splat(x, 1.0)
    return scale_by_power(fma(fma(exp_tail(r), r, one), r, one), n)


@jit.inline
def sigmoid(x):
    """1 / (1 + e**-x), from an exponential of a negative number, which cannot overflow."""
    e, one = exp(with_sign(x, splat(x, -1.0))), splat(x, 1.0)
    return select(x < splat(x, 0.0), e, one) / (one + e)


@polynomial(
    single=(-0.333333317, 0.133330738, -0.0539017532, 0.0212633534, -0.00652557217),
    double=(
        -0.33333333333333332, 0.13333333333332391, -0.053968253967059397, 0.021869488476962561, -0.0088632340215295136,
        0.0035921055321327688, -0.0014556239774192678, 0.00058875371118348039, -0.00023410556936672797,
        8.4265222039580661e-5, -2.0026740085317685e-5,
    ),
)  # fmt: skip
def tanh_tail(z):
    """``(tanh(x) - x) / x**3`` for z = x**2 and x from -9/16 to 9/16."""


@jit.inline
def tanh(x):
    """tanh(x): a polynomial near 0, and 1 - 2 / (e**2x + 1) further out, where its rounding no longer matters."""
    a, one = magnitude(x), splat(x, 1.0)
    z = a * a
    near = fma(a * z, tanh_tail(z), a)
    far = one - splat(x, 2.0) / (exp(a + a) + one)
    return with_sign(select(a > splat(x, 0.5625), far, near), x)
