"""Pieces of kernels that are compiled once and called by their address.

What `jit.inline` marks is compiled again in each kernel that uses it. A transpose of a whole square of registers is
long code: with six of them inlined, one kernel took 5.4 s to compile.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.typing.templates import signature

from fastconv import jit
from fastconv.cpu.loop import REALS
from fastconv.cpu.simd import Pointer, primitive

_FUNCTIONS: dict[int, Callable] = {}


@cache
def compile_piece(function: Callable, dtype: np.dtype, kinds: str) -> int:
    """Address of a compiled function, which `call_piece` calls; `kinds` has an ``r`` for reals or ``i`` an argument."""
    kind = {"r": Pointer(REALS[np.dtype(dtype)]), "i": types.int64}
    compiled = jit.entry(function, signature(types.void, *(kind[k] for k in kinds)))
    _FUNCTIONS[compiled.address] = function
    return compiled.address


def _call_types(function, *args):
    if not all(isinstance(arg, (Pointer, types.Integer)) for arg in args):
        return None
    return types.void, types.int64, *(arg if isinstance(arg, Pointer) else types.int64 for arg in args)


def _emit_call(b, sig, function, *args):
    kind = ir.FunctionType(ir.VoidType(), [v.type for v in args])
    b.call(b.inttoptr(function, kind.as_pointer()), args)


@primitive(_call_types, _emit_call)
def call_piece(function: int, *args) -> None:
    """Call a function of pointers and integers by its address."""
    _FUNCTIONS[function](*args)
