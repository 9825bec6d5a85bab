"""A window that slides along the axes of an input, and how many positions it has."""

from dataclasses import dataclass

from fastconv.arguments import MAX_SIZE, Ints, Pairs, as_flag, as_ints, as_padding


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
