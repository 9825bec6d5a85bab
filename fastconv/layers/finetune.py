"""What it takes to train a trained model further: parameters that stay as they are, and a new last layer."""

import inspect
from collections.abc import Callable
from fnmatch import fnmatchcase

import numpy as np

from fastconv.init import generator
from fastconv.layers.base import Layer, join_names
from fastconv.layers.conv import Conv2d
from fastconv.layers.dense import Linear
from fastconv.layers.side_heads import SideHead

SCORING = (Linear, Conv2d)  # what the last layer of a network may be


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


def heads(model: Layer) -> list[tuple[str, Layer]]:
    """Return the names and the layers that give scores: the last `Linear` or convolution, and that of each `SideHead`.

    Raises
    ------
    ValueError
        There is none.
    """
    named = list(model.named_layers())
    sides = [(name, layer) for name, layer in named if isinstance(layer, SideHead)]
    found = []
    for start, part in [("", model), *sides]:
        scoring = [(name, layer) for name, layer in part.named_layers() if isinstance(layer, SCORING)]
        found += [(join_names(start, name), layer) for name, layer in scoring[-1:]]
    if not found:
        raise ValueError(f"heads: there is no Linear and no convolution in {type(model).__name__}")
    return found


def replace_head(model: Layer, outputs: int, *, rng: np.random.Generator | int | None = None) -> list[str]:
    """Put new layers in the place of those that give scores (`heads`), to tell other classes apart.

    Parameters
    ----------
    model : Layer
        Changed in place.
    outputs : int
        Scores that the new layers give, of otherwise the same options.
    rng : Generator or int, optional
        Where their parameters come from.

    Returns
    -------
    list of str
        Their names, which are those of the old ones.

    Raises
    ------
    TypeError, ValueError
        There is no such layer, it is the model itself, or `outputs` is no number of outputs.
    """
    found, rng = heads(model), generator(rng)
    if any(old is model for _, old in found):
        raise ValueError("replace_head: the model is a single layer, which has no place in another")
    new = {id(old): _with_outputs(old, outputs, rng) for _, old in found}
    for _, parent in list(model.named_layers()):
        parent.children |= {key: new[id(child)] for key, child in parent.children.items() if id(child) in new}
    return [name for name, _ in found]


def _with_outputs(old: Layer, outputs: int, rng: np.random.Generator) -> Layer:
    """Return a fresh layer with the options of `old`, but for the number of outputs."""
    names = (p.name for p in inspect.signature(type(old)).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD)
    size = "out_features" if isinstance(old, Linear) else "out_channels"
    options = {name: getattr(old, name) for name in names} | {size: outputs}
    return type(old)(**options, rng=rng).astype(old.params["weight"].dtype)


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
