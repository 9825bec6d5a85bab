"""Pooling with windows of a given size, as layers. A class for one, two and three axes each, which differ in `axes`."""

from collections.abc import Callable, Sequence

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
    kernel_size : int or sequence of int
        A number stands for every axis.
    stride : int or sequence of int, optional
        The kernel's size if left out.
    padding : int or sequence of int
        At most half the kernel.
    dilation : int or sequence of int
    ceil_mode : bool
        Whether a last window that hangs over the end counts.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type or value.
    """

    axes = 2

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
        pool, pool_backward = op_and_gradient("max_pool", self.axes)
        if not train:
            return pool(x, *options, relu=relu), None
        y, saved = pool(x, *options, relu=relu, return_saved=True)
        return y, lambda dy, _: pool_backward(dy, x, *options, relu=relu, saved=saved)

    def merged(self, following: Layer) -> Layer | None:
        """Take a ReLU that follows; see `Layer.merged`."""
        return rectified(self, following)

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        return PoolGeometry.make(type(self).__name__, input_shape, *self._options(), ndim=self.axes).y_shape


class MaxPool1d(MaxPool2d):
    """`MaxPool2d` along one axis."""

    axes = 1


class MaxPool3d(MaxPool2d):
    """`MaxPool2d` along three axes."""

    axes = 3


class AvgPool2d(Layer):
    """The mean under each window; see `fastconv.avg_pool2d`.

    Parameters
    ----------
    kernel_size : int or sequence of int
        A number stands for every axis.
    stride : int or sequence of int, optional
        The kernel's size if left out.
    padding : int or sequence of int
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

    axes = 2

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
        self.count_include_pad = as_flag(type(self).__name__, "count_include_pad", count_include_pad)
        self.divisor_override = divisor_override
        super().__init__()
        _check_options(self)

    def apply(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Pullback]:
        """See `Layer.apply`."""
        window = self.kernel_size, self.stride, self.padding, self.ceil_mode
        options = *window, self.count_include_pad, self.divisor_override
        pool, pool_backward = op_and_gradient("avg_pool", self.axes)
        return pool(x, *options), lambda dy, _: pool_backward(dy, x, *options)

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        window = self.kernel_size, self.stride, self.padding, 1, self.ceil_mode
        return PoolGeometry.make(type(self).__name__, input_shape, *window, ndim=self.axes).y_shape


class AvgPool1d(AvgPool2d):
    """`AvgPool2d` along one axis."""

    axes = 1


class AvgPool3d(AvgPool2d):
    """`AvgPool2d` along three axes."""

    axes = 3


class LPPool2d(Layer):
    """The p-norm under each window; see `fastconv.lp_pool2d`.

    Parameters
    ----------
    norm_type : float
        The exponent p.
    kernel_size : int or sequence of int
        A number stands for every axis.
    stride : int or sequence of int, optional
        The kernel's size if left out.
    ceil_mode : bool
        Whether a last window that hangs over the end counts.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type or value.
    """

    axes = 2

    def __init__(
        self,
        norm_type: float,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        ceil_mode: bool = False,
    ):
        self.norm_type, self.kernel_size, self.stride, self.ceil_mode = norm_type, kernel_size, stride, ceil_mode
        super().__init__()
        _check_options(self)

    def apply(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Pullback]:
        """See `Layer.apply`."""
        options = self.norm_type, self.kernel_size, self.stride, self.ceil_mode
        pool, pool_backward = op_and_gradient("lp_pool", self.axes)
        y = pool(x, *options)
        return y, lambda dy, _: pool_backward(dy, x, *options, saved=y)

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        window = self.kernel_size, self.stride, 0, 1, self.ceil_mode
        return PoolGeometry.make(type(self).__name__, input_shape, *window, ndim=self.axes).y_shape


class LPPool1d(LPPool2d):
    """`LPPool2d` along one axis."""

    axes = 1


class LPPool3d(LPPool2d):
    """`LPPool2d` along three axes."""

    axes = 3


def op_and_gradient(name: str, axes: int) -> tuple[Callable, Callable]:
    """Return an operation for a number of axes, and its gradient."""
    return getattr(ops, f"{name}{axes}d"), getattr(ops, f"{name}{axes}d_backward")


def _check_options(layer: MaxPool2d | AvgPool2d | LPPool2d, dilation: int | Sequence[int] = 1) -> None:
    """Refuse bad options now rather than at the first call: the smallest input that the window fits into must do."""
    window = Window.make(type(layer).__name__, layer.axes, layer.kernel_size, dilation=dilation)
    layer.output_shape((1, 1, *window.extent))
