"""Every primitive against its twin, in both precisions, lane for lane; and no lane beyond a mask is ever touched."""

import ctypes
import inspect
import mmap
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastconv import jit
from fastconv.cpu import primitive, simd, simd_lanes, simd_math, simd_memory
from fastconv.cpu.loop import Program, kernel
from fastconv.cpu.simd import (
    address_of,
    deinterleave,
    fma,
    head,
    interleave,
    iota,
    lanes,
    largest_lane,
    load,
    load_beside,
    load_strided,
    permute,
    prefetch,
    prefetch_to_write,
    select,
    span,
    splat,
    square_root,
    store,
    store_strided,
    stream,
    sum_lanes,
    transpose,
    transpose_finished,
)
from fastconv.cpu.simd_math import constant, floor, magnitude, nearest, scale_by_power, to_integers, with_sign

DTYPES = [np.dtype(np.float32), np.dtype(np.float64)]
ARRAYS = {"x": "real", "y": "real", "z": "real", "out": "real", "small": "uint8", "mid": "int32", "wide": "int64"}
SIZE = 1024  # elements of each array: a square of 16 x 16 lanes, and room around it
SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 1e-40, -1e-40]


def lanes_of(dtype):
    return primitive.VECTOR_BYTES // dtype.itemsize


# ---- kernels: each stores what its primitives give ---------------------------------------------------------------


@kernel(**ARRAYS, n="int", k="int")
def values(args, task, slot):
    x, y, z, n = load(args.x, 0), load(args.y, 0), load(args.z, 0), lanes(args.x)
    results = (
        x + y, x - y, x * y, x / y, square_root(x), nearest(x), magnitude(x), with_sign(x, y), scale_by_power(x, z),
        constant(x, 1.5, 2.5), splat(args.x, args.y[0]), splat(x, args.y[1]),
        select((x < y) & (y >= z), x, y), select((x <= y) | (x > z), x, y), select(~(x == y), x, z),
        select(x != y, x, z), floor(x),
    )  # fmt: skip
    place = 0
    for result in results:
        store(args.out, place, result)
        place += n


@kernel(**ARRAYS, n="int", k="int")
def fused(args, task, slot):
    x, y, z, n = load(args.x, 0), load(args.y, 0), load(args.z, 0), lanes(args.x)
    store(args.out, 0, fma(x, y, z))
    store(args.out, n, simd_math.exp_tail(with_sign(x, y) * splat(x, 0.01)))
    store(args.out, 2 * n, simd_math.log_tail(magnitude(x) * splat(x, 0.01)))
    store(args.out, 3 * n, simd_math.bell_tail(with_sign(x, y) * splat(x, 0.2)))
    store(
        args.out, 4 * n, simd_math.reciprocal(select(magnitude(y) < splat(y, 1e30), y, splat(y, 3.0)) + splat(y, 99.5))
    )
    positive = select((magnitude(y) > splat(y, 0.1)) & (magnitude(y) < splat(y, 1e9)), magnitude(y), splat(y, 3.0))
    mantissa, exponent = simd_math.split_power(positive)
    store(args.out, 5 * n, mantissa + exponent)
    positive = simd_math.below_top(magnitude(z), splat(z, 50.0)) + splat(z, 0.5)
    store(args.out, 6 * n, simd_math.power(positive, simd_math.below_top(z, splat(z, 2.0))))
    store(args.out, 7 * n, simd_math.bell(z)[0])
    store(args.out, 8 * n, simd_math.log_near(splat(x, 0.25), z))
    store(args.out, 9 * n, simd_math.exp_below_one(splat(z, 0.0) - magnitude(z)))
    r, k = simd_math.reduced(z)
    store(args.out, 10 * n, r + k)
    store(args.out, 11 * n, simd_math.exp_within(z) + simd_math.expm1_within(z))


@kernel(**ARRAYS, n="int", k="int")
def masks(args, task, slot):
    n = lanes(args.x)
    store(args.out, 0, load(args.x, args.k, head(args.x, args.n)))
    store(args.out, n, load(args.x, args.k, head(args.x, args.n), -7.0))
    store(args.out, 2 * n, load(args.x, args.k, span(args.x, args.k, args.n), args.y[0]))
    store(args.out, 3 * n + args.k, load(args.y, 0), head(args.out, args.n))
    store(args.out, 6 * n, load(args.y, 0), span(args.out, args.n - 2, args.n))
    store(args.out, 8 * n, load_strided(args.x, args.k, 3, head(args.x, args.n)))
    store(args.out, 9 * n, load_strided(args.x, 200, -args.k, head(args.x, args.n)))
    store_strided(args.out, 12 * n, 3, load(args.y, 0), span(args.out, 1, args.n))


