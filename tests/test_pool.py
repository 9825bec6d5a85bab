"""Pooling: the kernels for particular windows and the one for all others, beside the specification."""

import numpy as np
import pytest

from fastconv import ops, reference
from fastconv.geometry import PoolGeometry

DTYPES = [np.float32, np.float64]

# x, then kernel_size, stride, padding, ceil_mode. Rows of 70 columns take several vectors, the last of them in part.
WINDOWS = {
    "pairs": ((2, 3, 8, 70), 2, 2, 0, False),
    "pairs, odd": ((2, 3, 9, 35), 2, 2, 0, False),
    "pairs, padded": ((2, 3, 9, 36), 2, 2, 1, False),
    "pairs, over the end": ((2, 3, 9, 37), 2, 2, 0, True),
    "pairs of few columns": ((3, 5, 2, 3), 2, 2, 0, False),
    "threes": ((2, 2, 9, 70), 3, 2, 1, False),
    "threes, not padded": ((2, 2, 10, 67), 3, 2, 0, False),
    "threes, over the end": ((2, 2, 8, 68), 3, 2, 0, True),
    "threes, padded and over the end": ((2, 2, 8, 70), 3, 2, 1, True),
    "threes of one row": ((2, 2, 1, 33), 3, 2, 1, False),
    "threes of one element": ((2, 2, 1, 1), 3, 2, 1, False),
    "neighbours": ((2, 2, 7, 70), 3, 1, 1, False),
    "neighbours, not padded": ((2, 2, 7, 66), 3, 1, 0, False),
    "neighbours of one element": ((2, 2, 1, 1), 3, 1, 1, False),
    "neighbours, padded unevenly": ((2, 2, 7, 20), 3, 1, ((1, 0), (1, 1)), False),
    "padded on the left only": ((2, 2, 7, 20), 3, 2, ((0, 0), (1, 0)), False),
    "a large plane": ((1, 1, 140, 260), 3, 2, 1, False),
    "a large plane of pairs": ((1, 1, 150, 240), 2, 2, 0, False),
    "one plane": ((1, 1, 7, 7), 7, 7, 0, False),
    "planes": ((3, 7, 7, 7), 7, 1, 0, False),
    "planes of one vector": ((3, 7, 4, 4), 4, 4, 0, False),
    "planes of few elements": ((3, 7, 1, 3), (1, 3), 1, 0, False),
    "planes of many elements": ((2, 3, 17, 18), (17, 18), 1, 0, False),
    "other steps": ((2, 2, 9, 40), 3, (1, 2), 1, False),
    "other sizes": ((2, 2, 9, 40), (2, 3), 2, 1, False),
    "large": ((1, 2, 12, 40), 5, 3, 2, False),
}
every_window = pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])


def ties_and_specials(rng, shape, dtype):
    """Few numbers, so that many are equal, with some NaN and inf; a part that holds nothing but -inf."""
    x = rng.choice([-1, 0, 1, 2, -np.inf, np.inf, np.nan], shape, p=[0.2, 0.3, 0.2, 0.1, 0.1, 0.05, 0.05]).astype(dtype)
    x[:, :, : shape[2] // 3] = -np.inf
    return x


def check_max(rng, x, options, relu):
    y, saved = ops.max_pool2d(x, **options, relu=relu, return_saved=True)
    np.testing.assert_array_equal(y, reference.max_pool2d(x, **options, relu=relu))
    np.testing.assert_array_equal(y, ops.max_pool2d(x, **options, relu=relu))
    dy = rng.integers(-4, 5, y.shape).astype(x.dtype)
    dx = ops.max_pool2d_backward(dy, x, **options, relu=relu, saved=saved)
    np.testing.assert_array_equal(dx, reference.max_pool2d_backward(dy, x, **options, relu=relu))
    assert y.dtype == dx.dtype == x.dtype
    if not relu:
        indices = ops.max_pool2d(x, **options, return_indices=True)[1]
        np.testing.assert_array_equal(indices, reference.max_pool2d(x, **options, return_indices=True)[1])


def check_avg(rng, x, options):
    few = 16 * np.finfo(x.dtype).eps
    y = ops.avg_pool2d(x, **options)
    np.testing.assert_allclose(y, reference.avg_pool2d(x, **options), rtol=few, atol=few)
    dy = rng.standard_normal(y.shape).astype(x.dtype)
    dx = ops.avg_pool2d_backward(dy, x, **options)
    np.testing.assert_allclose(dx, reference.avg_pool2d_backward(dy, x, **options), rtol=few, atol=few)
    assert y.dtype == dx.dtype == x.dtype


def options_of(window):
    return dict(zip(("kernel_size", "stride", "padding", "ceil_mode"), window[1:], strict=True))


@every_dtype
@pytest.mark.parametrize("relu", [False, True])
@every_window
def test_maxima(window, relu, dtype, rng):
    check_max(rng, ties_and_specials(rng, window[0], dtype), options_of(window), relu)


@every_dtype
@every_window
def test_means(window, dtype, rng):
    x = rng.standard_normal(window[0]).astype(dtype)
    for counting in ({}, {"count_include_pad": False}, {"divisor_override": 7}):
        check_avg(rng, x, options_of(window) | counting)


@every_window
def test_specials_reach_the_means_that_they_are_in(window, rng):
    x = ties_and_specials(rng, window[0], np.float32)
    options = options_of(window)
    np.testing.assert_allclose(ops.avg_pool2d(x, **options), reference.avg_pool2d(x, **options), rtol=1e-5, atol=1e-6)
    dy = ties_and_specials(rng, ops.avg_pool2d(x, **options).shape, np.float32)
    expected = reference.avg_pool2d_backward(dy, x, **options)
    np.testing.assert_allclose(ops.avg_pool2d_backward(dy, x, **options), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("seed", range(60))
def test_random_geometry(seed):
    rng = np.random.default_rng(seed)
    kernel = tuple(map(int, rng.integers(1, 6, 2))) if seed % 3 == 0 else int(rng.integers(2, 4))
    stride = tuple(map(int, rng.integers(1, 5, 2))) if seed % 3 == 0 else int(rng.integers(1, 3))
    extent = np.broadcast_to(kernel, 2)
    padding = tuple(tuple(map(int, rng.integers(0, k // 2 + 1, 2))) for k in extent)
    x = ties_and_specials(rng, (2, 3, *map(int, extent + rng.integers(0, 40, 2))), DTYPES[seed % 2])
    options = {"kernel_size": kernel, "stride": stride, "padding": padding, "ceil_mode": bool(rng.integers(2))}
    check_max(rng, x, options, bool(seed % 4 == 1))
    check_avg(rng, np.nan_to_num(x, posinf=3, neginf=-3), options | {"count_include_pad": bool(rng.integers(2))})


@every_window
def test_threads_do_not_show(window, rng, set_num_threads):
    rows, columns = window[0][2:]
    shape, options = (2, max(4, min(512, 400_000 // (rows * columns))), rows, columns), options_of(window)
    x = rng.standard_normal(shape).astype(np.float32)
    dy = rng.standard_normal(PoolGeometry.make("test", shape, *window[1:4], 1, window[4]).y_shape).astype(np.float32)

    def results():
        y, saved = ops.max_pool2d(x, **options, return_saved=True)
        arrays = y, saved, ops.max_pool2d_backward(dy, x, **options, saved=saved)
        arrays += ops.avg_pool2d(x, **options), ops.avg_pool2d_backward(dy, x, **options)
        return [array.tobytes() for array in arrays]

    set_num_threads(1)
    expected = results()
    for threads in (2, 3):
        set_num_threads(threads)
        assert results() == expected
