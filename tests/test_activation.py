"""Activations: every function of the table against its specification, PyTorch and SciPy."""

import numpy as np
import pytest
from scipy import special

from fastconv import layers, ops, reference
from fastconv.cpu.elementwise import CHUNK, FUNCTIONS

NAMES = ops.FAMILIES["activation"]
OPTIONS = {"leaky_relu": {"negative_slope": 0.2}, "elu": {"alpha": 1.7}}
CALLS = [(name, OPTIONS.get(name, {})) for name in NAMES] + [("gelu", {"approximate": "tanh"})]
KINKS = np.array([0.0, -0.0, 3.0, -3.0, 6.0])
LAYERS = {
    "relu": layers.ReLU, "relu6": layers.ReLU6, "leaky_relu": layers.LeakyReLU, "elu": layers.ELU,
    "sigmoid": layers.Sigmoid, "tanh": layers.Tanh, "silu": layers.SiLU, "hardsigmoid": layers.Hardsigmoid,
    "hardswish": layers.Hardswish, "gelu": layers.GELU,
}  # fmt: skip
every_call = pytest.mark.parametrize(
    "name, options", CALLS, ids=[name + "_tanh" * ("approximate" in o) for name, o in CALLS]
)
every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])


def both(name, module=ops):
    return getattr(module, name), getattr(module, f"{name}_backward")


def numbers(rng, dtype):
    """Draw numbers of all sizes, more than one task treats, with what is special among them."""
    x = np.concatenate([rng.standard_normal(CHUNK // 4 + 3) * scale for scale in (1e-8, 1e-3, 1, 4, 30, 1000)])
    return np.concatenate([x, KINKS, [np.nan, np.inf, -np.inf]]).astype(dtype)


def test_the_table_has_every_function():
    assert set(FUNCTIONS) == {*NAMES, "gelu_tanh"} == {*LAYERS, "gelu_tanh"}


@every_dtype
@every_call
def test_the_specification(name, options, dtype, rng):
    x, few = numbers(rng, dtype), 32 * np.finfo(dtype).eps
    dy = rng.standard_normal(x.shape).astype(dtype)
    (f, f_backward), (exact, exact_backward) = both(name), both(name, reference)
    y, dx = f(x, **options), f_backward(dy, x, **options)
    assert y.dtype == dx.dtype == dtype
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(y, exact(x, **options).astype(dtype), rtol=few, atol=few)
        np.testing.assert_allclose(dx, exact_backward(dy, x, **options).astype(dtype), rtol=few, atol=few)


@every_call
def test_pytorch_agrees(name, options, rng):
    torch = pytest.importorskip("torch")
    x = numbers(rng, np.float64)
    x = x[np.isfinite(x)]  # PyTorch's slope at NaN is a number for some of them
    t = torch.tensor(x, requires_grad=True)
    y = getattr(torch.nn.functional, name)(t, **options)
    dy = rng.standard_normal(x.shape)
    y.backward(torch.tensor(dy))
    f, f_backward = both(name)
    few = 1e-7 if name == "hardsigmoid" else 1e-12  # its 1/6 is a float32 in PyTorch
    np.testing.assert_allclose(f(x, **options), y.detach().numpy(), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(f_backward(dy, x, **options), t.grad.numpy(), rtol=few, atol=1e-13)


@every_dtype
def test_small_values_keep_their_digits(dtype):
    """Where PyTorch's 1 + erf(x) is nearly 0, ours is not a difference; nor is exp(x) - 1 near 0."""
    x, few = np.linspace(-9, 9, 4001).astype(dtype), 8 * np.finfo(dtype).eps
    wide = x.astype(np.float64)
    np.testing.assert_allclose(ops.gelu(x), wide * special.ndtr(wide), rtol=few if dtype == np.float32 else 1e-13)
    np.testing.assert_allclose(ops.silu(x), wide * special.expit(wide), rtol=few)
    small = (x * 1e-4).astype(dtype)
    np.testing.assert_allclose(ops.elu(small), np.where(small > 0, small, np.expm1(small.astype(float))), rtol=few)


@pytest.mark.parametrize("name", [name for name in NAMES if FUNCTIONS[name].by == "y"])
def test_layers_keep_what_the_gradient_follows_from(name):
    assert LAYERS[name].keeps == "y"


@every_call
def test_layers(name, options, rng):
    x = rng.standard_normal((3, 4, 5)).astype(np.float32)
    layer = LAYERS[name](**options)
    y, backward = layer.forward(x)
    f, f_backward = both(name)
    np.testing.assert_array_equal(y, f(x, **options))
    np.testing.assert_array_equal(backward(y), f_backward(y, x, **options))
    assert layer.output_shape(x.shape) == x.shape and not layer.params
    assert repr(layer) == type(layer).__name__ + "(" + "".join(f"{k}={v!r}" for k, v in options.items()) + ")"


def test_results_past_the_caches_are_the_same(rng, monkeypatch):
    from fastconv.cpu import elementwise

    x = rng.standard_normal(2 * CHUNK + 5).astype(np.float32)
    y = ops.silu(x)
    monkeypatch.setattr(elementwise, "PAST_CACHES", 0)
    elementwise._plan.cache_clear()
    np.testing.assert_array_equal(ops.silu(x), y)
    elementwise._plan.cache_clear()


@pytest.mark.parametrize(
    "name, options, error, message",
    [
        ("leaky_relu", {"negative_slope": "0.1"}, TypeError, "negative_slope must be a number"),
        ("leaky_relu", {"negative_slope": np.nan}, ValueError, "negative_slope must be finite"),
        ("elu", {"alpha": True}, TypeError, "alpha must be a number"),
        ("gelu", {"approximate": "erf"}, ValueError, "approximate must be 'none' or 'tanh', got 'erf'"),
        ("gelu", {"approximate": None}, ValueError, "approximate must be"),
    ],
)
def test_bad_options(name, options, error, message):
    x = np.zeros(3, np.float32)
    f, f_backward = both(name)
    with pytest.raises(error, match=f"{name}: {message}"):
        f(x, **options)
    with pytest.raises(error, match=f"{name}_backward: {message}"):
        f_backward(x, x, **options)
    with pytest.raises(TypeError, match=f"{name}: x must be float32 or float64"):
        f(np.zeros(3, int))
    with pytest.raises(ValueError, match=f"{name}_backward: dy must have shape"):
        f_backward(x[:2], x)
