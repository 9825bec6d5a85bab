"""AlexNet, ZFNet, VGG and SqueezeNet: sizes that are published, and that they learn."""

import numpy as np
import pytest
from blank import blank
from learning import losses_of_steps

from fastconv.layers import Conv2d, Linear, LocalResponseNorm
from fastconv.models import (
    MODELS,
    alexnet,
    alexnet_owt,
    squeezenet1_1,
    vgg11,
    vgg11_lrn,
    vgg16,
    vgg16_bn,
    zfnet,
    zfnet_wide,
)
from fastconv.models.squeezenet import fire, squeezenet
from fastconv.models.vgg import vgg
from fastconv.testing import gradcheck_layer

# Parameters as published or in torchvision, and multiply-adds (in millions) of one image of the model's own size.
PUBLISHED = {
    "alexnet": (60_965_224, 724.4),
    "alexnet_owt": (61_100_840, 714.2),
    "zfnet": (62_357_608, 1_168.0),
    "zfnet_wide": (107_627_624, 2_476.7),
    "vgg11": (132_863_336, 7_609.1),
    "vgg11_bn": (132_868_840, 7_609.1),
    "vgg11_lrn": (132_863_336, 7_609.1),
    "vgg13": (133_047_848, 11_308.5),
    "vgg13_bn": (133_053_736, 11_308.5),
    "vgg16": (138_357_544, 15_470.3),
    "vgg16_bn": (138_365_992, 15_470.3),
    "vgg19": (143_667_240, 19_632.1),
    "vgg19_bn": (143_678_248, 19_632.1),
    "squeezenet1_0": (1_248_424, 818.9),
    "squeezenet1_1": (1_235_496, 349.2),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes(name):
    model = blank(MODELS[name])
    parameters, macs = PUBLISHED[name]
    shape = (1, *model.input_shape)
    assert model.parameter_count == parameters
    assert round(model.macs(shape) / 1e6, 1) == macs
    assert model.output_shape(shape) == (1, 1000)


NARROW = {name: 1 / 16 for name in PUBLISHED} | {"squeezenet1_0": 1 / 4, "squeezenet1_1": 1 / 4}


@pytest.mark.parametrize("name", NARROW)
def test_images_of_other_sizes(name):
    model = MODELS[name](7, 1, width=NARROW[name])
    shape = (2, 1, 67, 80)
    assert model(np.zeros(shape, np.float32)).shape == model.output_shape(shape) == (2, 7)


def planes(model):
    """Return (maps, height) behind each convolution, pooling and linear layer that changes them."""
    shapes = [shape for *_, shape in model[0].flow((1, *model.input_shape))]
    return list(dict.fromkeys(shape[1:3] for shape in shapes))


def test_planes_of_the_papers():
    """AlexNet's figure 2 (and the first pooling's 27); figure 3 of ZFNet, whose first planes are 110 and 55."""
    alex = [(96, 55), (96, 27), (256, 27), (256, 13), (384, 13), (256, 13), (256, 6)]
    assert planes(blank(alexnet)) == list(dict.fromkeys(alex))
    zf = [(96, 110), (96, 55), (256, 26), (256, 13), (384, 13), (256, 6)]
    assert planes(blank(zfnet)) == zf
    assert planes(blank(zfnet_wide))[4:] == [(512, 13), (1024, 13), (512, 6)]


def test_two_groups_and_one_tower():
    groups = [layer.groups for layer in blank(alexnet)[0] if isinstance(layer, Conv2d)]
    assert groups == [1, 2, 1, 2, 2]
    assert blank(alexnet, groups=1).parameter_count == 62_378_344


def test_where_response_normalisation_stands():
    for name, places in {"alexnet": [2, 6], "zfnet": [3, 7], "vgg11_lrn": [2], "vgg11": []}.items():
        layers = blank(MODELS[name])[0]
        norms = [number for number, layer in enumerate(layers) if isinstance(layer, LocalResponseNorm)]
        assert norms == places
        # alpha = 1e-4 for a sum of five squares
        assert all((layers[number].alpha, layers[number].k) == (5e-4, 2) for number in norms)


def test_how_layers_start():
    for layer in vgg16(width=1 / 8)[0]:
        if isinstance(layer, Conv2d):
            w = layer.params["weight"]
            assert abs(w.std() / (2 / (w.shape[0] * 9)) ** 0.5 - 1) < 0.1 and not layer.params["bias"].any()
    for layer in vgg16(width=1 / 8)[-1]:
        if isinstance(layer, Linear):
            assert abs(layer.params["weight"].std() / 0.01 - 1) < 0.05 and not layer.params["bias"].any()


def test_bad_arguments():
    with pytest.raises(ValueError, match="vgg: depth must be one of 11, 13, 16, 19, got 12"):
        vgg(12)
    with pytest.raises(ValueError, match="squeezenet: version must be one of 1.0, 1.1, got '2'"):
        squeezenet("2")
    with pytest.raises(ValueError, match="alexnet: 96 maps times width must be a whole number, got width 0.3"):
        alexnet(width=0.3)


TINY = {
    "fire": lambda rng: (fire(3, 1, rng=rng), (2, 3, 4, 5)),
    "alexnet": lambda rng: (alexnet(2, 1, width=1 / 32, groups=1, seed=rng)[0][4:8], (1, 3, 4, 4)),
    "vgg11_lrn": lambda rng: (vgg(11, 2, 1, width=1 / 64, first_norm=True, seed=rng)[0][:8], (2, 1, 6, 6)),
}


@pytest.mark.parametrize("build", TINY.values(), ids=TINY)
def test_gradients_are_slopes(build, rng):
    layer, shape = build(rng)
    gradcheck_layer(layer, rng.standard_normal(shape), rng)


LEARNERS = {
    "alexnet": (alexnet, 67),
    "alexnet_owt": (alexnet_owt, 67),
    "zfnet": (zfnet, 67),
    "vgg11": (vgg11, 32),
    "vgg16_bn": (vgg16_bn, 32),
    "vgg11_lrn": (vgg11_lrn, 32),
    "squeezenet1_1": (squeezenet1_1, 48),
}


@pytest.mark.parametrize(("build", "size"), LEARNERS.values(), ids=LEARNERS)
def test_twenty_steps_lower_the_loss(build, size):
    width = 1 if build is squeezenet1_1 else 1 / 8
    losses = losses_of_steps(build(10, 1, width=width, dropout=0), size)
    assert losses[-1] < 0.9 * losses[0]
