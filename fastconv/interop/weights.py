"""Weights from a file into a model: fastconv's own files, and those with the names of torchvision's models."""

import inspect
import os
import re
from collections.abc import Callable
from functools import wraps

import numpy as np

from fastconv.layers import Layer, heads
from fastconv.layers.base import join_names

# Names in files that torchvision published before it renamed layers of its densenets, and what is read in their place.
OLD_NAMES = ((re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12])\."), r"\1\2."),)
FOREIGN = {b"PK": "PyTorch archive", b"\x80": "PyTorch archive"}  # how files of other kinds start


def load_weights(
    model: Layer, path: str | os.PathLike, *, strict: bool = True, new_head: bool = False
) -> tuple[list[str], list[str]]:
    """Copy the arrays of a safetensors file into a model: all of them, or none if one does not fit.

    Parameters
    ----------
    model : Layer
        Its names are the file's. Written in place; it keeps its dtype.
    path : path
        `fastconv convert` makes such a file of PyTorch's.
    strict : bool
        Whether missing and unexpected names are errors. Wrong shapes always are.
    new_head : bool
        Leave the layers that give scores (`fastconv.layers.heads`) as they are, whatever the file has for them: to
        train for other classes.

    Returns
    -------
    missing, unexpected : list of str
        Names that only the model has, and that only the file has.

    Raises
    ------
    ValueError
        The file is no safetensors file, or its names or shapes are not the model's; the message lists them.
    OSError
        The file cannot be read.
    """
    arrays = _read(path)
    head = {join_names(name, key): array for name, layer in heads(model) for key, array in layer.params.items()}
    if new_head:
        arrays |= head
    try:
        return model.load_state_dict(arrays, strict)
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: {error}{_hint(arrays, head)}") from None


def loadable(name: str, builder: Callable[..., Layer]) -> Callable[..., Layer]:
    """Return a builder of models that also takes ``weights``: the path of a file for `load_weights`.

    Parameters
    ----------
    name : str
        The result's.
    builder : callable
    """

    @wraps(builder)
    def build(*arguments, weights: str | os.PathLike | None = None, **options) -> Layer:
        model = builder(*arguments, **options)
        if weights is not None:
            load_weights(model, weights)
        return model

    signature = inspect.signature(builder)
    added = inspect.Parameter("weights", inspect.Parameter.KEYWORD_ONLY, default=None)
    parameters = sorted([*signature.parameters.values(), added], key=lambda parameter: parameter.kind)
    build.__signature__ = signature.replace(parameters=parameters)
    build.__name__ = build.__qualname__ = name
    build.__doc__ = getattr(builder, "func", builder).__doc__
    return build


def _read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Return a file's arrays, by the names of today."""
    from fastconv.interop import safetensors

    with open(path, "rb") as file:
        start = file.read(2)
    for magic, kind in FOREIGN.items():
        if start.startswith(magic):
            raise ValueError(f"{os.fspath(path)} is a {kind}; `fastconv convert` makes safetensors of it")
    arrays, _ = safetensors.load(path)
    for pattern, replacement in OLD_NAMES:
        arrays = {pattern.sub(replacement, name): array for name, array in arrays.items()}
    return arrays


def _hint(arrays: dict[str, np.ndarray], head: dict[str, np.ndarray]) -> str:
    """Return what to do where the file's last layer tells other classes apart."""
    for name, array in head.items():
        if name in arrays and arrays[name].shape != array.shape and arrays[name].shape[1:] == array.shape[1:]:
            classes = len(arrays[name])
            return f"; the file has {classes} classes: build with num_classes={classes}, then use `replace_head`"
    return ""
