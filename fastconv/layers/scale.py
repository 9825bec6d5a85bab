"""Multiplication by a fixed number as a layer."""

import numpy as np

from fastconv import runtime
from fastconv.arguments import as_real
from fastconv.layers.base import Layer, Pullback, Shape


class Scale(Layer):
    """y = factor * x: how the residuals of Inception-ResNet are kept small (Szegedy et al. 2017, section 3.3).

    https://arxiv.org/abs/1602.07261

    Parameters
    ----------
    factor : float

    Raises
    ------
    TypeError, ValueError
        `factor` is no number, or not finite.
    """

    def __init__(self, factor: float):
        self.factor = as_real("Scale", "factor", factor)
        super().__init__()

    def apply(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Pullback]:
        """See `Layer.apply`."""
        return self._times(x), lambda dy, _: self._times(dy)

    @np.errstate(all="ignore")  # as quiet as the kernels
    def _times(self, x: np.ndarray) -> np.ndarray:
        return np.multiply(x, x.dtype.type(self.factor), out=runtime.empty(x.shape, x.dtype))

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        return tuple(input_shape)
