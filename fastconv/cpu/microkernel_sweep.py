"""The register tile that sweeps a kernel over an image whose rows follow each other at one pitch.

A tile of neighbouring sums, `rows x vectors`, stays in registers while taps pass by. Which taps is said by a table of
*runs*: neighbouring taps of one kernel row, met through one row of the image. A row of the image that lies in the
windows of several rows of sums is loaded once for all of them; a run says for which, so that sums at the kernel's upper
and lower edge take part in some runs only, and no product is computed in vain:

    Y[r, i] += W[w - (r - first) * w_step + j] * X[x + i + j],    j < taps, first <= r <= last

Products are added to a sum in the order of the kernel's rows and columns. Where sums are *exact*, each product and each
sum is rounded by itself, as it is in code for processors without fused multiplication.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.typing.templates import signature
from numba.extending import models, register_model

from fastconv import jit
from fastconv.cpu.flow import Values, call_through, choose, repeat
from fastconv.cpu.loop import NUMBERS
from fastconv.cpu.simd import (
    ELEMENTS,
    I64,
    Pointer,
    address,
    broadcast,
    intrinsic,
    lanes_of,
    mangled,
    primitive,
)
from fastconv.cpu.twin import TwinPointer

RUN_FIELDS = 4  # case, x, w, taps


@dataclass(frozen=True, slots=True)
class Shape:
    """What a tile is compiled for.

    Attributes
    ----------
    rows, vectors : int
        Rows of sums, and registers of each.
    exact : bool
        Whether products are rounded before they are added.
    fold : int
        1 or -1: taps on both sides of the kernel's centre share a weight, up to this sign, and inputs are added, or
        subtracted, before they are multiplied. Only with one row. 0: each tap has a weight.
    """

    rows: int
    vectors: int
    exact: bool = False
    fold: int = 0

    @property
    def cases(self) -> list[tuple[int, int]]:
        """Rows of sums, first and last, that a run can meet."""
        return [(first, last) for first in range(self.rows) for last in range(first, self.rows)]

    def case(self, first: int, last: int) -> int:
        """Return the number in a run's entry that stands for some rows of sums."""
        return self.cases.index((first, last))

    @property
    def folded(self) -> int:
        """Number in a run's entry for taps on both sides: w and x of the first, taps; x's partner is ``-x``."""
        return len(self.cases)


class Sweep(types.Type):
    """A shape for numbers of one type; it is the type of the first argument of a tile."""

    def __init__(self, number: types.Number, shape: Shape):
        self.number, self.shape = number, shape
        super().__init__(name=f"sweep({number}, {shape})")


@register_model(Sweep)
class _SweepModel(models.PrimitiveModel):
    def __init__(self, manager, fe_type):
        super().__init__(manager, fe_type, I64)


class _Tile:
    """Emits one tile."""

    def __init__(self, b: ir.IRBuilder, sweep: Sweep, x: ir.Value, w: ir.Value, w_step: ir.Value):
        self.b, self.shape, self.x, self.w, self.w_step = b, sweep.shape, x, w, w_step
        self.lanes, self.align = lanes_of(sweep.number), sweep.number.bitwidth // 8
        self.vector = ir.VectorType(ELEMENTS[sweep.number], self.lanes)
        self.real = isinstance(sweep.number, types.Float)

    def line(self, place: ir.Value) -> Values:
        """Load a row of registers."""
        p = address(self.b, self.x, place)
        loads = [self.b.load(address(self.b, p, v * self.lanes, self.vector)) for v in range(self.shape.vectors)]
        for value in loads:
            value.align = self.align
        return loads

    def add(self, total: ir.Value, weight: ir.Value, value: ir.Value) -> ir.Value:
        """Add a product."""
        if not self.real:
            return self.b.add(total, self.b.mul(weight, value))
        if self.shape.exact:
            return self.b.fadd(total, self.b.fmul(weight, value))
        return intrinsic(self.b, f"llvm.fma.{mangled(self.vector)}", self.vector, weight, value, total)

    def weight(self, place: ir.Value) -> ir.Value:
        """Load a weight into all lanes."""
        return broadcast(self.b, self.b.load(address(self.b, self.w, place)), self.lanes)

    def run(self, k: ir.Value, sums: Values, runs: ir.Value) -> Values:
        """Add the products of a run."""
        entry = address(self.b, runs, self.b.mul(k, I64(RUN_FIELDS)))
        case, x, w, taps = (self.b.load(address(self.b, entry, f)) for f in range(RUN_FIELDS))
        bodies = [lambda s, rows=rows: self.pass_by(rows, x, w, taps, s) for rows in self.shape.cases]
        if self.shape.fold:
            bodies.append(lambda s: self.fold(x, w, taps, s))
        return choose(self.b, case, sums, bodies)

    def pass_by(self, rows: tuple[int, int], x: ir.Value, w: ir.Value, taps: ir.Value, sums: Values) -> Values:
        """Let taps pass by the sums of some rows."""
        first, last = rows
        chosen = slice(first * self.shape.vectors, (last + 1) * self.shape.vectors)

        def tap(j, inner):
            line, place, done = self.line(self.b.add(x, j)), self.b.add(w, j), []
            for r in range(last - first + 1):
                weight = self.weight(place)
                row = inner[r * len(line) : (r + 1) * len(line)]
                done += [self.add(total, weight, value) for total, value in zip(row, line, strict=True)]
                place = self.b.sub(place, self.w_step)
            return done

        done = repeat(self.b, I64(0), taps, 1, sums[chosen], tap)
        return [*sums[: chosen.start], *done, *sums[chosen.stop :]]

    def fold(self, x: ir.Value, w: ir.Value, taps: ir.Value, sums: Values) -> Values:
        """Let pairs of taps pass by, from both ends of the kernel to its centre."""
        join = self.b.fadd if self.shape.fold > 0 else self.b.fsub

        def pair(j, inner):
            left, right = self.line(self.b.add(x, j)), self.line(self.b.neg(self.b.add(x, j)))
            weight, pairs = self.weight(self.b.add(w, j)), zip(inner, left, right, strict=True)
            return [self.add(total, weight, join(near, far)) for total, near, far in pairs]

        return repeat(self.b, I64(0), taps, 1, sums, pair)


