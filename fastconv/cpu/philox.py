"""Random words that follow from a counter: Philox 4x32 with seven rounds, and dropout, which keeps what a word allows.

J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, *Parallel random numbers: as easy as 1, 2, 3* (2011), section 3.3
and table 2. A block of four words follows from a key of 64 bits and a counter of 128: the lower half of the counter is
the block's number, the upper half that of the call. Element i of an array has word ``i % 4`` of block ``i // 4``. So
whichever thread or device computes an element finds the same word, and nothing has to be kept for the way back.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from llvmlite import ir
from numba.core import types
from numpy.typing import NDArray

from fastconv.cpu.loop import Program, kernel
from fastconv.cpu.primitive import (
    I32,
    I64,
    Mask,
    Pointer,
    Vector,
    are,
    broadcast,
    counting,
    integers_beside,
    primitive,
    shuffle,
)
from fastconv.cpu.simd import head, lanes, load, select, splat, store
from fastconv.cpu.softmax import each_row
from fastconv.cpu.twin import TwinPointer

MULTIPLIERS, INCREMENTS = (0xD2511F53, 0xCD9E8D57), (0x9E3779B9, 0xBB67AE85)
ROUNDS = 7
LOW = (1 << 32) - 1

CHUNK = 1 << 14  # elements of a task
ALONE = 1 << 13  # elements that one thread passes over sooner than two meet

# ---- words -----------------------------------------------------------------------------------------------------


def philox(block: NDArray[np.uint64], call: int, key: int) -> list[NDArray[np.uint64]]:
    """Return the four words of each block.

    Parameters
    ----------
    block : ndarray of uint64
        Numbers of the blocks.
    call, key : int
        From 0 to 2**64 - 1.
    """
    low, shift = np.uint64(LOW), np.uint64(32)
    a, b = block & low, block >> shift
    c, d = np.full_like(block, call & LOW), np.full_like(block, call >> 32)
    for n in range(ROUNDS):
        p, q = a * np.uint64(MULTIPLIERS[0]), c * np.uint64(MULTIPLIERS[1])
        k, m = (np.uint64(part + n * step & LOW) for part, step in zip((key, key >> 32), INCREMENTS, strict=True))
        a, b, c, d = (q >> shift) ^ b ^ k, q & low, (p >> shift) ^ d ^ m, p & low
    return [a, b, c, d]


def _words_types(like, block, call, key):
    fits = are(Pointer, like) and are(types.Integer, block, call, key)
    return (types.UniTuple(integers_beside(like), 2), like, *[types.int64] * 3) if fits else None


def _emit_words(b, sig, like, block, call, key):
    vector = sig.return_type.dtype.llvm
    count = vector.count // 2  # 64-bit lanes: a product of two words is as wide
    wide = ir.VectorType(I64, count)
    low, shift = (ir.Constant(wide, [value] * count) for value in (LOW, 32))
    number = b.add(broadcast(b, block, count), counting(I64, count))
    counter = [b.and_(number, low), b.lshr(number, shift)]
    counter += [broadcast(b, part, count) for part in (b.and_(call, I64(LOW)), b.lshr(call, I64(32)))]
    keys = [key, b.lshr(key, I64(32))]
    factors = [ir.Constant(wide, [value] * count) for value in MULTIPLIERS]
    for _ in range(ROUNDS):
        p, q = (b.mul(b.and_(word, low), factor) for word, factor in zip(counter[::2], factors, strict=True))
        k = [broadcast(b, b.and_(key, I64(LOW)), count) for key in keys]
        keys = [b.add(key, I64(step)) for key, step in zip(keys, INCREMENTS, strict=True)]
        counter = [
            b.xor(b.xor(b.lshr(q, shift), counter[1]), k[0]), b.and_(q, low),
            b.xor(b.xor(b.lshr(p, shift), counter[3]), k[1]), b.and_(p, low),
        ]  # fmt: skip
    first, second = (b.or_(x, b.shl(y, shift)) for x, y in (counter[:2], counter[2:]))
    pair = ir.Constant(ir.ArrayType(vector, 2), ir.Undefined)
    for k in range(2):  # words 0 and 1 of a block are one 64-bit lane, 2 and 3 another: put the lanes in order
        order = [lane for block in range(k * count // 2, (k + 1) * count // 2) for lane in (block, count + block)]
        words = b.bitcast(shuffle(b, first, second, order), ir.VectorType(I32, vector.count))
        pair = b.insert_value(pair, words if vector.element == I32 else b.zext(words, vector), k)
    return pair


@primitive(_words_types, _emit_words)
def words(like: TwinPointer, block: int, call: int, key: int):
    """Return the words of as many blocks, from number `block` on, as two vectors of integers beside reals hold."""
    n = like.lanes
    blocks = np.arange(block, block + n // 2).astype(np.uint64)
    ordered = np.stack(philox(blocks, call % 2**64, key % 2**64), axis=-1).ravel().astype(np.uint32)
    ordered = ordered.view(np.int32) if like.integer.itemsize == 4 else ordered
    return ordered[:n].astype(like.integer), ordered[n:].astype(like.integer)


def _beyond_types(words, limit):
    fits = are(Vector, words) and are(types.Integer, words.element, limit)
    return (Mask(words.lanes), words, types.int64) if fits else None


def _emit_beyond(b, sig, words, limit):
    limit = b.trunc(limit, I32) if words.type.element == I32 else limit
    return b.icmp_unsigned(">", words, broadcast(b, limit, words.type.count))


@primitive(_beyond_types, _emit_beyond)
def beyond(words, limit: int):
    """Mask of the words that are larger than a limit, as unsigned numbers of 32 bits."""
    return (words.astype(np.int64) & LOW) > limit


# ---- kernels ---------------------------------------------------------------------------------------------------


@kernel(x="real", draw="int64", y="real", factor="scalar", limit="int", size="int", chunk="int")
def dropout(args, task, slot):
    """Write y = x * factor where the element's word exceeds the limit, else x * 0. ``draw = [call, key]``."""
    n, first = lanes(args.x), task * args.chunk
    last = min(args.size, first + args.chunk)
    factor, zero, call, key = splat(args.x, args.factor), splat(args.x, 0.0), args.draw[0], args.draw[1]
    for i in range(first, last, 2 * n):
        a, b = words(args.x, i // 4, call, key)
        mask, rest = head(args.x, last - i), head(args.x, last - i - n)
        store(args.y, i, load(args.x, i, mask) * select(beyond(a, args.limit), factor, zero), mask)
        store(args.y, i + n, load(args.x, i + n, rest) * select(beyond(b, args.limit), factor, zero), rest)


@each_row(x="real", factors="real", y="real")
def scale_rows(args, row, start):
    """Write y = x * the row's factor."""
    factor = splat(args.x, args.factors[row])
    for i in range(0, args.columns, lanes(args.x)):
        mask = head(args.x, args.columns - i)
        store(args.y, start + i, load(args.x, start + i, mask) * factor, mask)


@lru_cache(maxsize=256)
def dropout_plan(size: int, dtype: np.dtype, p: float) -> Program:
    """Plan of arrays (x, draw, y); a share `p` > 0 of all words is not above the limit."""
    program = Program(dtype, "x draw y")
    limit, factor = max(1, round(p * 2**32)) - 1, 1 / (1 - p) if p < 1 else 0.0
    program.add(
        dropout, -(-size // CHUNK), alone=size <= ALONE, x=program.x, draw=program.draw, y=program.y, factor=factor,
        limit=limit, size=size, chunk=CHUNK,
    )  # fmt: skip
    return program
