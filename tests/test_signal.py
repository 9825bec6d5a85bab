"""`fastconv.signal` against SciPy and NumPy: the same results, types and errors."""

import os
import subprocess
import sys

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal

import fastconv
from fastconv import signal
from fastconv.signal import convolution, fourier, ndimage, planar
from fastconv.signal import numpy as signal_numpy

TYPES = "?bBhHiIlLqQfdFD"
BORDERS = ("reflect", "nearest", "mirror", "wrap", "constant")
MODES = ("full", "same", "valid")
MOST = {1: 70, 2: 16, 3: 7}  # elements of an axis, by the number of axes


@pytest.fixture(autouse=True)
def kernels_only(monkeypatch):
    """Let small arrays, too, meet the kernel: they are computed by SciPy otherwise."""
    for module in (convolution, planar, signal_numpy, ndimage):
        monkeypatch.setattr(module, "LITTLE", 0)
    monkeypatch.setattr(ndimage, "LITTLE_1D", 0)
    monkeypatch.setattr(signal_numpy, "LITTLE_SHORT", 0)


def numbers(rng: np.random.Generator, code: str, shape: tuple[int, ...]) -> np.ndarray:
    """Draw an array: integers large enough to wrap around."""
    if code in "fdFD":
        values = rng.standard_normal(shape)
        return (values + 1j * rng.standard_normal(shape) if code in "FD" else values).astype(code)
    return rng.integers(0, 2 if code == "?" else 120, shape).astype(code)


def layouts(rng: np.random.Generator, array: np.ndarray) -> np.ndarray:
    """Store an array in some other way."""
    way = rng.integers(6)
    if way == 0:
        return np.asfortranarray(array)
    if way == 1:
        return array[..., ::-1].copy()[..., ::-1]
    if way == 2:
        return array.astype(array.dtype.newbyteorder(">"))
    if way == 3:
        array = array.copy()
        array.flags.writeable = False
    if way == 4:
        raw = np.empty(array.nbytes + 1, np.uint8)[1:]
        raw[:] = np.frombuffer(array.tobytes(), np.uint8)
        return raw.view(array.dtype).reshape(array.shape)
    return array


def assert_like(got: np.ndarray, want: np.ndarray, single: bool = False) -> None:
    """Equal integers; floating-point numbers as close as sums in another order are."""
    assert got.dtype == want.dtype and got.shape == want.shape
    if want.dtype.kind in "biuO":
        np.testing.assert_array_equal(got, want)
    else:
        close = 3e-6 if single or want.dtype.char in "fF" else 1e-13
        np.testing.assert_allclose(got, want, rtol=0, atol=close * np.abs(want).max(initial=0))


def assert_same(name: str, ours, theirs, *args) -> None:
    """The same result, or the same kind of error."""
    single = "fft" in args[2:] and any(array.dtype.char in "fF" for array in args[:2])
    try:
        want = getattr(theirs, name)(*args)
    except ValueError:
        with pytest.raises(ValueError, match="."):
            getattr(ours, name)(*args)
        return
    assert_like(getattr(ours, name)(*args), want, single)


def draw(seed: int) -> tuple[np.random.Generator, np.ndarray, np.ndarray]:
    """Two arrays of any type, of up to three axes."""
    rng = np.random.default_rng(seed)
    ndim = int(rng.integers(1, 4))
    return rng, *(
        layouts(rng, numbers(rng, rng.choice(list(TYPES)), tuple(rng.integers(1, MOST[ndim], ndim)))) for _ in range(2)
    )


