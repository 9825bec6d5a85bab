"""What the results should be, in float64 and plain NumPy: no contender is judged by another, or by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod

import numpy as np

from fastconv.bench import network_truth
from fastconv.bench.network import build
from fastconv.bench.rows import Row, one_array_geometry, operands
from fastconv.geometry import ConvGeometry, PoolGeometry, Window

Results = dict[str, list[np.ndarray]]  # of each pass: y; dx; dw and db

# Largest error allowed, relative to the largest element. Transforms (Winograd) stay below 3e-5 in float32; half
# precision does not. Two networks of one name may differ in the parameters of their shortcuts.
TOLERANCE, TRAINING_TOLERANCE = 1e-4, 0.02


def error(results: list[np.ndarray], truth: list[np.ndarray]) -> float:
    """Return the largest error relative to the largest element; infinite for other shapes, NaN for NaN."""
    if [r.shape for r in results] != [t.shape for t in truth]:
        return np.inf
    return float(max(np.abs(r - t).max() / np.abs(t).max() for r, t in zip(results, truth, strict=True)))


def is_right(row: Row, found: float) -> bool:
    """Whether an error is within what float32 allows. NaN is not."""
    return found <= (TRAINING_TOLERANCE if row.work == "training" else TOLERANCE)


def _padded(x: np.ndarray, window: Window, value: float = 0.0) -> np.ndarray:
    pairs = [(0, 0)] * (x.ndim - window.ndim) + list(window.padding)
    return np.pad(x, pairs, constant_values=value)


def _unpadded(x: np.ndarray, window: Window, size: tuple[int, ...]) -> np.ndarray:
    return x[..., *(slice(before, before + n) for (before, _), n in zip(window.padding, size, strict=True))]


def _taps(window: Window, output_size: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], tuple]]:
    """Yield each place in the kernel, and the index of the padded elements that all windows have there."""
    for place in np.ndindex(window.kernel):
        starts = [k * d for k, d in zip(place, window.dilation, strict=True)]
        stops = [start + (o - 1) * s + 1 for start, o, s in zip(starts, output_size, window.stride, strict=True)]
        yield place, (Ellipsis, *map(slice, starts, stops, window.stride))


def convolution(row: Row) -> Results:
    """Add the bias, and its gradient, to the three products."""
    x, w, b, dy = (None if a is None else a.astype(np.float64) for a in operands(row))
    y, dx, dw = _convolution(row.case.geometry, x, w, dy)
    return _with_bias(y, dx, dw, b, dy)


def conv_transpose(row: Row) -> Results:
    """Exchange the roles of the input and the output of a convolution."""
    x, w, b, dy = (None if a is None else a.astype(np.float64) for a in operands(row))
    dx, y, dw = _convolution(row.case.geometry.convolution, dy, w, x)
    return _with_bias(y, dx, dw, b, dy)


def _with_bias(y: np.ndarray, dx: np.ndarray, dw: np.ndarray, b: np.ndarray | None, dy: np.ndarray) -> Results:
    if b is None:
        return {"forward": [y], "prepacked": [y], "dx": [dx], "dw": [dw]}
    spatial = tuple(range(2, y.ndim))
    y += b.reshape(-1, *[1] * len(spatial))
    return {"forward": [y], "prepacked": [y], "dx": [dx], "dw": [dw, dy.sum((0, *spatial))]}


def _convolution(
    geometry: ConvGeometry, x: np.ndarray, w: np.ndarray, dy: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Multiply matrices of weights with all windows of an image ("im2col"), image by image: y, dx and dw."""
    window, out, g = geometry.window, geometry.output_size, geometry.groups
    taps, pixels = list(_taps(window, out)), prod(out)
    matrix = w.reshape(g, geometry.group_out, -1)
    y, dx, dw = np.empty(geometry.y_shape), np.empty(geometry.x_shape), np.zeros(matrix.shape)
    for n in range(geometry.batch):
        image = _padded(x[n], window)
        windows = np.empty((geometry.in_channels, *window.kernel, *out))
        for place, index in taps:
            windows[:, *place] = image[index]
        windows = windows.reshape(g, -1, pixels)
        slope = dy[n].reshape(g, -1, pixels)
        y[n] = (matrix @ windows).reshape(y.shape[1:])
        dw += slope @ windows.swapaxes(1, 2)
        back = (matrix.swapaxes(1, 2) @ slope).reshape(geometry.in_channels, *window.kernel, *out)
        image[...] = 0
        for place, index in taps:
            image[index] += back[:, *place]
        dx[n] = _unpadded(image, window, geometry.input_size)
    return y, dx, dw.reshape(w.shape)


def _pool_geometry(row: Row) -> PoolGeometry:
    return one_array_geometry(row.case) if row.work == "one_array" else row.case.geometry


