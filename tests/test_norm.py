"""Batch normalisation against the specification, and what it promises besides."""

from itertools import product

import numpy as np
import pytest

from fastconv import ops, reference, runtime
from fastconv.testing import gradcheck

SHAPES = {
    "plane": (3, 5, 4, 7),
    "images": (4, 2, 12, 12),
    "long_run": (2, 3, 97, 101),
    "line": (3, 4, 33),
    "volume": (2, 3, 3, 4, 5),
    "features": (9, 37),
    "few_features": (5, 3),
    "one_channel": (6, 1, 5, 5),
    "one_sample": (1, 4, 3, 3),
    "single_pixels": (5, 3, 1, 1),
    "many_short_runs": (700, 2, 3, 3),
}
every_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
every_option = pytest.mark.parametrize(
    "training, relu, added", list(product([True, False], repeat=3)), ids=lambda flag: str(int(flag))
)


class Call:
    """Arguments of a call, drawn at random."""

    def __init__(self, rng, shape, dtype=np.float64, training=True, relu=False, added=False, affine=True):
        channels = shape[1]
        self.x, self.dy, residual = (rng.standard_normal(shape).astype(dtype) for _ in range(3))
        self.running = [np.linspace(-0.5, 0.5, channels).astype(dtype), np.linspace(0.5, 2, channels).astype(dtype)]
        self.affine = [np.linspace(0.5, 2, channels).astype(dtype), np.linspace(-0.3, 1, channels).astype(dtype)]
        if not affine:
            self.affine = [None, None]
        self.options = {"training": training, "relu": relu, "residual": residual if added else None}

    def forward(self, module=ops, **more):
        return module.batch_norm(self.x, *self.running, *self.affine, **self.options, **more)

    def backward(self, module=ops, **more):
        return module.batch_norm_backward(self.dy, self.x, *self.running, *self.affine, **self.options, **more)

    def specified(self):
        """Return y and the running statistics after the call; those of the call stay as they are."""
        before = [array.copy() for array in self.running]
        y = self.forward(reference)
        after, self.running = self.running, before
        return y, after


def assert_close(actual, expected, dtype, scale=1.0):
    assert (actual is None) == (expected is None)
    if actual is not None:
        assert actual.dtype == dtype and actual.shape == expected.shape
        few = 32 * np.finfo(dtype).eps
        np.testing.assert_allclose(actual, expected, rtol=few, atol=few * scale)


def check_against_specification(call, dtype):
    y, running = call.specified()
    gradients = call.backward(reference)
    for gradient, expected in zip(call.backward(), gradients, strict=True):
        assert_close(gradient, expected, dtype, call.x.size / call.x.shape[1])
    result, saved = call.forward(return_saved=True)
    assert_close(result, y, dtype, 4)
    for actual, expected in zip(call.running, running, strict=True):
        assert_close(actual, expected, dtype)
    if not call.options["training"]:
        return
    for gradient, expected in zip(call.backward(saved=saved), gradients, strict=True):
        assert_close(gradient, expected, dtype, call.x.size / call.x.shape[1])


@every_dtype
@every_option
@every_shape
def test_the_specification(shape, training, relu, added, dtype, rng):
    call = Call(rng, shape, dtype, training, relu, added)
    call.x += 3  # away from 0, but not the running mean
    check_against_specification(call, dtype)


@every_dtype
def test_without_weight_and_bias(dtype, rng):
    check_against_specification(Call(rng, (3, 5, 4, 4), dtype, relu=True, affine=False), dtype)


def test_running_statistics_may_be_left_out(rng):
    call = Call(rng, (3, 5, 4, 4))
    y = call.forward()
    call.running = [None, None]
    np.testing.assert_array_equal(call.forward(), y)


@every_option
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", [(3, 2, 2, 3), (4, 3)], ids=str)
def test_gradients_are_slopes(shape, affine, training, relu, added, rng):
    call = Call(rng, shape, training=training, affine=affine)
    running = call.running

    def f(x, weight, bias, residual):
        statistics = [array.copy() for array in running]
        return ops.batch_norm(x, *statistics, weight, bias, training, residual=residual, relu=relu)

    def f_backward(dy, x, weight, bias, residual):
        dx, no, none, *others = ops.batch_norm_backward(
            dy, x, *running, weight, bias, training, residual=residual, relu=relu
        )
        assert no is none is None
        return dx, *others

    residual = rng.standard_normal(shape) if added else None
    gradcheck(f, f_backward, (call.x, *call.affine, residual), rng=rng)


