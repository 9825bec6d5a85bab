"""Activations as layers. The gradient of each follows from its output alone, so that the input is not kept."""

from copy import copy

import numpy as np

from fastconv import ops
from fastconv.layers.base import Layer, Pullback, Shape


class Activation(Layer):
    """A function that keeps the shape. A subclass defines `function` and `gradient`."""

    def function(self, x: np.ndarray) -> np.ndarray:
        """Return y."""
        raise NotImplementedError

    def gradient(self, dy: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return dx.

        The ops below read only the shape and dtype of their `x` when they are given ``saved=y``: `y` stands in for it.
        """
        raise NotImplementedError

    def apply(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Pullback]:
        """See `Layer.apply`."""
        y = self.function(x)
        return y, lambda dy, _: self.gradient(dy, y)

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        return tuple(input_shape)


class ReLU(Activation):
    """max(x, 0); see `fastconv.relu`."""

    def function(self, x: np.ndarray) -> np.ndarray:
        """See `Activation.function`."""
        return ops.relu(x)

    def gradient(self, dy: np.ndarray, y: np.ndarray) -> np.ndarray:
        """See `Activation.gradient`."""
        return ops.relu_backward(dy, y, saved=y)


def rectified(layer: Layer, following: Layer) -> Layer | None:
    """Return a layer that shares all with `layer` and takes the ReLU that follows it, for `Layer.merged`."""
    if layer.rectifies or type(following) is not ReLU:
        return None
    merged = copy(layer)
    merged.rectifies = True
    return merged


class ReLU6(Activation):
    """min(max(x, 0), 6); see `fastconv.relu6`."""

    def function(self, x: np.ndarray) -> np.ndarray:
        """See `Activation.function`."""
        return ops.relu6(x)

    def gradient(self, dy: np.ndarray, y: np.ndarray) -> np.ndarray:
        """See `Activation.gradient`."""
        return ops.relu6_backward(dy, y, saved=y)


class Sigmoid(Activation):
    """1 / (1 + exp(-x)); see `fastconv.sigmoid`."""

    def function(self, x: np.ndarray) -> np.ndarray:
        """See `Activation.function`."""
        return ops.sigmoid(x)

    def gradient(self, dy: np.ndarray, y: np.ndarray) -> np.ndarray:
        """See `Activation.gradient`."""
        return ops.sigmoid_backward(dy, y, saved=y)


class Tanh(Activation):
    """tanh(x); see `fastconv.tanh`."""

    def function(self, x: np.ndarray) -> np.ndarray:
        """See `Activation.function`."""
        return ops.tanh(x)

    def gradient(self, dy: np.ndarray, y: np.ndarray) -> np.ndarray:
        """See `Activation.gradient`."""
        return ops.tanh_backward(dy, y, saved=y)


class Softmax(Activation):
    """exp(x) / sum(exp(x)) along an axis; see `fastconv.softmax`.

    Parameters
    ----------
    dim : int
        The axis.
    """

    def __init__(self, dim: int = -1):
        self.dim = dim
        super().__init__()

    def function(self, x: np.ndarray) -> np.ndarray:
        """See `Activation.function`."""
        return ops.softmax(x, self.dim)

    def gradient(self, dy: np.ndarray, y: np.ndarray) -> np.ndarray:
        """See `Activation.gradient`."""
        return ops.softmax_backward(dy, y, self.dim, saved=y)


class LogSoftmax(Activation):
    """log(softmax(x)) along an axis; see `fastconv.log_softmax`.

    Parameters
    ----------
    dim : int
        The axis.
    """

    def __init__(self, dim: int = -1):
        self.dim = dim
        super().__init__()

    def function(self, x: np.ndarray) -> np.ndarray:
        """See `Activation.function`."""
        return ops.log_softmax(x, self.dim)

    def gradient(self, dy: np.ndarray, y: np.ndarray) -> np.ndarray:
        """See `Activation.gradient`."""
        return ops.log_softmax_backward(dy, y, self.dim, saved=y)
