"""GoogLeNet, or Inception v1: kernels of several sizes side by side, behind 1x1 convolutions that thin out the maps.

C. Szegedy et al., *Going deeper with convolutions*, CVPR 2015, https://arxiv.org/abs/1409.4842, table 1 and figure 2.
"""

from functools import partial

import numpy as np

from fastconv.layers import (
    AdaptiveAvgPool2d,
    Concat,
    Dropout,
    Flatten,
    Layer,
    Linear,
    MaxPool2d,
    ReLU,
    Sequential,
    SideHead,
    Supervised,
)
from fastconv.models.alexnet import response_norm
from fastconv.models.inception_parts import Unit, head, normed, plain
from fastconv.models.parts import Layers, scaled_width

# Table 1: maps of 1x1; of the 1x1 before 3x3, and of 3x3; of the 1x1 before 5x5, and of 5x5; of the 1x1 after pooling.
BLOCKS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
HEADS_AFTER = ("4a", "4d")


def block(unit: Unit, channels: int, sizes: tuple[int, ...], large: int) -> tuple[Concat, int]:
    """Return an Inception module, figure 2 (b), and its number of maps. `large` is its largest kernel."""
    c1, c3_thin, c3, c5_thin, c5, pooled = sizes
    towers = {
        "branch1": unit(channels, c1),
        "branch2": Sequential(unit(channels, c3_thin), unit(c3_thin, c3, 3)),
        "branch3": Sequential(unit(channels, c5_thin), unit(c5_thin, c5, large)),
        "branch4": Sequential(MaxPool2d(3, 1, 1), unit(channels, pooled)),
    }
    return Concat(towers), c1 + c3 + c5 + pooled


def naive_block(unit: Unit, channels: int, sizes: tuple[int, ...], large: int) -> tuple[Concat, int]:
    """Return the module without 1x1 convolutions that thin out, figure 2 (a): all that is pooled goes on."""
    c1, _, c3, _, c5, _ = sizes
    towers = [unit(channels, c1), unit(channels, c3, 3), unit(channels, c5, large), MaxPool2d(3, 1, 1)]
    names = ("branch1", "branch2", "branch3", "branch4")
    return Concat(dict(zip(names, towers, strict=True))), c1 + c3 + c5 + channels


def side_head(
    unit: Unit, channels: int, num_classes: int, width: float, dropout: float, *, rng: np.random.Generator
) -> SideHead:
    """Return the classifier at the side of two modules, whose loss counts 0.3: section 5.

    A mean gives 4 x 4 maps of an image of any size; the paper's windows of 5 x 5 in steps of 3 give as many of 14 x 14.
    """
    maps, hidden = (scaled_width("inception", size, width) for size in (128, 1024))
    layers: Layers = {
        "pool": AdaptiveAvgPool2d(4),
        "conv": unit(channels, 128),
        "flatten": Flatten(),
        "fc1": Linear(maps * 16, hidden, rng=rng),
        "relu": ReLU(),
        "dropout": Dropout(dropout, rng=rng),
        "fc2": Linear(hidden, num_classes, rng=rng),
    }
    return SideHead(Sequential(layers), 0.3)


def stem(unit: Unit, first: Layer, norm: Unit | None) -> Layers:
    """Return the layers before the modules; `norm` makes the two normalisations there."""
    norms: list[Layers] = [{}, {}] if norm is None else [{"norm1": norm()}, {"norm2": norm()}]
    layers: Layers = {"conv1": first, "maxpool1": MaxPool2d(3, 2, ceil_mode=True)}
    layers |= norms[0] | {"conv2": unit(64, 64), "conv3": unit(64, 192, 3)} | norms[1]
    return layers | {"maxpool2": MaxPool2d(3, 2, ceil_mode=True)}


def network(
    num_classes: int,
    in_channels: int,
    *,
    unit: Unit,
    large: int,
    last_pool: int,
    norm: Unit | None = None,
    reduction: bool = True,
    heads: bool = True,
    width: float = 1.0,
    dropout: float,
    head_dropout: float = 0.7,
    seed: int | np.random.Generator = 0,
) -> Sequential:
    """Build table 1 from units, with a largest kernel, the last pooling's window, and normalisations in the stem."""
    rng = np.random.default_rng(seed)
    first = unit(in_channels, scaled_width("inception", 64, width), 7, 2, rng=rng)
    unit = partial(unit, width=width, rng=rng)
    layers = stem(unit, first, norm)
    pools = {"3b": ("maxpool3", 3), "4e": ("maxpool4", last_pool)}
    channels = 192
    for name, sizes in BLOCKS.items():
        layers[f"inception{name}"], channels = (block if reduction else naive_block)(unit, channels, sizes, large)
        if heads and name in HEADS_AFTER:
            number = HEADS_AFTER.index(name) + 1
            layers[f"aux{number}"] = side_head(unit, channels, num_classes, width, head_dropout, rng=rng)
        if name in pools:
            pool, size = pools[name]
            layers[pool] = MaxPool2d(size, 2, ceil_mode=True)
    layers |= head(channels, num_classes, dropout, width=width, rng=rng)
    model = Supervised(layers) if heads else Sequential(layers)
    model.input_shape = (in_channels, 224, 224)
    return model


def inception_v1(num_classes: int = 1000, in_channels: int = 3, *, dropout: float = 0.4, **options) -> Sequential:
    """Build the network of table 1 for images of 224 x 224; it takes other sizes, too. 13,378,280 parameters.

    Without its heads at the side it has 6,998,552; they are for training. See `fastconv.layers.Supervised` for what a
    training pass gives. It deviates in two points: the heads' pooling (`side_head`), and weights start as in K. He et
    al. (2015), which the paper could not know. Normalisation in the stem is AlexNet's.

    Parameters
    ----------
    num_classes, in_channels : int
    dropout : float
        Share of the features left out in training, before the last layer.
    **options
        `reduction` : bool
            False leaves out the 1x1 convolutions that thin out maps, as in figure 2 (a): MODELS' `inception_v1_naive`.
        `heads` : bool
            Whether there are classifiers at the side.
        `head_dropout` : float
            Share of the features left out in training, before the last layer of a head.
        `width` : float
            Multiplies the number of maps, as 1/8.
        `seed` : int or Generator
            Where the parameters come from: the same seed gives the same bits.

    Raises
    ------
    ValueError
        `width` makes a fraction of a map.
    """
    own = {"unit": plain, "large": 5, "last_pool": 3, "norm": response_norm, "dropout": dropout}
    return network(num_classes, in_channels, **own, **options)


inception_v1_naive = partial(inception_v1, reduction=False)


def googlenet(num_classes: int = 1000, in_channels: int = 3, *, dropout: float = 0.2, **options) -> Sequential:
    """Build torchvision's form for images of 224 x 224; it takes other sizes, too. 13,004,888 parameters.

    Without its heads at the side it has 6,624,904. Layers, their order and names are torchvision's. Batch normalisation
    follows each convolution, and no other is there; 3x3 stands in place of 5x5; the last pooling has windows of 2 x 2.

    Parameters
    ----------
    num_classes, in_channels, dropout, **options
        See `inception_v1`.
    """
    own = {"unit": normed, "large": 3, "last_pool": 2, "dropout": dropout}
    return network(num_classes, in_channels, **own, **options)
