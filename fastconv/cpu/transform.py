"""Linear maps of vectors, as lists of operations: what turns tiles into points, and points into tiles.

    target[target_rows[i]] = sum_j matrix[i][j] * source[source_rows[j]]

A map is data: a `Recipe` writes down loads, sums, scalings and stores, by hand or from a matrix, and `compile_map`
plays the list into LLVM, where all values are registers. Every family of points, whatever its size, goes through this
one primitive, and kernels call a map by its address: they are compiled once for all families.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.typing.templates import signature
from numba.extending import models, register_model
from numpy.typing import ArrayLike

from fastconv import jit
from fastconv.cpu.loop import REALS
from fastconv.cpu.simd import ELEMENTS, I64, Pointer, address, lanes_of, primitive
from fastconv.cpu.twin import TwinPointer
from fastconv.jit import FLOAT_FREEDOMS

TINY = 1e-12  # below which a coefficient is a rounded zero


class Step(NamedTuple):
    """One operation of a map; its value has the number of its place in the list.

    ``load i``, ``constant`` (the vector that a call adds), ``add x y``, ``subtract x y``, ``scale c x`` and ``store i
    x``: i is a row, x and y are numbers of values, c is a real.
    """

    kind: str
    first: float
    second: int = 0


Map = tuple[Step, ...]


class Recipe:
    """Writes a map down. Values are numbers of steps; None stands for zero, and costs nothing."""

    def __init__(self):
        self.steps: list[Step] = []

    def _new(self, *step) -> int:
        self.steps.append(Step(*step))
        return len(self.steps) - 1

    def load(self, row: int) -> int:
        """Read a row of the source."""
        return self._new("load", row)

    def constant(self) -> int:
        """Read the vector that is the same in every repetition of a call."""
        return self._new("constant", 0)

    def store(self, row: int, x: int | None) -> None:
        """Write a row of the target."""
        if x is None:
            raise ValueError(f"row {row} of a map would be zero")
        self._new("store", row, x)

    def add(self, x: int | None, y: int | None) -> int | None:
        """Return x + y."""
        if x is None or y is None:
            return y if x is None else x
        return self._new("add", x, y)

    def subtract(self, x: int | None, y: int | None) -> int | None:
        """Return x - y."""
        if y is None:
            return x
        return self.scale(-1.0, y) if x is None else self._new("subtract", x, y)

    def scale(self, c: float, x: int | None) -> int | None:
        """Return c * x."""
        if x is None or abs(c) < TINY:
            return None
        return x if abs(c - 1) < TINY else self._new("scale", float(c), x)

    def dot(self, row: Sequence[float], values: Sequence[int | None]) -> int | None:
        """Return the sum of ``row[j] * values[j]``; terms that need no product come first, the rest are fused."""
        terms = [(float(c), x) for c, x in zip(row, values, strict=True) if x is not None and abs(c) >= TINY]
        total = None
        for c, x in sorted(terms, key=lambda term: (abs(abs(term[0]) - 1) >= TINY, term[0] < 0)):
            if total is None:
                total = self.scale(c, x)
            else:
                product = self.scale(abs(c), x)
                total = self.subtract(total, product) if c < 0 else self.add(total, product)
        return total

    def multiply(self, matrix: ArrayLike, values: Sequence[int | None]) -> list[int | None]:
        """Return matrix * values. What two rows, or two columns, share up to signs is computed once.

        The rows of two points p and -p differ in the signs of odd powers: with e from the even and o from the odd ones
        they are e + o and e - o. In a transposed matrix the same holds for columns.
        """
        matrix = np.asarray(matrix, float)
        if matrix.shape[0] >= matrix.shape[1]:
            return self._multiply_rows(matrix, values)
        columns, sums = [], []
        for j, partner in _mirrored(matrix.T):
            x, column = values[j], matrix[:, j]
            if partner is None:
                columns.append(column)
                sums.append(x)
                continue
            same = np.isclose(column, matrix[:, partner])
            columns += [np.where(same, column, 0), np.where(same, 0, column)]
            sums += [self.add(x, values[partner]), self.subtract(x, values[partner])]
        return [self.dot(row, sums) for row in np.transpose(columns)]

    def _multiply_rows(self, matrix: np.ndarray, values: Sequence[int | None]) -> list[int | None]:
        results: list[int | None] = [None] * len(matrix)
        for i, partner in _mirrored(matrix):
            if partner is None:
                results[i] = self.dot(matrix[i], values)
                continue
            same = np.isclose(matrix[i], matrix[partner])
            even = self.dot(np.where(same, matrix[i], 0), values)
            odd = self.dot(np.where(same, 0, matrix[i]), values)
            results[i], results[partner] = self.add(even, odd), self.subtract(even, odd)
        return results

    def map(self) -> Map:
        """Return what was written down."""
        return tuple(self.steps)


def _mirrored(rows: np.ndarray) -> list[tuple[int, int | None]]:
    """Pairs of rows that differ only in some signs, and the rows that are left, each with None."""
    pairs: list[tuple[int, int | None]] = []
    taken: set[int] = set()
    for i, row in enumerate(rows):
        if i in taken:
            continue
        alike = [
            j
            for j in range(i + 1, len(rows))
            if j not in taken
            and np.allclose(abs(row), abs(rows[j]))
            and not (np.allclose(row, rows[j]) or np.allclose(row, -rows[j]))
        ]
        pairs.append((i, alike[0] if alike else None))
        taken.update(alike[:1])
    return pairs


def from_matrix(matrix: ArrayLike, *, constant: bool = False) -> Map:
    """Return the map of a matrix; with `constant`, a call's vector is added to every row of the result."""
    recipe = Recipe()
    matrix = np.asarray(matrix, float)
    more = recipe.constant() if constant else None
    values = recipe.multiply(matrix, [recipe.load(j) for j in range(matrix.shape[1])])
    for i, x in enumerate(values):
        recipe.store(i, recipe.add(x, more))
    return recipe.map()