def max_pool2d(row: Row) -> Results:
    """Keep the largest element of each window, the first of equals, and send the gradient there."""
    geometry = _pool_geometry(row)
    window, (x, dy) = geometry.window, (array.astype(np.float64) for array in operands(row))
    padded, taps = _padded(x, window, -np.inf), list(_taps(window, geometry.output_size))
    y, winner = np.full(dy.shape, -np.inf), np.zeros(dy.shape, np.int64)
    for number, (_, index) in enumerate(taps):
        larger = padded[index] > y
        y[larger], winner[larger] = padded[index][larger], number
    dx = np.zeros(padded.shape)
    for number, (_, index) in enumerate(taps):
        dx[index] += dy * (winner == number)
    return {"forward": [y], "dx": [_unpadded(dx, window, geometry.input_size)]}


def avg_pool2d(row: Row) -> Results:
    """Add up each window, padding included."""
    geometry = _pool_geometry(row)
    window, (x, dy) = geometry.window, (array.astype(np.float64) for array in operands(row))
    padded, places = _padded(x, window), prod(window.kernel)
    y, dx = np.zeros(dy.shape), np.zeros(padded.shape)
    for _, index in _taps(window, geometry.output_size):
        y += padded[index] / places
        dx[index] += dy / places
    return {"forward": [y], "dx": [_unpadded(dx, window, geometry.input_size)]}


def _means(n: int, m: int) -> np.ndarray:
    """Matrix (m, n) of the means of adaptive windows."""
    matrix = np.zeros((m, n))
    for o in range(m):
        start, end = o * n // m, -(-(o + 1) * n // m)
        matrix[o, start:end] = 1 / (end - start)
    return matrix


def _interpolation(n: int, m: int, step: float, mode: str, align_corners: bool) -> np.ndarray:
    """Matrix (m, n) of the weights of neighbours: hats around the elements, or 1 for the nearest."""
    o, places = np.arange(m)[:, None], np.arange(n)
    if mode == "nearest":
        return (np.minimum(np.float32(step) * np.float32(o) // 1, n - 1) == places).astype(np.float64)
    sources = o * step if align_corners else (o + 0.5) * step - 0.5
    return np.maximum(0, 1 - np.abs(np.clip(sources, 0, n - 1) - places))


def one_array(row: Row) -> Results:
    """Pool, or multiply each axis by a matrix, and by its transpose for the gradient."""
    case, geometry = row.case, one_array_geometry(row.case)
    if case.op.startswith("max"):
        return max_pool2d(row)
    if case.op.startswith("avg"):
        return avg_pool2d(row)
    y, dx = (array.astype(np.float64) for array in operands(row))
    for axis, (n, m) in enumerate(zip(geometry.input_size, geometry.output_size, strict=True)):
        if case.op == "interpolate":
            matrix = _interpolation(n, m, geometry.steps[axis], geometry.mode, geometry.align_corners)
        else:
            matrix = _means(n, m)
        y = np.moveaxis(np.tensordot(y, matrix, (axis + 2, 1)), -1, axis + 2)
        dx = np.moveaxis(np.tensordot(dx, matrix, (axis + 2, 0)), -1, axis + 2)
    return {"forward": [y], "dx": [dx]}


def batch_norm(row: Row) -> Results:
    """S. Ioffe and C. Szegedy, *Batch Normalization* (2015), algorithm 1 and the gradients below it; then ReLU."""
    x, weight, bias, residual, dy = (None if a is None else a.astype(np.float64) for a in operands(row))
    axes, (weight, bias) = (0, 2, 3), (array[:, None, None] for array in (weight, bias))
    scale = 1 / np.sqrt(x.var(axes, keepdims=True) + 1e-5)
    normal = (x - x.mean(axes, keepdims=True)) * scale
    y = np.maximum(weight * normal + bias + (0 if residual is None else residual), 0)
    slope = dy * (y > 0)
    dbias, dweight = (array.mean(axes, keepdims=True) for array in (slope, slope * normal))
    dx = weight * scale * (slope - dbias - normal * dweight)
    count = x[:, 0].size
    gradients = [dx, dweight.ravel() * count, dbias.ravel() * count]
    return {"forward": [y], "dx": gradients if residual is None else [*gradients, slope]}


def inference(row: Row) -> Results:
    """Compute the network as it is, batch normalisation and all."""
    y = network_truth.evaluate(build(row), *operands(row))
    return {"forward": [y], "prepacked": [y]}


def training(row: Row) -> Results:
    """Give the number of parameters: a step has nothing else that all networks of a name share."""
    return {"step": [np.array([float(row.case.parameters)])]}


TRUTH: dict[str, Callable[[Row], Results]] = {
    "conv2d": convolution,
    "conv_nd": convolution,
    "conv_transpose": conv_transpose,
    "max_pool2d": max_pool2d,
    "avg_pool2d": avg_pool2d,
    "one_array": one_array,
    "batch_norm": batch_norm,
    "inference": inference,
    "training": training,
}
