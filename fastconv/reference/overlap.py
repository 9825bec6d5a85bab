"""Where a window meets its input."""

from fastconv.geometry import Ints, Window

Slices = tuple[slice, ...]


def overlap(window: Window, input_size: Ints, position: Ints) -> tuple[Slices, Slices]:
    """Return which taps of a window lie on real elements, and on which.

    Padding is never read: a tap that lies in it is left out, so it contributes nothing, not even ``0 * inf``.

    Parameters
    ----------
    window : Window
    input_size : tuple of int
    position : tuple of int
        Index of the output element.

    Returns
    -------
    taps, places : tuple of slice
        For each axis a slice of the kernel and one of the input, of equal lengths.
    """
    axes = zip(position, input_size, window.kernel, window.stride, window.dilation, window.padding, strict=True)
    pairs = [_overlap_of_axis(*axis) for axis in axes]
    return tuple(taps for taps, _ in pairs), tuple(places for _, places in pairs)


def _overlap_of_axis(o: int, size: int, kernel: int, stride: int, dilation: int, padding: tuple) -> tuple[slice, slice]:
    start = o * stride - padding[0]  # where tap 0 lies
    first = max(0, -(start // dilation))  # smallest t with start + t * dilation >= 0
    end = min(kernel, -((start - size) // dilation))  # smallest t with start + t * dilation >= size
    end = max(first, end)
    return slice(first, end), slice(start + first * dilation, start + end * dilation, dilation)
