"""Channels that become pixels, and pixels that become channels: nothing is lost, everything moves."""

import numpy as np

from fastconv import runtime
from fastconv.arrays import reals
from fastconv.cpu import rearrange
from fastconv.geometry.rearrange import depth_shape, space_shape
from fastconv.geometry.shapes import check_gradient
from fastconv.ops.batch import add_batch, remove_batch


def pixel_shuffle(x: np.ndarray, upscale_factor: int) -> np.ndarray:
    """Make blocks of pixels of channels: the sub-pixel convolution's last step.

    Channel ``(c * r + i) * r + j`` gives pixel (i, j) of each block of r x r, as in PyTorch. Source: W. Shi et al.,
    *Real-time single image and video super-resolution using an efficient sub-pixel convolutional neural network*
    (2016), equation 4.

    Parameters
    ----------
    x : (n, c * r * r, h, w) ndarray
        float32 or float64; the batch may be left out.
    upscale_factor : int
        r, the size of a block.

    Returns
    -------
    (n, c, h * r, w * r) ndarray
        `y`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type, shape or value; the message names it.
    """
    return _moved("pixel_shuffle", TO_SPACE, x, "upscale_factor", upscale_factor, "CRD")


def pixel_shuffle_backward(dy: np.ndarray, x: np.ndarray, upscale_factor: int) -> np.ndarray:
    """Gradient of `pixel_shuffle`: every gradient goes back to where its number came from.

    Parameters
    ----------
    dy : (n, c, h * r, w * r) ndarray
        Gradient of the result.
    x : (n, c * r * r, h, w) ndarray
        What `pixel_shuffle` was given; only its shape and dtype count.
    upscale_factor
        As `pixel_shuffle` was given.

    Returns
    -------
    (n, c * r * r, h, w) ndarray
        `dx`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type, shape or value; the message names it.
    """
    return _moved_back("pixel_shuffle_backward", TO_SPACE, dy, x, "upscale_factor", upscale_factor, "CRD")


def pixel_unshuffle(x: np.ndarray, downscale_factor: int) -> np.ndarray:
    """Make channels of blocks of pixels: the inverse of `pixel_shuffle`.

    Parameters
    ----------
    x : (n, c, h * r, w * r) ndarray
        float32 or float64; the batch may be left out.
    downscale_factor : int
        r, the size of a block.

    Returns
    -------
    (n, c * r * r, h, w) ndarray
        `y`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type, shape or value; the message names it.
    """
    return _moved("pixel_unshuffle", TO_DEPTH, x, "downscale_factor", downscale_factor, "CRD")


def pixel_unshuffle_backward(dy: np.ndarray, x: np.ndarray, downscale_factor: int) -> np.ndarray:
    """Gradient of `pixel_unshuffle`: every gradient goes back to where its number came from.

    Parameters
    ----------
    dy : (n, c * r * r, h, w) ndarray
        Gradient of the result.
    x : (n, c, h * r, w * r) ndarray
        What `pixel_unshuffle` was given; only its shape and dtype count.
    downscale_factor
        As `pixel_unshuffle` was given.

    Returns
    -------
    (n, c, h * r, w * r) ndarray
        `dx`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type, shape or value; the message names it.
    """
    return _moved_back("pixel_unshuffle_backward", TO_DEPTH, dy, x, "downscale_factor", downscale_factor, "CRD")


def depth_to_space(x: np.ndarray, block_size: int, mode: str = "DCR") -> np.ndarray:
    """Make blocks of pixels of channels, as ONNX's DepthToSpace does.

    With C channels in the result, pixel (i, j) of each block of r x r is channel ``(i * r + j) * C + c`` in the order
    'DCR' (ONNX and TensorFlow), ``(j * r + i) * C + c`` in 'SPD' (see `space_to_depth`), and ``(c * r + i) * r + j`` in
    'CRD' (as in `pixel_shuffle`).

    Parameters
    ----------
    x : (n, c * r * r, h, w) ndarray
        float32 or float64; the batch may be left out.
    block_size : int
        r, the size of a block.
    mode : {'DCR', 'SPD', 'CRD'}
        What the number of a channel counts slowest to fastest: see above.

    Returns
    -------
    (n, c, h * r, w * r) ndarray
        `y`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type, shape or value; the message names it.
    """
    return _moved("depth_to_space", TO_SPACE, x, "block_size", block_size, mode)


