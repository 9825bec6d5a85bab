"""Windows that are all of a plane, without padding. Lanes are its elements, which lie side by side.

Transposing planes, so that lanes are planes and nothing has to be found among lanes, is slower: measured on 4096 planes
of 7x7, 81 us for maxima where this takes 70, and 66 for means where this takes 36. So is reducing the vectors that are
left of as many planes as there are lanes together, through memory: 90 us where this took 77, and 48 where it took 39.
"""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba.core import types

from fastconv import jit
from fastconv.cpu.loop import kernel
from fastconv.cpu.pool_windows import KEEP
from fastconv.cpu.primitive import Mask, Vector, are, intrinsic, mangled, primitive
from fastconv.cpu.simd import I64, head, iota, lanes, largest_lane, load, select, splat, store, sum_lanes

PLANES = dict.fromkeys(("all_planes", "planes", "size"), "int")

# ---- one number from lanes -------------------------------------------------------------------------------------


def _emit_any_lane(b, sig, mask):
    bits = ir.IntType(mask.type.count)
    return b.icmp_unsigned("!=", b.bitcast(mask, bits), ir.Constant(bits, 0))


@primitive(lambda mask: (types.boolean, mask) if are(Mask, mask) else None, _emit_any_lane)
def any_lane(mask) -> bool:
    """Whether the mask is 1 in some lane."""
    return bool(mask.any())


def _emit_smallest_lane(b, sig, x):
    found = intrinsic(b, f"llvm.vector.reduce.smin.{mangled(x.type)}", x.type.element, x)
    return found if found.type == I64 else b.sext(found, I64)


@primitive(
    lambda x: (types.int64, x) if are(Vector, x) and are(types.Integer, x.element) else None, _emit_smallest_lane
)
def smallest_lane(x) -> int:
    """Smallest of integer lanes."""
    return int(np.min(x))


# ---- means -----------------------------------------------------------------------------------------------------


def _avg_planes(args, task, slot):
    y, size, n = args.y, args.size, lanes(args.x)
    share, whole = args.row_shares[0] * args.column_shares[0], size // n * n
    rest = head(args.x, size - whole)
    for plane in range(task * args.planes, min(args.all_planes, (task + 1) * args.planes)):
        x = args.x + plane * size
        total = load(x, whole, rest)
        for i in range(0, whole, n):
            total = total + load(x, i)
        y[plane] = sum_lanes(total) * share


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

AVG = kernel(x="real", y="real", **SHARES, **PLANES)(_avg_planes)
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
def first_maximum(x, size, rest):
    """Position of the first NaN, or else of the first maximum; `rest` masks what is more than a number of vectors."""
    n, whole = lanes(x), size // lanes(x) * lanes(x)
    best, where = load(x, whole, rest, -math.inf), iota(x, whole)
    wrong, at, back = best != best, where, splat(where, n)
    for i in range(whole - n, -1, -n):  # backwards: of equals the last one that is met comes first
        v, at = load(x, i), at - back
        won = v >= best
        best, where, wrong = select(won, v, best), select(won, at, where), wrong | (v != v)
    if any_lane(wrong):
        return first_nan(x)
    return smallest_lane(select(best == splat(best, largest_lane(best)), where, splat(where, size)))


def _max_planes(args, task, slot):
    y, saved, size, keep, relu, nowhere = args.y, args.saved, args.size, args.keep, args.relu, args.nowhere
    rest = head(args.x, size % lanes(args.x))
    for plane in range(task * args.planes, min(args.all_planes, (task + 1) * args.planes)):
        x = args.x + plane * size
        where = first_maximum(x, size, rest)
        y[plane] = x[where]
        if relu and x[where] <= 0:
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

MAX = {dtype: kernel(x="real", y="real", saved=dtype, **KEEP, **PLANES)(_max_planes) for dtype in POSITIONS}
MAX_BACKWARD = {dtype: kernel(dy="real", saved=dtype, dx="real", **PLANES)(_max_planes_backward) for dtype in POSITIONS}
