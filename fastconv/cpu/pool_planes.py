"""Windows that are all of a plane, without padding. Lanes are its elements, which lie side by side.

What is left of a plane, a vector, waits until there are as many as lanes: their sums, or maxima, are then found at
once, with two shuffles a plane instead of one after the other for each.
"""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba.core import types

from fastconv import jit
from fastconv.cpu.loop import kernel
from fastconv.cpu.pool_windows import KEEP
from fastconv.cpu.primitive import Mask, are, primitive
from fastconv.cpu.simd import I64, head, lanes, load, maxima_of_rows, select, splat, store, sums_of_rows

PLANES = dict.fromkeys(("all_planes", "planes", "size"), "int")

# ---- one number from lanes -------------------------------------------------------------------------------------


def _emit_any_lane(b, sig, mask):
    bits = ir.IntType(mask.type.count)
    return b.icmp_unsigned("!=", b.bitcast(mask, bits), ir.Constant(bits, 0))


@primitive(lambda mask: (types.boolean, mask) if are(Mask, mask) else None, _emit_any_lane)
def any_lane(mask) -> bool:
    """Whether the mask is 1 in some lane."""
    return bool(mask.any())


def _emit_first_lane(b, sig, mask, start, other):
    count = mask.type.count
    bits = ir.IntType(count)
    found = b.zext(b.bitcast(mask, bits), I64) if count < 64 else b.bitcast(mask, I64)
    place = b.add(start, b.cttz(found, ir.Constant(ir.IntType(1), 0)))
    return b.select(b.icmp_unsigned("!=", found, ir.Constant(I64, 0)), place, other)


def _first_lane_types(mask, start, other):
    fits = are(Mask, mask) and are(types.Integer, start, other)
    return (types.int64, mask, types.int64, types.int64) if fits else None


@primitive(_first_lane_types, _emit_first_lane)
def first_lane(mask, start: int, other: int) -> int:
    """Return `start` plus the number of the first lane where the mask is 1; `other` if it is 0 in all."""
    return start + int(np.argmax(mask)) if mask.any() else other


# ---- means -----------------------------------------------------------------------------------------------------


def _avg_planes(args, task, slot):
    y, size, n, rows = args.y, args.size, lanes(args.x), args.rows + slot * args.step
    share, whole = args.row_shares[0] * args.column_shares[0], size // n * n
    rest = head(args.x, size - whole)
    last = min(args.all_planes, (task + 1) * args.planes)
    for first in range(task * args.planes, last, n):
        for plane in range(first, min(first + n, last)):
            x = args.x + plane * size
            total = load(x, whole, rest)
            for i in range(0, whole, n):
                total = total + load(x, i)
            store(rows, (plane - first) * n, total)
        store(y, first, sums_of_rows(rows, n) * splat(y, share), head(y, last - first))


@jit.inline
def fill(x, size, value):
    """Write `size` copies of a number."""
    v, n = splat(x, value), lanes(x)
    whole = size // n * n
    for i in range(0, whole, n):
        store(x, i, v)
    store(x, whole, v, head(x, size - whole))


def _avg_planes_backward(args, task, slot):
    dy, dx, size, share = args.dy, args.dx, args.size, args.row_shares[0] * args.column_shares[0]
    for plane in range(task * args.planes, min(args.all_planes, (task + 1) * args.planes)):
        fill(dx + plane * size, size, dy[plane] * share)


SHARES = {"row_shares": "real", "column_shares": "real"}

ROWS = {"rows": "real", "step": "int"}  # scratch: a register for each of as many planes as there are lanes

AVG = kernel(x="real", y="real", **SHARES, **PLANES, **ROWS)(_avg_planes)
AVG_BACKWARD = kernel(dy="real", dx="real", **SHARES, **PLANES)(_avg_planes_backward)

# ---- maxima ----------------------------------------------------------------------------------------------------


@jit.inline
def first_nan(x):
    """Position of the first NaN, of which there must be one."""
    i = 0
    while x[i] == x[i]:
        i += 1
    return i


@jit.inline
def lane_maxima(x, whole, rest):
    """Maxima of the numbers that share a lane, and where one of them is NaN."""
    best = load(x, whole, rest, -math.inf)
    wrong = best != best
    for i in range(0, whole, lanes(x)):
        v = load(x, i)
        best, wrong = select(v > best, v, best), wrong | (v != v)
    return best, wrong


@jit.inline
def first_place(x, value, whole, rest):
    """Position of the first element that equals a value."""
    v = splat(x, value)
    where = first_lane((load(x, whole, rest) == v) & rest, whole, whole)
    for i in range(whole - lanes(x), -1, -lanes(x)):
        where = first_lane(load(x, i) == v, i, where)
    return where


def _max_planes(args, task, slot):
    y, saved, size, keep, relu, nowhere = args.y, args.saved, args.size, args.keep, args.relu, args.nowhere
    n, rows = lanes(args.x), args.rows + slot * args.step
    whole, rest = size // n * n, head(args.x, size % n)
    last = min(args.all_planes, (task + 1) * args.planes)
    for first in range(task * args.planes, last, n):
        for plane in range(first, min(first + n, last)):
            best, wrong = lane_maxima(args.x + plane * size, whole, rest)
            if any_lane(wrong):
                best = splat(args.x, math.nan)
            store(rows, (plane - first) * n, best)
        store(y, first, maxima_of_rows(rows, n), head(y, last - first))
        for plane in range(first, min(first + n, last)):
            x = args.x + plane * size
            where = first_place(x, y[plane], whole, rest) if y[plane] == y[plane] else first_nan(x)
            if relu and y[plane] <= 0:
                y[plane], where = 0.0, nowhere
            if keep:
                saved[plane] = where


def _max_planes_backward(args, task, slot):
    dy, saved, dx, size, first = args.dy, args.saved, args.dx, args.size, task * args.planes
    last = min(args.all_planes, first + args.planes)
    fill(dx + first * size, (last - first) * size, 0.0)
    for plane in range(first, last):
        if saved[plane] < size:
            dx[plane * size + saved[plane]] = dy[plane]


POSITIONS = "uint8", "int32"  # types of the saved positions

MAX = {dtype: kernel(x="real", y="real", saved=dtype, **KEEP, **PLANES, **ROWS)(_max_planes) for dtype in POSITIONS}
MAX_BACKWARD = {dtype: kernel(dy="real", saved=dtype, dx="real", **PLANES)(_max_planes_backward) for dtype in POSITIONS}
