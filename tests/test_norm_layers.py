"""Batch normalisation as layers: state, gradients, and passes over memory that neighbours share."""

import numpy as np
import pytest

from fastconv.interop import safetensors
from fastconv.layers import (
    Arena,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Identity,
    Layer,
    Mean,
    ReLU,
    ReLU6,
    Sequential,
    Sum,
    Tanh,
    summary_rows,
)
from fastconv.testing import gradcheck

SHAPE = (3, 4, 5, 6)
STATE = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]


def draw(shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def norm(seed=0):
    """Return a layer whose state is not that of a new one."""
    layer = BatchNorm2d(4)
    rng = np.random.default_rng(seed)
    for array in (layer.params["weight"], layer.params["bias"], layer.buffers["running_mean"]):
        array[...] = rng.standard_normal(4)
    layer.buffers["running_var"][...] = rng.uniform(0.5, 2, 4)
    return layer


def convolution(seed=0):
    return Conv2d(4, 4, 3, padding=1, bias=False, rng=seed)


def as_function(layer):
    """Return a layer in training as an op and its gradient: functions of its input and its parameters."""

    def put(params):
        for (_, array), value in zip(layer.named_parameters(), params, strict=True):
            array[...] = value

    def f(x, *params):
        put(params)
        return layer.forward(x)[0]

    def f_backward(dy, x, *params):
        put(params)
        layer.zero_grad()
        dx = layer.forward(x)[1](dy)
        return (dx, *(gradient for _, gradient in layer.named_gradients()))

    return f, f_backward


LAYERS = {
    "features": (lambda: BatchNorm1d(4), (5, 4)),
    "line": (lambda: BatchNorm1d(4), (3, 4, 5)),
    "image": (norm, SHAPE),
    "rectified": (lambda: Sequential(norm(), ReLU()), SHAPE),
    "residual": (lambda: Sequential(Sum(Sequential(convolution(), norm()), Identity()), ReLU()), SHAPE),
    "linear_residual": (lambda: Sum(norm(), Tanh()), SHAPE),
    "not_affine": (lambda: Sequential(BatchNorm2d(4, affine=False), ReLU6()), SHAPE),
    "two_norms": (lambda: Sequential(Sum(Sequential(convolution(), norm()), norm(1)), ReLU()), SHAPE),
}
every_layer = pytest.mark.parametrize("build, shape", LAYERS.values(), ids=LAYERS)


@every_layer
def test_gradients_are_slopes(build, shape):
    layer = build().astype(np.float64)
    params = [array.copy() for _, array in layer.named_parameters()]
    gradcheck(*as_function(layer), (draw(shape, dtype=np.float64), *params))


@every_layer
def test_shapes_and_inputs_stay(build, shape):
    layer, x = build(), draw(shape)
    before = x.copy()
    y, backward = layer.forward(x)
    assert y.shape == layer.output_shape(shape) == layer(x).shape and y.dtype == np.float32
    dy = draw(y.shape, 1)
    dy_before = dy.copy()
    assert backward(dy).shape == shape
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(dy, dy_before)
    with pytest.raises(RuntimeError, match="twice"):
        backward(dy)


@every_layer
def test_without_the_input_gradient_parameters_get_the_same(build, shape):
    layer, x = build(), draw(shape)
    y, backward = layer.forward(x)
    backward(draw(y.shape, 1))
    wanted = [gradient.copy() for _, gradient in layer.named_gradients()]
    layer.zero_grad()
    assert layer.forward(x)[1](draw(y.shape, 1), input_gradient=False) is None
    for gradient, expected in zip((gradient for _, gradient in layer.named_gradients()), wanted, strict=True):
        np.testing.assert_array_equal(gradient, expected)


@every_layer
def test_two_passes_before_one_goes_back(build, shape):
    layer = build()
    dx = layer.forward(draw(shape))[1](draw(shape, 1))
    _, backward = layer.forward(draw(shape))
    layer.forward(draw(shape, 2))
    np.testing.assert_array_equal(backward(draw(shape, 1)), dx)


# ---- passes that neighbours share: the same bits as one after the other


def apart(layers, x, dy):
    """Run layers one after the other, each in passes of its own; return y, dx."""
    backwards = []
    for layer in layers:
        x, backward = layer.forward(x)
        backwards.append(backward)
    for backward in reversed(backwards):
        dy = backward(dy)
    return x, dy


def check_same(together, expected, layer, x, dy):
    """Compare with what ``expected()`` gives: y, dx, gradients of parameters and running statistics."""
    state = layer.state_dict()
    layer.zero_grad()
    y, dx = expected()
    gradients = [gradient.copy() for _, gradient in layer.named_gradients()]
    buffers = [buffer.copy() for _, buffer in layer.named_buffers()]
    layer.zero_grad()
    layer.load_state_dict(state)
    result, backward = together.forward(x)
    np.testing.assert_array_equal(result, y)
    np.testing.assert_array_equal(backward(dy), dx)
    for one, (_, two) in zip(gradients, layer.named_gradients(), strict=True):
        np.testing.assert_array_equal(one, two)
    for one, (_, two) in zip(buffers, layer.named_buffers(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_relu_in_the_same_pass():
    layer, x, dy = norm(), draw(SHAPE), draw(SHAPE, 1)
    x[0, 1, 2] = np.nan
    check_same(Sequential(layer, ReLU()), lambda: apart([layer, ReLU()], x, dy), layer, x, dy)


@pytest.mark.parametrize("rectified", [True, False])
@pytest.mark.parametrize("main", [norm(3), Sequential(convolution(), norm(3))], ids=["norm", "convolution"])
@pytest.mark.parametrize("skip", [Identity(), norm(5), Sequential(Tanh(), norm(5))], ids=["identity", "norm", "tanh"])
@pytest.mark.parametrize("main_first", [True, False])
def test_addition_in_the_same_pass(main, skip, main_first, rectified):
    x, dy = draw(SHAPE), draw(SHAPE, 1)
    unit = Sum(main, skip) if main_first else Sum(skip, main)

    def expected():
        (a, through_main), (b, through_skip) = main.forward(x), skip.forward(x)
        y, through_relu = ReLU().forward(a + b)
        g = through_relu(dy) if rectified else dy
        return y if rectified else a + b, through_main(g) + through_skip(g)

    check_same(Sequential(unit, ReLU()) if rectified else unit, expected, unit, x, dy)


@pytest.mark.parametrize("build", [lambda: Mean(norm(), Identity()), lambda: Sum(norm(), Identity(), norm(1))])
def test_other_sums_are_added_as_before(build):
    layer, x, dy = build(), draw(SHAPE), draw(SHAPE, 1)
    check_same(Sequential(layer, ReLU()), lambda: apart([layer, ReLU()], x, dy), layer, x, dy)


def test_inference_shares_passes_too():
    layer, x = Sequential(Sum(Sequential(convolution(), norm()), Identity()), ReLU()), draw(SHAPE)
    np.testing.assert_array_equal(layer(x), np.maximum(layer[0].children["0"](x) + x, 0))


def test_the_skip_gets_the_gradient_itself():
    class Recording(Identity):
        def apply(self, x, train):
            return x, lambda dy, _: received.append(dy) or dy

    received, dy = [], draw(SHAPE)
    Sum(norm(), Recording()).forward(draw(SHAPE))[1](dy)
    assert received[0] is dy


def test_branches_that_disagree_are_named():
    class Wide(Layer):
        def apply(self, x, train):
            return np.concatenate([x, x], 1), None

    with pytest.raises(ValueError, match="Sum: branches must give equal shapes, but branch '0' .*'1' .Wide."):
        Sum(norm(), Wide())(draw(SHAPE))


# ---- state


def test_training_is_that_of_torch(tmp_path):
    torch = pytest.importorskip("torch")
    ours = Sequential(Conv2d(3, 4, 3, rng=0), BatchNorm2d(4, momentum=0.3), ReLU()).astype(np.float64)
    theirs = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4, momentum=0.3), torch.nn.ReLU())
    theirs = theirs.double()
    theirs.load_state_dict({name: torch.tensor(array) for name, array in ours.state_dict().items()})
    for seed in range(3):
        x, dy = draw((2, 3, 6, 6), seed, np.float64), draw((2, 4, 4, 4), seed + 9, np.float64)
        ours.forward(x)[1](dy)
        theirs(torch.tensor(x)).backward(torch.tensor(dy))
    state = theirs.state_dict()
    assert list(ours.state_dict()) == list(state)
    for name, array in ours.state_dict().items():
        np.testing.assert_allclose(array, state[name].numpy(), rtol=1e-10)
    for name, gradient in ours.named_gradients():
        np.testing.assert_allclose(gradient, theirs.get_parameter(name).grad.numpy(), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ours(x), theirs.eval()(torch.tensor(x)).detach().numpy(), rtol=1e-9, atol=1e-12)


def test_buffers_are_state_but_no_parameters():
    layer = Sequential(BatchNorm1d(3))
    names = [f"0.{key}" for key in STATE]
    assert list(layer.state_dict()) == names
    assert [name for name, _ in layer.named_parameters()] == names[:2]
    assert [name for name, _ in layer.named_buffers()] == names[2:]
    assert layer.parameter_count == 6 and summary_rows(layer, (2, 3))[0].parameters == 6
    arena = Arena(layer)
    assert list(arena.views(arena.params)) == names[:2]
    layer.forward(draw((4, 3)))
    assert layer.state_dict()["0.num_batches_tracked"] == 1 and layer[0].buffers["running_mean"].any()


def test_state_survives_a_file(tmp_path):
    trained, path = norm(), tmp_path / "norm.safetensors"
    trained.forward(draw(SHAPE))
    safetensors.save(trained, path)
    fresh = BatchNorm2d(4)
    fresh.load_state_dict(safetensors.load(path)[0])
    for name, array in fresh.state_dict().items():
        np.testing.assert_array_equal(array, trained.state_dict()[name])
        assert array.dtype == trained.state_dict()[name].dtype
    np.testing.assert_array_equal(fresh(draw(SHAPE)), trained(draw(SHAPE)))


def test_state_is_loaded_whole_or_not_at_all():
    layer, state = norm(), norm(1).state_dict()
    before = layer.state_dict()
    del state["running_var"]
    with pytest.raises(ValueError, match="BatchNorm2d: the state does not fit: missing: running_var"):
        layer.load_state_dict(state)
    for name, array in layer.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_conversion_to_another_type():
    layer = Sequential(norm()).astype(np.float64)
    assert {name: array.dtype for name, array in layer.state_dict().items()} == {
        f"0.{key}": np.int64 if key == "num_batches_tracked" else np.float64 for key in STATE
    }
    assert layer(draw(SHAPE, dtype=np.float64)).dtype == np.float64


@pytest.mark.parametrize(
    "build, error, message",
    [
        (lambda: BatchNorm2d(0), ValueError, "BatchNorm2d: num_features must be >= 1"),
        (lambda: BatchNorm1d(3.0), TypeError, "BatchNorm1d: num_features must be an int"),
        (lambda: BatchNorm2d(3, eps=-1), ValueError, "BatchNorm2d: eps must be finite and >= 0"),
        (lambda: BatchNorm2d(3, momentum="0.1"), TypeError, "BatchNorm2d: momentum must be a number"),
        (lambda: BatchNorm2d(3, affine=1), TypeError, "BatchNorm2d: affine must be True or False"),
        (lambda: BatchNorm2d(3)(draw(SHAPE)), ValueError, r"BatchNorm2d\(3\): x must have 4 axes, .* 3 channels"),
        (lambda: BatchNorm1d(4)(draw(SHAPE)), ValueError, r"BatchNorm1d\(4\): x must have 2 or 3 axes"),
        (lambda: BatchNorm2d(4).forward(draw((1, 4, 1, 1))), ValueError, "more than 1 element per channel"),
    ],
)
def test_bad_input(build, error, message):
    with pytest.raises(error, match=message):
        build()


# ---- options


OPTIONS = {"affine": False}, {"momentum": None}, {"track_running_stats": False}, {"momentum": 0.3, "eps": 0.1}


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_options_do_what_torch_does(options):
    torch = pytest.importorskip("torch")
    layer, other = BatchNorm2d(4, **options), torch.nn.BatchNorm2d(4, **options)
    for step in range(3):
        x, dy = draw(SHAPE, step), draw(SHAPE, 9 + step)
        image = torch.from_numpy(x).requires_grad_()
        y, backward = layer.forward(x)
        result = other(image)
        result.backward(torch.from_numpy(dy))
        np.testing.assert_allclose(y, result.detach().numpy(), atol=2e-6)
        np.testing.assert_allclose(backward(dy), image.grad.numpy(), atol=2e-6)
    state = {name: tensor.numpy() for name, tensor in other.state_dict().items()}
    assert layer.state_dict().keys() == state.keys()
    for name, array in layer.state_dict().items():
        np.testing.assert_allclose(array, state[name], atol=1e-6)
    for name, gradient in layer.named_gradients():
        np.testing.assert_allclose(gradient, dict(other.named_parameters())[name].grad.numpy(), atol=1e-5)
    other.eval()
    np.testing.assert_allclose(layer(x), other(torch.from_numpy(x)).detach().numpy(), atol=2e-6)


def test_relu6_after_a_norm_and_an_addend_takes_no_pass_of_its_own():
    model = Sequential(Sum(norm(), Identity()), ReLU6())
    x, dy = 4 * draw(SHAPE), draw(SHAPE, 1)
    (merged,) = model._stages()
    assert merged.rectifies == 6
    y, backward = model.forward(x)
    apart, sums_backward = model[0].forward(x)
    relu6, back = ReLU6().forward(apart)
    assert y.tobytes() == relu6.tobytes() and (y == 6).any()
    assert backward(dy).tobytes() == sums_backward(back(dy)).tobytes()
