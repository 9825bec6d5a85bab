"""Convolution and correlation of images with a border, as in ``scipy.signal``."""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from fastconv.signal.modes import MODES, check_valid, extent
from fastconv.signal.slide import known, slide

BORDERS = {"fill": "constant", "pad": "constant", "wrap": "wrap", "circular": "wrap", "symm": "reflect",
           "symmetric": "reflect"}  # fmt: skip
LITTLE = 3 << 12  # products of two images below which SciPy is done before a kernel has started


def convolve2d(
    in1: ArrayLike, in2: ArrayLike, mode: str = "full", boundary: str = "fill", fillvalue: complex = 0
) -> NDArray:
    """Convolve two images: ``scipy.signal.convolve2d``, and batches.

    Parameters
    ----------
    in1 : (..., height, width) array_like
        First input, of any number type: an image, or any number of them, which SciPy does not take.
    in2 : (height, width) array_like
        Second input.
    mode : {'full', 'same', 'valid'}, optional
        'full': wherever the inputs overlap. 'same': of `in1`'s shape, the middle of that. 'valid': where one input lies
        wholly within the other.
    boundary : {'fill', 'wrap', 'symm'}, optional
        What lies around `in1`: a constant, its other side, or its mirror image. Also 'pad', 'circular', 'symmetric'.
    fillvalue : number, optional
        The constant.

    Returns
    -------
    ndarray
        Of the type that NumPy gives to a product of the inputs; sums of integers wrap around.

    Raises
    ------
    ValueError
        An input has too few axes, or the second too many; `mode` or `boundary` is unknown; `fillvalue` is not one
        number; in mode 'valid' neither input is at least as large as the other along both axes.
    """
    a, b = np.asarray(in1), np.asarray(in2)
    if b.ndim == a.ndim == 2 and a.size * b.size <= LITTLE:
        return scipy.signal.convolve2d(a, b, mode, boundary, fillvalue)
    return _planar("convolve2d", a, b, mode, boundary, fillvalue)


def correlate2d(
    in1: ArrayLike, in2: ArrayLike, mode: str = "full", boundary: str = "fill", fillvalue: complex = 0
) -> NDArray:
    """Correlate two images: ``scipy.signal.correlate2d``, and batches.

    Parameters
    ----------
    in1 : (..., height, width) array_like
        First input, of any number type.
    in2 : (height, width) array_like
        Second input. Complex numbers are conjugated.
    mode, boundary, fillvalue
        As for `convolve2d`. The middle that 'same' takes is one further along axes where `in2` has an even size.

    Returns
    -------
    ndarray
        Of the type that NumPy gives to a product of the inputs; sums of integers wrap around.

    Raises
    ------
    ValueError
        As `convolve2d`.

    Notes
    -----
    Where in mode 'valid' the second input is the larger one, SciPy 1.17 leaves complex results unconjugated; here they
    are those of `correlate`.
    """
    a, b = np.asarray(in1), np.asarray(in2)
    if b.ndim == a.ndim == 2 and a.size * b.size <= LITTLE:
        return scipy.signal.correlate2d(a, b, mode, boundary, fillvalue)
    return _planar("correlate2d", a, b, mode, boundary, fillvalue)


def _planar(op: str, a: NDArray, b: NDArray, mode: str, boundary: str, fillvalue: complex) -> NDArray:
    if a.ndim < 2 or b.ndim != 2:
        raise ValueError(f"{op}: images must have at least 2 axes and the second input 2, got {a.ndim} and {b.ndim}")
    if mode not in MODES:
        raise ValueError(f"{op}: mode must be 'full', 'same' or 'valid', got {mode!r}")
    if boundary not in BORDERS:
        raise ValueError(f"{op}: boundary must be 'fill', 'wrap' or 'symm', got {boundary!r}")
    check_valid(op, mode, a.shape[-2:], b.shape)
    if not known(a, b) or a.dtype.kind == b.dtype.kind == "b":
        return getattr(scipy.signal, op)(a, b, mode, boundary, fillvalue)
    correlates, result = op == "correlate2d", np.result_type(a, b)
    starts, outputs = extent(mode, a.shape[-2:], b.shape)
    if correlates:
        starts = [k // 2 for k in b.shape] if mode == "same" else starts
        b = b.conj() if b.dtype.kind == "c" else b
    first = [start - k + 1 for start, k in zip(starts, b.shape, strict=True)]
    a = a.astype(result) if result.kind == "c" != a.dtype.kind else a
    # In mode 'valid' no window meets the border; those of a second input that is larger reach beyond it, to zeros.
    outside = _number(op, fillvalue, result)
    border, outside = ("constant", 0) if mode == "valid" else (BORDERS[boundary], outside)
    return slide(a, b if correlates else b[::-1, ::-1], outputs, first, result=result, border=border, outside=outside)


def _number(op: str, fillvalue: complex, result: np.dtype) -> NDArray:
    """Return what lies around the image, as SciPy casts it."""
    value = np.asarray(fillvalue)
    if value.size != 1:
        raise ValueError(f"{op}: fillvalue must be one number, got an array of shape {value.shape}")
    try:
        return value.reshape(()).astype(result)
    except (TypeError, ValueError):
        raise ValueError(f"{op}: fillvalue must be a number, got {fillvalue!r}") from None
