"""Activations as layers. Where a gradient follows from the output, the input is not kept."""

from copy import copy

import numpy as np

from fastconv import ops
from fastconv.layers.base import Layer, Pullback, Shape


class Activation(Layer):
    """A function that keeps the shape: ``ops.<op>(x, **options)``.

    A subclass names the op, and those of its attributes that are options of it. It `keeps` what the gradient follows
    from: 'y', which the op takes as `saved`, or 'x'.
    """

    op: str
    keeps = "x"
    options: tuple[str, ...] = ()

    def apply(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Pullback]:
        """See `Layer.apply`."""
        options = {name: getattr(self, name) for name in self.options}
        y = getattr(ops, self.op)(x, **options)
        gradient = getattr(ops, f"{self.op}_backward")
        if self.keeps == "y":
            return y, lambda dy, _: gradient(dy, y, **options, saved=y)  # of x only the shape and the dtype count
        return y, lambda dy, _: gradient(dy, x, **options)

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        return tuple(input_shape)


class ReLU(Activation):
    """max(x, 0); see `fastconv.relu`."""

    op, keeps = "relu", "y"


class ReLU6(Activation):
    """min(max(x, 0), 6); see `fastconv.relu6`."""

    op, keeps = "relu6", "y"


class LeakyReLU(Activation):
    """max(x, 0) + negative_slope * min(x, 0); see `fastconv.leaky_relu`.

    Parameters
    ----------
    negative_slope : float
    """

    op, options = "leaky_relu", ("negative_slope",)

    def __init__(self, negative_slope: float = 0.01):
        self.negative_slope = negative_slope
        super().__init__()


class ELU(Activation):
    """max(x, 0) + alpha * (exp(min(x, 0)) - 1); see `fastconv.elu`.

    Parameters
    ----------
    alpha : float
    """

    op, options = "elu", ("alpha",)

    def __init__(self, alpha: float = 1.0):
        self.alpha = alpha
        super().__init__()


def rectified(layer: Layer, following: Layer, *, ceilings: bool = False) -> Layer | None:
    """Return a layer that shares all with `layer` and takes the ReLU that follows it, for `Layer.merged`.

    With `ceilings` it takes a ReLU6 too.
    """
    takes = {ReLU: True, ReLU6: 6.0} if ceilings else {ReLU: True}
    if layer.rectifies or type(following) not in takes:
        return None
    merged = copy(layer)
    merged.rectifies = takes[type(following)]
    return merged


class Sigmoid(Activation):
    """1 / (1 + exp(-x)); see `fastconv.sigmoid`."""

    op, keeps = "sigmoid", "y"


class Tanh(Activation):
    """tanh(x); see `fastconv.tanh`."""

    op, keeps = "tanh", "y"


class SiLU(Activation):
    """X * sigmoid(x); see `fastconv.silu`."""

    op = "silu"


class Hardsigmoid(Activation):
    """min(max(x + 3, 0), 6) / 6; see `fastconv.hardsigmoid`."""

    op = "hardsigmoid"


class Hardswish(Activation):
    """X * min(max(x + 3, 0), 6) / 6; see `fastconv.hardswish`."""

    op = "hardswish"


class GELU(Activation):
    """X times the share of the normal distribution below x; see `fastconv.gelu`.

    Parameters
    ----------
    approximate : {'none', 'tanh'}
    """

    op, options = "gelu", ("approximate",)

    def __init__(self, approximate: str = "none"):
        self.approximate = approximate
        super().__init__()


class Softmax(Activation):
    """exp(x) / sum(exp(x)) along an axis; see `fastconv.softmax`.

    Parameters
    ----------
    dim : int
        The axis.
    """

    op, keeps, options = "softmax", "y", ("dim",)

    def __init__(self, dim: int = -1):
        self.dim = dim
        super().__init__()


class LogSoftmax(Softmax):
    """log(softmax(x)) along an axis; see `fastconv.log_softmax`.

    Parameters
    ----------
    dim : int
        The axis.
    """

    op = "log_softmax"
