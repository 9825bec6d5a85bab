"""Layer, group, instance and local response normalisation: against the specification and PyTorch."""

import numpy as np
import pytest

from fastconv import layers, ops, reference
from fastconv.testing import gradcheck

every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
affine_or_not = pytest.mark.parametrize("affine", [True, False], ids=["affine", "plain"])
# An op, the shape of x, that of weight and bias, and the options.
CASES = {
    "layer_row": ("layer_norm", (5, 7), (7,), {"normalized_shape": 7}),
    "layer_axes": ("layer_norm", (4, 3, 5, 6), (5, 6), {"normalized_shape": (5, 6)}),
    "layer_all": ("layer_norm", (3, 5), (3, 5), {"normalized_shape": (3, 5)}),
    "layer_long": ("layer_norm", (3, 5001), (5001,), {"normalized_shape": 5001}),
    "layer_many_rows": ("layer_norm", (70, 50, 48), (48,), {"normalized_shape": 48}),
    "group_planes": ("group_norm", (3, 6, 4, 7), (6,), {"num_groups": 3}),
    "group_whole": ("group_norm", (2, 8, 70, 71), (8,), {"num_groups": 1}),
    "group_lines": ("group_norm", (3, 6, 5), (6,), {"num_groups": 2}),
    "group_features": ("group_norm", (9, 40), (40,), {"num_groups": 5}),
    "group_volume": ("group_norm", (2, 4, 3, 4, 5), (4,), {"num_groups": 2}),
    "instance_planes": ("instance_norm", (3, 5, 6, 7), (5,), {}),
    "instance_lines": ("instance_norm", (2, 5, 9), (5,), {}),
    "instance_volume": ("instance_norm", (2, 3, 4, 5, 6), (3,), {}),
}
every_case = pytest.mark.parametrize("name, shape, affine_shape, options", CASES.values(), ids=CASES)


def draw(rng, dtype, shape, affine_shape, affine):
    x, dy = rng.standard_normal((2, *shape)) + np.array([3, 0]).reshape(2, *[1] * len(shape))
    weight, bias = rng.standard_normal((2, *affine_shape)) if affine else (None, None)
    return (None if array is None else array.astype(dtype) for array in (x, dy, weight, bias))


def gradients(name, dy, x, module=ops, **options):
    dx, *_, dweight, dbias = getattr(module, f"{name}_backward")(dy, x, **options)
    return dx, dweight, dbias


def assert_close(actual, expected, dtype, scale=1.0):
    assert (actual is None) == (expected is None)
    if actual is not None:
        assert actual.dtype == dtype and actual.shape == expected.shape
        np.testing.assert_allclose(
            actual, expected, rtol=0, atol=64 * np.finfo(dtype).eps * max(1, np.abs(expected).max())
        )


@every_dtype
@affine_or_not
@every_case
def test_the_specification(name, shape, affine_shape, options, affine, dtype, rng):
    x, dy, weight, bias = draw(rng, dtype, shape, affine_shape, affine)
    options = options | {"weight": weight, "bias": bias, "eps": 1e-3}
    y, saved = getattr(ops, name)(x, **options, return_saved=True)
    assert_close(y, getattr(reference, name)(x, **options), dtype)
    np.testing.assert_array_equal(y, getattr(ops, name)(x, **options))
    expected = gradients(name, dy, x, reference, **options)
    for more in ({}, {"saved": saved}):
        for actual, value in zip(gradients(name, dy, x, **options, **more), expected, strict=True):
            assert_close(actual, value, dtype)