@every_dtype
@pytest.mark.parametrize("shape", [(8, 3, 40, 41), (500, 20)], ids=str)
def test_a_large_mean_costs_no_digits(shape, dtype, rng):
    """With E[x**2] - E[x]**2 nothing of the variance would be left."""
    x = (1e4 + rng.standard_normal(shape)).astype(dtype)
    channels = np.moveaxis(x.astype(np.longdouble), 1, 0).reshape(shape[1], -1)
    _, (mean, rstd) = ops.batch_norm(x, None, None, training=True, return_saved=True)
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(mean, channels.mean(1), rtol=eps)
    np.testing.assert_allclose(rstd, 1 / np.sqrt(channels.var(1) + 1e-5), rtol=8 * eps)


def test_samples_of_different_means(rng):
    """One image is blank, the others far from 0: no single shift serves all of them."""
    x = (1e4 + rng.standard_normal((6, 2, 70, 70))).astype(np.float32)
    x[0] = 0
    channels = np.moveaxis(x.astype(np.float64), 1, 0).reshape(2, -1)
    _, (mean, rstd) = ops.batch_norm(x, None, None, training=True, return_saved=True)
    np.testing.assert_allclose(mean, channels.mean(1), rtol=1e-6)
    np.testing.assert_allclose(rstd, 1 / channels.std(1), rtol=1e-6)


def test_elements_that_give_the_centre_may_be_unlike_the_others(rng):
    """A block's centre comes from every eighth register; here only these hold other numbers."""
    lanes = runtime.vector_bytes() // 4
    x = rng.standard_normal((3, 2, 5000)).astype(np.float32)
    x[..., np.arange(5000) // lanes % 8 == 0] += 1e4
    channels = np.moveaxis(x.astype(np.float64), 1, 0).reshape(2, -1)
    _, (mean, rstd) = ops.batch_norm(x, None, None, training=True, return_saved=True)
    np.testing.assert_allclose(mean, channels.mean(1), rtol=1e-6)
    np.testing.assert_allclose(rstd, 1 / channels.std(1), rtol=1e-6)


@every_dtype
@every_option
@pytest.mark.parametrize("shape", [(3, 8, 4, 7), (40, 20)], ids=str)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_nan_and_infinity_travel_as_specified(shape, training, relu, added, dtype, rng):
    for name, special in product(("x", "dy"), (np.nan, np.inf, -np.inf)):
        call = Call(rng, shape, dtype, training, relu, added)
        getattr(call, name)[1, 2] = special
        getattr(call, name)[2, 4, ...] = special
        if added:
            call.options["residual"][0, 3] = special
        check_against_specification(call, dtype)


@every_option
@pytest.mark.parametrize("shape", [(4, 9, 50, 50), (600, 70)], ids=str)
def test_threads_do_not_show(shape, training, relu, added, rng, set_num_threads):
    results = []
    for threads in (1, 2, 3):
        set_num_threads(threads)
        call = Call(np.random.default_rng(0), shape, np.float32, training, relu, added)
        y, saved = call.forward(return_saved=True)
        results.append([y, *saved, *call.running, *call.backward(saved=saved)])
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("added", [True, False])
def test_results_past_the_caches_are_the_same(added, rng, monkeypatch):
    from fastconv.cpu import norm

    results = []
    for limit in (norm.PAST_CACHES, 0):
        monkeypatch.setattr(norm, "PAST_CACHES", limit)
        norm.forward_plan.cache_clear()
        norm.backward_plan.cache_clear()
        call = Call(np.random.default_rng(0), (3, 5, 9, 11), np.float32, True, True, added)
        results.append((call.forward(), *call.backward()))
    norm.forward_plan.cache_clear()
    norm.backward_plan.cache_clear()
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)


def test_any_layout_of_arrays(rng):
    call = Call(rng, (3, 5, 4, 6), np.float32, True, True, True)
    y, gradients = call.forward(), call.backward()
    statistics = [array.copy() for array in call.running]
    again = Call(np.random.default_rng(20240229), (3, 5, 4, 6), np.float32, True, True, True)
    again.x, again.dy = np.asfortranarray(again.x), again.dy.astype(">f4")
    again.running = [np.repeat(array, 2)[::2] for array in again.running]
    again.affine = [array[::-1].copy()[::-1] for array in again.affine]
    again.options["residual"] = np.ascontiguousarray(again.options["residual"].T).T
    for array in (again.x, *again.affine):
        array.flags.writeable = False
    for one, two in zip((y, *gradients), (again.forward(), *again.backward()), strict=True):
        np.testing.assert_array_equal(one, two)
    for one, two in zip(statistics, again.running, strict=True):
        np.testing.assert_array_equal(one, two)


@every_option
def test_what_is_not_needed_is_not_returned(training, relu, added, rng):
    call = Call(rng, (3, 5, 4, 6), training=training, relu=relu, added=added)
    every = call.backward()
    for needs in product([True, False], repeat=3):
        some = call.backward(needs=needs)
        for gradient, wanted, full in zip((some[0], *some[3:5]), needs, (every[0], *every[3:5]), strict=True):
            assert gradient is None if not wanted else np.array_equal(gradient, full)
        assert (some[5] is None) == (not added)


