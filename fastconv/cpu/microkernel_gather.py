"""The register tile that gathers the gradient of the weights down a strip of a plane.

It keeps a vector of sums for each weight, and the rows of dy whose windows an input row is in: a row of x is loaded
once for each kernel column, one of dy once. See `strip` for how rows are loaded.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.typing.templates import signature

from fastconv import jit
from fastconv.cpu.axes import Side
from fastconv.cpu.flow import Values, call_through, repeat, when
from fastconv.cpu.loop import REALS
from fastconv.cpu.primitive import I1
from fastconv.cpu.simd import I64, Pointer, address, primitive
from fastconv.cpu.strip import STRIPS, Emitter, Strip, TwinSizes
from fastconv.cpu.twin import TwinPointer


class _Gather(Emitter):
    """Values are the sums of all weights, that of the bias, and the rows of dy that the next row of x meets."""

    def __init__(self, b, strip, sizes, x, dy, sums, bias, count, ahead):
        super().__init__(b, strip, sizes, count, ahead)
        self.x, self.dy, self.taps, self.depth = x, dy, strip.taps, strip.rows.more + 1
        self.places = [*(address(b, sums, tap * self.n) for tap in self.taps), bias]

    def emit(self, row: ir.Value, rows: ir.Value) -> None:
        """Emit the tile: a strip after the other."""
        step, every = self.n // self.strip.blocks, ir.Constant(ir.VectorType(I1, self.n), [1] * self.n)
        first = [self.load(p, I64(0), every, self.zero()) for p in self.places]
        last = repeat(
            self.b, I64(0), self.columns, step, first, lambda column, sums: self.strip_at(column, row, rows, sums)
        )
        for p, value in zip(self.places, last, strict=True):
            self.store(value, p, I64(0), every)

    def strip_at(self, column: ir.Value, row: ir.Value, rows: ir.Value, sums: Values) -> Values:
        """Walk down a strip."""
        self.begin(column)
        sources, count = self.sources(column), len(sums)
        (parts,) = self.vectors(column, 1, self.y_columns, self.y_block)

        def walk(k, values):
            sums, older = values[:count], values[count:-1]
            exists = self.b.icmp_signed("<", k, rows)
            new = when(
                self.b, exists, [sums[-1], self.zero()], lambda v: self.next_line(self.plus(k, row), v[0], parts)
            )
            values = [*sums[:-1], *new, *older]
            place = self.plus(self.plus(k, row), self.first_row)
            return self.each_row(place, values, lambda phase, r, v: self.meet(phase, r, v, sources))

        start = [*sums, *[self.zero()] * self.depth]
        return repeat(self.b, I64(0), self.plus(rows, self.strip.rows.more), 1, start, walk)[:count]

    def next_line(self, row: ir.Value, bias: ir.Value, parts: list) -> Values:
        """Load a row of dy, and add it to the sum of the bias."""
        place, line = self.times(row, self.y_columns), self.zero()
        for offset, mask in parts:
            line = self.load(self.dy, self.plus(place, offset), mask, line)
        self.fetch(self.dy, self.next_y, row, 1, write=0)
        return [self.b.fadd(bias, line), line]

    def meet(self, phase: int, row: ir.Value, values: Values, sources: dict) -> Values:
        """Add the products of a row of x."""
        line, values, lines = self.line(self.x, row, sources), list(values), values[len(self.places) :]
        for tap, place, rest in self.strip.rows.phases[0]:
            for column in self.strip.columns.phases[0] if rest == phase else ():
                k = self.taps.index(tap * self.strip.tap_columns + column[0])
                values[k] = self.fma(lines[place], line[column[1:]], values[k])
        return values


def _gather_kinds(real: types.Float) -> tuple:
    reals, i = Pointer(real), types.int64
    return Pointer(i), reals, reals, reals, reals, i, i, i, i


def _gather_types(strip, *args):
    return (types.void, strip, *_gather_kinds(strip.real)) if isinstance(strip, Strip) and len(args) == 9 else None


def _emit_gather(b, sig, strip, sizes, x, dy, sums, bias, count, row, rows, ahead):
    _Gather(b, sig.args[0], sizes, x, dy, sums, bias, count, ahead).emit(row, rows)


@primitive(_gather_types, _emit_gather)
def gather(strip, sizes, x, dy, sums, bias, count, row, rows, ahead) -> None:
    """Add the products of some rows of `count` planes. `call_gather` has its twin."""
    raise NotImplementedError("what a tile is compiled for is a type: compiled code only")


def register_gather(strip, sizes, x, dy, sums, bias, count, row, rows, ahead):
    """Hold the code of one gather: compiled once for each strip."""
    gather(strip, sizes, x, dy, sums, bias, count, row, rows, ahead)


@cache
def gather_tile(side: Side, dtype: np.dtype, blocks: int) -> int:
    """Address of the compiled gather, which `call_gather` calls; the arguments are those of `slide_tile`."""
    real = REALS[np.dtype(dtype)]
    strip = Strip(real, side, blocks)
    compiled = jit.entry(register_gather, signature(types.void, strip, *_gather_kinds(real)))
    STRIPS[compiled.address] = strip
    return compiled.address


def _call_types(function, sizes, x, *rest):
    fits = isinstance(x, Pointer) and len(rest) == 7
    return (types.void, types.int64, *_gather_kinds(x.element)) if fits else None


@primitive(_call_types, call_through)
def call_gather(
    function: int,
    sizes: TwinPointer,
    x: TwinPointer,
    dy: TwinPointer,
    sums: TwinPointer,
    bias: TwinPointer,
    count: int,
    row: int,
    rows: int,
    ahead: int,
) -> None:
    """Call a gather by its address, for the rows `row` to `row + rows` of dy of `count` planes.

    The sum of a weight is a vector in `sums`, that of dy one in `bias`, with as many lanes for each plane. Meanwhile
    what lies `ahead` planes further on is fetched.
    """
    known, n = TwinSizes(STRIPS[function], sizes), x.lanes
    for block in range(count):
        lane = block * (n // known.strip.blocks)
        plane, gradient = x + block * known.x_block, dy + block * known.y_block
        for i in range(row * known.y_columns, (row + rows) * known.y_columns):
            bias[lane] += gradient[i]
        for i, tap, place in known.meetings(row, rows):
            sums[tap * n + lane] += gradient[i] * plane[place]
