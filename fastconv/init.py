"""Where parameters start: random numbers whose spread keeps signals from growing or fading through the layers.

Every initialiser takes its numbers from a NumPy generator, so the same seed gives the same bits. Models pass one
generator through all their layers.
"""

from collections.abc import Callable
from math import sqrt
from typing import NamedTuple

import numpy as np

Fill = Callable[[np.random.Generator, tuple[int, ...], int, int], np.ndarray]

_stream = np.random.default_rng(0)


class Initialiser(NamedTuple):
    """How to fill a layer's weight and its bias.

    Each is a function ``(rng, shape, fan_in, fan_out) -> float32 ndarray``. fan_in counts the inputs that one output
    sums up, fan_out the outputs that one input reaches (at stride 1).
    """

    weight: Fill
    bias: Fill


def generator(rng: np.random.Generator | int | None = None) -> np.random.Generator:
    """Return the generator that `rng` means.

    Parameters
    ----------
    rng : Generator, int or None
        A generator is used as it is, an int is a seed. None is the process's own stream, which starts at seed 0: the
        same script builds the same layers, and no two of its layers are alike. `seed` starts it again.
    """
    return _stream if rng is None else np.random.default_rng(rng)


def seed(value: int) -> None:
    """Start the process's own stream, which layers without a generator draw from, at a seed."""
    _stream.bit_generator.state = np.random.default_rng(value).bit_generator.state


def kaiming_uniform(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
    """Draw from [-1, 1] / sqrt(fan_in), the default of PyTorch's convolution and linear layers, for weight and bias.

    The variance 1 / (3 fan_in) comes from Y. LeCun et al., *Efficient BackProp* (1998), section 4.6. PyTorch writes it
    as ``kaiming_uniform_(a=sqrt(5))``, after K. He et al., *Delving deep into rectifiers* (2015), eq. 15,
    https://arxiv.org/abs/1502.01852.
    """
    return _uniform(rng, shape, 1 / sqrt(fan_in))


def kaiming_normal(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
    """Draw from a normal distribution of variance 2 / fan_in, which keeps the variance of signals through ReLU.

    K. He et al., *Delving deep into rectifiers* (2015), eq. 10, https://arxiv.org/abs/1502.01852.
    """
    return (rng.standard_normal(shape) * sqrt(2 / fan_in)).astype(np.float32)


def kaiming_normal_out(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
    """Draw from a normal distribution of variance 2 / fan_out, which keeps the variance of gradients through ReLU.

    The same paper's eq. 14, and how ResNets start. PyTorch's fan_out is larger where there are groups: it counts all
    output channels, though an input reaches those of its group only.
    """
    return rng.standard_normal(shape, np.float32) * np.float32(sqrt(2 / fan_out))


def xavier_uniform(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
    """Draw from [-1, 1] * sqrt(6 / (fan_in + fan_out)), for networks of tanh or sigmoid.

    X. Glorot and Y. Bengio, *Understanding the difficulty of training deep feedforward neural networks* (2010), eq. 16,
    https://proceedings.mlr.press/v9/glorot10a.html.
    """
    return _uniform(rng, shape, sqrt(6 / (fan_in + fan_out)))


def zeros(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
    """Return zeros."""
    return np.zeros(shape, np.float32)


INITIALISERS: dict[str, Initialiser] = {
    "kaiming": Initialiser(kaiming_uniform, kaiming_uniform),
    "kaiming_normal": Initialiser(kaiming_normal, zeros),
    "kaiming_normal_out": Initialiser(kaiming_normal_out, zeros),
    "xavier": Initialiser(xavier_uniform, zeros),
    "zeros": Initialiser(zeros, zeros),
}


def initialise(
    init: str | Initialiser,
    rng: np.random.Generator | int | None,
    w_shape: tuple[int, ...],
    b_size: int | None,
    fan_in: int,
    fan_out: int,
) -> dict[str, np.ndarray]:
    """Return the parameters of a layer with a weight and perhaps a bias.

    Parameters
    ----------
    init : str or Initialiser
        A name in `INITIALISERS`, or functions of one's own.
    rng : Generator, int or None
        See `generator`.
    w_shape : tuple of int
    b_size : int or None
        None for a layer without bias.
    fan_in, fan_out : int
        See `Initialiser`.

    Returns
    -------
    dict
        'weight' and perhaps 'bias', float32.

    Raises
    ------
    ValueError
        `init` is no known name.
    """
    if isinstance(init, str) and init not in INITIALISERS:
        raise ValueError(f"init must be one of {', '.join(INITIALISERS)}, got {init!r}")
    weight, bias = INITIALISERS[init] if isinstance(init, str) else init
    rng = generator(rng)
    params = {"weight": weight(rng, w_shape, fan_in, fan_out)}
    if b_size is not None:
        params["bias"] = bias(rng, (b_size,), fan_in, fan_out)
    return params


def _uniform(rng: np.random.Generator, shape: tuple[int, ...], bound: float) -> np.ndarray:
    return rng.uniform(-bound, bound, shape).astype(np.float32)
