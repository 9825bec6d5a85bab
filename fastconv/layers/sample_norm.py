"""Layers that normalise each sample by itself. They do the same in training and in inference."""

from collections.abc import Sequence

import numpy as np

from fastconv import ops
from fastconv.arguments import as_flag, as_int, as_ints
from fastconv.layers.base import Layer, Pullback, Shape


class SampleNorm(Layer):
    """What the layers below share: a weight of ones and a bias of zeros, if wanted, and a shape that stays.

    A subclass names its op, `norm`, and defines `options` and `check`.
    """

    norm: str

    def __init__(self, shape: Shape, weight: bool, bias: bool, buffers: dict[str, np.ndarray] | None = None):
        params = {"weight": np.ones(shape, np.float32), "bias": np.zeros(shape, np.float32)}
        wanted = {"weight": weight, "bias": bias}
        super().__init__(params={name: params[name] for name in params if wanted[name]}, buffers=buffers)

    def options(self, train: bool) -> dict[str, object]:
        """Return what the op is given besides x, weight, bias and eps."""
        raise NotImplementedError

    def check(self, input_shape: Shape) -> str | None:
        """Return what the input has to be, if it is something else."""
        raise NotImplementedError

    def apply(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Pullback]:
        """See `Layer.apply`."""
        self.output_shape(np.shape(x))
        affine = {name: self.params.get(name) for name in ("weight", "bias")}
        given = {**self.options(train), **affine, "eps": self.eps}
        y, saved = getattr(ops, self.norm)(x, **given, return_saved=True)

        def pullback(dy: np.ndarray, input_gradient: bool) -> np.ndarray | None:
            needs = (input_gradient, "weight" in self.params, "bias" in self.params)
            dx, *_, dweight, dbias = getattr(ops, f"{self.norm}_backward")(dy, x, **given, saved=saved, needs=needs)
            self.accumulate(weight=dweight, bias=dbias)
            return dx

        return y, pullback

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        expected = self.check(tuple(input_shape))
        if expected:
            raise ValueError(f"{self!r}: x must have {expected}, got shape {tuple(input_shape)}")
        return tuple(input_shape)


class LayerNorm(SampleNorm):
    """Normalisation over the last axes; see `fastconv.layer_norm`.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        Sizes of the last axes.
    eps : float
        Added to the variance.
    elementwise_affine, bias : bool
        Whether there are a weight and a bias; no bias without a weight.

    Attributes
    ----------
    params : dict
        'weight' and 'bias', (*normalized_shape) float32: ones and zeros.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type or value.
    """

    norm = "layer_norm"

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
    ):
        axes = len(normalized_shape) if isinstance(normalized_shape, Sequence) else 1
        self.normalized_shape = as_ints("LayerNorm", "normalized_shape", normalized_shape, axes, low=1)
        self.eps, self.bias = eps, as_flag("LayerNorm", "bias", bias)
        self.elementwise_affine = as_flag("LayerNorm", "elementwise_affine", elementwise_affine)
        super().__init__(self.normalized_shape, elementwise_affine, elementwise_affine and bias)

    def options(self, train: bool) -> dict[str, object]:
        """See `SampleNorm.options`."""
        return {"normalized_shape": self.normalized_shape}

    def check(self, input_shape: Shape) -> str | None:
        """See `SampleNorm.check`."""
        fits = input_shape[-len(self.normalized_shape) :] == self.normalized_shape
        return None if fits else f"last axes {self.normalized_shape}"


