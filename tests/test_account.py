"""Receptive fields and the arithmetic of sizes, against figures that others have published or that one can count."""

import numpy as np
import pytest

import fastconv
from fastconv.layers import (
    AvgPool2d,
    Concat,
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose2d,
    DepthwiseSeparableConv2d,
    Flatten,
    Identity,
    Linear,
    MaxPool2d,
    ReLU,
    Sequential,
    Sum,
)
from fastconv.models import MODELS


@pytest.mark.parametrize(("name", "parameters"), [("lenet", 61_706), ("fashion_7x7", 2_150_410)])
def test_parameters_of_models(name, parameters):
    assert fastconv.count_parameters(MODELS[name]()) == parameters


def test_keras_table_of_the_7x7_network():
    """Its layers' parameters, one by one."""
    model = MODELS["fashion_7x7"]()
    found = [layer.parameter_count for layer in model if layer.has_parameters]
    assert found == [1_600, 100_416, 401_536, 1_605_888, 40_970]


def test_separable_convolution_saves_products():
    """Five maps of 10 x 10 from three channels: 13,500 products, or 2,700 + 1,500."""
    shape = (1, 3, 12, 12)
    assert fastconv.count_macs(Conv2d(3, 5, 3), shape) == 13_500
    separable = DepthwiseSeparableConv2d(3, 5, 3)
    assert fastconv.count_macs(separable, shape) == 4_200
    assert [layer.macs(inputs) for _, layer, inputs, _ in separable.flow(shape)] == [2_700, 1_500]


def test_inception_bottleneck_saves_products():
    """48 maps by 5 x 5 kernels from 190 channels of 28 x 28, directly and through 16 maps of 1 x 1 kernels."""
    shape = (1, 190, 28, 28)
    assert fastconv.count_macs(Conv2d(190, 48, 5, padding=2), shape) == 178_752_000
    bottleneck = Sequential(Conv2d(190, 16, 1), Conv2d(16, 48, 5, padding=2))
    assert fastconv.count_macs(bottleneck, shape) == 17_436_160
    assert [layer.macs(inputs) for _, layer, inputs, _ in bottleneck.flow(shape)] == [2_383_360, 15_052_800]


ONES = [1, 2, 3, 4, 5, 6]
TENS = [10, 20, 30, 40, 50, 60]


@pytest.mark.parametrize(
    ("x", "w", "options", "expected"),
    [
        ([ONES], [[[2]]], {}, [[2, 4, 6, 8, 10, 12]]),
        ([ONES], [[[2, 2]]], {}, [[6, 10, 14, 18, 22]]),
        ([ONES], [[[2, 2, 2]]], {}, [[12, 18, 24, 30]]),
        ([ONES], [[[2, 2, 2]]], {"padding": 1}, [[6, 12, 18, 24, 30, 22]]),
        ([ONES], [[[2, 2, 2, 2, 2]]], {"padding": 2}, [[12, 20, 30, 40, 36, 30]]),
        ([ONES], [[[2, 2, 2]]], {"stride": 3}, [[12, 30]]),
        ([ONES], [[[2, 2, 2]]], {"dilation": 2}, [[18, 24]]),
        ([ONES, TENS], [[[2]], [[4]]], {"groups": 2}, [ONES, TENS]),
        ([ONES, TENS], [[[2]], [[4]], [[6]], [[8]]], {"groups": 2}, [ONES, ONES, TENS, TENS]),
    ],
)
def test_convolutions_of_one_signal(x, w, options, expected):
    x, w, expected = (np.array(numbers, np.float32) for numbers in (x, w, expected))
    if len(x) > 1:
        expected = expected * w[:, 0]
    y = fastconv.conv1d(x[None], w, **options)
    np.testing.assert_array_equal(y[0], expected)
    size = fastconv.output_size(
        6, w.shape[-1], options.get("stride", 1), options.get("padding", 0), 1 + ("dilation" in options)
    )
    assert y.shape[-1] == size


@pytest.mark.parametrize(
    ("arguments", "size"),
    [
        ((224, 7, 2, 3), 112),
        (((5, 7), 3), (3, 5)),
        (((28, 28), 5, 1, "same"), (28, 28)),
        (((120,), 5), (116,)),
        ((7, 2, 2, 0, 1, True), 4),
        ((9, 3, 1, 0, 2), 5),
    ],
)
def test_output_size(arguments, size):
    assert fastconv.output_size(*arguments) == size


