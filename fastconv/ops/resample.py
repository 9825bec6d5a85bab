"""Interpolation along one, two or three axes."""

import numpy as np

from fastconv import runtime
from fastconv.arrays import reals
from fastconv.cpu import resample
from fastconv.geometry import ResampleGeometry


def interpolate(
    x: np.ndarray, size=None, scale_factor=None, mode: str = "nearest", align_corners: bool | None = None
) -> np.ndarray:
    """Resample along all axes but the first two.

    Output o of an axis is taken at ``o * s``, rounded down, with the step s of ``1 / scale_factor`` or, for a given
    size, n / m. In the linear modes it lies at ``(o + 1/2) * s - 1/2``, where pixels are squares whose centres are
    matched, or, with `align_corners`, at ``o * (n - 1) / (m - 1)``, and is the mean of its two neighbours along each
    axis, weighted by their distance. Neighbours of weight 0 contribute nothing, not even ``0 * inf``.

    Parameters
    ----------
    x : (n, c, *size) ndarray
        float32 or float64; one, two or three sizes.
    size : int or sequence of int, optional
        Size of the result.
    scale_factor : float or sequence of float, optional
        Or what the sizes are multiplied by; one of the two is given.
    mode : {'nearest', 'linear', 'bilinear', 'trilinear'}
        The linear modes are one, by their number of axes.
    align_corners : bool, optional
        Whether the outermost elements of `x` and of the result lie at the same places; not for 'nearest'.

    Returns
    -------
    (n, c, *size) ndarray
        `y`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type, shape or value; the message names it.
    """
    op = "interpolate"
    (x,) = reals(op, x=x)
    geometry = ResampleGeometry.make(op, x.shape, size, scale_factor, mode, align_corners)
    y = runtime.empty(geometry.y_shape, x.dtype)
    resample.interpolate(x, y, geometry)
    return y


def interpolate_backward(
    dy: np.ndarray,
    x: np.ndarray,
    size=None,
    scale_factor=None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> np.ndarray:
    """Gradient of `interpolate`: each output's gradient goes, with their weights, to the elements that it was made of.

    Parameters
    ----------
    dy : (n, c, *size) ndarray
        Gradient of the result.
    x : (n, c, *size) ndarray
        What `interpolate` was given; only its shape and dtype count.
    size, scale_factor, mode, align_corners
        As `interpolate` was given them.

    Returns
    -------
    (n, c, *size) ndarray
        `dx`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type, shape or value; the message names it.
    """
    op = "interpolate_backward"
    dy, x = reals(op, dy=dy, x=x)
    geometry = ResampleGeometry.make(op, x.shape, size, scale_factor, mode, align_corners)
    geometry.check_gradient(op, dy.shape)
    dx = runtime.empty(x.shape, x.dtype)
    resample.interpolate_backward(dy, dx, geometry)
    return dx
