"""Windows as columns, tap by tap, and columns added up."""

from collections.abc import Iterator

import numpy as np

from fastconv.geometry import Window
from fastconv.reference.overlap import overlap


def unfold(x, kernel_size, dilation=1, padding=0, stride=1) -> np.ndarray:
    """Return the columns, ([n,] c * kh * kw, oh * ow): what each tap meets at each position, 0 in padding."""
    window = Window.make("reference.unfold", 2, kernel_size, stride, padding, dilation, input_size=x.shape[-2:])
    *batch, channels = x.shape[:-2]
    positions = window.output_size(x.shape[-2:])
    columns = np.zeros((*batch, channels, *window.kernel, *positions))
    for position, taps, places in _meetings(window, x.shape[-2:], positions):
        columns[..., *taps, *position] = x[..., *places]
    return columns.reshape(*batch, channels * np.prod(window.kernel), np.prod(positions))


def unfold_backward(dy, x, kernel_size, dilation=1, padding=0, stride=1) -> np.ndarray:
    """Return dx: each element gets what its copies got."""
    return fold(dy, x.shape[-2:], kernel_size, dilation, padding, stride)


@np.errstate(all="ignore")
def fold(x, output_size, kernel_size, dilation=1, padding=0, stride=1) -> np.ndarray:
    """Return the image, ([n,] c, h, w): the sum of the columns, each put where it came from."""
    size = (output_size, output_size) if isinstance(output_size, int) else tuple(output_size)
    window = Window.make("reference.fold", 2, kernel_size, stride, padding, dilation, input_size=size)
    *batch, rows, _ = x.shape
    positions = window.output_size(size)
    channels = rows // int(np.prod(window.kernel))
    columns = np.asarray(x, np.float64).reshape(*batch, channels, *window.kernel, *positions)
    image = np.zeros((*batch, channels, *size))
    for position, taps, places in _meetings(window, size, positions):
        image[..., *places] += columns[..., *taps, *position]
    return image


def fold_backward(dy, x, output_size, kernel_size, dilation=1, padding=0, stride=1) -> np.ndarray:
    """Return dx: each entry of a column gets what the element got to which it was added."""
    return unfold(dy, kernel_size, dilation, padding, stride)


def _meetings(window, size, positions) -> Iterator[tuple]:
    for position in np.ndindex(positions):
        yield position, *overlap(window, size, position)
