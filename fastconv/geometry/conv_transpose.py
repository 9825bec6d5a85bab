"""Every size of a transposed convolution."""

from dataclasses import dataclass
from functools import lru_cache

from fastconv.arguments import MAX_SIZE, Ints, as_int, as_ints, as_padding
from fastconv.geometry.conv import ConvGeometry
from fastconv.geometry.shapes import check_bias, check_bytes, check_gradient, split_input
from fastconv.geometry.window import Window


@dataclass(frozen=True, slots=True)
class ConvTransposeGeometry:
    """Every size of a transposed convolution: the gradient of a convolution, taken as a function of its own.

    Attributes
    ----------
    convolution : ConvGeometry
        The convolution whose gradient it is: that one's output has the shape of this one's input, and the other way
        round.
    output_padding : tuple of int
        Elements added to the end of each axis of the output. A stride maps several input sizes of the convolution to
        one output size: they tell which is meant.
    """

    convolution: ConvGeometry
    output_padding: Ints

    @classmethod
    def make(
        cls,
        op: str,
        x_shape: Ints,
        w_shape: Ints,
        b_shape: Ints | None,
        stride: object = 1,
        padding: object = 0,
        output_padding: object = 0,
        groups: object = 1,
        dilation: object = 1,
        *,
        ndim: int = 2,
    ) -> "ConvTransposeGeometry":
        """Check the shapes and options of a transposed convolution against each other.

        Parameters
        ----------
        op : str
            Function that an error message names.
        x_shape : tuple of int
            Input, (n, ci, *size).
        w_shape : tuple of int
            Weights, (ci, co / groups, *kernel).
        b_shape : tuple of int or None
            Bias, (co,).
        stride, padding, dilation : int, sequence, ...
            Those of the convolution; see `Window.make`. Words for the padding are refused.
        output_padding : int or sequence of int
            Less than the stride or the dilation.
        groups : int
            The channels are split into this many independent convolutions.
        ndim : int
            Number of axes along which the window moves: 1, 2 or 3.

        Raises
        ------
        TypeError, ValueError
            An argument has a wrong type or value; the message names it.
        """
        if isinstance(padding, str):
            raise ValueError(f"{op}: padding must be numbers, which say what the output loses, got {padding!r}")
        stride = as_ints(op, "stride", stride, ndim, low=1)
        padding = as_padding(op, padding, ndim)
        output_padding = as_ints(op, "output_padding", output_padding, ndim)
        groups = as_int(op, "groups", groups, low=1)
        dilation = as_ints(op, "dilation", dilation, ndim, low=1)
        b_shape = None if b_shape is None else tuple(b_shape)
        options = stride, padding, output_padding, groups, dilation
        return _transpose_geometry(op, tuple(x_shape), tuple(w_shape), b_shape, *options, ndim)

    @property
    def x_shape(self) -> Ints:
        """Shape of the input, (n, ci, *size)."""
        return self.convolution.y_shape

    @property
    def w_shape(self) -> Ints:
        """Shape of the weights, (ci, co / groups, *kernel)."""
        return self.convolution.w_shape

    @property
    def y_shape(self) -> Ints:
        """Shape of the output, (n, co, *output_size)."""
        return self.convolution.x_shape

    @property
    def macs(self) -> int:
        """Multiply-adds of the forward pass, counting those that the padding cuts off; each gradient has as many."""
        return self.convolution.macs

    def check_gradient(self, op: str, dy_shape: Ints) -> None:
        """Raise ValueError unless `dy_shape` is the shape of the output."""
        check_gradient(op, dy_shape, self.y_shape)


def transposed_size(op: str, window: Window, output_padding: Ints, input_size: Ints) -> Ints:
    """Return the size of the output of a transposed convolution; ValueError if there is none."""
    return tuple(_axis_size(op, window, output_padding, axis, size) for axis, size in enumerate(input_size))


def _axis_size(op: str, window: Window, output_padding: Ints, axis: int, size: int) -> int:
    extra, stride, dilation = output_padding[axis], window.stride[axis], window.dilation[axis]
    before, after = window.padding[axis]
    if extra >= max(stride, dilation):
        raise ValueError(
            f"{op}: output_padding must be less than stride or dilation, got {extra} for stride {stride} "
            f"and dilation {dilation} along spatial axis {axis}"
        )
    outputs = (size - 1) * stride + window.extent[axis] - before - after + extra
    formula = (
        f"output = ({size} - 1) * {stride} - {before} - {after} + {window.extent[axis]} + {extra} = {outputs} "
        f"along spatial axis {axis}"
    )
    if outputs < 1:
        raise ValueError(f"{op}: padding {(before, after)} leaves nothing: {formula}, but must be >= 1")
    if outputs > MAX_SIZE:
        raise ValueError(f"{op}: stride, dilation and kernel_size give {formula}, more than 2**63 - 1")
    return outputs


# Remembered for the reason that convolutions are.
@lru_cache(maxsize=1024)
def _transpose_geometry(op, x_shape, w_shape, b_shape, stride, padding, output_padding, groups, dilation, ndim):
    batch, in_channels, input_size = split_input(op, x_shape, ndim)
    if len(w_shape) != ndim + 2:
        raise ValueError(f"{op}: w must have {ndim + 2} axes (ci, co / groups, *kernel), got shape {w_shape}")
    w_channels, group_out, *kernel = w_shape
    if w_channels != in_channels:
        raise ValueError(
            f"{op}: w of shape {w_shape} must have {in_channels} channels along its first axis, as many as "
            f"x of shape {x_shape}, got {w_channels}"
        )
    if group_out < 1 or in_channels % groups:
        raise ValueError(
            f"{op}: groups must divide the channels of x, and w must have output channels, got groups {groups} for "
            f"{in_channels} channels in x of shape {x_shape} and w of shape {w_shape}"
        )
    out_channels = group_out * groups
    check_bias(op, b_shape, out_channels)
    window = Window.make(op, ndim, kernel, stride, padding, dilation)
    output_size = transposed_size(op, window, output_padding, input_size)
    check_bytes(op, (batch, out_channels, *output_size))
    convolution = ConvGeometry(batch, out_channels, in_channels, groups, output_size, input_size, window)
    return ConvTransposeGeometry(convolution, output_padding)
