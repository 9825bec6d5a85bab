"""A course in convolutional networks: six small ones, for Fashion-MNIST (28 x 28) and CIFAR-10 (32 x 32).

Each changes one thing: large kernels; small kernels with pooling; strides in the place of pooling; padding that keeps
the size; a convolution in the place of the dense layer; and the same for coloured images, with more maps.

Outputs are linear, for softmax and cross entropy. Weights start as in Keras: uniform (Glorot), without bias.

H. Xiao, K. Rasul and R. Vollgraf, *Fashion-MNIST: a novel image dataset for benchmarking machine learning algorithms*
(2017), https://arxiv.org/abs/1708.07747; A. Krizhevsky, *Learning multiple layers of features from tiny images* (2009).
"""

from collections.abc import Iterator
from itertools import pairwise
from math import prod

import numpy as np

from fastconv.layers import Conv2d, Flatten, Layer, Linear, MaxPool2d, ReLU, Sequential

WIDTHS = (32, 64, 128, 256, 512)


class Chain:
    """Builds convolutions and linear layers whose sizes follow from each other, with parameters from one generator.

    Parameters
    ----------
    in_channels : int
    width : float
        Multiplies the number of maps and of hidden units.
    seed : int or Generator
    """

    def __init__(self, in_channels: int, width: float, seed: int | np.random.Generator):
        self.channels, self.width = in_channels, width
        self.start = {"rng": np.random.default_rng(seed), "init": "xavier"}

    def conv(self, maps: int, kernel: int, stride: int = 1, padding: int | tuple = 0) -> list[Layer]:
        """Return a convolution and its ReLU."""
        channels, self.channels = self.channels, round(maps * self.width)
        return [Conv2d(channels, self.channels, kernel, stride, padding, **self.start), ReLU()]

    def classifier(
        self, layers: list[Layer], input_shape: tuple[int, int, int], num_classes: int, hidden: tuple[int, ...] = ()
    ) -> Sequential:
        """Return the network of these layers and of linear ones, with a ReLU behind each but the last."""
        features = prod(Sequential(*layers).output_shape((1, *input_shape)))
        sizes = pairwise((features, *(round(units * self.width) for units in hidden), num_classes))
        linears = [layer for size in sizes for layer in (Linear(*size, **self.start), ReLU())]
        model = Sequential(*layers, Flatten(), *linears[:-1])
        model.input_shape = input_shape
        return model


def halving(chain: Chain, widths: tuple[int, ...]) -> Iterator[Layer]:
    """Yield 3x3 convolutions, every second of which halves the size; the others keep it.

    Where the size is even, Keras pads a stride of 2 by one row and one column, behind the image. Here it is so always.
    """
    for number, maps in enumerate(widths):
        strided = number % 2 == 1
        yield from chain.conv(maps, 3, 2 if strided else 1, ((0, 1), (0, 1)) if strided else 1)


def fashion_7x7(
    num_classes: int = 10, in_channels: int = 1, *, width: float = 1.0, seed: int | np.random.Generator = 0
) -> Sequential:
    """Build a first step from dense layers to convolutions: 2,150,410 parameters for ten classes.

    Four 7x7 convolutions without padding, of 32 to 256 maps, take the image from 28 to 22, 16, 10 and 4 pixels; nothing
    pools. Most of the multiply-adds are in the kernels' size, which the next networks replace by depth.

    Parameters
    ----------
    num_classes, in_channels : int
    width : float
        Multiplies the number of maps.
    seed : int or Generator
        Where the parameters come from: the same seed gives the same bits.
    """
    chain = Chain(in_channels, width, seed)
    layers = [layer for maps in WIDTHS[:4] for layer in chain.conv(maps, 7)]
    return chain.classifier(layers, (in_channels, 28, 28), num_classes)


def fashion_max_pool(
    num_classes: int = 10, in_channels: int = 1, *, width: float = 1.0, seed: int | np.random.Generator = 0
) -> Sequential:
    """Build five 3x3 convolutions, with a maximum over 2 x 2 pixels behind the second and the fourth.

    1,588,490 parameters for ten classes. Pooling comes before ReLU, with which a maximum commutes: one pass does both.

    Parameters
    ----------
    num_classes, in_channels, width, seed
        See `fashion_7x7`.
    """
    chain, layers = Chain(in_channels, width, seed), []
    for number, maps in enumerate(WIDTHS):
        conv, relu = chain.conv(maps, 3)
        layers += [conv, MaxPool2d(2), relu] if number % 2 else [conv, relu]
    return chain.classifier(layers, (in_channels, 28, 28), num_classes)


def fashion_strided(
    num_classes: int = 10, in_channels: int = 1, *, width: float = 1.0, seed: int | np.random.Generator = 0
) -> Sequential:
    """Build `fashion_max_pool` with strides in the place of pooling: as many parameters, fewer multiply-adds.

    Parameters
    ----------
    num_classes, in_channels, width, seed
        See `fashion_7x7`.
    """
    chain = Chain(in_channels, width, seed)
    layers = [layer for number, maps in enumerate(WIDTHS) for layer in chain.conv(maps, 3, number % 2 + 1)]
    return chain.classifier(layers, (in_channels, 28, 28), num_classes)


def fashion_same(
    num_classes: int = 10, in_channels: int = 1, *, width: float = 1.0, seed: int | np.random.Generator = 0
) -> Sequential:
    """Build `fashion_strided` with padding: only strides change the size, to 14 and 7. 1,818,890 parameters.

    Parameters
    ----------
    num_classes, in_channels, width, seed
        See `fashion_7x7`.
    """
    chain = Chain(in_channels, width, seed)
    return chain.classifier([*halving(chain, WIDTHS)], (in_channels, 28, 28), num_classes)


def fashion_fully_convolutional(
    num_classes: int = 10, in_channels: int = 1, *, width: float = 1.0, seed: int | np.random.Generator = 0
) -> Sequential:
    """Build a network of convolutions alone, which gives a map of scores: 6,816,010 parameters for ten classes.

    A 7x7 convolution sees what a dense layer would see of an image of 28 x 28, and one of 1x1 makes scores of it. They
    take larger images, too: 28 x 28 pixels give (n, 10, 1, 1), 64 x 64 pixels (n, 10, 10, 10), one vector of scores for
    each place of a window of 28 x 28 that moves by 4.

    Parameters
    ----------
    num_classes, in_channels, width, seed
        See `fashion_7x7`.
    """
    chain = Chain(in_channels, width, seed)
    layers = [*halving(chain, WIDTHS[:4]), *chain.conv(512, 7)]
    model = Sequential(*layers, Conv2d(chain.channels, num_classes, 1, **chain.start))
    model.input_shape = (in_channels, 28, 28)
    return model


def cifar_strided(
    num_classes: int = 10, in_channels: int = 3, *, width: float = 1.0, seed: int | np.random.Generator = 0
) -> Sequential:
    """Build six convolutions and two dense layers for images of 32 x 32: 14,682,442 parameters for ten classes.

    Parameters
    ----------
    num_classes, in_channels, width, seed
        See `fashion_7x7`.
    """
    chain = Chain(in_channels, width, seed)
    return chain.classifier([*halving(chain, (*WIDTHS, 1024))], (in_channels, 32, 32), num_classes, hidden=(512,))