@kernel(**ARRAYS, n="int", k="int")
def integers(args, task, slot):
    x = args.x
    mask = head(x, args.n)
    small, mid, wide = (
        load_beside(args.small, args.k, x, mask), load_beside(args.mid, 0, x, mask), load_beside(args.wide, 0, x, mask)
    )  # fmt: skip
    counted = iota(x, args.k - 3) + splat(mid, args.n)
    store(args.small, 100, small + mid * counted)
    store(args.mid, 100, small - wide, mask)
    store(args.wide, 100, mid * wide, mask)
    store(args.wide, 200, select(small == counted, small, counted))
    store(args.mid, 200, select(small < counted, mid, counted))
    store(args.mid, 300, to_integers(floor(load(x, 0))))
    store(args.mid, 400, to_integers(load(x, 0) * splat(x, 1e15)))


@kernel(**ARRAYS, n="int", k="int")
def moves(args, task, slot):
    x, y, n, out = load(args.x, 0), load(args.y, 0), lanes(args.x), args.out
    even, odd = deinterleave(x, y)
    low, high = interleave(x, y)
    store(out, 0, even)
    store(out, n, odd)
    store(out, 2 * n, low)
    store(out, 3 * n, high)
    out[4 * n] = sum_lanes(x)
    out[4 * n + 1] = largest_lane(magnitude(load(args.z, 0)))
    out[4 * n + 2] = (args.x + 5)[args.k]
    args.wide[0] = address_of(args.x + args.k) - address_of(args.x)
    args.wide[1] = n
    prefetch(args.x, args.k)
    prefetch_to_write(args.x, args.k)
    stream(out, 5 * n, y)


@kernel(**ARRAYS, n="int", k="int")
def picks(args, task, slot):
    n, places = lanes(args.x), load_beside(args.mid, 0, args.x, head(args.x, lanes(args.x)))
    store(args.out, 0, permute(load(args.x, 0), load(args.y, 0), places))
    store(args.wide, 0, permute(places, load_beside(args.small, 0, args.x, head(args.x, n)), places))


@kernel(**ARRAYS, n="int", k="int")
def squares(args, task, slot):
    n = lanes(args.x)
    read, write = head(args.x, args.k), span(args.x, 1, n)
    transpose(args.x, n + 3, args.n, read, args.out + 5, n + 1, args.k + 2, write)


@kernel(**ARRAYS, n="int", k="int")
def finished_squares(args, task, slot):
    n = lanes(args.x)
    read, write, low, high = head(args.x, args.k), span(args.x, 1, n), splat(args.x, -0.5), splat(args.x, 0.5)
    transpose_finished(args.x, n + 3, args.n, read, args.out + 5, n + 1, args.k + 2, write, low, high, 0)


KERNELS = {step.__name__: step for step in (values, masks, integers, moves, picks, squares, finished_squares)}


