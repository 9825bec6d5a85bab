"""Residual networks and MobileNets: sizes that are published, agreement with PyTorch, and that they learn."""

import re
from functools import partial

import numpy as np
import pytest
from blank import blank
from click.testing import CliRunner
from test_models_classic import PUBLISHED as CLASSIC
from test_models_inception import PUBLISHED as INCEPTION

import fastconv
from fastconv import ops
from fastconv.cli import main
from fastconv.data import digits
from fastconv.layers import Arena, Conv2d, Linear, Sum, fold_batch_norm
from fastconv.layers.norm import BatchNorm
from fastconv.models import MODELS, mobilenet_v1, mobilenet_v2, resnet18, resnet20, resnet50
from fastconv.models.mobilenet import inverted_residual, scaled
from fastconv.models.resnet import basic, bottleneck, residual, resnet
from fastconv.models.resnet_cifar import resnet_cifar
from fastconv.optim import SGD
from fastconv.testing import gradcheck_layer

# Parameters as published or in torchvision, and multiply-adds (in millions) of one image of the model's own size. The
# networks for CIFAR have the 2,752 parameters of two 1x1 convolutions and their normalisation more than the paper's.
PUBLISHED = {
    "perceptron": (7_850, 0.0),
    "correlation_filter": (7_850, 0.0),
    "multilayer_perceptron": (109_386, 0.1),
    "fashion_7x7": (2_150_410, 92.3),
    "fashion_max_pool": (1_588_490, 41.8),
    "fashion_strided": (1_588_490, 19.7),
    "fashion_same": (1_818_890, 90.8),
    "cifar_strided": (14_682_442, 202.7),
    "resnet20": (269_722 + 2_752, 40.8),
    "resnet32": (464_154 + 2_752, 69.1),
    "resnet44": (658_586 + 2_752, 97.4),
    "resnet56": (853_018 + 2_752, 125.7),
    "resnet110": (1_727_962 + 2_752, 253.1),
    "plain20": (269_722, 40.6),
    "plain56": (853_018, 125.5),
    "resnet18": (11_689_512, 1_814.1),
    "resnet34": (21_797_672, 3_663.8),
    "resnet50": (25_557_032, 4_089.2),
    "resnet101": (44_549_160, 7_801.4),
    "resnet152": (60_192_808, 11_513.6),
    "resnext50_32x4d": (25_028_904, 4_230.5),
    "plain34": (21_623_848, 3_644.5),
    "fractalnet": (33_724_618, 845.2),
    "densenet40": (1_019_722, 264.8),
    "densenet100_bc": (769_162, 287.9),
    "densenet121": (7_978_856, 2_834.2),
    "densenet161": (28_681_000, 7_727.9),
    "densenet169": (14_149_480, 3_359.8),
    "densenet201": (20_013_928, 4_291.4),
    "mobilenet_v1": (4_231_976, 568.7),
    "mobilenet_v2": (3_504_872, 300.8),
    "mobilenet_v3_small": (2_542_856, 56.5),
    "mobilenet_v3_large": (5_483_032, 216.6),
    "efficientnet_b0": (5_288_548, 385.8),
    "efficientnet_b1": (7_794_184, 686.8),
    "efficientnet_b2": (9_109_994, 993.6),
    "efficientnet_b3": (12_233_232, 1_827.1),
    "efficientnet_b4": (19_341_616, 4_393.8),
    "efficientnet_b5": (30_389_784, 10_266.4),
    "efficientnet_b6": (43_040_704, 19_067.6),
    "efficientnet_b7": (66_347_960, 37_745.9),
}

ELSEWHERE = {"lenet", "lenet5", "scanner", "fashion_fully_convolutional", "resnet18_spd"}  # with tests of their own


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes(name):
    model = blank(MODELS[name])
    parameters, macs = PUBLISHED[name]
    shape = (1, *model.input_shape)
    assert model.parameter_count == parameters
    assert round(model.macs(shape) / 1e6, 1) == macs
    assert model.output_shape(shape) == (1, 1000 if model.input_shape[1] > 32 else 10)


def test_every_network_is_tested():
    assert set(MODELS) == set(PUBLISHED) | set(CLASSIC) | set(INCEPTION) | ELSEWHERE


@pytest.mark.parametrize("name", ["resnet20", "resnet18", "resnext50_32x4d", "mobilenet_v1", "mobilenet_v2"])
def test_images_of_any_size(name):
    model = MODELS[name](7, 1)
    for size in [(1, 1, 32, 32), (2, 1, 45, 70)]:
        y = model(np.zeros(size, np.float32))
        assert y.shape == model.output_shape(size) == (size[0], 7)


def test_a_width_scales_the_channels():
    assert [scaled(channels, 0.75) for channels in (16, 24, 32, 64)] == [16, 24, 24, 48]  # 12 is nearer to 8 than 90 %
    assert [scaled(16, width) for width in (0.1, 0.5, 1, 1.4)] == [8, 8, 16, 24]
    assert mobilenet_v1(width=0.25).parameter_count == 470_072
    assert mobilenet_v2(width=0.5).parameter_count == 1_968_680
    assert mobilenet_v2(width=1.4)[-1][-1].in_features == 1792 and mobilenet_v2(width=0.5)[-1][-1].in_features == 1280


def test_depths():
    assert resnet_cifar(8).parameter_count < resnet20().parameter_count
    for depth in (2, 21, 22):
        with pytest.raises(ValueError, match=rf"resnet_cifar: depth must be 6 n \+ 2 .*, got {depth}"):
            resnet_cifar(depth)
    with pytest.raises(ValueError, match="resnet: depth must be one of 18, 34, 50, 101, 152, got 20"):
        resnet(20)


