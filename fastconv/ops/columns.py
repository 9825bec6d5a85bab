"""Windows of an image as columns (im2col), and columns added up to an image (col2im): each is the other's gradient."""

from collections.abc import Sequence
from math import prod

import numpy as np

from fastconv import runtime
from fastconv.arguments import as_ints
from fastconv.arrays import check_shape, reals
from fastconv.cpu import columns
from fastconv.geometry import Window

Size = int | Sequence[int]


def unfold(x: np.ndarray, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1) -> np.ndarray:
    """Lay out the windows of a convolution as columns: im2col.

    A convolution is then a product of matrices: K. Chellapilla, S. Puri, P. Simard, *High performance convolutional
    neural networks for document processing* (2006), section 2.1.

    Parameters
    ----------
    x : ([n,] c, h, w) ndarray
        float32 or float64.
    kernel_size, dilation, padding, stride : int or (int, int)
        As in `conv2d`; padding also as pairs (before, after).

    Returns
    -------
    ([n,] c * kh * kw, oh * ow) ndarray
        A row for each tap of each channel, a column for each position of the window.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type, shape or value; the message names it.
    """
    op = "unfold"
    (x,) = reals(op, x=x)
    return _unfold(x, *_sizes(op, x.shape, kernel_size, dilation, padding, stride))


def unfold_backward(
    dy: np.ndarray, x: np.ndarray, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1
) -> np.ndarray:
    """Gradient of `unfold`: `fold` of dy.

    Parameters
    ----------
    dy, x : ndarray
        Gradient of the result, and what `unfold` was given; of `x` only the shape and dtype count.
    kernel_size, dilation, padding, stride
        As `unfold` was given them.

    Returns
    -------
    ndarray
        `dx`, of the shape of `x`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type, shape or value; the message names it.
    """
    op = "unfold_backward"
    dy, x = reals(op, dy=dy, x=x)
    size, window, shape = _sizes(op, x.shape, kernel_size, dilation, padding, stride)
    check_shape(op, "dy", dy, shape)
    return _fold(dy, x.shape, size, window)


def fold(
    x: np.ndarray, output_size: Size, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1
) -> np.ndarray:
    """Add up columns where their windows overlap: col2im.

    Each element is the sum of what the taps give it, in the order of the taps.

    Parameters
    ----------
    x : ([n,] c * kh * kw, oh * ow) ndarray
        float32 or float64, as `unfold` gives it.
    output_size : int or (int, int)
        Height and width of the image.
    kernel_size, dilation, padding, stride : int or (int, int)
        As in `unfold`.

    Returns
    -------
    ([n,] c, h, w) ndarray

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type, shape or value; the message names it.
    """
    op = "fold"
    (x,) = reals(op, x=x)
    return _fold(x, *_sizes_of_columns(op, x.shape, output_size, kernel_size, dilation, padding, stride))


def fold_backward(
    dy: np.ndarray,
    x: np.ndarray,
    output_size: Size,
    kernel_size: Size,
    dilation: Size = 1,
    padding: Size = 0,
    stride: Size = 1,
) -> np.ndarray:
    """Gradient of `fold`: `unfold` of dy.

    Parameters
    ----------
    dy, x : ndarray
        Gradient of the result, and what `fold` was given; of `x` only the shape and dtype count.
    output_size, kernel_size, dilation, padding, stride
        As `fold` was given them.

    Returns
    -------
    ndarray
        `dx`, of the shape of `x`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type, shape or value; the message names it.
    """
    op = "fold_backward"
    dy, x = reals(op, dy=dy, x=x)
    shape, size, window = _sizes_of_columns(op, x.shape, output_size, kernel_size, dilation, padding, stride)
    check_shape(op, "dy", dy, shape)
    return _unfold(dy, size, window, x.shape)


# ---- what they share -------------------------------------------------------------------------------------------

Shape = tuple[int, ...]


def _unfold(image: np.ndarray, size: Shape, window: Window, shape: Shape) -> np.ndarray:
    y = runtime.empty(shape, image.dtype)
    columns.plan(prod(image.shape[:-2]), size, window, image.dtype, False)(image, y)
    return y


def _fold(y: np.ndarray, shape: Shape, size: Shape, window: Window) -> np.ndarray:
    image = runtime.empty(shape, y.dtype)
    columns.plan(prod(shape[:-2]), size, window, y.dtype, True)(image, y)
    return image


def _sizes(op: str, shape: Shape, kernel, dilation, padding, stride) -> tuple[Shape, Window, Shape]:
    """Return the size of an image, the window, and the shape of the columns."""
    if len(shape) not in (3, 4) or 0 in shape[-3:]:
        raise ValueError(f"{op}: x must have shape ([n,] c, h, w), empty at most in n, got {shape}")
    size = shape[-2:]
    window = Window.make(op, 2, kernel, stride, padding, dilation, input_size=size)
    places = prod(window.output_size(size, op))
    return size, window, (*shape[:-3], shape[-3] * prod(window.kernel), places)


def _sizes_of_columns(op: str, shape: Shape, output_size, kernel, dilation, padding, stride):
    """Return the shape and the size of the image that columns come from, and the window."""
    size = as_ints(op, "output_size", output_size, 2, low=1)
    window = Window.make(op, 2, kernel, stride, padding, dilation, input_size=size)
    taps, positions = prod(window.kernel), window.output_size(size, op)
    if len(shape) not in (2, 3) or not shape[-2] or shape[-2] % taps or shape[-1] != prod(positions):
        raise ValueError(
            f"{op}: x must have shape ([n,] c * {taps}, {prod(positions)}) for {taps} taps at {positions} positions, "
            f"got {shape}"
        )
    return (*shape[:-2], shape[-2] // taps, *size), size, window
