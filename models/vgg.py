"""VGG: nothing but 3x3 convolutions and pooling, 11 to 19 layers deep.

K. Simonyan and A. Zisserman, *Very deep convolutional networks for large-scale image recognition*, ICLR 2015,
https://arxiv.org/abs/1409.1556, table 1.
"""

from functools import partial

import numpy as np

from fastconv.layers import (
    AdaptiveAvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Layer,
    Linear,
    MaxPool2d,
    ReLU,
    Sequential,
)
from fastconv.models.alexnet import response_norm
from fastconv.models.parts import SMALL, scaled_width

# Convolutions before each pooling: columns A, B, D and E of table 1. The maps are 64, 128, 256, 512 and 512.
WIDTHS = (64, 128, 256, 512, 512)
COUNTS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


def convolutions(
    counts: tuple[int, ...],
    widths: tuple[int, ...],
    channels: int,
    *,
    batch_norm: bool,
    first_norm: bool,
    rng: np.random.Generator,
) -> list[Layer]:
    """Return so many convolutions of each width, each with its ReLU, and a pooling after each width."""
    layers: list[Layer] = []
    for count, width in zip(counts, widths, strict=True):
        for _ in range(count):
            layers.append(Conv2d(channels, width, 3, padding=1, rng=rng, init="kaiming_normal_out"))
            layers += [BatchNorm2d(width)] if batch_norm else []
            layers.append(ReLU())
            channels = width
        layers += [response_norm()] if first_norm else []
        layers.append(MaxPool2d(2))
        first_norm = False
    return layers


def vgg(
    depth: int,
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    batch_norm: bool = False,
    first_norm: bool = False,
    width: float = 1.0,
    dropout: float = 0.5,
    seed: int | np.random.Generator = 0,
) -> Sequential:
    """Build a network of table 1 for images of 224 x 224; VGG-16 has 138,357,544 parameters.

    Two 3x3 convolutions see as much as one of 5x5, and three as much as one of 7x7, with fewer weights and more ReLUs
    between. Layers, their order, names and initial distributions are torchvision's; so is the mean to 7 x 7 maps, which
    lets the network take images of other sizes and does nothing at its own. 103 of the 138 millions of parameters are
    in the first linear layer.

    Parameters
    ----------
    depth : int
        11, 13, 16 or 19 layers with weights.
    num_classes, in_channels : int
    batch_norm : bool
        Whether a normalisation follows each convolution, which the paper did not know yet.
    first_norm : bool
        Whether a response normalisation follows the first convolutions: column A-LRN, where it did not help.
    width : float
        Multiplies the number of maps and of hidden units.
    dropout : float
        Share of the features left out in training, after the first two linear layers.
    seed : int or Generator
        Where the parameters come from: the same seed gives the same bits.

    Raises
    ------
    ValueError
        There is no such depth, or `width` makes a fraction of a map.
    """
    if depth not in COUNTS:
        raise ValueError(f"vgg: depth must be one of {', '.join(map(str, COUNTS))}, got {depth!r}")
    rng = np.random.default_rng(seed)
    *widths, hidden = (scaled_width("vgg", channels, width) for channels in (*WIDTHS, 4096))
    norms = {"batch_norm": batch_norm, "first_norm": first_norm}
    features = convolutions(COUNTS[depth], tuple(widths), in_channels, **norms, rng=rng)
    start = {"rng": rng, "init": SMALL}
    classifier = Sequential(
        *[Linear(widths[-1] * 49, hidden, **start), ReLU(), Dropout(dropout, rng=rng)],
        *[Linear(hidden, hidden, **start), ReLU(), Dropout(dropout, rng=rng)],
        Linear(hidden, num_classes, **start),
    )
    model = Sequential(
        {
            "features": Sequential(*features),
            "avgpool": AdaptiveAvgPool2d(7),
            "flatten": Flatten(),
            "classifier": classifier,
        }
    )
    model.input_shape = (in_channels, 224, 224)
    return model


vgg11, vgg13, vgg16, vgg19 = (partial(vgg, depth) for depth in COUNTS)
vgg11_bn, vgg13_bn, vgg16_bn, vgg19_bn = (partial(vgg, depth, batch_norm=True) for depth in COUNTS)
vgg11_lrn = partial(vgg, 11, first_norm=True)
