"""What tests and benchmarks share: the shapes, numbers whose sums are exact, error bounds, and a check of gradients."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from fastconv.geometry import ConvGeometry, PoolGeometry


@dataclass(frozen=True)
class ConvCase:
    """Arguments of a two-dimensional convolution.

    Attributes
    ----------
    id : str
        Name in reports.
    x, w : tuple of int
        Shapes, (n, ci, h, w) and (co, ci / groups, kh, kw).
    bias : bool
        Whether there is a bias, (co,).
    network : bool
        Whether it is a layer of a real network: for benchmarks, far too slow for the reference.
    """

    id: str
    x: tuple[int, ...]
    w: tuple[int, ...]
    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1
    groups: int = 1
    bias: bool = True
    network: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments of `fastconv.conv2d`."""
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": self.groups}

    @property
    def geometry(self) -> ConvGeometry:
        """All sizes."""
        return ConvGeometry.make(self.id, self.x, self.w, None, **self.options, ndim=len(self.x) - 2)

    def arrays(self, draw: Callable[[tuple[int, ...]], np.ndarray]) -> tuple[np.ndarray | None, ...]:
        """Return x, w and b, each made by ``draw(shape)``; b is None without a bias."""
        return draw(self.x), draw(self.w), draw(self.w[:1]) if self.bias else None


