"""Convolution and correlation of two signals, as in ``numpy``: always a direct sum."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastconv.signal.modes import MODES, extent
from fastconv.signal.slide import finite, known, slide

LITTLE = 1 << 16  # products below which NumPy is done before a kernel has started
SHORT, LITTLE_SHORT = 11, 3 << 16  # taps up to which NumPy has code of its own for floats; products below which it wins


def is_little(a: NDArray, v: NDArray) -> bool:
    """Whether NumPy convolves two signals before a kernel has started: in some 50 us."""
    products = a.size * v.size
    if products <= LITTLE:
        return True
    return products <= LITTLE_SHORT and min(a.size, v.size) <= SHORT and a.dtype.kind == v.dtype.kind == "f"


def convolve(a: ArrayLike, v: ArrayLike, mode: str = "full") -> NDArray:
    """Convolve two signals: ``numpy.convolve``.

    Parameters
    ----------
    a, v : (N,), (M,) array_like
        Signals of any number type.
    mode : {'full', 'same', 'valid'}, optional
        N + M - 1 results, or the max(N, M) in the middle, or those for which the signals overlap completely.

    Returns
    -------
    (K,) ndarray
        Of the type that NumPy gives to a product of the inputs.

    Raises
    ------
    ValueError
        As NumPy: a signal is empty or has more than one axis; `mode` is unknown.
    """
    a, v = np.asarray(a), np.asarray(v)
    if not _worthwhile(a, v, mode):
        return np.convolve(a, v, mode)
    long, short = (a, v) if a.size >= v.size else (v, a)
    return _convolve(long, short, mode)


def correlate(a: ArrayLike, v: ArrayLike, mode: str = "valid") -> NDArray:
    """Correlate two signals: ``numpy.correlate``.

    Parameters
    ----------
    a, v : (N,), (M,) array_like
        Signals of any number type. Complex numbers of `v` are conjugated.
    mode : {'valid', 'same', 'full'}, optional
        As for `convolve`.

    Returns
    -------
    (K,) ndarray
        Of the type that NumPy gives to a product of the inputs.

    Raises
    ------
    ValueError
        As `convolve`.
    """
    a, v = np.asarray(a), np.asarray(v)
    if not _worthwhile(a, v, mode):
        return np.correlate(a, v, mode)
    v = v.conj() if v.dtype.kind == "c" else v
    if a.size >= v.size:
        return _convolve(a, v[::-1], mode)
    return _convolve(v, a[::-1], mode)[::-1]


def _worthwhile(a: NDArray, v: NDArray, mode: str) -> bool:
    """Whether the kernel takes these signals and is faster than NumPy, which also has its own words for errors."""
    if not (a.ndim == v.ndim == 1 and mode in MODES and known(a, v)) or is_little(a, v):
        return False
    weights = a if a.size < v.size else v
    # NumPy leaves out what lies beyond the ends; the kernel would multiply a zero by infinity.
    return finite(weights) and not a.dtype.kind == v.dtype.kind == "b"


def _convolve(x: NDArray, w: NDArray, mode: str) -> NDArray:
    """Convolve a signal with one that is not longer."""
    result, (starts, outputs) = np.result_type(x, w), extent(mode, x.shape, w.shape)
    x = x.astype(result) if result.kind == "c" != x.dtype.kind else x
    return slide(x, w[::-1], outputs, [starts[0] - w.size + 1], result=result)