# ---- compiled maps ---------------------------------------------------------------------------------------------


class MapType(types.Type):
    """A map, as the type of an argument, so that one function is compiled for every map."""

    def __init__(self, real: types.Float, steps: Map):
        self.real, self.steps = real, steps
        digest = hashlib.sha256(repr([tuple(step) for step in steps]).encode()).hexdigest()[:24]
        super().__init__(name=f"map({real}, {digest})")


@register_model(MapType)
class _MapModel(models.PrimitiveModel):
    def __init__(self, manager, fe_type):
        super().__init__(manager, fe_type, I64)


def _play_types(steps, repeats, source, source_rows, source_shift, target, target_rows, target_shift, constant):
    if not isinstance(steps, MapType):
        return None
    reals, table, i = Pointer(steps.real), Pointer(types.int32), types.int64
    return types.void, steps, i, reals, table, i, reals, table, i, reals


def _emit_play(b, sig, _, repeats, source, source_rows, source_shift, target, target_rows, target_shift, constant):
    steps, real = sig.args[0].steps, sig.args[0].real
    vector = ir.VectorType(ELEMENTS[real], lanes_of(real))

    def row(p, table, i):
        return address(b, p, b.sext(b.load(address(b, table, i)), I64))

    def read(place):
        value = b.load(b.bitcast(place, vector.as_pointer()))
        value.align = real.bitwidth // 8
        return value

    # Addresses of all rows, and the constant, before the loop: stores could change the tables, as far as LLVM knows.
    sources = {s.first: row(source, source_rows, s.first) for s in steps if s.kind == "load"}
    targets = {s.first: row(target, target_rows, s.first) for s in steps if s.kind == "store"}
    added = read(constant) if any(s.kind == "constant" for s in steps) else None
    before, body, after = b.block, b.append_basic_block("repeat"), b.append_basic_block("after")
    b.cbranch(b.icmp_signed("<", I64(0), repeats), body, after)
    b.position_at_end(body)
    k, here, there = b.phi(I64), b.phi(I64), b.phi(I64)
    values: list[ir.Value | None] = []
    for kind, first, second in steps:
        value = None
        if kind == "load":
            value = read(address(b, sources[first], here))
        elif kind == "constant":
            value = added
        elif kind == "store":
            place = b.bitcast(address(b, targets[first], there), vector.as_pointer())
            b.store(values[second], place).align = real.bitwidth // 8
        elif kind == "scale":
            factor = ir.Constant(vector, [ELEMENTS[real](first)] * vector.count)
            value = b.fmul(factor, values[second], flags=FLOAT_FREEDOMS)
        else:
            emit = b.fadd if kind == "add" else b.fsub
            value = emit(values[first], values[second], flags=FLOAT_FREEDOMS)
        values.append(value)
    following = b.add(k, I64(1))
    ends = following, b.add(here, source_shift), b.add(there, target_shift)
    for phi, end in zip((k, here, there), ends, strict=True):
        phi.add_incoming(I64(0), before)
        phi.add_incoming(end, body)
    b.cbranch(b.icmp_signed("<", following, repeats), body, after)
    b.position_at_end(after)


