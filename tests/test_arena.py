"""Parameters and gradients of a model in two flat arrays."""

import numpy as np
import pytest

from fastconv.layers import Arena, Conv2d, Flatten, Linear, ReLU, Sequential


def build(dtype=np.float32):
    shared = Linear(5, 5, rng=2)
    return Sequential(Conv2d(1, 3, 3, rng=0), ReLU(), Flatten(), Linear(12, 5, rng=1), shared, ReLU(), shared).astype(
        dtype
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_layers_hold_views(dtype):
    model = build(dtype)
    model[0].grads["bias"][...] = 4
    before = model.state_dict()
    arena = Arena(model)
    assert arena.params.dtype == arena.grads.dtype == dtype
    assert list(arena.views(arena.params)) == list(before)
    for name, array in model.named_parameters():
        np.testing.assert_array_equal(array, before[name])
        assert np.shares_memory(array, arena.params) and array.ctypes.data % 64 == 0
    assert all(np.shares_memory(array, arena.grads) for _, array in model.named_gradients())
    assert (arena.views(arena.grads)["0.bias"] == 4).all() and arena.grads.sum() == 12
    arena.params *= 2
    for name, array in model.named_parameters():
        np.testing.assert_array_equal(array, 2 * before[name])


def test_gaps_are_zero():
    model = build()
    arena = Arena(model)
    for view in arena.views(arena.params).values():
        view[...] = 0
    assert not arena.params.any()
    assert arena.params.size % 16 == 0 and arena.params.size < model.parameter_count + 16 * 6


def test_training_fills_the_flat_gradients():
    plain, model = build(), build()
    arena = Arena(model)
    x = np.random.default_rng(0).standard_normal((2, 1, 4, 4)).astype(np.float32)
    for network in (plain, model):
        y, backward = network.forward(x)
        backward(y)
    views = arena.views(arena.grads)
    for name, gradient in plain.named_gradients():
        assert gradient.any()
        np.testing.assert_array_equal(views[name], gradient)
    model.zero_grad()
    assert not arena.grads.any()
    arena.grads[...] = 1
    arena.zero_grad()
    assert not any(gradient.any() for _, gradient in model.named_gradients())


def test_loading_a_state_writes_into_the_arena():
    model = build()
    arena = Arena(model)
    model.load_state_dict({name: np.ones_like(array) for name, array in model.named_parameters()})
    assert arena.params.sum() == model.parameter_count


def test_mixed_dtypes():
    model = build()
    model[0].astype(np.float64)
    with pytest.raises(TypeError, match=r"Arena: parameters must have one dtype, got \['float32', 'float64'\]"):
        Arena(model)


def test_a_model_without_parameters():
    assert Arena(Sequential(ReLU())).params.shape == (0,)
