"""The register tile: the one place where products are summed.

Every convolution, gradient and matrix product here is made of calls of

    C[c_rows[i] + j] = S[s_rows[i] + j] + sum_k A[a_rows[i] + a_steps[k]] * B[b_steps[k] + j],    i < rows, j < vectors
    * lanes

All sums stay in registers while k runs. The five tables of offsets, counted in elements, say where things lie: a
stride, a dilation, a phase of a gradient or a third dimension is an entry in a table, and the compiled tile knows none
of them.

The code is emitted as LLVM IR, because no compiler keeps rows x vectors sums in registers by itself. Measured on one
AVX-512 core: 98-100 % of the FMA peak, compiled in 0.1 s.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import chain

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.typing.templates import signature
from numba.extending import models, register_model
from numpy.typing import NDArray

from fastconv import jit, runtime
from fastconv.cpu.ahead import LINE, take
from fastconv.cpu.loop import REALS
from fastconv.cpu.simd import (
    ELEMENTS,
    I64,
    VECTOR_BYTES,
    Pointer,
    address,
    address_of,
    broadcast,
    intrinsic,
    lanes_of,
    mangled,
    primitive,
)
from fastconv.cpu.simd_memory import ask_for
from fastconv.cpu.twin import TwinPointer

STREAM_STATE = Pointer(types.int64)
UNROLLED = 4  # products a round: 64 channels of 56x56 went from 16.5 to 15.9 ms
FEW_POINTERS = 4  # up to which addresses to fetch have registers: with 8, LLVM spilled them (18 -> 27 ms, dw)
BURST = 8  # lines fetched behind a tile of more pointers
MOST_POINTERS = 8  # addresses of A at once: with more, LLVM spills sums (14 pointers ran at 75 GFLOP/s, 8 at 115)


class Tile(types.Type):
    """Shape of a tile. It is the type of the tile's first argument, so that one function is compiled for every shape.

    Rows of A come in runs of `run` rows that lie `step` elements apart: one address and one entry of `a_rows` a run.
    """

    def __init__(self, real: types.Float, rows: int, vectors: int, run: int, step: int):
        self.real, self.rows, self.vectors, self.run, self.step = real, rows, vectors, run, step
        self.runs = -(-rows // run)
        super().__init__(name=f"tile({real}, {rows}x{vectors}, runs of {run} by {step})")


@register_model(Tile)
class _TileModel(models.PrimitiveModel):
    def __init__(self, manager, fe_type):
        super().__init__(manager, fe_type, I64)


def most_rows(vectors: int) -> int:
    """Rows of the largest tile whose sums, and the vectors of B, fit in the registers."""
    if runtime.registers() == 32:
        return {1: 28, 2: 14, 3: 8}[vectors]
    return {1: 12, 2: 6, 3: 4}[vectors]


def most_vectors(rows: int) -> int:
    """Vectors of the widest tile of `rows` rows: eight are enough for sums not to wait for each other."""
    return max(1, min(8, (runtime.registers() - 1) // (rows + 1)))


def emit_sums(
    b: ir.IRBuilder,
    depth: ir.Value,
    first: list[list],
    add: Callable,
    unrolled: int = UNROLLED,
    each_round: Callable = lambda k: None,
) -> list[list]:
    """Emit ``for k in range(depth): sums = add(k, sums)``, with rows of sums in registers; return what they end as.

    Every `unrolled` products are a round, which begins with ``each_round(k)``.
    """
    rest = b.and_(depth, I64(unrolled - 1))
    k, sums = _emit_loop(b, I64(0), rest, 1, first, add)
    return _emit_loop(b, k, depth, unrolled, sums, add, each_round)[1]


def _emit_loop(
    b: ir.IRBuilder,
    start: ir.Value,
    last: ir.Value,
    unrolled: int,
    first: list[list],
    add: Callable,
    each_round: Callable = lambda k: None,
) -> tuple[ir.Value, list[list]]:
    """Emit ``while k < last``, `unrolled` products a round; return k and the sums as they are after it."""
    before, body, after = b.block, b.append_basic_block("products"), b.append_basic_block("after")
    b.cbranch(b.icmp_signed("<", start, last), body, after)
    b.position_at_end(body)
    k, sums = b.phi(I64), [[b.phi(value.type) for value in row] for row in first]
    each_round(k)
    ended = sums
    for u in range(unrolled):
        ended = add(b.add(k, I64(u)) if u else k, ended)
    following = b.add(k, I64(unrolled))
    b.cbranch(b.icmp_signed("<", following, last), body, after)
    b.position_at_end(after)
    reached, joined = b.phi(I64), [[b.phi(value.type) for value in row] for row in first]
    old, new = chain([start], *first), chain([following], *ended)
    for value, end, inner, outer in zip(old, new, chain([k], *sums), chain([reached], *joined), strict=True):
        for phi in (inner, outer):
            phi.add_incoming(value, before)
            phi.add_incoming(end, body)
    return reached, joined


def _tile_types(depth, a, a_rows, a_steps, b, b_steps, c, c_rows, s, s_rows, near, far):
    if not isinstance(depth, Tile):
        return None
    reals, table = Pointer(depth.real), Pointer(types.int32)
    return types.void, depth, reals, table, table, reals, table, reals, table, reals, table, reals, types.int64


def _fetches(b: ir.IRBuilder, tile: Tile, near: ir.Value, far: ir.Value) -> Callable:
    """Return what emits a round's requests: a line of the sums at `near` comes into L1, one from `far` on into L2."""
    if tile.runs > FEW_POINTERS:
        return lambda k: None
    byte = ir.IntType(8).as_pointer()
    near, far = b.bitcast(near, byte), b.inttoptr(far, byte)
    sums = I64(tile.rows * tile.vectors * VECTOR_BYTES)

    def each_round(k):
        offset = b.mul(k, I64(LINE // UNROLLED))
        ask_for(b, b.gep(near, [intrinsic(b, "llvm.umin.i64", I64, offset, sums)]), 0, 3)
        ask_for(b, b.gep(far, [offset]), 0, 2)

    return each_round


def _emit_tile(b, sig, depth, a, a_rows, a_steps, panel, b_steps, c, c_rows, start, s_rows, near, far):
    tile: Tile = sig.args[0]
    lanes = lanes_of(tile.real)
    vector = ir.VectorType(ELEMENTS[tile.real], lanes)
    align = tile.real.bitwidth // 8

    def entry(table, k):
        return b.sext(b.load(address(b, table, k)), I64)

    def load_vectors(p, offset):
        loads = [b.load(address(b, address(b, p, offset), j * lanes, vector)) for j in range(tile.vectors)]
        for v in loads:
            v.align = align
        return loads

    runs = [address(b, a, entry(a_rows, r)) for r in range(tile.runs)]
    sums = [load_vectors(start, entry(s_rows, i)) for i in range(tile.rows)]

    def add(k, sums):
        a_step = entry(a_steps, k)
        columns = load_vectors(panel, entry(b_steps, k))
        products = []
        for i, row in enumerate(sums):
            place = address(b, address(b, runs[i // tile.run], a_step), i % tile.run * tile.step)
            scalar = b.load(place)
            scalar.align = align
            value = broadcast(b, scalar, lanes)
            products.append([
                intrinsic(b, f"llvm.fma.{mangled(vector)}", vector, value, column, old)
                for column, old in zip(columns, row, strict=True)
            ])
        return products

    for i, row in enumerate(emit_sums(b, depth, sums, add, each_round=_fetches(b, tile, near, far))):
        target = address(b, c, entry(c_rows, i))
        for j, value in enumerate(row):
            b.store(value, address(b, target, j * lanes, vector)).align = align


@primitive(_tile_types, _emit_tile)
def multiply(depth, a, a_rows, a_steps, b, b_steps, c, c_rows, s, s_rows, near, far) -> None:
    """Compute a tile; `depth` >= 1 products a sum. See `twin` for what it does, in NumPy.

    Meanwhile `near`, where the next tile's sums lie, is fetched into L1, and as many lines from the address `far` on
    into L2 as there are rounds.
    """
    raise NotImplementedError("the shape of a tile is a type: compiled code only, `twin` takes it as arguments")


def _emit_fetched(b, sig, depth):
    return I64(BURST) if sig.args[0].runs > FEW_POINTERS else b.sdiv(depth, I64(UNROLLED))


@primitive(lambda depth: (types.int64, depth) if isinstance(depth, Tile) else None, _emit_fetched)
def fetched(depth) -> int:
    """Cache lines that a tile fetches."""
    raise NotImplementedError("compiled code only")


def _emit_burst(b, sig, depth, far):
    place = b.inttoptr(far, ir.IntType(8).as_pointer())
    for i in range(BURST if sig.args[0].runs > FEW_POINTERS else 0):
        ask_for(b, b.gep(place, [I64(i * LINE)]), 0, 2)


@primitive(lambda depth, far: (types.void, depth, far) if isinstance(depth, Tile) else None, _emit_burst)
def burst(depth, far) -> None:
    """Fetch a few lines behind a tile of many pointers, which has no registers left to fetch them meanwhile."""
    raise NotImplementedError("compiled code only")


def register_tile(
    depth, repeats, a_shift, c_shift, s_shift, a, a_rows, a_steps, b, b_steps, c, c_rows, s, s_rows, streams
):
    """Hold the code of one tile, compiled once for each shape: it computes `repeats` of them, shifted in A, C and S."""
    for i in range(repeats):
        far = address_of(b)
        if address_of(streams) != 0:
            far = take(streams, fetched(depth), far)
        here, start = c + i * c_shift, s + i * s_shift
        multiply(
            depth, a + i * a_shift, a_rows, a_steps, b, b_steps, here, c_rows, start, s_rows, here + c_shift, far
        )  # fmt: skip
        burst(depth, far)


@cache
def tile(dtype: np.dtype, rows: int, vectors: int, run: int = 1, step: int = 1) -> int:
    """Address of the compiled tile, which `call_tile` calls.

    Parameters
    ----------
    dtype : dtype
        float32 or float64.
    rows, vectors : int
        Shape of the block of sums: at most `most_rows` (vectors) rows, of `vectors` registers each.
    run, step : int
        Rows of A that lie `step` elements apart are read through one address, `run` at a time.
    """
    real = REALS[np.dtype(dtype)]
    reals, table = Pointer(real), Pointer(types.int32)
    shape = Tile(real, rows, vectors, run, step)
    sizes = [types.int64] * 4
    compiled = jit.entry(
        register_tile,
        signature(
            types.void, shape, *sizes, reals, table, table, reals, table, reals, table, reals, table, STREAM_STATE
        ),
    )
    _TILES[compiled.address] = (rows, vectors, run, step)
    return compiled.address


_TILES: dict[int, tuple[int, int, int, int]] = {}


def _call_types(function, depth, repeats, a_shift, c_shift, s_shift, a, *rest):
    if not isinstance(a, Pointer) or len(rest) not in (8, 9):
        return None
    table, streams = Pointer(types.int32), [STREAM_STATE] * (len(rest) - 8)
    return types.void, *[types.int64] * 6, a, table, table, a, table, a, table, a, table, *streams


def _emit_call(b, sig, function, *args):
    if sig.args[-1] != STREAM_STATE:
        args = (*args, ir.Constant(I64.as_pointer(), None))
    kind = ir.FunctionType(ir.VoidType(), [v.type for v in args])
    b.call(b.inttoptr(function, kind.as_pointer()), args)


@primitive(_call_types, _emit_call)
def call_tiles(
    function, depth, repeats, a_shift, c_shift, s_shift, a, a_rows, a_steps, b, b_steps, c, c_rows, s, s_rows,
    streams=None,
) -> None:  # fmt: skip
    """Call a tile by its address, for `repeats` tiles that lie `a_shift`, `c_shift` and `s_shift` elements apart.

    Each of them fetches the sums of the next one, and a little from the `streams`; see `ahead`.
    """
    shape = _TILES[function]
    for i in range(repeats):
        here = a + i * a_shift, a_rows, a_steps, b, b_steps, c + i * c_shift, c_rows, s + i * s_shift, s_rows
        twin(*shape, depth, *here)


@jit.inline
def call_tile(function, depth, a, a_rows, a_steps, b, b_steps, c, c_rows, s, s_rows):
    """Call a tile by its address, once."""
    call_tiles(function, depth, 1, 0, 0, 0, a, a_rows, a_steps, b, b_steps, c, c_rows, s, s_rows)


def twin(
    rows: int,
    vectors: int,
    run: int,
    step: int,
    depth: int,
    a: TwinPointer,
    a_rows: TwinPointer,
    a_steps: TwinPointer,
    b: TwinPointer,
    b_steps: TwinPointer,
    c: TwinPointer,
    c_rows: TwinPointer,
    s: TwinPointer,
    s_rows: TwinPointer,
) -> None:
    """Do what the compiled tile does."""
    width = vectors * a.lanes
    sums: list[NDArray] = [s.view(s_rows[i], width).copy() for i in range(rows)]
    for k in range(depth):
        column = b.view(b_steps[k], width)
        for i in range(rows):
            sums[i] += a[int(a_rows[i // run]) + int(a_steps[k]) + i % run * step] * column
    for i in range(rows):
        c.view(c_rows[i], width)[:] = sums[i]
