"""Batch normalisation that has gone into the layer before it."""

import numpy as np
import pytest

from fastconv.layers import (
    BatchNorm1d,
    BatchNorm2d,
    Concat,
    Conv2d,
    Flatten,
    Gate,
    Identity,
    Linear,
    MaxPool2d,
    ReLU,
    Sequential,
    Sigmoid,
    Sum,
    fold_batch_norm,
)
from fastconv.layers.norm import BatchNorm


def trained(layer, seed=0):
    """Give all normalisation below a layer other parameters and statistics than a new one has."""
    rng = np.random.default_rng(seed)
    for _, each in layer.named_layers():
        if isinstance(each, BatchNorm):
            size = each.num_features
            known = {"weight": rng.uniform(0.5, 2, size), "bias": rng.standard_normal(size)}
            known |= {"running_mean": rng.standard_normal(size), "running_var": rng.uniform(0.3, 3, size)}
            for name, array in known.items():
                (each.params | each.buffers).get(name, np.empty(size))[...] = array
    return layer


def unit(ci, co, kernel=3, bias=False, **options):
    return Sequential(Conv2d(ci, co, kernel, bias=bias, rng=ci + co, **options), BatchNorm2d(co), ReLU())


def shared_convolution():
    conv = Conv2d(4, 4, 3, padding=1, rng=3)
    return Sequential(conv, BatchNorm2d(4), ReLU(), conv, BatchNorm2d(4), conv)


def shared_chain():
    chain = Sequential(ReLU(), Conv2d(4, 4, 1, rng=4))
    return Sequential(chain, BatchNorm2d(4), chain)


IMAGES = (2, 4, 7, 6)
# How the model is built, its input, and how many normalisations stay.
MODELS = {
    "unit": (lambda: unit(4, 6), IMAGES, 0),
    "bias": (lambda: unit(4, 6, bias=True), IMAGES, 0),
    "options": (lambda: unit(4, 6, (3, 2), stride=2, padding=1, groups=2), IMAGES, 0),
    "linear": (lambda: Sequential(Flatten(), Linear(168, 5, rng=1), BatchNorm1d(5), Sigmoid()), IMAGES, 0),
    "linear_no_bias": (lambda: Sequential(Linear(8, 5, bias=False, rng=1), BatchNorm1d(5)), (3, 8), 0),
    "residual": (
        lambda: Sequential(
            unit(4, 4, padding=1),
            Sum(Sequential(unit(4, 4, padding=1), Conv2d(4, 4, 1, rng=2), BatchNorm2d(4)), Identity()),
            ReLU(),
            Sum(unit(4, 6, 1)[:2], Sequential(Conv2d(4, 6, 1, rng=3), BatchNorm2d(6))),
            ReLU(),
        ),
        IMAGES,
        0,
    ),
    "branches": (lambda: Concat(unit(4, 2, 1), Gate(unit(4, 3, 1), Sequential(unit(4, 3, 1), Sigmoid()))), IMAGES, 0),
    "after_a_chain": (lambda: Sequential(Sequential(ReLU(), Conv2d(4, 3, 1, rng=1)), BatchNorm2d(3)), IMAGES, 0),
    "shared_convolution": (shared_convolution, IMAGES, 0),
    "shared_chain": (shared_chain, IMAGES, 0),
    "norm_first": (lambda: Sequential(BatchNorm2d(4), ReLU(), Conv2d(4, 3, 1, rng=1)), IMAGES, 1),
    "norm_twice": (lambda: Sequential(Conv2d(4, 3, 1, rng=1), BatchNorm2d(3), BatchNorm2d(3)), IMAGES, 1),
    "pooled_between": (lambda: Sequential(Conv2d(4, 3, 1, rng=1), MaxPool2d(2), BatchNorm2d(3)), IMAGES, 1),
    "norm_alone": (lambda: BatchNorm2d(4), IMAGES, 1),
    "not_affine": (lambda: Sequential(Conv2d(4, 3, 1, rng=1), BatchNorm2d(3, affine=False)), IMAGES, 0),
    "statistics_of_the_batch": (
        lambda: Sequential(Conv2d(4, 3, 1, rng=1), BatchNorm2d(3, track_running_stats=False)),
        IMAGES,
        1,
    ),
}
every_model = pytest.mark.parametrize("build, shape, left", MODELS.values(), ids=MODELS)


def norms(model):
    return sum(isinstance(layer, BatchNorm) for _, layer in model.named_layers())


@every_model
@pytest.mark.parametrize("dtype, few", [(np.float32, 1e-5), (np.float64, 1e-12)], ids=["float32", "float64"])
def test_the_folded_model_gives_the_same(build, shape, left, dtype, few):
    model = trained(build()).astype(dtype)
    folded = fold_batch_norm(model)
    assert norms(folded) == left
    x = np.random.default_rng(1).standard_normal(shape).astype(dtype)
    y, expected = folded(x), model(x)
    assert y.dtype == dtype and folded.output_shape(shape) == y.shape
    np.testing.assert_allclose(y, expected, rtol=0, atol=few * np.abs(expected).max())


@every_model
def test_the_model_itself_stays(build, shape, left):
    model = trained(build())
    before, text = model.state_dict(), repr(model)
    folded = fold_batch_norm(model)
    for _, array in folded.named_parameters():
        array[...] = 0
    assert repr(model) == text
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_names_stay():
    model = Sequential(unit(3, 4), unit(4, 5, bias=True), Flatten(), Linear(45, 2, rng=0))
    folded = fold_batch_norm(trained(model))
    assert list(folded.state_dict()) == [
        "0.0.weight", "0.0.bias", "1.0.weight", "1.0.bias", "3.weight", "3.bias",
    ]  # fmt: skip
    assert repr(folded[0]) == "Sequential(\n  (0): Conv2d(3, 4, 3)\n  (1): Identity()\n  (2): ReLU()\n)"
    assert repr(model[0][0]) == "Conv2d(3, 4, 3, bias=False)"
    again = fold_batch_norm(Sequential(unit(3, 4), unit(4, 5, bias=True), Flatten(), Linear(45, 2, rng=1)))
    again.load_state_dict(folded.state_dict())
    x = np.random.default_rng(1).standard_normal((2, 3, 7, 7)).astype(np.float32)
    np.testing.assert_array_equal(again(x), folded(x))


def test_layers_that_are_shared_stay_shared_where_nothing_follows():
    folded = fold_batch_norm(shared_convolution())
    first, second, last = folded[0], folded[3], folded[5]
    assert first is not last and second is not last
    twice = Sequential(unit(4, 4, 1), ReLU())
    twice = fold_batch_norm(Sequential(twice, twice))
    assert twice[0] is twice[1]


def test_an_identity_parts_no_neighbours():
    """Where a normalisation stood, a ReLU after it still shares a pass with the layer before it."""
    folded = fold_batch_norm(Sequential(Linear(8, 5, rng=1), BatchNorm1d(5), ReLU()))
    assert [type(stage) for stage in folded._stages()] == [Linear]
    assert folded._stages()[0].rectifies


def test_bad_input():
    with pytest.raises(TypeError, match="fold_batch_norm: model must be a Layer, got 3"):
        fold_batch_norm(3)
    model = Sequential(Sequential(Conv2d(3, 16, 3), BatchNorm2d(8)))
    with pytest.raises(ValueError, match=r"'0.1' is BatchNorm2d\(8\), but Conv2d\(3, 16, 3\) .* has 16 outputs"):
        fold_batch_norm(model)
