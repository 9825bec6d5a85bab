"""The Inception family and Xception: sizes that are published, heads at the side, and that they learn."""

import numpy as np
import pytest
from blank import blank
from learning import losses_of_steps

from fastconv.layers import Concat, Conv2d, Identity, SideHead, Supervised, fold_batch_norm
from fastconv.layers.norm import BatchNorm
from fastconv.models import (
    MODELS,
    googlenet,
    inception_resnet_v2,
    inception_v1,
    inception_v2,
    inception_v3,
    inception_v4,
    xception,
)
from fastconv.models.inception_parts import normed, plain
from fastconv.models.inception_resnet import residual
from fastconv.models.inception_v1 import block, naive_block
from fastconv.models.inception_v3 import block8, block17, block35, reduction17, reduction35
from fastconv.models.xception import block as xception_block
from fastconv.testing import gradcheck_layer

# Parameters as published or in torchvision, and multiply-adds (in millions) of one image of the model's own size.
PUBLISHED = {
    "inception_v1": (13_378_280, 1_582.7),
    "inception_v1_naive": (104_274_376, 12_568.1),
    "googlenet": (13_004_888, 1_498.4),
    "inception_v2": (24_263_240, 5_864.9),  # of our reading of the paper
    "inception_v3": (27_161_264, 5_713.2),
    "inception_v4": (42_679_816, 12_254.0),
    "inception_resnet_v2": (55_843_464, 13_155.8),
    "xception": (22_855_952, 8_357.4),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes(name):
    model = blank(MODELS[name])
    parameters, macs = PUBLISHED[name]
    shape = (1, *model.input_shape)
    assert model.parameter_count == parameters
    assert round(model.macs(shape) / 1e6, 1) == macs
    assert model.output_shape(shape) == (1, 1000)


REDUCED = {"inception_resnet_v2": {"counts": (1, 1, 2)}, "xception": {"middle": 1}}


@pytest.mark.parametrize("name", PUBLISHED)
def test_images_of_other_sizes(name):
    model = MODELS[name](7, 1, width=1 / 8, **REDUCED.get(name, {}))
    shape = (2, 1, 75, 83)
    assert model(np.zeros(shape, np.float32)).shape == model.output_shape(shape) == (2, 7)


WITHOUT_HEADS = {"inception_v1": 6_998_552, "googlenet": 6_624_904, "inception_v3": 23_834_568}


@pytest.mark.parametrize("name", WITHOUT_HEADS)
def test_without_heads(name):
    model = blank(MODELS[name], heads=False)
    assert model.parameter_count == WITHOUT_HEADS[name] and type(model) is not Supervised


def planes(layers, shape):
    """Return (maps, height) where a layer changes them."""
    shapes = [y for *_, y in layers.flow(shape) if len(y) == 4]
    return list(dict.fromkeys(shape[1:3] for shape in shapes))


def test_planes_of_the_papers():
    v1 = [(64, 112), (64, 56), (192, 56), (192, 28), (256, 28), (480, 28), (480, 14), (512, 14), (528, 14), (832, 14)]
    for build in (inception_v1, googlenet):
        assert planes(blank(build), (1, 3, 224, 224)) == [*v1, (832, 7), (1024, 7), (1024, 1)]
    late = [(288, 35), (768, 17), (1280, 8), (2048, 8), (2048, 1)]
    early = [(32, 149), (32, 147), (64, 147), (64, 73)]
    v2 = [*early, (80, 71), (192, 35), *late]
    assert planes(blank(inception_v2), (1, 3, 299, 299)) == v2
    v3 = [*early, (80, 73), (192, 71), (192, 35), (256, 35), *late]
    assert planes(blank(inception_v3), (1, 3, 299, 299)) == v3
    v4 = [*early[:3], (160, 73), (192, 71), (384, 35), (1024, 17), (1536, 8)]
    assert planes(blank(inception_v4)[0], (1, 3, 299, 299)) == v4
    resnet = [*v3[:7], (320, 35), (1088, 17), (2080, 8), (1536, 8), (1536, 1)]
    assert planes(blank(inception_resnet_v2), (1, 3, 299, 299)) == resnet
    entry = [(32, 149), (64, 147), (128, 74), (256, 37), (728, 19)]
    assert planes(blank(xception)[0], (1, 3, 299, 299)) == entry


def test_a_block_without_reduction_only_widens():
    sizes = (64, 96, 128, 16, 32, 32)
    assert naive_block(lambda *_: Conv2d(1, 1, 1), 192, sizes, 5)[1] == 64 + 128 + 32 + 192


# ---- heads


@pytest.mark.parametrize("name", ["inception_v1", "googlenet"])
def test_training_gives_the_scores_of_three_heads(name, rng):
    model = MODELS[name](5, 3, width=1 / 8)
    x = rng.standard_normal((2, 3, 64, 64), np.float32)
    y, backward = model.forward(x)
    assert y.shape == (3, 2, 5) and model.loss_weights == (1, 0.3, 0.3)
    backward(np.ones_like(y), input_gradient=False)
    assert all(gradient.any() for name, gradient in model.named_gradients() if name.startswith("aux"))
    assert [name for name, layer in model.children.items() if isinstance(layer, SideHead)] == ["aux1", "aux2"]


def test_the_head_of_v3_at_its_own_size(rng):
    model = inception_v3(5, 3, width=1 / 8)
    y, _ = model.forward(rng.standard_normal((2, 3, 299, 299), np.float32))
    assert y.shape == (2, 2, 5) and model.loss_weights == (1, 0.4)


def test_inference_without_normalisation(rng):
    model, x = googlenet(5, 3, width=1 / 8), rng.standard_normal((2, 3, 48, 48), np.float32)
    model.forward(x)
    folded = fold_batch_norm(model)
    assert not any(isinstance(layer, BatchNorm) for _, layer in folded.named_layers())
    np.testing.assert_allclose(folded(x), model(x), rtol=0, atol=1e-4 * abs(model(x)).max())


# ---- gradients and training


def thin(unit, rng):
    """Return a unit from 2 maps to 2, whatever it is asked for."""
    return lambda ins, outs, *options, **named: unit(2, 2, *options, **named, rng=rng)


BLOCKS = {
    "v1": lambda rng: block(thin(plain, rng), 2, (64, 96, 128, 16, 32, 32), 5)[0],
    "googlenet": lambda rng: block(thin(normed, rng), 2, (64, 96, 128, 16, 32, 32), 3)[0],
    "naive": lambda rng: naive_block(thin(plain, rng), 2, (64, 96, 128, 16, 32, 32), 5)[0],
    "block35": lambda rng: block35(thin(normed, rng), 2, 32),
    "reduction35": lambda rng: reduction35(thin(normed, rng), 2),
    "block17": lambda rng: block17(thin(normed, rng), 2, 128),
    "reduction17": lambda rng: reduction17(thin(normed, rng), 2),
    "block8": lambda rng: block8(thin(normed, rng), 2),
    "residual": lambda rng: residual(Concat(Identity(), normed(2, 3, rng=rng)), 5, 2, 0.17, rng=rng),
    "xception": lambda rng: xception_block((2, 3, 3), 2, rng=rng),
    "xception_middle": lambda rng: xception_block((2, 2), 1, rng=rng),
}


@pytest.mark.parametrize("build", BLOCKS.values(), ids=BLOCKS)
def test_gradients_of_a_block_are_slopes(build, rng):
    gradcheck_layer(build(rng), rng.standard_normal((2, 2, 3, 4)), rng)


SIZES = {"inception_v1": 48, "inception_v1_naive": 48, "googlenet": 48, "xception": 48}  # others take 80


@pytest.mark.parametrize("name", PUBLISHED)
def test_twenty_steps_lower_the_loss(name):
    options = REDUCED.get(name, {}) | ({"heads": False} if name == "inception_v3" else {})
    losses = losses_of_steps(MODELS[name](10, 1, width=1 / 8, **options), SIZES.get(name, 80))
    assert losses[-1] < 0.9 * losses[0]
