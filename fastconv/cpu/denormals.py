"""Numbers too small for their exponent, and the switch of the processor that takes them for zeros.

A sum that meets such *denormal* numbers (below 1.2e-38 in float32) is helped by microcode: some 150 cycles an
operation, so that a whole convolution takes up to 190 times as long. Each worker throws the switch for its share of a
step and puts it back, so that NumPy and the caller's threads never see it.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba.core import types

from fastconv.cpu.primitive import I32, I64, intrinsic, primitive
from fastconv.runtime.threads import X86

FLUSH = 0x8040  # in the register MXCSR: results that are denormal become zero, and so do operands (FTZ, DAZ)


def _exchange(result: types.Type, count: int) -> Callable:
    return lambda *args: (result, *[types.int64] * count) if len(args) == count else None


def _word(b: ir.IRBuilder) -> ir.Value:
    with b.goto_entry_block():
        return b.alloca(I32)


def _emit_float_control(b, sig):
    if not X86:
        return ir.Constant(I64, 0)
    word = _word(b)
    intrinsic(b, "llvm.x86.sse.stmxcsr", ir.VoidType(), b.bitcast(word, ir.IntType(8).as_pointer()))
    return b.zext(b.load(word), I64)


def _emit_set_float_control(b, sig, control):
    if X86:
        word = _word(b)
        b.store(b.trunc(control, I32), word)
        intrinsic(b, "llvm.x86.sse.ldmxcsr", ir.VoidType(), b.bitcast(word, ir.IntType(8).as_pointer()))


@primitive(_exchange(types.int64, 0), _emit_float_control)
def float_control() -> int:
    """Read how this thread treats floating-point numbers."""
    raise NotImplementedError("compiled code only")


@primitive(_exchange(types.void, 1), _emit_set_float_control)
def set_float_control(control: int) -> None:
    """Set how this thread treats floating-point numbers."""
    raise NotImplementedError("compiled code only")
