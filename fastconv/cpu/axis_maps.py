"""What each output of an axis is made of: the places and weights of means, of interpolation and of their gradients.

An `AxisMap` is a sparse matrix. Adaptive pooling, interpolation and a bed of nails are such a matrix along each axis,
and the gradient of each is the same with the matrices transposed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class AxisMap:
    """Output ``o`` is the sum of ``weights[k] * input[places[k]]`` over ``first[o] <= k < first[o + 1]``.

    The places of an output follow one another, each a step from the last; `join` alone gives maps that lack this.
    """

    size: int
    first: NDArray[np.int64]
    places: NDArray[np.int64]
    weights: NDArray[np.float64]

    @classmethod
    def of_pairs(cls, size: int, outputs: int, o: NDArray, places: NDArray, weights: NDArray) -> AxisMap:
        """Make a map of (output, place, weight), in any order."""
        order = np.lexsort((places, o))
        first = np.concatenate([[0], np.cumsum(np.bincount(o, minlength=outputs))])
        return cls(size, first, places[order], weights[order])

    @property
    def outputs(self) -> int:
        """Number of outputs."""
        return len(self.first) - 1

    @property
    def counts(self) -> NDArray[np.int64]:
        """Number of places of each output."""
        return np.diff(self.first)

    @property
    def owners(self) -> NDArray[np.int64]:
        """Output of each place."""
        return np.repeat(np.arange(self.outputs), self.counts)

    def transposed(self) -> AxisMap:
        """Return the map that takes gradients back."""
        return AxisMap.of_pairs(self.outputs, self.size, self.places, self.owners, self.weights)


def means(size: int, windows: list[tuple[int, int]]) -> AxisMap:
    """Mean of each window, given by its start and end."""
    starts, ends = np.array(windows).T
    o = np.repeat(np.arange(len(windows)), ends - starts)
    inside = np.arange(len(o)) - np.searchsorted(o, o)
    return AxisMap.of_pairs(size, len(windows), o, starts[o] + inside, 1 / (ends - starts)[o])


def nearest(size: int, outputs: int, step: float) -> AxisMap:
    """Element at ``floor(o * step)``, computed in float32 as PyTorch does: both pick the same ones."""
    o = np.arange(outputs)
    places = np.floor(o.astype(np.float32) * np.float32(step)).astype(np.int64)
    return AxisMap.of_pairs(size, outputs, o, np.minimum(places, size - 1), np.ones(outputs))


def linear(size: int, outputs: int, step: float, align_corners: bool) -> AxisMap:
    """Mean of two neighbours, weighted by their distance; those of weight 0 are left out."""
    o = np.arange(outputs)
    sources = np.clip(o * step if align_corners else (o + 0.5) * step - 0.5, 0, size - 1)
    low = np.floor(sources).astype(np.int64)
    places, weights = np.concatenate([low, low + 1]), np.concatenate([low + 1 - sources, sources - low])
    real = weights > 0
    return AxisMap.of_pairs(size, outputs, np.tile(o, 2)[real], places[real], weights[real])


def nails(size: int, step: int) -> AxisMap:
    """Every element `step` places from the last, and zeros between them."""
    places = np.arange(size)
    return AxisMap.of_pairs(size, size * step, places * step, places, np.ones(size))


def join(before: AxisMap, after: AxisMap) -> AxisMap:
    """Return one map of two axes taken together, the second one running faster."""
    counts = np.multiply.outer(before.counts, after.counts).ravel()
    first = np.concatenate([[0], np.cumsum(counts)])
    o = np.repeat(np.arange(len(counts)), counts)
    inside, (o1, o2) = np.arange(len(o)) - first[o], np.divmod(o, after.outputs)
    k1, k2 = before.first[o1] + inside // after.counts[o2], after.first[o2] + inside % after.counts[o2]
    places = before.places[k1] * after.size + after.places[k2]
    return AxisMap(before.size * after.size, first, places, before.weights[k1] * after.weights[k2])


def whole() -> AxisMap:
    """Return the map of an axis of one element to itself."""
    return nails(1, 1)
