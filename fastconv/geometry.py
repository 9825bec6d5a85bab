"""The arithmetic of windows that slide over an input, and every check on sizes.

A convolution or a pooling moves a window along each axis of its input. This module derives how many positions the
window has and checks that all shapes and options agree. It works on Python ints, which cannot overflow, and runs before
any memory is taken, so that a kernel never meets a size that does not fit.

The formulas follow V. Dumoulin and F. Visin, *A guide to convolution arithmetic for deep learning* (2016),
https://arxiv.org/abs/1603.07285. Its relationship 15, for an axis of ``n`` elements with ``before`` and ``after`` zeros
at its ends, reads::

    output = (n + before + after - extent) // stride + 1,     extent = dilation * (kernel - 1) + 1

The dataclasses are frozen and hashable: equal geometries share whatever is computed from them.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import prod

from fastconv.arguments import MAX_SIZE, Ints, Pairs, as_flag, as_int, as_ints, as_padding

_ITEM_BYTES = 8  # the widest element: float64


@dataclass(frozen=True, slots=True)
class Window:
    """A window and how it moves: what convolution and pooling have in common.

    Attributes
    ----------
    kernel : tuple of int
        Number of taps along each axis.
    stride : tuple of int
        Elements between two neighbouring positions of the window.
    dilation : tuple of int
        Elements between two neighbouring taps.
    padding : tuple of (int, int)
        Elements added before and after each axis.
    ceil_mode : bool
        Whether a last window that hangs over the padded end counts.
    """

    kernel: Ints
    stride: Ints
    dilation: Ints
    padding: Pairs
    ceil_mode: bool = False

    @classmethod
    def make(
        cls,
        op: str,
        ndim: int,
        kernel: object,
        stride: object = 1,
        padding: object = 0,
        dilation: object = 1,
        ceil_mode: bool = False,
        *,
        input_size: Ints | None = None,
    ) -> "Window":
        """Build a window from a user's values.

        Parameters
        ----------
        op : str
            Function that an error message names.
        ndim : int
            Number of axes along which the window moves.
        kernel, stride, dilation : int or sequence of int
            An int stands for every axis.
        padding : int, sequence of int or of (int, int), 'same' or 'valid'
            An int pads both ends; a pair is (before, after). ``'valid'`` is 0. ``'same'`` gives ``ceil(n / stride)``
            outputs as TensorFlow does: an odd zero goes to the end.
        ceil_mode : bool
            As in `torch.nn.functional.max_pool2d`.
        input_size : tuple of int, optional
            Needed for ``'same'`` with a stride, where the padding depends on the input.

        Raises
        ------
        TypeError, ValueError
            An argument has a wrong type or value; the message names it.
        """
        kernel = as_ints(op, "kernel_size", kernel, ndim, low=1)
        stride = as_ints(op, "stride", stride, ndim, low=1)
        dilation = as_ints(op, "dilation", dilation, ndim, low=1)
        extent = _extent(kernel, dilation)
        pairs = as_padding(op, padding, ndim)
        if pairs == "same":
            pairs = _same_padding(op, extent, stride, input_size)
        return cls(kernel, stride, dilation, pairs, as_flag(op, "ceil_mode", ceil_mode))

    @property
    def ndim(self) -> int:
        """Number of axes along which the window moves."""
        return len(self.kernel)

    @property
    def extent(self) -> Ints:
        """Elements from the first tap to the last, both included, along each axis."""
        return _extent(self.kernel, self.dilation)

    def output_size(self, input_size: Ints, op: str = "window") -> Ints:
        """Return how many positions the window has along each axis of an input.

        Parameters
        ----------
        input_size : tuple of int
            Sizes of the axes along which the window moves.
        op : str
            Function that an error message names.

        Raises
        ------
        ValueError
            The window does not fit into the padded input, or the padded input is too large to address.
        """
        sizes = as_ints(op, "input size", input_size, self.ndim, low=1)
        return tuple(self._positions(op, axis, size) for axis, size in enumerate(sizes))

    def _positions(self, op: str, axis: int, size: int) -> int:
        before, after = self.padding[axis]
        extent, stride = self.extent[axis], self.stride[axis]
        padded = size + before + after
        if padded > MAX_SIZE:
            raise ValueError(f"{op}: padding {(before, after)} makes {size} elements {padded}, more than 2**63 - 1")
        slack = padded - extent
        if slack < 0:
            raise ValueError(
                f"{op}: kernel_size {self.kernel} with dilation {self.dilation} does not fit into input size {size} "
                f"with padding {(before, after)}: output = ({size} + {before} + {after} - {extent}) // {stride} + 1 "
                f"= {slack // stride + 1} along spatial axis {axis}, but must be >= 1"
            )
        positions = slack // stride + 1
        # A window that hangs over the end counts only if it starts inside the input or the padding before it.
        hangs_over = slack % stride > 0 and positions * stride < size + before
        return positions + (self.ceil_mode and hangs_over)


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
        _check_gradient(op, dy_shape, self.y_shape)


@dataclass(frozen=True, slots=True)
class PoolGeometry:
    """Every size of a pooling; forward and backward share it.

    Attributes
    ----------
    batch, channels : int
    input_size, output_size : tuple of int
        Sizes of the axes along which the window moves: (w,), (h, w) or (d, h, w).
    window : Window
    """

    batch: int
    channels: int
    input_size: Ints
    output_size: Ints
    window: Window

    @classmethod
    def make(
        cls,
        op: str,
        x_shape: Ints,
        kernel: object,
        stride: object = None,
        padding: object = 0,
        dilation: object = 1,
        ceil_mode: bool = False,
        *,
        ndim: int = 2,
    ) -> "PoolGeometry":
        """Check the shape and options of a pooling against each other.

        Every window has to hold an element of the input, so padding is at most half the window's extent, and there is
        no padding where the taps lie further apart than the input is long.

        Parameters
        ----------
        op : str
            Function that an error message names.
        x_shape : tuple of int
            Input, (n, c, *size).
        kernel, stride, padding, dilation, ceil_mode
            See `Window.make`. A stride of None is the kernel's size.
        ndim : int
            Number of axes along which the window moves: 1, 2 or 3.

        Raises
        ------
        TypeError, ValueError
            An argument has a wrong type or value; the message names it.
        """
        kernel = as_ints(op, "kernel_size", kernel, ndim, low=1)
        stride = kernel if stride is None else as_ints(op, "stride", stride, ndim, low=1)
        padding = as_padding(op, padding, ndim)
        dilation = as_ints(op, "dilation", dilation, ndim, low=1)
        as_flag(op, "ceil_mode", ceil_mode)
        return _pool_geometry(op, tuple(x_shape), kernel, stride, padding, dilation, ceil_mode, ndim)

    @property
    def x_shape(self) -> Ints:
        """Shape of the input, (n, c, *size)."""
        return (self.batch, self.channels, *self.input_size)

    @property
    def y_shape(self) -> Ints:
        """Shape of the output, (n, c, *output_size)."""
        return (self.batch, self.channels, *self.output_size)

    def check_gradient(self, op: str, dy_shape: Ints) -> None:
        """Raise ValueError unless `dy_shape` is the shape of the output."""
        _check_gradient(op, dy_shape, self.y_shape)


# Training asks for the same geometries at every step: remembering them turns 20 us a call into 5. The options arrive
# here as ints, because 1, 1.0 and True are one key to a dict but not one stride.
@lru_cache(maxsize=1024)
def _conv_geometry(op, x_shape, w_shape, b_shape, stride, padding, dilation, groups, ndim):
    batch, in_channels, input_size = _input(op, x_shape, ndim)
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
    if b_shape is not None and b_shape != (out_channels,):
        raise ValueError(f"{op}: b must have shape ({out_channels},), one bias per output channel, got {b_shape}")
    window = Window.make(op, ndim, kernel, stride, padding, dilation, input_size=input_size)
    output_size = window.output_size(input_size, op)
    _check_bytes(op, (batch, out_channels, *output_size))
    return ConvGeometry(batch, in_channels, out_channels, groups, input_size, output_size, window)


@lru_cache(maxsize=1024)
def _pool_geometry(op, x_shape, kernel, stride, padding, dilation, ceil_mode, ndim):
    batch, channels, input_size = _input(op, x_shape, ndim)
    window = Window.make(op, ndim, kernel, stride, padding, dilation, ceil_mode, input_size=input_size)
    for pair, extent, gap, size in zip(window.padding, window.extent, window.dilation, input_size, strict=True):
        if 2 * max(pair) > extent:
            raise ValueError(
                f"{op}: padding must be at most half of the window's extent, "
                f"dilation * (kernel_size - 1) + 1 = {extent}, got {pair}"
            )
        if pair[0] > 0 and gap > size:
            raise ValueError(
                f"{op}: dilation must be at most the input size {size} where there is padding, got {gap}: "
                f"a window could miss the input"
            )
    output_size = window.output_size(input_size, op)
    _check_bytes(op, (batch, channels, *output_size))
    return PoolGeometry(batch, channels, input_size, output_size, window)


def _extent(kernel: Ints, dilation: Ints) -> Ints:
    return tuple(gap * (taps - 1) + 1 for taps, gap in zip(kernel, dilation, strict=True))


def _same_padding(op: str, extent: Ints, stride: Ints, input_size: Ints | None) -> Pairs:
    """Pad so that there are ``ceil(n / stride)`` outputs: half padding, with TensorFlow's rule for strides."""
    if input_size is None:
        if max(stride) > 1:
            raise ValueError(f"{op}: padding='same' with stride {stride} needs the input size, which is unknown here")
        input_size = (1,) * len(extent)  # with stride 1 the size cancels out
    pairs = []
    for size, span, step in zip(input_size, extent, stride, strict=True):
        outputs = -(-size // step)
        total = max(0, (outputs - 1) * step + span - size)
        pairs.append((total // 2, total - total // 2))
    return tuple(pairs)


def _input(op: str, x_shape: Ints, ndim: int) -> tuple[int, int, Ints]:
    """Split the shape of x into batch, channels and spatial sizes; only the batch may be empty."""
    if len(x_shape) != ndim + 2:
        raise ValueError(f"{op}: x must have {ndim + 2} axes (n, c, *size), got shape {x_shape}")
    batch, channels, *size = x_shape
    if min(channels, *size) < 1:
        raise ValueError(f"{op}: x may be empty along its first axis (the batch) only, got shape {x_shape}")
    return batch, channels, tuple(size)


def _check_bytes(op: str, y_shape: Ints) -> None:
    """Refuse an output that int64 offsets cannot address, even where an empty batch makes it empty."""
    if max(1, y_shape[0]) * prod(y_shape[1:]) * _ITEM_BYTES > MAX_SIZE:
        raise ValueError(f"{op}: an output of shape {y_shape} exceeds 2**63 - 1 bytes; check stride and padding")


def _check_gradient(op: str, dy_shape: Ints, y_shape: Ints) -> None:
    if tuple(dy_shape) != y_shape:
        raise ValueError(f"{op}: dy must have the shape of the output, {y_shape}, got {tuple(dy_shape)}")
