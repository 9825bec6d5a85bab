"""What the families share: a convolution with the normalisation after it, and the head of a classifier."""

from collections.abc import Callable

import numpy as np

from fastconv.layers import BatchNorm2d, Conv2d, Flatten, GlobalAvgPool2d, Layer, Linear, ReLU, Sequential

Layers = dict[str, Layer]  # by the names that their parameters have, torchvision's where it has the model


def conv_norm(
    in_channels: int, channels: int, kernel: int, stride: int = 1, groups: int = 1, *, rng: np.random.Generator
) -> list[Layer]:
    """Return a convolution and its batch normalisation, which makes a bias useless.

    Padding keeps the size at stride 1. Weights start as in K. He et al. (2015), by the number of outputs that an input
    reaches (`fastconv.init.kaiming_normal_out`), as in torchvision.
    """
    padding = kernel // 2
    conv = Conv2d(
        in_channels, channels, kernel, stride, padding, groups=groups, bias=False, rng=rng, init="kaiming_normal_out"
    )
    return [conv, BatchNorm2d(channels)]


def unit(*sizes: int, activation: Callable[[], Layer] = ReLU, **options) -> Sequential:
    """Return a convolution, its normalisation and an activation: what most networks are chains of.

    Parameters
    ----------
    *sizes, **options
        What `conv_norm` takes.
    activation : callable
        Makes the layer at the end.
    """
    return Sequential(*conv_norm(*sizes, **options), activation())


def head(channels: int, num_classes: int, *, rng: np.random.Generator) -> Layers:
    """Return the layers from maps to scores, for maps of any size."""
    return {"avgpool": GlobalAvgPool2d(), "flatten": Flatten(), "fc": Linear(channels, num_classes, rng=rng)}
