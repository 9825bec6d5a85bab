"""Depthwise separable convolution: a convolution of each channel, then a product over channels."""

import numpy as np

from fastconv.arguments import as_flag, as_needs
from fastconv.arrays import check_shape, reals
from fastconv.geometry import ConvGeometry
from fastconv.ops.border import Border
from fastconv.ops.conv import Padding, conv2d, conv2d_backward

Gradients = tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None, np.ndarray | None]


def depthwise_separable_conv2d(
    x: np.ndarray,
    w_depthwise: np.ndarray,
    w_pointwise: np.ndarray,
    b: np.ndarray | None = None,
    stride: int | tuple[int, int] = 1,
    padding: Padding = 0,
    dilation: int | tuple[int, int] = 1,
    *,
    padding_mode: str = "zeros",
    return_saved: bool = False,
):
    """Convolve each channel with kernels of its own, then combine the channels of each pixel.

    What a convolution does at once, for a fraction of its products: F. Chollet, *Xception* (2017), arXiv:1610.02357;
    A. Howard et al., *MobileNets* (2017), arXiv:1704.04861. With ``m`` kernels for a channel, ``m * ci`` planes lie
    between the two.

    Parameters
    ----------
    x : (n, ci, h, w) ndarray
        float32 or float64; (ci, h, w) is one sample, and its result has no batch axis either.
    w_depthwise : (m * ci, 1, kh, kw) ndarray
    w_pointwise : (co, m * ci, 1, 1) ndarray
    b : (co,) ndarray, optional
    stride, padding, dilation, padding_mode
        Of the depthwise convolution, as in `conv2d`.
    return_saved : bool
        Return what `depthwise_separable_conv2d_backward` takes as `saved`, too.

    Returns
    -------
    y : (n, co, oh, ow) ndarray
    saved : (n, m * ci, oh, ow) ndarray
        The planes between the two convolutions. Only with `return_saved`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type or value; the message names it.
    MemoryError
        There is no memory for the result.
    """
    op = "depthwise_separable_conv2d"
    x, w_depthwise, w_pointwise, b = reals(op, x=x, w_depthwise=w_depthwise, w_pointwise=w_pointwise, b=b)
    as_flag(op, "return_saved", return_saved)
    options = stride, padding, dilation
    _check(op, x, w_depthwise, w_pointwise, b, options, padding_mode)
    planes = conv2d(x, w_depthwise, None, *options, groups=x.shape[-3], padding_mode=padding_mode)
    y = conv2d(planes, w_pointwise, b)
    return (y, planes) if return_saved else y


def depthwise_separable_conv2d_backward(
    dy: np.ndarray,
    x: np.ndarray,
    w_depthwise: np.ndarray,
    w_pointwise: np.ndarray,
    b: np.ndarray | None = None,
    stride: int | tuple[int, int] = 1,
    padding: Padding = 0,
    dilation: int | tuple[int, int] = 1,
    needs: tuple[bool, bool, bool, bool] = (True, True, True, True),
    *,
    padding_mode: str = "zeros",
    saved: np.ndarray | None = None,
) -> Gradients:
    """Gradients of `depthwise_separable_conv2d` with respect to its four arrays.

    Parameters
    ----------
    dy : (n, co, oh, ow) ndarray
        Gradient of the result.
    x, w_depthwise, w_pointwise, b, stride, padding, dilation, padding_mode
        What `depthwise_separable_conv2d` was given.
    needs : (bool, bool, bool, bool)
        Which of the four gradients are wanted.
    saved : ndarray, optional
        What it returned as `saved`; computed again if left out.

    Returns
    -------
    dx, dw_depthwise, dw_pointwise, db : ndarray or None
        None where it is not wanted, and for `db` where `b` is None.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type or value; the message names it.
    MemoryError
        There is no memory for a result.
    """
    op = "depthwise_separable_conv2d_backward"
    dy, x, w_depthwise, w_pointwise, b, saved = reals(
        op, dy=dy, x=x, w_depthwise=w_depthwise, w_pointwise=w_pointwise, b=b, saved=saved
    )
    options = stride, padding, dilation
    geometry = _check(op, x, w_depthwise, w_pointwise, b, options, padding_mode)
    planes_shape = geometry.y_shape if x.ndim == 4 else geometry.y_shape[1:]
    if saved is None:
        saved = conv2d(x, w_depthwise, None, *options, groups=x.shape[-3], padding_mode=padding_mode)
    check_shape(op, "saved", saved, planes_shape)
    check_shape(op, "dy", dy, (*planes_shape[:-3], len(w_pointwise), *planes_shape[-2:]))
    need_x, need_depthwise, need_pointwise, need_b = as_needs(op, needs, ("dx", "dw_depthwise", "dw_pointwise", "db"))
    within = need_x or need_depthwise
    dplanes, dw_pointwise, db = conv2d_backward(dy, saved, w_pointwise, b, needs=(within, need_pointwise, need_b))
    dx = dw_depthwise = None
    if within:
        dx, dw_depthwise, _ = conv2d_backward(
            dplanes, x, w_depthwise, None, *options, groups=x.shape[-3], needs=(need_x, need_depthwise, False),
            padding_mode=padding_mode,
        )  # fmt: skip
    return dx, dw_depthwise, dw_pointwise, db


def _check(
    op: str, x: np.ndarray, w_depthwise: np.ndarray, w_pointwise: np.ndarray, b, options: tuple, padding_mode: str
) -> ConvGeometry:
    """Return the geometry of the depthwise convolution; errors name the arguments of this op."""
    if x.ndim not in (3, 4):
        raise ValueError(f"{op}: x must have shape (n, ci, h, w) or (ci, h, w), got {x.shape}")
    channels = x.shape[-3]
    if w_depthwise.ndim != 4 or not channels or len(w_depthwise) % channels or w_depthwise.shape[1] != 1:
        raise ValueError(
            f"{op}: w_depthwise must have shape (m * {channels}, 1, kh, kw) for x of shape {x.shape}, "
            f"got {w_depthwise.shape}"
        )
    if w_pointwise.ndim != 4 or w_pointwise.shape[1:] != (len(w_depthwise), 1, 1) or not len(w_pointwise):
        raise ValueError(
            f"{op}: w_pointwise must have shape (co, {len(w_depthwise)}, 1, 1) for w_depthwise of shape "
            f"{w_depthwise.shape}, got {w_pointwise.shape}"
        )
    if b is not None and b.shape != (len(w_pointwise),):
        raise ValueError(f"{op}: b must have shape ({len(w_pointwise)},), got {b.shape}")
    batch = x.shape if x.ndim == 4 else (1, *x.shape)
    geometry = ConvGeometry.make(op, batch, w_depthwise.shape, None, *options, channels)
    Border(op, geometry, padding_mode)
    return geometry
