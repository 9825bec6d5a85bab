"""MobileNetV3 and EfficientNets: their units, how they scale, that gradients are slopes, and that they learn."""

from functools import partial

import numpy as np
import pytest
from blank import blank
from learning import losses_of_steps

from fastconv.layers import (
    BatchNorm2d,
    Gate,
    Hardswish,
    ReLU,
    Sequential,
    SiLU,
    StochasticDepth,
    Sum,
    fold_batch_norm,
)
from fastconv.models import efficientnet_b0, efficientnet_b5, mobilenet_v3_large, mobilenet_v3_small
from fastconv.models.efficientnet import Scaling, efficientnet
from fastconv.models.inverted import Style, inverted_residual, squeeze_excite
from fastconv.models.mobilenet_v3 import mobilenet_v3
from fastconv.testing import gradcheck_layer

NARROW = Scaling(width=0.25, depth=0.25, size=32, dropout=0.0)
SMALL = {
    "mobilenet_v3_small": partial(mobilenet_v3_small, width=0.25),
    "mobilenet_v3_large": partial(mobilenet_v3_large, width=0.25),
    "efficientnet": partial(efficientnet, NARROW),
}
every_small_model = pytest.mark.parametrize("build", SMALL.values(), ids=SMALL)

UNITS = {
    "narrow": (3, 3, 3, 3, 1, 0),
    "squeezes": (3, 6, 3, 3, 1, 2),
    "strides": (2, 4, 3, 5, 2, 1),
}


@pytest.mark.parametrize("sizes", UNITS.values(), ids=UNITS)
@pytest.mark.parametrize(("activation", "style"), [(Hardswish, Style()), (SiLU, Style(SiLU))], ids=["hard", "smooth"])
def test_gradients_of_a_unit_are_slopes(sizes, activation, style, rng):
    unit = inverted_residual(*sizes, activation=activation, style=style, rng=rng)
    gradcheck_layer(unit, rng.standard_normal((2, sizes[0], 4, 3)), rng)


def test_squeeze_and_excitation_multiplies_maps(rng):
    x = rng.standard_normal((2, 4, 3, 3), np.float32)
    gate = squeeze_excite(4, 2, rng=rng)
    w1, b1, w2, b2 = (array.astype(np.float64) for _, array in gate.named_parameters())
    means = x.mean((2, 3), dtype=np.float64)
    hidden = np.maximum(means @ w1[:, :, 0, 0].T + b1, 0)
    factors = 1 / (1 + np.exp(-(hidden @ w2[:, :, 0, 0].T + b2)))
    np.testing.assert_allclose(gate(x), x * factors[:, :, None, None], rtol=1e-5, atol=1e-6)


def test_where_the_input_is_added():
    unit = partial(inverted_residual, activation=ReLU, style=Style(), rng=np.random.default_rng(0))
    assert isinstance(unit(4, 8, 4, 3), Sum)
    assert isinstance(unit(4, 8, 4, 3, 2), Sequential) and isinstance(unit(4, 8, 5, 3), Sequential)


@every_small_model
def test_images_of_any_size(build):
    model = build(7, 1)
    for size in [(1, 1, 32, 32), (2, 1, 45, 70)]:
        y = model(np.zeros(size, np.float32))
        assert y.shape == model.output_shape(size) == (size[0], 7)


@every_small_model
def test_twenty_steps_lower_the_loss(build):
    losses = losses_of_steps(build(10, 1, dropout=0), size=32, count=16)
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("build", [SMALL["mobilenet_v3_small"], SMALL["efficientnet"]], ids=["v3", "efficientnet"])
def test_inference_without_normalisation(build, rng):
    model, x = build(), rng.standard_normal((2, 3, 32, 32), np.float32)
    model.forward(x)
    folded = fold_batch_norm(model)
    assert not any(isinstance(layer, BatchNorm2d) for _, layer in folded.named_layers())
    np.testing.assert_allclose(folded(x), model(x), rtol=0, atol=1e-4 * abs(model(x)).max())


def layers_of(model, kind):
    return [layer for _, layer in model.named_layers() if isinstance(layer, kind)]


def test_units_are_skipped_more_often_towards_the_end():
    """16 units, of which 9 add their input; the chance grows by 0.2 / 16 from unit to unit."""
    chances = [layer.p for layer in layers_of(blank(efficientnet_b0), StochasticDepth)]
    assert chances == pytest.approx([0.2 * number / 16 for number in (2, 4, 6, 7, 9, 10, 12, 13, 14)])
    assert not layers_of(blank(efficientnet_b0, drop_path=0), StochasticDepth)


def test_normalisation_of_the_large_forms():
    assert {norm.eps for norm in layers_of(blank(efficientnet_b0), BatchNorm2d)} == {1e-5}
    assert {norm.eps for norm in layers_of(blank(efficientnet_b5), BatchNorm2d)} == {1e-3}


def test_where_v3_squeezes():
    """The rows of tables 1 and 2 with a mark in the column SE."""
    assert len(layers_of(blank(mobilenet_v3_large), Gate)) == 8
    assert len(layers_of(blank(mobilenet_v3_small), Gate)) == 9


def test_forms():
    with pytest.raises(ValueError, match="mobilenet_v3: form must be one of large, small, got 'tiny'"):
        mobilenet_v3("tiny")
    with pytest.raises(ValueError, match="efficientnet: form must be one of b0, .*, b7, got 'b8'"):
        efficientnet("b8")
