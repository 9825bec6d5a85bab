"""Convolution as a layer. A class for one, two and three axes each, which differ in `axes`."""

from collections.abc import Sequence
from copy import copy
from math import prod

import numpy as np

from fastconv.arguments import PADDING_MODES, as_flag, as_int, as_word
from fastconv.geometry import ConvGeometry, Window
from fastconv.init import Initialiser, initialise
from fastconv.layers.activation import rectified
from fastconv.layers.base import Addend, Layer, Pullback, Shape
from fastconv.layers.pool import op_and_gradient
from fastconv.layers.prepack import Packable


class Conv2d(Packable):
    """Convolution of images (N, in_channels, H, W); see `fastconv.conv2d`.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int or sequence of int
        A number stands for every axis.
    stride, dilation : int or sequence of int
    padding : int, sequence of int, a pair (before, after) per axis, 'same' or 'valid'
    groups : int
        Divides both channel counts.
    bias : bool
        Whether to add a bias per output channel.
    padding_mode : 'zeros', 'reflect', 'replicate' or 'circular'
        What stands in the padding.
    rng : Generator or int, optional
        Where the parameters come from; see `fastconv.init.generator`.
    init : str or Initialiser
        See `fastconv.init.INITIALISERS`.

    Attributes
    ----------
    params : dict
        'weight', (out_channels, in_channels / groups, *kernel) float32, and 'bias', (out_channels,) float32.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type or value.
    """

    axes = 2
    adds = True
    _addend: Addend | None = None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | str | Sequence = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        rng: np.random.Generator | int | None = None,
        init: str | Initialiser = "kaiming",
    ):
        name = type(self).__name__
        self.in_channels, self.out_channels, self.groups = check_channels(name, in_channels, out_channels, groups)
        self.kernel_size, self.stride, self.padding, self.dilation = kernel_size, stride, padding, dilation
        self.bias = as_flag(name, "bias", bias)
        self.padding_mode = as_word(name, "padding_mode", padding_mode, PADDING_MODES)
        window = Window.make(name, self.axes, kernel_size, 1, 0, dilation)
        w_shape = (out_channels, in_channels // groups, *window.kernel)
        self._geometry((1, in_channels, *window.extent), w_shape)  # refuses bad options now, not at the first call
        b_size = out_channels if bias else None
        fan_in, fan_out = prod(w_shape[1:]), out_channels // groups * prod(window.kernel)
        super().__init__(params=initialise(init, rng, w_shape, b_size, fan_in, fan_out))

    def _geometry(self, x_shape: Shape, w_shape: Shape) -> ConvGeometry:
        options = self.stride, self.padding, self.dilation, self.groups
        return ConvGeometry.make(type(self).__name__, x_shape, w_shape, None, *options, ndim=self.axes)

    def pack(self) -> None:
        """See `Packable.pack`. Weights along other numbers of axes, or with stored borders, are left as they are."""
        if self.axes == 2 and self.padding_mode == "zeros":
            super().pack()

    def make_packed(self):
        """See `Packable.make_packed`."""
        from fastconv.ops.packed import PackedConv2d

        options = self.stride, self.padding, self.dilation, self.groups
        return PackedConv2d(self.params["weight"], self.params.get("bias"), *options)

    def apply(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Pullback | None]:
        """See `Layer.apply`."""
        w, b, addend, relu = self.params["weight"], self.params.get("bias"), self._addend, self.rectifies
        options, mode = (self.stride, self.padding, self.dilation, self.groups), {"padding_mode": self.padding_mode}
        residual = None if addend is None else addend.value
        if self.packed is not None:
            return self.infer(x, train, residual=residual, relu=relu), None
        convolve, convolve_backward = op_and_gradient("conv", self.axes)

        def pullback(dy: np.ndarray, input_gradient: bool) -> np.ndarray | None:
            needs = (input_gradient, self.learns("weight"), self.learns("bias"))
            # Of the addend only the shape counts now, which is that of y; without ReLU its gradient is dy itself.
            masked = {"residual": y} if relu and addend is not None else {}
            dx, dw, db, *dresidual = convolve_backward(
                dy, x, w, b, *options, needs=needs, relu=relu, saved=y if relu else None, **mode, **masked
            )
            self.accumulate(weight=dw, bias=db)
            if addend is not None:
                addend.gradient = dresidual[0] if masked else dy
            return dx

        y = convolve(x, w, b, *options, residual=residual, relu=relu, **mode)
        return y, pullback

    def merged(self, following: Layer) -> Layer | None:
        """Take a ReLU or ReLU6 that follows; see `Layer.merged`."""
        return rectified(self, following, ceilings=True)

    def plus(self, addend: Addend, rectifies: bool | float) -> Layer:
        """See `Layer.plus`."""
        layer = copy(self)
        layer._addend, layer.rectifies = addend, rectifies
        return layer

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        return self._geometry(input_shape, self.params["weight"].shape).y_shape

    def macs(self, input_shape: Shape) -> int:
        """See `Layer.macs`."""
        return self._geometry(input_shape, self.params["weight"].shape).macs


class Conv1d(Conv2d):
    """`Conv2d` along one axis: of signals (N, in_channels, W)."""

    axes = 1


class Conv3d(Conv2d):
    """`Conv2d` along three axes: of volumes or videos (N, in_channels, D, H, W)."""

    axes = 3


def check_channels(name: str, in_channels: int, out_channels: int, groups: int) -> tuple[int, int, int]:
    """Return them checked: `groups` divides both channel counts."""
    in_channels = as_int(name, "in_channels", in_channels, low=1)
    out_channels = as_int(name, "out_channels", out_channels, low=1)
    groups = as_int(name, "groups", groups, low=1)
    if in_channels % groups or out_channels % groups:
        raise ValueError(
            f"{name}: groups must divide in_channels and out_channels, "
            f"got groups {groups} for {in_channels} and {out_channels}"
        )
    return in_channels, out_channels, groups
