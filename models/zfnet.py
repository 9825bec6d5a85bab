"""ZFNet: AlexNet with smaller kernels and steps at the start, found by looking at what its layers respond to.

M. Zeiler and R. Fergus, *Visualizing and understanding convolutional networks*, ECCV 2014,
https://arxiv.org/abs/1311.2901, figure 3.
"""

from functools import partial

import numpy as np

from fastconv.layers import Conv2d, MaxPool2d, ReLU, Sequential
from fastconv.models.alexnet import classifier, response_norm
from fastconv.models.parts import scaled_width


def zfnet(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    maps: tuple[int, int, int] = (384, 384, 256),
    width: float = 1.0,
    dropout: float = 0.5,
    seed: int | np.random.Generator = 0,
) -> Sequential:
    """Build the network of figure 3 for images of 224 x 224: 62,357,608 parameters.

    The first convolution has kernels of 7 x 7 and a stride of 2 where AlexNet has 11 x 11 and 4; the second has the
    stride of 2 that the first gave up. Planes are those of the figure: 110, 55, 26, 13 and 6. It deviates in two
    points: normalisation after the first two poolings is AlexNet's, over channels, where the paper's "contrast
    normalised" names none; parameters start as every layer's of `fastconv.layers`.

    Parameters
    ----------
    num_classes, in_channels : int
    maps : tuple of int
        Of the third, fourth and fifth convolutions. `zfnet_wide` has the (512, 1024, 512) that lectures give: the paper
        tries them, too, and makes 0.5 % fewer top-5 errors than with figure 3's. 107,627,624 parameters.
    width : float
        Multiplies the number of maps and of hidden units.
    dropout : float
        Share of the features left out in training, before the first two linear layers.
    seed : int or Generator
        Where the parameters come from: the same seed gives the same bits.

    Raises
    ------
    ValueError
        `width` makes a fraction of a map.
    """
    rng = np.random.default_rng(seed)
    c1, c2, c3, c4, c5 = (scaled_width("zfnet", channels, width) for channels in (96, 256, *maps))
    features = [
        *[Conv2d(in_channels, c1, 7, 2, 1, rng=rng), ReLU(), MaxPool2d(3, 2, ceil_mode=True), response_norm()],
        *[Conv2d(c1, c2, 5, 2, rng=rng), ReLU(), MaxPool2d(3, 2, ceil_mode=True), response_norm()],
        *[Conv2d(c2, c3, 3, padding=1, rng=rng), ReLU()],
        *[Conv2d(c3, c4, 3, padding=1, rng=rng), ReLU()],
        *[Conv2d(c4, c5, 3, padding=1, rng=rng), ReLU(), MaxPool2d(3, 2)],
    ]
    size = (in_channels, 224, 224)
    return classifier(features, c5, num_classes, size, width=width, dropout=dropout, rng=rng)


zfnet_wide = partial(zfnet, maps=(512, 1024, 512))
