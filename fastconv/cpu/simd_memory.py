"""Pointers, and how vectors come from memory and go there.

Lanes whose mask is 0 are not touched: a kernel reads and writes up to the very end of an array.
"""

from __future__ import annotations

import operator
from collections.abc import Callable

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
from fastconv.cpu.twin import TwinPointer

# ---- pointers --------------------------------------------------------------------------------------------------


def _pointer_shift(p, n):
    return (p, p, types.int64) if are(Pointer, p) and are(types.Integer, n) else None


def _pointer_get(p, n):
    return (p.element, p, types.int64) if are(Pointer, p) and are(types.Integer, n) else None


def _pointer_set(p, n, value):
    fits = are(Pointer, p) and are(types.Integer, n) and are(types.Number, value)
    return (types.void, p, types.int64, p.element) if fits else None


def _integer_from_pointer(p):
    return (types.int64, p) if are(Pointer, p) else None


def _emit_set(b, sig, p, n, value):
    b.store(value, address(b, p, n))


register(operator.add, _pointer_shift, lambda b, sig, p, n: address(b, p, n), Pointer, types.Integer)
register(operator.getitem, _pointer_get, lambda b, sig, p, n: b.load(address(b, p, n)), Pointer, types.Integer)
register(operator.setitem, _pointer_set, _emit_set, Pointer, types.Integer, types.Number)


@primitive(_integer_from_pointer, lambda b, sig, p: b.ptrtoint(p, I64))
def address_of(p: TwinPointer) -> int:
    """Address as an integer."""
    return p.address


@primitive(_integer_from_pointer, lambda b, sig, p: ir.Constant(I64, lanes_of(sig.args[0].element)))
def lanes(p: TwinPointer) -> int:
    """Lanes of a vector of the pointer's elements: a constant in compiled code."""
    return p.lanes


# ---- one vector after another ----------------------------------------------------------------------------------


def _load_types(p, i, mask=None, fill=None):
    if not (are(Pointer, p) and are(types.Integer, i)):
        return None
    optional = ([] if mask is None else [mask]) + ([] if fill is None else [p.element])
    return (vector_of(p), p, types.int64, *optional)


def _alignment(p: Pointer) -> int:
    return p.element.bitwidth // 8


def emit_load(b, sig, p, i, mask=None, fill=None):
    """Emit `load`."""
    vector, align = sig.return_type.llvm, _alignment(sig.args[0])
    place = address(b, p, i, vector)
    if mask is None:
        value = b.load(place)
        value.align = align
        return value
    other = ir.Constant(vector, None) if fill is None else broadcast(b, fill, vector.count)
    name = f"llvm.masked.load.{mangled(vector)}.p0"
    return intrinsic(b, name, vector, place, ir.Constant(I32, align), mask, other)


@primitive(_load_types, emit_load)
def load(p: TwinPointer, i: int, mask=None, fill=0):
    """Lanes i, i+1, ... Where the mask is 0 nothing is read and the lane is `fill`."""
    return p.read(i, mask, fill)


def _store_types(p, i, v, mask=None):
    if not (are(Pointer, p) and are(types.Integer, i) and are(Vector, v)):
        return None
    return (types.void, p, types.int64, v, *([] if mask is None else [mask]))


def emit_store(b, sig, p, i, v, mask=None):
    """Emit `store`."""
    element, align = ELEMENTS[sig.args[0].element], _alignment(sig.args[0])
    target = ir.VectorType(element, v.type.count)
    if v.type != target:  # integers beside reals are as wide as the reals; memory may hold narrower ones
        narrower = element.width < v.type.element.width
        v = b.trunc(v, target) if narrower else b.sext(v, target)
    place = address(b, p, i, target)
    if mask is None:
        b.store(v, place).align = align
    else:
        name = f"llvm.masked.store.{mangled(target)}.p0"
        intrinsic(b, name, ir.VoidType(), v, place, ir.Constant(I32, align), mask)


@primitive(_store_types, emit_store)
def store(p: TwinPointer, i: int, v, mask=None) -> None:
    """Write the lanes of `v` to i, i+1, ..., those where the mask is 1; integers become the pointer's width."""
    p.write(i, v, mask)


def _load_beside_types(p, i, like, mask):
    fits = are(Pointer, p, like) and are(types.Integer, i) and are(Mask, mask)
    return (integers_beside(like), p, types.int64, like, mask) if fits else None


