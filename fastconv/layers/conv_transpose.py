"""Transposed convolution as a layer. A class for one, two and three axes each, which differ in `axes`."""

from collections.abc import Sequence
from math import prod

import numpy as np

from fastconv.arguments import as_flag
from fastconv.geometry import ConvTransposeGeometry, Window
from fastconv.init import Initialiser, initialise
from fastconv.layers.base import Layer, Pullback, Shape
from fastconv.layers.conv import check_channels
from fastconv.layers.pool import op_and_gradient


class ConvTranspose2d(Layer):
    """Transposed convolution of images (N, in_channels, H, W), which enlarges them; see `fastconv.conv_transpose2d`.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int or sequence of int
        A number stands for every axis.
    stride, dilation : int or sequence of int
    padding : int, sequence of int, or a pair (before, after) per axis
        How much is cut off the output.
    output_padding : int or sequence of int
        How much is added at its end, less than the stride or the dilation.
    groups : int
        Divides both channel counts.
    bias : bool
        Whether to add a bias per output channel.
    rng : Generator or int, optional
        Where the parameters come from; see `fastconv.init.generator`.
    init : str or Initialiser
        See `fastconv.init.INITIALISERS`.

    Attributes
    ----------
    params : dict
        'weight', (in_channels, out_channels / groups, *kernel) float32, and 'bias', (out_channels,) float32.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type or value.
    """

    axes = 2

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence = 0,
        output_padding: int | Sequence[int] = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | Sequence[int] = 1,
        *,
        rng: np.random.Generator | int | None = None,
        init: str | Initialiser = "kaiming",
    ):
        name = type(self).__name__
        self.in_channels, self.out_channels, self.groups = check_channels(name, in_channels, out_channels, groups)
        self.kernel_size, self.stride, self.dilation = kernel_size, stride, dilation
        self.padding, self.output_padding = padding, output_padding
        self.bias = as_flag(name, "bias", bias)
        kernel = Window.make(name, self.axes, kernel_size).kernel
        w_shape = (in_channels, out_channels // groups, *kernel)
        fan_in, fan_out = prod(w_shape[1:]), in_channels // groups * prod(kernel)  # as PyTorch counts them
        super().__init__(params=initialise(init, rng, w_shape, out_channels if bias else None, fan_in, fan_out))
        Window.make(name, self.axes, kernel, stride, padding, dilation)  # refuses bad options now

    def _options(self) -> tuple:
        return self.stride, self.padding, self.output_padding, self.groups, self.dilation

    def _geometry(self, x_shape: Shape) -> ConvTransposeGeometry:
        shapes = x_shape, self.params["weight"].shape, None
        return ConvTransposeGeometry.make(type(self).__name__, *shapes, *self._options(), ndim=self.axes)

    def apply(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Pullback]:
        """See `Layer.apply`."""
        w, b, options = self.params["weight"], self.params.get("bias"), self._options()
        spread, spread_backward = op_and_gradient("conv_transpose", self.axes)

        def pullback(dy: np.ndarray, input_gradient: bool) -> np.ndarray | None:
            needs = (input_gradient, self.learns("weight"), self.learns("bias"))
            dx, dw, db = spread_backward(dy, x, w, b, *options, needs=needs)
            self.accumulate(weight=dw, bias=db)
            return dx

        return spread(x, w, b, *options), pullback

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        return self._geometry(input_shape).y_shape

    def macs(self, input_shape: Shape) -> int:
        """See `Layer.macs`."""
        return self._geometry(input_shape).macs


class ConvTranspose1d(ConvTranspose2d):
    """`ConvTranspose2d` along one axis: of signals (N, in_channels, W)."""

    axes = 1


class ConvTranspose3d(ConvTranspose2d):
    """`ConvTranspose2d` along three axes: of volumes or videos (N, in_channels, D, H, W)."""

    axes = 3
