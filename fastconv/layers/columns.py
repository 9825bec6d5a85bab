"""Windows as columns, and back, as layers."""

from collections.abc import Sequence
from math import prod

import numpy as np

from fastconv import ops
from fastconv.arguments import as_ints
from fastconv.geometry import Window
from fastconv.layers.base import Layer, Pullback, Shape

Size = int | Sequence[int]


class Unfold(Layer):
    """The windows of a convolution as columns, (n, c * kh * kw, oh * ow); see `fastconv.unfold`.

    Parameters
    ----------
    kernel_size, dilation, padding, stride : int or (int, int)
    """

    def __init__(self, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1):
        self.kernel_size, self.dilation, self.padding, self.stride = kernel_size, dilation, padding, stride
        super().__init__()

    def apply(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Pullback]:
        """See `Layer.apply`."""
        options = self.kernel_size, self.dilation, self.padding, self.stride
        return ops.unfold(x, *options), lambda dy, _: ops.unfold_backward(dy, x, *options)

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        *batch, channels, h, w = input_shape
        options = self.kernel_size, self.stride, self.padding, self.dilation
        window = Window.make("Unfold", 2, *options, input_size=(h, w))
        return (*batch, channels * prod(window.kernel), prod(window.output_size((h, w), "Unfold")))


class Fold(Layer):
    """Columns added up to an image, (n, c, h, w); see `fastconv.fold`.

    Parameters
    ----------
    output_size, kernel_size, dilation, padding, stride : int or (int, int)
    """

    def __init__(self, output_size: Size, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1):
        self.output_size, self.kernel_size = output_size, kernel_size
        self.dilation, self.padding, self.stride = dilation, padding, stride
        super().__init__()

    def apply(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Pullback]:
        """See `Layer.apply`."""
        options = self.output_size, self.kernel_size, self.dilation, self.padding, self.stride
        return ops.fold(x, *options), lambda dy, _: ops.fold_backward(dy, x, *options)

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        *batch, rows, _ = input_shape
        size = as_ints("Fold", "output_size", self.output_size, 2, low=1)
        taps = prod(as_ints("Fold", "kernel_size", self.kernel_size, 2, low=1))
        return (*batch, rows // taps, *size)
