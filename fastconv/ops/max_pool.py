"""Max pooling along one, two or three axes."""

from functools import lru_cache
from math import prod

import numpy as np

from fastconv import runtime
from fastconv.arguments import as_flag
from fastconv.arrays import check_shape, reals
from fastconv.cpu import pool
from fastconv.geometry import PoolGeometry
from fastconv.ops.batch import add_batch, remove_batch


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
    x : (n, c, h, w) or (c, h, w) ndarray
        float32 or float64. Without a batch the results have none.
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
    return _forward(
        "max_pool2d", 2, x, (kernel_size, stride, padding, dilation, ceil_mode), return_indices, relu, return_saved
    )


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
    dy : (n, c, oh, ow) or (c, oh, ow) ndarray
        Gradient of the result.
    x : (n, c, h, w) or (c, h, w) ndarray
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
    window = kernel_size, stride, padding, dilation, ceil_mode
    return _backward("max_pool2d_backward", 2, dy, x, window, relu, saved)


def max_pool1d(
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
    """`max_pool2d` along one axis.

    Parameters
    ----------
    x : (n, c, w) or (c, w) ndarray
    kernel_size, stride, padding, dilation, ceil_mode, return_indices, relu, return_saved
        As in `max_pool2d`.

    Returns
    -------
    (n, c, ow) ndarray
        `y`, with `indices` and `saved` if they are asked for.

    Raises
    ------
    TypeError, ValueError
        As from `max_pool2d`.
    """
    return _forward(
        "max_pool1d", 1, x, (kernel_size, stride, padding, dilation, ceil_mode), return_indices, relu, return_saved
    )


def max_pool1d_backward(
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
    """Gradient of `max_pool1d`.

    Parameters
    ----------
    dy : (n, c, ow) ndarray
    x : (n, c, w) or (c, w) ndarray
    kernel_size, stride, padding, dilation, ceil_mode, relu, saved
        As in `max_pool2d_backward`.

    Returns
    -------
    (n, c, w) ndarray
        `dx`.

    Raises
    ------
    TypeError, ValueError
        As from `max_pool2d_backward`.
    """
    window = kernel_size, stride, padding, dilation, ceil_mode
    return _backward("max_pool1d_backward", 1, dy, x, window, relu, saved)


def max_pool3d(
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
    """`max_pool2d` along three axes.

    Parameters
    ----------
    x : (n, c, d, h, w) or (c, d, h, w) ndarray
    kernel_size, stride, padding, dilation, ceil_mode, return_indices, relu, return_saved
        As in `max_pool2d`.

    Returns
    -------
    (n, c, od, oh, ow) ndarray
        `y`, with `indices` and `saved` if they are asked for.

    Raises
    ------
    TypeError, ValueError
        As from `max_pool2d`.
    """
    return _forward(
        "max_pool3d", 3, x, (kernel_size, stride, padding, dilation, ceil_mode), return_indices, relu, return_saved
    )


def max_pool3d_backward(
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
    """Gradient of `max_pool3d`.

    Parameters
    ----------
    dy : (n, c, od, oh, ow) ndarray
    x : (n, c, d, h, w) or (c, d, h, w) ndarray
    kernel_size, stride, padding, dilation, ceil_mode, relu, saved
        As in `max_pool2d_backward`.

    Returns
    -------
    (n, c, d, h, w) ndarray
        `dx`.

    Raises
    ------
    TypeError, ValueError
        As from `max_pool2d_backward`.
    """
    window = kernel_size, stride, padding, dilation, ceil_mode
    return _backward("max_pool3d_backward", 3, dy, x, window, relu, saved)


def _forward(op, ndim, x, window, return_indices, relu, return_saved):
    (x,) = reals(op, x=x)
    single, x = add_batch(ndim + 2, x)
    geometry = _geometry(op, ndim, x, window)
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
    if single:
        outputs = [output[0] for output in outputs]
    return outputs[0] if len(outputs) == 1 else tuple(outputs)


def _backward(op, ndim, dy, x, window, relu, saved):
    dy, x = reals(op, dy=dy, x=x)
    single, x, dy, saved = add_batch(ndim + 2, x, dy, saved)
    geometry = _geometry(op, ndim, x, window)
    geometry.check_gradient(op, dy.shape)
    as_flag(op, "relu", relu)
    saved = _max_pool(x, geometry, True, relu)[1] if saved is None else _checked_positions(op, saved, geometry, relu)
    dx = runtime.empty(x.shape, x.dtype)
    pool.max_pool_backward(dy, saved, dx, geometry)
    return remove_batch(single, dx)


def _geometry(op: str, ndim: int, x: np.ndarray, window: tuple) -> PoolGeometry:
    geometry = PoolGeometry.make(op, x.shape, *window, ndim=ndim)
    if prod(geometry.window.kernel) >= 2**31:
        raise ValueError(f"{op}: kernel_size must have fewer than 2**31 places, got {window[0]!r}")
    return geometry


def _max_pool(x: np.ndarray, geometry: PoolGeometry, keep: bool, relu: bool) -> tuple[np.ndarray, np.ndarray | None]:
    y = runtime.empty(geometry.y_shape, x.dtype)
    saved = runtime.empty(geometry.y_shape, pool.position_type(geometry)) if keep else None
    pool.max_pool(x, y, saved, geometry, relu)
    return y, saved


def _checked_positions(op: str, saved: np.ndarray, geometry: PoolGeometry, relu: bool) -> np.ndarray:
    """Return positions that are known to lie inside the windows and on elements of the input; or nowhere, for ReLU."""
    wanted = pool.position_type(geometry)
    if type(saved) is not np.ndarray or saved.dtype != wanted:
        found = getattr(saved, "dtype", type(saved).__name__)
        raise TypeError(f"{op}: saved must be a numpy.ndarray of {wanted}, as max_pool2d returned it, got {found}")
    check_shape(op, "saved", saved, geometry.y_shape)
    places = prod(geometry.window.kernel)
    last = places - 1 + relu
    unsigned = saved if wanted.kind == "u" else saved.view(np.uint32)  # one look finds numbers below 0 as well
    if saved.size and unsigned.max() > last:
        raise ValueError(f"{op}: saved must hold positions from 0 to {last}, got {saved.min()} to {saved.max()}")
    for axis, output, inner, first, last in _partial_windows(geometry):
        size = geometry.window.kernel[axis]
        positions = np.ascontiguousarray(np.moveaxis(saved, axis + 2, 0)[output])
        taps = positions // inner
        taps -= taps // size * size  # NumPy divides bytes 20 times faster than it takes their remainders
        if np.any(((taps < first) | (taps >= last)) & (positions < places)):
            raise ValueError(f"{op}: saved holds a position in the padding, at output {output} of spatial axis {axis}")
    return saved if saved.flags.carray else np.require(saved, wanted, ["C", "A"])


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
