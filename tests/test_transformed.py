"""Winograd's algorithm: its error, where NaN and Inf go, and that maps are what their twins are."""

import numpy as np
import pytest

import fastconv
from fastconv import ops, runtime
from fastconv.cpu import choose
from fastconv.cpu.loop import Program, kernel
from fastconv.cpu.points import toom_cook, winograd
from fastconv.cpu.transform import Map, Recipe, call_map, compile_map, from_matrix, twin
from fastconv.cpu.twin import TwinPointer
from fastconv.geometry import ConvGeometry

FAMILIES = [(4, 3), (2, 3), (3, 4)]
CASES = {  # x, output channels, padding, groups
    "one_tile": ((1, 1, 3, 3), 1, 1, 1),
    "ragged": ((2, 3, 7, 9), 5, 1, 1),
    "uneven_padding": ((1, 20, 13, 15), 37, ((0, 2), (1, 3)), 1),
    "much_padding": ((2, 9, 5, 6), 4, 5, 1),
    "no_padding": ((1, 17, 11, 6), 16, 0, 1),
    "groups": ((2, 40, 9, 30), 24, 1, 2),
    "parts_of_rows": ((1, 5, 6, 130), 33, 1, 1),
    "passes": ((2, 130, 12, 12), 70, 1, 1),
    "many_blocks": ((9, 16, 26, 25), 18, 1, 1),
    "rounds": ((70, 300, 5, 6), 24, 1, 1),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])


def arrays(rng, case, dtype=np.float32):
    shape, out_channels, padding, groups = case
    w_shape = out_channels, shape[1] // groups, 3, 3
    geometry = ConvGeometry.make("test", shape, w_shape, None, 1, padding, 1, groups)
    shapes = shape, w_shape, (out_channels,), geometry.y_shape
    return *(rng.standard_normal(s).astype(dtype) for s in shapes), {"padding": padding, "groups": groups}


def results(x, w, b, dy, options, **how):
    return ops.conv2d(x, w, b, **options, **how), *ops.conv2d_backward(dy, x, w, b, **options, **how)


def errors(actual, exact):
    """L2-relative error, and the largest relative to the largest element."""
    difference = actual - exact
    return np.linalg.norm(difference) / np.linalg.norm(exact), np.abs(difference).max() / np.abs(exact).max()


# ---- maps ------------------------------------------------------------------------------------------------------


@kernel(map="int", repeats="int", x="real", x_rows="int32", x_shift="int", y="real", y_rows="int32", y_shift="int",
        constant="real")  # fmt: skip
def play_once(args, task, slot):
    """Play a map with the arguments as they are."""
    call_map(
        args.map, args.repeats, args.x, args.x_rows, args.x_shift, args.y, args.y_rows, args.y_shift, args.constant
    )


def mixed_map() -> Map:
    recipe = Recipe()
    x, y, more = recipe.load(0), recipe.load(2), recipe.constant()
    recipe.store(1, recipe.subtract(recipe.scale(2.5, x), recipe.add(y, more)))
    recipe.store(0, recipe.subtract(None, y))
    return recipe.map()


def maps() -> dict[str, Map]:
    lines = {(m, r): toom_cook(m, r) for m, r in FAMILIES}
    matrices = {f"F{key} {name}": getattr(line, name) for key, line in lines.items()
                for name in ("to_outputs", "from_taps", "from_inputs")}  # fmt: skip
    transposed = {f"{name} transposed": matrix.T for name, matrix in matrices.items()}
    return {"mixed": mixed_map()} | {name: from_matrix(matrix) for name, matrix in (matrices | transposed).items()}