@affine_or_not
@every_case
def test_pytorch_agrees(name, shape, affine_shape, options, affine, rng):
    torch = pytest.importorskip("torch")
    x, dy, weight, bias = draw(rng, np.float64, shape, affine_shape, affine)
    tensors = [None if array is None else torch.tensor(array, requires_grad=True) for array in (x, weight, bias)]
    theirs = dict(options)
    if name == "layer_norm" and isinstance(options["normalized_shape"], int):
        theirs["normalized_shape"] = (options["normalized_shape"],)
    y = getattr(torch.nn.functional, name)(tensors[0], weight=tensors[1], bias=tensors[2], **theirs)
    y.backward(torch.tensor(dy))
    options = options | {"weight": weight, "bias": bias}
    np.testing.assert_allclose(getattr(ops, name)(x, **options), y.detach().numpy(), rtol=1e-10, atol=1e-11)
    for actual, tensor in zip(gradients(name, dy, x, **options), tensors, strict=True):
        if tensor is not None:
            np.testing.assert_allclose(actual, tensor.grad.numpy(), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(
    "name, shape, affine_shape, options",
    [
        ("layer_norm", (3, 2, 4), (2, 4), {"normalized_shape": (2, 4)}),
        ("group_norm", (2, 4, 3), (4,), {"num_groups": 2}),
    ],
)
def test_gradients_are_slopes(name, shape, affine_shape, options, rng):
    x, _, weight, bias = draw(rng, np.float64, shape, affine_shape, True)

    def f(x, weight, bias):
        return getattr(ops, name)(x, **options, weight=weight, bias=bias)

    gradcheck(
        f, lambda dy, *a: gradients(name, dy, a[0], **options, weight=a[1], bias=a[2]), (x, weight, bias), rng=rng
    )


@every_case
def test_threads_do_not_show(name, shape, affine_shape, options, rng, set_num_threads):
    x, dy, weight, bias = draw(rng, np.float32, shape, affine_shape, True)
    options, results = options | {"weight": weight, "bias": bias}, []
    for threads in (1, 2, 3):
        set_num_threads(threads)
        results.append([getattr(ops, name)(x, **options), *gradients(name, dy, x, **options)])
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


@every_case
def test_what_is_not_needed_is_not_returned(name, shape, affine_shape, options, rng):
    x, dy, weight, bias = draw(rng, np.float32, shape, affine_shape, True)
    options = options | {"weight": weight, "bias": bias}
    every = gradients(name, dy, x, **options)
    for needs in ((True, False, False), (False, True, False), (False, False, True)):
        for need, some, full in zip(needs, gradients(name, dy, x, **options, needs=needs), every, strict=True):
            assert some is None if not need else np.array_equal(some, full)


@every_dtype
@pytest.mark.parametrize("name, shape, options", [("layer_norm", (3, 5000), {"normalized_shape": 5000}),
                                                  ("group_norm", (2, 4, 50, 50), {"num_groups": 2})])  # fmt: skip
def test_a_large_mean_costs_no_digits(name, shape, options, dtype, rng):
    x = (1e4 + rng.standard_normal(shape)).astype(dtype)
    rows = x.astype(np.longdouble).reshape(-1, x.size // (3 if name == "layer_norm" else 4))
    _, (mean, rstd) = getattr(ops, name)(x, **options, return_saved=True)
    np.testing.assert_allclose(mean.ravel(), rows.mean(1), rtol=2 * np.finfo(dtype).eps)
    np.testing.assert_allclose(rstd.ravel(), 1 / np.sqrt(rows.var(1) + 1e-5), rtol=16 * np.finfo(dtype).eps)


@every_case
def test_nan_stays_in_its_sample(name, shape, affine_shape, options, rng):
    x, *_ = draw(rng, np.float32, shape, affine_shape, False)
    for special in (np.nan, np.inf):
        x.ravel()[2] = special
        y = getattr(ops, name)(x, **options)
        np.testing.assert_array_equal(np.isnan(y), np.isnan(getattr(reference, name)(x, **options)))


# ---- running statistics of instances -----------------------------------------------------------------------------


@pytest.mark.parametrize("use_input_stats", [True, False])
def test_running_statistics(use_input_stats, rng):
    torch = pytest.importorskip("torch")
    x, dy, weight, bias = draw(rng, np.float64, (3, 4, 5, 6), (4,), True)
    running = [np.linspace(-1, 1, 4), np.linspace(0.5, 2, 4)]
    theirs, t = [torch.tensor(array) for array in running], torch.tensor(x, requires_grad=True)
    options = {"use_input_stats": use_input_stats, "momentum": 0.3}
    y = torch.nn.functional.instance_norm(t, *theirs, torch.tensor(weight), torch.tensor(bias), **options)
    y.backward(torch.tensor(dy))
    dx, none, nothing, dweight, dbias = ops.instance_norm_backward(dy, x, *running, weight, bias, **options)
    ours = ops.instance_norm(x, *running, weight, bias, **options)
    assert none is nothing is None
    np.testing.assert_allclose(ours, y.detach().numpy(), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(dx, t.grad.numpy(), rtol=1e-9, atol=1e-11)
    for own, other in zip(running, theirs, strict=True):
        np.testing.assert_allclose(own, other.numpy(), rtol=1e-12)
    fixed = running[0].copy()
    fixed.flags.writeable = False
    if use_input_stats:
        with pytest.raises(ValueError, match="running_mean is updated in place"):
            ops.instance_norm(x, fixed, running[1])


# ---- local responses ---------------------------------------------------------------------------------------------


@every_dtype
@pytest.mark.parametrize("size", [1, 2, 3, 5, 20])
@pytest.mark.parametrize("shape", [(2, 7, 5, 9), (1, 3, 700), (2, 33, 40, 41), (2, 2, 2, 3, 4)], ids=str)
def test_local_responses(shape, size, dtype, rng):
    x, dy = (rng.standard_normal((2, *shape)) * 3).astype(dtype)
    options = {"size": size, "alpha": 0.4, "beta": 0.6, "k": 2.0}
    y, saved = ops.local_response_norm(x, **options, return_saved=True)
    assert_close(y, reference.local_response_norm(x, **options), dtype)
    dx = ops.local_response_norm_backward(dy, x, **options, saved=saved)
    np.testing.assert_array_equal(dx, ops.local_response_norm_backward(dy, x, **options))
    assert_close(dx, reference.local_response_norm_backward(dy, x, **options), dtype)
    if dtype == np.float64:
        torch = pytest.importorskip("torch")
        t = torch.tensor(x, requires_grad=True)
        theirs = torch.nn.functional.local_response_norm(t, **options)
        theirs.backward(torch.tensor(dy))
        np.testing.assert_allclose(y, theirs.detach().numpy(), rtol=1e-12)
        np.testing.assert_allclose(dx, t.grad.numpy(), rtol=1e-9, atol=1e-11)


# ---- layers ------------------------------------------------------------------------------------------------------

LAYERS = [
    (layers.LayerNorm((5, 6)), (3, 4, 5, 6), "layer_norm", {"normalized_shape": (5, 6)}),
    (layers.LayerNorm(6, bias=False), (3, 6), "layer_norm", {"normalized_shape": 6}),
    (layers.GroupNorm(2, 4), (3, 4, 5, 6), "group_norm", {"num_groups": 2}),
    (layers.GroupNorm(4, 4, affine=False), (3, 4, 5), "group_norm", {"num_groups": 4}),
    (layers.InstanceNorm1d(4), (3, 4, 5), "instance_norm", {}),
    (layers.InstanceNorm2d(4, affine=True), (3, 4, 5, 6), "instance_norm", {}),
    (layers.InstanceNorm3d(4), (3, 4, 5, 6, 2), "instance_norm", {}),
]


@pytest.mark.parametrize("layer, shape, name, options", LAYERS, ids=[repr(layer) for layer, *_ in LAYERS])
def test_layers(layer, shape, name, options, rng):
    x, dy = rng.standard_normal((2, *shape)).astype(np.float32)
    layer.zero_grad()
    options = options | {key: layer.params.get(key) for key in ("weight", "bias")}
    y, backward = layer.forward(x)
    np.testing.assert_array_equal(y, getattr(ops, name)(x, **options))
    expected = gradients(name, dy, x, **options)
    for key, actual, value in zip(
        ("", "weight", "bias"), (backward(dy), *map(layer.grads.get, ("weight", "bias"))), expected, strict=True
    ):
        assert (actual is None) == (value is None), key
        if value is not None:
            np.testing.assert_array_equal(actual, value)
    assert layer.output_shape(shape) == shape
    with pytest.raises(ValueError, match="x must have"):
        layer.output_shape((3, 7))


def test_tracked_statistics_serve_inference(rng):
    layer = layers.InstanceNorm2d(3, track_running_stats=True)
    x = rng.standard_normal((2, 3, 5, 5)).astype(np.float32)
    layer.forward(x)
    assert layer.buffers["num_batches_tracked"] == 1
    running = layer.buffers["running_mean"], layer.buffers["running_var"]
    np.testing.assert_array_equal(layer(x), ops.instance_norm(x, *running, use_input_stats=False))


def test_local_response_layer(rng):
    x = rng.standard_normal((2, 6, 5, 5)).astype(np.float32)
    layer = layers.LocalResponseNorm(5, k=2.0)
    y, backward = layer.forward(x)
    np.testing.assert_array_equal(y, ops.local_response_norm(x, 5, k=2.0))
    np.testing.assert_array_equal(backward(y), ops.local_response_norm_backward(y, x, 5, k=2.0))
    assert layer.output_shape(x.shape) == x.shape and repr(layer) == "LocalResponseNorm(5, k=2.0)"


def test_batch_norm_of_volumes(rng):
    layer, x = layers.BatchNorm3d(3), rng.standard_normal((2, 3, 2, 4, 5)).astype(np.float32)
    y, backward = layer.forward(x)
    np.testing.assert_allclose(y.mean(axis=(0, 2, 3, 4)), 0, atol=1e-6)
    assert backward(y).shape == x.shape
    with pytest.raises(ValueError, match="x must have 5 axes"):
        layer(x[..., 0])


X, C4 = np.zeros((2, 4, 5, 5), np.float32), np.ones(4, np.float32)


@pytest.mark.parametrize(
    "name, arguments, error, message",
    [
        ("layer_norm", (X, 4), ValueError, r"x must have shape \(..., \*normalized_shape\)"),
        ("layer_norm", (X, ()), ValueError, "normalized_shape"),
        ("layer_norm", (X, 5.0), TypeError, "normalized_shape must be an int"),
        ("layer_norm", (X, 5, C4), ValueError, r"weight must have shape \(5,\)"),
        ("group_norm", (X, 3), ValueError, "num_groups must divide the 4 channels of x, got 3"),
        ("group_norm", (X, 0), ValueError, "num_groups must be >= 1"),
        ("group_norm", (X, 2, C4[:2]), ValueError, "weight must have shape"),
        ("group_norm", (X, 2, None, None, -1), ValueError, "eps must be finite and >= 0"),
        ("group_norm", (X, 2, None, None, "0"), TypeError, "eps must be a number"),
        ("instance_norm", (X[:, :, 0, 0],), ValueError, r"x must have shape \(n, c, \*size\)"),
        ("instance_norm", (X[:, :, :1, :1],), ValueError, "more than 1 element"),
        ("instance_norm", (X, None, None, None, None, False), ValueError, "needed without use_input_stats"),
        ("local_response_norm", (X, 0), ValueError, "size must be >= 1"),
        ("local_response_norm", (X, 2, "a"), TypeError, "alpha must be a number"),
    ],
)
def test_bad_input(name, arguments, error, message):
    with pytest.raises(error, match=f"{name}: .*{message}"):
        getattr(ops, name)(*arguments)
    with pytest.raises(error, match=f"{name}_backward: .*{message}"):
        getattr(ops, f"{name}_backward")(arguments[0], *arguments)


@pytest.mark.parametrize("saved", [(C4,), (C4, C4), (C4, None), "saved"])
def test_bad_saved(saved):
    for name, options in (
        ("layer_norm", {"normalized_shape": 5}),
        ("group_norm", {"num_groups": 2}),
        ("instance_norm", {}),
    ):
        with pytest.raises((TypeError, ValueError), match="saved"):
            getattr(ops, f"{name}_backward")(X, X, **options, saved=saved)


@pytest.mark.parametrize("name, options", [("layer_norm", {"normalized_shape": 5}), ("group_norm", {"num_groups": 2}),
                                           ("instance_norm", {})])  # fmt: skip
def test_an_empty_batch(name, options):
    affine = (5,) if name == "layer_norm" else (4,)
    options = options | {key: np.ones(affine, np.float32) for key in ("weight", "bias")}
    y, saved = getattr(ops, name)(X[:0], **options, return_saved=True)
    dx, dweight, dbias = gradients(name, y, X[:0], **options, saved=saved)
    assert y.shape == dx.shape == (0, 4, 5, 5) and not dweight.any() and not dbias.any()
