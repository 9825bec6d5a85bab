"""The networks that torchvision has: its names, its shapes, and with its weights its results."""

import numpy as np
import pytest
from blank import blank

from fastconv.models import MODELS
from fastconv.train.objective import objective

torch = pytest.importorskip("torch")

NAMES = (
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d"),
    "alexnet_owt",
    *("vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn"),
    *("squeezenet1_0", "squeezenet1_1"),
    *("googlenet", "inception_v3"),
    *("densenet121", "densenet161", "densenet169", "densenet201"),
    *("mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large"),
    *("efficientnet_b0", "efficientnet_b1", "efficientnet_b2", "efficientnet_b3", "efficientnet_b5"),
)
THEIR_NAMES = {"alexnet_owt": "alexnet"}
OPTIONS = {"googlenet": {"init_weights": False}, "inception_v3": {"init_weights": False}}  # of torchvision's model
# Sizes of images, where 64 would take long or is too small.
SIZES = {"resnet101": 32, "resnet152": 32, "vgg11_bn": 32, "inception_v3": 75}
SLOW = {
    *("vgg11", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn", "densenet161", "densenet201"),
    *("efficientnet_b1", "efficientnet_b2", "efficientnet_b3", "efficientnet_b5"),
}
LOGITS = [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in NAMES]

# What leaves out all that is random: torchvision's options, and ours.
GRADIENTS = {
    "resnet18": ({}, {}),
    "densenet121": ({}, {}),
    "mobilenet_v2": ({"dropout": 0}, {"dropout": 0}),
    "efficientnet_b0": ({"dropout": 0, "stochastic_depth_prob": 0}, {"dropout": 0, "drop_path": 0}),
}


@pytest.fixture(scope="module")
def theirs():
    from torchvision_models import load

    return load()


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def torch_model(name, theirs):
    """Return torchvision's model without memory for its parameters, which are put there by `with_weights`."""
    with torch.device("meta"):
        return getattr(theirs, THEIR_NAMES.get(name, name))(**OPTIONS.get(name, {}))


def state_of(model):
    """Return what torchvision's model has, too."""
    return {name: array for name, array in model.state_dict().items() if not name.endswith(".passes")}


def with_weights(model, own):
    """Give a model of torchvision's our weights, in our dtype, for inference."""
    model.load_state_dict({name: torch.from_numpy(array) for name, array in state_of(own).items()}, assign=True)
    return model.eval()


def randomise_statistics(model, rng):
    """Give running statistics values that hide no mistake."""
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer[...] = rng.normal(0, 0.1, buffer.shape)
        elif name.endswith("running_var"):
            buffer[...] = rng.uniform(0.5, 2, buffer.shape)


@pytest.mark.parametrize("name", NAMES)
def test_names_and_shapes(name, theirs):
    """A file written by either is read by the other."""
    state = {key: tuple(value.shape) for key, value in torch_model(name, theirs).state_dict().items()}
    assert {key: array.shape for key, array in state_of(blank(MODELS[name])).items()} == state


@pytest.mark.parametrize("name", LOGITS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-4), (np.float64, 1e-9)], ids=["float32", "float64"])
def test_logits(name, dtype, tolerance, theirs, rng):
    """Relative to the largest."""
    own = MODELS[name]().astype(dtype)
    randomise_statistics(own, rng)
    size = SIZES.get(name, 64)
    x = rng.standard_normal((2, 3, size, size)).astype(dtype)
    with torch.no_grad():
        wanted = with_weights(torch_model(name, theirs), own)(torch.from_numpy(x)).numpy()
    assert wanted.std() > 0.01 * abs(wanted).max()  # a network that says the same of every class shows nothing
    np.testing.assert_allclose(own(x), wanted, rtol=0, atol=tolerance * abs(wanted).max())


def test_gradients_of_googlenet(theirs, rng):
    """All of them, of the losses of three heads together."""
    own = MODELS["googlenet"](10, dropout=0, head_dropout=0).astype(np.float64)
    with torch.device("meta"):
        model = theirs.googlenet(num_classes=10, init_weights=False, dropout=0.0, dropout_aux=0.0)
    with_weights(model, own).train()
    x, target = rng.standard_normal((3, 3, 64, 64)), np.array([1, 7, 7])
    outputs, labels = model(torch.from_numpy(x)), torch.from_numpy(target)
    loss = torch.nn.functional.cross_entropy
    side = loss(outputs.aux_logits1, labels) + loss(outputs.aux_logits2, labels)
    wanted = loss(outputs.logits, labels) + 0.3 * side
    wanted.backward()
    y, backward = own.forward(x)
    _, found, dy = objective(own, y, target)
    assert found == pytest.approx(wanted.item(), rel=1e-9)
    backward(dy, input_gradient=False)
    for name, gradient in own.named_gradients():
        expected = model.get_parameter(name).grad.numpy()
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-9 * max(1, abs(expected).max()), err_msg=name)


@pytest.mark.slow
def test_the_head_of_inception_v3(theirs, rng):
    own = MODELS["inception_v3"](10, dropout=0).astype(np.float64)
    with torch.device("meta"):
        model = theirs.inception_v3(num_classes=10, init_weights=False, dropout=0.0)
    with_weights(model, own).train()
    x = rng.standard_normal((2, 3, 299, 299))
    with torch.no_grad():
        outputs = model(torch.from_numpy(x))
    for found, wanted in zip(own.forward(x)[0], outputs, strict=True):
        np.testing.assert_allclose(found, wanted.numpy(), rtol=0, atol=1e-9 * abs(wanted.numpy()).max())


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_of_all_parameters(name, theirs, rng):
    """In training, by the statistics of the batch; relative to the largest of all, which tells noise from numbers."""
    options, own_options = GRADIENTS[name]
    with torch.device("meta"):
        model = getattr(theirs, name)(**options)
    own = MODELS[name](**own_options).astype(np.float64)
    with_weights(model, own).train()
    x = rng.standard_normal((4, 3, 64, 64))
    scores, backward = own.forward(x)
    wanted = model(torch.from_numpy(x))
    np.testing.assert_allclose(scores, wanted.detach(), rtol=0, atol=1e-9 * abs(scores).max())
    dy = rng.standard_normal(scores.shape)
    backward(dy, input_gradient=False)
    parameters = dict(model.named_parameters())
    slopes = torch.autograd.grad(wanted, list(parameters.values()), torch.from_numpy(dy))
    gradients = dict(own.named_gradients())
    assert list(gradients) == list(parameters)
    largest = max(abs(gradient).max() for gradient in gradients.values())
    for (key, gradient), slope in zip(gradients.items(), slopes, strict=True):
        np.testing.assert_allclose(gradient, slope, rtol=1e-6, atol=1e-9 * largest, err_msg=key)
