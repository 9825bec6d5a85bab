"""FractalNet: very deep without residuals, by a rule that a block is two of the next smaller blocks beside one layer.

G. Larsson, M. Maire and G. Shakhnarovich, *FractalNet: ultra-deep neural networks without residuals*, ICLR 2017,
https://arxiv.org/abs/1605.07648, section 3 and figure 1.
"""

import numpy as np

from fastconv.layers import Dropout, Layer, MaxPool2d, Mean, Sequential
from fastconv.models.parts import head, unit

WIDTHS = (64, 128, 256, 512, 512)


def fractal(
    in_channels: int, channels: int, columns: int, drop_path: float = 0.0, *, rng: np.random.Generator
) -> Layer:
    """Return a block of so many columns: eq. 1. Its longest path has ``2 ** (columns - 1)`` layers, its shortest one.

    Where paths join, it takes the mean of the short path and of the rest, as eq. 1 reads. (Figure 1 draws joins in a
    row as one; their mean gives each column the same weight, where here a shorter one has more.)
    """
    layer = unit(in_channels, channels, 3, rng=rng)
    if columns == 1:
        return layer
    pair = (fractal(c, channels, columns - 1, drop_path, rng=rng) for c in (in_channels, channels))
    return Mean({"short": layer, "long": Sequential(*pair)}, drop=drop_path, rng=rng)


def fractalnet(
    num_classes: int = 10,
    in_channels: int = 3,
    *,
    columns: int = 3,
    width: float = 1.0,
    drop_path: float = 0.15,
    dropout: float = 0.1,
    seed: int | np.random.Generator = 0,
) -> Sequential:
    """Build five blocks for images of 32 x 32; it takes other sizes from there.

    With three columns a path has at most 20 convolutions, 33,724,618 parameters in all; with four, 40.

    Parameters
    ----------
    num_classes, in_channels : int
    columns : int
        Of each block; see `fractal`.
    width : float
        Multiplies the number of maps.
    drop_path : float
        How often each path into a join is left out in training, for a whole batch; one always stays. (Half of the
        paper's batches go through a single column of the whole network instead.)
    dropout : float
        Share of elements left out after the second block in training, twice that after the third, and so on.
    seed : int or Generator
        Where the parameters come from: the same seed gives the same bits.
    """
    rng = np.random.default_rng(seed)
    channels, blocks = in_channels, []
    for number, maps in enumerate(WIDTHS):
        inputs, channels = channels, round(maps * width)
        block = fractal(inputs, channels, columns, drop_path, rng=rng)
        blocks.append(Sequential(block, MaxPool2d(2), Dropout(dropout * number, rng=rng)))
    model = Sequential({"features": Sequential(*blocks)} | head(channels, num_classes, rng=rng))
    model.input_shape = (in_channels, 32, 32)
    return model
