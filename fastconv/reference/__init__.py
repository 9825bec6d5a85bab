"""The specification of every op, as plain loops in float64.

Each function has the name and the arguments of the op that it specifies, and none of its speed. A forward pass is
written as its definition; a backward pass as a loop over the same terms, each sending its share of the gradient back to
where it came from. The fast kernels share nothing with it except the arithmetic of output sizes, so an agreement of the
two says something. Results are float64 for any input. Arguments that only save work (`needs`, `saved`) do not exist
here, and input is not validated beyond its sizes.

Tests and lessons import it; the ops never do.
"""

from fastconv.reference.activation import (
    relu,
    relu6,
    relu6_backward,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    tanh,
    tanh_backward,
)
from fastconv.reference.conv import (
    conv1d,
    conv1d_backward,
    conv2d,
    conv2d_backward,
    conv3d,
    conv3d_backward,
    conv_transpose1d,
    conv_transpose1d_backward,
    conv_transpose2d,
    conv_transpose2d_backward,
    conv_transpose3d,
    conv_transpose3d_backward,
)
from fastconv.reference.deform import deform_conv2d, deform_conv2d_backward
from fastconv.reference.linear import linear, linear_backward
from fastconv.reference.loss import cross_entropy, cross_entropy_backward
from fastconv.reference.norm import batch_norm, batch_norm_backward
from fastconv.reference.pool import (
    avg_pool2d,
    avg_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
)
from fastconv.reference.separable import depthwise_separable_conv2d, depthwise_separable_conv2d_backward
from fastconv.reference.shape import flatten, flatten_backward
from fastconv.reference.softmax import (
    log_softmax,
    log_softmax_backward,
    softmax,
    softmax_backward,
)

__all__ = [
    "avg_pool2d",
    "avg_pool2d_backward",
    "batch_norm",
    "batch_norm_backward",
    "conv1d",
    "conv1d_backward",
    "conv2d",
    "conv2d_backward",
    "conv3d",
    "conv3d_backward",
    "conv_transpose1d",
    "conv_transpose1d_backward",
    "conv_transpose2d",
    "conv_transpose2d_backward",
    "conv_transpose3d",
    "conv_transpose3d_backward",
    "cross_entropy",
    "cross_entropy_backward",
    "deform_conv2d",
    "deform_conv2d_backward",
    "depthwise_separable_conv2d",
    "depthwise_separable_conv2d_backward",
    "flatten",
    "flatten_backward",
    "linear",
    "linear_backward",
    "log_softmax",
    "log_softmax_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "relu",
    "relu6",
    "relu6_backward",
    "relu_backward",
    "sigmoid",
    "sigmoid_backward",
    "softmax",
    "softmax_backward",
    "tanh",
    "tanh_backward",
]