def _kinds(number: types.Number) -> tuple:
    numbers, i = Pointer(number), types.int64
    return Pointer(i), i, numbers, numbers, i, numbers, i


def _sweep_types(sweep, *args):
    return (types.void, sweep, *_kinds(sweep.number)) if isinstance(sweep, Sweep) and len(args) == 7 else None


def _emit_sweep(b, sig, sweep, runs, count, x, w, w_step, y, y_step):
    shape, tile = sig.args[0].shape, _Tile(b, sig.args[0], x, w, w_step)
    zeros = [ir.Constant(tile.vector, None)] * (shape.rows * shape.vectors)
    sums = repeat(b, I64(0), count, 1, zeros, lambda k, values: tile.run(k, values, runs))
    for r in range(shape.rows):
        row = address(b, y, b.mul(y_step, I64(r)))
        for v in range(shape.vectors):
            place = address(b, row, v * tile.lanes, tile.vector)
            b.store(sums[r * shape.vectors + v], place).align = tile.align


@primitive(_sweep_types, _emit_sweep)
def sweep(shape, runs, count, x, w, w_step, y, y_step) -> None:
    """Compute a tile. `call_sweep` has its twin."""
    raise NotImplementedError("the shape of a tile is a type: compiled code only")


def register_sweep(shape, runs, count, x, w, w_step, y, y_step):
    """Hold the code of one tile: compiled once for each shape."""
    sweep(shape, runs, count, x, w, w_step, y, y_step)


_SHAPES: dict[int, Shape] = {}  # of compiled tiles, by their address: for the twins


@cache
def sweep_tile(dtype: np.dtype, shape: Shape) -> int:
    """Address of the compiled tile, which `call_sweep` calls, for float32, float64, int32 or int64."""
    number = NUMBERS[np.dtype(dtype)]
    compiled = jit.entry(register_sweep, signature(types.void, Sweep(number, shape), *_kinds(number)))
    _SHAPES[compiled.address] = shape
    return compiled.address


def _call_types(function, runs, count, x, *rest):
    fits = isinstance(x, Pointer) and len(rest) == 4
    return (types.void, types.int64, *_kinds(x.element)) if fits else None


@primitive(_call_types, call_through)
def call_sweep(
    function: int,
    runs: TwinPointer,
    count: int,
    x: TwinPointer,
    w: TwinPointer,
    w_step: int,
    y: TwinPointer,
    y_step: int,
) -> None:
    """Call a tile by its address: Y, rows `y_step` apart, from `count` runs."""
    shape = _SHAPES[function]
    n = shape.vectors * y.lanes
    sums = np.zeros((shape.rows, n), y.dtype)
    for k in range(count):
        case, start, weight, taps = (runs[k * RUN_FIELDS + f] for f in range(RUN_FIELDS))
        for j in range(taps):
            line = x.view(start + j, n)
            if case == shape.folded:
                sums[0] += y.dtype.type(w[weight + j]) * (line + shape.fold * x.view(-(start + j), n))
                continue
            first, last = shape.cases[case]
            for r in range(first, last + 1):
                sums[r] += y.dtype.type(w[weight - (r - first) * w_step + j]) * line
    for r in range(shape.rows):
        y.view(r * y_step, n)[:] = sums[r]
