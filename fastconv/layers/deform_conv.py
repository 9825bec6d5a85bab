"""Deformable convolution as a layer."""

from collections.abc import Sequence
from math import prod

import numpy as np

from fastconv import ops, runtime
from fastconv.arguments import as_flag, as_int
from fastconv.geometry import Window
from fastconv.init import Initialiser, initialise
from fastconv.layers.base import Layer, Pullback, Shape
from fastconv.layers.conv import Conv2d


class DeformConv2d(Conv2d):
    """2D convolution that moves its taps to where a second convolution of its input says; see `deform_conv2d`.

    The second convolution has the same kernel, stride, padding and dilation. It gives each tap of each output two
    offsets and, with `mask`, a factor that goes through a sigmoid. It starts with zeros, so that the layer starts as an
    ordinary convolution (with `mask`, of half the weights), as in X. Zhu and others, *Deformable ConvNets v2* (2018),
    arXiv:1811.11168.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias
        As in `Conv2d`.
    offset_groups : int
        The input channels are split into this many parts, each with offsets of its own.
    mask : bool
        Whether each sample has a factor.
    rng : Generator or int, optional
        Where the parameters come from; see `fastconv.init.generator`.
    init : str or Initialiser
        See `fastconv.init.INITIALISERS`; for 'weight' and 'bias'.

    Attributes
    ----------
    params : dict
        'weight' and 'bias' as in `Conv2d`; 'offset.weight', (channels, in_channels, kh, kw), and 'offset.bias',
        (channels,), with 2 or 3 channels for each tap and offset group: all offsets, then all factors.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type or value.
    """

    adds = False  # nor does it take what follows: its own operation ends plainly

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
        offset_groups: int = 1,
        mask: bool = True,
        *,
        rng: np.random.Generator | int | None = None,
        init: str | Initialiser = "kaiming",
    ):
        convolution = (in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias)
        super().__init__(*convolution, rng=rng, init=init)
        self.offset_groups = as_int("DeformConv2d", "offset_groups", offset_groups, low=1)
        self.mask = as_flag("DeformConv2d", "mask", mask)
        if self.in_channels % self.offset_groups:
            raise ValueError(
                f"DeformConv2d: offset_groups must divide in_channels, got {offset_groups} for {in_channels}"
            )
        kernel = Window.make("DeformConv2d", 2, kernel_size).kernel
        self.offsets = 2 * self.offset_groups * prod(kernel)
        channels = self.offsets * 3 // 2 if mask else self.offsets
        branch = initialise("zeros", 0, (channels, self.in_channels, *kernel), channels, 1, 1)
        self.params |= {f"offset.{key}": array for key, array in branch.items()}
        self.grads |= {f"offset.{key}": np.zeros_like(array) for key, array in branch.items()}

    def apply(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Pullback]:
        """See `Layer.apply`."""
        w, b = self.params["weight"], self.params.get("bias")
        branch = self.params["offset.weight"], self.params["offset.bias"]
        options = self.stride, self.padding, self.dilation
        found = ops.conv2d(x, *branch, *options)
        offset, logits = found[:, : self.offsets], found[:, self.offsets :]
        mask = ops.sigmoid(logits) if self.mask else None

        def pullback(dy: np.ndarray, input_gradient: bool) -> np.ndarray | None:
            needs = (input_gradient, True, self.learns("weight"), self.learns("bias"), self.mask)
            dx, doffset, dw, db, dmask = ops.deform_conv2d_backward(dy, x, offset, w, b, *options, mask, needs)
            dfound = runtime.empty(found.shape, found.dtype)
            dfound[:, : self.offsets] = doffset
            if self.mask:
                dfound[:, self.offsets :] = ops.sigmoid_backward(dmask, logits, saved=mask)
            through, dbranch_w, dbranch_b = ops.conv2d_backward(
                dfound, x, *branch, *options, needs=(input_gradient, True, True)
            )
            self.accumulate(weight=dw, bias=db, **{"offset.weight": dbranch_w, "offset.bias": dbranch_b})
            return np.add(dx, through, out=dx) if input_gradient else None

        return ops.deform_conv2d(x, offset, w, b, *options, mask), pullback

    def merged(self, following: Layer) -> None:
        """See `Layer.merged`."""
        return None

    def pack(self) -> None:
        """See `Packable.pack`: it has no packed form."""

    def macs(self, input_shape: Shape) -> int:
        """See `Layer.macs`; the four products of each interpolation are not counted."""
        outputs = prod(self.output_shape(input_shape)[2:]) * input_shape[0]
        return super().macs(input_shape) + outputs * self.params["offset.weight"].size
