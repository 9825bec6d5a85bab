"""Max and average pooling."""

from functools import lru_cache
from math import prod

import numpy as np

from fastconv import runtime
from fastconv.arguments import as_flag, as_int
from fastconv.arrays import check_shape, reals
from fastconv.cpu import pool
from fastconv.geometry import PoolGeometry


def max_pool2d(
    x: np.ndarray,
    kernel_size,
    stride=None,
    padding=0,
    dilation=1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    relu: bool = False,
    return_saved: bool = False,
):
    """Largest element of each window.

    NaN wins against every number, and among equals the first in row-major order wins. Padding never wins: a window of
    nothing but -inf gives its first element.

    Parameters
    ----------
    x : (n, c, h, w) ndarray
        float32 or float64.
    kernel_size, stride, dilation : int or (int, int)
        The window, its steps (`kernel_size` if None), and the steps between its elements.
    padding : int, (int, int), pairs (before, after), 'same' or 'valid'
        At most half the window's extent.
    ceil_mode : bool
        Whether a last window that hangs over the padded end counts.
    return_indices : bool
        Return where the maxima lie, too.
    relu : bool
        Return ``relu(y)`` in place of `y`, in the same pass over memory.
    return_saved : bool
        Return what `max_pool2d_backward` takes as `saved`, too.

    Returns
    -------
    y : (n, c, oh, ow) ndarray
    indices : (n, c, oh, ow) ndarray of int64
        Flat positions in the (h, w) planes. Only with `return_indices`.
    saved : (n, c, oh, ow) ndarray of uint8
        Positions inside the windows; int32 where a window has more than 255 places. Only with `return_saved`.
        Where `relu` made a zero, the number of a window's places.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type, shape or value; the message names it.
    """
    op = "max_pool2d"
    (x,) = reals(op, x=x)
    geometry = _geometry(op, x, kernel_size, stride, padding, dilation, ceil_mode)
    as_flag(op, "return_indices", return_indices)
    as_flag(op, "return_saved", return_saved)
    if as_flag(op, "relu", relu) and return_indices:
        raise ValueError(f"{op}: return_indices=True does not go with relu=True: a zero of relu lies nowhere")
    y, saved = _max_pool(x, geometry, return_indices or return_saved, relu)
    outputs = [y]
    if return_indices:
        indices = runtime.empty(geometry.y_shape, np.int64)
        pool.flat_indices(saved, indices, geometry)
        outputs.append(indices)
    if return_saved:
        outputs.append(saved)
    return outputs[0] if len(outputs) == 1 else tuple(outputs)


def max_pool2d_backward(
    dy: np.ndarray,
    x: np.ndarray,
    kernel_size,
    stride=None,
    padding=0,
    dilation=1,
    ceil_mode: bool = False,
    *,
    relu: bool = False,
    saved: np.ndarray | None = None,
) -> np.ndarray:
    """Gradient of `max_pool2d`: each output's gradient goes to the element that won.

    Parameters
    ----------
    dy : (n, c, oh, ow) ndarray
        Gradient of the result.
    x : (n, c, h, w) ndarray
        What `max_pool2d` was given.
    kernel_size, stride, padding, dilation, ceil_mode, relu
        As `max_pool2d` was given them.
    saved : (n, c, oh, ow) ndarray, optional
        What `max_pool2d` returned with ``return_saved=True``; computed again without it.

    Returns
    -------
    (n, c, h, w) ndarray
        `dx`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type, shape or value, or `saved` holds a position outside the input.
    """
    op = "max_pool2d_backward"
    dy, x = reals(op, dy=dy, x=x)
    geometry = _geometry(op, x, kernel_size, stride, padding, dilation, ceil_mode)
    geometry.check_gradient(op, dy.shape)
    as_flag(op, "relu", relu)
    saved = _max_pool(x, geometry, True, relu)[1] if saved is None else _checked_positions(op, saved, geometry, relu)
    dx = runtime.empty(x.shape, x.dtype)
    pool.max_pool_backward(dy, saved, dx, geometry)
    return dx


