"""Small networks without pooling for Fashion-MNIST: 28 x 28 images of clothes in ten classes.

H. Xiao, K. Rasul and R. Vollgraf, *Fashion-MNIST: a novel image dataset for benchmarking machine learning algorithms*
(2017), https://arxiv.org/abs/1708.07747.
"""

from itertools import pairwise

import numpy as np

from fastconv.layers import Conv2d, Flatten, Linear, ReLU, Sequential


def fashion_7x7(num_classes: int = 10, in_channels: int = 1, *, seed: int | np.random.Generator = 0) -> Sequential:
    """Build a first step from dense layers to convolutions: 2,150,410 parameters for ten classes.

    Four 7x7 convolutions without padding, of 32 to 256 maps, take the image from 28 to 22, 16, 10 and 4 pixels; nothing
    pools. Most of the multiply-adds are in the kernels' size, which later networks replace by depth. The output is
    linear, for softmax and cross entropy. Weights start as in Keras: uniform (Glorot), without bias.

    Parameters
    ----------
    num_classes, in_channels : int
    seed : int or Generator
        Where the parameters come from: the same seed gives the same bits.
    """
    start = {"rng": np.random.default_rng(seed), "init": "xavier"}
    widths = (in_channels, 32, 64, 128, 256)
    features = [layer for pair in pairwise(widths) for layer in (Conv2d(*pair, 7, **start), ReLU())]
    model = Sequential(*features, Flatten(), Linear(256 * 4 * 4, num_classes, **start))
    model.input_shape = (in_channels, 28, 28)
    return model
