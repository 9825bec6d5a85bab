"""The arithmetic of sizes as functions to call: how large is what a convolution, a pooling or its transpose gives."""

from fastconv.arguments import Ints, as_ints
from fastconv.geometry.conv_transpose import transposed_size
from fastconv.geometry.window import Window


def output_size(
    input_size: int | Ints, kernel_size: int | Ints, stride=1, padding=0, dilation=1, ceil_mode: bool = False
) -> int | Ints:
    """Return how many outputs a convolution or a pooling has.

    ``(n + before + after - dilation * (kernel_size - 1) - 1) // stride + 1`` along each axis: relationship 15 of
    V. Dumoulin and F. Visin, *A guide to convolution arithmetic for deep learning* (2016), arXiv:1603.07285, with a
    dilation.

    Parameters
    ----------
    input_size : int or tuple of int
        Of one axis, or of each. What follows is per axis, too; a number stands for all of them.
    kernel_size, stride, dilation : int or tuple of int
    padding : int, tuple of int or of (int, int), 'same' or 'valid'
    ceil_mode : bool
        Whether a last window that hangs over the padded end counts, as in pooling.

    Returns
    -------
    int or tuple of int
        As `input_size`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type or value, or the window does not fit; the message has the formula.

    Examples
    --------
    >>> output_size(224, 7, stride=2, padding=3)
    112
    >>> output_size((28, 28), 5, padding="same")
    (28, 28)
    """
    sizes, ndim = _sizes("output_size", input_size)
    window = Window.make(
        "output_size", ndim, kernel_size, stride, padding, dilation, ceil_mode, input_size=sizes
    )  # fmt: skip
    outputs = window.output_size(sizes, "output_size")
    return outputs if isinstance(input_size, tuple | list) else outputs[0]


def conv_transpose_output_size(
    input_size: int | Ints, kernel_size: int | Ints, stride=1, padding=0, output_padding=0, dilation=1
) -> int | Ints:
    """Return how many outputs a transposed convolution has.

    ``(n - 1) * stride - before - after + dilation * (kernel_size - 1) + 1 + output_padding`` along each axis.

    Parameters
    ----------
    input_size, kernel_size, stride, padding, dilation
        As in `output_size`; no words for the padding.
    output_padding : int or tuple of int
        Less than the stride or the dilation.

    Returns
    -------
    int or tuple of int
        As `input_size`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type or value, or nothing is left; the message has the formula.

    Examples
    --------
    >>> conv_transpose_output_size(7, 4, stride=2, padding=1)
    14
    """
    op = "conv_transpose_output_size"
    sizes, ndim = _sizes(op, input_size)
    if isinstance(padding, str):
        raise ValueError(f"{op}: padding must be numbers, which say what the output loses, got {padding!r}")
    window = Window.make(op, ndim, kernel_size, stride, padding, dilation)
    outputs = transposed_size(op, window, as_ints(op, "output_padding", output_padding, ndim), sizes)
    return outputs if isinstance(input_size, tuple | list) else outputs[0]


def _sizes(op: str, input_size: int | Ints) -> tuple[Ints, int]:
    ndim = len(input_size) if isinstance(input_size, tuple | list) else 1
    return as_ints(op, "input_size", input_size, ndim, low=1), ndim
