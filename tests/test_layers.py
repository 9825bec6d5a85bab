"""Layers one by one: gradients, shapes, costs, names, and what their backward pass promises."""

import gc
import weakref

import numpy as np
import pytest

from fastconv import init, ops
from fastconv.layers import (
    AvgPool2d,
    Concat,
    Conv2d,
    DeformConv2d,
    Flatten,
    Gate,
    GlobalAvgPool2d,
    Identity,
    Layer,
    Linear,
    LogSoftmax,
    MaxPool2d,
    Mean,
    ReLU,
    ReLU6,
    Sequential,
    Sigmoid,
    Softmax,
    Sum,
    Tanh,
    summary_rows,
)
from fastconv.testing import gradcheck


def deformable():
    """Return a layer whose taps do not lie on pixels, where the slopes would jump."""
    layer = DeformConv2d(4, 2, (3, 2), (2, 1), 1, groups=2, offset_groups=2, rng=12)
    layer.params["offset.weight"][:] = np.random.default_rng(12).uniform(-0.01, 0.01, (36, 4, 3, 2))
    layer.params["offset.bias"][:] = np.linspace(-1.7, 1.8, 36)
    return layer


# (layer, shape of its input)
LAYERS = {
    "conv": (lambda: Conv2d(2, 3, 3, padding=1, rng=1), (2, 2, 5, 4)),
    "conv_options": (lambda: Conv2d(4, 6, (3, 2), (2, 1), ((1, 0), (2, 1)), 2, 2, bias=False, rng=2), (1, 4, 7, 6)),
    "deform_conv": (deformable, (2, 4, 5, 4)),
    "linear": (lambda: Linear(5, 3, rng=3), (4, 5)),
    "linear_no_bias": (lambda: Linear(5, 3, bias=False, rng=4), (2, 3, 5)),
    "max_pool": (lambda: MaxPool2d(2), (2, 3, 6, 5)),
    "max_pool_options": (lambda: MaxPool2d(3, 2, 1, ceil_mode=True), (1, 2, 6, 7)),
    "avg_pool": (lambda: AvgPool2d(2), (2, 3, 6, 5)),
    "avg_pool_options": (lambda: AvgPool2d((3, 2), 2, 1, True, False), (1, 2, 6, 7)),
    "global_avg_pool": (GlobalAvgPool2d, (2, 3, 6, 5)),
    "flatten": (lambda: Flatten(), (2, 3, 2, 2)),
    "flatten_some": (lambda: Flatten(0, -2), (2, 3, 2, 2)),
    "relu": (ReLU, (3, 7)),
    "relu6": (ReLU6, (3, 7)),
    "sigmoid": (Sigmoid, (3, 7)),
    "tanh": (Tanh, (3, 7)),
    "softmax": (Softmax, (3, 7)),
    "softmax_channels": (lambda: Softmax(1), (2, 3, 2, 2)),
    "log_softmax": (LogSoftmax, (3, 7)),
    "identity": (Identity, (2, 3)),
    "empty": (Sequential, (2, 3)),
    "chain": (lambda: Sequential(Conv2d(1, 2, 3, rng=5), Tanh(), Flatten(), Linear(8, 3, rng=6)), (2, 1, 4, 4)),
    "sum": (lambda: Sum(Identity(), Conv2d(2, 2, 3, padding=1, rng=7), Sigmoid()), (2, 2, 4, 4)),
    "sum_of_one": (lambda: Sum(Tanh()), (2, 3)),
    "mean": (lambda: Mean(Identity(), Conv2d(2, 2, 1, rng=8), Tanh()), (2, 2, 3, 3)),
    "concat": (lambda: Concat(Conv2d(2, 3, 1, rng=9), Identity(), Tanh()), (2, 2, 3, 3)),
    "gate": (lambda: Gate(Tanh(), Sequential(Conv2d(2, 2, 1, rng=10), Sigmoid())), (2, 2, 3, 3)),
    "squeeze_excite": (
        lambda: Gate(Identity(), Sequential(AvgPool2d((3, 2)), Conv2d(2, 2, 1, rng=11), Sigmoid())),
        (2, 2, 3, 2),
    ),
}
every_layer = pytest.mark.parametrize("build, shape", LAYERS.values(), ids=LAYERS)


