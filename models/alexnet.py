"""AlexNet: the network that won the ImageNet challenge of 2012, and its form for one computer.

A. Krizhevsky, I. Sutskever and G. Hinton, *ImageNet classification with deep convolutional neural networks*, NIPS 2012,
https://papers.nips.cc/paper/4824; A. Krizhevsky, *One weird trick for parallelizing convolutional neural networks*
(2014), https://arxiv.org/abs/1404.5997.
"""

from functools import partial

import numpy as np

from fastconv.layers import (
    AdaptiveAvgPool2d,
    Conv2d,
    Dropout,
    Flatten,
    Layer,
    Linear,
    LocalResponseNorm,
    MaxPool2d,
    ReLU,
    Sequential,
)
from fastconv.models.parts import scaled_width

# Section 3.3; the paper's alpha of 1e-4 multiplies the sum of five squares, not their mean.
response_norm = partial(LocalResponseNorm, 5, alpha=5e-4, beta=0.75, k=2.0)


def dense_layers(features: int, hidden: int, num_classes: int, dropout: float, *, rng: np.random.Generator) -> Layer:
    """Return three linear layers, with dropout before the first two: section 4.2."""
    return Sequential(
        Dropout(dropout, rng=rng),
        Linear(features, hidden, rng=rng),
        ReLU(),
        Dropout(dropout, rng=rng),
        Linear(hidden, hidden, rng=rng),
        ReLU(),
        Linear(hidden, num_classes, rng=rng),
    )


def classifier(
    features: list[Layer],
    channels: int,
    num_classes: int,
    size: tuple[int, int, int],
    *,
    width: float,
    dropout: float,
    rng: np.random.Generator,
) -> Sequential:
    """Return a network of convolutions, a mean to 6 x 6 maps, which does nothing at its own size, and linear layers."""
    hidden = scaled_width("alexnet", 4096, width)
    model = Sequential(
        {
            "features": Sequential(*features),
            "avgpool": AdaptiveAvgPool2d(6),
            "flatten": Flatten(),
            "classifier": dense_layers(channels * 36, hidden, num_classes, dropout, rng=rng),
        }
    )
    model.input_shape = size
    return model


def alexnet(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    groups: int = 2,
    width: float = 1.0,
    dropout: float = 0.5,
    seed: int | np.random.Generator = 0,
) -> Sequential:
    """Build the network of 2012, figure 2, for images of 227 x 227: 60,965,224 parameters.

    Convolutions of 96, 256, 384, 384 and 256 maps; response normalisation after the first two; pooling windows of 3 x 3
    that overlap. The paper's two towers on two GPUs are two groups here: the second, fourth and fifth convolutions see
    half of the maps. Its figure says 224 x 224, from which 55 x 55 maps cannot come.

    It deviates in these points: parameters start as every layer's of `fastconv.layers`, not normal with standard
    deviation 0.01 and some biases of 1; and a mean to 6 x 6 maps lets it take images of other sizes.

    Parameters
    ----------
    num_classes, in_channels : int
    groups : int
        1 is a single tower that sees all: 62,378,344 parameters.
    width : float
        Multiplies the number of maps and of hidden units.
    dropout : float
        Share of the features left out in training, before the first two linear layers.
    seed : int or Generator
        Where the parameters come from: the same seed gives the same bits.

    Raises
    ------
    ValueError
        `width` makes a fraction of a map.
    """
    rng = np.random.default_rng(seed)
    c1, c2, c3, c4, c5 = (scaled_width("alexnet", maps, width) for maps in (96, 256, 384, 384, 256))
    features = [
        *[Conv2d(in_channels, c1, 11, 4, rng=rng), ReLU(), response_norm(), MaxPool2d(3, 2)],
        *[Conv2d(c1, c2, 5, padding=2, groups=groups, rng=rng), ReLU(), response_norm(), MaxPool2d(3, 2)],
        *[Conv2d(c2, c3, 3, padding=1, rng=rng), ReLU()],
        *[Conv2d(c3, c4, 3, padding=1, groups=groups, rng=rng), ReLU()],
        *[Conv2d(c4, c5, 3, padding=1, groups=groups, rng=rng), ReLU(), MaxPool2d(3, 2)],
    ]
    size = (in_channels, 227, 227)
    return classifier(features, c5, num_classes, size, width=width, dropout=dropout, rng=rng)


def alexnet_owt(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    width: float = 1.0,
    dropout: float = 0.5,
    seed: int | np.random.Generator = 0,
) -> Sequential:
    """Build the form of *One weird trick*, figure 2, for images of 224 x 224: 61,100,840 parameters.

    One tower of 64, 192, 384, 256 and 256 maps, without normalisation. It is torchvision's `alexnet`: layers, their
    order, names and initial distributions are the same. (In that paper the fourth convolution has 384 maps.)

    Parameters
    ----------
    num_classes, in_channels, width, dropout, seed
        See `alexnet`.
    """
    rng = np.random.default_rng(seed)
    c1, c2, c3, c4, c5 = (scaled_width("alexnet_owt", maps, width) for maps in (64, 192, 384, 256, 256))
    features = [
        *[Conv2d(in_channels, c1, 11, 4, 2, rng=rng), ReLU(), MaxPool2d(3, 2)],
        *[Conv2d(c1, c2, 5, padding=2, rng=rng), ReLU(), MaxPool2d(3, 2)],
        *[Conv2d(c2, c3, 3, padding=1, rng=rng), ReLU()],
        *[Conv2d(c3, c4, 3, padding=1, rng=rng), ReLU()],
        *[Conv2d(c4, c5, 3, padding=1, rng=rng), ReLU(), MaxPool2d(3, 2)],
    ]
    size = (in_channels, 224, 224)
    return classifier(features, c5, num_classes, size, width=width, dropout=dropout, rng=rng)
