"""Functions of each lane. NaN passes through.

Errors are within 2 units in the last place for exp, expm1 and log, 3 for tanh, sigmoid and log1p_exp, 7 for normal_cdf.

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
    VECTOR_BYTES,
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


def _avx512(vector: ir.VectorType) -> bool:
    """Whether the vector fills a register of AVX-512, which has instructions for what follows."""
    return VECTOR_BYTES == 64 and vector.count * (4 if vector.element == ir.FloatType() else 8) == 64


def _emit_avx512(b, name: str, x, *values):
    """Emit one of its instructions in all lanes, rounded as usual."""
    suffix, bits = ("ps", ir.IntType(16)) if x.type.element == ir.FloatType() else ("pd", ir.IntType(8))
    every, usual = ir.Constant(bits, -1), ([] if name == "rcp14" else [ir.Constant(I32, 4)])
    full = f"llvm.x86.avx512.{name}.{suffix}.512"
    return intrinsic(b, full, x.type, x, *values, ir.Constant(x.type, None), every, *usual)


def _emit_scale(b, sig, x, n):
    if _avx512(x.type):
        return _emit_avx512(b, "mask.scalef", x, n)
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
    """Return ``x * 2**n`` for whole n, at most twice the largest exponent; n may be NaN where x is."""
    return np.ldexp(x, np.nan_to_num(n).astype(np.int32))


def _emit_reciprocal(b, sig, x):
    one = ir.Constant(x.type, [1.0] * x.type.count)
    if not _avx512(x.type):
        return b.fdiv(one, x)
    y = _emit_avx512(b, "rcp14", x)
    for _ in range(1 if x.type.element == ir.FloatType() else 2):  # 14 digits, then twice as many each time
        rest = intrinsic(b, f"llvm.fma.{mangled(x.type)}", x.type, b.fneg(x), y, one)
        y = intrinsic(b, f"llvm.fma.{mangled(x.type)}", x.type, y, rest, y)
    return y


@primitive(_one_vector, _emit_reciprocal)
def reciprocal(x):
    """1 / x for finite x that are not subnormal, within 1 unit in the last place: a third of a division's time."""
    return 1 / x


def _emit_split(b, sig, x):
    width, place, root_half = (32, 23, 0x3F3504F3) if x.type.element == ir.FloatType() else (64, 52, 0x3FE6A09E667F3BCD)
    lanes = ir.VectorType(ir.IntType(width), x.type.count)
    bits, shift = b.bitcast(x, lanes), ir.Constant(lanes, [place] * x.type.count)
    n = b.ashr(b.sub(bits, ir.Constant(lanes, [root_half] * x.type.count)), shift)
    pair = ir.Constant(ir.ArrayType(x.type, 2), ir.Undefined)
    pair = b.insert_value(pair, b.bitcast(b.sub(bits, b.shl(n, shift)), x.type), 0)
    return b.insert_value(pair, b.sitofp(n, x.type), 1)


@primitive(lambda x: (types.UniTuple(x, 2), x) if _one_vector(x) else None, _emit_split)
def split_power(x):
    """Return m from sqrt(1/2) to sqrt(2), and n, with ``x = m * 2**n``; for positive x that are not subnormal."""
    m, n = np.frexp(x)
    low = m < np.sqrt(x.dtype.type(0.5))
    return np.where(low, m + m, m), (n - low).astype(x.dtype)


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
def reduced(x):
    """Return r from -ln(2) / 2 to ln(2) / 2 and whole n, with x = n ln(2) + r."""
    n = nearest(x * splat(x, 1.4426950408889634))
    # The number nearest to ln 2, and what is left of ln 2.
    r = fma(n, constant(x, -0.693147182464599609375, -0.6931471805599453), x)
    return fma(n, constant(x, 1.90465429996e-9, -2.3190468138462996e-17), r), n


@jit.inline
def exp_within(x):
    """e**x, where that is neither infinite nor far below the smallest number."""
    r, n = reduced(x)
    one = splat(x, 1.0)
    return scale_by_power(fma(fma(exp_tail(r), r, one), r, one), n)


@jit.inline
def expm1_within(x):
    """e**x - 1, to all digits also near 0; where e**x is neither infinite nor far below the smallest number."""
    r, n = reduced(x)
    one = splat(x, 1.0)
    power_of_two = scale_by_power(one, n)
    return fma(fma(exp_tail(r) * r, r, r), power_of_two, power_of_two - one)


@jit.inline
def below_top(x, top):
    """X, but not above a limit; NaN stays NaN."""
    return select(x > top, top, x)


@jit.inline
def exp_below_one(x):
    """e**x for x <= 0."""
    bottom = constant(x, -104.0, -746.0)
    return exp_within(select(x < bottom, bottom, x))


@jit.inline
def exp(x):
    """e**x: infinite above the largest number, 0 below half the smallest."""
    return exp_below_one(below_top(x, constant(x, 89.0, 710.0)))


@jit.inline
def expm1(x):
    """e**x - 1 for x up to 88, or 709 in float64; -1 far below 0."""
    bottom = constant(x, -104.0, -746.0)
    return expm1_within(select(x < bottom, bottom, x))


