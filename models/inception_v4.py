"""Inception v4: blocks as in v3, more of them and more alike.

C. Szegedy, S. Ioffe, V. Vanhoucke and A. Alemi, *Inception-v4, Inception-ResNet and the impact of residual connections
on learning*, AAAI 2017, https://arxiv.org/abs/1602.07261, figures 3 to 9.
"""

from functools import partial

import numpy as np

from fastconv.layers import (
    AvgPool2d,
    Concat,
    Layer,
    MaxPool2d,
    Sequential,
)
from fastconv.models.inception_parts import Unit, head, normed
from fastconv.models.inception_v3 import ACROSS, DOWN
from fastconv.models.parts import scaled_width

Row = tuple  # what a unit takes after its input channels: maps, and perhaps kernel and stride
HALVES = (3, 2, False)  # kernel, stride and no padding


def chain(unit: Unit, channels: int, *rows: Row) -> Sequential:
    """Return units one after another, each given by its row."""
    units = []
    for row in rows:
        units.append(unit(channels, *row))
        channels = row[0]
    return Sequential(*units)


def fork(unit: Unit, channels: int, maps: int) -> Concat:
    """Return flat kernels of 1x3 and 3x1 side by side."""
    return Concat(unit(channels, maps, (1, 3)), unit(channels, maps, (3, 1)))


def mean(unit: Unit, channels: int, maps: int) -> Sequential:
    """Return a mean over neighbours, of which those outside the image do not count, and a 1x1 convolution."""
    return Sequential(AvgPool2d(3, 1, 1, count_include_pad=False), unit(channels, maps))


def stem(in_channels: int, width: float, *, rng: np.random.Generator) -> list[Layer]:
    """Return what comes before the blocks, figure 3: from 299 x 299 to 384 maps of 35 x 35."""
    unit = partial(normed, width=width, rng=rng)
    flat = chain(unit, 160, (64,), (64, ACROSS), (64, DOWN), (96, 3, 1, False))
    return [
        normed(in_channels, scaled_width("inception_v4", 32, width), *HALVES, rng=rng),
        unit(32, 32, 3, pad=False),
        unit(32, 64, 3),
        Concat(MaxPool2d(3, 2), unit(64, 96, *HALVES)),
        Concat(chain(unit, 160, (64,), (96, 3, 1, False)), flat),
        Concat(unit(192, 192, *HALVES), MaxPool2d(3, 2)),
    ]


def block_a(unit: Unit) -> Concat:
    """Return a block for planes of 35 x 35, figure 4: 384 maps."""
    double = chain(unit, 384, (64,), (96, 3), (96, 3))
    return Concat(unit(384, 96), chain(unit, 384, (64,), (96, 3)), double, mean(unit, 384, 96))


def reduction_a(unit: Unit, channels: int, sizes: tuple[int, int, int, int]) -> Concat:
    """Return what halves planes of 35 x 35, figure 7, with the `sizes` that table 1 calls k, l, m and n."""
    thin, inner, outer, single = sizes
    double = chain(unit, channels, (thin,), (inner, 3), (outer, *HALVES))
    return Concat(unit(channels, single, *HALVES), double, MaxPool2d(3, 2))


def block_b(unit: Unit) -> Concat:
    """Return a block for planes of 17 x 17, figure 5: 1024 maps."""
    single = chain(unit, 1024, (192,), (224, ACROSS), (256, DOWN))
    double = chain(unit, 1024, (192,), (192, DOWN), (224, ACROSS), (224, DOWN), (256, ACROSS))
    return Concat(unit(1024, 384), single, double, mean(unit, 1024, 128))


def reduction_b(unit: Unit) -> Concat:
    """Return what halves planes of 17 x 17, figure 8: 1536 maps."""
    flat = chain(unit, 1024, (256,), (256, ACROSS), (320, DOWN), (320, *HALVES))
    return Concat(chain(unit, 1024, (192,), (192, *HALVES)), flat, MaxPool2d(3, 2))


def block_c(unit: Unit) -> Concat:
    """Return a block for planes of 8 x 8, figure 6: 1536 maps."""
    single = Sequential(unit(1536, 384), fork(unit, 384, 256))
    double = Sequential(*chain(unit, 1536, (384,), (448, (3, 1)), (512, (1, 3))), fork(unit, 512, 256))
    return Concat(unit(1536, 256), single, double, mean(unit, 1536, 256))


def inception_v4(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    width: float = 1.0,
    dropout: float = 0.2,
    seed: int | np.random.Generator = 0,
) -> Sequential:
    """Build the network of figure 9 for images of 299 x 299; it takes others from 75 x 75 on. 42,679,816 parameters.

    Parameters
    ----------
    num_classes, in_channels : int
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
    blocks = [
        *(block_a(unit) for _ in range(4)),
        reduction_a(unit, 384, (192, 224, 256, 384)),
        *(block_b(unit) for _ in range(7)),
        reduction_b(unit),
        *(block_c(unit) for _ in range(3)),
    ]
    features = Sequential(*stem(in_channels, width, rng=rng), *blocks)
    model = Sequential({"features": features} | head(1536, num_classes, dropout, width=width, rng=rng))
    model.input_shape = (in_channels, 299, 299)
    return model
