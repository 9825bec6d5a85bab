"""FractalNet, whose paths are dropped, and the residual network in which nothing strides or pools."""

from functools import partial

import numpy as np
import pytest
from blank import blank
from learning import losses_of_steps

from fastconv.layers import Conv2d, Identity, Mean, SpaceToDepth
from fastconv.models import fractalnet, resnet18, resnet18_spd
from fastconv.models.fractalnet import fractal
from fastconv.models.resnet_spd import basic, residual
from fastconv.testing import gradcheck_layer

# ---- drop-path


class Times(Identity):
    """y = factor * x."""

    def __init__(self, factor):
        self.factor = factor
        super().__init__()

    def apply(self, x, train):
        return self.factor * x, lambda dy, _: self.factor * dy


def test_a_mean_of_the_paths_that_stay():
    layer = Mean(Times(1.0), Times(10.0), Times(100.0), drop=0.4, rng=0)
    x = np.ones((2, 3))
    seen = [float(layer.forward(x)[0][0, 0]) for _ in range(300)]
    means = {1.0, 10.0, 100.0, 5.5, 50.5, 55.0, 37.0}
    assert set(seen) == means
    # All three stay with 0.6 ** 3; one of them alone with 0.6 * 0.4 ** 2, or where none would have stayed.
    assert abs(np.mean(np.array(seen) == 37.0) - 0.216) < 0.07
    assert abs(np.mean(np.isin(seen, [1.0, 10.0, 100.0])) - (3 * 0.6 * 0.16 + 0.064)) < 0.08
    np.testing.assert_array_equal(layer(x), 37 * x)


def test_gradients_take_the_paths_that_stayed():
    layer = Mean(Times(1.0), Times(10.0), drop=0.5, rng=1)
    x = np.ones((2, 3))
    for _ in range(20):
        y, backward = layer.forward(x)
        np.testing.assert_array_equal(backward(x), y)


def test_a_path_is_not_even_computed(monkeypatch):
    layer = Mean(Times(1.0), Times(2.0), drop=1.0, rng=0)
    layer.forward(np.ones(3))
    calls = []
    monkeypatch.setattr(Times, "apply", lambda self, x, train: (calls.append(self) or x, lambda dy, _: dy))
    layer.forward(np.ones(3))
    assert len(calls) == 1


def test_a_run_that_is_taken_up_again():
    model, resumed = (Mean(Times(1.0), Times(2.0), drop=0.3, rng=3) for _ in range(2))
    x = np.ones(3)
    for _ in range(5):
        model.forward(x)
    assert model.state_dict() == {"passes": 5}
    resumed.load_state_dict(model.state_dict())
    for _ in range(20):
        np.testing.assert_array_equal(resumed.forward(x)[0], model.forward(x)[0])
    assert not Mean(Times(1.0)).state_dict()


@pytest.mark.parametrize(("drop", "error"), [("0.1", TypeError), (True, TypeError), (1.5, ValueError)])
def test_bad_shares(drop, error):
    with pytest.raises(error, match="Mean: drop must be"):
        Mean(Identity(), drop=drop)


# ---- FractalNet


def paths(layer):
    """Return how many convolutions there are on each way through a block."""
    if isinstance(layer, Mean):
        return [length for branch in layer.children.values() for length in paths(branch)]
    lengths = [0]
    for child in layer.children.values():
        lengths = [a + b for a in lengths for b in (paths(child) if child.children else [isinstance(child, Conv2d)])]
    return lengths


def test_lengths_of_paths():
    rng = np.random.default_rng(0)
    assert sorted(set(paths(fractal(2, 2, 3, rng=rng)))) == [1, 2, 3, 4]
    for columns, convolutions in [(1, 1), (2, 3), (3, 7), (4, 15)]:
        block = fractal(2, 2, columns, rng=rng)
        assert sum(isinstance(layer, Conv2d) for _, layer in block.named_layers()) == convolutions
        assert max(paths(block)) == 2 ** (columns - 1)
    assert blank(fractalnet).parameter_count == 33_724_618


def test_gradients_of_a_fractal_are_slopes(rng):
    gradcheck_layer(fractal(1, 2, 3, rng=rng), rng.standard_normal((2, 1, 4, 3)), rng)


def test_no_path_is_dropped_in_inference(rng):
    model = fractalnet(width=1 / 16)
    x = rng.standard_normal((2, 3, 32, 32), np.float32)
    model.forward(x)
    np.testing.assert_array_equal(model(x), model(x))
    assert (model.forward(x)[0] != model.forward(x)[0]).any()


# ---- space-to-depth


def test_nothing_strides_or_pools():
    model = blank(resnet18_spd)
    kinds = [layer for _, layer in model.named_layers()]
    assert all(layer.stride == 1 for layer in kinds if isinstance(layer, Conv2d))
    assert [name for name in (type(layer).__name__ for layer in kinds) if "Pool" in name] == ["GlobalAvgPool2d"]
    assert model.parameter_count == 16_437_576 and model.output_shape((1, 3, 64, 64)) == (1, 200)
    strides = sum(layer.stride == 2 for _, layer in blank(resnet18).named_layers() if isinstance(layer, Conv2d))
    assert sum(isinstance(layer, SpaceToDepth) for layer in kinds) == strides == 7


def test_every_pixel_reaches_the_result(rng):
    """A stride of 2 in the skip leaves three of four pixels to the main branch; here the skip sees them all."""
    unit = residual(basic(2, 3, 2, rng=rng), 2, 2, rng=rng)
    _, backward = unit.children[""].children["downsample"].forward(rng.standard_normal((1, 2, 8, 8), np.float32))
    assert backward(rng.standard_normal((1, 3, 4, 4), np.float32)).all()


@pytest.mark.parametrize("stride", [1, 2])
def test_gradients_of_a_unit_are_slopes(stride, rng):
    unit = residual(basic(3, 4, stride, rng=rng), 3, stride, rng=rng)
    gradcheck_layer(unit, rng.standard_normal((2, 3, 4, 6)), rng)


LEARNERS = {
    "fractalnet": partial(fractalnet, width=1 / 16, drop_path=0, dropout=0),
    "drop_path": partial(fractalnet, width=1 / 16, columns=2, dropout=0),
    "resnet18_spd": partial(resnet18_spd, width=1 / 8),
}


@pytest.mark.parametrize("build", LEARNERS.values(), ids=LEARNERS)
def test_learns_and_takes_its_sizes(build):
    model = build(10, 1)
    shape = (2, 1, 48, 64)
    assert model(np.zeros(shape, np.float32)).shape == model.output_shape(shape) == (2, 10)
    losses = losses_of_steps(model, size=32, lr=0.05, count=16)
    assert min(losses[-3:]) < 0.8 * losses[0]