@dataclass(frozen=True)
class PoolCase:
    """Arguments of a two-dimensional pooling of x, (n, c, h, w); `dilation` is for maxima only."""

    id: str
    x: tuple[int, ...]
    kernel_size: Any
    stride: Any = None
    padding: Any = 0
    dilation: Any = 1
    ceil_mode: bool = False
    network: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments of `fastconv.max_pool2d`."""
        return {**self.average_options, "dilation": self.dilation}

    @property
    def average_options(self) -> dict[str, Any]:
        """Keyword arguments of `fastconv.avg_pool2d`."""
        return {name: getattr(self, name) for name in ("kernel_size", "stride", "padding", "ceil_mode")}

    @property
    def geometry(self) -> PoolGeometry:
        """All sizes."""
        options = (self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)
        return PoolGeometry.make(self.id, self.x, *options, ndim=len(self.x) - 2)


CONV_CASES = (
    # One idea each: what is odd about the shape stands in its name.
    ConvCase("one_number", (1, 1, 1, 1), (1, 1, 1, 1)),
    ConvCase("pointwise", (2, 5, 4, 3), (7, 5, 1, 1)),
    ConvCase("no_bias", (2, 3, 6, 6), (4, 3, 3, 3), padding=1, bias=False),
    ConvCase("empty_batch", (0, 3, 6, 6), (4, 3, 3, 3), padding=1),
    ConvCase("single_output", (3, 4, 5, 5), (6, 4, 5, 5)),
    ConvCase("row_kernel", (2, 3, 5, 9), (4, 3, 1, 7), padding=(0, 3)),
    ConvCase("column_kernel", (2, 3, 9, 5), (4, 3, 7, 1), padding=(3, 0)),
    ConvCase("even_kernel_same", (2, 3, 7, 6), (5, 3, 4, 2), padding="same"),
    ConvCase("strided_same", (2, 3, 10, 7), (5, 3, 3, 3), stride=2, padding="same"),
    ConvCase("stride_skips_input", (2, 3, 11, 12), (4, 3, 2, 2), stride=(3, 5)),
    ConvCase("stride_two", (2, 16, 9, 10), (17, 16, 3, 3), stride=2, padding=1),
    ConvCase("pointwise_strided", (2, 9, 8, 7), (18, 9, 1, 1), stride=2),
    ConvCase("dilated", (2, 4, 12, 11), (5, 4, 3, 2), dilation=(2, 4), padding=2),
    ConvCase("dilated_strided", (1, 3, 13, 14), (4, 3, 3, 3), stride=(2, 3), dilation=(3, 2), padding=(3, 1)),
    ConvCase("padding_pairs", (2, 3, 6, 7), (4, 3, 3, 3), padding=((0, 2), (3, 1))),
    ConvCase("padding_exceeds_kernel", (1, 2, 3, 3), (3, 2, 2, 2), padding=4),
    ConvCase("kernel_exceeds_input", (2, 3, 2, 3), (4, 3, 5, 5), padding=3),
    ConvCase("two_groups", (2, 6, 7, 6), (10, 3, 3, 3), padding=1, groups=2),
    ConvCase("depthwise", (2, 19, 8, 7), (19, 1, 3, 3), padding=1, groups=19),
    ConvCase("depth_multiplier", (2, 5, 8, 7), (15, 1, 3, 3), stride=2, padding=1, groups=5),
    ConvCase("wide_groups", (1, 34, 5, 18), (66, 17, 3, 3), padding=1, groups=2),
    ConvCase("many_channels", (2, 33, 5, 6), (35, 33, 3, 3), padding=1),
    ConvCase("long_rows", (1, 2, 3, 67), (3, 2, 3, 3), padding=1),
    ConvCase("lenet_1", (2, 1, 28, 28), (6, 1, 5, 5), padding=2),
    ConvCase("lenet_2", (2, 6, 14, 14), (16, 6, 5, 5)),
    # Layers of networks, with the batch that a benchmark gives them.
    ConvCase("lenet_1_batch", (128, 1, 28, 28), (6, 1, 5, 5), padding=2, network=True),
    ConvCase("lenet_2_batch", (128, 6, 14, 14), (16, 6, 5, 5), network=True),
    ConvCase("resnet_stem", (8, 3, 224, 224), (64, 3, 7, 7), stride=2, padding=3, network=True),
    ConvCase("resnet_56", (8, 64, 56, 56), (64, 64, 3, 3), padding=1, network=True),
    ConvCase("resnet_28", (8, 128, 28, 28), (128, 128, 3, 3), padding=1, network=True),
    ConvCase("resnet_14", (8, 256, 14, 14), (256, 256, 3, 3), padding=1, network=True),
    ConvCase("resnet_7", (8, 512, 7, 7), (512, 512, 3, 3), padding=1, network=True),
    ConvCase("resnet_pointwise_56", (8, 256, 56, 56), (64, 256, 1, 1), network=True),
    ConvCase("resnet_pointwise_14", (8, 1024, 14, 14), (256, 1024, 1, 1), network=True),
    ConvCase("resnet_down_56", (8, 128, 56, 56), (128, 128, 3, 3), stride=2, padding=1, network=True),
    ConvCase("vgg_224", (2, 64, 224, 224), (64, 64, 3, 3), padding=1, network=True),
    ConvCase("mobilenet_down_112", (8, 96, 112, 112), (96, 1, 3, 3), stride=2, padding=1, groups=96, network=True),
    ConvCase("mobilenet_56", (8, 144, 56, 56), (144, 1, 3, 3), padding=1, groups=144, network=True),
    ConvCase("resnext_56", (8, 128, 56, 56), (128, 4, 3, 3), padding=1, groups=32, network=True),
    ConvCase("large_kernel_22", (64, 32, 22, 22), (64, 32, 7, 7), network=True),
    ConvCase("long_signal", (1, 32, 1, 60000), (32, 32, 1, 9), padding=(0, 4), network=True),
    ConvCase("cifar_8", (64, 256, 8, 8), (512, 256, 3, 3), padding=1, network=True),
)

POOL_CASES = (
    PoolCase("one_number", (1, 1, 1, 1), 1),
    PoolCase("halves", (2, 3, 8, 6), 2),
    PoolCase("odd_input", (2, 3, 7, 5), 2),
    PoolCase("empty_batch", (0, 3, 8, 6), 2),
    PoolCase("overlapping", (2, 3, 9, 8), 3, stride=2, padding=1),
    PoolCase("stride_one", (1, 2, 6, 7), 3, stride=1, padding=1),
    PoolCase("gaps", (1, 2, 9, 10), 2, stride=(3, 4)),
    PoolCase("asymmetric", (2, 2, 7, 9), (1, 4), stride=(2, 3), padding=(0, 2)),
    PoolCase("padding_pairs", (1, 2, 6, 7), 4, stride=2, padding=((2, 0), (1, 2))),
    PoolCase("dilated", (1, 3, 10, 11), (3, 2), stride=2, padding=1, dilation=(2, 3)),
    PoolCase("ceil", (2, 2, 8, 7), 3, stride=2, ceil_mode=True),
    PoolCase("ceil_padded", (2, 2, 6, 5), 3, stride=(2, 3), padding=1, ceil_mode=True),
    PoolCase("ceil_drops_last", (1, 2, 5, 5), 2, stride=4, padding=1, ceil_mode=True),
    PoolCase("whole_plane", (2, 5, 7, 6), (7, 6)),
    PoolCase("many_places", (1, 2, 18, 20), 17, stride=1),
    PoolCase("wide", (1, 2, 4, 70), 2),
    PoolCase("lenet", (2, 6, 28, 28), 2),
    PoolCase("lenet_batch", (128, 6, 28, 28), 2, network=True),
    PoolCase("resnet_stem", (8, 64, 112, 112), 3, stride=2, padding=1, network=True),
    PoolCase("vgg_224", (2, 64, 224, 224), 2, network=True),
)

CASES = {"conv2d": CONV_CASES, "pool2d": POOL_CASES}
"""Shapes by the kind of op; benchmarks take those with `network`, tests of the results the others."""


def random_geometry(rng: np.random.Generator, outputs: int = 3000) -> ConvCase:
    """Draw legal arguments of a two-dimensional convolution: any groups, stride, dilation, uneven padding and kernel.

    Parameters
    ----------
    rng : numpy.random.Generator
    outputs : int
        Rough limit on the number of outputs, which the reference computes one by one.
    """
    groups = int(rng.choice([1, 1, 1, 2, 3, 8]))
    group_in, group_out = (int(rng.integers(1, 40 // groups + 1)) for _ in range(2))
    batch = int(rng.integers(0, 4))
    plane = max(1, outputs // (max(1, batch) * groups * group_out))
    rows = int(rng.integers(1, min(12, plane) + 1))
    columns = int(rng.integers(1, min(40, plane // rows) + 1))
    axes = [_random_axis(rng, size) for size in (rows, columns)]
    size, kernel, stride, dilation, padding = zip(*axes, strict=True)
    x, w = (batch, groups * group_in, *size), (groups * group_out, group_in, *kernel)
    return ConvCase("random", x, w, stride, padding, dilation, groups, bias=bool(rng.integers(2)))


def _random_axis(rng: np.random.Generator, outputs: int) -> tuple[int, int, int, int, tuple[int, int]]:
    """Return size, kernel, stride, dilation and padding of an axis that has about `outputs` outputs."""
    kernel = int(rng.integers(1, 6))
    stride, dilation = (int(rng.choice([1, 1, 2, 3])) for _ in range(2))
    extent = dilation * (kernel - 1) + 1
    before, after = (int(p) for p in rng.integers(0, extent + 1, 2))
    spare = int(rng.integers(0, stride))  # elements at the end that no window reaches
    size = (outputs - 1) * stride + extent + spare - before - after
    return max(1, size), kernel, stride, dilation, (before, max(after, extent - before - max(1, size)))


def exact_integers(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: DTypeLike = np.float32, largest: int = 4
) -> np.ndarray:
    """Draw integers from -`largest` to `largest`: float32 sums of up to a million of their products are exact.

    Results can then be compared with ``array_equal``, whatever the order of summation.
    """
    return rng.integers(-largest, largest, shape, endpoint=True).astype(dtype)


def distinct_numbers(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Draw float64 numbers that lie 0.1 apart, none at 0: small changes move no maximum and cross no kink."""
    n = prod(shape)
    return ((rng.permutation(n) - n // 2 + 0.5) * 0.1).reshape(shape)


def error_bound(magnitude: np.ndarray, products: int, dtype: DTypeLike) -> np.ndarray:
    """Return how far a directly computed sum may lie from the exact one, element by element.

    Parameters
    ----------
    magnitude : ndarray
        The same op on the absolute values of its arguments.
    products : int
        Number of products in a sum.
    dtype : dtype
        Type in which the sum was computed.

    Notes
    -----
    ``(n + 8) u B`` with the unit roundoff u holds for any order of summation: N. Higham, *Accuracy and Stability of
    Numerical Algorithms* (2nd edition, 2002), section 3.1. The 8 leaves room for the bias and second-order terms.
    """
    return (products + 8) * np.finfo(dtype).eps / 2 * magnitude


def gradcheck(
    f: Callable,
    f_backward: Callable,
    arrays: tuple[np.ndarray | None, ...],
    options: dict[str, Any] | None = None,
    rng: np.random.Generator | None = None,
    eps: float = 1e-5,
    tolerance: float = 1e-6,
) -> None:
    """Compare the gradients of an op with central differences, element by element.

    A random cotangent dy turns the op into the scalar ``sum(dy * f(*arrays))``, whose slope along each element of each
    float array is measured. (With ones for dy, as in ``sum(f(x))``, many wrong gradients pass.)

    Parameters
    ----------
    f, f_backward : callable
        ``f(*arrays, **options)`` gives one array; ``f_backward(dy, *arrays, **options)`` one gradient per float array.
    arrays : tuple of ndarray or None
        Arguments, in float64. Integer arrays (labels) have no gradient, and None has None.
    options : dict, optional
        Keyword arguments of both.
    rng : numpy.random.Generator, optional
        Source of dy.
    eps : float
        Step of the differences.
    tolerance : float
        Largest error allowed, relative to the gradient's largest element (or to 1, if that is smaller).

    Raises
    ------
    AssertionError
        A gradient is wrong; the message names the argument by its number and its worst element.
    """
    options = options or {}
    rng = np.random.default_rng(0) if rng is None else rng
    dy = np.asarray(rng.standard_normal(np.shape(f(*arrays, **options))))
    gradients = f_backward(dy, *arrays, **options)
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    differentiable = [number for number, array in enumerate(arrays) if array is None or array.dtype.kind == "f"]
    assert len(gradients) == len(differentiable), f"{len(gradients)} gradients for {len(differentiable)} float arrays"
    for number, gradient in zip(differentiable, gradients, strict=True):

        def scalar(changed, number=number):
            return np.sum(dy * f(*arrays[:number], changed, *arrays[number + 1 :], **options))

        slopes = None if arrays[number] is None else _central_differences(scalar, arrays[number], eps)
        _compare(f"argument {number}", gradient, slopes, tolerance)


def _central_differences(scalar: Callable, array: np.ndarray, eps: float) -> np.ndarray:
    slopes = np.zeros(array.shape)
    for place in np.ndindex(array.shape):
        up, down = array.copy(), array.copy()
        up[place] += eps
        down[place] -= eps
        slopes[place] = (scalar(up) - scalar(down)) / (up[place] - down[place])
    return slopes


def _compare(name: str, gradient: np.ndarray | None, slopes: np.ndarray | None, tolerance: float) -> None:
    assert np.shape(gradient) == np.shape(slopes) and (gradient is None) == (slopes is None), (
        f"{name}: the gradient should have shape {np.shape(slopes)}, but has {np.shape(gradient)}"
    )
    if slopes is None:
        return
    error = np.abs(gradient - slopes)
    limit = tolerance * max(1.0, np.abs(slopes).max(initial=0))
    if not np.all(error <= limit):  # a NaN fails too
        worst = np.unravel_index(np.argmax(error), error.shape)
        place = tuple(int(i) for i in worst)
        raise AssertionError(
            f"{name}: the gradient of element {place} is {gradient[place]:.9g}, but central differences give "
            f"{slopes[place]:.9g} (error {error[place]:.2g}, allowed {limit:.2g})"
        )
