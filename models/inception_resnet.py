"""Inception-ResNet v2: Inception blocks that are added to what they see.

C. Szegedy, S. Ioffe, V. Vanhoucke and A. Alemi, *Inception-v4, Inception-ResNet and the impact of residual connections
on learning*, AAAI 2017, https://arxiv.org/abs/1602.07261, figures 15 to 19 and section 3.3.
"""

from functools import partial

import numpy as np

from fastconv.layers import Concat, Conv2d, Identity, Layer, MaxPool2d, ReLU, Scale, Sequential, Sum
from fastconv.models.inception_parts import Unit, head, normed
from fastconv.models.inception_v3 import ACROSS, DOWN, stem
from fastconv.models.inception_v4 import HALVES, chain, mean, reduction_a
from fastconv.models.parts import scaled_width


def first_block(unit: Unit) -> Concat:
    """Return the block after the stem, which is not added: 320 maps of 35 x 35."""
    wide, double = chain(unit, 192, (48,), (64, 5)), chain(unit, 192, (64,), (96, 3), (96, 3))
    return Concat(unit(192, 96), wide, double, mean(unit, 192, 64))


def towers35(unit: Unit) -> Concat:
    """Return what figure 16 adds to 320 maps of 35 x 35."""
    return Concat(unit(320, 32), chain(unit, 320, (32,), (32, 3)), chain(unit, 320, (32,), (48, 3), (64, 3)))


def towers17(unit: Unit) -> Concat:
    """Return what figure 17 adds to 1088 maps of 17 x 17."""
    return Concat(unit(1088, 192), chain(unit, 1088, (128,), (160, ACROSS), (192, DOWN)))


def towers8(unit: Unit) -> Concat:
    """Return what figure 19 adds to 2080 maps of 8 x 8."""
    return Concat(unit(2080, 192), chain(unit, 2080, (192,), (224, (1, 3)), (256, (3, 1))))


def reduction17(unit: Unit) -> Concat:
    """Return what halves planes of 17 x 17, figure 18: 2080 maps."""
    return Concat(
        chain(unit, 1088, (256,), (384, *HALVES)),
        chain(unit, 1088, (256,), (288, *HALVES)),
        chain(unit, 1088, (256,), (288, 3), (320, *HALVES)),
        MaxPool2d(3, 2),
    )


def residual(
    towers: Concat, joined: int, channels: int, scale: float, rectify: bool = True, *, rng: np.random.Generator
) -> Layer:
    """Add towers to the input, after a linear 1x1 convolution from their `joined` maps and a scale.

    Section 3.3: without a scale that keeps what is added small, wide networks died early in training.
    """
    conv = Conv2d(joined, channels, 1, rng=rng, init="kaiming_normal_out")
    main = Sequential({"towers": towers, "conv": conv, "scale": Scale(scale)})
    total = Sum({"": main, "skip": Identity()})
    return Sequential({"": total, "relu": ReLU()}) if rectify else total


def inception_resnet_v2(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    counts: tuple[int, int, int] = (10, 20, 10),
    width: float = 1.0,
    dropout: float = 0.2,
    seed: int | np.random.Generator = 0,
) -> Sequential:
    """Build the network for images of 299 x 299; it takes others from 75 x 75 on. 55,843,464 parameters.

    It is that of the authors' program and of its ports, whose stem is v3's, and which has twice the blocks of the
    paper's figure 15, and a 1x1 convolution to 1536 maps at the end. The last block is neither scaled nor rectified.

    Parameters
    ----------
    num_classes, in_channels : int
    counts : tuple of int
        Number of blocks with planes of 35 x 35, 17 x 17 and 8 x 8.
    width : float
        Multiplies the number of maps, as 1/8.
    dropout : float
        Share of the features left out in training, before the last layer.
    seed : int or Generator
        Where the parameters come from: the same seed gives the same bits.

    Raises
    ------
    ValueError
        `width` makes a fraction of a map.
    """
    rng = np.random.default_rng(seed)
    unit = partial(normed, width=width, rng=rng)

    def blocks(towers: Concat, count: int, joined: int, channels: int, scale: float) -> list[Layer]:
        sizes = [scaled_width("inception_resnet_v2", maps, width) for maps in (joined, channels)]
        return [residual(towers(unit), *sizes, scale, rng=rng) for _ in range(count)]

    last = [scaled_width("inception_resnet_v2", maps, width) for maps in (448, 2080)]
    layers = stem(in_channels, width, rng=rng) | {
        "mixed_5b": first_block(unit),
        "repeat": Sequential(*blocks(towers35, counts[0], 128, 320, 0.17)),
        "mixed_6a": reduction_a(unit, 320, (256, 256, 384, 384)),
        "repeat_1": Sequential(*blocks(towers17, counts[1], 384, 1088, 0.1)),
        "mixed_7a": reduction17(unit),
        "repeat_2": Sequential(*blocks(towers8, counts[2] - 1, 448, 2080, 0.2)),
        "block8": residual(towers8(unit), *last, 1.0, rectify=False, rng=rng),
        "conv2d_7b": unit(2080, 1536),
    }
    model = Sequential(layers | head(1536, num_classes, dropout, width=width, rng=rng))
    model.input_shape = (in_channels, 299, 299)
    return model
