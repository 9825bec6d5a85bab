"""Models for inference alone, whose batch normalisation has gone into the layers before it."""

from copy import copy, deepcopy

import numpy as np

from fastconv.layers.base import Layer, join_names
from fastconv.layers.combinators import Identity, Sequential
from fastconv.layers.conv import Conv2d
from fastconv.layers.dense import Linear
from fastconv.layers.norm import BatchNorm, BatchNorm1d, BatchNorm2d

FOLDS_INTO = {BatchNorm2d: Conv2d, BatchNorm1d: Linear}


def fold_batch_norm(model: Layer) -> Layer:
    """Return a copy of a model for inference, in which convolutions do the work of the batch normalisation after them.

    With fixed statistics, a normalisation multiplies each channel by a number and adds another: the weight of the layer
    before can hold the one, its bias the other. That holds for a `Conv2d` followed by a `BatchNorm2d`, and for a
    `Linear` followed by a `BatchNorm1d`, anywhere in the model; also where the first is the last layer of a
    `Sequential` and the second follows that.

    The names of parameters stay: an `Identity` takes the place of the normalisation, and a layer that had no bias has
    one. A normalisation with nothing to fold into (as at the start of a pre-activation unit) stays as it is.

    Parameters
    ----------
    model : Layer
        It is left as it is, and shares no array with the result. Before a `BatchNorm1d`, a `Linear` must have inputs
        of two axes: of three, the two normalise different axes.

    Returns
    -------
    Layer
        Its outputs are those of ``model(x)`` but for rounding. To train it further would train another model.

    Raises
    ------
    TypeError
        `model` is no Layer.
    ValueError
        A normalisation has another number of channels than the layer before it.
    """
    if not isinstance(model, Layer):
        raise TypeError(f"fold_batch_norm: model must be a Layer, got {model!r}")
    folded = deepcopy(model)
    for name, layer in reversed(list(folded.named_layers())):  # what a layer is made of comes before it
        if isinstance(layer, Sequential):
            _fold_neighbours(name, layer)
    return folded


def _fold_neighbours(name: str, layers: Sequential) -> None:
    """Fold each normalisation in a chain into the layer before it."""
    previous = None
    for key, layer in layers.children.items():
        if previous is not None and isinstance(layer, BatchNorm) and layer.track_running_stats:
            united = _united(layers.children[previous], layer, join_names(name, key))
            if united is not None:
                layers.children |= {previous: united, key: Identity()}
        previous = key


def _united(layer: Layer, norm: BatchNorm, name: str) -> Layer | None:
    """Return a new layer that does the work of `layer` and of `norm` after it; None if there is no such."""
    if isinstance(layer, Sequential) and len(layer):
        last = list(layer.children)[-1]
        united = _united(layer.children[last], norm, name)
        if united is None:
            return None
        chain = copy(layer)  # it may stand elsewhere, too, with something else after it
        chain.children = layer.children | {last: united}
        return chain
    if not isinstance(layer, FOLDS_INTO.get(type(norm), ())):
        return None
    outputs = len(layer.params["weight"])
    if outputs != norm.num_features:
        raise ValueError(f"fold_batch_norm: {name!r} is {norm!r}, but {layer!r} before it has {outputs} outputs")
    return _scaled(layer, norm)


def _scaled(layer: Conv2d | Linear, norm: BatchNorm) -> Layer:
    """Return a copy of a layer with the weight and the bias that give the normalised outputs."""
    known = {"weight": np.ones(norm.num_features), "bias": np.zeros(norm.num_features)} | norm.params | norm.buffers
    state = {key: array.astype(np.float64) for key, array in known.items()}
    w, b = layer.params["weight"].astype(np.float64), layer.params.get("bias", 0.0)
    scale = state["weight"] / np.sqrt(state["running_var"] + norm.eps)
    shift = state["bias"] + (b - state["running_mean"]) * scale
    params = {"weight": w * scale.reshape(-1, *[1] * (w.ndim - 1)), "bias": shift}
    scaled = copy(layer)
    scaled.bias = True
    scaled.params = {key: array.astype(layer.params["weight"].dtype) for key, array in params.items()}
    scaled.grads = {key: np.zeros_like(array) for key, array in scaled.params.items()}
    return scaled
