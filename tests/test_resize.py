"""Pooling along one and three axes, LP and adaptive pooling, unpooling and resampling, beside the specification."""

import numpy as np
import pytest

from fastconv import ops, reference
from fastconv.testing import CASES, distinct_numbers, exact_integers, gradcheck

DTYPES = [np.float32, np.float64]
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])
SMALL = [case for case in CASES["windows"] + CASES["resample"] if not case.network]
every_case = pytest.mark.parametrize("case", SMALL, ids=lambda case: f"{case.op}-{case.id}")
MOVES = "max", "nails", "shuffle", "depth", "space"  # ops that move numbers and add some of them: integers stay exact


def run(module, case, x, **more):
    return getattr(module, case.op)(x, **case.options, **more)


def run_backward(module, case, dy, x, **more):
    return getattr(module, f"{case.op}_backward")(dy, x, **case.options, **more)


def is_exact(case):
    nearest = case.op == "interpolate" and "mode" not in case.options
    return nearest or any(word in case.op for word in MOVES)


def assert_close(case, actual, expected, dtype):
    assert actual.dtype == dtype and actual.shape == expected.shape
    few = 0 if is_exact(case) else 64 * np.finfo(dtype).eps
    np.testing.assert_allclose(actual, expected, rtol=few, atol=few * 8)