class GroupNorm(SampleNorm):
    """Normalisation over groups of channels; see `fastconv.group_norm`.

    Parameters
    ----------
    num_groups, num_channels : int
        The groups divide the channels.
    eps : float
        Added to the variance.
    affine : bool
        Whether there are a weight and a bias.

    Attributes
    ----------
    params : dict
        'weight' and 'bias', (num_channels,) float32: ones and zeros.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type or value.
    """

    norm = "group_norm"

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True):
        self.num_groups = as_int("GroupNorm", "num_groups", num_groups, low=1)
        self.num_channels = as_int("GroupNorm", "num_channels", num_channels, low=1)
        if num_channels % num_groups:
            raise ValueError(f"GroupNorm: num_groups must divide the {num_channels} channels, got {num_groups}")
        self.eps, self.affine = eps, as_flag("GroupNorm", "affine", affine)
        super().__init__((num_channels,), affine, affine)

    def options(self, train: bool) -> dict[str, object]:
        """See `SampleNorm.options`."""
        return {"num_groups": self.num_groups}

    def check(self, input_shape: Shape) -> str | None:
        """See `SampleNorm.check`."""
        fits = len(input_shape) >= 2 and input_shape[1] == self.num_channels
        return None if fits else f"{self.num_channels} channels"


class InstanceNorm(SampleNorm):
    """What the three layers below are; a subclass says how many axes its input has.

    Training normalises each channel by its own mean and variance. So does inference, unless running statistics are
    tracked, which are then used.
    """

    norm = "instance_norm"
    axes = 0

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
    ):
        name = type(self).__name__
        self.num_features = size = as_int(name, "num_features", num_features, low=1)
        self.eps, self.momentum, self.affine = eps, momentum, as_flag(name, "affine", affine)
        self.track_running_stats = as_flag(name, "track_running_stats", track_running_stats)
        buffers = {
            "running_mean": np.zeros(size, np.float32),
            "running_var": np.ones(size, np.float32),
            "num_batches_tracked": np.array(0, np.int64),
        }
        super().__init__((size,), affine, affine, buffers if track_running_stats else None)

    def options(self, train: bool) -> dict[str, object]:
        """See `SampleNorm.options`."""
        running = {name: self.buffers.get(name) for name in ("running_mean", "running_var")}
        return {**running, "use_input_stats": train or not self.track_running_stats, "momentum": self.momentum}

    def apply(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Pullback]:
        """See `Layer.apply`."""
        result = super().apply(x, train)
        if train and self.track_running_stats:
            self.buffers["num_batches_tracked"] += 1
        return result

    def check(self, input_shape: Shape) -> str | None:
        """See `SampleNorm.check`."""
        fits = len(input_shape) == self.axes and input_shape[1] == self.num_features
        return None if fits else f"{self.axes} axes, the second with {self.num_features} channels"


class InstanceNorm1d(InstanceNorm):
    """Normalisation of each channel of (n, num_features, l); see `fastconv.instance_norm`.

    Parameters
    ----------
    num_features : int
    eps : float
        Added to the variance.
    momentum : float
        Share of a batch in the running statistics.
    affine : bool
        Whether there are a weight and a bias.
    track_running_stats : bool
        Whether there are running statistics, which inference uses.

    Attributes
    ----------
    params : dict
        'weight' and 'bias', (num_features,) float32, if `affine`: ones and zeros.
    buffers : dict
        As those of `BatchNorm1d`, if `track_running_stats`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type or value.
    """

    axes = 3


class InstanceNorm2d(InstanceNorm):
    """Normalisation of each channel of (n, num_features, h, w); otherwise as `InstanceNorm1d`."""

    axes = 4


class InstanceNorm3d(InstanceNorm):
    """Normalisation of each channel of (n, num_features, d, h, w); otherwise as `InstanceNorm1d`."""

    axes = 5


class LocalResponseNorm(Layer):
    """Division by a power of the squares in the channels around; see `fastconv.local_response_norm`.

    Parameters
    ----------
    size : int
        Channels that count.
    alpha, beta, k : float
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0):
        self.size, self.alpha, self.beta, self.k = as_int("LocalResponseNorm", "size", size, low=1), alpha, beta, k
        super().__init__()

    def apply(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Pullback]:
        """See `Layer.apply`."""
        options = self.size, self.alpha, self.beta, self.k
        y, saved = ops.local_response_norm(x, *options, return_saved=True)
        return y, lambda dy, _: ops.local_response_norm_backward(dy, x, *options, saved=saved)

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        if len(input_shape) < 3:
            raise ValueError(f"{self!r}: x must have shape (n, c, *size), got {tuple(input_shape)}")
        return tuple(input_shape)
