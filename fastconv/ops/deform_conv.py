"""Deformable convolution, and its gradients."""

import numpy as np

from fastconv import runtime
from fastconv.arguments import as_needs
from fastconv.arrays import reals
from fastconv.cpu import deform, deform_backward, deform_weight
from fastconv.geometry import DeformGeometry
from fastconv.ops.conv import Padding

GRADIENTS = ("dx", "doffset", "dw", "db", "dmask")


def deform_conv2d(
    x: np.ndarray,
    offset: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    stride: int | tuple[int, int] = 1,
    padding: Padding = 0,
    dilation: int | tuple[int, int] = 1,
    mask: np.ndarray | None = None,
) -> np.ndarray:
    """Convolve in two dimensions with taps that lie at places of their own, between the pixels.

    The arguments are those of `torchvision.ops.deform_conv2d`, in its order. The result is ::

        y[n, co, oh, ow] = b[co] + sum over ci, kh, kw of w[co, ci, kh, kw] * mask * x[n, ci, row, column],
        row    = oh * stride - padding + kh * dilation + offset[n, 2 * (kh * kernel columns + kw), oh, ow]
        column = ow * stride - padding + kw * dilation + offset[n, 2 * (kh * kernel columns + kw) + 1, oh, ow]

    where x between its pixels is the linear interpolation of the four around the place, all of which are multiplied,
    and pixels that do not exist are the number 0. At -1, at the size of `x`, and beyond, the sample is 0. A coordinate
    that is NaN makes the sample NaN, and one that is infinite lies outside.

    Parameters
    ----------
    x : (n, ci, h, w) ndarray
        float32 or float64.
    offset : (n, 2 * og * kh * kw, oh, ow) ndarray
        For each of `og` parts of the channels and each tap, how far the tap is moved down, and to the right.
    w : (co, ci / groups, kh, kw) ndarray
        The number of groups follows from it.
    b : (co,) ndarray, optional
    stride, padding, dilation
        As in `conv2d`.
    mask : (n, og * kh * kw, oh, ow) ndarray, optional
        A factor for each sample.

    Returns
    -------
    (n, co, oh, ow) ndarray
        `y`, as large as that of `conv2d`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type or value; the message names it.
    MemoryError
        There is no memory for the result.

    Notes
    -----
    J. Dai and others, *Deformable Convolutional Networks* (2017), arXiv:1703.06211; with a mask, X. Zhu and others,
    *Deformable ConvNets v2* (2018), arXiv:1811.11168.
    """
    op = "deform_conv2d"
    x, offset, w, b, mask = reals(op, x=x, offset=offset, w=w, b=b, mask=mask)
    geometry = _geometry(op, x, offset, w, b, mask, stride, padding, dilation)
    y = runtime.empty(geometry.conv.y_shape, x.dtype)
    if y.size:
        deform.forward_plan(geometry, x.dtype, b is not None)(x, offset, mask, w, b, y)
    return y


def deform_conv2d_backward(
    dy: np.ndarray,
    x: np.ndarray,
    offset: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    stride: int | tuple[int, int] = 1,
    padding: Padding = 0,
    dilation: int | tuple[int, int] = 1,
    mask: np.ndarray | None = None,
    needs: tuple[bool, bool, bool, bool, bool] = (True,) * 5,
) -> tuple[np.ndarray | None, ...]:
    """Gradients of `deform_conv2d` with respect to its five arrays.

    Parameters
    ----------
    dy : (n, co, oh, ow) ndarray
        Gradient of the result.
    x, offset, w, b, stride, padding, dilation, mask
        What `deform_conv2d` was given.
    needs : (bool, bool, bool, bool, bool)
        Which of the five gradients are wanted.

    Returns
    -------
    dx, doffset, dw, db, dmask : ndarray or None
        None where it is not wanted, and for `db` or `dmask` where there is no `b` or `mask`. Where an offset puts a tap
        on a pixel, the slopes to the right of it and below it count; outside they are 0.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type or value; the message names it.
    MemoryError
        There is no memory for a result.
    """
    op = "deform_conv2d_backward"
    dy, x, offset, w, b, mask = reals(op, dy=dy, x=x, offset=offset, w=w, b=b, mask=mask)
    geometry = _geometry(op, x, offset, w, b, mask, stride, padding, dilation)
    geometry.conv.check_gradient(op, dy.shape)
    wanted = [
        need and array is not None
        for need, array in zip(as_needs(op, needs, GRADIENTS), (x, offset, w, b, mask), strict=True)
    ]
    shapes = x.shape, offset.shape, w.shape, None, geometry.mask_shape
    dx, doffset, dw, db, dmask = (
        runtime.empty(shape, x.dtype) if want and shape else None for want, shape in zip(wanted, shapes, strict=True)
    )
    if not x.size:
        dw = None if dw is None else np.zeros_like(w)
    else:
        if wanted[0] or wanted[1] or wanted[4]:
            needed = wanted[0], wanted[1], wanted[4]
            deform_backward.plan(geometry, x.dtype, needed)(dy, x, offset, mask, w, dx, doffset, dmask)
        if wanted[2]:
            deform_weight.plan(geometry, x.dtype)(dy, x, offset, mask, dw)
    if wanted[3]:
        db = dy.sum(axis=(0, 2, 3))
    return dx, doffset, dw, db, dmask


def _geometry(op, x, offset, w, b, mask, stride, padding, dilation) -> DeformGeometry:
    b_shape, mask_shape = (None if array is None else array.shape for array in (b, mask))
    return DeformGeometry.make(op, x.shape, offset.shape, w.shape, b_shape, mask_shape, stride, padding, dilation)
