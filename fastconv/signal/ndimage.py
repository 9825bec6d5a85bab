"""Correlation and convolution of images of any number of axes, as in ``scipy.ndimage``.

Sums are computed in float64, in SciPy's order and rounded where SciPy rounds, so that results have the same bits as
SciPy's, also those of integers, whose fractions are cut off. Taps whose weight is zero are left out, and do not meet
numbers that are not finite.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import scipy
from numpy.typing import ArrayLike, DTypeLike, NDArray

from fastconv.signal.slide import NUMBERS, known, real_type, slide

MODES = {mode: mode for mode in ("constant", "mirror", "nearest", "reflect", "wrap")} | {"grid-mirror": "reflect"}
LITTLE, LITTLE_1D = 3 << 14, 1 << 15  # products below which SciPy is done before a kernel has started
NEGLIGIBLE = np.finfo(np.float64).eps  # a weight that counts as zero, and a difference of weights

Output = NDArray | DTypeLike | None


def correlate(
    input: ArrayLike,
    weights: ArrayLike,
    output: Output = None,
    mode: str = "reflect",
    cval: complex = 0.0,
    origin: int | Sequence[int] = 0,
    *,
    axes: Sequence[int] | None = None,
) -> NDArray:
    """Correlate an image with weights: ``scipy.ndimage.correlate``.

    Parameters
    ----------
    input : array_like
        Image of any number of axes and any number type.
    weights : array_like
        Weights, of as many axes as the image, or as `axes`. Complex ones are conjugated.
    output : ndarray or dtype, optional
        Array that takes the result, or its type; the image's by default.
    mode : {'reflect', 'constant', 'nearest', 'mirror', 'wrap'}, optional
        What lies beyond the image's ends: (b a | a b c | c b), (k k | a b c | k k), (a a | a b c | c c),
        (c b | a b c | b a), (b c | a b c | a b).
    cval : number, optional
        The constant k.
    origin : int or sequence of int, optional
        Shifts the window, by up to half of it: towards lower indices where positive.
    axes : sequence of int, optional
        Axes of the image that the weights lie along; all if None. The others count images.

    Returns
    -------
    ndarray
        Of the image's shape; `output` if that is an array.

    Raises
    ------
    RuntimeError
        The weights do not have the axes of the image; `mode` is unknown; `output` has another shape; the image is of a
        type that SciPy does not take, such as float16.
    ValueError
        `origin` reaches beyond the weights; `axes` are out of range or named twice.
    """
    return _filter("correlate", input, weights, output, mode, cval, origin, axes)


def convolve(
    input: ArrayLike,
    weights: ArrayLike,
    output: Output = None,
    mode: str = "reflect",
    cval: complex = 0.0,
    origin: int | Sequence[int] = 0,
    *,
    axes: Sequence[int] | None = None,
) -> NDArray:
    """Convolve an image with weights: ``scipy.ndimage.convolve``.

    Parameters
    ----------
    input, weights, output, mode, cval, axes
        As for `correlate`; the weights are turned around, and never conjugated.
    origin : int or sequence of int, optional
        Shifts the window, by up to half of it: towards higher indices where positive.

    Returns
    -------
    ndarray
        Of the image's shape; `output` if that is an array.

    Raises
    ------
    RuntimeError, ValueError
        As `correlate`.
    """
    return _filter("convolve", input, weights, output, mode, cval, origin, axes)


def correlate1d(
    input: ArrayLike,
    weights: ArrayLike,
    axis: int = -1,
    output: Output = None,
    mode: str = "reflect",
    cval: complex = 0.0,
    origin: int = 0,
) -> NDArray:
    """Correlate along one axis: ``scipy.ndimage.correlate1d``.

    Parameters
    ----------
    input : array_like
        Image of any number of axes and any number type.
    weights : (K,) array_like
        Weights.
    axis : int, optional
        The axis.
    output, mode, cval, origin
        As for `correlate`.

    Returns
    -------
    ndarray
        Of the image's shape; `output` if that is an array.

    Raises
    ------
    RuntimeError
        `weights` is empty or has several axes; `mode` is unknown; `output` has another shape.
    ValueError
        `origin` reaches beyond the weights, or `axis` is out of range.
    """
    return _filter_axis("correlate1d", input, weights, axis, output, mode, cval, origin)


def convolve1d(
    input: ArrayLike,
    weights: ArrayLike,
    axis: int = -1,
    output: Output = None,
    mode: str = "reflect",
    cval: complex = 0.0,
    origin: int = 0,
) -> NDArray:
    """Convolve along one axis: ``scipy.ndimage.convolve1d``.

    Parameters
    ----------
    input, weights, axis, output, mode, cval, origin
        As for `correlate1d`; the weights are turned around.

    Returns
    -------
    ndarray
        Of the image's shape; `output` if that is an array.

    Raises
    ------
    RuntimeError, ValueError
        As `correlate1d`.
    """
    return _filter_axis("convolve1d", input, weights, axis, output, mode, cval, origin)


def _filter(
    op: str,
    input: ArrayLike,
    weights: ArrayLike,
    output: Output,
    mode: str,
    cval: complex,
    origin: int | Sequence[int],
    axes: Sequence[int] | None,
) -> NDArray:
    """Correlate or convolve along some axes."""
    x, w = np.asarray(input), np.asarray(weights)
    if x.size * w.size <= LITTLE:
        return getattr(scipy.ndimage, op)(x, w, output, mode, cval, origin, axes=axes)
    chosen, dtype = _chosen_axes(axes, x.ndim), _output_type(output, x, w)
    given = list(origin) if np.iterable(origin) else [origin] * len(chosen)
    if not _takes(x, w, dtype, mode, cval) or not len(chosen) == len(given) == w.ndim:
        return getattr(scipy.ndimage, op)(input, weights, output, mode, cval, origin, axes=axes)
    # SciPy's axes tell where origins belong, but weights lie along them in the image's order.
    kernel, origins = [1] * x.ndim, [0] * x.ndim
    for axis, k in zip(sorted(chosen), w.shape, strict=True):
        kernel[axis] = k
    for axis, at in zip(range(x.ndim) if w.ndim == x.ndim else chosen, given, strict=True):
        origins[axis] = at
    if op == "correlate":
        w = w.conj() if w.dtype.kind == "c" else w
    else:
        origins = [_turned(at, k) for at, k in zip(origins, kernel, strict=True)]
        w = w[(slice(None, None, -1),) * w.ndim]
    if not all(map(_reaches, origins, kernel)):
        return getattr(scipy.ndimage, op)(input, weights, output, mode, cval, origin, axes=axes)
    first = [-(k // 2) - at for k, at in zip(kernel, origins, strict=True)]
    return _delivered(output, _in_parts(_sum, x, w.reshape(kernel), dtype, cval, first, MODES[mode]))


def _filter_axis(
    op: str, input: ArrayLike, weights: ArrayLike, axis: int, output: Output, mode: str, cval: complex, origin: int
) -> NDArray:
    """Correlate or convolve along one axis."""
    x, w = np.asarray(input), np.asarray(weights)
    if x.size * w.size <= LITTLE_1D:
        return getattr(scipy.ndimage, op)(x, w, axis, output, mode, cval, origin)
    dtype = _output_type(output, x, w)
    at, k = (_turned(origin, w.size) if op == "convolve1d" else origin), w.size
    if not (_takes(x, w, dtype, mode, cval) and w.ndim == 1 and -x.ndim <= axis < x.ndim and _reaches(at, k)):
        return getattr(scipy.ndimage, op)(input, weights, axis, output, mode, cval, origin)
    if op == "convolve1d":
        w = w[::-1]
    elif w.dtype.kind == "c":
        w = w.conj()
    kernel, first = [1] * x.ndim, [0] * x.ndim
    kernel[axis], first[axis] = k, -(k // 2) - at
    return _delivered(output, _in_parts(_sum_axis, x, w.reshape(kernel), dtype, cval, first, MODES[mode]))


# ---- what SciPy is asked to do -----------------------------------------------------------------------------------


def _chosen_axes(axes: Sequence[int] | None, ndim: int) -> tuple[int, ...]:
    """Return axes in order; none where SciPy shall say what is wrong with them."""
    try:
        return tuple(range(ndim)) if axes is None else np.lib.array_utils.normalize_axis_tuple(axes, ndim)
    except (TypeError, ValueError):
        return ()


def _output_type(output: Output, x: NDArray, w: NDArray) -> np.dtype | None:
    """Return the type of the result; None where SciPy shall say what is wrong with it."""
    complex_sums = "c" in (x.dtype.kind, w.dtype.kind)
    if output is None:
        return np.promote_types(x.dtype, np.complex64) if complex_sums else x.dtype
    if isinstance(output, np.ndarray):
        fits, dtype = output.shape == x.shape and output.flags.writeable, output.dtype
    else:
        fits, dtype = isinstance(output, (str, type, np.dtype)), np.dtype(output)
    return dtype if fits and (dtype.kind == "c") == complex_sums else None


def _takes(x: NDArray, w: NDArray, dtype: np.dtype | None, mode: str, cval: complex) -> bool:
    """Whether the kernel takes these arguments."""
    if dtype is None or not (known(x, w) and dtype.char in NUMBERS):
        return False
    return isinstance(mode, str) and mode in MODES and np.isscalar(cval) and (x.dtype.kind == "c" or np.isreal(cval))


def _reaches(origin: int, k: int) -> bool:
    return isinstance(origin, (int, np.integer)) and -(k // 2) <= origin <= (k - 1) // 2


def _turned(origin: int, k: int) -> int:
    """Origin of weights that are turned around."""
    return -origin - (k % 2 == 0)


# ---- sums --------------------------------------------------------------------------------------------------------


def _in_parts(
    run: Callable, x: NDArray, w: NDArray, dtype: np.dtype, cval: complex, first: list[int], border: str
) -> NDArray:
    """Compute sums of complex numbers from those of their parts, as SciPy does."""
    if dtype.kind != "c":
        return run(x, w, dtype, cval, first, border)
    y, part = np.empty(x.shape, dtype), real_type(dtype)
    if x.dtype.kind != "c":
        y.real, y.imag = (run(x, v, part, cval, first, border) for v in (w.real, w.imag))
    elif w.dtype.kind != "c":
        y.real = run(x.real, w, part, np.real(cval), first, border)
        y.imag = run(x.imag, w, part, np.imag(cval), first, border)
    else:
        other = x.imag.dtype
        y.real = run(x.real, w.real, part, np.real(cval), first, border)
        y.real -= run(x.imag, w.imag, other, np.imag(cval), first, border)
        y.imag = run(x.real, w.imag, part, np.real(cval), first, border)
        y.imag += run(x.imag, w.real, other, np.imag(cval), first, border)
    return y


def _sum(x: NDArray, w: NDArray, dtype: np.dtype, cval: float, first: list[int], border: str) -> NDArray:
    counts = np.abs(w) > NEGLIGIBLE
    mask = None if counts.all() else counts
    return slide(x, w, x.shape, first, result=dtype, border=border, outside=cval, exact=True, mask=mask)


def _sum_axis(x: NDArray, w: NDArray, dtype: np.dtype, cval: float, first: list[int], border: str) -> NDArray:
    order = _order(w.ravel().astype(np.float64))
    return slide(x, w, x.shape, first, result=dtype, border=border, outside=cval, exact=True, order=order)


def _order(w: NDArray) -> str:
    """Return the order in which SciPy adds the products along one axis, for which it looks at the weights."""
    if w.size % 2 == 0:
        return "last"
    before, behind = w[: w.size // 2], w[: w.size // 2 : -1]
    if not (np.abs(before - behind) > NEGLIGIBLE).any():
        return "even"
    return "last" if (np.abs(before + behind) > NEGLIGIBLE).any() else "odd"


def _delivered(output: Output, y: NDArray) -> NDArray:
    if not isinstance(output, np.ndarray):
        return y
    output[...] = y
    return output
