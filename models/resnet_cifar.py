"""Residual and plain networks for images of 32 x 32.

K. He, X. Zhang, S. Ren and J. Sun, *Deep residual learning for image recognition*, CVPR 2016,
https://arxiv.org/abs/1512.03385, section 4.2.
"""

from functools import partial

import numpy as np

from fastconv.layers import ReLU, Sequential
from fastconv.models.parts import conv_norm, head
from fastconv.models.resnet import basic, numbered, plain, residual, stages

WIDTHS = (16, 32, 64)


def resnet_cifar(
    depth: int,
    num_classes: int = 10,
    in_channels: int = 3,
    *,
    shortcuts: bool = True,
    zero_init: bool = False,
    seed: int | np.random.Generator = 0,
) -> Sequential:
    """Build a network of 6 n + 2 layers for CIFAR's images of 32 x 32; it takes other sizes, too.

    It deviates in one point: where the number of maps doubles, the shortcut is a 1x1 convolution (option B), which adds
    2,752 parameters; the paper pads with zero maps there (option A).

    Parameters
    ----------
    depth : int
        8, 14, 20, and so on; the paper has 20, 32, 44, 56 and 110.
    num_classes, in_channels : int
    shortcuts : bool
        Without them the network is plain.
    zero_init : bool
        Whether residual units start as identities; see `fastconv.models.resnet.residual`.
    seed : int or Generator
        Where the parameters come from: the same seed gives the same bits.

    Raises
    ------
    ValueError
        `depth` is not 6 n + 2.
    """
    count, rest = divmod(depth - 2, 6)
    if count < 1 or rest:
        raise ValueError(f"resnet_cifar: depth must be 6 n + 2 with n >= 1, as 20 or 56, got {depth!r}")
    rng = np.random.default_rng(seed)
    unit = partial(residual, zero_init=zero_init) if shortcuts else plain
    model = Sequential(
        numbered(conv_norm(in_channels, 16, 3, rng=rng))
        | {"relu": ReLU()}
        | stages(basic, unit, 16, [(width, count) for width in WIDTHS], rng=rng)
        | head(64, num_classes, rng=rng)
    )
    model.input_shape = (in_channels, 32, 32)
    return model


resnet20, resnet32, resnet44, resnet56, resnet110 = (partial(resnet_cifar, depth) for depth in (20, 32, 44, 56, 110))
plain20, plain56 = (partial(resnet_cifar, depth, shortcuts=False) for depth in (20, 56))