def _emit_load_beside(b, sig, p, i, like, mask):
    result, element = sig.return_type.llvm, sig.args[0].element
    memory = ir.VectorType(ELEMENTS[element], result.count)
    align = ir.Constant(I32, _alignment(sig.args[0]))
    name = f"llvm.masked.load.{mangled(memory)}.p0"
    v = intrinsic(b, name, memory, address(b, p, i, memory), align, mask, ir.Constant(memory, None))
    if memory == result:
        return v
    if memory.element.width > result.element.width:
        return b.trunc(v, result)
    return b.zext(v, result) if not element.signed else b.sext(v, result)


@primitive(_load_beside_types, _emit_load_beside)
def load_beside(p: TwinPointer, i: int, like: TwinPointer, mask):
    """Load integers, one for each lane of `like`'s reals, widened to their width; 0 where the mask is 0."""
    return p.read(i, mask, 0, lanes=like.lanes).astype(like.integer)


# ---- elements that lie apart -----------------------------------------------------------------------------------


def _strided_places(b, p, i, step, lanes):
    """Addresses of elements i, i + step, ..."""
    first = b.ptrtoint(address(b, p, i), I64)
    size = b.ptrtoint(address(b, ir.Constant(p.type, None), 1), I64)
    places = b.add(broadcast(b, first, lanes), b.mul(counting(I64, lanes), broadcast(b, b.mul(step, size), lanes)))
    return b.inttoptr(places, ir.VectorType(p.type, lanes))


def _load_strided_types(p, i, step, mask):
    fits = are(Pointer, p) and are(types.Integer, i, step) and are(Mask, mask)
    return (vector_of(p), p, types.int64, types.int64, mask) if fits else None


def _emit_load_strided(b, sig, p, i, step, mask):
    vector = sig.return_type.llvm
    places = _strided_places(b, p, i, step, vector.count)
    name = f"llvm.masked.gather.{mangled(vector)}.v{vector.count}p0"
    align = ir.Constant(I32, _alignment(sig.args[0]))
    return intrinsic(b, name, vector, places, align, mask, ir.Constant(vector, None))


@primitive(_load_strided_types, _emit_load_strided)
def load_strided(p: TwinPointer, i: int, step: int, mask):
    """Elements i, i + step, i + 2 * step, ...; 0 where the mask is 0."""
    return p.read(i, mask, 0, step=step)


def _store_strided_types(p, i, step, v, mask):
    fits = are(Pointer, p) and are(types.Integer, i, step) and are(Vector, v) and are(Mask, mask)
    return (types.void, p, types.int64, types.int64, v, mask) if fits and v.element == p.element else None


def _emit_store_strided(b, sig, p, i, step, v, mask):
    places = _strided_places(b, p, i, step, v.type.count)
    name = f"llvm.masked.scatter.{mangled(v.type)}.v{v.type.count}p0"
    intrinsic(b, name, ir.VoidType(), v, places, ir.Constant(I32, _alignment(sig.args[0])), mask)


@primitive(_store_strided_types, _emit_store_strided)
def store_strided(p: TwinPointer, i: int, step: int, v, mask) -> None:
    """Write the lanes of `v` to i, i + step, i + 2 * step, ..., those where the mask is 1."""
    p.write(i, v, mask, step=step)


# ---- caches ----------------------------------------------------------------------------------------------------


def _emit_stream(b, sig, p, i, v):
    written = b.store(v, address(b, p, i, v.type))
    written.align = VECTOR_BYTES
    written.set_metadata("nontemporal", b.module.add_metadata([ir.Constant(I32, 1)]))


@primitive(_store_types, _emit_stream)
def stream(p: TwinPointer, i: int, v) -> None:
    """Store past the caches; the address must be a multiple of the register's size."""
    p.write(i, v, None)


def _prefetch_types(p, i):
    return (types.void, p, types.int64) if are(Pointer, p) and are(types.Integer, i) else None


def ask_for(b: ir.IRBuilder, place: ir.Value, write: int, level: int) -> None:
    """Emit a request for the cache line at a place: level 3 is L1, 2 is L2."""
    flags = [ir.Constant(I32, v) for v in (write, level, 1)]
    intrinsic(b, "llvm.prefetch.p0", ir.VoidType(), place, *flags)


def _emit_prefetch(write: int, level: int) -> Callable:
    return lambda b, sig, p, i: ask_for(b, address(b, p, i, ir.IntType(8)), write, level)


@primitive(_prefetch_types, _emit_prefetch(write=1, level=3))
def prefetch_to_write(p: TwinPointer, i: int) -> None:
    """Ask for the cache line of element i, which is about to be written."""


@primitive(_prefetch_types, _emit_prefetch(write=0, level=2))
def prefetch(p: TwinPointer, i: int) -> None:
    """Ask for the cache line of element i, into L2."""
