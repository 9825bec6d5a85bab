"""Heads at the side of a network, which help to train it (C. Szegedy et al. 2015, https://arxiv.org/abs/1409.4842).

A network with such heads has several results in training: it is no chain of branches that meet again, which
`Sequential`, `Sum` and `Concat` can say. So `Supervised` goes its own way through the chain, and is the one combinator
that adds up gradients where a side path leaves.
"""

from collections.abc import Callable, Iterator

import numpy as np

from fastconv import runtime
from fastconv.arguments import as_real
from fastconv.layers.base import Layer, Pullback, Shape
from fastconv.layers.combinators import Sequential


class SideHead(Layer):
    """A classifier that looks at the maps at its place of a `Supervised` network. The maps pass it unchanged.

    Parameters
    ----------
    head : Layer
        From the maps to scores (n, classes). Its parameters are named as if it stood here itself.
    weight : float
        Of its loss in the sum.

    Raises
    ------
    TypeError, ValueError
        `weight` is no number, or not finite.
    """

    def __init__(self, head: Layer, weight: float = 0.3):
        self.weight = as_real("SideHead", "weight", weight)
        super().__init__(children={"": head})

    @property
    def head(self) -> Layer:
        """The classifier."""
        return self.children[""]

    def apply(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Pullback]:
        """See `Layer.apply`: the maps alone, as inference needs no scores here."""
        return x, lambda dy, _: dy

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        return tuple(input_shape)


class Supervised(Sequential):
    """One layer after another, with heads at the side: the outermost layer of a model.

    In training the result has the scores of all heads, ``(1 + heads, n, classes)``: first those of the chain's end,
    then those of each `SideHead` in order. Their losses are added with the factors in `loss_weights`
    (`fastconv.train.objective` does it). In inference heads are not computed, and the result is (n, classes).

    Parameters
    ----------
    *layers : Layer, or one dict of str to Layer
        As in `Sequential`; a `SideHead` among them, not deeper, is a head.
    """

    @property
    def loss_weights(self) -> tuple[float, ...]:
        """The factor of each head's loss, 1 for the chain's end."""
        return (1.0, *(layer.weight for layer in self if isinstance(layer, SideHead)))

    def _paths(self) -> Iterator[tuple[Layer, bool]]:
        """Yield the chain's parts and the heads between them, each with whether it is a head."""
        part: dict[str, Layer] = {}
        for name, layer in self.children.items():
            if isinstance(layer, SideHead):
                yield Sequential(part), False
                yield layer.head, True
                part = {}
            else:
                part[name] = layer
        yield Sequential(part), False

    def apply(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Pullback]:
        """See `Layer.apply`."""
        if not train:
            return super().apply(x, train)
        backwards: list[tuple[Callable, bool]] = []
        scores = []
        for layer, is_head in self._paths():
            y, backward = layer.forward(x)
            backwards.append((backward, is_head))
            if is_head:
                scores.append(y)
            else:
                x = y
        y = runtime.empty((1 + len(scores), *x.shape), x.dtype)

        def pullback(dy: np.ndarray, input_gradient: bool) -> np.ndarray | None:
            dx, *dscores = dy
            while backwards:  # popping frees what each pass has kept
                backward, is_head = backwards.pop()
                if is_head:
                    dx = np.add(dx, backward(dscores.pop()), out=runtime.empty(dx.shape, dx.dtype))
                else:
                    dx = backward(dx, input_gradient or bool(backwards))
            return dx

        return np.stack([x, *scores], out=y), pullback
