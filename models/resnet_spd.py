"""A residual network that loses no pixel: space-to-depth in the place of strides and pooling.

R. Sunkara and T. Luo, *No more strided convolutions or pooling: a new CNN building block for low-resolution images and
small objects*, ECML PKDD 2022, https://arxiv.org/abs/2208.03641, section 3.
"""

import numpy as np

from fastconv.layers import Identity, ReLU, Sequential, SpaceToDepth, Sum
from fastconv.models.parts import Layers, conv_norm, head
from fastconv.models.resnet import DEPTHS, WIDTHS, last_norm, numbered, stages


def spd(in_channels: int, stride: int) -> tuple[Layers, int]:
    """Return what halves the size where there was a stride of 2, and the number of maps behind it.

    The pixels of each 2 x 2 block become maps of their own; a convolution without a stride follows.
    """
    return ({"spd": SpaceToDepth(2, "SPD")}, 4 * in_channels) if stride == 2 else ({}, in_channels)


def basic(in_channels: int, width: int, stride: int = 1, *, rng: np.random.Generator) -> Layers:
    """Return two 3x3 convolutions; see `fastconv.models.resnet.basic`."""
    before, channels = spd(in_channels, stride)
    return before | numbered(conv_norm(channels, width, 3, rng=rng), conv_norm(width, width, 3, rng=rng))


def residual(block: Layers, in_channels: int, stride: int, *, rng: np.random.Generator) -> Sequential:
    """Add the input to what a block makes of it; see `fastconv.models.resnet.residual`."""
    width = last_norm(block).num_features
    before, channels = spd(in_channels, stride)
    same = channels == width and not before
    skip = Identity() if same else Sequential(*before.values(), *conv_norm(channels, width, 1, rng=rng))
    return Sequential({"": Sum({"": Sequential(block), "downsample": skip}), "relu": ReLU()})


def resnet18_spd(
    num_classes: int = 200, in_channels: int = 3, *, width: float = 1.0, seed: int | np.random.Generator = 0
) -> Sequential:
    """Build the network of 18 layers for images of 64 x 64; it takes any whose sides are multiples of 16.

    ResNet-18 strides four times and pools once before its end. Here each stride is a space-to-depth, before a
    convolution of as many maps and four times as many weights; the pooling is left out, as in the paper, which has
    small images in mind. The first convolution is 3x3 behind the space-to-depth, and so sees 6 x 6 pixels, in the place
    of 7x7. Only the mean over all positions, which makes scores of maps, is left of pooling. 16,437,576 parameters for
    the 200 classes of Tiny ImageNet.

    Parameters
    ----------
    num_classes, in_channels : int
    width : float
        Multiplies the number of maps.
    seed : int or Generator
        Where the parameters come from: the same seed gives the same bits.
    """
    rng = np.random.default_rng(seed)
    widths = [round(maps * width) for maps in WIDTHS]
    before, channels = spd(in_channels, 2)
    _, counts = DEPTHS[18]
    model = Sequential(
        before
        | numbered(conv_norm(channels, widths[0], 3, rng=rng))
        | {"relu": ReLU()}
        | stages(basic, residual, widths[0], zip(widths, counts, strict=True), rng=rng)
        | head(widths[-1], num_classes, rng=rng)
    )
    model.input_shape = (in_channels, 64, 64)
    return model
