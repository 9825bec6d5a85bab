"""Pooling as layers."""

from collections.abc import Sequence

import numpy as np

from fastconv import ops
from fastconv.arguments import as_flag
from fastconv.geometry import PoolGeometry, Window
from fastconv.layers.activation import rectified
from fastconv.layers.base import Layer, Pullback, Shape


class MaxPool2d(Layer):
    """The largest element under each window; see `fastconv.max_pool2d`.

    Parameters
    ----------
    kernel_size : int or (int, int)
    stride : int or (int, int), optional
        The kernel's size if left out.
    padding : int or (int, int)
        At most half the kernel.
    dilation : int or (int, int)
    ceil_mode : bool
        Whether a last window that hangs over the end counts.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type or value.
    """

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence = 0,
        dilation: int | Sequence[int] = 1,
        ceil_mode: bool = False,
    ):
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.dilation, self.ceil_mode = dilation, ceil_mode
        super().__init__()
        _check_options(self, dilation)

    def _options(self) -> tuple:
        return self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode

    def apply(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Pullback | None]:
        """See `Layer.apply`."""
        options, relu = self._options(), self.rectifies
        if not train:
            return ops.max_pool2d(x, *options, relu=relu), None
        y, saved = ops.max_pool2d(x, *options, relu=relu, return_saved=True)
        return y, lambda dy, _: ops.max_pool2d_backward(dy, x, *options, relu=relu, saved=saved)

    def merged(self, following: Layer) -> Layer | None:
        """Take a ReLU that follows; see `Layer.merged`."""
        return rectified(self, following)

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        return PoolGeometry.make("MaxPool2d", input_shape, *self._options()).y_shape


class AvgPool2d(Layer):
    """The mean under each window; see `fastconv.avg_pool2d`.

    Parameters
    ----------
    kernel_size : int or (int, int)
    stride : int or (int, int), optional
        The kernel's size if left out.
    padding : int or (int, int)
        At most half the kernel.
    ceil_mode : bool
        Whether a last window that hangs over the end counts.
    count_include_pad : bool
        Whether the mean counts padding as zeros.
    divisor_override : int, optional
        What to divide sums by, in place of the number of elements.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type or value.
    """

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ):
        self.kernel_size, self.stride, self.padding, self.ceil_mode = kernel_size, stride, padding, ceil_mode
        self.count_include_pad = as_flag("AvgPool2d", "count_include_pad", count_include_pad)
        self.divisor_override = divisor_override
        super().__init__()
        _check_options(self)

    def _options(self) -> tuple:
        window = self.kernel_size, self.stride, self.padding, self.ceil_mode
        return *window, self.count_include_pad, self.divisor_override

    def apply(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Pullback]:
        """See `Layer.apply`."""
        options = self._options()
        return ops.avg_pool2d(x, *options), lambda dy, _: ops.avg_pool2d_backward(dy, x, *options)

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        geometry = PoolGeometry.make(
            "AvgPool2d", input_shape, self.kernel_size, self.stride, self.padding, ceil_mode=self.ceil_mode
        )
        return geometry.y_shape


class GlobalAvgPool2d(Layer):
    """The mean of each map, (N, C, H, W) to (N, C, 1, 1), whatever its size; see `fastconv.avg_pool2d`."""

    def apply(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Pullback]:
        """See `Layer.apply`."""
        self.output_shape(np.shape(x))
        plane = x.shape[2:]
        return ops.avg_pool2d(x, plane), lambda dy, _: ops.avg_pool2d_backward(dy, x, plane)

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        if len(input_shape) != 4:
            raise ValueError(f"GlobalAvgPool2d: x must have shape (n, c, h, w), got {tuple(input_shape)}")
        return PoolGeometry.make("GlobalAvgPool2d", input_shape, input_shape[2:]).y_shape


def _check_options(layer: MaxPool2d | AvgPool2d, dilation: int | Sequence[int] = 1) -> None:
    """Refuse bad options now rather than at the first call: the smallest input that the window fits into must do."""
    window = Window.make(type(layer).__name__, 2, layer.kernel_size, dilation=dilation)
    layer.output_shape((1, 1, *window.extent))
