"""Lanes that meet: sums over a vector, and lanes that change places between vectors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.typing.templates import signature

from fastconv.cpu.finish import emit_finished, finish
from fastconv.cpu.primitive import (
    I32,
    I64,
    VECTOR_BYTES,
    Mask,
    Pointer,
    Vector,
    address,
    are,
    intrinsic,
    mangled,
    primitive,
    shuffle,
    vector_of,
)
from fastconv.cpu.simd_memory import emit_load, emit_store
from fastconv.cpu.twin import TwinPointer

# ---- one number from a vector ----------------------------------------------------------------------------------


def _emit_halving(combine: Callable) -> Callable:
    def emit(b, sig, x):
        count = x.type.count
        while count > 1:  # halves, in a fixed order: the same bits on every run
            count //= 2
            x = combine(b, *(shuffle(b, x, x, list(range(start, start + count))) for start in (0, count)))
        return b.extract_element(x, ir.Constant(I32, 0))

    return emit


def _number_types(x):
    return (x.element, x) if are(Vector, x) else None


@primitive(_number_types, _emit_halving(lambda b, x, y: b.fadd(x, y)))
def sum_lanes(x):
    """Sum of the lanes, by halves."""
    while len(x) > 1:
        x = x[: len(x) // 2] + x[len(x) // 2 :]
    return x[0]


@primitive(_number_types, _emit_halving(lambda b, x, y: b.select(b.fcmp_ordered(">", y, x), y, x)))
def largest_lane(x):
    """Largest of the lanes, none of which may be NaN."""
    return x.max()


# ---- lanes that change places ----------------------------------------------------------------------------------


def _pair_types(x, y):
    return (types.UniTuple(x, 2), x, y) if are(Vector, x) and x == y else None


def _emit_pair(orders: Callable) -> Callable:
    def emit(b, sig, x, y):
        pair = ir.Constant(ir.ArrayType(x.type, 2), ir.Undefined)
        for k, order in enumerate(orders(x.type.count)):
            pair = b.insert_value(pair, shuffle(b, x, y, order), k)
        return pair

    return emit


@primitive(_pair_types, _emit_pair(lambda n: [list(range(0, 2 * n, 2)), list(range(1, 2 * n, 2))]))
def deinterleave(x, y):
    """Return the even lanes and the odd lanes of ``x | y``."""
    both = np.concatenate([x, y])
    return both[::2], both[1::2]


def _interleaved(n: int) -> list[list[int]]:
    order = [lane for k in range(n) for lane in (k, n + k)]
    return [order[:n], order[n:]]


@primitive(_pair_types, _emit_pair(_interleaved))
def interleave(x, y):
    """Return x0 y0 x1 y1 ... as two vectors: the inverse of `deinterleave`."""
    both = np.stack([x, y], axis=1).ravel()
    return both[: len(x)], both[len(x) :]


# AVX-512 takes the lanes of two registers in any order at once; LLVM has no name of its own for that.
_PERMUTES = {"f32": "ps", "f64": "pd", "i32": "d", "i64": "q"}


def _permute_types(x, y, places):
    fits = are(Vector, x, places) and x == y and x.lanes == places.lanes and are(types.Integer, places.element)
    return (x, x, y, places) if fits and places.element.bitwidth == x.element.bitwidth else None


def _emit_permute(b, sig, x, y, places):
    count = x.type.count
    if VECTOR_BYTES == 64:
        kind = _PERMUTES[mangled(x.type).removeprefix(f"v{count}")]
        return intrinsic(b, f"llvm.x86.avx512.vpermi2var.{kind}.512", x.type, x, places, y)
    both, found = shuffle(b, x, y, list(range(2 * count))), ir.Constant(x.type, ir.Undefined)
    last = ir.Constant(places.type.element, 2 * count - 1)
    for lane in range(count):
        place = b.and_(b.extract_element(places, ir.Constant(I32, lane)), last)
        found = b.insert_element(found, b.extract_element(both, place), ir.Constant(I32, lane))
    return found


@primitive(_permute_types, _emit_permute)
def permute(x, y, places):
    """Lanes of ``x | y`` at the given places, of which only the rest after division by their number counts."""
    return np.concatenate([x, y])[places % (2 * len(x))]


def _transpose_types(source, source_step, source_rows, read, target, target_step, target_rows, write):
    fits = are(Pointer, source, target) and source == target and are(Mask, read, write)
    i = types.int64
    return (types.void, source, i, i, read, target, i, i, write) if fits else None


def _finished_types(*args):
    square, (low, high, apart) = _transpose_types(*args[:-3]) if len(args) == 11 else None, args[-3:]
    fits = square and are(Vector, low, high) and are(types.Integer, apart)
    return (*square, low, high, types.int64) if fits else None


def _emit_transpose(
    b, sig, source, source_step, source_rows, read, target, target_step, target_rows, write, *ending
):  # fmt: skip
    vector = vector_of(sig.args[0])
    n, zero = vector.lanes, ir.Constant(I64, 0)

    def row(p, step, i):
        return address(b, p, b.mul(step, ir.Constant(I64, i)))

    def mask(lanes, rows, i):
        return b.select(b.icmp_signed("<", ir.Constant(I64, i), rows), lanes, ir.Constant(lanes.type, None))

    load = signature(vector, sig.args[0], types.int64, sig.args[3])
    rows = [emit_load(b, load, row(source, source_step, i), zero, mask(read, source_rows, i)) for i in range(n)]
    distance = 1
    while distance < n:  # swap the off-diagonal blocks of 1, 2, 4, ... lanes
        low = [lane if not lane & distance else lane - distance + n for lane in range(n)]
        high = [lane + distance if not lane & distance else lane + n for lane in range(n)]
        for i in range(n):
            if not i & distance:
                x, y = rows[i], rows[i + distance]
                rows[i], rows[i + distance] = shuffle(b, x, y, low), shuffle(b, x, y, high)
        distance *= 2
    places = [row(target, target_step, j) for j in range(n)]
    masks = [mask(write, target_rows, j) for j in range(n)]
    if ending:
        apart = ending[-1]
        rows = emit_finished(b, rows, lambda j: emit_load(b, load, places[j], apart, masks[j]), *ending)
    store = signature(types.void, sig.args[4], types.int64, vector, sig.args[7])
    for place, value, lanes in zip(places, rows, masks, strict=True):
        emit_store(b, store, place, zero, value, lanes)


@primitive(_transpose_types, _emit_transpose)
def transpose(
    source: TwinPointer,
    source_step: int,
    source_rows: int,
    read,
    target: TwinPointer,
    target_step: int,
    target_rows: int,
    write,
) -> None:
    """Transpose a square of lanes x lanes elements from rows `source_step` apart to rows `target_step` apart.

    Only the first `source_rows` rows, and their lanes where `read` is 1, are read; the rest counts as 0. Only the first
    `target_rows` rows, and their lanes where `write` is 1, are written.
    """
    n = source.lanes
    square = np.zeros((n, n), source.dtype)
    for i in range(min(n, source_rows)):
        square[i] = source.read(i * source_step, read, 0)
    for j in range(min(n, target_rows)):
        target.write(j * target_step, np.ascontiguousarray(square[:, j]), write)


@primitive(_finished_types, _emit_transpose)
def transpose_finished(
    source: TwinPointer,
    source_step: int,
    source_rows: int,
    read,
    target: TwinPointer,
    target_step: int,
    target_rows: int,
    write,
    low,
    high,
    apart: int,
) -> None:
    """Transpose sums to where they belong, the addend that lies `apart` added, within the limits; see `epilogue`."""
    n = source.lanes
    square = np.zeros((n, n), source.dtype)
    transpose(source, source_step, source_rows, read, TwinPointer.to(square), n, n, np.ones(n, bool))
    for j in range(min(n, target_rows)):
        target.write(j * target_step, finish(square[j], target, j * target_step, write, low, high, apart), write)