def avg_pool2d(
    x: np.ndarray,
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> np.ndarray:
    """Mean of each window.

    Parameters
    ----------
    x : (n, c, h, w) ndarray
        float32 or float64.
    kernel_size, stride : int or (int, int)
        The window, and its steps (`kernel_size` if None).
    padding : int, (int, int), pairs (before, after), 'same' or 'valid'
        At most half the window.
    ceil_mode : bool
        Whether a last window that hangs over the padded end counts.
    count_include_pad : bool
        Whether the sum is divided by the number of elements with those of the padding, or of real ones only.
    divisor_override : int, optional
        By what the sum is divided instead.

    Returns
    -------
    (n, c, oh, ow) ndarray
        `y`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type, shape or value; the message names it.
    """
    op = "avg_pool2d"
    (x,) = reals(op, x=x)
    geometry = _geometry(op, x, kernel_size, stride, padding, 1, ceil_mode)
    counting = _counting(op, count_include_pad, divisor_override)
    y = runtime.empty(geometry.y_shape, x.dtype)
    pool.avg_pool(x, y, geometry, *counting)
    return y


def avg_pool2d_backward(
    dy: np.ndarray,
    x: np.ndarray,
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> np.ndarray:
    """Gradient of `avg_pool2d`: each output's gradient goes to the elements of its window in equal shares.

    Parameters
    ----------
    dy : (n, c, oh, ow) ndarray
        Gradient of the result.
    x : (n, c, h, w) ndarray
        What `avg_pool2d` was given; only its shape and dtype count.
    kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
        As `avg_pool2d` was given them.

    Returns
    -------
    (n, c, h, w) ndarray
        `dx`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type, shape or value; the message names it.
    """
    op = "avg_pool2d_backward"
    dy, x = reals(op, dy=dy, x=x)
    geometry = _geometry(op, x, kernel_size, stride, padding, 1, ceil_mode)
    geometry.check_gradient(op, dy.shape)
    counting = _counting(op, count_include_pad, divisor_override)
    dx = runtime.empty(x.shape, x.dtype)
    pool.avg_pool_backward(dy, dx, geometry, *counting)
    return dx


def _geometry(op: str, x: np.ndarray, kernel_size, *options) -> PoolGeometry:
    geometry = PoolGeometry.make(op, x.shape, kernel_size, *options)
    if prod(geometry.window.kernel) >= 2**31:
        raise ValueError(f"{op}: kernel_size must have fewer than 2**31 places, got {kernel_size!r}")
    return geometry


def _max_pool(x: np.ndarray, geometry: PoolGeometry, keep: bool, relu: bool) -> tuple[np.ndarray, np.ndarray | None]:
    y = runtime.empty(geometry.y_shape, x.dtype)
    saved = runtime.empty(geometry.y_shape, pool.position_type(geometry)) if keep else None
    pool.max_pool(x, y, saved, geometry, relu)
    return y, saved


def _counting(op: str, count_include_pad: bool, divisor_override: int | None) -> tuple[bool, int | None]:
    divisor = None if divisor_override is None else as_int(op, "divisor_override", divisor_override, low=1)
    return as_flag(op, "count_include_pad", count_include_pad), divisor


def _checked_positions(op: str, saved: np.ndarray, geometry: PoolGeometry, relu: bool) -> np.ndarray:
    """Return positions that are known to lie inside the windows and on elements of the input; or nowhere, for ReLU."""
    wanted = pool.position_type(geometry)
    if type(saved) is not np.ndarray or saved.dtype != wanted:
        found = getattr(saved, "dtype", type(saved).__name__)
        raise TypeError(f"{op}: saved must be a numpy.ndarray of {wanted}, as max_pool2d returned it, got {found}")
    check_shape(op, "saved", saved, geometry.y_shape)
    places = prod(geometry.window.kernel)
    last = places - 1 + relu
    if saved.size and saved.view(f"u{saved.itemsize}").max() > last:  # one look finds numbers below 0 as well
        raise ValueError(f"{op}: saved must hold positions from 0 to {last}, got {saved.min()} to {saved.max()}")
    for axis, output, inner, first, last in _partial_windows(geometry):
        size = geometry.window.kernel[axis]
        positions = np.ascontiguousarray(np.moveaxis(saved, axis + 2, 0)[output])
        taps = positions // inner
        taps -= taps // size * size  # NumPy divides bytes 20 times faster than it takes their remainders
        if np.any(((taps < first) | (taps >= last)) & (positions < places)):
            raise ValueError(f"{op}: saved holds a position in the padding, at output {output} of spatial axis {axis}")
    return np.require(saved, wanted, ["C", "A"])


@lru_cache(maxsize=256)
def _partial_windows(geometry: PoolGeometry) -> list[tuple[int, int, int, int, int]]:
    """List the windows that meet padding: axis, output, step of its taps in a position, range of taps on elements."""
    window, found = geometry.window, []
    for axis, (size, outputs) in enumerate(zip(geometry.input_size, geometry.output_size, strict=True)):
        taps, gap, inner = window.kernel[axis], window.dilation[axis], prod(window.kernel[axis + 1 :])
        for output in range(outputs):
            start = output * window.stride[axis] - window.padding[axis][0]
            first, last = max(0, -(start // gap)), min(taps, -((start - size) // gap))
            if first > 0 or last < taps:
                found.append((axis, output, inner, first, last))
    return found