@every_dtype
@pytest.mark.parametrize("steps", maps().values(), ids=maps())
def test_map_does_what_its_twin_does(rng, dtype, steps):
    n = runtime.vector_bytes() // np.dtype(dtype).itemsize
    rows = {kind: 1 + max(step.first for step in steps if step.kind == kind) for kind in ("load", "store")}
    x, constant = rng.standard_normal(40 * n).astype(dtype), rng.standard_normal(n).astype(dtype)
    x_rows, y_rows = rng.permutation(20)[: rows["load"]] * n, rng.permutation(20)[: rows["store"]] * n + 1
    y, expected = np.zeros((2, 40 * n), dtype)
    program = Program(np.dtype(dtype), "x y c")
    program.add(
        play_once, 1, map=compile_map(np.dtype(dtype), steps), repeats=3, x=program.x, x_rows=program.table(x_rows),
        x_shift=n + 1, y=program.y, y_rows=program.table(y_rows), y_shift=5 * n, constant=program.c,
    )  # fmt: skip
    program(x, y, constant)
    x_table, y_table = x_rows.astype(np.int32), y_rows.astype(np.int32)
    tables = TwinPointer.to(x_table), TwinPointer.to(y_table)
    for k in range(3):
        source, target = TwinPointer.to(x) + k * (n + 1), TwinPointer.to(expected) + k * 5 * n
        twin(steps, source, tables[0], target, tables[1], TwinPointer.to(constant))
    np.testing.assert_allclose(y, expected, rtol=0, atol=20 * np.finfo(dtype).eps)


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_toom_cook_is_a_convolution(rng, family):
    line = toom_cook(*family)
    x, w = rng.standard_normal(line.size), rng.standard_normal(line.taps)
    y = line.to_outputs @ ((line.from_taps @ w) * (line.from_inputs @ x))
    np.testing.assert_allclose(y, np.correlate(x, w, "valid"), atol=1e-13)


def test_a_map_shares_what_mirrored_points_share():
    """Fourteen products and sums for six points, where a product for each coefficient would make 24."""
    steps = from_matrix(toom_cook(4, 3).from_inputs)
    assert sum(step.kind in ("add", "subtract") for step in steps) == 12
    assert winograd(4, 3).points == 36


def test_a_map_has_no_row_of_zeros():
    with pytest.raises(ValueError, match="row 1 of a map would be zero"):
        from_matrix([[1, 0], [0, 0]])


# ---- results ---------------------------------------------------------------------------------------------------


@every_dtype
@every_case
def test_error_is_small(rng, case, dtype):
    *data, options = arrays(rng, case, dtype)
    exact = results(*(a.astype(np.float64) for a in data), options, algorithm="direct")
    limits = (2.5e-6, 5e-6) if dtype == np.float32 else (1e-14, 1e-14)
    for actual, expected in zip(results(*data, options, algorithm="winograd"), exact, strict=True):
        assert actual.dtype == dtype and actual.shape == expected.shape
        assert all(error <= limit for error, limit in zip(errors(actual, expected), limits, strict=True))


@pytest.mark.parametrize("shape", [(8, 16, 56, 56), (64, 16, 8, 8), (4, 40, 28, 28)])
def test_error_of_the_weights_gradient_is_near_that_of_a_direct_sum(rng, shape):
    x, w, b, dy, options = arrays(rng, (shape, 16, 1, 1))
    exact = ops.conv2d_backward(*(a.astype(np.float64) for a in (dy, x, w)), **options, algorithm="direct")[1]
    dw = ops.conv2d_backward(dy, x, w, **options, algorithm="winograd")[1]
    window = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))[:, :, : shape[2], : shape[3]]  # tap (0, 0)
    products = window[:, :, None] * dy[:, None]
    one_by_one = np.cumsum(np.moveaxis(products, 0, 2).reshape(*products.shape[1:3], -1), axis=-1)[..., -1].T
    direct_error, error = errors(one_by_one, exact[:, :, 0, 0])[0], errors(dw, exact)[0]
    assert error <= 2 * direct_error


