"""Convolution and correlation over any number of axes, as in ``scipy.signal``."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from types import ModuleType

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from fastconv.signal import fourier
from fastconv.signal.modes import MODES, check_valid, extent
from fastconv.signal.numpy import is_little
from fastconv.signal.slide import finite, known, slide

LITTLE = 1 << 9  # products of two images below which SciPy is done before a kernel has started: some 50 us


def convolve(
    in1: ArrayLike, in2: ArrayLike, mode: str = "full", method: str = "auto", *, axes: int | Sequence[int] | None = None
) -> NDArray:
    """Convolve two arrays: ``scipy.signal.convolve``, and batches.

    Parameters
    ----------
    in1 : array_like
        First input, of any number type.
    in2 : array_like
        Second input, of as many axes; with `axes`, of as many axes as these are.
    mode : {'full', 'same', 'valid'}, optional
        'full': wherever the inputs overlap. 'same': of `in1`'s shape, the middle of that. 'valid': where one input lies
        wholly within the other.
    method : {'auto', 'direct', 'fft'}, optional
        'direct': the sum of products, by a kernel. 'fft': through ``scipy.fft``; rounding errors are relative to the
        largest result, and a single NaN or infinity spoils all. 'auto': the one that is expected to be faster, by
        measured costs that differ from SciPy's since the direct sum is faster here. Where the transform does not give
        finite numbers, 'auto' computes the sum.
    axes : int or sequence of int, optional
        Axes of `in1` to convolve along; the others count signals, or images, which are all convolved with `in2`. SciPy
        has no such argument. All axes if None.

    Returns
    -------
    ndarray
        Of the type that NumPy gives to a product of the inputs; sums of integers wrap around.

    Raises
    ------
    ValueError
        The inputs do not have the same number of axes; `mode` or `method` is unknown; in mode 'valid' neither input is
        at least as large as the other along every axis; an axis is out of range or named twice.

    Warns
    -----
    RuntimeWarning
        With method 'fft' some results are not finite.

    Notes
    -----
    Differs from SciPy in what 'auto' chooses, and in speed. Results of 'direct' have the same bits at any number of
    threads.

    References
    ----------
    The overlap-save method for long signals: Oppenheim and Schafer, Discrete-Time Signal Processing, section 8.7.
    """
    a, b = np.asarray(in1), np.asarray(in2)
    library = None if axes is not None else _faster_library(a, b, mode, method)
    if library:
        return library.convolve(a, b, mode)
    return _convolve("convolve", a, b, mode, method, axes)


def correlate(
    in1: ArrayLike, in2: ArrayLike, mode: str = "full", method: str = "auto", *, axes: int | Sequence[int] | None = None
) -> NDArray:
    """Correlate two arrays: ``scipy.signal.correlate``, and batches.

    Parameters
    ----------
    in1 : array_like
        First input, of any number type.
    in2 : array_like
        Second input, of as many axes; with `axes`, of as many axes as these are. Complex numbers are conjugated.
    mode, method, axes
        As for `convolve`.

    Returns
    -------
    ndarray
        Of the type that NumPy gives to a product of the inputs; sums of integers wrap around.

    Raises
    ------
    ValueError
        As `convolve`.
    """
    a, b = np.asarray(in1), np.asarray(in2)
    library = None if axes is not None else _faster_library(a, b, mode, method)
    if library:
        return library.correlate(a, b, mode)
    b = b[(slice(None, None, -1),) * b.ndim]
    return _convolve("correlate", a, b.conj() if b.dtype.kind == "c" else b, mode, method, axes)


def _faster_library(a: NDArray, b: NDArray, mode: str, method: str) -> ModuleType | None:
    """Return who convolves arrays this small before a kernel has started, if anyone does."""
    if mode not in MODES or method not in ("auto", "direct"):
        return None
    if a.ndim == b.ndim == 1:  # where the second signal is the longer one, NumPy's 'same' is another
        return np if a.size >= b.size > 0 and is_little(a, b) else None
    return scipy.signal if a.ndim == b.ndim > 1 and 0 < a.size * b.size <= LITTLE else None


def _convolve(op: str, a: NDArray, b: NDArray, mode: str, method: str, axes: int | Sequence[int] | None) -> NDArray:
    """Convolve `a` with `b`, which a correlation has turned around."""
    if mode not in MODES:
        raise ValueError(f"{op}: mode must be 'full', 'same' or 'valid', got {mode!r}")
    if method not in ("auto", "direct", "fft"):
        raise ValueError(f"{op}: method must be 'auto', 'direct' or 'fft', got {method!r}")
    if axes is not None:
        axes = _axes(op, axes, a.ndim)
        last = range(-len(axes), 0)
        return np.moveaxis(_last_axes(op, np.moveaxis(a, axes, last), b, mode, method, len(axes)), last, axes)
    if a.ndim == b.ndim == 0:
        return a * b
    return _last_axes(op, a, b, mode, method, a.ndim)


def _axes(op: str, axes: int | Sequence[int], ndim: int) -> tuple[int, ...]:
    axes = np.lib.array_utils.normalize_axis_tuple(axes, ndim, "axes")
    if not axes:
        raise ValueError(f"{op}: axes must name at least one axis, got none")
    return axes


def _last_axes(op: str, a: NDArray, b: NDArray, mode: str, method: str, ndim: int) -> NDArray:
    """Convolve along the last axes of `a`."""
    if b.ndim != ndim:
        wanted = f"{ndim} axes, as many as the first" if ndim == a.ndim else f"{ndim}, one for each of `axes`"
        raise ValueError(f"{op}: the second input must have {wanted}, got {b.ndim}")
    single, size = ndim == a.ndim, a.shape[a.ndim - ndim :]
    check_valid(op, mode, size, b.shape)
    if not known(a, b) or a.dtype.kind == b.dtype.kind == "b":
        return _by_scipy(op, a, b, mode, method, single)
    starts, outputs = extent(mode, size, b.shape)
    result = np.result_type(a, b)
    if method == "fft" or method == "auto" and fourier.method(a, b, outputs, result) == "fft":
        y = fourier.convolve(a, b, starts, outputs, result)
        if y.dtype.kind not in "fc" or np.isfinite(y).all():
            return y
        if method == "fft":
            message = f"{op}: a transform spreads NaN and infinity; method='direct' does not"
            warnings.warn(message, RuntimeWarning, stacklevel=4)
            return y
    if single and b.size > a.size:
        a, b = b, a  # the sum over the smaller one
    if single and ndim == 1 and not finite(b):
        # NumPy leaves out what lies beyond the ends; the kernel would multiply a zero by infinity.
        return np.convolve(a, b)[starts[0] : starts[0] + outputs[0]].astype(result, copy=False)
    a = a.astype(result) if result.kind == "c" != a.dtype.kind else a
    first = [start - k + 1 for start, k in zip(starts, b.shape, strict=True)]
    return slide(a, b[(slice(None, None, -1),) * ndim], outputs, first, result=result)


def _by_scipy(op: str, a: NDArray, b: NDArray, mode: str, method: str, single: bool) -> NDArray:
    """Hand on what the kernel does not take: empty arrays, and types such as float16, longdouble, bool and object."""
    if not single:
        raise ValueError(f"{op}: batches must not be empty, nor of type {a.dtype} or {b.dtype}, which SciPy computes")
    return scipy.signal.convolve(a, b, mode, method)
