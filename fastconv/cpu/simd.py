"""SIMD vectors as values inside kernels: pointers, vectors of one register, masks, and what one can do with them.

A kernel is written once and compiled for float32 and float64: a `Pointer` knows its element, `load` gives a `Vector`
of as many lanes as a register of the host holds, and ``+ - * /``, comparisons and `select` work on it. LLVM's own
vectoriser lost a factor of four on strided data; here every lane is where it was put.

Kernels import all of it from here. The operations on values are in this file, those on memory in `simd_memory`, those
between lanes in `simd_lanes`; `simd_math` adds the functions of mathematics, and `primitive` says how all are made.
"""

from __future__ import annotations

import operator
from collections.abc import Callable

import numpy as np
from llvmlite import ir
from numba.core import types

from fastconv.cpu.primitive import (
    ELEMENTS,
    I32,
    I64,
    VECTOR_BYTES,
    Mask,
    Pointer,
    Vector,
    address,
    are,
    broadcast,
    counting,
    integers_beside,
    intrinsic,
    lanes_of,
    mangled,
    primitive,
    register,
    vector_of,
)
from fastconv.cpu.simd_lanes import (
    deinterleave,
    interleave,
    largest_lane,
    permute,
    sum_lanes,
    transpose,
    transpose_finished,
)
from fastconv.cpu.simd_memory import (
    address_of,
    lanes,
    load,
    load_beside,
    load_strided,
    prefetch,
    prefetch_to_write,
    store,
    store_strided,
    stream,
)
from fastconv.cpu.twin import TwinPointer
from fastconv.jit import FLOAT_FREEDOMS

__all__ = [
    "ELEMENTS",
    "I64",
    "VECTOR_BYTES",
    "Mask",
    "Pointer",
    "Vector",
    "address",
    "address_of",
    "broadcast",
    "deinterleave",
    "fma",
    "head",
    "interleave",
    "intrinsic",
    "iota",
    "lanes",
    "lanes_of",
    "largest_lane",
    "load",
    "load_beside",
    "load_strided",
    "mangled",
    "permute",
    "prefetch",
    "prefetch_to_write",
    "primitive",
    "select",
    "span",
    "splat",
    "square_root",
    "store",
    "store_strided",
    "stream",
    "sum_lanes",
    "transpose",
    "transpose_finished",
]

# ---- vectors and masks from numbers ----------------------------------------------------------------------------


def _splat_types(like, value):
    if not are(types.Number, value):
        return None
    if are(Pointer, like):
        return vector_of(like), like, like.element
    return (like, like, like.element) if are(Vector, like) else None


@primitive(_splat_types, lambda b, sig, like, value: broadcast(b, value, sig.return_type.lanes))
def splat(like, value):
    """Return copies of a scalar: a vector of the pointer's elements, or one like the vector that is given."""
    return np.full(like.lanes, value, like.dtype) if isinstance(like, TwinPointer) else np.full_like(like, value)


def _iota_types(like, start):
    if not (are(Pointer, like) and are(types.Integer, start)):
        return None
    result = integers_beside(like)
    return result, like, result.element


def _emit_iota(b, sig, like, start):
    vector = sig.return_type.llvm
    return b.add(broadcast(b, start, vector.count), counting(vector.element, vector.count))


@primitive(_iota_types, _emit_iota)
def iota(like: TwinPointer, start: int):
    """Integers start, start+1, ..., one for each lane of the pointer's reals."""
    return np.arange(start, start + like.lanes, dtype=like.integer)


def _mask_types(like, *limits):
    fits = are(Pointer, like) and are(types.Integer, *limits)
    return (Mask(lanes_of(like.element)), like, *[types.int64] * len(limits)) if fits else None


def _below(b, lanes, n):
    """Mask of the first n lanes, for any n."""
    zero, most = ir.Constant(I64, 0), ir.Constant(I64, lanes)
    n = b.select(b.icmp_signed("<", n, zero), zero, n)
    n = b.select(b.icmp_signed(">", n, most), most, n)
    return b.icmp_signed("<", counting(I32, lanes), broadcast(b, b.trunc(n, I32), lanes))


