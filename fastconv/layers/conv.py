"""Convolution as a layer."""

from collections.abc import Sequence
from copy import copy
from math import prod

import numpy as np

from fastconv import ops
from fastconv.arguments import as_flag, as_int
from fastconv.geometry import ConvGeometry, Window
from fastconv.init import Initialiser, initialise
from fastconv.layers.activation import rectified
from fastconv.layers.base import Addend, Layer, Pullback, Shape
from fastconv.layers.prepack import Packable


class Conv2d(Packable):
    """2D convolution of images (N, in_channels, H, W); see `fastconv.conv2d`.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int or (int, int)
    stride, dilation : int or (int, int)
    padding : int, (int, int), a pair (before, after) per axis, 'same' or 'valid'
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
        'weight', (out_channels, in_channels / groups, kh, kw) float32, and 'bias', (out_channels,) float32.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type or value.
    """

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
        *,
        rng: np.random.Generator | int | None = None,
        init: str | Initialiser = "kaiming",
    ):
        self.in_channels = in_channels = as_int("Conv2d", "in_channels", in_channels, low=1)
        self.out_channels = out_channels = as_int("Conv2d", "out_channels", out_channels, low=1)
        self.groups = groups = as_int("Conv2d", "groups", groups, low=1)
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"Conv2d: groups must divide in_channels and out_channels, "
                f"got groups {groups} for {in_channels} and {out_channels}"
            )
        self.kernel_size, self.stride, self.padding, self.dilation = kernel_size, stride, padding, dilation
        self.bias = as_flag("Conv2d", "bias", bias)
        window = Window.make("Conv2d", 2, kernel_size, 1, 0, dilation)
        w_shape = (out_channels, in_channels // groups, *window.kernel)
        self._geometry((1, in_channels, *window.extent), w_shape)  # refuses bad options now, not at the first call
        b_size = out_channels if bias else None
        fan_in, fan_out = prod(w_shape[1:]), out_channels // groups * prod(window.kernel)
        super().__init__(params=initialise(init, rng, w_shape, b_size, fan_in, fan_out))

    def _geometry(self, x_shape: Shape, w_shape: Shape) -> ConvGeometry:
        options = self.stride, self.padding, self.dilation, self.groups
        return ConvGeometry.make("Conv2d", x_shape, w_shape, None, *options)

    def make_packed(self):
        """See `Packable.make_packed`."""
        from fastconv.ops.packed import PackedConv2d

        options = self.stride, self.padding, self.dilation, self.groups
        return PackedConv2d(self.params["weight"], self.params.get("bias"), *options)

    def apply(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Pullback | None]:
        """See `Layer.apply`."""
        w, b, addend, relu = self.params["weight"], self.params.get("bias"), self._addend, self.rectifies
        options = self.stride, self.padding, self.dilation, self.groups
        residual = None if addend is None else addend.value
        if self.packed is not None:
            return self.infer(x, train, residual=residual, relu=relu), None

        def pullback(dy: np.ndarray, input_gradient: bool) -> np.ndarray | None:
            needs = (input_gradient, True, b is not None)
            # Of the addend only the shape counts now, which is that of y; without ReLU its gradient is dy itself.
            masked = {"residual": y} if relu and addend is not None else {}
            dx, dw, db, *dresidual = ops.conv2d_backward(
                dy, x, w, b, *options, needs=needs, relu=relu, saved=y if relu else None, **masked
            )
            self.accumulate(weight=dw, bias=db)
            if addend is not None:
                addend.gradient = dresidual[0] if masked else dy
            return dx

        y = ops.conv2d(x, w, b, *options, residual=residual, relu=relu)
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
