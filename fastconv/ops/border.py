"""What lies around the input of a convolution: zeros, or a repetition of the input itself."""

import numpy as np

from fastconv import runtime
from fastconv.arguments import PADDING_MODES, as_word
from fastconv.cpu import pad
from fastconv.geometry import ConvGeometry
from fastconv.geometry.shapes import check_bytes


class Border:
    """The border of one call. Zeros are left to the kernels, which do not store them; other values are.

    Parameters
    ----------
    op : str
        Function that an error message names.
    geometry : ConvGeometry
        The convolution as the caller sees it.
    mode : str
        One of `PADDING_MODES`, with PyTorch's meaning.

    Attributes
    ----------
    geometry : ConvGeometry
        The convolution that remains to be computed.

    Raises
    ------
    TypeError, ValueError
        `mode` is no string, or another one, or the input is too small to be repeated so far.
    """

    __slots__ = ("_mode", "_pairs", "_shape", "geometry")

    def __init__(self, op: str, geometry: ConvGeometry, mode: str):
        as_word(op, "padding_mode", mode, PADDING_MODES)
        self._mode, self._pairs, self._shape = mode, geometry.window.padding, geometry.x_shape
        self.geometry = geometry
        if mode == "zeros" or not any(map(any, self._pairs)):
            self._mode = "zeros"
            return
        for size, pair in zip(geometry.input_size, self._pairs, strict=True):
            most = {"reflect": size - 1, "circular": size}.get(mode, max(pair))
            if max(pair) > most:
                raise ValueError(
                    f"{op}: padding must be at most {most} for an axis of {size} elements with "
                    f"padding_mode={mode!r}, got {pair}"
                )
        self.geometry = geometry.padded()
        check_bytes(op, self.geometry.x_shape, "a padded input")

    def add(self, x: np.ndarray) -> np.ndarray:
        """Return x with the border that has to be stored."""
        if self._mode == "zeros":
            return x
        padded = runtime.empty(self.geometry.x_shape, x.dtype)
        pad.pad(x, padded, self._pairs, self._mode)
        return padded

    def gather(self, dx: np.ndarray) -> np.ndarray:
        """Return the gradient for x from that for `add(x)`."""
        if self._mode == "zeros":
            return dx
        inner = runtime.empty(self._shape, dx.dtype)
        pad.pad_backward(dx, inner, self._pairs, self._mode)
        return inner
