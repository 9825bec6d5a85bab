"""How a caller lays samples out, and how the kernels do: with a batch axis, channels before the spatial axes."""

import numpy as np

from fastconv import runtime
from fastconv.arguments import as_word
from fastconv.cpu import layout as axes

LAYOUTS = {1: ("NCW", "NWC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}
"""Of each number of spatial axes the default layout, and the one with channels last."""


class Form:
    """The form of the samples of one call: with or without a batch axis, channels first or last.

    An input with one axis fewer than a batch has is one sample; its result has no batch axis either.

    Parameters
    ----------
    op : str
        Function that an error message names.
    ndim : int
        Number of spatial axes.
    x : ndarray
        The input.
    layout : str
        One of `LAYOUTS`.

    Raises
    ------
    TypeError, ValueError
        `layout` is no string, or another one.
    """

    __slots__ = ("_channels_last", "_ndim", "_unbatched")

    def __init__(self, op: str, ndim: int, x: np.ndarray, layout: str):
        known = LAYOUTS[ndim]
        self._ndim, self._channels_last = ndim, as_word(op, "layout", layout, known) == known[1]
        self._unbatched = x.ndim == ndim + 1

    def inside(self, array: np.ndarray | None) -> np.ndarray | None:
        """Return (n, c, *size) for the kernels, of the input or of what has the form of the result; None stays None."""
        if array is None:
            return None
        if self._unbatched:
            array = array[None]
        if not self._channels_last or array.ndim != self._ndim + 2:
            return array
        inner = runtime.empty((array.shape[0], array.shape[-1], *array.shape[1:-1]), array.dtype)
        axes.channels_first(array, inner)
        return inner

    def outside(self, array: np.ndarray | None) -> np.ndarray | None:
        """Return a result, (n, c, *size), in the form of the input; None stays None."""
        if array is None:
            return None
        if self._channels_last:
            outer = runtime.empty((array.shape[0], *array.shape[2:], array.shape[1]), array.dtype)
            axes.channels_last(array, outer)
            array = outer
        return array[0] if self._unbatched else array


def add_batch(rank: int, *arrays: np.ndarray | None) -> tuple:
    """Return whether the first array lacks its batch axis, and the arrays, with that axis if it does.

    Parameters
    ----------
    rank : int
        Number of axes of an array with a batch.
    *arrays : ndarray or None
    """
    if arrays[0].ndim != rank - 1:
        return False, *arrays
    return True, *(None if array is None else array[None] for array in arrays)


def remove_batch(single: bool, array: np.ndarray | None) -> np.ndarray | None:
    """Undo `add_batch`: drop the first axis if `single`."""
    return array[0] if single and array is not None else array
