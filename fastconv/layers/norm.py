"""Batch normalisation as layers."""

from copy import copy
from math import isfinite
from numbers import Real

import numpy as np

from fastconv import ops
from fastconv.arguments import as_flag, as_int
from fastconv.layers.activation import rectified
from fastconv.layers.base import Addend, Layer, Pullback, Shape


class BatchNorm(Layer):
    """What the layers below are; a subclass says how many axes its input may have.

    Training normalises by the mean and variance of the batch and moves the running statistics towards them; inference
    normalises by the running statistics, and so does a layer with a frozen parameter. A ReLU that follows, and the
    addition of a residual unit, happen in the same pass over memory.
    """

    axes: tuple[int, ...] = ()
    adds = True
    _addend: Addend | None = None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ):
        name = type(self).__name__
        self.num_features = size = as_int(name, "num_features", num_features, low=1)
        self.eps = _number(name, "eps", eps)
        self.momentum = None if momentum is None else _number(name, "momentum", momentum)
        self.affine = as_flag(name, "affine", affine)
        self.track_running_stats = as_flag(name, "track_running_stats", track_running_stats)
        params = {"weight": np.ones(size, np.float32), "bias": np.zeros(size, np.float32)}
        buffers = {
            "running_mean": np.zeros(size, np.float32),
            "running_var": np.ones(size, np.float32),
            "num_batches_tracked": np.array(0, np.int64),
        }
        super().__init__(params=params if affine else None, buffers=buffers if track_running_stats else None)

    def _options(self, train: bool) -> tuple[bool, float, float]:
        """Return whether the statistics of the batch are used, their share in the running ones, and eps."""
        if not self.track_running_stats:
            return True, 0.0, self.eps
        train = train and not self.frozen
        if train:
            self.buffers["num_batches_tracked"] += 1
        share = self.momentum
        if share is None:  # the running statistics are means over all batches
            share = 1 / max(1, int(self.buffers["num_batches_tracked"]))
        return train, share, self.eps

    def apply(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Pullback]:
        """See `Layer.apply`."""
        self.output_shape(np.shape(x))
        addend, relu = self._addend, self.rectifies
        arrays = [self.buffers.get(name) for name in ("running_mean", "running_var")]
        arrays += [self.params.get(name) for name in ("weight", "bias")]
        options = self._options(train)
        residual = None if addend is None else addend.value
        y, saved = ops.batch_norm(x, *arrays, *options, residual=residual, relu=relu, return_saved=True)
        masked = bool(relu) and addend is not None

        def pullback(dy: np.ndarray, input_gradient: bool) -> np.ndarray | None:
            needs = (input_gradient, self.learns("weight"), self.learns("bias"))
            # Of the addend only the shape counts now, which is that of y; without ReLU its gradient is dy itself.
            dx, _, _, dweight, dbias, dresidual = ops.batch_norm_backward(
                dy, x, *arrays, *options, residual=y if masked else None, relu=relu, saved=saved, needs=needs
            )
            self.accumulate(weight=dweight, bias=dbias)
            if addend is not None:
                addend.gradient = dresidual if masked else dy
            return dx

        return y, pullback

    def merged(self, following: Layer) -> Layer | None:
        """Take a ReLU or ReLU6 that follows; see `Layer.merged`."""
        return rectified(self, following, ceilings=True)

    def plus(self, addend: Addend, rectifies: bool | float) -> Layer:
        """See `Layer.plus`."""
        layer = copy(self)
        layer._addend, layer.rectifies = addend, rectifies
        return layer

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        if len(input_shape) not in self.axes or input_shape[1] != self.num_features:
            axes = " or ".join(map(str, self.axes))
            raise ValueError(
                f"{self!r}: x must have {axes} axes, the second with {self.num_features} channels, got {input_shape}"
            )
        return tuple(input_shape)


class BatchNorm1d(BatchNorm):
    """Batch normalisation of (N, num_features) or (N, num_features, L); see `fastconv.batch_norm`.

    Parameters
    ----------
    num_features : int
    eps : float
        Added to the variance.
    momentum : float or None
        Share of a batch in the running statistics; None makes them means over all batches.
    affine : bool
        Whether channels are scaled and shifted by parameters.
    track_running_stats : bool
        Without it there are no running statistics: those of the batch are used in inference, too.

    Attributes
    ----------
    params : dict
        'weight' and 'bias', (num_features,) float32: ones and zeros; none without `affine`.
    buffers : dict
        'running_mean' and 'running_var', (num_features,) float32: zeros and ones; 'num_batches_tracked', int64; none
        without `track_running_stats`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type or value.
    """

    axes = (2, 3)


class BatchNorm2d(BatchNorm):
    """Batch normalisation of (N, num_features, H, W); see `fastconv.batch_norm`.

    Parameters, attributes and errors are those of `BatchNorm1d`.
    """

    axes = (4,)


class BatchNorm3d(BatchNorm):
    """Batch normalisation of (N, num_features, D, H, W); see `fastconv.batch_norm`.

    Parameters, attributes and errors are those of `BatchNorm1d`.
    """

    axes = (5,)


def _number(layer: str, name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{layer}: {name} must be a number, got {value!r}")
    if not (isfinite(value) and value >= 0):
        raise ValueError(f"{layer}: {name} must be finite and >= 0, got {value!r}")
    return float(value)
