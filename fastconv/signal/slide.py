"""From arrays of any type to the one kernel, and back."""

from __future__ import annotations

from cmath import isfinite
from collections.abc import Sequence
from functools import cache
from math import prod

import numpy as np
from numpy.typing import NDArray

from fastconv import runtime
from fastconv.cpu.sweep import plan
from fastconv.cpu.sweep_layout import Correlation

NUMBERS = frozenset("?bBhHiIlLqQfdFD")  # codes of the dtypes that the kernel takes
ZERO = 0
SMALL = 1 << 13  # elements of an array that NumPy makes faster than the pool of reused memory: 1 us instead of 10
NARROW = 16  # elements of a row that no tap runs along
INT32, INT64, FLOAT64 = map(np.dtype, (np.int32, np.int64, np.float64))


def known(*arrays: NDArray) -> bool:
    """Whether the kernel takes these arrays: numbers of a type that it knows, and at least one."""
    return all(array.dtype.char in NUMBERS and array.size for array in arrays)


def finite(array: NDArray) -> bool:
    """Whether there is neither NaN nor infinity, nor a number whose square is."""
    return array.dtype.kind not in "fc" or isfinite(np.vdot(array, array))


def native(array: NDArray) -> NDArray:
    """Return a plain array as the kernel wants it: C-contiguous, aligned, of native bytes."""
    if array.flags.carray and array.dtype.isnative:
        return array
    return np.require(np.asarray(array), array.dtype.newbyteorder("="), ["C", "A"])


def real_type(dtype: np.dtype) -> np.dtype:
    """Type of a number's parts."""
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    return np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype


def work_type(dtype: np.dtype) -> np.dtype:
    """Type in which sums of numbers of a type are computed: integers modulo more than they can hold."""
    if dtype.kind in "biu":
        return INT32 if dtype.itemsize <= 4 else INT64
    return real_type(dtype)


def slide(
    x: NDArray,
    w: NDArray,
    outputs: Sequence[int],
    first: Sequence[int],
    *,
    result: np.dtype,
    border: str = "constant",
    outside: complex = ZERO,
    exact: bool = False,
    order: str = "rows",
    mask: NDArray | None = None,
) -> NDArray:
    """Correlate: ``y[o] = sum_k w[k] * x[o + first + k]`` over the last axes; the others count images.

    Parameters
    ----------
    x : (..., *size) ndarray
        Images. Complex if the result is.
    w : (*kernel) ndarray
        Weights, of as many axes as an image.
    outputs, first : sequence of int
        Outputs along each axis, and the input that the window of output 0 begins with.
    result : dtype
        Of the result. Sums are computed in a type that is at least as wide, where they are `exact` in float64.
    border, outside : str, number
        What lies beyond the ends: `fastconv.cpu.border`, and the constant.
    exact : bool
        Whether products are rounded before they are added, and sums are float64.
    order : str
        Of products: `fastconv.cpu.sweep_layout.Correlation`.
    mask : (*kernel) bool ndarray, optional
        Taps that count.
    """
    if w.ndim > 1 and w.shape[-1] == 1 and x.shape[-1] == outputs[-1] < NARROW:
        # Along so short rows most lanes would be empty: colours, the last axis of a picture, become images.
        inner = slide(
            np.moveaxis(x, -1, 0), w[..., 0], outputs[:-1], first[:-1], result=result, border=border, outside=outside,
            exact=exact, order=order, mask=None if mask is None else mask[..., 0],
        )  # fmt: skip
        return np.moveaxis(inner, 0, -1)
    x, result = native(x), result.newbyteorder("=")
    batch, parts = x.shape[: x.ndim - w.ndim], 1 + (result.kind == "c")
    work, outputs = FLOAT64 if exact else work_type(result), tuple(outputs)
    given = Correlation(
        prod(batch), x.shape[len(batch) :], w.shape, outputs, tuple(first), border,
        real_type(x.dtype), work, real_type(result), parts, exact, order,
    )  # fmt: skip
    shape, dtype = (*batch, *outputs), real_type(result) if result.kind == "b" else result
    y = np.empty(shape, dtype) if prod(shape) < SMALL else runtime.empty(shape, dtype)
    program = plan(given, None if mask is None else mask.tobytes())
    program(x, _weights(w, work, parts), _parts(outside, work), y)
    return y != 0 if result.kind == "b" else y


def _weights(w: NDArray, work: np.dtype, parts: int) -> NDArray:
    """Weights as numbers of the kernel's type; of complex ones, how real and imaginary parts meet."""
    if parts == 1:
        return np.ascontiguousarray(w, work)
    w = w.astype(np.complex128)
    re, im = w.real, w.imag
    return np.array([[re, -im], [im, re]], work)


def _parts(number: complex, work: np.dtype) -> NDArray:
    """Real and imaginary part of the constant beyond the border."""
    if number is ZERO:
        return _zeros(work)
    number = np.asarray(number)
    return np.array([number.real, number.imag]).astype(work)


@cache
def _zeros(work: np.dtype) -> NDArray:
    return np.zeros(2, work)