def test_transposed_size_leads_back():
    for size in range(7, 20):
        for stride in (1, 2, 3):
            options = {"kernel_size": 4, "stride": stride, "padding": 1, "dilation": 2}
            outputs = fastconv.output_size(size, **options)
            rest = (size + 2 - 7) % stride
            assert fastconv.conv_transpose_output_size(outputs, output_padding=rest, **options) == size


@pytest.mark.parametrize(
    ("function", "arguments", "words"),
    [
        (fastconv.output_size, (4, 5), "does not fit"),
        (fastconv.output_size, ((4, 4), (1, 2, 3)), "kernel_size must have 2 entries"),
        (fastconv.conv_transpose_output_size, (4, 3, 2, 0, 2), "output_padding must be less than stride or dilation"),
        (fastconv.conv_transpose_output_size, (1, 1, 1, 3), "padding .* leaves nothing"),
        (fastconv.conv_transpose_output_size, (4, 3, 1, "same"), "padding must be numbers"),
        (fastconv.conv_transpose_output_size, (2**62, 3, 4), r"more than 2\*\*63 - 1"),
    ],
)
def test_sizes_that_do_not_exist(function, arguments, words):
    with pytest.raises(ValueError, match=f"^{function.__name__}: .*{words}"):
        function(*arguments)


def count_seen(model, shape):
    """Count the inputs along each axis that the middle output depends on."""
    y, backward = model.forward(np.ones(shape, np.float32))
    dy = np.zeros_like(y)
    dy[(0, 0, *(n // 2 for n in y.shape[2:]))] = 1
    dx = np.abs(backward(dy)).sum((0, 1))
    return tuple(np.ptp(axis) + 1 for axis in np.nonzero(dx))


MODELS_OF_WINDOWS = {
    "one": (Conv2d(1, 1, 5), (1, 1, 9, 9)),
    "strided": (Sequential(Conv2d(2, 3, 3, stride=2), ReLU(), Conv2d(3, 2, 3, stride=3)), (1, 2, 40, 40)),
    "dilated": (Sequential(Conv2d(1, 2, 3), Conv2d(2, 2, 3, dilation=2), Conv2d(2, 1, 3, dilation=4)), (1, 1, 40, 40)),
    "pooled": (Sequential(Conv2d(1, 2, (3, 5)), AvgPool2d(2), Conv2d(2, 2, 3), AvgPool2d(3, 2)), (1, 1, 40, 40)),
    "branches": (
        Sequential(Concat(Conv2d(2, 2, 1), Conv2d(2, 2, 5, padding=2)), Sum(Conv2d(4, 4, 3, padding=1), Identity())),
        (1, 2, 20, 20),
    ),
    "signal": (Sequential(Conv1d(1, 2, 9), Conv1d(2, 1, 3, dilation=3)), (1, 1, 40)),
    "volume": (Sequential(Conv3d(1, 2, (3, 1, 1)), Conv3d(2, 1, (2, 3, 3), stride=2)), (1, 1, 12, 12, 12)),
    "separable": (Sequential(DepthwiseSeparableConv2d(2, 4, 3), Conv2d(4, 1, 3)), (1, 2, 12, 12)),
}


@pytest.mark.parametrize("name", MODELS_OF_WINDOWS)
def test_receptive_field_is_what_gradients_reach(name, rng):
    model, shape = MODELS_OF_WINDOWS[name]
    for _, array in model.named_parameters():
        array[...] = rng.uniform(0.5, 1, array.shape)
    assert fastconv.receptive_field(model.astype(np.float32)) == count_seen(model, shape)


def test_receptive_field_of_vgg():
    """Two 3 x 3 layers see what one of 5 x 5 sees, three what one of 7 x 7 sees."""
    layers = [Conv2d(4, 4, 3), ReLU()]
    assert fastconv.receptive_field(Sequential(*layers * 2)) == (5, 5)
    assert fastconv.receptive_field(Sequential(*layers * 3)) == (7, 7)
    assert fastconv.receptive_field(ReLU()) == (1,)
    assert fastconv.receptive_field(Sequential(Conv2d(1, 6, 5), MaxPool2d(2), Conv2d(6, 16, 5), MaxPool2d(2))) == (
        16,
        16,
    )


@pytest.mark.parametrize("last", [Flatten(), Linear(7, 2), ConvTranspose2d(4, 4, 2, stride=2)])
def test_receptive_field_of_what_sees_everything(last):
    with pytest.raises(ValueError, match="^receptive_field: "):
        fastconv.receptive_field(Sequential(Conv2d(3, 4, 3), last))
