"""Inception v3: large kernels as chains of small and of flat ones.

C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens and Z. Wojna, *Rethinking the Inception architecture for computer vision*,
CVPR 2016, https://arxiv.org/abs/1512.00567, table 1 and figures 5 to 8, 10.
"""

from functools import partial

import numpy as np

from fastconv.layers import (
    AvgPool2d,
    Concat,
    Flatten,
    GlobalAvgPool2d,
    Linear,
    MaxPool2d,
    Sequential,
    SideHead,
    Supervised,
)
from fastconv.models.inception_parts import Unit, head, normed, side_by_side, tower
from fastconv.models.parts import Layers, scaled_width

ACROSS, DOWN = (1, 7), (7, 1)  # a kernel of 7x7 in two steps


def pooled(unit: Unit, channels: int, maps: int) -> Sequential:
    """Return a mean over neighbours and a 1x1 convolution: one tower of most blocks."""
    return Sequential({"pool": AvgPool2d(3, 1, 1), "branch_pool": unit(channels, maps)})


def block35(unit: Unit, channels: int, maps: int) -> Concat:
    """Return a block for planes of 35 x 35, figure 5 with a 5x5 left as it is: 224 + `maps` maps."""
    return side_by_side(
        Sequential({"branch1x1": unit(channels, 64)}),
        tower("branch5x5", unit(channels, 48), unit(48, 64, 5)),
        tower("branch3x3dbl", unit(channels, 64), unit(64, 96, 3), unit(96, 96, 3)),
        pooled(unit, channels, maps),
    )


def reduction35(unit: Unit, channels: int) -> Concat:
    """Return what halves planes of 35 x 35, by convolution and pooling side by side, figure 10: 480 maps more."""
    return side_by_side(
        Sequential({"branch3x3": unit(channels, 384, 3, 2, pad=False)}),
        tower("branch3x3dbl", unit(channels, 64), unit(64, 96, 3), unit(96, 96, 3, 2, pad=False)),
        MaxPool2d(3, 2),
    )


def block17(unit: Unit, channels: int, inner: int) -> Concat:
    """Return a block for planes of 17 x 17, figure 6 with flat kernels of 7: 768 maps."""
    double = [
        *[unit(channels, inner), unit(inner, inner, DOWN), unit(inner, inner, ACROSS)],
        *[unit(inner, inner, DOWN), unit(inner, 192, ACROSS)],
    ]
    return side_by_side(
        Sequential({"branch1x1": unit(channels, 192)}),
        tower("branch7x7", unit(channels, inner), unit(inner, inner, ACROSS), unit(inner, 192, DOWN)),
        tower("branch7x7dbl", *double),
        pooled(unit, channels, 192),
    )


def reduction17(unit: Unit, channels: int) -> Concat:
    """Return what halves planes of 17 x 17: 512 maps more."""
    flat = [unit(channels, 192), unit(192, 192, ACROSS), unit(192, 192, DOWN), unit(192, 192, 3, 2, pad=False)]
    return side_by_side(
        tower("branch3x3", unit(channels, 192), unit(192, 320, 3, 2, pad=False)),
        tower("branch7x7x3", *flat),
        MaxPool2d(3, 2),
    )


def fork(unit: Unit, channels: int, maps: int, name: str) -> Concat:
    """Return flat kernels of 1x3 and 3x1 side by side."""
    return Concat({f"{name}a": unit(channels, maps, (1, 3)), f"{name}b": unit(channels, maps, (3, 1))})


def block8(unit: Unit, channels: int) -> Concat:
    """Return a block for planes of 8 x 8, whose towers widen at their ends, figure 7: 2048 maps."""
    short: Layers = {"branch3x3_1": unit(channels, 384), "": fork(unit, 384, 384, "branch3x3_2")}
    double: Layers = {"branch3x3dbl_1": unit(channels, 448), "branch3x3dbl_2": unit(448, 384, 3)}
    return side_by_side(
        Sequential({"branch1x1": unit(channels, 320)}),
        Sequential(short),
        Sequential(double | {"": fork(unit, 384, 384, "branch3x3dbl_3")}),
        pooled(unit, channels, 192),
    )


def side_head(unit: Unit, num_classes: int, width: float, *, rng: np.random.Generator) -> SideHead:
    """Return the classifier at the side of planes of 17 x 17 or more, figure 8, whose loss counts 0.4."""
    layers: Layers = {
        "pool": AvgPool2d(5, 3),
        "conv0": unit(768, 128),
        "conv1": unit(128, 768, 5, pad=False),
        "avgpool": GlobalAvgPool2d(),
        "flatten": Flatten(),
        "fc": Linear(scaled_width("inception_v3", 768, width), num_classes, rng=rng),
    }
    return SideHead(Sequential(layers), 0.4)


def stem(in_channels: int, width: float, *, rng: np.random.Generator) -> Layers:
    """Return six convolutions and two poolings, from 299 x 299 to 192 maps of 35 x 35."""
    unit = partial(normed, width=width, rng=rng)
    return {
        "Conv2d_1a_3x3": normed(in_channels, scaled_width("inception", 32, width), 3, 2, pad=False, rng=rng),
        "Conv2d_2a_3x3": unit(32, 32, 3, pad=False),
        "Conv2d_2b_3x3": unit(32, 64, 3),
        "maxpool1": MaxPool2d(3, 2),
        "Conv2d_3b_1x1": unit(64, 80),
        "Conv2d_4a_3x3": unit(80, 192, 3, pad=False),
        "maxpool2": MaxPool2d(3, 2),
    }


def from35(unit: Unit, side: Layers) -> Layers:
    """Return what comes after the blocks of 35 x 35, with `side` after those of 17 x 17: from 288 to 2048 maps."""
    layers: Layers = {"Mixed_6a": reduction35(unit, 288)}
    for name, inner in (("b", 128), ("c", 160), ("d", 160), ("e", 192)):
        layers[f"Mixed_6{name}"] = block17(unit, 768, inner)
    layers |= side
    return layers | {"Mixed_7a": reduction17(unit, 768), "Mixed_7b": block8(unit, 1280), "Mixed_7c": block8(unit, 2048)}


def inception_v3(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    heads: bool = True,
    width: float = 1.0,
    dropout: float = 0.5,
    seed: int | np.random.Generator = 0,
) -> Sequential:
    """Build torchvision's form for images of 299 x 299: 27,161,264 parameters, 23,834,568 without the head at the side.

    Layers, their order and names are torchvision's. Inference takes images from 75 x 75 on. Training with the head
    needs its own size; see `fastconv.layers.Supervised` for what a training pass gives.

    Parameters
    ----------
    num_classes, in_channels : int
    heads : bool
        Whether there is a classifier at the side.
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
    layers = stem(in_channels, width, rng=rng)
    for name, channels, maps in (("b", 192, 32), ("c", 256, 64), ("d", 288, 64)):
        layers[f"Mixed_5{name}"] = block35(unit, channels, maps)
    side = {"AuxLogits": side_head(unit, num_classes, width, rng=rng)} if heads else {}
    layers |= from35(unit, side) | head(2048, num_classes, dropout, width=width, rng=rng)
    model = Supervised(layers) if heads else Sequential(layers)
    model.input_shape = (in_channels, 299, 299)
    return model