@primitive(
    lambda like, n: _mask_types(like, n),
    lambda b, sig, like, n: _below(b, sig.return_type.lanes, n),
)
def head(like: TwinPointer, n: int):
    """Mask of the first n lanes of a vector of the pointer's elements: none for n <= 0, all for n >= lanes."""
    return np.arange(like.lanes) < n


def _emit_span(b, sig, like, first, last):
    count = sig.return_type.lanes
    return b.and_(_below(b, count, last), b.not_(_below(b, count, first)))


@primitive(lambda like, first, last: _mask_types(like, first, last), _emit_span)
def span(like: TwinPointer, first: int, last: int):
    """Mask of the lanes first <= lane < last."""
    lane = np.arange(like.lanes)
    return (first <= lane) & (lane < last)


# ---- arithmetic ------------------------------------------------------------------------------------------------


def _emit_fma(b, sig, x, y, z):
    return intrinsic(b, f"llvm.fma.{mangled(x.type)}", x.type, x, y, z)


@primitive(lambda x, y, z: (x, x, x, x) if are(Vector, x) and x == y == z else None, _emit_fma)
def fma(x, y, z):
    """Return x * y + z, rounded once."""
    return x * y + z


@primitive(
    lambda m, x, y: (x, m, x, x) if are(Mask, m) and are(Vector, x) and x == y else None,
    lambda b, sig, m, x, y: b.select(m, x, y),
)
def select(m, x, y):
    """X where the mask is 1, else y."""
    return np.where(m, x, y)


def _emit_sqrt(b, sig, x):
    return intrinsic(b, f"llvm.sqrt.{mangled(x.type)}", x.type, x)


@primitive(lambda x: (x, x) if are(Vector, x) else None, _emit_sqrt)
def square_root(x):
    """Square root of each lane."""
    return np.sqrt(x)


def _same(x, y):
    return (x, x, y) if are(Vector, x) and x == y else None


def _compare(x, y):
    return (Mask(x.lanes), x, y) if are(Vector, x) and x == y else None


def _masks(x, y):
    return (x, x, y) if are(Mask, x) and x == y else None


def _arithmetic(on_reals: str, on_integers: str) -> Callable:
    def emit(b, sig, x, y):
        if are(types.Float, sig.args[0].element):
            return getattr(b, on_reals)(x, y, flags=FLOAT_FREEDOMS)
        return getattr(b, on_integers)(x, y)

    return emit


def _comparison(symbol: str) -> Callable:
    def emit(b, sig, x, y):
        if are(types.Integer, sig.args[0].element):
            return b.icmp_signed(symbol, x, y)
        return b.fcmp_unordered(symbol, x, y) if symbol == "!=" else b.fcmp_ordered(symbol, x, y)

    return emit


for _operator, _names in {
    operator.add: ("fadd", "add"),
    operator.sub: ("fsub", "sub"),
    operator.mul: ("fmul", "mul"),
}.items():
    register(_operator, _same, _arithmetic(*_names), Vector, Vector)
register(operator.truediv, _same, lambda b, sig, x, y: b.fdiv(x, y), Vector, Vector)
for _operator, _symbol in {
    operator.lt: "<", operator.le: "<=", operator.gt: ">", operator.ge: ">=", operator.eq: "==", operator.ne: "!=",
}.items():  # fmt: skip
    register(_operator, _compare, _comparison(_symbol), Vector, Vector)
register(operator.and_, _masks, lambda b, sig, x, y: b.and_(x, y), Mask, Mask)
register(operator.or_, _masks, lambda b, sig, x, y: b.or_(x, y), Mask, Mask)
register(operator.invert, lambda x: (x, x) if are(Mask, x) else None, lambda b, sig, x: b.not_(x), Mask)
