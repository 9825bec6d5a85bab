"""EfficientNets: one small network, scaled in depth, width and resolution at once.

M. Tan and Q. Le, *EfficientNet: rethinking model scaling for convolutional neural networks*, ICML 2019,
https://arxiv.org/abs/1905.11946, table 1 and section 3.3. The factors of each size are the authors',
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet.
"""

from functools import partial
from math import ceil, sqrt
from typing import NamedTuple

import numpy as np

from fastconv.init import Initialiser, zeros
from fastconv.layers import (
    BatchNorm2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    Layer,
    Linear,
    Sequential,
    Sigmoid,
    SiLU,
)
from fastconv.models.inverted import Style, inverted_residual
from fastconv.models.mobilenet import scaled
from fastconv.models.parts import unit


class Stage(NamedTuple):
    """A row of table 1: how often the maps are widened, kernel, stride of the first unit, maps, units."""

    expansion: int
    kernel: int
    stride: int
    channels: int
    count: int


STAGES = (
    Stage(1, 3, 1, 16, 1),
    Stage(6, 3, 2, 24, 2),
    Stage(6, 5, 2, 40, 2),
    Stage(6, 3, 2, 80, 3),
    Stage(6, 5, 1, 112, 3),
    Stage(6, 5, 2, 192, 4),
    Stage(6, 3, 1, 320, 1),
)


class Scaling(NamedTuple):
    """Factors of width and depth, the images' size, and the share of features that dropout leaves out."""

    width: float
    depth: float
    size: int
    dropout: float


SCALINGS = {
    "b0": Scaling(1.0, 1.0, 224, 0.2),
    "b1": Scaling(1.0, 1.1, 240, 0.2),
    "b2": Scaling(1.1, 1.2, 260, 0.3),
    "b3": Scaling(1.2, 1.4, 300, 0.3),
    "b4": Scaling(1.4, 1.8, 380, 0.4),
    "b5": Scaling(1.6, 2.2, 456, 0.4),
    "b6": Scaling(1.8, 2.6, 528, 0.5),
    "b7": Scaling(2.0, 3.1, 600, 0.5),
}


def uniform_out(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
    """Draw from [-1, 1] / sqrt(fan_out)."""
    return (rng.uniform(-1, 1, shape) / sqrt(fan_out)).astype(np.float32)


def chain(scaling: Scaling, drop_path: float, *, style: Style, rng: np.random.Generator) -> tuple[list[Layer], int]:
    """Return a Sequential of units for each stage, and the number of maps at the end.

    The chance that a unit is skipped in training grows from 0 at the first towards `drop_path`.
    """
    counts = [ceil(stage.count * scaling.depth) for stage in STAGES]
    total, done, channels, stages = sum(counts), 0, scaled(32, scaling.width), []
    for stage, count in zip(STAGES, counts, strict=True):
        units, maps = [], scaled(stage.channels, scaling.width)
        for number in range(count):
            stride = 1 if number else stage.stride
            sizes = (channels, channels * stage.expansion, maps, stage.kernel, stride, max(1, channels // 4))
            drop = drop_path * done / total
            units.append(inverted_residual(*sizes, activation=SiLU, style=style, drop=drop, rng=rng))
            channels, done = maps, done + 1
        stages.append(Sequential(*units))
    return stages, channels


def efficientnet(
    form: str | Scaling,
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    drop_path: float = 0.2,
    dropout: float | None = None,
    seed: int | np.random.Generator = 0,
) -> Sequential:
    """Build a network for images of its own size; it takes other sizes, too. Form b0 has 5,288,548 parameters.

    Layers, their order, names and initial distributions are torchvision's, but for depthwise weights: see
    `fastconv.init.kaiming_normal_out`. (torchvision evaluates b2 on 288 x 288, the paper on 260 x 260.)

    Parameters
    ----------
    form : str or Scaling
        'b0' to 'b7', or factors of one's own.
    num_classes, in_channels : int
    drop_path : float
        How often a sample skips the last unit in training; the first ones are skipped less often.
    dropout : float, optional
        Share of the features that are left out in training, before the last layer; by default the form's.
    seed : int or Generator
        Where the parameters come from: the same seed gives the same bits.

    Raises
    ------
    ValueError
        There is no such form.
    """
    if form not in SCALINGS and not isinstance(form, Scaling):
        raise ValueError(f"efficientnet: form must be one of {', '.join(SCALINGS)}, got {form!r}")
    rng = np.random.default_rng(seed)
    scaling = SCALINGS.get(form, form)
    # From b5 on, the authors' constants, which torchvision's weights of smaller forms do not have.
    norm = partial(BatchNorm2d, eps=1e-3, momentum=0.01) if form in ("b5", "b6", "b7") else BatchNorm2d
    options = {"norm": norm, "activation": SiLU, "rng": rng}
    stem = unit(in_channels, scaled(32, scaling.width), 3, 2, **options)
    stages, channels = chain(scaling, drop_path, style=Style(SiLU, Sigmoid, norm), rng=rng)
    features = Sequential(stem, *stages, unit(channels, 4 * channels, 1, **options))
    share = scaling.dropout if dropout is None else dropout
    linear = Linear(4 * channels, num_classes, rng=rng, init=Initialiser(uniform_out, zeros))
    classifier = Sequential(Dropout(share, rng=rng), linear)
    ends = {"avgpool": GlobalAvgPool2d(), "flatten": Flatten(), "classifier": classifier}
    model = Sequential({"features": features} | ends)
    model.input_shape = (in_channels, scaling.size, scaling.size)
    return model


(
    efficientnet_b0,
    efficientnet_b1,
    efficientnet_b2,
    efficientnet_b3,
    efficientnet_b4,
    efficientnet_b5,
    efficientnet_b6,
    efficientnet_b7,
) = (partial(efficientnet, form) for form in SCALINGS)
