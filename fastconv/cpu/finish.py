"""The last thing that happens to sums before they are stored: an addend, and limits. See `fastconv.cpu.epilogue`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.typing.templates import signature

from fastconv.cpu.flow import Values, when
from fastconv.cpu.primitive import I64, Mask, Pointer, Vector, are, primitive
from fastconv.cpu.simd_memory import emit_load
from fastconv.cpu.twin import TwinPointer


def emit_finished(
    b: ir.IRBuilder, sums: Values, addend: Callable[[int], ir.Value], low: ir.Value, high: ir.Value, apart: ir.Value
) -> Values:
    """Emit `finish` for some vectors at once; ``addend(k)`` emits the load of what is added to the k-th."""

    def added(values: Values) -> Values:
        return [b.fadd(v, addend(k)) for k, v in enumerate(values)]

    sums = when(b, b.icmp_signed("!=", apart, I64(0)), sums, added)
    sums = [b.select(b.fcmp_ordered("<", v, low), low, v) for v in sums]  # one instruction each; NaN stays NaN
    return [b.select(b.fcmp_ordered(">", v, high), high, v) for v in sums]


def _finish_types(v, y, i, mask, low, high, apart):
    fits = are(Vector, v) and v == low == high and are(Pointer, y) and are(types.Integer, i, apart) and are(Mask, mask)
    return (v, v, y, types.int64, mask, v, v, types.int64) if fits else None


def _emit_finish(b, sig, v, y, i, mask, low, high, apart):
    load = signature(sig.return_type, sig.args[1], types.int64, sig.args[3])
    return emit_finished(b, [v], lambda _: emit_load(b, load, y, b.add(i, apart), mask), low, high, apart)[0]


@primitive(_finish_types, _emit_finish)
def finish(v, y: TwinPointer, i: int, mask, low, high, apart: int):
    """V, to which the lanes `apart` from ``y[i]`` are added, if that is not 0, within the limits. NaN stays NaN."""
    v = v + y.read(i + apart, mask, 0) if apart else v
    v = np.where(v < low, low, v)
    return np.where(v > high, high, v)
