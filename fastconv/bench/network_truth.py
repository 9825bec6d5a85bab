"""What a network should give, in float64 and plain NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastconv.bench.network import nodes
from fastconv.geometry import Window
from fastconv.layers import Layer


def evaluate(model: Layer, x: np.ndarray) -> np.ndarray:
    """Return the output of a model in inference."""
    known = {"x": x.astype(np.float64)}
    for node in nodes(model):
        known[node.output] = OPERATIONS[node.kind](node.layer, *(known[name] for name in node.inputs))
    return known[node.output]


def _windows(layer: Layer, x: np.ndarray, value: float) -> np.ndarray:
    """Return a view of the elements under each window, (n, c, oh, ow, kh, kw)."""
    window = Window.make("network", 2, layer.kernel_size, layer.stride, layer.padding, layer.dilation)
    x = np.pad(x, [(0, 0), (0, 0), *window.padding], constant_values=value)
    (tall, wide), (down, right) = window.extent, window.stride
    rows, columns = window.dilation
    every = np.lib.stride_tricks.sliding_window_view(x, (tall, wide), (2, 3))
    return every[:, :, ::down, ::right, ::rows, ::columns]


def _convolve(layer: Layer, x: np.ndarray) -> np.ndarray:
    w = layer.params["weight"].astype(np.float64)
    matrix = w.reshape(layer.groups, len(w) // layer.groups, -1)
    images = []
    for image in x:  # the windows of all would need too much memory
        windows = _windows(layer, image[None], 0.0)[0]
        size = windows.shape[1:3]
        columns = windows.transpose(0, 3, 4, 1, 2).reshape(layer.groups, matrix.shape[2], -1)
        images.append((matrix @ columns).reshape(len(w), *size))
    return np.stack(images) + layer.params.get("bias", np.zeros(len(w)))[:, None, None]


def _normalise(layer: Layer, x: np.ndarray) -> np.ndarray:
    state = {name: array[:, None, None].astype(np.float64) for name, array in (layer.params | layer.buffers).items()
             if array.ndim}  # fmt: skip
    scale = state["weight"] / np.sqrt(state["running_var"] + layer.eps)
    return (x - state["running_mean"]) * scale + state["bias"]


OPERATIONS: dict[str, Callable[..., np.ndarray]] = {
    "Conv2d": _convolve,
    "BatchNorm2d": _normalise,
    "ReLU": lambda _, x: np.maximum(x, 0),
    "ReLU6": lambda _, x: np.clip(x, 0, 6),
    "MaxPool2d": lambda layer, x: _windows(layer, x, -np.inf).max((4, 5)),
    "GlobalAvgPool2d": lambda _, x: x.mean((2, 3), keepdims=True),
    "Flatten": lambda _, x: x.reshape(len(x), -1),
    "Linear": lambda layer, x: x @ layer.params["weight"].T.astype(np.float64) + layer.params["bias"],
    "Add": lambda _, *xs: sum(xs),
}
