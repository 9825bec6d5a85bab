"""DenseNets: every layer of a block sees the maps of all layers before it.

G. Huang, Z. Liu, L. van der Maaten and K. Weinberger, *Densely connected convolutional networks*, CVPR 2017,
https://arxiv.org/abs/1608.06993, table 1 and section 3.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np

from fastconv.init import Initialiser, kaiming_uniform, zeros
from fastconv.layers import (
    AvgPool2d,
    BatchNorm2d,
    Concat,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    Identity,
    Linear,
    MaxPool2d,
    ReLU,
    Sequential,
)
from fastconv.models.parts import Layers

UNBIASED = Initialiser(kaiming_uniform, zeros)  # how the last layer starts


def convolution(in_channels: int, channels: int, kernel: int, stride: int = 1, *, rng: np.random.Generator) -> Conv2d:
    """Return a convolution without bias, which keeps the size at stride 1."""
    return Conv2d(in_channels, channels, kernel, stride, kernel // 2, bias=False, rng=rng, init="kaiming_normal")


def composite(number: int | str, in_channels: int, *conv: int, rng: np.random.Generator) -> Layers:
    """Return a normalisation, a ReLU and a convolution, in this order: section 3, "composite function"."""
    return {
        f"norm{number}": BatchNorm2d(in_channels),
        f"relu{number}": ReLU(),
        f"conv{number}": convolution(in_channels, *conv, rng=rng),
    }


def dense_layer(in_channels: int, growth: int, bottleneck: int, dropout: float, *, rng: np.random.Generator) -> Concat:
    """Return what appends `growth` maps to its input: eq. 2.

    With a `bottleneck`, a 1x1 convolution first makes that many times `growth` maps ("DenseNet-B").
    """
    layers: Layers = {}
    if bottleneck:
        layers |= composite(1, in_channels, bottleneck * growth, 1, rng=rng)
        in_channels = bottleneck * growth
    layers |= composite(2 if bottleneck else 1, in_channels, growth, 3, rng=rng)
    layers |= {"dropout": Dropout(dropout, rng=rng)} if dropout else {}
    return Concat({"before": Identity(), "": Sequential(layers)})


def dense_stages(
    channels: int,
    counts: Sequence[int],
    growth: int,
    *,
    bottleneck: int = 4,
    compression: float = 0.5,
    dropout: float = 0.0,
    rng: np.random.Generator,
) -> tuple[Layers, int]:
    """Return blocks of so many dense layers, with transitions between them, and the number of maps at the end.

    A transition halves the size, and keeps the share `compression` of the maps ("DenseNet-C").
    """
    stages: Layers = {}
    for stage, count in enumerate(counts, 1):
        dense: Layers = {}
        for number in range(1, count + 1):
            dense[f"denselayer{number}"] = dense_layer(channels, growth, bottleneck, dropout, rng=rng)
            channels += growth
        stages[f"denseblock{stage}"] = Sequential(dense)
        if stage < len(counts):
            kept = int(channels * compression)
            transition = composite("", channels, kept, 1, rng=rng)
            stages[f"transition{stage}"] = Sequential(transition | {"pool": AvgPool2d(2)})
            channels = kept
    return stages, channels


def classifier(features: Layers, channels: int, num_classes: int, *, rng: np.random.Generator) -> Sequential:
    """Return a network of these features, with a last normalisation and ReLU, and a linear layer on their means."""
    last = {"norm5": BatchNorm2d(channels), "relu5": ReLU()}
    linear = Linear(channels, num_classes, rng=rng, init=UNBIASED)
    ends = {"avgpool": GlobalAvgPool2d(), "flatten": Flatten(), "classifier": linear}
    return Sequential({"features": Sequential(features | last)} | ends)


# ---- table 1: maps at the start, growth, dense layers in each block
DEPTHS = {
    121: (64, 32, (6, 12, 24, 16)),
    161: (96, 48, (6, 12, 36, 24)),
    169: (64, 32, (6, 12, 32, 32)),
    201: (64, 32, (6, 12, 48, 32)),
}


def densenet(
    depth: int,
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    dropout: float = 0.0,
    seed: int | np.random.Generator = 0,
) -> Sequential:
    """Build a network of table 1 for images of 224 x 224; it takes other sizes from 29 x 29. Depth 121: 7,978,856.

    Layers, their order, names and initial distributions are torchvision's. Depth 161 was in the paper's first version.

    Parameters
    ----------
    depth : int
        121, 161, 169 or 201.
    num_classes, in_channels : int
    dropout : float
        Share of each layer's new elements that are left out in training.
    seed : int or Generator
        Where the parameters come from: the same seed gives the same bits.

    Raises
    ------
    ValueError
        There is no such depth.
    """
    if depth not in DEPTHS:
        raise ValueError(f"densenet: depth must be one of {', '.join(map(str, DEPTHS))}, got {depth!r}")
    rng = np.random.default_rng(seed)
    channels, growth, counts = DEPTHS[depth]
    stem = {
        "conv0": convolution(in_channels, channels, 7, 2, rng=rng),
        "norm0": BatchNorm2d(channels),
        "relu0": ReLU(),
        "pool0": MaxPool2d(3, 2, 1),
    }
    stages, channels = dense_stages(channels, counts, growth, dropout=dropout, rng=rng)
    model = classifier(stem | stages, channels, num_classes, rng=rng)
    model.input_shape = (in_channels, 224, 224)
    return model


def densenet_cifar(
    depth: int,
    num_classes: int = 10,
    in_channels: int = 3,
    *,
    growth: int = 12,
    bottleneck: bool = False,
    dropout: float = 0.0,
    seed: int | np.random.Generator = 0,
) -> Sequential:
    """Build a narrow network of three blocks for images of 32 x 32; it takes other sizes from 4 x 4.

    Depth 40 and growth 12 have 1,019,722 parameters; with `bottleneck`, depth 100 and growth 12 have 769,162.

    Parameters
    ----------
    depth : int
        4 plus a multiple of 3; with `bottleneck`, of 6.
    num_classes, in_channels : int
    growth : int
        Maps that each layer adds.
    bottleneck : bool
        Whether 1x1 convolutions narrow the input of each layer, and transitions halve the maps ("DenseNet-BC").
    dropout : float
        Share of each layer's new elements that are left out in training; the paper has 0.2 without augmentation.
    seed : int or Generator
        Where the parameters come from: the same seed gives the same bits.

    Raises
    ------
    ValueError
        Layers of this depth cannot be dealt to three blocks.
    """
    step = 6 if bottleneck else 3
    count, rest = divmod(depth - 4, step)
    if count < 1 or rest:
        raise ValueError(f"densenet_cifar: depth must be {step} n + 4 with n >= 1, as 40 or 100, got {depth!r}")
    rng = np.random.default_rng(seed)
    channels = 2 * growth if bottleneck else 16
    stem = {"conv0": convolution(in_channels, channels, 3, rng=rng)}
    form = {"bottleneck": 4, "compression": 0.5} if bottleneck else {"bottleneck": 0, "compression": 1.0}
    stages, channels = dense_stages(channels, [count] * 3, growth, dropout=dropout, rng=rng, **form)
    model = classifier(stem | stages, channels, num_classes, rng=rng)
    model.input_shape = (in_channels, 32, 32)
    return model


densenet121, densenet161, densenet169, densenet201 = (partial(densenet, depth) for depth in DEPTHS)
densenet40 = partial(densenet_cifar, 40)
densenet100_bc = partial(densenet_cifar, 100, bottleneck=True)
