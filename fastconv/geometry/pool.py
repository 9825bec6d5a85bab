"""Every size of a pooling."""

from dataclasses import dataclass
from functools import lru_cache

from fastconv.arguments import Ints, as_flag, as_ints, as_padding
from fastconv.geometry.shapes import check_bytes, check_gradient, split_input
from fastconv.geometry.window import Window


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
        check_gradient(op, dy_shape, self.y_shape)


# Remembered for the reason that convolutions are.
@lru_cache(maxsize=1024)
def _pool_geometry(op, x_shape, kernel, stride, padding, dilation, ceil_mode, ndim):
    batch, channels, input_size = split_input(op, x_shape, ndim)
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
    check_bytes(op, (batch, channels, *output_size))
    return PoolGeometry(batch, channels, input_size, output_size, window)
