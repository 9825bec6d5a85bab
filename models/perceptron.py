"""Perceptrons: one alone, as a filter that looks for its template, and in layers.

F. Rosenblatt, *The perceptron: a probabilistic model for information storage and organization in the brain*,
Psychological Review 65(6), 1958, https://doi.org/10.1037/h0042519; D. Rumelhart, G. Hinton and R. Williams, *Learning
representations by back-propagating errors*, Nature 323, 1986, https://doi.org/10.1038/323533a0.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from fastconv.layers import Conv2d, Flatten, GlobalMaxPool2d, Linear, ReLU, Sequential


def multilayer_perceptron(
    num_classes: int = 10,
    in_channels: int = 1,
    *,
    size: int = 28,
    hidden: Sequence[int] = (128, 64),
    seed: int | np.random.Generator = 0,
) -> Sequential:
    """Build layers of perceptrons, each of which sees all of the layer before it: 109,386 parameters for ten classes.

    Where a pattern stands matters to it: what it has learnt of one place says nothing about another.

    Parameters
    ----------
    num_classes, in_channels : int
    size : int
        Height and width of the images.
    hidden : sequence of int
        Units of the layers before the last.
    seed : int or Generator
        Where the parameters come from: the same seed gives the same bits.
    """
    rng = np.random.default_rng(seed)
    layers = [
        layer
        for sizes in pairwise((in_channels * size * size, *hidden, num_classes))
        for layer in (Linear(*sizes, rng=rng), ReLU())
    ]
    model = Sequential(Flatten(), *layers[:-1])
    model.input_shape = (in_channels, size, size)
    return model


def perceptron(
    num_classes: int = 10, in_channels: int = 1, *, size: int = 28, seed: int | np.random.Generator = 0
) -> Sequential:
    """Build one perceptron for each class, without a layer between: 7,850 parameters for ten classes.

    A perceptron *fires* where ``w @ x + b >= 0``: where the angle between the image and its weights is small enough,
    ``cos(angle) >= -b / (|w| |x|)``. Its weights are a template. The output here is ``w @ x + b`` itself, for softmax
    and cross entropy; the largest fires.

    Parameters
    ----------
    num_classes, in_channels, size, seed
        See `multilayer_perceptron`.
    """
    return multilayer_perceptron(num_classes, in_channels, size=size, hidden=(), seed=seed)


def correlation_filter(
    num_classes: int = 10, in_channels: int = 1, *, size: int = 28, seed: int | np.random.Generator = 0
) -> Sequential:
    """Build the perceptrons of `perceptron` as convolutions, which look for their templates everywhere.

    For an image of size x size it computes what `perceptron` does, with the same numbers. In a larger one it looks at
    every window of that size and takes the maximum: it fires if one window does.

    Parameters
    ----------
    num_classes, in_channels, size, seed
        See `multilayer_perceptron`.
    """
    rng = np.random.default_rng(seed)
    model = Sequential(Conv2d(in_channels, num_classes, size, rng=rng), GlobalMaxPool2d(), Flatten())
    model.input_shape = (in_channels, size, size)
    return model
