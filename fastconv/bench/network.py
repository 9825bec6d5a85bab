"""The networks whose inference is compared: built once for all contenders, and taken apart into single operations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastconv.bench.rows import Row
from fastconv.layers import Dropout, Identity, Layer, Sequential, Sum, fold_batch_norm
from fastconv.layers.norm import BatchNorm
from fastconv.models import MODELS


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes
    ----------
    kind : str
        Name of the layer's class, or 'Add'.
    layer : Layer or None
    inputs : tuple of str
        Names of what it reads; the network's input is 'x'.
    output : str
    """

    kind: str
    layer: Layer | None
    inputs: tuple[str, ...]
    output: str


def build(row: Row) -> Layer:
    """Return the network of a row, the same in every process, with statistics that folding has to respect."""
    model, rng = MODELS[row.case.model](seed=0), np.random.default_rng(1)
    for _, layer in model.named_layers():
        if isinstance(layer, BatchNorm):
            size = layer.num_features
            layer.params["weight"][...] = rng.uniform(0.5, 1, size)
            layer.params["bias"][...] = rng.normal(0, 0.1, size)
            layer.buffers["running_mean"][...] = rng.normal(0, 0.1, size)
            layer.buffers["running_var"][...] = rng.uniform(0.5, 1.5, size)
    return model


def folded(row: Row) -> Layer:
    """Return the same network with its batch normalisation folded."""
    return fold_batch_norm(build(row))


def nodes(model: Layer) -> list[Node]:
    """List the operations of a model of chains and sums, in order."""
    found: list[Node] = []

    def visit(layer: Layer, x: str) -> str:
        if isinstance(layer, Sequential):
            for child in layer:
                x = visit(child, x)
            return x
        if isinstance(layer, Identity | Dropout):
            return x
        if isinstance(layer, Sum):
            inputs, kind = tuple(visit(child, x) for child in layer.children.values()), "Add"
        else:
            inputs, kind = (x,), type(layer).__name__
        found.append(Node(kind, layer, inputs, f"y{len(found)}"))
        return found[-1].output

    visit(model, "x")
    return found
