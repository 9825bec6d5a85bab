"""Every size of an unpooling: what went into the pooling that it undoes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod

from fastconv.arguments import Ints, as_ints
from fastconv.geometry.shapes import check_bytes, check_gradient, split_input


@dataclass(frozen=True, slots=True)
class UnpoolGeometry:
    """Every size of an unpooling; forward and backward share it.

    Attributes
    ----------
    batch, channels : int
    input_size, output_size : tuple of int
    """

    batch: int
    channels: int
    input_size: Ints
    output_size: Ints

    @classmethod
    def make(
        cls,
        op: str,
        x_shape: Ints,
        kernel: object,
        stride: object = None,
        padding: object = 0,
        output_size: object = None,
        *,
        ndim: int = 2,
    ) -> "UnpoolGeometry":
        """Find the size that a pooling had before it.

        Inputs of several sizes give outputs of one; the plainest is ``(n - 1) * stride - 2 * padding + kernel`` long.

        Parameters
        ----------
        op : str
            Function that an error message names.
        x_shape : tuple of int
            What is unpooled, (n, c, *size).
        kernel, stride, padding
            Ints, or one an axis, as the pooling had them. A stride of None is the kernel's size.
        output_size : sequence of int, optional
            The size to restore, along each axis less than a stride away from the smallest; axes before it, as in a
            whole shape, are not looked at.
        ndim : int
            Number of axes that are unpooled: 1, 2 or 3.

        Raises
        ------
        TypeError, ValueError
            An argument has a wrong type or value; the message names it.
        """
        kernel = as_ints(op, "kernel_size", kernel, ndim, low=1)
        stride = kernel if stride is None else as_ints(op, "stride", stride, ndim, low=1)
        padding = as_ints(op, "padding", padding, ndim)
        if output_size is not None:
            if isinstance(output_size, Sequence) and len(output_size) == ndim + 2:
                output_size = output_size[2:]
            output_size = as_ints(op, "output_size", output_size, ndim, low=1)
        return _unpool_geometry(op, tuple(x_shape), kernel, stride, padding, output_size, ndim)

    @property
    def x_shape(self) -> Ints:
        """Shape of the input, (n, c, *size)."""
        return (self.batch, self.channels, *self.input_size)

    @property
    def y_shape(self) -> Ints:
        """Shape of the output, (n, c, *output_size)."""
        return (self.batch, self.channels, *self.output_size)

    @property
    def places(self) -> int:
        """Elements of a plane of the output: indices are smaller."""
        return prod(self.output_size)

    def check_gradient(self, op: str, dy_shape: Ints) -> None:
        """Raise ValueError unless `dy_shape` is the shape of the output."""
        check_gradient(op, dy_shape, self.y_shape)


@lru_cache(maxsize=1024)
def _unpool_geometry(op, x_shape, kernel, stride, padding, output_size, ndim):
    batch, channels, input_size = split_input(op, x_shape, ndim)
    least = tuple(
        (n - 1) * step - 2 * pad + taps for n, taps, step, pad in zip(input_size, kernel, stride, padding, strict=True)
    )
    if min(least) < 1:
        raise ValueError(
            f"{op}: (n - 1) * stride - 2 * padding + kernel_size must be >= 1 along each axis, got {least} "
            f"for input size {input_size}, kernel_size {kernel}, stride {stride} and padding {padding}"
        )
    if output_size is None:
        output_size = least
    elif any(not n - step < size < n + step for size, n, step in zip(output_size, least, stride, strict=True)):
        raise ValueError(
            f"{op}: output_size must lie less than a stride {stride} away from {least}, the size that kernel_size, "
            f"stride and padding give, got {output_size}"
        )
    check_bytes(op, (batch, channels, *output_size))
    return UnpoolGeometry(batch, channels, input_size, output_size)
