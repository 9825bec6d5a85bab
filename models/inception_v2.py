"""Inception v2: batch normalisation, 3x3 kernels in place of larger ones, and flat kernels of 1xn and nx1.

C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens and Z. Wojna, *Rethinking the Inception architecture for computer vision*,
CVPR 2016, https://arxiv.org/abs/1512.00567, table 1 and figures 5 to 7; S. Ioffe and C. Szegedy, *Batch normalization*,
ICML 2015, https://arxiv.org/abs/1502.03167.
"""

from functools import partial

import numpy as np

from fastconv.layers import Concat, MaxPool2d, Sequential
from fastconv.models.inception_parts import Unit, head, normed, side_by_side, tower
from fastconv.models.inception_v3 import from35, pooled
from fastconv.models.parts import Layers, scaled_width


def stem(in_channels: int, width: float, *, rng: np.random.Generator) -> Layers:
    """Return the first seven rows of table 1: from 299 x 299 to 288 maps of 35 x 35."""
    unit = partial(normed, width=width, rng=rng)
    return {
        "Conv2d_1a_3x3": normed(in_channels, scaled_width("inception", 32, width), 3, 2, pad=False, rng=rng),
        "Conv2d_2a_3x3": unit(32, 32, 3, pad=False),
        "Conv2d_2b_3x3": unit(32, 64, 3),
        "maxpool1": MaxPool2d(3, 2),
        "Conv2d_3b_3x3": unit(64, 80, 3, pad=False),
        "Conv2d_4a_3x3": unit(80, 192, 3, 2, pad=False),
        "Conv2d_4b_3x3": unit(192, 288, 3),
    }


def block35(unit: Unit) -> Concat:
    """Return a block for planes of 35 x 35, figure 5: two 3x3 kernels see what one of 5x5 does. 288 maps."""
    return side_by_side(
        Sequential({"branch1x1": unit(288, 64)}),
        tower("branch3x3", unit(288, 48), unit(48, 64, 3)),
        tower("branch3x3dbl", unit(288, 64), unit(64, 96, 3), unit(96, 96, 3)),
        pooled(unit, 288, 64),
    )


def inception_v2(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    width: float = 1.0,
    dropout: float = 0.5,
    seed: int | np.random.Generator = 0,
) -> Sequential:
    """Build the network of table 1 for images of 299 x 299; it takes others from 75 x 75 on. 24,263,240 parameters.

    The paper gives the maps of planes, not those of towers, which are v3's here. So are the layers that halve planes;
    the second stands for the last of the table's five blocks of 17 x 17. There is no head at the side.

    Parameters
    ----------
    num_classes, in_channels : int
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
    layers |= {f"Mixed_5{name}": block35(unit) for name in "bcd"} | from35(unit, {})
    model = Sequential(layers | head(2048, num_classes, dropout, width=width, rng=rng))
    model.input_shape = (in_channels, 299, 299)
    return model
