"""Layers made of layers: values, shapes, and errors that name the branch."""

import numpy as np
import pytest

from fastconv.layers import (
    AvgPool2d,
    Concat,
    Conv2d,
    Dropout,
    Flatten,
    Gate,
    Identity,
    Linear,
    MaxPool2d,
    Mean,
    ReLU,
    Sequential,
    Sigmoid,
    Sum,
    Tanh,
)

X = np.random.default_rng(0).standard_normal((2, 3, 4, 4))


def test_values():
    np.testing.assert_allclose(Sum(Identity(), Tanh())(X), X + np.tanh(X))
    np.testing.assert_allclose(Mean(Identity(), Tanh(), Identity())(X), (2 * X + np.tanh(X)) / 3)
    np.testing.assert_allclose(Concat(Tanh(), Identity())(X), np.concatenate([np.tanh(X), X], 1))
    np.testing.assert_allclose(Gate(Identity(), Tanh())(X), X * np.tanh(X))
    means = X.mean((2, 3), keepdims=True)
    np.testing.assert_allclose(Gate(Tanh(), AvgPool2d(4))(X), np.tanh(X) * means)


def test_identity_is_the_array_itself():
    assert Identity()(X) is X


def test_branches_may_return_the_same_array():
    """An in-place sum over branches that hand through x or dy would change the caller's arrays."""
    x = X.copy()
    y, backward = Sum(Identity(), Identity(), Identity()).forward(x)
    np.testing.assert_allclose(y, 3 * X)
    dy = np.ones_like(y)
    np.testing.assert_array_equal(backward(dy), 3 * np.ones_like(y))
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(dy, 1)


def test_overflow_is_quiet_infinity():
    largest = np.full((1, 2, 3, 3), np.finfo(np.float32).max)
    y, backward = Sum(Identity(), Identity()).forward(largest)
    assert np.isinf(y).all() and np.isinf(backward(largest)).all()
    assert np.isinf(Gate(Identity(), AvgPool2d(3)).forward(largest)[1](largest)).all()


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("layer", [MaxPool2d(2, 2, 1), Linear(8, 5)], ids=repr)
def test_neighbours_that_merge_change_nothing(layer, bad, rng):
    """A layer and the ReLU after it are one pass over memory, with the bits of two."""
    x = rng.standard_normal((2, 3, 9, 8)).astype(np.float32)
    x[0, :, 2:5, 3] = bad
    relu = ReLU()
    y, backward = Sequential(layer, relu).forward(x)
    dy = rng.standard_normal(y.shape).astype(np.float32)
    layer.zero_grad()
    dx = backward(dy)
    gradients = {name: gradient.copy() for name, gradient in layer.named_gradients()}
    before, through_layer = layer.forward(x)
    expected, through_relu = relu.forward(before)
    np.testing.assert_array_equal(y, expected)
    layer.zero_grad()
    np.testing.assert_array_equal(dx, through_layer(through_relu(dy)))
    for name, gradient in layer.named_gradients():
        np.testing.assert_array_equal(gradients[name], gradient)
    np.testing.assert_array_equal(Sequential(layer, relu, ReLU())(x), expected)


def test_sequential_is_a_sequence():
    model = Sequential(Conv2d(1, 2, 3), ReLU(), MaxPool2d(2), Tanh())
    assert len(model) == 4 and list(model)[1] is model[1] and model[-1] is model[3]
    front = model[:2]
    assert isinstance(front, Sequential) and len(front) == 2 and front[0] is model[0]
    assert [name for name, _ in model[1:].named_parameters()] == []
    with pytest.raises(IndexError):
        model[4]


CONV = Conv2d(3, 8, 3)


