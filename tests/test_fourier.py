"""Circular tiles: that their transforms are convolutions, their error, and where NaN and Inf go."""

import numpy as np
import pytest
from scipy.signal import correlate

import fastconv
from fastconv import ops, runtime
from fastconv.cpu import choose
from fastconv.cpu.fourier import fourier, invert, points_of, transform
from fastconv.cpu.points import Passage
from fastconv.cpu.transform import Map, Recipe
from fastconv.geometry import ConvGeometry

CASES = {  # x, w, padding, groups
    "one_output": ((1, 9, 5, 7), (8, 9, 5, 7), 0, 1),
    "ragged": ((2, 10, 13, 27), (21, 10, 5, 5), 2, 1),
    "uneven_padding": ((1, 20, 18, 15), (37, 20, 7, 6), ((0, 5), (3, 1)), 1),
    "wraps": ((2, 17, 6, 5), (33, 17, 7, 7), 6, 1),
    "much_padding": ((1, 9, 5, 6), (9, 9, 5, 3), 8, 1),
    "groups": ((2, 40, 20, 31), (24, 20, 5, 5), 2, 2),
    "many_blocks": ((9, 16, 40, 41), (18, 16, 5, 5), 1, 1),
    "rounds": ((40, 64, 26, 60), (24, 64, 5, 5), 2, 1),
    "chunks": ((1, 200, 12, 12), (100, 200, 7, 7), 3, 1),
    "row": ((2, 20, 1, 500), (33, 20, 1, 9), (0, 4), 1),
    "rows": ((2, 9, 7, 70), (12, 9, 1, 25), (0, 12), 1),
    "column": ((2, 18, 33, 9), (20, 18, 11, 1), (5, 0), 1),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
# Largest errors, L2-relative and relative to the largest element; the last, of db, is that of a long plain sum.
LIMITS = {np.float32: (4e-7, 4e-7, 4e-7, 3e-6), np.float64: (5e-15, 5e-15, 5e-15, 3e-14)}


def arrays(rng, case, dtype=np.float32):
    x_shape, w_shape, padding, groups = case
    geometry = ConvGeometry.make("test", x_shape, w_shape, None, 1, padding, 1, groups)
    shapes = x_shape, w_shape, w_shape[:1], geometry.y_shape
    return *(rng.standard_normal(s).astype(dtype) for s in shapes), {"padding": padding, "groups": groups}


def results(x, w, b, dy, options, algorithm="fft"):
    options = options | {"algorithm": algorithm}
    return ops.conv2d(x, w, b, **options), *ops.conv2d_backward(dy, x, w, b, **options)


def assert_near(data, options, algorithm="fft"):
    exact = results(*(a.astype(np.float64) for a in data), options, "direct")
    limits = LIMITS[data[0].dtype.type]
    for actual, expected, limit in zip(results(*data, options, algorithm), exact, limits, strict=True):
        assert actual.dtype == data[0].dtype and actual.shape == expected.shape
        difference = actual - expected
        assert np.linalg.norm(difference) <= limit * np.linalg.norm(expected)
        assert np.abs(difference).max() <= 2 * limit * np.abs(expected).max()


# ---- transforms ------------------------------------------------------------------------------------------------


def play(steps: Map, source: dict) -> dict:
    """Play a map on numbers."""
    values, target = [], {}
    for kind, first, second in steps:
        value = None
        if kind == "load":
            value = source[first]
        elif kind == "constant":
            value = 0.0
        elif kind == "store":
            target[first] = values[second]
        elif kind == "scale":
            value = first * values[second]
        else:
            value = values[first] + (values[second] if kind == "add" else -values[second])
        values.append(value)
    return target


def to_points(passage: Passage, tile, points):
    columns = [play(passage.down, dict(enumerate(column))) for column in tile.T]
    found = np.full(points, np.nan)
    for crossing in passage.across:
        row = play(crossing.map, {k: columns[j][i] for k, (i, j) in enumerate(crossing.places)})
        found[[crossing.points[k] for k in row]] = list(row.values())
    return found


def from_points(passage: Passage, points):
    rows = np.full((passage.rows, passage.wide), np.nan)
    for crossing in passage.across:
        for k, value in play(crossing.map, {k: points[q] for k, q in enumerate(crossing.points)}).items():
            rows[crossing.places[k]] = value
    columns = [play(passage.down, dict(enumerate(column))) for column in rows.T]
    return np.array([[column[i] for column in columns] for i in range(passage.tall)])


@pytest.mark.parametrize("n", [*range(1, 16), 22, 32, 48])
def test_real_transform_and_its_inverse(rng, n):
    recipe = Recipe()
    spectrum = transform(recipe, [recipe.load(j) for j in range(n)])
    parts = [part for z in spectrum for part in z]
    again = invert(recipe, spectrum, n)
    for i, value in enumerate((*parts, *again)):
        if value is not None:
            recipe.store(i, value)
    x = rng.standard_normal(n)
    found = play(recipe.map(), dict(enumerate(x)))
    expected = np.fft.rfft(x)
    actual = [complex(found.get(2 * k, 0), found.get(2 * k + 1, 0)) for k in range(n // 2 + 1)]
    np.testing.assert_allclose(actual, expected, atol=1e-13 * n)
    np.testing.assert_allclose([found[len(parts) + j] for j in range(n)], n * x, atol=1e-13 * n)


@pytest.mark.parametrize(
    ("size", "outputs", "taps"),
    [
        ((16, 16), (10, 10), (7, 7)),
        ((12, 14), (8, 10), (5, 5)),
        ((22, 6), (16, 4), (7, 3)),
        ((1, 32), (1, 24), (1, 9)),
        ((20, 1), (14, 1), (7, 1)),
        ((8, 8), (2, 2), (7, 7)),
    ],
)
def test_products_of_a_tile_are_a_convolution_and_its_gradient(rng, size, outputs, taps):
    family = fourier(size, outputs, taps)
    x, w, dy = (rng.standard_normal(s) for s in (size, taps, outputs))
    points = to_points(family.inputs, x, family.points)
    y = from_points(family.outputs, points * to_points(family.taps, w, family.points))
    np.testing.assert_allclose(y, correlate(x, w, "valid")[: outputs[0], : outputs[1]], atol=1e-13)
    dw = from_points(family.sums, points * to_points(family.gradients, dy, family.points))
    np.testing.assert_allclose(dw, correlate(x, dy, "valid")[: taps[0], : taps[1]], atol=1e-13)


def test_points_are_three_for_a_complex_frequency():
    assert points_of((16, 16)) == 382
    assert points_of((1, 32)) == 2 + 3 * 15


# ---- results ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@every_case
def test_error_is_small(rng, case, dtype):
    *data, options = arrays(rng, case, dtype)
    assert_near(data, options)


@pytest.mark.parametrize("case", [CASES["chunks"], CASES["many_blocks"], CASES["row"]], ids=str)
def test_results_are_more_accurate_than_sums_one_by_one(rng, case):
    x, w, b, _, options = arrays(rng, case)
    exact = ops.conv2d(*(a.astype(np.float64) for a in (x, w, b)), **options, algorithm="direct")
    error = {name: np.linalg.norm(ops.conv2d(x, w, b, **options, algorithm=name) - exact) for name in ("fft", "direct")}
    assert error["fft"] <= 1.1 * error["direct"]


@pytest.mark.parametrize("seed", range(24))
def test_random_geometry(seed):
    rng = np.random.default_rng(seed)
    groups = int(rng.choice([1, 1, 2, 3]))
    ins, outs = (groups * int(rng.integers(1, 50 // groups)) for _ in range(2))
    kernels = [(5, 5), (7, 7), (7, 5), (6, 3), (1, 9), (1, 15), (7, 1)]
    kernel = kernels[rng.integers(len(kernels))]
    padding = tuple(tuple(int(p) for p in rng.integers(0, k + 2 if k > 1 else 1, 2)) for k in kernel)
    size = [
        max(1, k - sum(p), int(rng.integers(1, 40 if min(kernel) > 1 else 150)))
        for k, p in zip(kernel, padding, strict=True)
    ]
    case = (int(rng.integers(1, 4)), ins, *size), (outs, ins // groups, *kernel), padding, groups
    *data, options = arrays(rng, case)
    assert_near(data, options)


@pytest.mark.parametrize("rest", [{"dilation": 1}, {"groups": 3}])
def test_signals_take_rows(rng, rest):
    x, w = rng.standard_normal((2, 24, 300), np.float32), rng.standard_normal((24, 24 // rest.get("groups", 1), 11))
    w = w.astype(np.float32)
    exact = ops.conv1d(x.astype(float), w.astype(float), padding=5, algorithm="direct", **rest)
    y = ops.conv1d(x, w, padding=5, algorithm="fft", **rest)
    assert np.abs(y - exact).max() <= 2e-6 * np.abs(exact).max()


@every_case
def test_nan_and_infinity_go_where_direct_sums_send_them(rng, case):
    x, w, b, dy, options = arrays(rng, case)
    if x.size > 1 << 20:
        x, dy = x[:1], dy[:1]
    spoilt = [a.copy() for a in (x, w, b, dy)]
    for a, count in zip(spoilt, (4, 1, 0, 4), strict=True):
        a.ravel()[rng.integers(0, a.size, count)] = rng.choice([np.nan, np.inf, -np.inf], count)
    for chosen in ([spoilt[0], w, b, dy], [x, w, b, spoilt[3]], [x, spoilt[1], b, dy]):
        direct = results(*chosen, options, "direct")
        for actual, expected in zip(results(*chosen, options), direct, strict=True):
            np.testing.assert_array_equal(np.isnan(actual), np.isnan(expected))
            np.testing.assert_array_equal(actual[np.isinf(expected)], expected[np.isinf(expected)])
            assert np.array_equal(np.isfinite(actual), np.isfinite(expected))


@pytest.mark.parametrize("name", ["groups", "many_blocks", "rounds", "row", "column"])
def test_same_bits_at_any_thread_count_and_batch(rng, name, set_num_threads):
    x, w, b, dy, options = arrays(rng, CASES[name])
    bits = set()
    for threads in (1, 2, 3):
        set_num_threads(threads)
        bits.add(b"".join(a.tobytes() for a in results(x, w, b, dy, options)))
    assert len(bits) == 1
    y, dx, *_ = results(x, w, b, dy, options)
    first = results(x[:1], w, b, dy[:1], options)
    np.testing.assert_array_equal(first[0], y[:1])
    np.testing.assert_array_equal(first[1], dx[:1])


def test_results_do_not_depend_on_old_memory(rng):
    *data, options = arrays(rng, CASES["uneven_padding"])
    expected = results(*data, options)
    for _ in range(3):
        blocks = [runtime.empty(part << k, np.uint8) for k in range(6, 23) for part in (2, 3) for _ in range(2)]
        for block in blocks:
            block.fill(255)
        del block, blocks
        for actual, before in zip(results(*data, options), expected, strict=True):
            np.testing.assert_array_equal(actual, before)


def test_an_ending_is_done_as_results_are_written(rng):
    x, w, b, dy, options = arrays(rng, CASES["ragged"])
    residual = rng.standard_normal(dy.shape).astype(np.float32)
    y = ops.conv2d(x, w, b, residual=residual, relu=True, algorithm="fft", **options)
    expected = np.maximum(ops.conv2d(x, w, b, algorithm="fft", **options) + residual, 0)
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kernel", [(5, 5), (9, 9), (1, 9), (15, 1)])
@pytest.mark.parametrize("channels", [16, 96, 256, 600])
def test_workspace_is_bounded(channels, kernel):
    geometry = ConvGeometry.make("t", (8, channels, 56, 200), (channels, channels, *kernel), None, 1, "same", 1, 1)
    if choose.why_not_fourier(geometry):
        assert channels > 256
        return
    about = geometry, np.dtype(np.float32)
    for plan in (
        choose.forward_plan(*about, False, "fft"),
        choose.backward_data_plan(*about, False, "fft"),
        choose.backward_weight_plan(*about, "fft"),
    ):
        assert plan.nbytes + plan.nbytes_packed + plan.nbytes_per_worker <= 32 << 20


# ---- choice ----------------------------------------------------------------------------------------------------


def test_strict_precision_is_direct(rng):
    x, w, b, _, options = arrays(rng, ((1, 64, 28, 28), (64, 64, 5, 5), 2, 1))
    strict = ops.conv2d(x, w, b, **options, precision="strict")
    np.testing.assert_array_equal(strict, ops.conv2d(x, w, b, **options, algorithm="direct"))
    np.testing.assert_array_equal(ops.conv2d(x, w, b, **options), ops.conv2d(x, w, b, **options, algorithm="fft"))
    assert not np.array_equal(strict, ops.conv2d(x, w, b, **options))


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_an_image_has_the_same_tiles_in_every_batch(batch):
    for channels, size, kernel in ((16, 14, (5, 5)), (64, 28, (7, 7)), (32, 100, (1, 9)), (256, 14, (5, 5))):
        one, many = (
            ConvGeometry.make("t", (n, channels, size, size), (channels, channels, *kernel), None, padding="same")
            for n in (1, batch)
        )
        for kind in ("forward", "backward_data"):
            names = {choose.chosen(choose.candidates(kind, g, np.dtype(np.float32))).name for g in (one, many)}
            assert len(names) == 1


@pytest.mark.parametrize(
    ("kernel", "how", "message"),
    [
        ((5, 5), {"stride": 2}, "does not fit .* stride and dilation 1, got \\(2, 2\\)"),
        ((5, 5), {"dilation": 2}, "does not fit .* stride and dilation 1"),
        ((3, 3), {}, "needs a kernel of 5 to 31 taps along an axis, got \\(3, 3\\)"),
        ((5, 5), {"precision": "strict"}, "precision='strict' allows direct sums only"),
    ],
)
def test_bad_choices(kernel, how, message):
    x, w = np.ones((1, 2, 19, 19), np.float32), np.ones((3, 2, *kernel), np.float32)
    with pytest.raises(ValueError, match=message):
        fastconv.conv2d(x, w, algorithm="fft", **how)
    options = {name: value for name, value in how.items() if name in ("stride", "dilation")}
    dy = fastconv.conv2d(x, w, **options)
    with pytest.raises(ValueError, match=message):
        fastconv.conv2d_backward(dy, x, w, algorithm="fft", **how)