def specials(rng, shape):
    """Few numbers, so that many are equal, with some NaN and inf; the first third of the rows is -inf."""
    weights = [0.2, 0.3, 0.2, 0.2, 0.05, 0.02, 0.03]
    x = rng.choice([-1.0, 0.0, 1.0, 2.0, -np.inf, np.inf, np.nan], shape, p=weights)
    x[..., : shape[-1] // 3] = -np.inf
    return x


@every_dtype
@every_case
def test_small_integers(case, dtype, rng):
    x = exact_integers(rng, case.x, dtype)
    x = np.abs(x) if "lp_pool" in case.op else x  # else roots of negative numbers
    y = run(ops, case, x)
    assert_close(case, y, run(reference, case, x), dtype)
    dy = exact_integers(rng, y.shape, dtype)
    assert_close(case, run_backward(ops, case, dy, x), run_backward(reference, case, dy, x), dtype)


@every_dtype
@every_case
def test_nan_and_infinity_travel_as_specified(case, dtype, rng):
    for _ in range(3):
        x = specials(rng, case.x).astype(dtype)
        y = run(ops, case, x)
        assert_close(case, y, run(reference, case, x), dtype)
        finite = exact_integers(rng, case.x, dtype) + 5
        dy = specials(rng, y.shape).astype(dtype)
        assert_close(case, run_backward(ops, case, dy, finite), run_backward(reference, case, dy, finite), dtype)


@pytest.mark.parametrize("case", [case for case in SMALL if "max" in case.op], ids=lambda case: f"{case.op}-{case.id}")
def test_indices_and_what_is_saved(case, rng):
    x = specials(rng, case.x)
    y, indices, saved = run(ops, case, x, return_indices=True, return_saved=True)
    expected, expected_indices = run(reference, case, x, return_indices=True)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(indices, expected_indices)
    assert indices.dtype == np.int64
    dy = exact_integers(rng, y.shape, np.float64)
    again = run_backward(ops, case, dy, x, saved=saved)
    np.testing.assert_array_equal(again, run_backward(reference, case, dy, x))


@every_case
def test_gradients(case, rng):
    x = distinct_numbers(rng, case.x) if "max" in case.op else rng.standard_normal(case.x)
    x = np.abs(x) + 0.1 if "lp_pool" in case.op else x
    forward, backward = getattr(ops, case.op), getattr(ops, f"{case.op}_backward")
    if x.size < 700:
        gradcheck(forward, backward, (x,), case.options, rng)


@every_case
def test_layouts(case, rng):
    """The same result for arrays that lie in memory in another way, which stay as they are."""
    x = exact_integers(rng, case.x)
    expected, dy = run(ops, case, x), exact_integers(rng, run(ops, case, x).shape)
    expected_dx = run_backward(ops, case, dy, x)
    frozen = x.copy()
    frozen.flags.writeable = False
    for other in (np.asfortranarray(x), x[::-1][::-1], np.repeat(x, 2, axis=-1)[..., ::2], frozen, x.astype(">f4")):
        before = other.copy()
        np.testing.assert_array_equal(run(ops, case, other), expected)
        np.testing.assert_array_equal(run_backward(ops, case, np.asfortranarray(dy), other), expected_dx)
        np.testing.assert_array_equal(other, before)


@pytest.mark.parametrize(
    "case",
    [case for case in SMALL if case.op != "interpolate" and "nails" not in case.op and case.x[0]],
    ids=lambda case: f"{case.op}-{case.id}",
)
def test_without_a_batch(case, rng):
    x = exact_integers(rng, case.x)
    y = run(ops, case, x)
    np.testing.assert_array_equal(run(ops, case, x[0]), y[0])
    dx = run_backward(ops, case, y, x)
    np.testing.assert_array_equal(run_backward(ops, case, y[0], x[0]), dx[0])
    if "max" in case.op:
        outputs = run(ops, case, x[0], return_indices=True, return_saved=True)
        whole = run(ops, case, x, return_indices=True, return_saved=True)
        for part, array in zip(outputs, whole, strict=True):
            np.testing.assert_array_equal(part, array[0])
        np.testing.assert_array_equal(run_backward(ops, case, y[0], x[0], saved=outputs[-1]), dx[0])


LARGE = {
    "max_pool3d": ((2, 40, 6, 20, 33), {"kernel_size": 3, "stride": 2, "padding": 1}),
    "avg_pool1d": ((8, 64, 700), {"kernel_size": 3}),
    "lp_pool2d": ((2, 64, 30, 33), {"norm_type": 3, "kernel_size": 2}),
    "adaptive_max_pool2d": ((4, 64, 33, 35), {"output_size": 7}),
    "adaptive_avg_pool2d": ((4, 64, 33, 35), {"output_size": 7}),
    "interpolate": ((4, 64, 33, 35), {"scale_factor": 1.7, "mode": "bilinear"}),
    "unpool_bed_of_nails": ((4, 64, 33, 35), {"kernel_size": 2}),
    "pixel_shuffle": ((4, 64, 33, 35), {"upscale_factor": 2}),
    "space_to_depth": ((4, 64, 33, 36), {"block_size": 3}),
}


@pytest.mark.parametrize("op", LARGE)
def test_threads_do_not_show(op, rng, set_num_threads):
    shape, options = LARGE[op]
    x = rng.standard_normal(shape).astype(np.float32)
    results = []
    for threads in (1, 2, 3):
        set_num_threads(threads)
        y = getattr(ops, op)(x, **options)
        results.append((y.tobytes(), getattr(ops, f"{op}_backward")(y, x, **options).tobytes()))
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("seed", range(60))
def test_adaptive_of_random_sizes(seed):
    rng = np.random.default_rng(seed)
    ndim = int(rng.integers(1, 4))
    size, outputs = (tuple(int(n) for n in rng.integers(1, high, ndim)) for high in ((40, 14, 8)[ndim - 1], 12))
    x = specials(rng, (2, 3, *size)).astype(DTYPES[seed % 2])
    name = f"adaptive_max_pool{ndim}d"
    for actual, expected in zip(
        getattr(ops, name)(x, outputs, return_indices=True),
        getattr(reference, name)(x, outputs, return_indices=True),
        strict=True,
    ):
        np.testing.assert_array_equal(actual, expected)
    x = exact_integers(rng, x.shape, x.dtype)
    name = f"adaptive_avg_pool{ndim}d"
    few = 16 * np.finfo(x.dtype).eps
    y = getattr(ops, name)(x, outputs)
    np.testing.assert_allclose(y, getattr(reference, name)(x, outputs), rtol=few, atol=few * 4)
    dx = getattr(ops, f"{name}_backward")(y, x, outputs)
    np.testing.assert_allclose(dx, getattr(reference, f"{name}_backward")(y, x, outputs), rtol=few, atol=few * 64)


@pytest.mark.parametrize("seed", range(60))
def test_interpolation_of_random_sizes(seed):
    rng = np.random.default_rng(seed)
    ndim = int(rng.integers(1, 4))
    size, outputs = (tuple(int(n) for n in rng.integers(1, (60, 20, 8)[ndim - 1], ndim)) for _ in range(2))
    mode = "nearest" if seed % 3 == 0 else ("linear", "bilinear", "trilinear")[ndim - 1]
    options = {"mode": mode, "align_corners": None if mode == "nearest" else bool(rng.integers(2))}
    factors = tuple(float(f) for f in rng.uniform(1 / min(size), 3, ndim))
    options |= {"size": outputs} if seed % 2 else {"scale_factor": factors}
    x = rng.standard_normal((2, 3, *size))
    y = ops.interpolate(x, **options)
    np.testing.assert_allclose(y, reference.interpolate(x, **options), rtol=0, atol=1e-14)
    dy = rng.standard_normal(y.shape)
    dx = ops.interpolate_backward(dy, x, **options)
    np.testing.assert_allclose(dx, reference.interpolate_backward(dy, x, **options), rtol=0, atol=1e-12)


# ---- LP pooling ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm_type", [1, 1.5, 2, 2.5, 3, 4, 70])
def test_exponents(norm_type, rng):
    x = rng.uniform(0.5, 2, (2, 3, 6, 21))
    y, dy = ops.lp_pool2d(x, norm_type, 2), rng.standard_normal((2, 3, 3, 10))
    np.testing.assert_allclose(y, reference.lp_pool2d(x, norm_type, 2), rtol=1e-13)
    expected = reference.lp_pool2d_backward(dy, x, norm_type, 2)
    np.testing.assert_allclose(ops.lp_pool2d_backward(dy, x, norm_type, 2), expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("norm_type", [1.5, 2, 3])
def test_the_gradient_of_a_norm_is_zero_at_zero(norm_type):
    x = np.zeros((1, 1, 2, 4))
    x[..., 3] = 2
    dx = ops.lp_pool2d_backward(np.ones((1, 1, 1, 2)), x, norm_type, 2)
    np.testing.assert_array_equal(dx[0, 0, :, :3], 0)
    assert np.all(dx[..., 3] > 0)


# ---- max unpooling ---------------------------------------------------------------------------------------------

UNPOOLS = {
    "line": ((2, 3, 10), (2,)),
    "plane": ((2, 3, 4, 9), (2, None)),
    "plane_of_odd_size": ((2, 3, 4, 4), (2, None, 0, (9, 8))),
    "overlapping": ((2, 3, 4, 5), (3, 2, 1)),
    "cube": ((1, 2, 3, 4, 2), (2,)),
    "empty_batch": ((0, 2, 3, 4), (2,)),
}


def unpool(module, x, indices, options, dy=None, batch=1):
    name = f"max_unpool{x.ndim - 1 - batch}d"
    if dy is None:
        return getattr(module, name)(x, indices, *options)
    return getattr(module, f"{name}_backward")(dy, x, indices, *options)


@every_dtype
@pytest.mark.parametrize("case", UNPOOLS.values(), ids=UNPOOLS)
def test_unpooling(case, dtype, rng):
    """Indices are drawn, so that many are equal: the last of them counts, forward and backward."""
    shape, options = case
    x = exact_integers(rng, shape, dtype)
    places = int(np.prod(unpool(ops, x, np.zeros(shape, int), options).shape[2:]))
    indices = rng.integers(0, places // 2, shape)
    y = unpool(ops, x, indices, options)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, unpool(reference, x, indices, options))
    dy = exact_integers(rng, y.shape, dtype)
    dx = unpool(ops, x, indices, options, dy)
    np.testing.assert_array_equal(dx, unpool(reference, x, indices, options, dy))
    if shape[0]:
        np.testing.assert_array_equal(unpool(ops, x[0], indices[0], options, batch=0), y[0])
        np.testing.assert_array_equal(unpool(ops, x[0], indices[0].astype(np.int32), options, dy[0], 0), dx[0])


def test_the_gradient_of_unpooling_is_the_derivative(rng):
    x, indices = rng.standard_normal((2, 2, 3, 3)), rng.integers(0, 9, (2, 2, 3, 3))
    gradcheck(ops.max_unpool2d, ops.max_unpool2d_backward, (x, indices), {"kernel_size": 2}, rng)


def test_unpooling_undoes_pooling(rng):
    x = rng.standard_normal((3, 4, 9, 8))
    y, indices = ops.max_pool2d(x, 2, return_indices=True)
    back = ops.max_unpool2d(y, indices, 2, output_size=x.shape)
    np.testing.assert_array_equal(back, np.where(back != 0, x, 0))
    np.testing.assert_array_equal(ops.max_pool2d(np.where(back != 0, back, -9), 2), y)


def test_equal_indices_at_any_number_of_threads(rng, set_num_threads):
    x = rng.standard_normal((4, 32, 20, 20))
    indices = rng.integers(0, 50, x.shape)
    results = []
    for threads in (1, 2, 3):
        set_num_threads(threads)
        y = ops.max_unpool2d(x, indices, 2)
        results.append((y.tobytes(), ops.max_unpool2d_backward(y, x, indices, 2).tobytes()))
    assert results[0] == results[1] == results[2]
    np.testing.assert_array_equal(ops.max_unpool2d(x, indices, 2), reference.max_unpool2d(x, indices, 2))


# ---- what is rearranged ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["DCR", "SPD", "CRD"])
@pytest.mark.parametrize("block", [1, 2, 3])
def test_rearranging_back_gives_what_was_there(mode, block, rng):
    x = rng.standard_normal((2, 3, 6 * block, 5 * block))
    deep = ops.space_to_depth(x, block, mode)
    np.testing.assert_array_equal(ops.depth_to_space(deep, block, mode), x)


def test_the_order_of_spd_convolution():
    """The sub-maps of the paper: rows are counted first."""
    x = np.arange(32.0).reshape(1, 2, 4, 4)
    parts = [x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]]
    np.testing.assert_array_equal(ops.space_to_depth(x, 2, "SPD"), np.concatenate(parts, axis=1))
