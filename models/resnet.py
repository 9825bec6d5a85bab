"""Residual networks for ImageNet, ResNeXt, and the plain network without shortcuts.

K. He, X. Zhang, S. Ren and J. Sun, *Deep residual learning for image recognition*, CVPR 2016,
https://arxiv.org/abs/1512.03385, table 1 and figure 5; S. Xie, R. Girshick, P. Dollar, Z. Tu and K. He, *Aggregated
residual transformations for deep neural networks*, CVPR 2017, https://arxiv.org/abs/1611.05431, table 1.
"""

from collections.abc import Callable, Iterable
from functools import partial

import numpy as np

from fastconv.layers import BatchNorm2d, Identity, Layer, MaxPool2d, ReLU, Sequential, Sum
from fastconv.models.parts import Layers, conv_norm, head

Block = Callable[..., Layers]
Unit = Callable[..., Layer]


# ---- blocks: the layers that learn


def numbered(*pairs: list[Layer]) -> Layers:
    """Return convolutions and their normalisations, with a ReLU between two pairs: conv1, bn1, relu1, conv2, bn2."""
    layers: Layers = {}
    for number, (conv, norm) in enumerate(pairs, 1):
        layers |= {f"conv{number}": conv, f"bn{number}": norm}
        layers |= {f"relu{number}": ReLU()} if number < len(pairs) else {}
    return layers


def basic(in_channels: int, width: int, stride: int = 1, *, rng: np.random.Generator) -> Layers:
    """Return two 3x3 convolutions: figure 5, left."""
    return numbered(conv_norm(in_channels, width, 3, stride, rng=rng), conv_norm(width, width, 3, rng=rng))


def bottleneck(
    in_channels: int, width: int, stride: int = 1, groups: int = 1, group_width: int = 64, *, rng: np.random.Generator
) -> Layers:
    """Return a 3x3 convolution between two of 1x1, which narrow and widen the maps: figure 5, right.

    In the first stage, whose `width` is 64, the 3x3 convolution has `groups` groups of `group_width` maps; groups widen
    with the stages. It also takes the stride, as in torchvision ("ResNet v1.5"): in the paper the first 1x1 does, and
    skips three quarters of its input.
    """
    inner = width * groups * group_width // 64
    return numbered(
        conv_norm(in_channels, inner, 1, rng=rng),
        conv_norm(inner, inner, 3, stride, groups, rng=rng),
        conv_norm(inner, 4 * width, 1, rng=rng),
    )


# ---- units: a block and what is around it


def last_norm(block: Layers) -> BatchNorm2d:
    """Return the normalisation at the end of a block."""
    return block[list(block)[-1]]


def residual(
    block: Layers, in_channels: int, stride: int, zero_init: bool = False, *, rng: np.random.Generator
) -> Sequential:
    """Add the input to what a block makes of it; a 1x1 convolution adapts it where shapes differ (option B).

    With `zero_init` the unit starts as the identity: P. Goyal et al., *Accurate, large minibatch SGD* (2017),
    https://arxiv.org/abs/1706.02677, section 5.1.
    """
    last = last_norm(block)
    if zero_init:
        last.params["weight"].fill(0)
    same = stride == 1 and last.num_features == in_channels
    skip = Identity() if same else Sequential(*conv_norm(in_channels, last.num_features, 1, stride, rng=rng))
    return Sequential({"": Sum({"": Sequential(block), "downsample": skip}), "relu": ReLU()})


def plain(block: Layers, in_channels: int, stride: int, *, rng: np.random.Generator) -> Sequential:
    """Return the block alone: what a network is without shortcuts."""
    return Sequential(block | {"relu": ReLU()})


def stages(
    block: Block, unit: Unit, channels: int, sizes: Iterable[tuple[int, int]], *, rng: np.random.Generator
) -> Layers:
    """Return layer1, layer2, ...: a chain of units for each (width, count); all but the first halve the maps."""
    chains: Layers = {}
    for width, count in sizes:
        units = []
        for number in range(count):
            stride = 2 if chains and number == 0 else 1
            layers = block(channels, width, stride, rng=rng)
            units.append(unit(layers, channels, stride, rng=rng))
            channels = last_norm(layers).num_features
        chains[f"layer{len(chains) + 1}"] = Sequential(*units)
    return chains


# ---- networks

WIDTHS = (64, 128, 256, 512)
DEPTHS: dict[int, tuple[Block, tuple[int, ...]]] = {
    18: (basic, (2, 2, 2, 2)),
    34: (basic, (3, 4, 6, 3)),
    50: (bottleneck, (3, 4, 6, 3)),
    101: (bottleneck, (3, 4, 23, 3)),
    152: (bottleneck, (3, 8, 36, 3)),
}


def resnet(
    depth: int,
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    shortcuts: bool = True,
    zero_init: bool = False,
    seed: int | np.random.Generator = 0,
    **groups: int,
) -> Sequential:
    """Build a network of table 1 for images of 224 x 224; it takes other sizes, too.

    Layers, their order, names and initial distributions are torchvision's; so is the place of the stride, see
    `bottleneck`.

    Parameters
    ----------
    depth : int
        18, 34, 50, 101 or 152.
    num_classes, in_channels : int
    shortcuts : bool
        Without them the network is the plain one of figure 3.
    zero_init : bool
        Whether residual units start as identities; see `residual`.
    seed : int or Generator
        Where the parameters come from: the same seed gives the same bits.
    **groups : int
        `groups` and `group_width` of each `bottleneck`, for ResNeXt.

    Raises
    ------
    ValueError
        There is no such depth.
    """
    if depth not in DEPTHS:
        raise ValueError(f"resnet: depth must be one of {', '.join(map(str, DEPTHS))}, got {depth!r}")
    rng = np.random.default_rng(seed)
    block, counts = DEPTHS[depth]
    unit = partial(residual, zero_init=zero_init) if shortcuts else plain
    model = Sequential(
        numbered(conv_norm(in_channels, 64, 7, 2, rng=rng))
        | {"relu": ReLU(), "maxpool": MaxPool2d(3, 2, 1)}
        | stages(partial(block, **groups), unit, 64, zip(WIDTHS, counts, strict=True), rng=rng)
        | head(2048 if block is bottleneck else 512, num_classes, rng=rng)
    )
    model.input_shape = (in_channels, 224, 224)
    return model


resnet18, resnet34, resnet50, resnet101, resnet152 = (partial(resnet, depth) for depth in DEPTHS)
resnext50_32x4d = partial(resnet, 50, groups=32, group_width=4)
plain34 = partial(resnet, 34, shortcuts=False)