# ---- scipy.signal and numpy --------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
@pytest.mark.parametrize("seed", range(250))
def test_like_scipy_signal(seed):
    rng, x, w = draw(seed)
    mode, method = rng.choice(MODES), rng.choice(["direct", "fft"])
    for name in ("convolve", "correlate"):
        assert_same(name, signal, scipy.signal, x, w, mode, method)
    if x.ndim == 1:
        for name in ("convolve", "correlate"):
            assert_same(name, signal.numpy, np, x, w, mode)


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
@pytest.mark.parametrize("seed", range(200))
def test_like_scipy_signal_in_two_dimensions(seed):
    rng = np.random.default_rng(seed)
    x, w = (
        layouts(rng, numbers(rng, rng.choice(list(TYPES)), tuple(rng.integers(1, high, 2)))) for high in (30, 16)
    )
    mode, boundary, fill = rng.choice(MODES), rng.choice(["fill", "wrap", "symm"]), int(rng.integers(0, 9))
    assert_same("convolve2d", signal, scipy.signal, x, w, mode, boundary, fill)
    if mode == "valid" and np.iscomplexobj(w) and (w.shape[0] > x.shape[0] or w.shape[1] > x.shape[1]):
        assert_same("correlate", signal, scipy.signal, x, w, mode)
    else:
        assert_same("correlate2d", signal, scipy.signal, x, w, mode, boundary, fill)


@pytest.mark.parametrize("n, k", [(4096, 301), (20_000, 1500), (300, 4000)])
@pytest.mark.parametrize("code", ["f", "d", "D", "h"])
def test_long_signals_are_transformed_in_blocks(n, k, code):
    rng = np.random.default_rng(n)
    x, w = numbers(rng, code, (n,)), numbers(rng, code, (k,))
    for mode in MODES:
        want = scipy.signal.oaconvolve(x, w, mode) if code != "h" else np.convolve(x, w)
        got = signal.convolve(x, w, mode, "fft")
        if code == "h":
            full = signal.convolve(x, w, "full", "fft")
            np.testing.assert_array_equal(full, want)
        else:
            assert_like(got, want)


def test_auto_chooses_the_sum_for_short_kernels_and_transforms_for_long_ones():
    x = np.ones(1 << 16)
    assert fourier.method(x, np.ones(9), x.shape, x.dtype) == "direct"
    assert fourier.method(x, np.ones(3000), x.shape, x.dtype) == "fft"
    image = np.ones((512, 512), np.float32)
    assert fourier.method(image, np.ones((15, 15), np.float32), image.shape, image.dtype) == "direct"
    assert fourier.method(image, np.ones((100, 100), np.float32), image.shape, image.dtype) == "fft"


def test_auto_keeps_integers_exact():
    x = np.full(1 << 14, 2**40)
    assert fourier.method(x, np.full(4000, 2**20), x.shape, x.dtype) == "direct"
    got = signal.convolve(x, np.full(4000, 2**20), "same")
    np.testing.assert_array_equal(got, np.convolve(x, np.full(4000, 2**20), "same"))


def test_auto_does_not_spread_what_is_not_finite():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal(20_000), rng.standard_normal(2000)
    x[5000] = np.nan
    got = signal.convolve(x, w, "same")
    assert 0 < np.isnan(got).sum() <= 2000
    np.testing.assert_allclose(got, np.convolve(x, w, "same"), atol=1e-10)


def test_transforms_warn_of_what_is_not_finite():
    with pytest.warns(RuntimeWarning, match="direct"):
        assert np.isnan(signal.convolve(np.array([1, np.nan, 2]), np.ones(3), "same", "fft")).all()


