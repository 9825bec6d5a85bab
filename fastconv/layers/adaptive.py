"""Pooling to a given size as layers. A class for one, two and three axes each, which differ in `axes`."""

from collections.abc import Sequence

import numpy as np

from fastconv.geometry import AdaptiveGeometry, PoolGeometry
from fastconv.layers.base import Layer, Pullback, Shape
from fastconv.layers.pool import op_and_gradient


class _Adaptive(Layer):
    """Windows that cover the input, as many as are asked for."""

    axes = 2

    def __init__(self, output_size: int | Sequence[int | None]):
        self.output_size = output_size
        super().__init__()
        AdaptiveGeometry.make(type(self).__name__, (1, 1, *(1,) * self.axes), output_size, ndim=self.axes)

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        return AdaptiveGeometry.make(type(self).__name__, input_shape, self.output_size, ndim=self.axes).y_shape


class AdaptiveMaxPool2d(_Adaptive):
    """The largest element of each of so many windows; see `fastconv.adaptive_max_pool2d`.

    Parameters
    ----------
    output_size : int or sequence of int or None
        Number of windows along each axis; None for as many as there are elements.

    Raises
    ------
    TypeError, ValueError
        It has a wrong type or value.
    """

    def apply(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Pullback | None]:
        """See `Layer.apply`."""
        pool, pool_backward = op_and_gradient("adaptive_max_pool", self.axes)
        if not train:
            return pool(x, self.output_size), None
        y, saved = pool(x, self.output_size, return_saved=True)
        return y, lambda dy, _: pool_backward(dy, x, self.output_size, saved=saved)


class AdaptiveMaxPool1d(AdaptiveMaxPool2d):
    """`AdaptiveMaxPool2d` along one axis."""

    axes = 1


class AdaptiveMaxPool3d(AdaptiveMaxPool2d):
    """`AdaptiveMaxPool2d` along three axes."""

    axes = 3


class AdaptiveAvgPool2d(_Adaptive):
    """The mean of each of so many windows; see `fastconv.adaptive_avg_pool2d`.

    Parameters
    ----------
    output_size : int or sequence of int or None
        Number of windows along each axis; None for as many as there are elements.

    Raises
    ------
    TypeError, ValueError
        It has a wrong type or value.
    """

    def apply(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Pullback]:
        """See `Layer.apply`."""
        pool, pool_backward = op_and_gradient("adaptive_avg_pool", self.axes)
        return pool(x, self.output_size), lambda dy, _: pool_backward(dy, x, self.output_size)


class AdaptiveAvgPool1d(AdaptiveAvgPool2d):
    """`AdaptiveAvgPool2d` along one axis."""

    axes = 1


class AdaptiveAvgPool3d(AdaptiveAvgPool2d):
    """`AdaptiveAvgPool2d` along three axes."""

    axes = 3


class _Global(Layer):
    """One window, as large as a map."""

    axes = 2

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        if len(input_shape) != self.axes + 2:
            sizes = ("w", "h, w", "d, h, w")[self.axes - 1]
            raise ValueError(f"{type(self).__name__}: x must have shape (n, c, {sizes}), got {tuple(input_shape)}")
        return PoolGeometry.make(type(self).__name__, input_shape, input_shape[2:], ndim=self.axes).y_shape


class GlobalAvgPool2d(_Global):
    """The mean of each map, (n, c, h, w) to (n, c, 1, 1), whatever its size; see `fastconv.avg_pool2d`."""

    def apply(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Pullback]:
        """See `Layer.apply`."""
        self.output_shape(np.shape(x))
        plane = x.shape[2:]
        pool, pool_backward = op_and_gradient("avg_pool", self.axes)
        return pool(x, plane), lambda dy, _: pool_backward(dy, x, plane)


class GlobalAvgPool1d(GlobalAvgPool2d):
    """`GlobalAvgPool2d` of (n, c, w)."""

    axes = 1


class GlobalAvgPool3d(GlobalAvgPool2d):
    """`GlobalAvgPool2d` of (n, c, d, h, w)."""

    axes = 3


class GlobalMaxPool2d(_Global):
    """The largest element of each map, (n, c, h, w) to (n, c, 1, 1), whatever its size; see `fastconv.max_pool2d`."""

    def apply(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Pullback | None]:
        """See `Layer.apply`."""
        self.output_shape(np.shape(x))
        plane = x.shape[2:]
        pool, pool_backward = op_and_gradient("max_pool", self.axes)
        if not train:
            return pool(x, plane), None
        y, saved = pool(x, plane, return_saved=True)
        return y, lambda dy, _: pool_backward(dy, x, plane, saved=saved)


class GlobalMaxPool1d(GlobalMaxPool2d):
    """`GlobalMaxPool2d` of (n, c, w)."""

    axes = 1


class GlobalMaxPool3d(GlobalMaxPool2d):
    """`GlobalMaxPool2d` of (n, c, d, h, w)."""

    axes = 3
