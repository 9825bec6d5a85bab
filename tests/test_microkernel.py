"""The register tile against its twin, and against NumPy."""

import numpy as np
import pytest

from fastconv import runtime
from fastconv.cpu import microkernel
from fastconv.cpu.loop import Program, kernel
from fastconv.cpu.twin import TwinPointer

SHAPES = [(1, 1, 1, 1), (3, 1, 1, 1), (5, 2, 5, 1), (6, 2, 3, 2), (4, 2, 2, 5), (4, 3, 4, 1), (12, 1, 4, 1)]
every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])


@kernel(
    tile="int", depth="int", repeats="int", a_shift="int", c_shift="int", s_shift="int",
    a="real", a_rows="int32", a_steps="int32", b="real", b_steps="int32",
    c="real", c_rows="int32", s="real", s_rows="int32",
)  # fmt: skip
def call(args, task, slot):
    """Call a tile with the arguments as they are."""
    microkernel.call_tiles(
        args.tile, args.depth, args.repeats, args.a_shift, args.c_shift, args.s_shift,
        args.a, args.a_rows, args.a_steps, args.b, args.b_steps, args.c, args.c_rows, args.s, args.s_rows,
    )  # fmt: skip


class Operands:
    """Random operands of small integers, and random tables that lead into them."""

    def __init__(self, rng, dtype, rows, vectors, run, step, depth, repeats=1):
        self.dtype, self.repeats, self.depth = np.dtype(dtype), repeats, depth
        self.width = vectors * runtime.vector_bytes() // self.dtype.itemsize
        runs = -(-rows // run)
        self.a = rng.integers(-4, 5, 400).astype(dtype)
        self.b = rng.integers(-4, 5, 40 * self.width).astype(dtype)
        self.s = rng.integers(-4, 5, 40 * self.width).astype(dtype)
        self.c = np.full(repeats * rows * self.width, -99, dtype)
        self.a_rows = rng.integers(0, 100, runs).astype(np.int32)
        self.a_steps = rng.integers(-3, 100, depth).astype(np.int32)
        self.a_rows += 3  # a step back stays inside
        self.b_steps = (rng.integers(0, 39, depth) * self.width + rng.integers(0, self.width, depth)).astype(np.int32)
        self.c_rows = (rng.permutation(rows) * self.width).astype(np.int32)
        self.s_rows = (rng.integers(0, 30, rows) * self.width).astype(np.int32)
        self.shifts = 7, rows * self.width, self.width

    def arrays(self):
        return self.a, self.b, self.c, self.s


def expected(operands, rows, run, step):
    """Compute the tile's formula, element by element, in float64."""
    o, c = operands, operands.c.astype(np.float64)
    a_shift, c_shift, s_shift = o.shifts
    for r in range(o.repeats):
        for i in range(rows):
            for j in range(o.width):
                total = float(o.s[o.s_rows[i] + j + r * s_shift])
                for k in range(o.depth):
                    place = o.a_rows[i // run] + i % run * step + o.a_steps[k] + r * a_shift
                    total += float(o.a[place]) * float(o.b[o.b_steps[k] + j])
                c[o.c_rows[i] + j + r * c_shift] = total
    return c


def run_compiled(o, shape):
    program = Program(o.dtype, "a b c s")
    program.add(
        call, 1, tile=microkernel.tile(o.dtype, *shape), depth=o.depth, repeats=o.repeats,
        a_shift=o.shifts[0], c_shift=o.shifts[1], s_shift=o.shifts[2],
        a=program.a, b=program.b, c=program.c, s=program.s,
        **{name: program.table(getattr(o, name)) for name in ("a_rows", "a_steps", "b_steps", "c_rows", "s_rows")},
    )  # fmt: skip
    program(*o.arrays())


@every_dtype
@pytest.mark.parametrize("depth", [1, 3, 4, 5, 8, 17])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_tile_sums_products(rng, dtype, shape, depth):
    if shape[0] > microkernel.most_rows(shape[1]):
        pytest.skip("more sums than this processor has registers")
    operands = Operands(rng, dtype, *shape, depth, repeats=2)
    correct = expected(operands, shape[0], *shape[2:])
    run_compiled(operands, shape)
    np.testing.assert_array_equal(operands.c, correct)


@every_dtype
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_twin_does_what_the_tile_does(rng, dtype, shape):
    if shape[0] > microkernel.most_rows(shape[1]):
        pytest.skip("more sums than this processor has registers")
    operands = Operands(rng, dtype, *shape, depth=6)
    run_compiled(operands, shape)
    compiled = operands.c.copy()
    operands.c.fill(-99)
    order = "a a_rows a_steps b b_steps c c_rows s s_rows".split()
    microkernel.twin(*shape, operands.depth, *(TwinPointer.to(getattr(operands, name)) for name in order))
    np.testing.assert_array_equal(compiled, operands.c)


@every_dtype
def test_largest_tiles_fit_the_registers(rng, dtype):
    for vectors in (1, 2, 3):
        rows = microkernel.most_rows(vectors)
        operands = Operands(rng, dtype, rows, vectors, rows, 1, depth=9)
        correct = expected(operands, rows, rows, 1)
        run_compiled(operands, (rows, vectors, rows, 1))
        np.testing.assert_array_equal(operands.c, correct)


def test_nan_and_infinity_pass_through_the_tile(rng):
    shape = (4, 1, 1, 1)
    operands = Operands(rng, np.float32, *shape, depth=3)
    operands.a[operands.a_rows[1] + operands.a_steps[0]] = np.nan
    operands.b[operands.b_steps[2]] = np.inf
    with np.errstate(invalid="ignore"):
        correct = expected(operands, 4, 1, 1).astype(np.float32)
    run_compiled(operands, shape)
    np.testing.assert_array_equal(operands.c, correct)
