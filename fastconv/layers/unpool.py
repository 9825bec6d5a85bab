"""Unpooling and up-sampling as layers."""

from collections.abc import Callable, Sequence

import numpy as np

from fastconv import ops
from fastconv.geometry import ResampleGeometry, UnpoolGeometry
from fastconv.layers.base import Backward, Layer, Pullback, Shape, no_backward
from fastconv.layers.pool import op_and_gradient


class MaxUnpool2d(Layer):
    """Elements back at the places where max pooling found them; see `fastconv.max_unpool2d`.

    It takes two arrays, so it does not stand in a `Sequential`: ``y, backward = layer.forward(x, indices)``.

    Parameters
    ----------
    kernel_size : int or sequence of int
        A number stands for every axis.
    stride : int or sequence of int, optional
        The kernel's size if left out.
    padding : int or sequence of int

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type or value.
    """

    axes = 2

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
    ):
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        super().__init__()
        UnpoolGeometry.make(type(self).__name__, (1, 1, *(1 << 32,) * self.axes), *self._options(), ndim=self.axes)

    def _options(self) -> tuple:
        return self.kernel_size, self.stride, self.padding

    def forward(
        self, x: np.ndarray, indices: np.ndarray, output_size: Sequence[int] | None = None, train: bool = True
    ) -> tuple[np.ndarray, Callable[..., np.ndarray | None]]:
        """Compute the output, and return it with the way back, which gives the gradient of `x`; see `Layer.forward`."""
        options = *self._options(), output_size
        unpool, unpool_backward = op_and_gradient("max_unpool", self.axes)
        y = unpool(x, indices, *options)
        if not train:
            return y, no_backward
        return y, Backward(self, lambda dy, _: unpool_backward(dy, x, indices, *options), y.shape)

    def __call__(self, x: np.ndarray, indices: np.ndarray, output_size: Sequence[int] | None = None) -> np.ndarray:
        """Return the output for inference."""
        return self.forward(x, indices, output_size, train=False)[0]

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`; without an `output_size`."""
        return UnpoolGeometry.make(type(self).__name__, input_shape, *self._options(), ndim=self.axes).y_shape


class MaxUnpool1d(MaxUnpool2d):
    """`MaxUnpool2d` along one axis."""

    axes = 1


class MaxUnpool3d(MaxUnpool2d):
    """`MaxUnpool2d` along three axes."""

    axes = 3


class Upsample(Layer):
    """Maps of another size, by interpolation along one, two or three axes; see `fastconv.interpolate`.

    Parameters
    ----------
    size : int or sequence of int, optional
    scale_factor : float or sequence of float, optional
        One of the two is given.
    mode : {'nearest', 'linear', 'bilinear', 'trilinear'}
    align_corners : bool, optional

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong value; most are looked at when the number of axes is known, at the first call.
    """

    def __init__(
        self,
        size: int | Sequence[int] | None = None,
        scale_factor: float | Sequence[float] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
    ):
        self.size, self.scale_factor, self.mode, self.align_corners = size, scale_factor, mode, align_corners
        super().__init__()
        if (size is None) == (scale_factor is None):
            raise ValueError(f"Upsample: give either size or scale_factor, got {size!r} and {scale_factor!r}")

    def _options(self) -> tuple:
        return self.size, self.scale_factor, self.mode, self.align_corners

    def apply(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Pullback]:
        """See `Layer.apply`."""
        options = self._options()
        return ops.interpolate(x, *options), lambda dy, _: ops.interpolate_backward(dy, x, *options)

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        return ResampleGeometry.make("Upsample", input_shape, *self._options()).y_shape