def draw(shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def as_function(layer):
    """Return a layer as an op and its gradient: functions of its input and its parameters."""

    def put(params):
        layer.load_state_dict(dict(zip(layer.state_dict(), params, strict=True)))

    def f(x, *params):
        put(params)
        return layer(x)

    def f_backward(dy, x, *params):
        put(params)
        layer.zero_grad()
        dx = layer.forward(x)[1](dy)
        return (dx, *(gradient for _, gradient in layer.named_gradients()))

    return f, f_backward


@every_layer
def test_gradients_are_slopes(build, shape):
    layer = build().astype(np.float64)
    gradcheck(*as_function(layer), (draw(shape), *layer.state_dict().values()))


@every_layer
def test_training_and_inference_agree_with_the_shape(build, shape):
    layer = build()
    x = draw(shape, dtype=np.float32)
    before = x.copy()
    y, backward = layer.forward(x)
    assert y.shape == layer.output_shape(shape) and y.dtype == np.float32
    np.testing.assert_array_equal(layer(x), y)
    dy = draw(y.shape, 1, np.float32)
    dy_before = dy.copy()
    dx = backward(dy)
    assert dx.shape == x.shape and dx.dtype == np.float32
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(dy, dy_before)


@every_layer
def test_without_the_input_gradient_parameters_get_the_same(build, shape):
    layer = build()
    x = draw(shape, dtype=np.float32)
    y, backward = layer.forward(x)
    dy = draw(y.shape, 1, np.float32)
    backward(dy)
    wanted = [gradient.copy() for _, gradient in layer.named_gradients()]
    layer.zero_grad()
    assert layer.forward(x)[1](dy, input_gradient=False) is None
    for (name, gradient), expected in zip(layer.named_gradients(), wanted, strict=True):
        np.testing.assert_array_equal(gradient, expected, err_msg=name)


def test_the_first_layers_skip_what_nobody_needs(monkeypatch):
    needs_seen = []
    conv2d_backward = ops.conv2d_backward

    def spy(*args, needs, **options):
        needs_seen.append(needs)
        return conv2d_backward(*args, needs=needs, **options)

    monkeypatch.setattr(ops, "conv2d_backward", spy)
    monkeypatch.setattr(ops, "tanh_backward", lambda *args, **options: pytest.fail("this gradient leads nowhere"))
    convs = [Conv2d(2, 2, 1), Conv2d(2, 2, 1, bias=False)]
    y, backward = Sequential(Sequential(Tanh(), convs[0]), ReLU(), convs[1]).forward(draw((1, 2, 3, 3), 0, np.float32))
    backward(y, input_gradient=False)
    assert needs_seen == [(True, True, False), (False, True, True)]
    assert convs[0].grads["weight"].any()


# ---- the backward pass


@every_layer
def test_backward_works_once(build, shape):
    layer = build()
    y, backward = layer.forward(draw(shape, dtype=np.float32))
    backward(y)
    gradients = [gradient.copy() for _, gradient in layer.named_gradients()]
    with pytest.raises(RuntimeError, match="called twice"):
        backward(y)
    for before, (_, after) in zip(gradients, layer.named_gradients(), strict=True):
        np.testing.assert_array_equal(after, before)


def test_a_wrong_gradient_does_not_spend_the_pass():
    y, backward = Conv2d(1, 2, 3).forward(np.ones((1, 1, 4, 4), np.float32))
    with pytest.raises(ValueError, match=r"Conv2d: dy must have the shape of the output, \(1, 2, 2, 2\), got \(2, 2\)"):
        backward(y[0, 0])
    assert backward(y).shape == (1, 1, 4, 4)


def test_there_is_no_way_back_through_inference():
    _, backward = ReLU().forward(np.ones((2, 2), np.float32), train=False)
    with pytest.raises(RuntimeError, match="inference"):
        backward(np.ones((2, 2), np.float32))


def conv_net():
    return Sequential(Conv2d(1, 2, 3), ReLU(), MaxPool2d(2), Sum(Identity(), Tanh()), Flatten(), Linear(8, 3))


@pytest.mark.parametrize("train", [False, True])
def test_nothing_stays_alive(train):
    """After inference, and after backward, all that a pass has kept is gone without the garbage collector."""
    model = conv_net()
    x = np.ones((2, 1, 6, 6), np.float32)
    alive = weakref.ref(x)
    gc.disable()
    try:
        y, backward = model.forward(x, train)
        del x
        assert (alive() is not None) == train
        if train:
            backward(y)
        assert alive() is None
    finally:
        gc.enable()


def test_two_forward_passes_before_one_backward():
    layer = Linear(4, 3, rng=0).astype(np.float64)
    x1, x2, dy = draw((2, 4)), draw((2, 4), 1), draw((2, 3), 2)
    _, backward1 = layer.forward(x1)
    _, backward2 = layer.forward(x2)
    backward1(dy)
    np.testing.assert_allclose(layer.grads["weight"], dy.T @ x1)
    backward2(dy)
    np.testing.assert_allclose(layer.grads["weight"], dy.T @ (x1 + x2))


def test_a_shared_layer_adds_up():
    shared = Linear(3, 3, rng=0)
    model = Sequential(shared, Tanh(), Sum(shared, Identity())).astype(np.float64)
    assert [name for name, _ in model.named_parameters()] == ["0.weight", "0.bias"]
    assert model.parameter_count == 12
    gradcheck(*as_function(model), (draw((2, 3)), *model.state_dict().values()))


# ---- names, state, types


def test_names_are_those_of_torch():
    torch = pytest.importorskip("torch")
    nn = torch.nn
    theirs = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Sequential(nn.Flatten(), nn.Linear(8, 3, bias=False)))
    ours = Sequential(Conv2d(1, 2, 3), ReLU(), Sequential(Flatten(), Linear(8, 3, bias=False)))
    assert list(theirs.state_dict()) == list(ours.state_dict()) == ["0.weight", "0.bias", "2.1.weight"]
    ours.load_state_dict(theirs.state_dict())
    x = draw((2, 1, 4, 4), dtype=np.float32)
    np.testing.assert_allclose(ours(x), theirs(torch.from_numpy(x)).detach(), rtol=1e-5, atol=1e-6)


