"""Xception: Inception taken to its end, where each map is convolved alone and 1x1 convolutions mix them.

F. Chollet, *Xception: deep learning with depthwise separable convolutions*, CVPR 2017, https://arxiv.org/abs/1610.02357,
figure 5.
"""

import numpy as np

from fastconv.layers import (
    BatchNorm2d,
    Conv2d,
    DepthwiseSeparableConv2d,
    Identity,
    Layer,
    MaxPool2d,
    ReLU,
    Sequential,
    Sum,
)
from fastconv.models.inception_parts import head
from fastconv.models.parts import Layers, conv_norm, scaled_width


def separable(in_channels: int, channels: int, *, rng: np.random.Generator) -> list[Layer]:
    """Return a depthwise 3x3 and a 1x1 convolution, without an activation between (figure 10), and a normalisation."""
    conv = DepthwiseSeparableConv2d(in_channels, channels, 3, padding=1, bias=False, rng=rng, init="kaiming_normal_out")
    return [conv, BatchNorm2d(channels)]


def block(widths: tuple[int, ...], stride: int, first_relu: bool = True, *, rng: np.random.Generator) -> Layer:
    """Return separable convolutions from each width to the next, a ReLU before each, added to the input.

    With a stride of 2, pooling follows them, and the input passes a strided 1x1 convolution.
    """
    layers: list[Layer] = []
    for number, (ins, outs) in enumerate(zip(widths, widths[1:], strict=False)):
        layers += [ReLU()] if number or first_relu else []
        layers += separable(ins, outs, rng=rng)
    layers += [MaxPool2d(3, stride, 1)] if stride > 1 else []
    same = stride == 1 and widths[0] == widths[-1]
    skip = Identity() if same else Sequential(*conv_norm(widths[0], widths[-1], 1, stride, rng=rng))
    return Sum({"rep": Sequential(*layers), "skip": skip})


def xception(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    middle: int = 8,
    width: float = 1.0,
    dropout: float = 0.5,
    seed: int | np.random.Generator = 0,
) -> Sequential:
    """Build the network of figure 5 for images of 299 x 299; it takes other sizes, too. 22,855,952 parameters.

    The linear layers before the last one, which the figure calls optional, are left out.

    Parameters
    ----------
    num_classes, in_channels : int
    middle : int
        Number of blocks in the middle.
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
    w32, w64, w128, w256, w728, w1024, w1536, w2048 = (
        scaled_width("xception", maps, width) for maps in (32, 64, 128, 256, 728, 1024, 1536, 2048)
    )
    start = {"bias": False, "rng": rng, "init": "kaiming_normal_out"}
    entry = [
        *[Conv2d(in_channels, w32, 3, 2, **start), BatchNorm2d(w32), ReLU()],
        *[Conv2d(w32, w64, 3, **start), BatchNorm2d(w64), ReLU()],
        block((w64, w128, w128), 2, first_relu=False, rng=rng),
        block((w128, w256, w256), 2, rng=rng),
        block((w256, w728, w728), 2, rng=rng),
    ]
    leave = [
        block((w728, w728, w1024), 2, rng=rng),
        *[*separable(w1024, w1536, rng=rng), ReLU()],
        *[*separable(w1536, w2048, rng=rng), ReLU()],
    ]
    flows: Layers = {
        "entry": Sequential(*entry),
        "middle": Sequential(*(block((w728,) * 4, 1, rng=rng) for _ in range(middle))),
        "exit": Sequential(*leave),
    }
    model = Sequential(flows | head(2048, num_classes, dropout, width=width, rng=rng))
    model.input_shape = (in_channels, 299, 299)
    return model
