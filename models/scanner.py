"""A network that scans a signal for a word: the same small network at every window, and the maximum of what they say.

A. Waibel et al., *Phoneme recognition using time-delay neural networks*, IEEE Transactions on Acoustics, Speech and
Signal Processing 37(3), 1989, https://doi.org/10.1109/29.21701.
"""

import numpy as np

from fastconv.layers import Conv1d, Flatten, GlobalMaxPool1d, Linear, ReLU, Sequential


def scanner(
    num_classes: int = 2,
    in_channels: int = 1,
    *,
    window: int = 64,
    hidden: int = 16,
    length: int = 256,
    seed: int | np.random.Generator = 0,
) -> Sequential:
    """Build a network that tells whether a word occurs in a signal, wherever it does: 1,346 parameters.

    Two layers of perceptrons look at each window; as all windows share their weights, they are a convolution and one of
    a single tap. Each unit's maximum over all windows is an OR: it fires if one window makes it fire. A perceptron
    decides. Moving the word moves the maximum and nothing else, so what is learnt at one place holds at all. Windows
    reach over both ends by half, so that no place is at an end.

    With one unit behind the windows in the place of many, training goes astray from most seeds: only the one window
    that wins is told what was wrong.

    Parameters
    ----------
    num_classes, in_channels : int
    window : int
        Samples that each of the small networks sees.
    hidden : int
        Units of each of its layers.
    length : int
        Samples of the signals that `input_shape` speaks of; others are taken, too.
    seed : int or Generator
        Where the parameters come from: the same seed gives the same bits.
    """
    rng = np.random.default_rng(seed)
    model = Sequential(
        Conv1d(in_channels, hidden, window, padding=window // 2, rng=rng),
        ReLU(),
        Conv1d(hidden, hidden, 1, rng=rng),
        ReLU(),
        GlobalMaxPool1d(),
        Flatten(),
        Linear(hidden, num_classes, rng=rng),
    )
    model.input_shape = (in_channels, length)
    return model
