"""Dropout as a layer."""

from numbers import Real

import numpy as np

from fastconv.init import generator
from fastconv.layers.base import Layer, Pullback, Shape


class Dropout(Layer):
    """Set a random share `p` of the elements to 0 in training and divide the others by 1 - p; y = x in inference.

    N. Srivastava et al., *Dropout: a simple way to prevent neural networks from overfitting* (2014),
    https://jmlr.org/papers/v15/srivastava14a.html.

    The draws come from a counter-based generator (Philox): which elements stay follows from the layer's key and from
    the number of its training passes, and from nothing else. That number is a buffer, so a run that is taken up again
    goes on with the draws that it would have made.

    Parameters
    ----------
    p : float
        From 0 to 1.
    rng : Generator or int, optional
        Where the key comes from; see `fastconv.init.generator`.

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

    def __init__(self, p: float = 0.5, *, rng: np.random.Generator | int | None = None):
        if isinstance(p, bool) or not isinstance(p, Real):
            raise TypeError(f"Dropout: p must be a number, got {p!r}")
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout: p must be between 0 and 1, got {p!r}")
        self.p = float(p)
        self._key = int(generator(rng).integers(2**63))
        super().__init__(buffers={"passes": np.array(0, np.int64)})

    def apply(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Pullback]:
        """See `Layer.apply`."""
        if not train or self.p == 0:
            return x, lambda dy, _: dy
        factors = self._factors(x.shape, x.dtype)
        self.buffers["passes"] += 1
        return _product(x, factors), lambda dy, _: _product(dy, factors)

    def _factors(self, shape: Shape, dtype: np.dtype) -> np.ndarray:
        """Return 0 or 1 / (1 - p) for each element, drawn for this pass."""
        # A pass has 2**192 draws of its own before the next one's begin: the counter's highest word is the pass.
        counter = int(self.buffers["passes"]) << 192
        draws = np.random.Generator(np.random.Philox(counter=counter, key=self._key)).random(shape, np.float32)
        return (draws >= self.p) * dtype.type(1 / (1 - self.p) if self.p < 1 else 0)

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        return tuple(input_shape)


@np.errstate(all="ignore")  # Inf * 0 gives NaN without a word, as in the kernels
def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a * b
