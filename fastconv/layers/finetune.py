"""What it takes to train a trained model further: parameters that stay as they are, and a new last layer."""

import inspect
from collections.abc import Callable
from fnmatch import fnmatchcase

import numpy as np

from fastconv.layers.base import Layer
from fastconv.layers.conv import Conv2d
from fastconv.layers.dense import Linear

OUTPUTS = {Linear: "out_features", Conv2d: "out_channels"}  # the arguments that say how many scores a last layer gives


def freeze(model: Layer, *patterns: str) -> list[str]:
    """Keep parameters as they are in training: no gradient is computed for them, and no optimiser changes them.

    Where everything at the start of a model is frozen, the backward pass ends there. A batch normalisation with a
    frozen parameter uses its running statistics, and leaves them as they are. Freeze before the `Arena` is made.

    Parameters
    ----------
    model : Layer
        Changed in place.
    *patterns : str
        Names of parameters, of layers, or shell patterns of them: 'conv1.weight', 'layer1', 'layer[12].*.bn?'.

    Returns
    -------
    list of str
        Names of all parameters that match.

    Raises
    ------
    ValueError
        A pattern matches nothing. Nothing has been frozen then.
    """
    return _mark("freeze", model, patterns, lambda frozen, key: frozen | {key})


def unfreeze(model: Layer, *patterns: str) -> list[str]:
    """Let training change parameters again that `freeze` has frozen; an `Arena` made before does not know them.

    Parameters, result and errors are those of `freeze`.
    """
    return _mark("unfreeze", model, patterns, lambda frozen, key: frozen - {key})


def last_layer(model: Layer) -> tuple[str, Layer]:
    """Return the name and the layer that gives a model's scores: its last `Linear` or convolution.

    Raises
    ------
    ValueError
        It has none.
    """
    found = [(name, layer) for name, layer in model.named_layers() if isinstance(layer, tuple(OUTPUTS))]
    if not found:
        raise ValueError(f"last_layer: there is no Linear and no convolution in {type(model).__name__}")
    return found[-1]


def replace_head(model: Layer, outputs: int, *, rng: np.random.Generator | int | None = None) -> str:
    """Put a new layer in the place of the last `Linear` or convolution, to tell other classes apart.

    Parameters
    ----------
    model : Layer
        Changed in place.
    outputs : int
        Scores that it gives, of otherwise the same options.
    rng : Generator or int, optional
        Where its parameters come from.

    Returns
    -------
    str
        Its name, which is that of the old one.

    Raises
    ------
    TypeError, ValueError
        There is no such layer, it is the model itself, or `outputs` is no number of outputs.
    """
    name, old = last_layer(model)
    if old is model:
        raise ValueError("replace_head: the model is a single layer, which has no place in another")
    names = (p.name for p in inspect.signature(type(old)).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD)
    size = next(argument for kind, argument in OUTPUTS.items() if isinstance(old, kind))
    options = {argument: getattr(old, argument) for argument in names} | {size: outputs}
    new = type(old)(**options, rng=rng).astype(old.params["weight"].dtype)
    for _, parent in model.named_layers():
        parent.children |= {key: new for key, child in parent.children.items() if child is old}
    return name


def _mark(function: str, model: Layer, patterns: tuple[str, ...], change: Callable) -> list[str]:
    owners = list(model.owners())
    chosen = [(name, layer, key) for name, layer, key in owners if any(_matches(name, p) for p in patterns)]
    for pattern in patterns:
        if not any(_matches(name, pattern) for name, *_ in owners):
            first = ", ".join(name for name, *_ in owners[:3])
            raise ValueError(f"{function}: no parameter is called {pattern!r}; the first are {first}")
    for _, layer, key in chosen:
        layer.frozen = change(layer.frozen, key)
    return [name for name, *_ in chosen]


def _matches(name: str, pattern: str) -> bool:
    """Return whether a pattern names a parameter or a layer that it is in."""
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")
