"""MobileNets: depthwise convolutions between 1x1 convolutions.

A. Howard et al., *MobileNets: efficient convolutional neural networks for mobile vision applications* (2017),
https://arxiv.org/abs/1704.04861; M. Sandler et al., *MobileNetV2: inverted residuals and linear bottlenecks* (2018),
https://arxiv.org/abs/1801.04381.
"""

import numpy as np

from fastconv.layers import Dropout, Flatten, GlobalAvgPool2d, Identity, Layer, Linear, ReLU6, Sequential, Sum
from fastconv.models.parts import conv_norm, head, unit


def scaled(channels: int, width: float) -> int:
    """Return the multiple of 8 next to ``channels * width`` that is not more than a tenth below, as in torchvision."""
    wanted = channels * width
    nearest = max(8, int(wanted + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * wanted else nearest + 8


# ---- v1

# Table 1 after its first row: maps and stride of each pair of a depthwise and a 1x1 convolution. The paper's last
# stride of 2 goes from 7 x 7 to 7 x 7: it is 1.
PAIRS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))


def separable(in_channels: int, channels: int, stride: int, *, rng: np.random.Generator) -> Sequential:
    """Return a depthwise 3x3 convolution and one of 1x1: figure 3, right."""
    return Sequential(
        unit(in_channels, in_channels, 3, stride, groups=in_channels, rng=rng), unit(in_channels, channels, 1, rng=rng)
    )


def mobilenet_v1(
    num_classes: int = 1000, in_channels: int = 3, *, width: float = 1.0, seed: int | np.random.Generator = 0
) -> Sequential:
    """Build MobileNet v1 for images of 224 x 224; it takes other sizes, too. 4,231,976 parameters.

    Parameters
    ----------
    num_classes, in_channels : int
    width : float
        Multiplies the number of maps of each layer; the paper has 1, 0.75, 0.5 and 0.25.
    seed : int or Generator
        Where the parameters come from: the same seed gives the same bits.
    """
    rng = np.random.default_rng(seed)
    channels = scaled(32, width)
    layers = [unit(in_channels, channels, 3, 2, rng=rng)]
    for maps, stride in PAIRS:
        layers.append(separable(channels, scaled(maps, width), stride, rng=rng))
        channels = scaled(maps, width)
    model = Sequential({"features": Sequential(*layers)} | head(channels, num_classes, rng=rng))
    model.input_shape = (in_channels, 224, 224)
    return model


# ---- v2

# Table 2: expansion, maps, repetitions, stride of the first.
BOTTLENECKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def inverted_residual(
    in_channels: int, channels: int, stride: int, expansion: int, *, rng: np.random.Generator
) -> Layer:
    """Return a depthwise convolution among `expansion` times as many maps, with a linear 1x1 convolution behind.

    Table 1 and figure 4. The input is added where that has the same shape.
    """
    inner, options = in_channels * expansion, {"activation": ReLU6, "rng": rng}
    expand = [] if expansion == 1 else [unit(in_channels, inner, 1, **options)]
    depthwise = unit(inner, inner, 3, stride, groups=inner, **options)
    main = Sequential({"conv": Sequential(*expand, depthwise, *conv_norm(inner, channels, 1, rng=rng))})
    return Sum({"": main, "skip": Identity()}) if stride == 1 and in_channels == channels else main


def mobilenet_v2(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    width: float = 1.0,
    dropout: float = 0.2,
    seed: int | np.random.Generator = 0,
) -> Sequential:
    """Build MobileNet v2 for images of 224 x 224; it takes other sizes, too. 3,504,872 parameters.

    Layers, their order and names are torchvision's. The last layer starts as every `fastconv.layers.Linear` does.

    Parameters
    ----------
    num_classes, in_channels : int
    width : float
        Multiplies the number of maps of each layer; those of the last convolution only if it is more than 1.
    dropout : float
        Share of the features that are left out in training, before the last layer.
    seed : int or Generator
        Where the parameters come from: the same seed gives the same bits.
    """
    rng = np.random.default_rng(seed)
    channels, last = scaled(32, width), scaled(1280, max(1.0, width))
    layers = [unit(in_channels, channels, 3, 2, activation=ReLU6, rng=rng)]
    for expansion, maps, repetitions, first_stride in BOTTLENECKS:
        for stride in (first_stride, *[1] * (repetitions - 1)):
            layers.append(inverted_residual(channels, scaled(maps, width), stride, expansion, rng=rng))
            channels = scaled(maps, width)
    layers.append(unit(channels, last, 1, activation=ReLU6, rng=rng))
    linear = Linear(last, num_classes, rng=rng)
    classifier = Sequential(Dropout(dropout, rng=rng), linear)
    model = Sequential(
        {
            "features": Sequential(*layers),
            "avgpool": GlobalAvgPool2d(),
            "flatten": Flatten(),
            "classifier": classifier,
        }
    )
    model.input_shape = (in_channels, 224, 224)
    return model
