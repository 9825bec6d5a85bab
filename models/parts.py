"""What the families share: a convolution with the normalisation after it, and the head of a classifier."""

from collections.abc import Callable

import numpy as np

from fastconv.init import Initialiser, zeros
from fastconv.layers import BatchNorm2d, Conv2d, Flatten, GlobalAvgPool2d, Layer, Linear, ReLU, Sequential

Layers = dict[str, Layer]  # by the names that their parameters have, torchvision's where it has the model


def conv_norm(
    in_channels: int,
    channels: int,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
    *,
    norm: Callable[[int], BatchNorm2d] = BatchNorm2d,
    rng: np.random.Generator,
) -> list[Layer]:
    """Return a convolution and its batch normalisation, which makes a bias useless.

    Padding keeps the size at stride 1. Weights start as in K. He et al. (2015), by the number of outputs that an input
    reaches (`fastconv.init.kaiming_normal_out`), as in torchvision.
    """
    padding = kernel // 2
    conv = Conv2d(
        in_channels, channels, kernel, stride, padding, groups=groups, bias=False, rng=rng, init="kaiming_normal_out"
    )
    return [conv, norm(channels)]


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


def rectified(conv: Conv2d) -> Sequential:
    """Return a convolution and its ReLU, whose parameters are named as if the convolution stood alone."""
    return Sequential({"": conv, "relu": ReLU()})


def small_normal(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
    """Draw from a normal distribution of standard deviation 0.01, as the last layers of some networks start."""
    return rng.standard_normal(shape, np.float32) * np.float32(0.01)


SMALL = Initialiser(small_normal, zeros)


def scaled_width(name: str, channels: int, width: float) -> int:
    """Return ``channels * width``, for the narrow forms of a network.

    Raises
    ------
    ValueError
        It is no whole number of at least 1.
    """
    scaled = channels * width
    if scaled < 1 or scaled != int(scaled):
        raise ValueError(f"{name}: {channels} maps times width must be a whole number, got width {width!r}")
    return int(scaled)
