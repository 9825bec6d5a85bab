"""Every size of a resampling, and where each output looks for its value."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import floor, isfinite
from numbers import Real

from fastconv.arguments import Ints, as_flag, as_int, as_ints
from fastconv.geometry.shapes import check_bytes, check_gradient, split_input

MODES: dict[str, int | None] = {"nearest": None, "linear": 1, "bilinear": 2, "trilinear": 3}
"""The modes of interpolation, with the number of axes that one has."""


@dataclass(frozen=True, slots=True)
class ResampleGeometry:
    """Every size of an interpolation; forward and backward share it.

    Attributes
    ----------
    batch, channels : int
    input_size, output_size : tuple of int
    steps : tuple of float
        Elements of the input from one output to the next.
    mode : str
    align_corners : bool
    """

    batch: int
    channels: int
    input_size: Ints
    output_size: Ints
    steps: tuple[float, ...]
    mode: str
    align_corners: bool

    @classmethod
    def make(
        cls,
        op: str,
        x_shape: Ints,
        size: object = None,
        scale_factor: object = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
    ) -> "ResampleGeometry":
        """Check the shape and options of an interpolation against each other.

        Parameters
        ----------
        op : str
            Function that an error message names.
        x_shape : tuple of int
            Input, (n, c, *size), of one, two or three sizes.
        size : int or sequence of int, optional
        scale_factor : float or sequence of float, optional
            One of the two is given.
        mode : str
            A key of `MODES`.
        align_corners : bool, optional
            Not for 'nearest'.

        Raises
        ------
        TypeError, ValueError
            An argument has a wrong type or value; the message names it.
        """
        ndim = len(x_shape) - 2
        if not 1 <= ndim <= 3:
            raise ValueError(f"{op}: x must have 3, 4 or 5 axes (n, c, *size), got shape {tuple(x_shape)}")
        if mode not in MODES:
            raise ValueError(f"{op}: mode must be one of {', '.join(map(repr, MODES))}, got {mode!r}")
        if MODES[mode] not in (None, ndim):
            raise ValueError(
                f"{op}: mode {mode!r} is for {MODES[mode]} axes, but x of shape {tuple(x_shape)} has {ndim}"
            )
        if mode == "nearest" and align_corners is not None:
            raise ValueError(f"{op}: align_corners does not go with mode 'nearest', got {align_corners!r}")
        if (size is None) == (scale_factor is None):
            raise ValueError(f"{op}: give either size or scale_factor, got {size!r} and {scale_factor!r}")
        if size is not None:
            size = as_ints(op, "size", size, ndim, low=1)
        else:
            scale_factor = _factors(op, scale_factor, ndim)
        align = align_corners is not None and as_flag(op, "align_corners", align_corners)
        return _resample_geometry(op, tuple(x_shape), size, scale_factor, mode, align)

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


def _factors(op: str, scale_factor: object, ndim: int) -> tuple[float, ...]:
    factors = scale_factor if isinstance(scale_factor, Sequence) else (scale_factor,) * ndim
    for factor in factors:
        if not isinstance(factor, Real) or isinstance(factor, bool):
            raise TypeError(f"{op}: scale_factor must be a number or a sequence of {ndim}, got {scale_factor!r}")
    if len(factors) != ndim or not all(isfinite(factor) and factor > 0 for factor in factors):
        raise ValueError(f"{op}: scale_factor must be positive, for each of {ndim} axes, got {scale_factor!r}")
    return tuple(map(float, factors))


@lru_cache(maxsize=1024)
def _resample_geometry(op, x_shape, size, factors, mode, align):
    batch, channels, input_size = split_input(op, x_shape, len(x_shape) - 2)
    if size is None:
        size = tuple(
            as_int(op, "output size", floor(min(n * factor, 2.0**64)), low=1)
            for n, factor in zip(input_size, factors, strict=True)
        )
        steps = tuple(1 / factor for factor in factors)
    else:
        steps = tuple(n / m for n, m in zip(input_size, size, strict=True))
    if align:
        steps = tuple((n - 1) / (m - 1) if m > 1 else 0.0 for n, m in zip(input_size, size, strict=True))
    check_bytes(op, (batch, channels, *size))
    return ResampleGeometry(batch, channels, input_size, size, steps, mode, align)