def test_state_is_a_copy():
    layer = Linear(2, 2)
    state = layer.state_dict()
    state["weight"][...] = 7
    assert not (layer.params["weight"] == 7).any()
    layer.load_state_dict(state)
    state["weight"][...] = 8
    assert (layer.params["weight"] == 7).all()


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda s: s.pop("0.bias"), "Sequential: the state does not fit: missing: 0.bias$"),
        (lambda s: s.update(extra=np.zeros(1)), "unexpected: extra$"),
        (lambda s: s.update({"0.bias": np.zeros(3)}), r"wrong shape: 0.bias is \(3,\), must be \(2,\)$"),
        (lambda s: s.update({"0.bias": np.zeros(2, complex)}), "wrong dtype: 0.bias is complex128, must be float32$"),
        (lambda s: s.update({f"e{i}": np.zeros(1) for i in range(9)}), "unexpected: e0, e1, e2, e3, e4, e5 and 3 more"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change, message):
    model = Sequential(Linear(2, 2))
    before = model.state_dict()
    state = {name: array + 1 for name, array in before.items()}
    change(state)
    with pytest.raises(ValueError, match=message):
        model.load_state_dict(state)
    np.testing.assert_array_equal(model[0].params["weight"], before["0.weight"])


def test_names_may_differ_if_asked_for():
    model = Sequential(Linear(2, 2))
    found = model.load_state_dict({"0.weight": np.ones((2, 2)), "1.weight": np.ones(1)}, strict=False)
    assert found == (["0.bias"], ["1.weight"]) and (model[0].params["weight"] == 1).all()


def test_astype():
    model = Sequential(Linear(2, 2), Sequential(Linear(2, 2)))
    assert model.astype(np.float64) is model
    assert {array.dtype for pair in (model.named_parameters(), model.named_gradients()) for _, array in pair} == {
        np.dtype(np.float64)
    }
    with pytest.raises(TypeError, match="dtype must be float32 or float64, got float16"):
        model.astype(np.float16)


@pytest.mark.parametrize(
    "build, error, message",
    [
        (lambda: Conv2d(0, 1, 3), ValueError, "Conv2d: in_channels must be >= 1, got 0"),
        (lambda: Conv2d(1, 1.0, 3), TypeError, "out_channels must be an int"),
        (lambda: Conv2d(1, 1, 0), ValueError, "kernel_size must be >= 1"),
        (lambda: Conv2d(1, 1, 3, stride=(0, 1)), ValueError, r"Conv2d: stride must be >= 1, got \(0, 1\)"),
        (lambda: Conv2d(1, 1, 3, padding=-1), ValueError, "padding"),
        (lambda: Conv2d(1, 1, 3, padding="full"), ValueError, "padding"),
        (lambda: Conv2d(1, 1, 3, padding=2**62), ValueError, "2\\*\\*63"),
        (lambda: Conv2d(1, 1, 3, dilation=True), TypeError, "dilation"),
        (lambda: Conv2d(4, 6, 3, groups=3), ValueError, "groups must divide in_channels and out_channels"),
        (lambda: Conv2d(1, 1, 3, bias="no"), TypeError, "bias"),
        (lambda: Conv2d(1, 1, 3, init="magic"), ValueError, "init must be one of kaiming, .*, got 'magic'"),
        (lambda: Linear(3, 0), ValueError, "Linear: out_features must be >= 1, got 0"),
        (lambda: MaxPool2d(2, padding=2), ValueError, "MaxPool2d: padding must be at most half"),
        (lambda: MaxPool2d(2, stride=0), ValueError, "MaxPool2d: stride must be >= 1"),
        (lambda: AvgPool2d(0), ValueError, "AvgPool2d: kernel_size must be >= 1"),
        (lambda: AvgPool2d(2, count_include_pad=1), TypeError, "count_include_pad"),
        (lambda: GlobalAvgPool2d()(draw((2, 3, 4))), ValueError, r"GlobalAvgPool2d: x must have .* got \(2, 3, 4\)"),
    ],
)
def test_bad_options_are_refused_at_once(build, error, message):
    with pytest.raises(error, match=message):
        build()