def draw(dtype, seed):
    """Arrays for a call, with special values at random places; the target full of a number that stands out."""
    rng = np.random.default_rng(seed)
    arrays = [np.round(rng.standard_normal(SIZE) * 8).astype(dtype) / 4 for _ in range(4)]
    for array in arrays[:2]:
        array[rng.integers(0, SIZE, SIZE // 8)] = rng.choice(SPECIAL, SIZE // 8)
    arrays[2] = np.round(arrays[2])  # exponents
    arrays[3][:] = 77
    aligned = [np.zeros(SIZE + 16, dtype) for _ in arrays]
    aligned = [a[-a.ctypes.data % 64 // dtype.itemsize :][:SIZE] for a in aligned]
    for target, source in zip(aligned, arrays, strict=True):
        target[:] = source
    return [*aligned, *(rng.integers(0, 100, SIZE).astype(t) for t in (np.uint8, np.int32, np.int64))]


def run_both(step, dtype, n, k, seed=0):
    """Return what the compiled kernel and what its twin leave in the arrays."""
    program = Program(dtype, " ".join(ARRAYS))
    program.add(step, 1, **{name: getattr(program, name) for name in ARRAYS}, n=n, k=k)
    compiled, twin = draw(dtype, seed), draw(dtype, seed)
    program(*compiled)
    with np.errstate(all="ignore"):
        program._call_twins(twin)
    return compiled, twin


def assert_equal_twin(name, dtype, n, k):
    compiled, twin = run_both(KERNELS[name], dtype, n, k, seed=n % 50)
    for a, b in zip(compiled, twin, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(np.signbit(a) & ~np.isnan(a), np.signbit(b) & ~np.isnan(b))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", KERNELS)
def test_compiled_equals_twin(name, dtype):
    """NaN, infinities, subnormals and signs of zeros included, for masks of no lane up to more than all."""
    for n in range(-1, lanes_of(dtype) + 3):
        for k in (0, 1, 5):
            assert_equal_twin(name, dtype, n, k)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n", [2**40 + 3, 2**32 - 3, -(2**32) + 3, -(2**40) + 3])
def test_masks_of_lengths_beyond_32_bits(n, dtype):
    assert_equal_twin("masks", dtype, n, 1)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_fused_products_equal_their_twins_but_for_a_rounding(dtype):
    compiled, twin = run_both(fused, dtype, 0, 0)
    np.testing.assert_allclose(compiled[3], twin[3], rtol=8 * np.finfo(dtype).eps)


def test_a_fused_product_is_rounded_once():
    dtype, e = DTYPES[1], 2.0**-30
    program = Program(dtype, " ".join(ARRAYS))
    program.add(fused, 1, **{name: getattr(program, name) for name in ARRAYS}, n=0, k=0)
    arrays = draw(dtype, 0)
    arrays[0][:], arrays[1][:], arrays[2][:] = 1 + e, 1 + e, -1 - 2 * e
    program(*arrays)
    assert arrays[3][0] == e * e


def test_every_primitive_is_tested():
    """Whatever a kernel can import, some kernel of this file calls."""
    text = Path(__file__).read_text()
    for module in (simd_memory, simd_lanes, simd, simd_math):
        functions = (f for f in vars(module).values() if inspect.isfunction(f) and f.__module__ == module.__name__)
        names = {f.__name__ for f in functions} - {"ask_for", "emit_load", "emit_store", "polynomial"}
        untested = {name for name in names if f" {name}(" not in text and f"simd_math.{name}" not in text}
        assert not {name for name in untested if not name.startswith("_")}


# ---- functions of mathematics ------------------------------------------------------------------------------------


def elementwise(function):
    @kernel(x="real", y="real", n="int")
    def run(args, task, slot):
        for i in range(0, args.n, lanes(args.x)):
            store(args.y, i, function(load(args.x, i)))

    return run


def exact_sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def exact_cdf(x):
    """The power series near 0, and Laplace's continued fraction further out; SciPy knows float64 only."""
    x = np.clip(x, -45, 45)
    s, near, term = np.abs(x), np.minimum(np.abs(x), 2), np.minimum(np.abs(x), 2)
    series, fraction, far = near.copy(), np.full_like(x, 20), np.maximum(np.abs(x), 2)
    for k in range(1, 60):
        term = term * near * near / (2 * k + 1)
        series += term
    for k in range(400, 0, -1):
        fraction = far + k / fraction
    density = np.exp(-s * s / 2) / np.sqrt(2 * np.longdouble("3.14159265358979323846"))
    tail = np.where(s < 2, 0.5 - density * series, density / fraction)
    return np.where(x > 0, 1 - tail, tail)


def exact_log(x):
    return np.log(np.where(np.abs(x) < np.finfo(np.float32).tiny, 1, x))


@jit.inline
def expm1_up_to_its_limit(x):
    return simd_math.expm1(simd_math.below_top(x, splat(x, 88.0)))


@jit.inline
def log_of_normal_numbers(x):
    return simd_math.log(select(magnitude(x) < constant(x, 1.2e-38, 1.2e-38), splat(x, 1.0), x))


FUNCTIONS = {
    "exp": (elementwise(simd_math.exp), np.exp, 2),
    "expm1": (elementwise(expm1_up_to_its_limit), lambda x: np.expm1(np.minimum(x, 88)), 2),
    "tanh": (elementwise(simd_math.tanh), np.tanh, 3),
    "sigmoid": (elementwise(simd_math.sigmoid), exact_sigmoid, 3),
    "log": (elementwise(log_of_normal_numbers), exact_log, 2),
    "log1p_exp": (elementwise(simd_math.log1p_exp), lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))), 3),
    "normal_cdf": (elementwise(simd_math.normal_cdf), exact_cdf, 7),
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_accurate(name, dtype, rng):
    """Errors in units in the last place, from subnormal to overflowing results."""
    step, exact, limit = FUNCTIONS[name]
    largest = np.log(np.finfo(dtype).max)
    scales = [1e-3, 1, 10, largest * 1.2]
    x = np.concatenate([rng.uniform(-s, s, 1 << 14) for s in scales] + [np.linspace(0.5, 0.6, 1 << 12)]).astype(dtype)
    x[: len(SPECIAL)] = SPECIAL
    y = np.zeros_like(x)
    program = Program(dtype, "x y")
    program.add(step, 1, x=program.x, y=program.y, n=x.size)
    program(x, y)
    with np.errstate(all="ignore"):
        wide = exact(x.astype(np.longdouble))
        expected = wide.astype(dtype)
        finite = np.isfinite(expected)
        error = np.abs(y[finite] - wide[finite]) / np.spacing(np.abs(expected[finite])).astype(np.longdouble)
    np.testing.assert_array_equal(y[~finite], expected[~finite])
    assert error.max() <= limit


# ---- the end of a page -------------------------------------------------------------------------------------------


@kernel(x="real", y="real", small="uint8", n="int", size="int", write="int")
def at_the_end(args, task, slot):
    """Touch the last n elements of arrays that end where a page ends; nothing behind them may be touched."""
    n, first = args.n, args.size - args.n
    mask = head(args.x, n)
    full = head(args.x, lanes(args.x))
    if args.write == 0:
        total = load(args.x, first, mask) + load_strided(args.x, args.size - 1 - 2 * (n - 1), 2, mask)
        total = total + load(args.x, args.size - lanes(args.x) + n, span(args.x, -n, lanes(args.x) - n))
        where = load_beside(args.small, first, args.x, mask)
        total = select(where == where, total, load(args.x, 0))
        store(args.y, 0, total)
        transpose(args.x + first, -n, 3, mask, args.y, lanes(args.x), lanes(args.x), full)
        transpose(args.x + (first - 2 * n), n, 3, mask, args.y, lanes(args.x), lanes(args.x), full)
    else:
        store(args.x, first, load(args.y, 0), mask)
        store(args.small, first, iota(args.y, 0), mask)
        store_strided(args.x, args.size - 1 - 2 * (n - 1), 2, load(args.y, 0), mask)
        transpose(args.y, lanes(args.x), lanes(args.x), full, args.x + (first - 2 * n), n, 3, mask)


def guarded_bytes():
    """Return the address and size of a page behind which lies one that nobody may touch."""
    page = mmap.PAGESIZE
    memory = mmap.mmap(-1, 2 * page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(start + page), ctypes.c_size_t(page), 0) == 0
    return memory, start, page


def touch_the_end():
    keep, start, page = guarded_bytes()
    other, small_start, _ = guarded_bytes()
    small = np.frombuffer(other, np.uint8, page)
    for dtype in DTYPES:
        size = page // dtype.itemsize
        x, y = np.frombuffer(keep, dtype, size), np.zeros(32 * 32, dtype)
        small_end = small[page - size :]
        for n in range(1, lanes_of(dtype) + 1):
            for write in (0, 1):
                program = Program(dtype, "x y small")
                arguments = {"x": program.x, "y": program.y, "small": program.small, "size": size}
                program.add(at_the_end, 1, **arguments, n=n, write=write)
                program(x, y, small_end)
    print("untouched")


@pytest.mark.skipif(sys.platform == "win32", reason="mprotect")
def test_masked_lanes_do_not_touch_the_next_page():
    """In a process of its own: a wrong access ends it."""
    command = [sys.executable, "-c", "import test_simd; test_simd.touch_the_end()"]
    result = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True)
    assert result.stdout == "untouched\n", (result.returncode, result.stderr)