@pytest.mark.parametrize("name", ["convolve", "correlate"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("method", ["auto", "direct", "fft"])
def test_batches(name, mode, method):
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal((3, 40, 2, 31)), rng.standard_normal((5, 8))
    want = [[getattr(scipy.signal, name)(x[i, :, j], w, mode) for j in range(2)] for i in range(3)]
    got = getattr(signal, name)(x, w, mode, method, axes=(1, 3))
    np.testing.assert_allclose(got, np.array(want).transpose(0, 2, 1, 3), atol=1e-12)
    np.testing.assert_allclose(getattr(signal, name)(x, w[0], mode, method, axes=-1)[1, 2, 0],
                               getattr(scipy.signal, name)(x[1, 2, 0], w[0], mode), atol=1e-12)  # fmt: skip


def test_batches_of_images():
    rng = np.random.default_rng(2)
    x, w = rng.integers(0, 255, (2, 3, 20, 30)).astype(np.uint8), np.ones((3, 3), np.uint8)
    for name in ("convolve2d", "correlate2d"):
        got = getattr(signal, name)(x, w, "same", "symm")
        want = [[getattr(scipy.signal, name)(image, w, "same", "symm") for image in images] for images in x]
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_travel_as_in_scipy(value):
    rng = np.random.default_rng(3)
    x, w = rng.standard_normal((20, 30)), rng.standard_normal((4, 3))
    for changed in (x, w):
        kept = changed[2, 1]
        changed[2, 1] = value
        for mode in MODES:
            for name in ("convolve2d", "correlate2d"):
                assert_equal_nan(getattr(signal, name)(x, w, mode), getattr(scipy.signal, name)(x, w, mode))
            assert_equal_nan(signal.convolve(x, w, mode), scipy.signal.convolve(x, w, mode, "direct"))
            assert_equal_nan(signal.convolve(x[2], w[2], mode), np.convolve(x[2], w[2], mode))
        changed[2, 1] = kept


def assert_equal_nan(got: np.ndarray, want: np.ndarray) -> None:
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    np.testing.assert_array_equal(np.isinf(got), np.isinf(want))


# ---- scipy.ndimage -----------------------------------------------------------------------------------------------


def far(border: str, size: tuple[int, ...], kernel: tuple[int, ...]) -> bool:
    """Whether windows reach so far that SciPy 1.17 reads beside the image, and its results vary."""
    return border == "reflect" and any(k >= 2 * n for n, k in zip(size, kernel, strict=True))


def assert_bits(got: np.ndarray, want: np.ndarray) -> None:
    """The same bits; SciPy's bool holds any byte."""
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want.view(np.uint8) != 0 if want.dtype == bool else want)


@pytest.mark.parametrize("seed", range(250))
def test_same_bits_as_scipy_ndimage(seed):
    rng, x, w = draw(seed)
    if w.dtype.kind in "fc" and rng.integers(2):
        w = w * (rng.random(w.shape) < 0.5)  # taps that are left out
    border = rng.choice(BORDERS)
    border = "mirror" if far(border, x.shape, w.shape) else border
    real = x.dtype.kind != "c" != w.dtype.kind
    output = rng.choice(["uint8", "int16", "float32", "float64"]) if real and rng.integers(2) else None
    origin = tuple(int(rng.integers(-(k // 2), (k - 1) // 2 + 1)) for k in w.shape)
    options = {"output": output, "mode": border, "cval": float(rng.integers(0, 3)), "origin": origin}
    for name in ("correlate", "convolve"):
        assert_bits(getattr(ndimage, name)(x, w, **options), getattr(scipy.ndimage, name)(x, w, **options))


@pytest.mark.parametrize("seed", range(200))
def test_same_bits_as_scipy_ndimage_along_an_axis(seed):
    rng, x, _ = draw(seed)
    w = numbers(rng, rng.choice(list("hdfFD")), (int(rng.integers(1, 12)),))
    w = [w, w + w[::-1], w - w[::-1]][rng.integers(3)]
    axis, k = int(rng.integers(-x.ndim, x.ndim)), w.size
    border = rng.choice(BORDERS)
    border = "mirror" if far(border, x.shape[axis : axis + 1 or None], w.shape) else border
    options = {"mode": border, "cval": 2.0, "origin": int(rng.integers(-(k // 2), (k - 1) // 2 + 1))}
    for name in ("correlate1d", "convolve1d"):
        got, want = (getattr(module, name)(x, w, axis, **options) for module in (ndimage, scipy.ndimage))
        assert_bits(got, want)


def test_output_axes_and_colours():
    rng = np.random.default_rng(4)
    picture, w = rng.integers(0, 255, (30, 40, 3)).astype(np.uint8), rng.standard_normal((3, 5))
    for axes in ((0, 1), (1, 0), (1, 2)):
        assert_bits(ndimage.correlate(picture, w, axes=axes), scipy.ndimage.correlate(picture, w, axes=axes))
    output = np.empty((30, 40, 3), np.float32)
    assert ndimage.convolve(picture, w, output, axes=(0, 1)) is output
    assert_bits(output, scipy.ndimage.convolve(picture, w, np.float32, axes=(0, 1)))
    image = rng.standard_normal((30, 40))
    want = scipy.ndimage.correlate(image, w)
    assert_bits(ndimage.correlate(image, w, output=image), want)


def test_weights_of_zero_do_not_meet_infinity():
    x = np.zeros((9, 9))
    x[4, 4] = np.inf
    laplacian = np.array([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])
    got = ndimage.correlate(x, laplacian)
    np.testing.assert_array_equal(got, scipy.ndimage.correlate(x, laplacian))
    assert not np.isnan(got).any()


# ---- all of them -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape, kernel", [((200, 300), (7, 7)), ((50_000,), (31,)), ((9, 30, 40), (3, 3, 3))])
def test_same_bits_at_any_number_of_threads(set_num_threads, shape, kernel):
    rng = np.random.default_rng(5)
    x, w = rng.standard_normal(shape), rng.standard_normal(kernel)
    results = []
    for threads in (1, 2, 3):
        set_num_threads(threads)
        results.append((signal.convolve(x, w, "same", "direct"), ndimage.correlate(x, w)))
    for result in results[1:]:
        for got, want in zip(result, results[0], strict=True):
            np.testing.assert_array_equal(got, want)


def test_inputs_stay_as_they_are():
    rng = np.random.default_rng(6)
    x, w = rng.standard_normal((40, 50)), rng.standard_normal((3, 3))
    x.flags.writeable = w.flags.writeable = False
    before = x.copy(), w.copy()
    for result in (signal.convolve(x, w), signal.correlate2d(x, w), ndimage.convolve(x, w)):
        assert not np.shares_memory(result, x)
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(w, before[1])


@pytest.mark.parametrize("code", ["e", "g", "G", "O"])
def test_types_without_a_kernel_go_to_scipy(code):
    x, w = np.arange(1, 9).astype(code), np.arange(1, 4).astype(code)
    assert_like(signal.convolve(x, w), scipy.signal.convolve(x, w))
    assert_like(signal.numpy.correlate(x, w), np.correlate(x, w))
    with pytest.raises(RuntimeError):
        ndimage.correlate(x, w)


ONE, IMAGE = np.ones(3), np.ones((4, 5))
WRONG = [
    (signal.convolve, (ONE, IMAGE), ValueError, "axes"),
    (signal.convolve, (ONE, ONE, "near"), ValueError, "mode"),
    (signal.convolve, (ONE, ONE, "full", "magic"), ValueError, "method"),
    (signal.correlate, (np.ones((3, 2)), np.ones((2, 3)), "valid"), ValueError, "at least as large"),
    (signal.convolve, (np.ones(0), ONE), ValueError, "empty"),
    (signal.convolve, (5, ONE), ValueError, "axes"),
    (signal.convolve2d, (ONE, ONE), ValueError, "axes"),
    (signal.convolve2d, (IMAGE, np.ones((2, 2)), "near"), ValueError, "mode"),
    (signal.correlate2d, (IMAGE, np.ones((2, 2)), "full", "mirror"), ValueError, "boundary"),
    (signal.correlate2d, (IMAGE, np.ones((2, 2)), "full", "fill", [1, 2]), ValueError, "fillvalue"),
    (signal.convolve2d, (IMAGE, np.ones((2, 2)), "full", "fill", "a"), ValueError, "fillvalue"),
    (signal.convolve2d, (np.ones((3, 2)), np.ones((2, 3)), "valid"), ValueError, "at least as large"),
    (ndimage.correlate, (IMAGE, ONE), RuntimeError, "weights"),
    (ndimage.correlate, (IMAGE, np.ones((3, 3)), None, "near"), RuntimeError, "mode"),
    (ndimage.convolve, (IMAGE, np.ones((3, 3)), None, "wrap", 0.0, 2), ValueError, "origin"),
    (ndimage.convolve, (IMAGE, np.ones((3, 3)), np.ones(3)), RuntimeError, "shape"),
    (ndimage.correlate1d, (IMAGE, []), RuntimeError, "weights"),
    (ndimage.correlate1d, (IMAGE, ONE, 2), ValueError, "axis"),
    (signal.numpy.convolve, ([], ONE), ValueError, "empty"),
    (signal.numpy.correlate, (IMAGE, ONE), ValueError, "too deep"),
]


@pytest.mark.parametrize("function, args, error, words", WRONG)
def test_errors_are_those_of_scipy(function, args, error, words):
    with pytest.raises(error, match=words):
        function(*args)


def test_axes_are_checked():
    for axes in ((0, 0), 2, ()):
        with pytest.raises(ValueError, match="axes|axis"):
            signal.convolve(IMAGE, ONE, axes=axes)


@pytest.mark.parametrize("module, absent", [("fastconv", "scipy"), ("fastconv.signal", "scipy.signal")])
def test_import_is_light(module, absent):
    code = f"import sys, {module}; sys.exit({absent!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_kernel_runs_as_plain_python():
    """Without the compiler the twins of the kernel's parts compute the same."""
    code = """
import numpy as np, scipy.ndimage
from fastconv.signal import ndimage
ndimage.LITTLE = ndimage.LITTLE_1D = 0
rng = np.random.default_rng(0)
x = rng.integers(0, 9, (9, 20)).astype(np.uint8)
for w in (np.ones((3, 2)), np.array([[1.0, 0], [0, 1]])):
    assert np.array_equal(ndimage.correlate(x, w), scipy.ndimage.correlate(x, w))
for w in ([1.0, 2, 1], [1.0, 0, -1], [1.0, 2]):
    assert np.array_equal(ndimage.correlate1d(x, w, 0), scipy.ndimage.correlate1d(x, w, 0))
"""
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == 0


def test_small_arrays_go_to_scipy(monkeypatch):
    """Its functions are done before a kernel has started; what they return is the same."""
    monkeypatch.undo()
    rng = np.random.default_rng(7)
    x, w = rng.standard_normal((6, 7)), rng.standard_normal((3, 2))
    for name in ("convolve", "correlate", "convolve2d", "correlate2d"):
        np.testing.assert_array_equal(getattr(signal, name)(x, w), getattr(scipy.signal, name)(x, w))
    for name in ("convolve", "correlate"):
        np.testing.assert_array_equal(getattr(signal, name)(x[0], w[0]), getattr(scipy.signal, name)(x[0], w[0]))
        np.testing.assert_array_equal(getattr(signal.numpy, name)(x[0], w[0]), getattr(np, name)(x[0], w[0]))
        np.testing.assert_array_equal(getattr(ndimage, name)(x, w), getattr(scipy.ndimage, name)(x, w))
        name = f"{name}1d"
        np.testing.assert_array_equal(getattr(ndimage, name)(x, w[0], 0), getattr(scipy.ndimage, name)(x, w[0], 0))


def test_documented():
    assert fastconv.signal is signal
    for module, names in {signal: signal.__all__[:4], ndimage: ("convolve", "correlate1d")}.items():
        for name in names:
            assert "Returns" in getattr(module, name).__doc__