# ---- initial state


def test_how_layers_start():
    for name, layer in resnet50().named_layers():
        if isinstance(layer, Conv2d):
            w = layer.params["weight"]
            assert "bias" not in layer.params
            assert abs(w.std() / (2 / (w.shape[0] * w[0, 0].size)) ** 0.5 - 1) < 0.05, name
        elif isinstance(layer, BatchNorm):
            assert (layer.params["weight"] == 1).all() and not layer.params["bias"].any()
        elif isinstance(layer, Linear):
            assert abs(layer.params["weight"]).max() <= layer.in_features**-0.5


@pytest.mark.parametrize("build", [resnet18, partial(resnet_cifar, 20), resnet50])
def test_units_that_start_as_identities(build):
    model = build(zero_init=True)
    sums = [layer for _, layer in model.named_layers() if isinstance(layer, Sum)]
    lasts = [unit.children[""][-1] for unit in sums]
    assert sums and not any(last.params["weight"].any() for last in lasts)


# ---- residual units


def tiny(block, channels, width, stride=1, **options):
    rng = np.random.default_rng(0)
    return residual(block(channels, width, stride, rng=rng, **options), channels, stride, rng=rng)


UNITS = {
    "basic": lambda: tiny(basic, 4, 4),
    "basic_down": lambda: tiny(basic, 3, 4, 2),
    "bottleneck": lambda: tiny(bottleneck, 8, 2, group_width=64),
    "bottleneck_grouped": lambda: tiny(bottleneck, 4, 2, 2, groups=2, group_width=64),
    "inverted": lambda: inverted_residual(3, 3, 1, 2, rng=np.random.default_rng(0)),
    "inverted_down": lambda: inverted_residual(3, 4, 2, 2, rng=np.random.default_rng(0)),
}


@pytest.mark.parametrize("build", UNITS.values(), ids=UNITS)
def test_gradients_of_a_unit_are_slopes(build, rng):
    unit = build()
    channels = next(layer.in_channels for _, layer in unit.named_layers() if isinstance(layer, Conv2d))
    gradcheck_layer(unit, rng.standard_normal((2, channels, 5, 4)), rng)


def test_normalisation_adds_and_rectifies(monkeypatch):
    """One pass over memory does what follows a convolution: no sum, no ReLU of its own."""
    calls = []
    norm = ops.batch_norm

    def spy(*args, residual=None, relu=False, **options):
        calls.append((residual is not None, relu))
        return norm(*args, residual=residual, relu=relu, **options)

    def forbidden(*args):
        raise AssertionError("a pass of its own")

    monkeypatch.setattr(ops, "batch_norm", spy)
    monkeypatch.setattr(ops, "relu", forbidden)
    monkeypatch.setattr(ops, "relu_backward", forbidden)
    monkeypatch.setattr("fastconv.layers.combinators.Sum.combine", forbidden)
    scores, backward = resnet20().forward(np.ones((2, 3, 16, 16), np.float32))
    backward(np.ones_like(scores))
    # The stem; units of two normalisations; two projections that nothing is added to and that are not rectified.
    assert sorted(calls) == [(False, False)] * 2 + [(False, True)] * 10 + [(True, True)] * 9


@pytest.mark.parametrize("build", [resnet20, partial(mobilenet_v2, width=0.5)], ids=["resnet20", "mobilenet_v2"])
def test_inference_without_normalisation(build, rng):
    model, x = build(), rng.standard_normal((2, 3, 32, 32), np.float32)
    model.forward(x)
    folded = fold_batch_norm(model)
    assert not any(isinstance(layer, BatchNorm) for _, layer in folded.named_layers())
    np.testing.assert_allclose(folded(x), model(x), rtol=0, atol=1e-4 * abs(model(x)).max())


# ---- training


def steps(model, images, labels, count, lr=0.1):
    """Train on one batch; return the losses before each step."""
    optimizer, losses = SGD(Arena(model), lr=lr, momentum=0.9), []
    for _ in range(count):
        scores, backward = model.forward(images)
        losses.append(float(fastconv.cross_entropy(scores, labels)))
        optimizer.zero_grad()
        backward(fastconv.cross_entropy_backward(1.0, scores, labels), input_gradient=False)
        optimizer.step()
    return losses


LEARNERS = {
    "resnet20": resnet20,
    "plain8": partial(resnet_cifar, 8, shortcuts=False),
    "mobilenet_v1": partial(mobilenet_v1, width=0.25),
    "mobilenet_v2": partial(mobilenet_v2, width=0.5),
}


@pytest.mark.parametrize("build", LEARNERS.values(), ids=LEARNERS)
def test_twenty_steps_lower_the_loss(build):
    data = digits(32)
    losses = steps(build(10, 1), data.train_images[:32], data.train_labels[:32], 20)
    assert losses[-1] < 0.6 * losses[0]


# ---- by name from the command line


@pytest.fixture
def command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(main, words, catch_exceptions=False).output


def test_summary(command):
    output = command("summary", "resnet50")
    assert output.startswith("resnet50, for an image of 3 x 224 x 224")
    assert re.search(r"total +25,557,032 +4,089,184,256", output)


@pytest.mark.slow
def test_train_and_evaluate(command):
    output = command("train", "resnet20", "--data", "digits", "--epochs", "1", "--no-progress")
    assert "resnet20 on digits: 272,186 parameters, 1,438 training" in output  # a grey image: 288 weights fewer
    assert re.search(r"runs/resnet20/model.safetensors: resnet20 on the 359 test images", command("evaluate"))
