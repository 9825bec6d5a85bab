"""Convolutions of any number of axes, transposed ones, padding modes and layers against PyTorch, in float64."""

import numpy as np
import pytest
from test_against_torch import F, check, one_thread, torch

from fastconv import layers
from fastconv.testing import random_geometry, random_transpose

__all__ = ["one_thread"]  # a fixture for every test here


def pads(pairs):
    """List the pairs as `torch.nn.functional.pad` wants them: the last axis first."""
    return [n for pair in reversed(pairs) for n in pair]


@pytest.mark.parametrize("ndim", [1, 3])
@pytest.mark.parametrize("seed", range(40))
def test_convolution(seed, ndim):
    rng = np.random.default_rng(seed)
    case = random_geometry(rng, 5_000, ndim)
    convolve, padding = getattr(F, case.op), pads(case.geometry.window.padding)
    options = {"stride": case.stride, "dilation": case.dilation, "groups": case.groups}
    arrays = case.arrays(rng.standard_normal)
    check(case.op, lambda x, w, b: convolve(F.pad(x, padding), w, b, **options), arrays, rng, **case.options)


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("seed", range(40))
def test_transposed_convolution(seed, ndim):
    rng = np.random.default_rng(seed)
    case = random_transpose(rng, 5_000, ndim)
    if not case.x[0]:
        pytest.skip("PyTorch has no gradients of an empty batch here")
    spread, geometry = getattr(F, case.op), case.geometry
    ends = zip(geometry.convolution.window.padding, geometry.y_shape[2:], strict=True)
    kept = (..., *(slice(before, before + size) for (before, _), size in ends))
    options = {name: value for name, value in case.options.items() if name != "padding"}
    arrays = case.arrays(rng.standard_normal)
    check(case.op, lambda x, w, b: spread(x, w, b, **options)[kept], arrays, rng, **case.options)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_padding_mode(ndim, mode, rng):
    pairs = ((2, 1), (0, 3), (1, 1))[:ndim]
    shapes = (2, 3, *(5, 4, 6)[:ndim]), (4, 3, *(3, 2, 3)[:ndim]), (4,)
    convolve, name = getattr(F, f"conv{ndim}d"), f"conv{ndim}d"
    arrays = tuple(rng.standard_normal(shape) for shape in shapes)
    options = {"padding": pairs, "padding_mode": mode}
    check(name, lambda x, w, b: convolve(F.pad(x, pads(pairs), mode), w, b), arrays, rng, **options)


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Conv", {"stride": 2, "padding": 1, "groups": 2, "padding_mode": "reflect"}),
        ("Conv", {"dilation": 2, "padding": "same", "padding_mode": "circular", "bias": False}),
        ("ConvTranspose", {"stride": 3, "padding": 1, "output_padding": 2, "groups": 2}),
        ("ConvTranspose", {"dilation": 2, "output_padding": 1, "bias": False}),
    ],
)
def test_layers_have_the_arguments_of_pytorch(name, options, ndim, rng):
    layer = getattr(layers, f"{name}{ndim}d")(4, 6, 3, **options, rng=0).astype(np.float64)
    theirs = getattr(torch.nn, f"{name}{ndim}d")(4, 6, 3, **options).double()
    assert {key: array.shape for key, array in layer.params.items()} == {
        key: tuple(tensor.shape) for key, tensor in theirs.named_parameters()
    }
    theirs.load_state_dict({key: torch.tensor(array) for key, array in layer.params.items()})
    x = rng.standard_normal((2, 4, *(7, 6, 5)[:ndim]))
    tensor = torch.tensor(x, requires_grad=True)
    y, backward = layer.forward(x)
    expected = theirs(tensor)
    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=0, atol=1e-12)
    assert y.shape == layer.output_shape(x.shape)
    dy = rng.standard_normal(y.shape)
    expected.backward(torch.tensor(dy))
    np.testing.assert_allclose(backward(dy), tensor.grad.numpy(), rtol=0, atol=1e-12)
    for key, gradient in layer.grads.items():
        np.testing.assert_allclose(gradient, getattr(theirs, key).grad.numpy(), rtol=0, atol=1e-11)