@pytest.mark.parametrize(
    "layer, message",
    [
        (
            Sum(CONV, Identity()),
            r"Sum: branches must give equal shapes, but branch '0' \(Conv2d\) gives \(2, 8, 2, 2\), "
            r"branch '1' \(Identity\) gives \(2, 3, 4, 4\)",
        ),
        (Mean(Identity(), CONV), "Mean: branches must give equal shapes"),
        (Concat(Identity(), CONV), r"Concat: branches must give shapes that differ in axis 1 only, .*'1' \(Conv2d\)"),
        (Concat(Flatten(0), Flatten(0)), r"Concat: .* gives \(96,\)"),
        (Gate(Identity(), CONV), r"Gate: the gate must give the trunk's shape.* 'gate' \(Conv2d\) gives \(2, 8, 2, 2"),
        (Gate(AvgPool2d(4), Identity()), "Gate: "),
        (Gate(Identity(), Flatten()), "Gate: "),
        (Gate(Identity(), AvgPool2d(2)), "Gate: "),
    ],
)
def test_branches_that_disagree(layer, message):
    with pytest.raises(ValueError, match=message):
        layer.output_shape(X.shape)
    with pytest.raises(ValueError, match=message):
        layer(X.astype(np.float32))


@pytest.mark.parametrize("combinator", [Sum, Mean, Concat])
def test_no_branches(combinator):
    with pytest.raises(ValueError, match=f"{combinator.__name__}: at least one branch"):
        combinator()


def test_only_layers_can_be_combined():
    with pytest.raises(TypeError, match=r"Sequential: '1' must be a Layer, got <ufunc"):
        Sequential(ReLU(), np.tanh)
    with pytest.raises(TypeError, match="Gate: 'gate' must be a Layer, got None"):
        Gate(Sigmoid(), None)


@pytest.mark.parametrize(
    "linear, remedy",
    [
        (Linear(48, 5), r"\. It was built for 3x4x4: .* Conv2d\(3, 5, 4\) in place of Flatten and Linear"),
        (Linear(36, 5), r"\. It was built for 3 maps of 12 pixels: .* Conv2d\(3, 5, \(h, w\) with h \* w = 12\)"),
        (Linear(50, 5), "$"),
    ],
)
def test_an_image_of_another_size_is_explained(linear, remedy):
    model = Sequential(ReLU(), Flatten(), linear)
    message = rf"needs {linear.in_features} features, but Flatten makes 192 of 3x8x8{remedy}"
    with pytest.raises(ValueError, match=message):
        model(np.zeros((2, 3, 8, 8), np.float32))
    with pytest.raises(ValueError, match=message):
        model.output_shape((2, 3, 8, 8))


def test_the_remedy_works():
    """The convolution that the error recommends is the same function, for images of any size."""
    linear, conv = Linear(48, 5, rng=0), Conv2d(3, 5, 4)
    conv.params["weight"][...] = linear.params["weight"].reshape(5, 3, 4, 4)
    conv.params["bias"][...] = linear.params["bias"]
    x = X.astype(np.float32)
    expected = Sequential(Flatten(), linear)(x)
    np.testing.assert_allclose(conv(x)[:, :, 0, 0], expected, rtol=1e-5, atol=1e-6)
    assert conv(np.zeros((2, 3, 8, 8), np.float32)).shape == (2, 5, 5, 5)


# ---- names


def linear():
    return Linear(3, 3, rng=0)


def test_a_dict_names_layers_and_a_nameless_one_adds_nothing():
    unit = Sequential({"": Sum({"": Sequential({"fc1": linear(), "fc2": linear()}), "skip": linear()}), "relu": ReLU()})
    assert [name for name, _ in unit.named_parameters()] == [
        f"{layer}.{key}" for layer in ("fc1", "fc2", "skip") for key in ("weight", "bias")
    ]
    numbered = Sequential(Sum(Sequential(*unit[0].children[""]), unit[0].children["skip"]), ReLU())
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(unit(x), numbered(x))
    unit.load_state_dict(unit.state_dict())


def test_names_that_would_meet_are_refused():
    with pytest.raises(ValueError, match=r"Sum: two layers in it are called \['fc'\]"):
        Sum({"": Sequential({"fc": linear()}), "fc": linear()})


def test_a_gate_has_two_layers():
    with pytest.raises(ValueError, match="Gate: a trunk and a gate are needed, got 1"):
        Gate(Identity())


def test_counters_may_be_missing_from_a_file():
    model = Sequential(Dropout(0.5), linear())
    state = {key: array for key, array in model.state_dict().items() if key != "0.passes"}
    assert model.load_state_dict(state) == ([], [])
    with pytest.raises(ValueError, match="missing: 1.bias"):
        model.load_state_dict({key: array for key, array in state.items() if key != "1.bias"})
