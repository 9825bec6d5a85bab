"""Every size of a convolution."""

from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod

from fastconv.arguments import Ints, as_int, as_ints, as_padding
from fastconv.geometry.shapes import check_bias, check_bytes, check_gradient, split_input
from fastconv.geometry.window import Window


@dataclass(frozen=True, slots=True)
class ConvGeometry:
    """Every size of a convolution; forward and backward share it.

    Attributes
    ----------
    batch, in_channels, out_channels, groups : int
    input_size, output_size : tuple of int
        Sizes of the axes along which the window moves: (w,), (h, w) or (d, h, w).
    window : Window
    """

    batch: int
    in_channels: int
    out_channels: int
    groups: int
    input_size: Ints
    output_size: Ints
    window: Window

    @classmethod
    def make(
        cls,
        op: str,
        x_shape: Ints,
        w_shape: Ints,
        b_shape: Ints | None,
        stride: object = 1,
        padding: object = 0,
        dilation: object = 1,
        groups: object = 1,
        *,
        ndim: int = 2,
    ) -> "ConvGeometry":
        """Check the shapes and options of a convolution against each other.

        Parameters
        ----------
        op : str
            Function that an error message names.
        x_shape : tuple of int
            Input, (n, ci, *size).
        w_shape : tuple of int
            Weights, (co, ci / groups, *kernel).
        b_shape : tuple of int or None
            Bias, (co,).
        stride, padding, dilation : int, sequence, ...
            See `Window.make`.
        groups : int
            The channels are split into this many independent convolutions.
        ndim : int
            Number of axes along which the window moves: 1, 2 or 3.

        Raises
        ------
        TypeError, ValueError
            An argument has a wrong type or value; the message names it.
        """
        stride = as_ints(op, "stride", stride, ndim, low=1)
        padding = as_padding(op, padding, ndim)
        dilation = as_ints(op, "dilation", dilation, ndim, low=1)
        groups = as_int(op, "groups", groups, low=1)
        b_shape = None if b_shape is None else tuple(b_shape)
        return _conv_geometry(op, tuple(x_shape), tuple(w_shape), b_shape, stride, padding, dilation, groups, ndim)

    @property
    def x_shape(self) -> Ints:
        """Shape of the input, (n, ci, *size)."""
        return (self.batch, self.in_channels, *self.input_size)

    @property
    def w_shape(self) -> Ints:
        """Shape of the weights, (co, ci / groups, *kernel)."""
        return (self.out_channels, self.group_in, *self.window.kernel)

    @property
    def y_shape(self) -> Ints:
        """Shape of the output, (n, co, *output_size)."""
        return (self.batch, self.out_channels, *self.output_size)

    @property
    def group_in(self) -> int:
        """Input channels of one group."""
        return self.in_channels // self.groups

    @property
    def group_out(self) -> int:
        """Output channels of one group."""
        return self.out_channels // self.groups

    @property
    def macs(self) -> int:
        """Multiply-adds of the forward pass, counting those with padding; each gradient has as many."""
        return prod(self.y_shape) * self.group_in * prod(self.window.kernel)

    def check_gradient(self, op: str, dy_shape: Ints) -> None:
        """Raise ValueError unless `dy_shape` is the shape of the output."""
        check_gradient(op, dy_shape, self.y_shape)

    def padded(self) -> "ConvGeometry":
        """Return the same convolution of an input that has its padding around it already."""
        pairs = self.window.padding
        size = tuple(n + before + after for n, (before, after) in zip(self.input_size, pairs, strict=True))
        return replace(self, input_size=size, window=replace(self.window, padding=((0, 0),) * len(pairs)))

    def folded(self) -> "ConvGeometry":
        """Return the same sums over the same elements along two axes, if two are enough, else along three.

        A signal is a plane of one row. An axis of one element can be left out, and two neighbours along which nothing
        slides are one: arrays take the new shapes without a copy.
        """
        return _folded(self)


# Training asks for the same geometries at every step: remembering them turns 20 us a call into 5. The options arrive
# here as ints, because 1, 1.0 and True are one key to a dict but not one stride.
@lru_cache(maxsize=1024)
def _conv_geometry(op, x_shape, w_shape, b_shape, stride, padding, dilation, groups, ndim):
    batch, in_channels, input_size = split_input(op, x_shape, ndim)
    if len(w_shape) != ndim + 2:
        raise ValueError(f"{op}: w must have {ndim + 2} axes (co, ci / groups, *kernel), got shape {w_shape}")
    out_channels, group_in, *kernel = w_shape
    if out_channels < 1 or in_channels % groups or out_channels % groups:
        raise ValueError(
            f"{op}: groups must divide both the channels of x and those of w, got groups {groups} "
            f"for {in_channels} channels in x of shape {x_shape} and {out_channels} in w of shape {w_shape}"
        )
    if group_in * groups != in_channels:
        raise ValueError(
            f"{op}: w of shape {w_shape} must have {in_channels} // {groups} = {in_channels // groups} input "
            f"channels (channels of x // groups), got {group_in} for x of shape {x_shape}"
        )
    check_bias(op, b_shape, out_channels)
    window = Window.make(op, ndim, kernel, stride, padding, dilation, input_size=input_size)
    output_size = window.output_size(input_size, op)
    check_bytes(op, (batch, out_channels, *output_size))
    return ConvGeometry(batch, in_channels, out_channels, groups, input_size, output_size, window)


@lru_cache(maxsize=1024)
def _folded(geometry: ConvGeometry) -> ConvGeometry:
    window = geometry.window
    columns = (geometry.input_size, geometry.output_size, window.kernel, window.stride, window.dilation, window.padding)
    axes = list(zip(*columns, strict=True))
    still = [size == outputs and taps == step == 1 for size, outputs, taps, step, *_ in axes]
    if len(axes) == 1:
        axes.insert(0, _still_axis(1))
    elif len(axes) == 3 and (1, True) in zip(geometry.input_size, still, strict=True):
        del axes[next(i for i, axis in enumerate(axes) if axis[0] == 1 and still[i])]
    elif len(axes) == 3 and still[1] and (still[0] or still[2]):
        first = 0 if still[0] else 1
        axes[first : first + 2] = [_still_axis(axes[first][0] * axes[first + 1][0])]
    input_size, output_size, *moves = zip(*axes, strict=True)
    return replace(geometry, input_size=input_size, output_size=output_size, window=Window(*moves))


def _still_axis(size: int) -> tuple:
    """Describe an axis along which nothing slides: input size, outputs, kernel, stride, dilation, padding."""
    return size, size, 1, 1, 1, (0, 0)
