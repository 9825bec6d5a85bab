"""The register tile that slides down a strip of a plane: a convolution, or its gradient with respect to the input.

It keeps the sums of all output rows whose windows an input row is in, so that it loads an input row once for each
kernel column: one vector of a depthwise 3 x 3 convolution takes 3 loads for 9 products. Weights stay in registers as
long as one channel is all that an output meets. See `strip` for how rows are loaded and stored.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.typing.templates import signature

from fastconv import jit
from fastconv.cpu.axes import Side
from fastconv.cpu.finish import emit_finished, finish
from fastconv.cpu.flow import Values, call_through, repeat, when
from fastconv.cpu.loop import REALS
from fastconv.cpu.primitive import broadcast, shuffle
from fastconv.cpu.simd import I64, Pointer, address, primitive
from fastconv.cpu.strip import STRIPS, Emitter, Strip, TwinSizes
from fastconv.cpu.twin import TwinPointer


class _Slide(Emitter):
    """A sum for each phase of output rows, and of columns, and each output row whose window the input row is in."""

    def __init__(self, b, strip, sizes, x, w, bias, y, count, ahead, limits, apart):
        super().__init__(b, strip, sizes, count, ahead)
        self.x, self.w, self.y, self.start, self.apart = x, w, y, self.spread(bias, self.b_block), apart
        self.low, self.high = (broadcast(b, b.load(address(b, limits, k)), self.n) for k in range(2))
        self.depth = strip.rows.more + 1
        self.sums = [(i, j) for i in range(strip.rows.spacing) for j in range(strip.columns.spacing)]

    def emit(self, row: ir.Value, rows: ir.Value) -> None:
        """Emit the tile: a strip after the other."""
        factors = self.weights(self.w) if self.strip.lone else None
        step = self.n // self.strip.blocks
        repeat(self.b, I64(0), self.columns, step, [], lambda column, _: self.strip_at(column, row, rows, factors))

    def strip_at(self, column: ir.Value, row: ir.Value, rows: ir.Value, factors: dict | None) -> Values:
        """Walk down a strip."""
        more, spacing = self.strip.rows.more, self.strip.columns.spacing
        self.begin(column)
        sources = self.sources(column)
        targets = self.vectors(self.times(column, spacing), spacing, self.y_columns, self.y_block)

        def walk(k, sums):
            place = self.plus(self.plus(k, row), self.first_row)
            sums = self.each_row(place, sums, lambda phase, r, inner: self.meet(phase, r, inner, sources, factors))
            done = self.b.icmp_signed(">=", k, I64(more))
            when(self.b, done, [], lambda _: self.write(self.plus(self.plus(k, row), -more), sums, targets))
            return [sums[i - 1] if i % self.depth else self.start for i in range(len(sums))]

        repeat(self.b, I64(0), self.plus(rows, more), 1, [self.start] * (len(self.sums) * self.depth), walk)
        return []

    def meet(self, phase: int, row: ir.Value, sums: Values, sources: dict, factors: dict | None) -> Values:
        """Add the products of an input row."""
        if factors:
            return self.add(phase, self.line(self.x, row, sources), sums, factors)

        def channel(c, inner):
            x = address(self.b, self.x, self.times(self.x_channel, c))
            w = address(self.b, self.w, self.times(self.w_channel, c))
            return self.add(phase, self.line(x, row, sources), inner, self.weights(w))

        return repeat(self.b, I64(0), self.channels, 1, sums, channel)

    def add(self, phase: int, line: dict, sums: Values, factors: dict) -> Values:
        """Add the products of one channel."""
        sums = list(sums)
        for k, (i, j) in enumerate(self.sums):
            for row in self.strip.rows.phases[i]:
                for column in self.strip.columns.phases[j] if row[2] == phase else ():
                    place, tap = k * self.depth + row[1], row[0] * self.strip.tap_columns + column[0]
                    sums[place] = self.fma(factors[tap], line[column[1:]], sums[place])
        return sums

    def write(self, place: ir.Value, sums: Values, targets: list) -> Values:
        """Store the output rows at a place, where the columns' phases meet."""
        spacing, wide = self.strip.rows.spacing, self.strip.columns.spacing
        for i in range(spacing):
            row = self.plus(self.times(place, spacing), i)
            done = [sums[(i * wide + j) * self.depth + self.depth - 1] for j in range(wide)]
            exists = self.b.icmp_signed("<", row, self.y_rows)
            when(self.b, exists, [], lambda _, r=row, d=done: self.store_row(r, d, targets))
        return []

    def store_row(self, row: ir.Value, done: Values, targets: list) -> Values:
        """Store an output row."""
        place = self.times(row, self.y_columns)
        joined = [k * self.n + lane for lane in range(self.n) for k in range(len(done))]
        for v, parts in enumerate(targets):
            value = shuffle(self.b, done[0], done[-1], joined[v * self.n : (v + 1) * self.n])
            for offset, mask in parts:
                here = self.plus(place, offset)
                self.store(self.finished(value, here, mask) if self.strip.ends else value, self.y, here, mask)
        self.fetch(self.y, self.next_y, row, len(targets), write=1)
        return []

    def finished(self, value: ir.Value, place: ir.Value, mask: ir.Value) -> ir.Value:
        """Emit the epilogue of a vector that goes to a place in y."""

        def addend(_: int) -> ir.Value:
            return self.load(self.y, self.plus(place, self.apart), mask, self.zero())

        return emit_finished(self.b, [value], addend, self.low, self.high, self.apart)[0]