@every_option
def test_an_empty_batch(training, relu, added, rng):
    call = Call(rng, (0, 3, 4, 4), np.float32, training, relu, added)
    before = [array.copy() for array in call.running]
    y, saved = call.forward(return_saved=True)
    dx, _, _, dweight, dbias, _ = call.backward(saved=saved)
    assert y.shape == dx.shape == (0, 3, 4, 4)
    assert not dweight.any() and not dbias.any()
    np.testing.assert_array_equal(call.running, before)


@every_option
def test_pytorch_agrees(training, relu, added, rng):
    torch = pytest.importorskip("torch")
    call = Call(rng, (4, 6, 5, 7), training=training, relu=relu, added=added)
    arrays = [call.x, *call.affine] + ([call.options["residual"]] if added else [])
    x, weight, bias, *residual = (torch.tensor(array, requires_grad=True) for array in arrays)
    running = [torch.tensor(array) for array in call.running]
    y = torch.nn.functional.batch_norm(x, *running, weight, bias, training)
    y = y + residual[0] if added else y
    y = y.relu() if relu else y
    y.backward(torch.tensor(call.dy))
    dx, _, _, *others = call.backward()
    np.testing.assert_allclose(call.forward(), y.detach().numpy(), rtol=1e-10, atol=1e-12)
    for actual, expected in zip(call.running, running, strict=True):
        np.testing.assert_allclose(actual, expected.numpy(), rtol=1e-12)
    for actual, tensor in zip((dx, *others), (x, weight, bias, *residual), strict=False):
        np.testing.assert_allclose(actual, tensor.grad.numpy(), rtol=1e-9, atol=1e-11)


X, C3 = np.zeros((2, 3, 4, 4), np.float32), np.ones(3, np.float32)


@pytest.mark.parametrize(
    "arguments, options, error, message",
    [
        ((X, None, None), {}, ValueError, "running_mean and running_var are needed without training"),
        ((X[:1, :, :1, :1], C3, C3), {"training": True}, ValueError, r"more than 1 element.*\(1, 3, 1, 1\)"),
        ((X[0, 0, 0], C3, C3), {}, ValueError, r"x must have shape \(n, c, ...\)"),
        ((X[:, :0], C3[:0], C3[:0]), {}, ValueError, "empty at most in n"),
        ((X, C3[:2], C3), {}, ValueError, r"running_mean must have shape \(3,\), got \(2,\)"),
        ((X, C3, C3, C3[:1]), {}, ValueError, "weight must have shape"),
        ((X, C3, C3, C3.astype(float)), {}, TypeError, "one dtype"),
        ((X.astype(int), C3, C3), {}, TypeError, "x must be float32 or float64"),
        ((X, C3, C3), {"residual": X[:1]}, ValueError, "residual must have shape"),
        ((X, C3, C3), {"training": 1}, TypeError, "training must be True or False"),
        ((X, C3, C3), {"relu": "yes"}, TypeError, "relu must be True or False"),
        ((X, C3, C3), {"eps": -1}, ValueError, "eps must be finite and >= 0, got -1"),
        ((X, C3, C3), {"eps": "1e-5"}, TypeError, "eps must be a number"),
        ((X, C3, C3), {"momentum": None}, TypeError, "momentum must be a number"),
        ((X, C3, C3), {"momentum": np.inf}, ValueError, "momentum must be finite"),
    ],
)
def test_bad_input(arguments, options, error, message):
    with pytest.raises(error, match=f"batch_norm: .*{message}"):
        ops.batch_norm(*arguments, **options)


def test_read_only_statistics_are_refused_in_training_only():
    fixed = C3.copy()
    fixed.flags.writeable = False
    ops.batch_norm(X, fixed, fixed)
    with pytest.raises(ValueError, match="running_var is updated in place"):
        ops.batch_norm(X, C3.copy(), fixed, training=True)


@pytest.mark.parametrize(
    "saved, error, message",
    [
        ((C3,), TypeError, "saved must be the tuple of 2 arrays"),
        ((C3, C3, X), TypeError, "saved must be the tuple of 2 arrays"),
        ((C3, C3[:2]), ValueError, r"saved rstd must have shape \(3,\)"),
        ((C3, C3.astype(float)), TypeError, "one dtype"),
    ],
)
def test_bad_saved(saved, error, message):
    with pytest.raises(error, match=message):
        ops.batch_norm_backward(X, X, C3, C3, training=True, saved=saved)
    with pytest.raises(ValueError, match="dy must have shape"):
        ops.batch_norm_backward(X[:1], X, C3, C3)
