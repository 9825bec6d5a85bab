"""Channels that become pixels, and pixels that become channels."""

import numpy as np


def pixel_shuffle(x, upscale_factor) -> np.ndarray:
    """Return (n, c, h r, w r) for x of (n, c r r, h, w): pixel (i, j) of a block is channel ``(c r + i) r + j``."""
    return depth_to_space(x, upscale_factor, "CRD")


def pixel_shuffle_backward(dy, x, upscale_factor) -> np.ndarray:
    """Return dx: every gradient goes back to where its number came from."""
    return depth_to_space_backward(dy, x, upscale_factor, "CRD")


def pixel_unshuffle(x, downscale_factor) -> np.ndarray:
    """Return (n, c r r, h, w) for x of (n, c, h r, w r): the inverse of `pixel_shuffle`."""
    return space_to_depth(x, downscale_factor, "CRD")


def pixel_unshuffle_backward(dy, x, downscale_factor) -> np.ndarray:
    """Return dx: every gradient goes back to where its number came from."""
    return space_to_depth_backward(dy, x, downscale_factor, "CRD")


def depth_to_space(x, block_size, mode="DCR") -> np.ndarray:
    """Return (n, c, h r, w r) for x of (n, c r r, h, w): pixel (i, j) of each block is the channel `_channel` says."""
    n, channels, h, w = x.shape
    y = np.zeros((n, channels // block_size**2, h * block_size, w * block_size))
    for c, i, j in np.ndindex(y.shape[1], block_size, block_size):
        y[:, c, i::block_size, j::block_size] = x[:, _channel(c, i, j, y.shape[1], block_size, mode)]
    return y


def depth_to_space_backward(dy, x, block_size, mode="DCR") -> np.ndarray:
    """Return dx: every gradient goes back to where its number came from."""
    return space_to_depth(dy, block_size, mode)


def space_to_depth(x, block_size, mode="DCR") -> np.ndarray:
    """Return (n, c r r, h, w) for x of (n, c, h r, w r): the inverse of `depth_to_space`."""
    n, channels, h, w = x.shape
    y = np.zeros((n, channels * block_size**2, h // block_size, w // block_size))
    for c, i, j in np.ndindex(channels, block_size, block_size):
        y[:, _channel(c, i, j, channels, block_size, mode)] = x[:, c, i::block_size, j::block_size]
    return y


def space_to_depth_backward(dy, x, block_size, mode="DCR") -> np.ndarray:
    """Return dx: every gradient goes back to where its number came from."""
    return depth_to_space(dy, block_size, mode)


def _channel(c: int, i: int, j: int, channels: int, r: int, mode: str) -> int:
    """Return the channel of pixel (i, j) of a block, by the order of the three parts of the channels' number."""
    parts = {
        "DCR": ((i, r), (j, r), (c, channels)),  # depth, column, row: what varies slowest comes first
        "SPD": ((j, r), (i, r), (c, channels)),
        "CRD": ((c, channels), (i, r), (j, r)),
    }[mode]
    (slow, _), (middle, middles), (fast, fasts) = parts
    return (slow * middles + middle) * fasts + fast
