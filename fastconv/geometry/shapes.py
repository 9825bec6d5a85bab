"""Checks on shapes that every op with a window shares."""

from math import prod

from fastconv.arguments import MAX_SIZE, Ints

_ITEM_BYTES = 8  # the widest element: float64


def split_input(op: str, x_shape: Ints, ndim: int) -> tuple[int, int, Ints]:
    """Split the shape of x into batch, channels and spatial sizes; only the batch may be empty."""
    if len(x_shape) != ndim + 2:
        raise ValueError(f"{op}: x must have {ndim + 2} axes (n, c, *size), got shape {x_shape}")
    batch, channels, *size = x_shape
    if min(channels, *size) < 1:
        raise ValueError(f"{op}: x may be empty along its first axis (the batch) only, got shape {x_shape}")
    return batch, channels, tuple(size)


def check_bias(op: str, b_shape: Ints | None, out_channels: int) -> None:
    """Raise ValueError unless there is no bias, or one number per output channel."""
    if b_shape is not None and b_shape != (out_channels,):
        raise ValueError(f"{op}: b must have shape ({out_channels},), one bias per output channel, got {b_shape}")


def check_bytes(op: str, shape: Ints, what: str = "an output") -> None:
    """Refuse an array that int64 offsets cannot address, even where an empty batch makes it empty."""
    if max(1, shape[0]) * prod(shape[1:]) * _ITEM_BYTES > MAX_SIZE:
        raise ValueError(f"{op}: {what} of shape {shape} exceeds 2**63 - 1 bytes; check stride and padding")


def check_gradient(op: str, dy_shape: Ints, y_shape: Ints) -> None:
    """Raise ValueError unless `dy_shape` is the shape of the output."""
    if tuple(dy_shape) != y_shape:
        raise ValueError(f"{op}: dy must have the shape of the output, {y_shape}, got {tuple(dy_shape)}")
