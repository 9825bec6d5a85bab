"""MobileNetV3: inverted residuals found by a search, with squeeze-excitation and piecewise linear activations.

A. Howard et al., *Searching for MobileNetV3*, ICCV 2019, https://arxiv.org/abs/1905.02244, tables 1 and 2.
"""

from functools import partial
from typing import NamedTuple

import numpy as np

from fastconv.layers import (
    BatchNorm2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    Hardswish,
    Layer,
    Linear,
    ReLU,
    Sequential,
)
from fastconv.models.inverted import Style, inverted_residual
from fastconv.models.mobilenet import scaled
from fastconv.models.parts import SMALL, unit


class Row(NamedTuple):
    """A row of table 1 or 2: kernel, expansion size, maps, squeeze-excitation, activation, stride."""

    kernel: int
    inner: int
    channels: int
    squeezes: bool
    activation: type[Layer]
    stride: int


LARGE = (
    Row(3, 16, 16, False, ReLU, 1),
    Row(3, 64, 24, False, ReLU, 2),
    Row(3, 72, 24, False, ReLU, 1),
    Row(5, 72, 40, True, ReLU, 2),
    Row(5, 120, 40, True, ReLU, 1),
    Row(5, 120, 40, True, ReLU, 1),
    Row(3, 240, 80, False, Hardswish, 2),
    Row(3, 200, 80, False, Hardswish, 1),
    Row(3, 184, 80, False, Hardswish, 1),
    Row(3, 184, 80, False, Hardswish, 1),
    Row(3, 480, 112, True, Hardswish, 1),
    Row(3, 672, 112, True, Hardswish, 1),
    Row(5, 672, 160, True, Hardswish, 2),
    Row(5, 960, 160, True, Hardswish, 1),
    Row(5, 960, 160, True, Hardswish, 1),
)
SMALL_ROWS = (
    Row(3, 16, 16, True, ReLU, 2),
    Row(3, 72, 24, False, ReLU, 2),
    Row(3, 88, 24, False, ReLU, 1),
    Row(5, 96, 40, True, Hardswish, 2),
    Row(5, 240, 40, True, Hardswish, 1),
    Row(5, 240, 40, True, Hardswish, 1),
    Row(5, 120, 48, True, Hardswish, 1),
    Row(5, 144, 48, True, Hardswish, 1),
    Row(5, 288, 96, True, Hardswish, 2),
    Row(5, 576, 96, True, Hardswish, 1),
    Row(5, 576, 96, True, Hardswish, 1),
)
FORMS = {"large": (LARGE, 1280), "small": (SMALL_ROWS, 1024)}  # and the hidden units of the classifier

STYLE = Style(norm=partial(BatchNorm2d, eps=1e-3, momentum=0.01))


def mobilenet_v3(
    form: str,
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    width: float = 1.0,
    dropout: float = 0.2,
    seed: int | np.random.Generator = 0,
) -> Sequential:
    """Build MobileNetV3 for images of 224 x 224; it takes other sizes, too.

    Large has 5,483,032 parameters, small 2,542,856. Layers, their order, names and initial distributions are
    torchvision's, but for depthwise weights: see `fastconv.init.kaiming_normal_out`.

    Parameters
    ----------
    form : {'large', 'small'}
    num_classes, in_channels : int
    width : float
        Multiplies the number of maps of each layer, and of the classifier's hidden units.
    dropout : float
        Share of the hidden units that are left out in training, before the last layer.
    seed : int or Generator
        Where the parameters come from: the same seed gives the same bits.

    Raises
    ------
    ValueError
        There is no such form.
    """
    if form not in FORMS:
        raise ValueError(f"mobilenet_v3: form must be one of {', '.join(FORMS)}, got {form!r}")
    rng = np.random.default_rng(seed)
    rows, hidden = FORMS[form]
    options = {"norm": STYLE.norm, "activation": Hardswish, "rng": rng}
    channels = scaled(16, width)
    layers: list[Layer] = [unit(in_channels, channels, 3, 2, **options)]
    for row in rows:
        inner, maps = scaled(row.inner, width), scaled(row.channels, width)
        sizes = (channels, inner, maps, row.kernel, row.stride, scaled(inner // 4, 1) if row.squeezes else 0)
        layers.append(inverted_residual(*sizes, activation=row.activation, style=STYLE, rng=rng))
        channels = maps
    layers.append(unit(channels, 6 * channels, 1, **options))
    hidden = scaled(hidden, width)
    classifier = Sequential(
        Linear(6 * channels, hidden, rng=rng, init=SMALL),
        Hardswish(),
        Dropout(dropout, rng=rng),
        Linear(hidden, num_classes, rng=rng, init=SMALL),
    )
    ends = {"avgpool": GlobalAvgPool2d(), "flatten": Flatten(), "classifier": classifier}
    model = Sequential({"features": Sequential(*layers)} | ends)
    model.input_shape = (in_channels, 224, 224)
    return model


mobilenet_v3_large, mobilenet_v3_small = partial(mobilenet_v3, "large"), partial(mobilenet_v3, "small")
