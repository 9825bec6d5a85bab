"""DenseNets: how they are wired, that their gradients are slopes, and that they learn."""

import numpy as np
import pytest
from learning import losses_of_steps

from fastconv.layers import Conv2d, Dropout, Linear
from fastconv.models import densenet40
from fastconv.models.densenet import classifier, dense_layer, dense_stages, densenet, densenet_cifar
from fastconv.testing import gradcheck_layer


def tiny(**options):
    rng = np.random.default_rng(0)
    stages, channels = dense_stages(3, (2, 1), 2, rng=rng, **options)
    return classifier(stages, channels, 3, rng=rng)


@pytest.mark.parametrize("options", [{}, {"bottleneck": 0, "compression": 1.0}], ids=["bottleneck", "plain"])
def test_gradients_are_slopes(options, rng):
    gradcheck_layer(tiny(**options), rng.standard_normal((2, 3, 4, 5)), rng)


def test_a_dense_layer_appends_to_its_input(rng):
    x = rng.standard_normal((2, 5, 4, 4), np.float32)
    layer = dense_layer(5, 3, 4, 0.0, rng=rng)
    y = layer(x)
    assert y.shape == (2, 8, 4, 4)
    np.testing.assert_array_equal(y[:, :5], x)
    np.testing.assert_array_equal(y[:, 5:], layer.children[""](x))


def test_maps_of_the_stages():
    """The paper's: blocks of 121 end with 256, 512, 1024 and 1024 maps; transitions halve all but the last."""
    stages, channels = dense_stages(64, (6, 12, 24, 16), 32, rng=np.random.default_rng(0))
    assert [stages[f"denseblock{n}"].output_shape((1, c, 8, 8))[1] for n, c in enumerate((64, 128, 256, 512), 1)] == [
        *(256, 512, 1024),
        channels,
    ]
    assert channels == 1024 and "transition4" not in stages


@pytest.mark.parametrize("build", [densenet40, lambda *args: densenet(121, *args)], ids=["40", "121"])
def test_images_of_any_size(build):
    model = build(7, 1)
    for size in [(1, 1, 32, 32), (2, 1, 45, 37)]:
        y = model(np.zeros(size, np.float32))
        assert y.shape == model.output_shape(size) == (size[0], 7)


def test_depths():
    with pytest.raises(ValueError, match="densenet: depth must be one of 121, 161, 169, 201, got 120"):
        densenet(120)
    with pytest.raises(ValueError, match=r"densenet_cifar: depth must be 3 n \+ 4 with n >= 1, .* got 41"):
        densenet_cifar(41)
    with pytest.raises(ValueError, match=r"densenet_cifar: depth must be 6 n \+ 4 with n >= 1, .* got 4"):
        densenet_cifar(4, bottleneck=True)


def test_how_layers_start():
    model = densenet40(growth=24)
    for name, layer in model.named_layers():
        if isinstance(layer, Conv2d):
            w = layer.params["weight"]
            assert "bias" not in layer.params
            assert abs(w.std() / (2 / w[0].size) ** 0.5 - 1) < 0.05, name
        elif isinstance(layer, Linear):
            assert not layer.params["bias"].any()


def test_dropout_follows_each_new_convolution():
    model = densenet_cifar(10, dropout=0.2)
    drops = [layer for _, layer in model.named_layers() if isinstance(layer, Dropout)]
    assert [layer.p for layer in drops] == [0.2] * 6
    assert not any(isinstance(layer, Dropout) for _, layer in densenet_cifar(10).named_layers())


@pytest.mark.parametrize("bottleneck", [False, True])
def test_twenty_steps_lower_the_loss(bottleneck):
    model = densenet_cifar(16, 10, 1, bottleneck=bottleneck)
    losses = losses_of_steps(model, size=16, count=16)
    assert losses[-1] < 0.6 * losses[0]
