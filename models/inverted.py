"""Inverted residual units with squeeze-excitation: what MobileNetV3 and EfficientNets are chains of.

M. Tan et al., *MnasNet: platform-aware neural architecture search for mobile*, CVPR 2019,
https://arxiv.org/abs/1807.11626, figure 7, where they are called MBConv; J. Hu, L. Shen and G. Sun,
*Squeeze-and-excitation networks*, CVPR 2018, https://arxiv.org/abs/1709.01507, figure 3.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastconv.layers import (
    BatchNorm2d,
    Conv2d,
    Gate,
    GlobalAvgPool2d,
    Hardsigmoid,
    Identity,
    Layer,
    ReLU,
    Sequential,
    Sigmoid,
    StochasticDepth,
    Sum,
)
from fastconv.models.parts import conv_norm, unit

Maker = Callable[[], Layer]


def squeeze_excite(
    channels: int, squeezed: int, activation: Maker = ReLU, squash: Maker = Sigmoid, *, rng: np.random.Generator
) -> Gate:
    """Multiply each map by a number that all maps' means decide, through `squeezed` hidden units."""
    start = {"rng": rng, "init": "kaiming_normal_out"}
    excitation = Sequential(
        {
            "avgpool": GlobalAvgPool2d(),
            "fc1": Conv2d(channels, squeezed, 1, **start),
            "activation": activation(),
            "fc2": Conv2d(squeezed, channels, 1, **start),
            "scale_activation": squash(),
        }
    )
    return Gate({"trunk": Identity(), "": excitation})


class Style(NamedTuple):
    """What all units of a network have in common: makers of activations and of normalisations.

    `hidden` follows the squeezed layer of the squeeze-excitation, and `squash` gives its factors.
    """

    hidden: Maker = ReLU
    squash: Maker = Hardsigmoid
    norm: Callable[[int], BatchNorm2d] = BatchNorm2d


def inverted_residual(
    in_channels: int,
    inner: int,
    channels: int,
    kernel: int,
    stride: int = 1,
    squeezed: int = 0,
    *,
    activation: Maker,
    style: Style,
    drop: float = 0.0,
    rng: np.random.Generator,
) -> Layer:
    """Return a depthwise convolution among `inner` maps, with a linear 1x1 convolution behind.

    The input is added where that has the same shape.

    Parameters
    ----------
    in_channels, inner, channels : int
        Maps of the input, between the 1x1 convolutions, and of the output. The first 1x1 is left out where it would
        not widen.
    kernel, stride : int
        Of the depthwise convolution.
    squeezed : int
        Hidden units of the squeeze-excitation; with 0 there is none.
    activation : callable
        Makes the layer behind the first two convolutions.
    style : Style
    drop : float
        How often a sample goes without the unit in training, where the input is added; see `StochasticDepth`.
    rng : Generator
    """
    options = {"norm": style.norm, "rng": rng}
    layers: list[Layer] = (
        [] if inner == in_channels else [unit(in_channels, inner, 1, activation=activation, **options)]
    )
    layers.append(unit(inner, inner, kernel, stride, groups=inner, activation=activation, **options))
    if squeezed:
        layers.append(squeeze_excite(inner, squeezed, style.hidden, style.squash, rng=rng))
    layers.append(Sequential(*conv_norm(inner, channels, 1, **options)))
    main = {"block": Sequential(*layers)}
    if stride != 1 or in_channels != channels:
        return Sequential(main)
    ends = {"stochastic_depth": StochasticDepth(drop, rng=rng)} if drop else {}
    return Sum({"": Sequential(main | ends), "skip": Identity()})
