"""Convolution through Fourier transforms, and when it pays."""

from __future__ import annotations

from collections.abc import Sequence
from math import log2, prod

import numpy as np
import scipy
from numpy.typing import NDArray

from fastconv import runtime
from fastconv.signal.slide import real_type, work_type

FEW_TAPS = 48  # for which the sum is always faster
BLOCK, KERNELS = 4096, 8  # elements of a block of a long signal, at least, and kernels that it is long
EXACT = 2**52  # integers up to here are exact in float64

# Nanoseconds on one core: of a product in the direct sum, along one axis and along more; of an element in a transform
# there and one back, for each doubling of its length, by the bytes of a real number; of what precedes the transforms.
PRODUCT = {"i4": (0.055, 0.045), "i8": (0.14, 0.12), "f4": (0.03, 0.016), "f8": (0.06, 0.033)}
TRANSFORM = {4: 1.1, 8: 2.2}
START = 150_000


def method(a: NDArray, b: NDArray, outputs: Sequence[int], result: np.dtype) -> str:
    """Return 'fft' where transforms are expected to be faster than a direct sum, and as exact for integers."""
    axes = b.ndim
    batch, taps = prod(a.shape[:-axes]), min(b.size, prod(a.shape[-axes:]))
    if taps < FEW_TAPS:
        return "direct"
    work, parts = work_type(result), 1 + (result.kind == "c")
    real = 4 if work == np.float32 else 8
    direct = PRODUCT[work.str[1:]][axes > 1] * parts**2 * taps * prod(outputs)
    if axes == 1 and _is_long(a.shape[-1], b.size):
        length = _block(b.size)
        elements = length * -(-outputs[0] // (length - b.size + 1))
    else:
        elements = length = prod(n + k - 1 for n, k in zip(a.shape[-axes:], b.shape, strict=True))
    fourier = TRANSFORM[real] * parts * elements * log2(length)
    if batch * direct <= START + batch * fourier:
        return "direct"
    return "fft" if result.kind in "fc" or _largest(a) * _largest(b) * taps < EXACT else "direct"


def convolve(a: NDArray, b: NDArray, starts: Sequence[int], outputs: Sequence[int], result: np.dtype) -> NDArray:
    """Return some outputs of the full convolution of the last axes of `a` with `b`."""
    a, b = _floating(a, result), _floating(b, result)
    long = b.ndim == 1 and _is_long(a.shape[-1], b.size)
    y = _overlap_save(a, b, starts[0], outputs[0]) if long else _whole(a, b, starts, outputs)
    if result.kind in "iu":
        return np.rint(y).astype(np.int64).astype(result)  # in two steps: beyond their range integers wrap around
    return y.astype(result, copy=False)


def _floating(array: NDArray, result: np.dtype) -> NDArray:
    """Return an array with the precision of the result, complex only if it is."""
    real = np.float64 if result.kind in "iu" else real_type(result)
    return array.astype(np.result_type(real, np.complex64) if array.dtype.kind == "c" else real, copy=False)


def _largest(array: NDArray) -> int:
    """Largest absolute value; Python's integers do not overflow."""
    return max(abs(int(array.min())), abs(int(array.max()))) if array.dtype.kind in "iu" else 1


def _is_long(n: int, k: int) -> bool:
    """Whether a signal makes several blocks."""
    return n > 2 * _block(k)


def _block(k: int) -> int:
    return scipy.fft.next_fast_len(max(BLOCK, KERNELS * k), real=True)


def _product(a: NDArray, b: NDArray, shape: Sequence[int]) -> NDArray:
    """Convolve the last axes on a torus of some shape."""
    axes = tuple(range(-len(shape), 0))
    real = not (np.iscomplexobj(a) or np.iscomplexobj(b))
    there, back = (scipy.fft.rfftn, scipy.fft.irfftn) if real else (scipy.fft.fftn, scipy.fft.ifftn)
    with scipy.fft.set_workers(runtime.get_num_threads()):
        spectrum = there(a, shape, axes)
        spectrum *= there(b, shape, axes)
        return back(spectrum, shape, axes, overwrite_x=True)


def _whole(a: NDArray, b: NDArray, starts: Sequence[int], outputs: Sequence[int]) -> NDArray:
    """Convolve at once."""
    full = [n + k - 1 for n, k in zip(a.shape[-b.ndim :], b.shape, strict=True)]
    real = not (np.iscomplexobj(a) or np.iscomplexobj(b))
    y = _product(a, b, [scipy.fft.next_fast_len(size, real) for size in full])
    return y[(..., *(slice(start, start + count) for start, count in zip(starts, outputs, strict=True)))]


def _overlap_save(a: NDArray, b: NDArray, start: int, count: int) -> NDArray:
    """Convolve a long signal in blocks, of which each begins with the end of the one before."""
    length, more = _block(b.size), b.size - 1
    step = length - more
    blocks = -(-count // step)
    padded = np.zeros((*a.shape[:-1], blocks * step + more), a.dtype)
    first, last = max(0, start - more), min(a.shape[-1], start - more + padded.shape[-1])
    padded[..., first - (start - more) : last - (start - more)] = a[..., first:last]
    windows = np.lib.stride_tricks.sliding_window_view(padded, length, axis=-1)[..., ::step, :]
    y = _product(windows, b, [length])[..., more:]
    return y.reshape(*a.shape[:-1], blocks * step)[..., :count]
