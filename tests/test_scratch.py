"""Results depend on the arguments alone: not on what memory held before, and they agree with SciPy."""

import numpy as np
import pytest
from scipy import signal

import fastconv
from fastconv import reference, runtime
from fastconv.testing import exact_integers, random_geometry


def spoil_memory():
    """Fill memory that the next calls will be given with NaN."""
    blocks = [runtime.empty(part << k, np.uint8) for k in range(6, 21) for part in (2, 3) for _ in range(3)]
    for block in blocks:
        block.fill(255)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("seed", range(12))
def test_convolution_reads_no_memory_that_it_did_not_write(seed, threads):
    rng = np.random.default_rng(1000 + seed)
    case = random_geometry(rng, outputs=300)
    x, w, b = case.arrays(lambda shape: exact_integers(rng, shape).astype(np.float32))
    dy = exact_integers(rng, case.geometry.y_shape).astype(np.float32)
    fastconv.set_num_threads(threads)
    for _ in range(3):  # memory comes back in different places
        spoil_memory()
        y = fastconv.conv2d(x, w, b, **case.options)
        spoil_memory()
        gradients = fastconv.conv2d_backward(dy, x, w, b, **case.options)
    np.testing.assert_array_equal(y, reference.conv2d(x, w, b, **case.options))
    for actual, expected in zip(gradients, reference.conv2d_backward(dy, x, w, b, **case.options), strict=True):
        assert (actual is None) == (expected is None)
        if actual is not None:
            np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("mode", ["valid", "same"])
@pytest.mark.parametrize("kernel", [(3, 3), (5, 1), (1, 7)])
def test_convolution_agrees_with_scipy(rng, kernel, mode, dtype):
    x = exact_integers(rng, (2, 3, 12, 15)).astype(dtype)
    w = exact_integers(rng, (4, 3, *kernel)).astype(dtype)
    y = fastconv.conv2d(x, w, padding=mode)
    for image, planes in zip(x, y, strict=True):
        for filters, plane in zip(w, planes, strict=True):
            expected = sum(signal.correlate2d(a, f, mode) for a, f in zip(image, filters, strict=True))
            np.testing.assert_array_equal(plane, expected)
