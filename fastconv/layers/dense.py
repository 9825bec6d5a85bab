"""The fully connected layer, and the flattening of maps before it."""

from math import isqrt, prod

import numpy as np

from fastconv import ops
from fastconv.arguments import as_flag, as_int
from fastconv.init import Initialiser, initialise
from fastconv.layers.activation import rectified
from fastconv.layers.base import Layer, Pullback, Shape
from fastconv.layers.prepack import Packable


class Linear(Packable):
    """y = x w^T + b over the last axis; see `fastconv.linear`.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
        Whether to add a bias per output feature.
    rng : Generator or int, optional
        Where the parameters come from; see `fastconv.init.generator`.
    init : str or Initialiser
        See `fastconv.init.INITIALISERS`.

    Attributes
    ----------
    params : dict
        'weight', (out_features, in_features) float32, and 'bias', (out_features,) float32.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type or value.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        rng: np.random.Generator | int | None = None,
        init: str | Initialiser = "kaiming",
    ):
        self.in_features = in_features = as_int("Linear", "in_features", in_features, low=1)
        self.out_features = out_features = as_int("Linear", "out_features", out_features, low=1)
        self.bias = as_flag("Linear", "bias", bias)
        w_shape, b_size = (out_features, in_features), out_features if bias else None
        super().__init__(params=initialise(init, rng, w_shape, b_size, in_features, out_features))

    def make_packed(self):
        """See `Packable.make_packed`."""
        from fastconv.ops.packed import PackedLinear

        return PackedLinear(self.params["weight"], self.params.get("bias"))

    def apply(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Pullback | None]:
        """See `Layer.apply`."""
        w, b, relu = self.params["weight"], self.params.get("bias"), self.rectifies
        if self.packed is not None:
            return self.infer(x, train, relu=relu), None

        def pullback(dy: np.ndarray, input_gradient: bool) -> np.ndarray | None:
            needs = (input_gradient, self.learns("weight"), self.learns("bias"))
            dx, dw, db = ops.linear_backward(dy, x, w, b, needs, relu=relu, saved=y)
            self.accumulate(weight=dw, bias=db)
            return dx

        y = ops.linear(x, w, b, relu=relu)
        return y, pullback

    def merged(self, following: Layer) -> Layer | None:
        """Take a ReLU that follows; see `Layer.merged`."""
        return rectified(self, following)

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        if not input_shape or input_shape[-1] != self.in_features:
            raise ValueError(f"{self!r}: the last axis of x must have {self.in_features} features, got {input_shape}")
        return (*input_shape[:-1], self.out_features)

    def macs(self, input_shape: Shape) -> int:
        """See `Layer.macs`."""
        return prod(input_shape) * self.out_features

    def check_after(self, previous: Layer | None, previous_shape: Shape) -> None:
        """Explain why a model with Flatten and Linear takes images of one size only, and what takes others."""
        if not isinstance(previous, Flatten) or len(previous_shape) < 3:
            return
        features = previous.output_shape(previous_shape)[-1]
        if features == self.in_features:
            return
        channels, *size = previous_shape[1:]
        found = f"Flatten makes {features} of {_times(previous_shape[1:])}"
        message = f"{self!r} needs {self.in_features} features, but {found}"
        pixels, rest = divmod(self.in_features, channels)
        if len(size) == 2 and not rest:
            side = isqrt(pixels)
            square = side * side == pixels
            built = _times((channels, side, side)) if square else f"{channels} maps of {pixels} pixels"
            kernel = side if square else f"(h, w) with h * w = {pixels}"
            message += (
                f". It was built for {built}: feed images of the size that gives these, or make the model fully "
                f"convolutional with Conv2d({channels}, {self.out_features}, {kernel}) in place of Flatten and Linear, "
                f"to take larger ones"
            )
        raise ValueError(message)


class Flatten(Layer):
    """Merge neighbouring axes into one; see `fastconv.flatten`.

    Parameters
    ----------
    start_dim, end_dim : int
        First and last of the axes to merge.
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        self.start_dim, self.end_dim = start_dim, end_dim
        super().__init__()

    def apply(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Pullback]:
        """See `Layer.apply`."""
        # A view serves here, where `fastconv.flatten` copies: no layer changes what it is given.
        return x.reshape(self.output_shape(x.shape)), lambda dy, _: dy.reshape(x.shape)

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        ndim = len(input_shape)
        first, last = (axis + ndim if axis < 0 else axis for axis in (self.start_dim, self.end_dim))
        if not 0 <= first <= last < ndim:
            raise ValueError(f"{self!r}: an input of shape {tuple(input_shape)} has no such axes")
        return (*input_shape[:first], prod(input_shape[first : last + 1]), *input_shape[last + 1 :])


def _times(sizes: Shape) -> str:
    return "x".join(map(str, sizes))
