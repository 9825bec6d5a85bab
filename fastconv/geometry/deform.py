"""Every size of a deformable convolution."""

from dataclasses import dataclass
from functools import lru_cache
from math import gcd, prod

from fastconv.arguments import Ints
from fastconv.geometry.conv import ConvGeometry

FARTHEST = 2**30
"""How far from the input a tap may lie, and how large the input may be: places are counted in 32 bits."""


@dataclass(frozen=True, slots=True)
class DeformGeometry:
    """Every size of a deformable convolution; forward and backward share it.

    Attributes
    ----------
    conv : ConvGeometry
        The convolution whose taps are moved.
    offset_groups : int
        The channels of the input are split into this many parts, each with offsets of its own.
    masked : bool
        Whether there is a mask.
    """

    conv: ConvGeometry
    offset_groups: int
    masked: bool

    @classmethod
    def make(
        cls,
        op: str,
        x_shape: Ints,
        offset_shape: Ints,
        w_shape: Ints,
        b_shape: Ints | None,
        mask_shape: Ints | None,
        stride: object = 1,
        padding: object = 0,
        dilation: object = 1,
    ) -> "DeformGeometry":
        """Check the shapes and options of a deformable convolution against each other.

        The numbers of groups follow from the shapes.

        Parameters
        ----------
        op : str
            Function that an error message names.
        x_shape, w_shape, b_shape, stride, padding, dilation
            See `ConvGeometry.make`.
        offset_shape : tuple of int
            (n, 2 * offset groups * kh * kw, oh, ow).
        mask_shape : tuple of int or None
            (n, offset groups * kh * kw, oh, ow).

        Raises
        ------
        TypeError, ValueError
            An argument has a wrong type or value; the message names it.
        """
        fits = len(x_shape) == len(w_shape) == 4 and w_shape[1] > 0 and x_shape[1] % w_shape[1] == 0
        groups = max(1, x_shape[1] // w_shape[1]) if fits else 1  # what does not fit is refused there
        conv = ConvGeometry.make(op, x_shape, w_shape, b_shape, stride, padding, dilation, groups)
        return _deform_geometry(op, conv, tuple(offset_shape), None if mask_shape is None else tuple(mask_shape))

    @property
    def taps(self) -> int:
        """Number of taps of the kernel."""
        return prod(self.conv.window.kernel)

    @property
    def offset_shape(self) -> Ints:
        """Shape of the offsets, (n, 2 * offset groups * kh * kw, oh, ow)."""
        return (self.conv.batch, 2 * self.offset_groups * self.taps, *self.conv.output_size)

    @property
    def mask_shape(self) -> Ints:
        """Shape of a mask, (n, offset groups * kh * kw, oh, ow)."""
        return (self.conv.batch, self.offset_groups * self.taps, *self.conv.output_size)

    @property
    def offset_channels(self) -> int:
        """Channels of the input that share their offsets."""
        return self.conv.in_channels // self.offset_groups

    @property
    def segment(self) -> int:
        """Channels of the largest equal parts of the input that lie in one group and share their offsets."""
        return gcd(self.conv.group_in, self.offset_channels)


@lru_cache(maxsize=1024)
def _deform_geometry(op: str, conv: ConvGeometry, offset_shape: Ints, mask_shape: Ints | None) -> DeformGeometry:
    pair = 2 * prod(conv.window.kernel)
    offset_groups = offset_shape[1] // pair if len(offset_shape) == 4 else 0
    geometry = DeformGeometry(conv, max(1, offset_groups), mask_shape is not None)
    if offset_shape != geometry.offset_shape:
        raise ValueError(
            f"{op}: offset must have shape (n, 2 * offset groups * kh * kw, oh, ow), here "
            f"({conv.batch}, a multiple of {pair}, {', '.join(map(str, conv.output_size))}), got {offset_shape}"
        )
    if conv.in_channels % offset_groups:
        raise ValueError(
            f"{op}: the offset groups must divide the {conv.in_channels} channels of x, "
            f"got {offset_groups} from offset of shape {offset_shape}"
        )
    if mask_shape not in (None, geometry.mask_shape):
        raise ValueError(
            f"{op}: mask must have shape {geometry.mask_shape}, a factor for each of the {offset_groups} * {pair // 2} "
            f"taps at each output, got {mask_shape}"
        )
    window = conv.window
    reach = max(
        before + (outputs - 1) * step + extent
        for (before, _), outputs, step, extent in zip(
            window.padding, conv.output_size, window.stride, window.extent, strict=True
        )
    )
    if max(reach, prod(conv.input_size)) >= FARTHEST:
        raise ValueError(
            f"{op}: the input's plane and the reach of the taps must stay below 2**30 elements, "
            f"got an input of {conv.input_size} and a reach of {reach}"
        )
    return geometry