@pytest.mark.parametrize("outputs", [4, 2])
def test_error_with_many_channels(rng, outputs, monkeypatch):
    monkeypatch.setattr(choose, "WINOGRAD_OUTPUTS", (outputs,))
    x, w, b, dy, options = arrays(rng, ((1, 512, 8 + outputs, 9), 64, 1, 1))
    for cached in (choose.forward_plan, choose.backward_data_plan, choose.backward_weight_plan):
        cached.cache_clear()
    exact = ops.conv2d(*(a.astype(np.float64) for a in (x, w, b)), **options, algorithm="direct")
    l2, largest = errors(ops.conv2d(x, w, b, **options, algorithm="winograd"), exact)
    choose.forward_plan.cache_clear()
    assert l2 <= 2.5e-6 and largest <= 5e-6


@pytest.mark.parametrize("seed", range(40))
def test_random_geometry(seed):
    rng = np.random.default_rng(seed)
    groups = int(rng.choice([1, 1, 2, 3]))
    ins, outs = (groups * int(rng.integers(1, 50 // groups)) for _ in range(2))
    rows, columns = int(rng.integers(1, 20)), int(rng.integers(1, 70))
    padding = tuple(tuple(int(p) for p in rng.integers(0, 4, 2)) for _ in range(2))
    if rows + sum(padding[0]) < 3 or columns + sum(padding[1]) < 3:
        padding = ((1, 1), (1, 2))
    case = (int(rng.integers(1, 4)), ins, rows, columns), outs, padding, groups
    *data, options = arrays(rng, case)
    exact = results(*(a.astype(np.float64) for a in data), options, algorithm="direct")
    for actual, expected in zip(results(*data, options, algorithm="winograd"), exact, strict=True):
        l2, largest = errors(actual, expected)
        assert l2 <= 2.5e-6 and largest <= 5e-6


@every_case
def test_nan_and_infinity_go_where_direct_sums_send_them(rng, case):
    x, w, b, dy, options = arrays(rng, case)
    spoilt = [a.copy() for a in (x, w, b, dy)]
    for a, count in zip(spoilt, (4, 1, 0, 4), strict=True):
        a.ravel()[rng.integers(0, a.size, count)] = rng.choice([np.nan, np.inf, -np.inf], count)
    for chosen in (spoilt, [spoilt[0], w, b, dy], [x, spoilt[1], b, dy], [x, w, b, spoilt[3]]):
        direct = results(*chosen, options, algorithm="direct")
        for actual, expected in zip(results(*chosen, options, algorithm="winograd"), direct, strict=True):
            np.testing.assert_array_equal(np.isnan(actual), np.isnan(expected))
            np.testing.assert_array_equal(actual[np.isinf(expected)], expected[np.isinf(expected)])
            assert np.array_equal(np.isfinite(actual), np.isfinite(expected))


def test_large_numbers_do_not_overflow_in_between(rng):
    x, w, b, dy, options = arrays(rng, CASES["ragged"])
    x[0, 0, 2, 2], w[:] = 2e38, np.abs(w) / 100
    expected = ops.conv2d(x, w, b, **options, algorithm="direct")
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(ops.conv2d(x, w, b, **options, algorithm="winograd"), expected, rtol=1e-5, atol=1e32)


@pytest.mark.parametrize("name", ["groups", "passes", "many_blocks", "rounds"])
def test_same_bits_at_any_thread_count_and_batch(rng, name, set_num_threads):
    x, w, b, dy, options = arrays(rng, CASES[name])
    bits = set()
    for threads in (1, 2, 3):
        set_num_threads(threads)
        bits.add(b"".join(a.tobytes() for a in results(x, w, b, dy, options, algorithm="winograd")))
    assert len(bits) == 1
    y, dx, *_ = results(x, w, b, dy, options, algorithm="winograd")
    first = results(x[:1], w, b, dy[:1], options, algorithm="winograd")
    np.testing.assert_array_equal(first[0], y[:1])
    np.testing.assert_array_equal(first[1], dx[:1])


def test_results_do_not_depend_on_old_memory(rng):
    *data, options = arrays(rng, CASES["uneven_padding"])
    expected = results(*data, options, algorithm="winograd")
    for _ in range(3):
        blocks = [runtime.empty(part << k, np.uint8) for k in range(6, 23) for part in (2, 3) for _ in range(2)]
        for block in blocks:
            block.fill(255)
        del block, blocks
        for actual, before in zip(results(*data, options, algorithm="winograd"), expected, strict=True):
            np.testing.assert_array_equal(actual, before)


def test_workspace_is_bounded():
    for channels in (64, 512, 1024, 2048):
        geometry = ConvGeometry.make("t", (8, channels, 56, 200), (channels, channels, 3, 3), None, 1, 1)
        dtype = np.dtype(np.float32)
        for plan in (
            choose.forward_plan(geometry, dtype, False, "winograd"),
            choose.backward_data_plan(geometry, dtype, False, "winograd"),
            choose.backward_weight_plan(geometry, dtype, "winograd"),
        ):
            assert plan.nbytes + plan.nbytes_per_worker <= 32 << 20


# ---- choice ----------------------------------------------------------------------------------------------------


def test_strict_precision_is_direct(rng):
    x, w, b, dy, options = arrays(rng, ((1, 64, 28, 28), 64, 1, 1))
    strict = results(x, w, b, dy, options, precision="strict")
    for actual, expected in zip(strict, results(x, w, b, dy, options, algorithm="direct"), strict=True):
        np.testing.assert_array_equal(actual, expected)
    assert not np.array_equal(ops.conv2d(x, w, b, **options), strict[0])


def test_choice_follows_the_geometry():
    def outputs(x, w, dtype=np.float32, **options):
        geometry = ConvGeometry.make("t", x, w, None, 1, 1, 1, options.get("groups", 1))
        program = choose.forward_plan(geometry, np.dtype(dtype), False)
        return any(step.__name__ == "convolve" for step, *_ in program._steps)

    assert outputs((8, 64, 56, 56), (64, 64, 3, 3))
    assert outputs((1, 64, 56, 56), (64, 64, 3, 3))
    assert outputs((8, 512, 7, 7), (512, 512, 3, 3))
    assert not outputs((8, 64, 56, 56), (64, 64, 3, 3), np.float64)
    assert not outputs((8, 3, 56, 56), (64, 3, 3, 3))
    assert not outputs((8, 64, 56, 56), (64, 1, 3, 3), groups=64)


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ({"algorithm": "fast"}, ValueError, "algorithm must be one of .*'winograd'.*, got 'fast'"),
        ({"algorithm": 4}, TypeError, "algorithm must be a string, got 4"),
        ({"precision": "tf32"}, ValueError, "precision must be one of .*'strict'.*, got 'tf32'"),
        ({"algorithm": "winograd", "precision": "strict"}, ValueError, "precision='strict' allows direct sums only"),
        ({"algorithm": "winograd", "stride": 2}, ValueError, "does not fit .* stride and dilation 1, got \\(2, 2\\)"),
        ({"algorithm": "winograd", "dilation": 2}, ValueError, "does not fit .* stride and dilation 1"),
    ],
)
def test_bad_choices(how, error, message):
    x, w = np.ones((1, 2, 9, 9), np.float32), np.ones((3, 2, 3, 3), np.float32)
    with pytest.raises(error, match=message):
        fastconv.conv2d(x, w, **how)
    options = {name: value for name, value in how.items() if name in ("stride", "dilation")}
    dy = fastconv.conv2d(x, w, **options)
    with pytest.raises(error, match=message):
        fastconv.conv2d_backward(dy, x, w, **how)


def test_winograd_refuses_other_kernels():
    with pytest.raises(ValueError, match="needs a kernel of \\(3, 3\\), got \\(5, 3\\)"):
        fastconv.conv2d(np.ones((1, 2, 9, 9)), np.ones((3, 2, 5, 3)), algorithm="winograd")
