"""Sizes where channels become blocks of pixels, or blocks of pixels channels."""

from fastconv.arguments import Ints, as_int
from fastconv.geometry.shapes import split_input


def space_shape(op: str, x_shape: Ints, name: str, block: object) -> tuple[int, Ints]:
    """Return the size of a block, called `name`, and the shape when channels become blocks of pixels.

    Raises
    ------
    TypeError, ValueError
        The size is no positive int, or its square does not divide the channels.
    """
    block = as_int(op, name, block, low=1)
    n, channels, (h, w) = split_input(op, x_shape, 2)
    if channels % block**2:
        raise ValueError(
            f"{op}: {name}**2 = {block**2} must divide the channels of x, got {channels} of shape {tuple(x_shape)}"
        )
    return block, (n, channels // block**2, h * block, w * block)


def depth_shape(op: str, x_shape: Ints, name: str, block: object) -> tuple[int, Ints]:
    """Return the size of a block, called `name`, and the shape when blocks of pixels become channels.

    Raises
    ------
    TypeError, ValueError
        The size is no positive int, or it does not divide height and width.
    """
    block = as_int(op, name, block, low=1)
    n, channels, (h, w) = split_input(op, x_shape, 2)
    if h % block or w % block:
        raise ValueError(f"{op}: {name} = {block} must divide height and width of x, got shape {tuple(x_shape)}")
    return block, (n, channels * block**2, h // block, w // block)
