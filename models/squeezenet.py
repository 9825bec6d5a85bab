"""SqueezeNet: AlexNet's accuracy with a fiftieth of its parameters.

F. Iandola et al., *SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size* (2016),
https://arxiv.org/abs/1602.07360, table 1; version 1.1 is from the authors' repository,
https://github.com/forresti/SqueezeNet.
"""

from functools import partial

import numpy as np

from fastconv.layers import (
    Concat,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    Layer,
    MaxPool2d,
    ReLU,
    Sequential,
)
from fastconv.models.parts import SMALL, rectified, scaled_width

# Kernel and maps of the first convolution, then squeezed maps of the fire modules up to each pooling. Version 1.1 pools
# earlier, with 2.4 times fewer multiply-adds.
VERSIONS = {
    "1.0": (7, 96, ((), (16, 16, 32), (32, 48, 48, 64), (64,))),
    "1.1": (3, 64, ((), (16, 16), (32, 32), (48, 48, 64, 64))),
}


def fire(in_channels: int, squeeze: int, *, rng: np.random.Generator) -> Sequential:
    """Return few maps by a 1x1 convolution, and four times as many from them by one of 1x1 and one of 3x3: figure 1."""
    start = {"rng": rng, "init": "kaiming_normal"}
    expand = 4 * squeeze
    return Sequential(
        {
            "squeeze": rectified(Conv2d(in_channels, squeeze, 1, **start)),
            "": Concat(
                {
                    "expand1x1": rectified(Conv2d(squeeze, expand, 1, **start)),
                    "expand3x3": rectified(Conv2d(squeeze, expand, 3, padding=1, **start)),
                }
            ),
        }
    )


def squeezenet(
    version: str,
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    width: float = 1.0,
    dropout: float = 0.5,
    seed: int | np.random.Generator = 0,
) -> Sequential:
    """Build a network for images of 224 x 224; it takes other sizes, too. 1,248,424 parameters, version 1.1 1,235,496.

    Layers, their order and names are torchvision's; weights start with the same variances.

    Parameters
    ----------
    version : str
        '1.0' or '1.1'.
    num_classes, in_channels : int
    width : float
        Multiplies the number of maps.
    dropout : float
        Share of the maps' elements left out in training, before the last convolution.
    seed : int or Generator
        Where the parameters come from: the same seed gives the same bits.

    Raises
    ------
    ValueError
        There is no such version, or `width` makes a fraction of a map.
    """
    if version not in VERSIONS:
        raise ValueError(f"squeezenet: version must be one of {', '.join(VERSIONS)}, got {version!r}")
    rng = np.random.default_rng(seed)
    kernel, maps, stages = VERSIONS[version]
    channels = scaled_width("squeezenet", maps, width)
    layers: list[Layer] = [Conv2d(in_channels, channels, kernel, 2, rng=rng, init="kaiming_normal"), ReLU()]
    for stage in stages:
        for squeezed in stage:
            squeeze = scaled_width("squeezenet", squeezed, width)
            layers.append(fire(channels, squeeze, rng=rng))
            channels = 8 * squeeze
        layers += [MaxPool2d(3, 2, ceil_mode=True)] if stage is not stages[-1] else []
    scores = Conv2d(channels, num_classes, 1, rng=rng, init=SMALL)
    model = Sequential(
        {
            "features": Sequential(*layers),
            "classifier": Sequential(Dropout(dropout, rng=rng), scores, ReLU(), GlobalAvgPool2d()),
            "flatten": Flatten(),
        }
    )
    model.input_shape = (in_channels, 224, 224)
    return model


squeezenet1_0, squeezenet1_1 = partial(squeezenet, "1.0"), partial(squeezenet, "1.1")
