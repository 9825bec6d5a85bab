"""Heads at the side: their scores, the gradient of all losses together, and that inference leaves them out."""

import numpy as np
import pytest

import fastconv
from fastconv.layers import Arena, Conv2d, Flatten, Linear, ReLU, Scale, Sequential, SideHead, Supervised, summary_rows
from fastconv.testing import gradcheck_layer
from fastconv.train import gradients
from fastconv.train.objective import objective


def parts(rng, size=4):
    first, second, third = (Conv2d(i, o, 3, padding=1, rng=rng) for i, o in [(2, 3), (3, 2), (2, 2)])
    heads = [Sequential(Flatten(), Linear(channels * size**2, 3, rng=rng)) for channels in (3, 2, 2)]
    return (first, second, third), heads


def supervised(rng):
    (first, second, third), (head1, head2, end) = parts(rng)
    chain = {"conv1": first, "relu": ReLU(), "side1": SideHead(head1), "conv2": second, "side2": SideHead(head2, 0.5)}
    return Supervised(chain | {"conv3": third, "end": end})


def test_scores_of_all_heads(rng):
    model, x = supervised(np.random.default_rng(0)), rng.standard_normal((5, 2, 4, 4), np.float32)
    (first, second, third), (head1, head2, end) = parts(np.random.default_rng(0))
    maps1 = ReLU()(first(x))
    maps2 = second(maps1)
    scores, _ = model.forward(x)
    np.testing.assert_array_equal(scores, [end(third(maps2)), head1(maps1), head2(maps2)])
    np.testing.assert_array_equal(model(x), scores[0])


def test_gradients_are_slopes(rng):
    gradcheck_layer(supervised(rng), rng.standard_normal((2, 2, 4, 4)), rng)


def test_a_head_first_and_no_head():
    rng = np.random.default_rng(0)
    end = Sequential(Flatten(), Linear(8, 3, rng=rng))
    head = Sequential(Flatten(), Linear(8, 3, rng=rng))
    gradcheck_layer(Supervised({"side": SideHead(head), "end": end}), rng.standard_normal((2, 2, 2, 2)), rng)
    end = Linear(8, 3, rng=rng)
    assert Supervised(end).forward(np.ones((2, 8), np.float32))[0].shape == (1, 2, 3)


def test_no_gradient_of_the_input_is_computed(rng):
    model, x = supervised(rng).astype(np.float64), rng.standard_normal((5, 2, 4, 4))
    y, backward = model.forward(x)
    assert backward(np.ones_like(y), input_gradient=False) is None
    alone = {name: gradient.copy() for name, gradient in model.named_gradients()}
    model.zero_grad()
    model.forward(x)[1](np.ones_like(y))
    for name, gradient in model.named_gradients():
        np.testing.assert_array_equal(gradient, alone[name])


def test_losses_are_added(rng):
    model, x = supervised(rng).astype(np.float64), rng.standard_normal((5, 2, 4, 4))
    target = np.array([0, 1, 2, 1, 0])
    y, backward = model.forward(x)
    scores, loss, dy = objective(model, y, target)
    np.testing.assert_array_equal(scores, y[0])
    expected = sum(w * fastconv.cross_entropy(head, target) for w, head in zip((1, 0.3, 0.5), y, strict=True))
    assert loss == pytest.approx(expected, rel=1e-14)
    backward(dy)
    wanted = {name: gradient.copy() for name, gradient in model.named_gradients()}
    arena = Arena(model)
    assert gradients(model, arena, x, target) == (loss, int((y[0].argmax(1) == target).sum()))
    for name, gradient in model.named_gradients():
        np.testing.assert_array_equal(gradient, wanted[name])


def test_objective_without_heads(rng):
    scores, target = rng.standard_normal((4, 3)), np.array([0, 1, 2, 1])
    y, loss, dy = objective(Sequential(Linear(3, 3)), scores, target)
    assert y.shape == scores.shape and loss == fastconv.cross_entropy(scores, target)
    np.testing.assert_array_equal(dy, fastconv.cross_entropy_backward(1.0, scores, target))


def test_names_and_costs(rng):
    model = supervised(rng)
    names = [name for name, _ in model.named_parameters()]
    assert names[2:4] == ["side1.1.weight", "side1.1.bias"] and model.loss_weights == (1, 0.3, 0.5)
    shape = (1, 2, 4, 4)
    assert model.output_shape(shape) == (1, 3)
    rows = summary_rows(model, shape)
    assert sum(row.parameters for row in rows) == model.parameter_count
    assert sum(row.macs for row in rows) == model.macs(shape) == (54 + 54 + 36) * 16 + 32 * 3
    assert ("side1", "SideHead(...)", (1, 3, 4, 4), 147, 0) in rows


def test_hidden_names():
    first, second = Linear(2, 2), Linear(2, 2)
    model = Sequential({".first": Sequential({"a": first}), "": Sequential({".inner": Sequential({"b": second})})})
    assert [name for name, _ in model.named_parameters()] == ["a.weight", "a.bias", "b.weight", "b.bias"]
    with pytest.raises(ValueError, match=r"Sequential: two layers in it are called \['a'\]"):
        Sequential({".first": Sequential({"a": first}), ".second": Sequential({".inner": Sequential({"a": second})})})


def test_scale(rng):
    layer, x = Scale(0.17), rng.standard_normal((2, 3), np.float32)
    np.testing.assert_array_equal(layer(x), np.float32(0.17) * x)
    assert repr(layer) == "Scale(0.17)" and layer.output_shape((2, 3)) == (2, 3)
    gradcheck_layer(layer, rng.standard_normal((2, 3)), rng)


@pytest.mark.parametrize(("value", "error"), [("1", TypeError), (True, TypeError), (np.nan, ValueError)])
def test_bad_factors(value, error):
    with pytest.raises(error, match="Scale: factor must be"):
        Scale(value)
    with pytest.raises(error, match="SideHead: weight must be"):
        SideHead(ReLU(), value)
