"""A depthwise separable convolution: two convolutions, one after the other."""

import numpy as np

from fastconv.reference.conv import conv2d, conv2d_backward


def depthwise_separable_conv2d(
    x, w_depthwise, w_pointwise, b=None, stride=1, padding=0, dilation=1, *, padding_mode="zeros"
) -> np.ndarray:
    """Return y, (n, co, oh, ow): each channel is convolved with kernels of its own, then all with one tap."""
    return conv2d(_planes(x, w_depthwise, stride, padding, dilation, padding_mode), w_pointwise, b)


def depthwise_separable_conv2d_backward(
    dy, x, w_depthwise, w_pointwise, b=None, stride=1, padding=0, dilation=1, *, padding_mode="zeros"
) -> tuple:
    """Return dx, dw_depthwise, dw_pointwise, db: back through the one, then through the other."""
    planes = _planes(x, w_depthwise, stride, padding, dilation, padding_mode)
    dplanes, dw_pointwise, db = conv2d_backward(dy, planes, w_pointwise, b)
    options = stride, padding, dilation, x.shape[-3]
    dx, dw_depthwise, _ = conv2d_backward(dplanes, x, w_depthwise, None, *options, padding_mode=padding_mode)
    return dx, dw_depthwise, dw_pointwise, db


def _planes(x, w_depthwise, stride, padding, dilation, padding_mode) -> np.ndarray:
    return conv2d(x, w_depthwise, None, stride, padding, dilation, x.shape[-3], padding_mode=padding_mode)