@primitive(_play_types, _emit_play)
def play(steps, repeats, source, source_rows, source_shift, target, target_rows, target_shift, constant) -> None:
    """Play a map, `repeats` times. See `twin` for what it does, in NumPy."""
    raise NotImplementedError("a map is a type: compiled code only, `twin` takes it as an argument")


@cache
def compile_map(dtype: np.dtype, steps: Map) -> int:
    """Address of the compiled map, which `call_map` calls."""
    real = REALS[np.dtype(dtype)]
    reals, table, i = Pointer(real), Pointer(types.int32), types.int64
    compiled = jit.entry(
        play_map, signature(types.void, MapType(real, steps), i, reals, table, i, reals, table, i, reals)
    )
    _MAPS[compiled.address] = steps
    return compiled.address


def play_map(steps, repeats, source, source_rows, source_shift, target, target_rows, target_shift, constant):
    """Hold the code of one map, compiled once for each."""
    play(steps, repeats, source, source_rows, source_shift, target, target_rows, target_shift, constant)


_MAPS: dict[int, Map] = {}


def _call_types(function, repeats, source, source_rows, source_shift, target, target_rows, target_shift, constant):
    if not isinstance(source, Pointer):
        return None
    table, i = Pointer(types.int32), types.int64
    return types.void, i, i, source, table, i, source, table, i, source


def _emit_call(b, sig, function, *args):
    # The map itself is the first argument: a number that nobody reads.
    kind = ir.FunctionType(ir.VoidType(), [I64, *(v.type for v in args)])
    b.call(b.inttoptr(function, kind.as_pointer()), [I64(0), *args])


@primitive(_call_types, _emit_call)
def call_map(function, repeats, source, source_rows, source_shift, target, target_rows, target_shift, constant) -> None:
    """Call a map by its address, `repeats` times, shifting source and target by so many elements in between.

    Source and target must not overlap. `constant` is where the vector lies that a map may add.
    """
    for k in range(repeats):
        here, there = source + k * source_shift, target + k * target_shift
        twin(_MAPS[function], here, source_rows, there, target_rows, constant)


def twin(
    steps: Map,
    source: TwinPointer,
    source_rows: TwinPointer,
    target: TwinPointer,
    target_rows: TwinPointer,
    constant: TwinPointer,
) -> None:
    """Do what the compiled map does, once."""
    values: list = []
    for kind, first, second in steps:
        value = None
        if kind == "load":
            value = source.read(source_rows[first], None, 0)
        elif kind == "constant":
            value = constant.read(0, None, 0)
        elif kind == "store":
            target.write(target_rows[first], values[second], None)
        elif kind == "scale":
            value = source.dtype.type(first) * values[second]
        elif kind == "add":
            value = values[first] + values[second]
        else:
            value = values[first] - values[second]
        values.append(value)
