"""What the Inception family shares: convolutions with their names, chains of them, and towers side by side."""

from collections.abc import Callable

import numpy as np

from fastconv.layers import (
    BatchNorm2d,
    Concat,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    Layer,
    Linear,
    ReLU,
    Sequential,
)
from fastconv.models.parts import Layers, scaled_width

Kernel = int | tuple[int, int]
Unit = Callable[..., Layer]


def padding_of(kernel: Kernel) -> tuple[int, int]:
    """Return the padding that keeps the size at stride 1."""
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    return height // 2, width // 2


def normed(
    in_channels: int,
    channels: int,
    kernel: Kernel = 1,
    stride: int = 1,
    pad: bool = True,
    *,
    width: float = 1.0,
    rng: np.random.Generator,
) -> Sequential:
    """Return a convolution, its normalisation and ReLU, called 'conv' and 'bn' as in torchvision.

    Weights start as in `fastconv.models.parts.conv_norm`.

    Parameters
    ----------
    in_channels, channels : int
        Of the full network.
    kernel : int or (int, int)
    stride : int
    pad : bool
        Whether padding keeps the size at stride 1.
    width : float
        Multiplies both numbers of channels.
    rng : Generator
    """
    ins, outs = (scaled_width("inception", maps, width) for maps in (in_channels, channels))
    padding = padding_of(kernel) if pad else 0
    conv = Conv2d(ins, outs, kernel, stride, padding, bias=False, rng=rng, init="kaiming_normal_out")
    return Sequential({"conv": conv, "bn": BatchNorm2d(outs, eps=1e-3), "relu": ReLU()})


def plain(
    in_channels: int,
    channels: int,
    kernel: Kernel = 1,
    stride: int = 1,
    pad: bool = True,
    *,
    width: float = 1.0,
    rng: np.random.Generator,
) -> Sequential:
    """Return a convolution with bias and its ReLU; arguments are those of `normed`."""
    ins, outs = (scaled_width("inception", maps, width) for maps in (in_channels, channels))
    padding = padding_of(kernel) if pad else 0
    conv = Conv2d(ins, outs, kernel, stride, padding, rng=rng, init="kaiming_normal")
    return Sequential({"conv": conv, "relu": ReLU()})


def tower(name: str, *layers: Layer) -> Sequential:
    """Return layers one after another, called name_1, name_2, ..."""
    return Sequential({f"{name}_{number}": layer for number, layer in enumerate(layers, 1)})


def side_by_side(*towers: Layer) -> Concat:
    """Return towers whose maps are joined, and whose layers are named as if they stood in the block itself."""
    return Concat({f".tower{number}": layer for number, layer in enumerate(towers, 1)})


def head(channels: int, num_classes: int, dropout: float, *, width: float, rng: np.random.Generator) -> Layers:
    """Return the layers from maps of any size, `channels` times `width` of them, to scores."""
    linear = Linear(scaled_width("inception", channels, width), num_classes, rng=rng)
    return {"avgpool": GlobalAvgPool2d(), "flatten": Flatten(), "dropout": Dropout(dropout, rng=rng), "fc": linear}
