"""Lines of numbers of any type on their way into a kernel, and out of it.

A kernel computes in one of four types; arrays may have any of ten. So that no array has to be converted as a whole,
each line is when it is copied.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from llvmlite import ir
from numba import from_dtype
from numba.core import types
from numba.core.typing.templates import signature

from fastconv import jit
from fastconv.cpu.primitive import ELEMENTS, I32, I64, Pointer, address, are, primitive
from fastconv.cpu.twin import TwinPointer


def _put_types(p, i, value):
    fits = are(Pointer, p) and are(types.Integer, i) and are(types.Number, value)
    return (types.void, p, types.int64, value) if fits else None


def _emit_put(b, sig, p, i, value):
    given, wanted = sig.args[2], sig.args[0].element
    b.store(_converted(b, value, given, wanted), address(b, p, i))


def _converted(b: ir.IRBuilder, value: ir.Value, given: types.Number, wanted: types.Number) -> ir.Value:
    target = ELEMENTS[wanted]
    if are(types.Float, given, wanted):
        change = b.fptrunc if given.bitwidth > wanted.bitwidth else b.fpext
        return value if given == wanted else change(value, target)
    if are(types.Float, wanted):
        return (b.sitofp if given.signed else b.uitofp)(value, target)
    if are(types.Float, given):
        if wanted == types.uint64:
            return _to_uint64(b, value)
        # To the lowest bits of a wider integer: what C compilers make of a conversion to a narrow one, for which
        # numbers beyond its range wrap around.
        wide = I32 if wanted.bitwidth < 32 or wanted == types.int32 else I64
        value, width = b.fptosi(value, wide), wide.width
    else:
        width = given.bitwidth
    if width == target.width:
        return value
    return b.trunc(value, target) if width > target.width else (b.sext if given.signed else b.zext)(value, target)


def _to_uint64(b: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """Convert as code for x86 without AVX-512 does, whose instruction for it takes negative numbers to the largest."""
    half = ir.Constant(value.type, 2.0**63)
    low, high = b.fptosi(value, I64), b.fptosi(b.fsub(value, half), I64)
    return b.select(b.fcmp_ordered("<", value, half), low, b.xor(high, ir.Constant(I64, -(2**63))))


@primitive(_put_types, _emit_put)
def put(p: TwinPointer, i: int, value) -> None:
    """Write element i, converted as C does it: to integers towards zero, and modulo what they can hold."""
    p[i] = value


def register_copy(source, source_step, target, target_step, count):
    """Hold the code of a copy: compiled once for each pair of types."""
    if source_step == 1 and target_step == 1:
        for i in range(count):
            put(target, i, source[i])
    else:
        for i in range(count):
            put(target, i * target_step, source[i * source_step])


_TYPES: dict[int, tuple[np.dtype, np.dtype]] = {}  # of compiled copies, by their address: for the twins


@cache
def copier(source: np.dtype, target: np.dtype) -> int:
    """Address of the compiled copy from one dtype of real numbers to another, which `copy_line` calls."""
    pointers = [Pointer(from_dtype(np.dtype(dtype))) for dtype in (source, target)]
    i = types.int64
    compiled = jit.entry(register_copy, signature(types.void, pointers[0], i, pointers[1], i, i))
    _TYPES[compiled.address] = np.dtype(source), np.dtype(target)
    return compiled.address


def _call_types(*args):
    return (types.void, *[types.int64] * 6) if len(args) == 6 and are(types.Integer, *args) else None


def _emit_call(b, sig, function, *args):
    kind = ir.FunctionType(ir.VoidType(), [v.type for v in args])  # a pointer is passed like an integer
    b.call(b.inttoptr(function, kind.as_pointer()), args)


@primitive(_call_types, _emit_call)
def copy_line(function: int, source: int, source_step: int, target: int, target_step: int, count: int) -> None:
    """Copy `count` numbers from one address to another, steps in elements."""
    dtypes = _TYPES[function]
    read, write = (TwinPointer(place, dtype) for place, dtype in zip((source, target), dtypes, strict=True))
    for i in range(count):
        write.view(i * target_step, 1)[:] = read.view(i * source_step, 1).astype(dtypes[1])
