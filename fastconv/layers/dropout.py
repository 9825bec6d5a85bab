"""Dropout as layers: of single elements, of whole channels, and of whole samples."""

from math import prod

import numpy as np

from fastconv import ops
from fastconv.arguments import as_share
from fastconv.init import generator
from fastconv.layers.base import Layer, Pullback, Shape


class Dropout(Layer):
    """Set a random share `p` of the elements to 0 in training and divide the others by 1 - p; y = x in inference.

    N. Srivastava et al., *Dropout: a simple way to prevent neural networks from overfitting* (2014),
    https://jmlr.org/papers/v15/srivastava14a.html.

    The draws come from a counter-based generator, see `fastconv.dropout`: which elements stay follows from the layer's
    seed and from the number of its training passes, and from nothing else. That number is a buffer, so a run that is
    taken up again goes on with the draws that it would have made.

    Parameters
    ----------
    p : float
        From 0 to 1.
    rng : Generator or int, optional
        Where the seed comes from; see `fastconv.init.generator`.

    Attributes
    ----------
    buffers : dict
        'passes', () int64: forward passes in training so far.

    Raises
    ------
    TypeError, ValueError
        `p` is no number, or outside its range.
    """

    counters = frozenset({"passes"})
    op = "dropout"

    def __init__(self, p: float = 0.5, *, rng: np.random.Generator | int | None = None):
        self.p = as_share(type(self).__name__, "p", p)
        self._seed = int(generator(rng).integers(2**63))
        super().__init__(buffers={"passes": np.array(0, np.int64)})

    def apply(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Pullback]:
        """See `Layer.apply`."""
        if not train or self.p == 0:
            return x, lambda dy, _: dy
        draw = {"seed": self._seed, "counter": int(self.buffers["passes"])}
        y = getattr(ops, self.op)(x, self.p, **draw)
        self.buffers["passes"] += 1
        gradient = getattr(ops, f"{self.op}_backward")
        return y, lambda dy, _: gradient(dy, y, self.p, **draw)  # of y only the shape and the dtype count

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        return tuple(input_shape)


class Dropout1d(Dropout):
    """Dropout of whole channels of ([n,] c, l); see `fastconv.dropout1d`. Otherwise as `Dropout`."""

    op = "dropout1d"


class Dropout2d(Dropout):
    """Dropout of whole channels of ([n,] c, h, w); see `fastconv.dropout2d`. Otherwise as `Dropout`."""

    op = "dropout2d"


class Dropout3d(Dropout):
    """Dropout of whole channels of ([n,] c, d, h, w); see `fastconv.dropout3d`. Otherwise as `Dropout`."""

    op = "dropout3d"


class StochasticDepth(Dropout):
    """Set whole samples to 0 in training, a random share `p`, and divide the others by 1 - p. Otherwise as `Dropout`.

    At the end of a branch of a residual unit it lets samples skip the branch: G. Huang et al., *Deep networks with
    stochastic depth*, ECCV 2016, https://arxiv.org/abs/1603.09382; division as in torchvision's ``mode='row'``.
    """

    op = "dropout1d"  # of (c, l), where a channel is a sample here

    def apply(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Pullback]:
        """See `Layer.apply`."""
        rows = (len(x), prod(x.shape[1:]))
        y, pullback = super().apply(x.reshape(rows), train)
        return y.reshape(x.shape), lambda dy, _: pullback(dy.reshape(rows), _).reshape(x.shape)