def _slide_kinds(real: types.Float) -> tuple:
    reals, i = Pointer(real), types.int64
    return Pointer(i), reals, reals, reals, reals, i, i, i, i, reals, i


def _slide_types(strip, *args):
    return (types.void, strip, *_slide_kinds(strip.real)) if isinstance(strip, Strip) and len(args) == 11 else None


def _emit_slide(b, sig, strip, sizes, x, w, bias, y, count, row, rows, ahead, limits, apart):
    _Slide(b, sig.args[0], sizes, x, w, bias, y, count, ahead, limits, apart).emit(row, rows)


@primitive(_slide_types, _emit_slide)
def slide(strip, sizes, x, w, b, y, count, row, rows, ahead, limits, apart) -> None:
    """Compute some rows of `count` planes. `call_slide` has its twin."""
    raise NotImplementedError("what a tile is compiled for is a type: compiled code only")


def register_slide(strip, sizes, x, w, b, y, count, row, rows, ahead, limits, apart):
    """Hold the code of one slide: compiled once for each strip."""
    slide(strip, sizes, x, w, b, y, count, row, rows, ahead, limits, apart)


@cache
def slide_tile(side: Side, dtype: np.dtype, blocks: int, ends: bool) -> int:
    """Address of the compiled slide, which `call_slide` calls.

    Parameters
    ----------
    side : Side
        The convolution or its gradient.
    dtype : dtype
        float32 or float64.
    blocks : int
        Planes that share a vector.
    ends : bool
        Whether an epilogue follows the sums.
    """
    real = REALS[np.dtype(dtype)]
    strip = Strip(real, side, blocks, ends)
    compiled = jit.entry(register_slide, signature(types.void, strip, *_slide_kinds(real)))
    STRIPS[compiled.address] = strip
    return compiled.address


def _call_types(function, sizes, x, *rest):
    fits = isinstance(x, Pointer) and len(rest) == 9
    return (types.void, types.int64, *_slide_kinds(x.element)) if fits else None


@primitive(_call_types, call_through)
def call_slide(
    function: int,
    sizes: TwinPointer,
    x: TwinPointer,
    w: TwinPointer,
    b: TwinPointer,
    y: TwinPointer,
    count: int,
    row: int,
    rows: int,
    ahead: int,
    limits: TwinPointer,
    apart: int,
) -> None:
    """Call a slide by its address, for the places `row` to `row + rows` of `count` planes.

    Meanwhile what lies `ahead` planes further on, in x and in y, is fetched. `limits` and `apart` are those of the
    epilogue.
    """
    known = TwinSizes(STRIPS[function], sizes)
    spacing = known.strip.rows.spacing
    meetings = known.meetings(row, rows)
    first, last = row * spacing * known.y_columns, min((row + rows) * spacing, known.y_rows) * known.y_columns
    for block in range(count):
        plane, weights, target = x + block * known.x_block, w + block * known.w_block, y + block * known.y_block
        for i in range(first, last):
            target[i] = b[block * known.b_block]
        for c in range(known.channels):
            for i, tap, place in meetings:
                target[i] += weights[c * known.w_channel + tap] * plane[c * known.x_channel + place]
        for i in range(first, last):
            target[i] = finish(target.read(i, None, 0, 1), target, i, np.ones(1, bool), limits[0], limits[1], apart)[0]
