"""One more register tile, for the gradient of weights where lanes are pixels and few channels meet.

The *dot tile* sums products of vectors by vectors, and leaves their lanes to be added later:

    C[(i * columns + j) * lanes] += sum_k A[a_rows[i] + k * lanes] * B[b_rows[j] + k * lanes],    i < rows, j < columns
"""

from __future__ import annotations

from functools import cache

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.typing.templates import signature
from numba.extending import models, register_model

from fastconv import jit
from fastconv.cpu.loop import REALS
from fastconv.cpu.microkernel import emit_sums
from fastconv.cpu.primitive import I32
from fastconv.cpu.simd import ELEMENTS, I64, Pointer, address, intrinsic, lanes_of, mangled, primitive
from fastconv.cpu.twin import TwinPointer

MOST_DOT_POINTERS = 10  # addresses of A and of B: with the two that are fetched, as many as there are registers


class Shape(types.Type):
    """Two numbers that a tile is compiled for; it is the type of the first argument of a tile."""

    def __init__(self, real: types.Float, rows: int, columns: int):
        self.real, self.rows, self.columns = real, rows, columns
        super().__init__(name=f"shape({real}, {rows}x{columns})")

    @property
    def vector(self) -> ir.VectorType:
        """LLVM's type of one register."""
        return ir.VectorType(ELEMENTS[self.real], lanes_of(self.real))


@register_model(Shape)
class _ShapeModel(models.PrimitiveModel):
    def __init__(self, manager, fe_type):
        super().__init__(manager, fe_type, I64)


def _entry(b: ir.IRBuilder, table: ir.Value, k: ir.Value | int) -> ir.Value:
    return b.sext(b.load(address(b, table, k)), I64)


def _load(b: ir.IRBuilder, p: ir.Value, k: ir.Value | int, kind: ir.Type, element: types.Float) -> ir.Value:
    value = b.load(address(b, p, k, kind))
    value.align = element.bitwidth // 8
    return value


def _store(b: ir.IRBuilder, value: ir.Value, p: ir.Value, k: ir.Value | int, element: types.Float) -> None:
    b.store(value, address(b, p, k, value.type)).align = element.bitwidth // 8


def _fma(b: ir.IRBuilder, x: ir.Value, y: ir.Value, z: ir.Value) -> ir.Value:
    return intrinsic(b, f"llvm.fma.{mangled(x.type)}", x.type, x, y, z)


def _prefetch(b: ir.IRBuilder, p: ir.Value) -> None:
    """Emit a request for a cache line, into L2."""
    flags = [ir.Constant(I32, flag) for flag in (0, 2, 1)]  # to be read, kept in L2, data
    intrinsic(b, "llvm.prefetch.p0", ir.VoidType(), b.bitcast(p, ir.IntType(8).as_pointer()), *flags)


def _call_through(b, sig, function, *args):
    kind = ir.FunctionType(ir.VoidType(), [v.type for v in args])
    b.call(b.inttoptr(function, kind.as_pointer()), args)


_SHAPES: dict[int, tuple[int, int]] = {}  # of compiled tiles, by their address: for the twins


def _dot_kinds(real: types.Float) -> tuple:
    reals, table = Pointer(real), Pointer(types.int32)
    return reals, table, reals, table, reals, reals, reals


def _dot_types(depth, *args):
    return (types.void, depth, *_dot_kinds(depth.real)) if isinstance(depth, Shape) and len(args) == 7 else None


def _emit_dots(b, sig, depth, a, a_rows, source, b_rows, c, next_a, next_b):
    shape: Shape = sig.args[0]
    rows, columns, real, vector = shape.rows, shape.columns, shape.real, shape.vector

    def add(k, sums):
        place = b.mul(k, I64(vector.count))
        for p in (next_a, next_b):
            _prefetch(b, address(b, p, place))
        lines = [_load(b, p, place, vector, real) for p in b_places]
        products = []
        for p, row in zip(a_places, sums, strict=True):
            line = _load(b, p, place, vector, real)
            products.append([_fma(b, line, other, value) for other, value in zip(lines, row, strict=True)])
        return products

    a_places = [address(b, a, _entry(b, a_rows, i)) for i in range(rows)]
    b_places = [address(b, source, _entry(b, b_rows, j)) for j in range(columns)]
    places = [[(i * columns + j) * vector.count for j in range(columns)] for i in range(rows)]
    first = [[_load(b, c, place, vector, real) for place in row] for row in places]
    for row, values in zip(places, emit_sums(b, depth, first, add, unrolled=1), strict=True):
        for place, value in zip(row, values, strict=True):
            _store(b, value, c, place, real)


@primitive(_dot_types, _emit_dots)
def add_dots(depth, a, a_rows, b, b_rows, c, next_a, next_b) -> None:
    """Compute a dot tile. `call_dot_tile` has its twin."""
    raise NotImplementedError("the shape of a tile is a type: compiled code only")


def register_dot_tile(depth, a, a_rows, b, b_rows, c, next_a, next_b):
    """Hold the code of one dot tile: compiled once for each shape."""
    add_dots(depth, a, a_rows, b, b_rows, c, next_a, next_b)


@cache
def dot_tile(dtype: np.dtype, rows: int, columns: int) -> int:
    """Address of the compiled dot tile, which `call_dot_tile` calls.

    Parameters
    ----------
    dtype : dtype
        float32 or float64.
    rows, columns : int
        Rows of A and of B: together at most `MOST_DOT_POINTERS`, and their sums fit in the registers.
    """
    real = REALS[np.dtype(dtype)]
    compiled = jit.entry(register_dot_tile, signature(types.void, Shape(real, rows, columns), *_dot_kinds(real)))
    _SHAPES[compiled.address] = rows, columns
    return compiled.address


def _call_dot_types(function, depth, a, *rest):
    fits = isinstance(a, Pointer) and len(rest) == 6
    return (types.void, types.int64, types.int64, *_dot_kinds(a.element)) if fits else None


@primitive(_call_dot_types, _call_through)
def call_dot_tile(
    function: int,
    depth: int,
    a: TwinPointer,
    a_rows: TwinPointer,
    b: TwinPointer,
    b_rows: TwinPointer,
    c: TwinPointer,
    next_a: TwinPointer,
    next_b: TwinPointer,
) -> None:
    """Call a dot tile by its address; meanwhile as many vectors from `next_a` and `next_b` on are fetched."""
    rows, columns = _SHAPES[function]
    n = c.lanes
    for i in range(rows):
        for j in range(columns):
            total = c.view((i * columns + j) * n, n)
            for k in range(depth):
                total += a.view(a_rows[i] + k * n, n) * b.view(b_rows[j] + k * n, n)
