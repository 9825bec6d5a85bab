"""The networks by name: sizes, seeds, and agreement with the same network in PyTorch."""

import numpy as np
import pytest

import fastconv
from fastconv.data import digits
from fastconv.layers import Arena, Sigmoid, Tanh, summary_rows
from fastconv.models import MODELS, lenet, lenet5
from fastconv.optim import SGD

SMALL = ["lenet", "lenet5", "fashion_7x7", "resnet20", "plain20", "mobilenet_v1", "mobilenet_v2"]
every_small_model = pytest.mark.parametrize("name", SMALL)


@every_small_model
def test_builds_are_repeatable(name):
    first, again, other = (MODELS[name](seed=seed).state_dict() for seed in (0, 0, 1))
    for key, array in first.items():
        np.testing.assert_array_equal(array, again[key])
        assert array.dtype == (np.float32 if array.ndim else np.int64)
    weights = [key for key, array in first.items() if key.endswith("weight") and array.ndim > 1]
    assert all((first[key] != other[key]).any() for key in weights)


@every_small_model
@pytest.mark.parametrize("num_classes, in_channels", [(10, 1), (3, 2)])
def test_takes_the_input_that_it_names(name, num_classes, in_channels):
    model = MODELS[name](num_classes, in_channels)
    shape = (2, *model.input_shape)
    assert model.input_shape[0] == in_channels
    assert model(np.zeros(shape, np.float32)).shape == model.output_shape(shape) == (2, num_classes)


@pytest.mark.parametrize("name", ["lenet", "lenet5"])
def test_61706_parameters(name):
    assert MODELS[name]().parameter_count == 61_706


def test_costs_of_lenet():
    rows = summary_rows(lenet(), (1, 1, 28, 28))
    assert [(row.name, row.output_shape, row.parameters, row.macs) for row in rows if row.parameters] == [
        ("0", (1, 6, 28, 28), 156, 117_600),
        ("3", (1, 16, 10, 10), 2_416, 240_000),
        ("7", (1, 120), 48_120, 48_000),
        ("9", (1, 84), 10_164, 10_080),
        ("11", (1, 10), 850, 840),
    ]
    assert rows[1].layer == "MaxPool2d(2)" and rows[1].output_shape == (1, 6, 14, 14)


def test_activation_of_lenet5():
    for activation, layer in [("tanh", Tanh), ("sigmoid", Sigmoid)]:
        assert isinstance(lenet5(activation=activation)[1], layer)
    with pytest.raises(ValueError, match="lenet5: activation must be one of tanh, sigmoid, got 'relu'"):
        lenet5(activation="relu")


def test_images_of_another_size():
    with pytest.raises(ValueError, match=r"Linear\(400, 120\) needs 400 .* 1024 of 16x8x8.*Conv2d\(16, 120, 5\)"):
        lenet()(np.zeros((1, 1, 40, 40), np.float32))


def torch_lenet(nn):
    return nn.Sequential(
        *[nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)],
        *[nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)],
    ).double()


def test_200_steps_follow_torch():
    torch = pytest.importorskip("torch")
    ours, theirs = lenet().astype(np.float64), torch_lenet(torch.nn)
    theirs.load_state_dict({name: torch.tensor(array) for name, array in ours.named_parameters()})
    optimizer = SGD(Arena(ours), lr=0.02, momentum=0.9)
    reference = torch.optim.SGD(theirs.parameters(), lr=0.02, momentum=0.9)
    data = digits(28)
    images, labels = data.train_images.astype(np.float64), data.train_labels
    for step in range(200):
        start = 32 * step % (len(labels) - 32)
        x, target = images[start : start + 32], labels[start : start + 32]
        scores, backward = ours.forward(x)
        loss = fastconv.cross_entropy(scores, target)
        optimizer.zero_grad()
        backward(fastconv.cross_entropy_backward(np.float64(1), scores, target), input_gradient=False)
        optimizer.step()
        expected = torch.nn.functional.cross_entropy(theirs(torch.tensor(x)), torch.tensor(target))
        reference.zero_grad()
        expected.backward()
        reference.step()
        assert float(loss) == pytest.approx(expected.item(), rel=1e-9), f"step {step}"
    assert loss < 0.5
