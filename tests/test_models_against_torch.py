"""A step of training from the same weights as the same network in PyTorch, in float64."""

import numpy as np
import pytest

import fastconv
from fastconv.layers import Arena
from fastconv.models import mobilenet_v1, mobilenet_v2, resnet18
from fastconv.models.mobilenet import BOTTLENECKS, PAIRS, scaled
from fastconv.models.resnet import resnet
from fastconv.models.resnet_cifar import resnet_cifar
from fastconv.optim import SGD

torch = pytest.importorskip("torch")
nn = torch.nn


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# ---- the networks as users of PyTorch write them, with layers in torchvision's order


def conv(ins, outs, kernel, stride=1, groups=1, act=nn.ReLU):
    layers = [nn.Conv2d(ins, outs, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(outs)]
    return nn.Sequential(*layers, act())


class Block(nn.Module):
    def __init__(self, ins, width, stride, groups=0):
        super().__init__()
        if groups:
            inner, outs = width * 2, width * 4
            layers = [conv(ins, inner, 1), conv(inner, inner, 3, stride, groups), conv(inner, outs, 1, act=nn.Identity)]
        else:
            outs = width
            layers = [conv(ins, outs, 3, stride), conv(outs, outs, 3, act=nn.Identity)]
        self.layers = nn.Sequential(*layers)
        self.downsample = None if (ins, 1) == (outs, stride) else conv(ins, outs, 1, stride, act=nn.Identity)

    def forward(self, x):
        return torch.relu(self.layers(x) + (x if self.downsample is None else self.downsample(x)))


class Inverted(nn.Module):
    def __init__(self, ins, outs, stride, expansion):
        super().__init__()
        inner, self.adds = ins * expansion, stride == 1 and ins == outs
        layers = [] if expansion == 1 else [conv(ins, inner, 1, act=nn.ReLU6)]
        layers += [conv(inner, inner, 3, stride, inner, nn.ReLU6), conv(inner, outs, 1, act=nn.Identity)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return x + self.layers(x) if self.adds else self.layers(x)


def classifier(features, classes=10):
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(features, classes)]


def torch_resnet(stem, widths, counts, groups=0):
    ins, layers = widths[0], [stem]
    for number, (width, count) in enumerate(zip(widths, counts, strict=True)):
        for stride in (2 if number else 1, *[1] * (count - 1)):
            layers.append(Block(ins, width, stride, groups))
            ins = width * 4 if groups else width
    return nn.Sequential(*layers, *classifier(ins))


def stem(width=64):
    return nn.Sequential(conv(3, width, 7, 2), nn.MaxPool2d(3, 2, 1))


def torch_mobilenet_v1(width):
    layers, ins = [conv(3, scaled(32, width), 3, 2)], scaled(32, width)
    for maps, stride in PAIRS:
        layers += [conv(ins, ins, 3, stride, ins), conv(ins, scaled(maps, width), 1)]
        ins = scaled(maps, width)
    return nn.Sequential(*layers, *classifier(ins))


def torch_mobilenet_v2(width):
    layers, ins = [conv(3, scaled(32, width), 3, 2, act=nn.ReLU6)], scaled(32, width)
    for expansion, maps, count, first in BOTTLENECKS:
        for stride in (first, *[1] * (count - 1)):
            layers.append(Inverted(ins, scaled(maps, width), stride, expansion))
            ins = scaled(maps, width)
    return nn.Sequential(*layers, conv(ins, 1280, 1, act=nn.ReLU6), *classifier(1280))


TWINS = {
    "resnet20": (lambda: resnet_cifar(20), lambda: torch_resnet(conv(3, 16, 3), (16, 32, 64), (3, 3, 3))),
    "resnet18": (lambda: resnet18(10), lambda: torch_resnet(stem(), (64, 128, 256, 512), (2, 2, 2, 2))),
    "resnext50": pytest.param(
        lambda: resnet(50, 10, groups=32, group_width=4),
        lambda: torch_resnet(stem(), (64, 128, 256, 512), (3, 4, 6, 3), groups=32),
        marks=pytest.mark.slow,
    ),
    "mobilenet_v1": (lambda: mobilenet_v1(10, width=0.25), lambda: torch_mobilenet_v1(0.25)),
    "mobilenet_v2": (lambda: mobilenet_v2(10, width=0.5, dropout=0), lambda: torch_mobilenet_v2(0.5)),
}


@pytest.mark.parametrize("build, build_torch", TWINS.values(), ids=TWINS)
def test_a_step_of_training(build, build_torch, rng):
    ours, theirs = build().astype(np.float64), build_torch().double()
    own = [name for name in ours.state_dict() if not name.endswith("passes")]  # dropout's count is nothing of torch's
    names = dict(zip(own, theirs.state_dict(), strict=True))  # layers come in the same order
    state = ours.state_dict()
    theirs.load_state_dict({names[name]: torch.tensor(state[name]) for name in own})
    optimizer = SGD(Arena(ours), lr=0.01, momentum=0.9)
    reference = torch.optim.SGD(theirs.parameters(), lr=0.01, momentum=0.9)
    x, target = rng.standard_normal((3, 3, 64, 64)), np.array([1, 7, 7])

    scores, backward = ours.forward(x)
    loss = fastconv.cross_entropy(scores, target)
    backward(fastconv.cross_entropy_backward(1.0, scores, target), input_gradient=False)
    expected = nn.functional.cross_entropy(theirs(torch.tensor(x)), torch.tensor(target))
    expected.backward()
    assert float(loss) == pytest.approx(expected.item(), rel=1e-9)
    for name, gradient in ours.named_gradients():
        theirs_gradient = theirs.get_parameter(names[name]).grad.numpy()
        np.testing.assert_allclose(gradient, theirs_gradient, rtol=1e-7, atol=1e-9)
    optimizer.step()
    reference.step()
    state, expected_state = ours.state_dict(), theirs.state_dict()
    for name in own:
        np.testing.assert_allclose(state[name], expected_state[names[name]].numpy(), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(ours(x), theirs.eval()(torch.tensor(x)).detach().numpy(), rtol=1e-6, atol=1e-7)
