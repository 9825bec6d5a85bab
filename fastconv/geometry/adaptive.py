"""Every size of an adaptive pooling."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from fastconv.arguments import Ints, as_ints
from fastconv.geometry.pool import PoolGeometry
from fastconv.geometry.shapes import check_bytes, check_gradient, split_input


@dataclass(frozen=True, slots=True)
class AdaptiveGeometry:
    """Every size of a pooling to a given size; forward and backward share it.

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
    def make(cls, op: str, x_shape: Ints, output_size: object, *, ndim: int = 2) -> "AdaptiveGeometry":
        """Check the shape of an input and the size that is wanted.

        Parameters
        ----------
        op : str
            Function that an error message names.
        x_shape : tuple of int
            Input, (n, c, *size).
        output_size : int or sequence of int or None
            An int stands for every axis; None keeps the size of an axis.
        ndim : int
            Number of axes that are pooled: 1, 2 or 3.

        Raises
        ------
        TypeError, ValueError
            An argument has a wrong type or value; the message names it.
        """
        sizes = tuple(x_shape)[-ndim:]
        if isinstance(output_size, Sequence) and not isinstance(output_size, str) and len(output_size) == len(sizes):
            output_size = [size if wanted is None else wanted for wanted, size in zip(output_size, sizes, strict=True)]
        return _adaptive_geometry(op, tuple(x_shape), as_ints(op, "output_size", output_size, ndim, low=1), ndim)

    @property
    def x_shape(self) -> Ints:
        """Shape of the input, (n, c, *size)."""
        return (self.batch, self.channels, *self.input_size)

    @property
    def y_shape(self) -> Ints:
        """Shape of the output, (n, c, *output_size)."""
        return (self.batch, self.channels, *self.output_size)

    @property
    def even(self) -> PoolGeometry | None:
        """The ordinary pooling that this is where the windows of each axis tile it, all of one size."""
        if any(size % outputs for size, outputs in zip(self.input_size, self.output_size, strict=True)):
            return None
        kernel = tuple(size // outputs for size, outputs in zip(self.input_size, self.output_size, strict=True))
        return PoolGeometry.make("adaptive pooling", self.x_shape, kernel, ndim=len(kernel))

    def windows(self, axis: int) -> list[tuple[int, int]]:
        """Start and end of each window along an axis: those of output o are floor(o n / m) and ceil((o + 1) n / m)."""
        n, m = self.input_size[axis], self.output_size[axis]
        return [(o * n // m, -(-(o + 1) * n // m)) for o in range(m)]

    def check_gradient(self, op: str, dy_shape: Ints) -> None:
        """Raise ValueError unless `dy_shape` is the shape of the output."""
        check_gradient(op, dy_shape, self.y_shape)


@lru_cache(maxsize=1024)
def _adaptive_geometry(op, x_shape, output_size, ndim):
    batch, channels, input_size = split_input(op, x_shape, ndim)
    check_bytes(op, (batch, channels, *output_size))
    return AdaptiveGeometry(batch, channels, input_size, output_size)