def depth_to_space_backward(dy: np.ndarray, x: np.ndarray, block_size: int, mode: str = "DCR") -> np.ndarray:
    """Gradient of `depth_to_space`: every gradient goes back to where its number came from.

    Parameters
    ----------
    dy : (n, c, h * r, w * r) ndarray
        Gradient of the result.
    x : (n, c * r * r, h, w) ndarray
        What `depth_to_space` was given; only its shape and dtype count.
    block_size, mode
        As `depth_to_space` was given.

    Returns
    -------
    (n, c * r * r, h, w) ndarray
        `dx`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type, shape or value; the message names it.
    """
    return _moved_back("depth_to_space_backward", TO_SPACE, dy, x, "block_size", block_size, mode)


def space_to_depth(x: np.ndarray, block_size: int, mode: str = "DCR") -> np.ndarray:
    """Make channels of blocks of pixels: the inverse of `depth_to_space`, whose orders it has.

    'DCR' is that of ONNX's SpaceToDepth. 'SPD' is the order of R. Sunkara and T. Luo, *No more strided convolutions or
    pooling: a new CNN building block for low-resolution images and small objects* (2022), section 3.1, whose sub-maps
    count rows first.

    Parameters
    ----------
    x : (n, c, h * r, w * r) ndarray
        float32 or float64; the batch may be left out.
    block_size : int
        r, the size of a block.
    mode : {'DCR', 'SPD', 'CRD'}
        What the number of a channel counts slowest to fastest: see above.

    Returns
    -------
    (n, c * r * r, h, w) ndarray
        `y`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type, shape or value; the message names it.
    """
    return _moved("space_to_depth", TO_DEPTH, x, "block_size", block_size, mode)


def space_to_depth_backward(dy: np.ndarray, x: np.ndarray, block_size: int, mode: str = "DCR") -> np.ndarray:
    """Gradient of `space_to_depth`: every gradient goes back to where its number came from.

    Parameters
    ----------
    dy : (n, c * r * r, h, w) ndarray
        Gradient of the result.
    x : (n, c, h * r, w * r) ndarray
        What `space_to_depth` was given; only its shape and dtype count.
    block_size, mode
        As `space_to_depth` was given.

    Returns
    -------
    (n, c, h * r, w * r) ndarray
        `dx`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type, shape or value; the message names it.
    """
    return _moved_back("space_to_depth_backward", TO_DEPTH, dy, x, "block_size", block_size, mode)


# Each way with what it makes of a shape, and the kernel that goes it; its gradient goes the other way.
TO_SPACE = space_shape, rearrange.to_space, rearrange.to_depth
TO_DEPTH = depth_shape, rearrange.to_depth, rearrange.to_space


def _moved(op, way, x, name, block, mode):
    shape, move, _ = way
    (x,) = reals(op, x=x)
    single, x = add_batch(4, x)
    block, y_shape = shape(op, x.shape, name, block)
    y = runtime.empty(y_shape, x.dtype)
    move(x, y, block, _order(op, mode))
    return remove_batch(single, y)


def _moved_back(op, way, dy, x, name, block, mode):
    shape, _, move_back = way
    dy, x = reals(op, dy=dy, x=x)
    single, x, dy = add_batch(4, x, dy)
    block, y_shape = shape(op, x.shape, name, block)
    check_gradient(op, dy.shape, y_shape)
    dx = runtime.empty(x.shape, x.dtype)
    move_back(dy, dx, block, _order(op, mode))
    return remove_batch(single, dx)


def _order(op: str, mode: str) -> str:
    if mode not in rearrange.ORDERS:
        raise ValueError(f"{op}: mode must be one of {', '.join(map(repr, rearrange.ORDERS))}, got {mode!r}")
    return mode
