"""Depthwise separable convolution as a layer."""

from collections.abc import Iterator, Sequence

import numpy as np

from fastconv import ops
from fastconv.arguments import as_flag, as_int
from fastconv.init import Initialiser, generator
from fastconv.layers.base import Layer, Pullback, Shape
from fastconv.layers.conv import Conv2d


class DepthwiseSeparableConv2d(Layer):
    """Kernels for each channel, then a product over channels; see `fastconv.depthwise_separable_conv2d`.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int or (int, int)
        Of the depthwise convolution, like the options that follow.
    stride, padding, dilation, padding_mode
        As in `Conv2d`.
    multiplier : int
        Kernels for each channel.
    bias : bool
        Whether to add a bias per output channel.
    rng : Generator or int, optional
        Where the parameters come from; see `fastconv.init.generator`.
    init : str or Initialiser
        See `fastconv.init.INITIALISERS`.

    Attributes
    ----------
    children : dict
        'depthwise' and 'pointwise', each a `Conv2d` that has the parameters.

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
        padding: int | str | Sequence = 0,
        dilation: int | Sequence[int] = 1,
        multiplier: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        rng: np.random.Generator | int | None = None,
        init: str | Initialiser = "kaiming",
    ):
        name = "DepthwiseSeparableConv2d"
        self.in_channels = as_int(name, "in_channels", in_channels, low=1)
        self.out_channels = as_int(name, "out_channels", out_channels, low=1)
        self.kernel_size, self.stride, self.padding, self.dilation = kernel_size, stride, padding, dilation
        self.multiplier = as_int(name, "multiplier", multiplier, low=1)
        self.bias, self.padding_mode = as_flag(name, "bias", bias), padding_mode
        planes, rng = multiplier * in_channels, generator(rng)
        options = kernel_size, stride, padding, dilation, in_channels, False, padding_mode
        depthwise = Conv2d(in_channels, planes, *options, rng=rng, init=init)
        pointwise = Conv2d(planes, out_channels, 1, bias=bias, rng=rng, init=init)
        super().__init__(children={"depthwise": depthwise, "pointwise": pointwise})

    def apply(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Pullback | None]:
        """See `Layer.apply`."""
        depthwise, pointwise = self.children["depthwise"], self.children["pointwise"]
        arrays = depthwise.params["weight"], pointwise.params["weight"], pointwise.params.get("bias")
        options, mode = (self.stride, self.padding, self.dilation), {"padding_mode": self.padding_mode}
        if not train:
            return ops.depthwise_separable_conv2d(x, *arrays, *options, **mode), None
        y, saved = ops.depthwise_separable_conv2d(x, *arrays, *options, **mode, return_saved=True)

        def pullback(dy: np.ndarray, input_gradient: bool) -> np.ndarray | None:
            needs = (input_gradient, True, True, arrays[2] is not None)
            about = {"needs": needs, "saved": saved} | mode
            dx, dw, dv, db = ops.depthwise_separable_conv2d_backward(dy, x, *arrays, *options, **about)
            depthwise.accumulate(weight=dw)
            pointwise.accumulate(weight=dv, bias=db)
            return dx

        return y, pullback

    def flow(self, input_shape: Shape) -> Iterator[tuple[str, Layer, Shape, Shape]]:
        """See `Layer.flow`."""
        shape = tuple(input_shape)
        for name, layer in self.children.items():
            before, shape = shape, layer.output_shape(shape)
            yield name, layer, before, shape

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        return self.children["pointwise"].output_shape(self.children["depthwise"].output_shape(input_shape))