# ---- shapes, costs, text


@pytest.mark.parametrize(
    "layer, text",
    [
        (Conv2d(1, 6, 5, padding=2), "Conv2d(1, 6, 5, padding=2)"),
        (Conv2d(4, 4, (3, 1), 2, groups=4, bias=False, rng=3), "Conv2d(4, 4, (3, 1), stride=2, groups=4, bias=False)"),
        (Linear(400, 120), "Linear(400, 120)"),
        (MaxPool2d(2), "MaxPool2d(2)"),
        (AvgPool2d(3, 2, count_include_pad=False), "AvgPool2d(3, stride=2, count_include_pad=False)"),
        (ReLU(), "ReLU()"),
        (Softmax(1), "Softmax(dim=1)"),
        (Sequential(ReLU(), Sum(Tanh())), "Sequential(\n  (0): ReLU()\n  (1): Sum(\n    (0): Tanh()\n  )\n)"),
    ],
)
def test_repr(layer, text):
    assert repr(layer) == text


def test_summary_of_a_nested_model():
    shared = Conv2d(3, 3, 3, padding=1, groups=3)
    model = Sequential(
        Conv2d(1, 3, 5, 2, padding=2), Concat(shared, Sequential(shared, ReLU())), Flatten(), Linear(96, 7)
    )
    rows = summary_rows(model, (2, 1, 8, 8))
    assert [row.name for row in rows] == ["0", "1.0", "1.1.0", "1.1.1", "2", "3"]
    assert rows[0] == ("0", "Conv2d(1, 3, 5, stride=2, padding=2)", (2, 3, 4, 4), 78, 2 * 3 * 16 * 25)
    assert rows[1][3:] == (30, 2 * 3 * 16 * 9) and rows[2][3:] == (0, 2 * 3 * 16 * 9)
    assert rows[-1] == ("3", "Linear(96, 7)", (2, 7), 679, 2 * 96 * 7)
    assert sum(row.parameters for row in rows) == model.parameter_count
    assert sum(row.macs for row in rows) == model.macs((2, 1, 8, 8))


def test_a_hand_written_layer():
    class Scale(Layer):
        def __init__(self, factor):
            self.factor = factor
            super().__init__(params={"bias": np.zeros((), np.float32)})

        def apply(self, x, train):
            def pullback(dy, input_gradient):
                self.accumulate(bias=dy.sum())
                return dy * self.factor

            return x * self.factor + self.params["bias"], pullback

        def output_shape(self, input_shape):
            return input_shape

    layer = Scale(3.0).astype(np.float64)
    assert repr(layer) == "Scale(3.0)" and layer.macs((2, 2)) == 0
    gradcheck(*as_function(Sequential(layer, Tanh())), (draw((2, 3)), *layer.state_dict().values()))


# ---- initialisers


def test_initial_spread():
    bound = 1 / 75**0.5
    for array in Conv2d(3, 400, 5, rng=0).params.values():
        assert abs(array).max() <= bound and abs(array.std() * 3**0.5 / bound - 1) < 0.05 and array.dtype == np.float32
    normal = Conv2d(6, 400, 5, groups=2, rng=0, init="kaiming_normal")
    assert abs(normal.params["weight"].std() / (2 / 75) ** 0.5 - 1) < 0.02 and not normal.params["bias"].any()
    xavier = Linear(50, 70, rng=0, init="xavier").params["weight"]
    assert 0.95 < abs(xavier).max() / (6 / 120) ** 0.5 <= 1
    assert not any(array.any() for array in Linear(5, 7, init="zeros").params.values())


def test_seeds():
    weights = [Linear(3, 3, rng=rng).params["weight"] for rng in (5, 5, np.random.default_rng(5), 6)]
    assert (weights[0] == weights[1]).all() and (weights[0] == weights[2]).all() and (weights[0] != weights[3]).all()
    init.seed(1)
    first = [Linear(3, 3).params["weight"] for _ in range(2)]
    init.seed(1)
    again = [Linear(3, 3).params["weight"] for _ in range(2)]
    assert (first[0] != first[1]).all()
    np.testing.assert_array_equal(first, again)