@jit.inline
def sigmoid(x):
    """1 / (1 + e**-x), from an exponential of a negative number, which cannot overflow."""
    zero, one = splat(x, 0.0), splat(x, 1.0)
    e = exp_below_one(zero - magnitude(x))
    return select(x < zero, e, one) * reciprocal(one + e)


@jit.inline
def tanh(x):
    """tanh(x) = m / (m + 2) with m = e**2x - 1, for positive numbers; beyond the limit it is 1."""
    a = below_top(magnitude(x), constant(x, 9.5, 19.5))
    m = expm1_within(a + a)
    return with_sign(m * reciprocal(m + splat(x, 2.0)), x)


@polynomial(
    single=(0.66666666554497, 0.40000121839806, 0.28550820815961, 0.23330467216304),
    double=(
        0.66666666666666696862, 0.3999999999989950449, 0.28571428625975484921, 0.22222211134795079855,
        0.1818288912526172208, 0.15331721600556041269, 0.1461644968504340586,
    ),
)  # fmt: skip
def log_tail(z):
    """``(log((1 + s) / (1 - s)) - 2 s) / s**3`` for z = s**2 and s of log(1 + f) below."""


@jit.inline
def log_near(f, n):
    """log(1 + f) + n log 2 for 1 + f from sqrt(1/2) to sqrt(2), by s = f / (2 + f): 1 + f = (1 + s) / (1 - s)."""
    s, half = f * reciprocal(f + splat(f, 2.0)), f * f * splat(f, 0.5)
    z = s * s
    # A power of two times the first part of ln 2 is exact: the part has 15 bits, or 32 in float64.
    small = fma(n, constant(f, 9.05800061e-6, 1.90821492927058770002e-10), s * fma(z, log_tail(z), half))
    return fma(n, constant(f, 0.693138123, 6.93147180369123816490e-1), f - (half - small))


@jit.inline
def log(x):
    """Natural logarithm; of 0 minus infinity, of negative numbers NaN. Subnormal numbers are not for it."""
    one, zero = splat(x, 1.0), splat(x, 0.0)
    m, n = split_power(x)
    y = log_near(m - one, n)
    y = select(x > zero, y, select(x == zero, splat(x, -np.inf), splat(x, np.nan)))
    return select(x == splat(x, np.inf), x, y)


@jit.inline
def log1p_exp(x):
    """log(1 + e**x), which is max(x, 0) and a rest that lies between 0 and log 2."""
    zero, one, half = splat(x, 0.0), splat(x, 1.0), splat(x, 0.5)
    e = exp_below_one(zero - magnitude(x))
    large = e > splat(x, 0.41)
    rest = log_near(select(large, (e - one) * half, e), select(large, one, zero))
    return select(x > zero, x, select(x == x, zero, x)) + rest


@jit.inline
def power(x, y):
    """x**y for positive x; the error grows with abs(y * log(x))."""
    return exp(y * log(x))


@polynomial(
    single=(
        0.7552851385, -0.6078966061, 0.3871366798, -0.1865230059, 0.06040646975, -0.007527212912, -0.003523574056,
        0.001569313645, 0.0001948018511, -0.000122983157,
    ),
    double=(
        0.75528513041575147989, -0.60789664197189175887, 0.3871374007422188786, -0.18652185795969416326,
        0.060396574890699464128, -0.0075401889655930590206, -0.0034796923622425333441, 0.0016308184418903595964,
        0.00013334425401904911618, -0.00023109481831937621135, -1.9078665316613574344e-6, 0.00003514418115776097273,
        7.1500559592160986612e-7, -5.9188927317632364472e-6, -6.2513210404786801933e-7, 1.0198048518135172659e-6,
        2.6368248576407625062e-7, -1.5426320536771073947e-7, -7.6380820534904503495e-8, 1.4578593347036459717e-8,
        1.3924023993501710103e-8, 7.2695454790266894559e-11, -9.6534254202285046694e-10,
    ),
)  # fmt: skip
def bell_tail(v):
    """``(s + 4) e**(s**2 / 2) cdf(-s)`` for v = (s - 4) / (s + 4) and all s >= 0.

    With the variable of M. M. Shepherd and J. G. Laframboise, *Chebyshev approximation of (1 + 2x) exp(x**2) erfc x in
    0 <= x < inf* (1981), Mathematics of Computation 36, pages 249-253.
    """


@jit.inline
def bell(x):
    """Return e**(-x**2 / 2), and the normal distribution's cdf at x: ``(1 + erf(x / sqrt(2))) / 2``."""
    zero, one, half, four = splat(x, 0.0), splat(x, 1.0), splat(x, 0.5), splat(x, 4.0)
    s = below_top(magnitude(x), constant(x, 15.0, 39.0))  # where e**(-s**2 / 2) is 0
    square = s * s
    rounded_off = fma(s, s, zero - square)  # of a large square it matters, since e to its power is taken
    density = exp_within(zero - square * half) * (one - rounded_off * half)
    share = reciprocal(s + four)
    tail = density * (bell_tail(fma(share, splat(x, -8.0), one)) * share)
    return density, select(x > zero, one - tail, tail)


@jit.inline
def normal_cdf(x):
    """Share of the normal distribution that lies below x."""
    return bell(x)[1]
