"""Calls of the public ops, one or a few of each, for the promises that all of them share."""

import inspect
from dataclasses import dataclass, field
from typing import Any

from fastconv import ops, reference


def as_tuple(gradients):
    return gradients if isinstance(gradients, tuple) else (gradients,)


@dataclass(frozen=True)
class Call:
    """A call of an op: shapes of its float arrays (None for one left out), labels, options."""

    op: str
    shapes: tuple
    options: dict[str, Any] = field(default_factory=dict)
    labels: tuple | None = None

    def arrays(self, draw, rng):
        floats = tuple(None if shape is None else draw(shape) for shape in self.shapes)
        return floats if self.labels is None else (*floats, rng.integers(0, self.shapes[0][1], self.labels))

    def forward(self, arrays, **more):
        return getattr(ops, self.op)(*arrays, **self.options, **more)

    def backward(self, dy, arrays, **more):
        return as_tuple(getattr(ops, f"{self.op}_backward")(dy, *arrays, **self.options, **more))

    def specified(self, arrays):
        return getattr(reference, self.op)(*arrays, **self.options)

    def specified_gradients(self, dy, arrays):
        return as_tuple(getattr(reference, f"{self.op}_backward")(dy, *arrays, **self.options))

    def forward_saved(self, arrays):
        """Return the result and what the backward may be handed; functions of x hand on the result itself."""
        if "return_saved" in inspect.signature(getattr(ops, self.op)).parameters:
            return self.forward(arrays, return_saved=True)
        y = self.forward(arrays)
        return y, y


CALLS = {
    "conv2d": Call("conv2d", ((2, 5, 8, 9), (6, 5, 3, 3), (6,)), {"stride": 2, "padding": (1, (0, 2))}),
    "conv2d_grouped": Call("conv2d", ((3, 6, 7, 5), (4, 3, 2, 3), None), {"dilation": 2, "groups": 2, "padding": 2}),
    "conv2d_reflected": Call("conv2d", ((2, 3, 6, 5), (4, 3, 3, 4), (4,)), {"padding": 2, "padding_mode": "reflect"}),
    "conv2d_replicated": Call(
        "conv2d", ((2, 3, 4, 5), (4, 3, 3, 3), None), {"padding": ((5, 1), 0), "padding_mode": "replicate"}
    ),
    "conv1d": Call("conv1d", ((2, 5, 19), (6, 5, 3), (6,)), {"stride": 2, "padding": 1}),
    "conv1d_sample": Call("conv1d", ((5, 19), (6, 5, 3), (6,)), {"dilation": 2}),
    "conv3d": Call("conv3d", ((2, 4, 4, 6, 5), (5, 4, 3, 3, 2), (5,)), {"stride": (1, 2, 1), "padding": 1}),
    "conv3d_circular": Call(
        "conv3d", ((1, 2, 3, 4, 5), (3, 2, 3, 3, 3), None), {"padding": (3, 1, 2), "padding_mode": "circular"}
    ),
    "conv_transpose1d": Call("conv_transpose1d", ((2, 5, 9), (5, 6, 4), (6,)), {"stride": 2}),
    "conv_transpose2d": Call(
        "conv_transpose2d", ((2, 6, 5, 4), (6, 2, 3, 3), (4,)), {"stride": 2, "output_padding": 1, "groups": 2}
    ),
    "conv_transpose2d_sample": Call("conv_transpose2d", ((3, 5, 4), (3, 4, 3, 2), (4,)), {"padding": 1, "dilation": 2}),
    "conv_transpose3d": Call("conv_transpose3d", ((2, 3, 3, 4, 3), (3, 4, 2, 3, 2), (4,)), {"stride": (1, 2, 3)}),
    "depthwise_separable_conv2d": Call(
        "depthwise_separable_conv2d", ((2, 3, 6, 7), (6, 1, 3, 3), (5, 6, 1, 1), (5,)), {"stride": 2, "padding": 1}
    ),
    "max_pool2d": Call("max_pool2d", ((2, 3, 9, 8),), {"kernel_size": 3, "stride": 2, "padding": 1}),
    "max_pool2d_large": Call("max_pool2d", ((1, 2, 20, 19),), {"kernel_size": 17, "stride": 1, "dilation": 1}),
    "max_pool2d_relu": Call("max_pool2d", ((2, 3, 9, 8),), {"kernel_size": 2, "padding": 1, "relu": True}),
    "max_pool2d_pairs_relu": Call("max_pool2d", ((2, 3, 9, 36),), {"kernel_size": 2, "relu": True}),
    "max_pool2d_large_relu": Call("max_pool2d", ((1, 2, 20, 19),), {"kernel_size": 16, "stride": 1, "relu": True}),
    "avg_pool2d": Call("avg_pool2d", ((2, 3, 9, 8),), {"kernel_size": (2, 3), "padding": 1, "ceil_mode": True}),
    "linear": Call("linear", ((4, 11), (7, 11), (7,))),
    "linear_stacked": Call("linear", ((2, 3, 11), (7, 11), None)),
    "linear_relu": Call("linear", ((4, 11), (7, 11), (7,)), {"relu": True}),
    "linear_stacked_relu": Call("linear", ((2, 30, 11), (37, 11), (37,)), {"relu": True}),
    "relu": Call("relu", ((3, 5, 7),)),
    "relu6": Call("relu6", ((3, 5, 7),)),
    "sigmoid": Call("sigmoid", ((3, 5, 7),)),
    "tanh": Call("tanh", ((3, 5, 7),)),
    "softmax": Call("softmax", ((3, 5, 7),)),
    "softmax_inner": Call("softmax", ((3, 5, 7),), {"dim": 1}),
    "log_softmax": Call("log_softmax", ((3, 5, 7),)),
    "log_softmax_inner": Call("log_softmax", ((3, 5, 7),), {"dim": -2}),
    "cross_entropy": Call("cross_entropy", ((6, 5),), {}, (6,)),
    "cross_entropy_sum": Call("cross_entropy", ((6, 5),), {"reduction": "sum"}, (6,)),
    "cross_entropy_planes": Call("cross_entropy", ((2, 5, 3, 4),), {"reduction": "none"}, (2, 3, 4)),
    "cross_entropy_smooth": Call("cross_entropy", ((6, 5),), {"label_smoothing": 0.2, "ignore_index": 2}, (6,)),
    "flatten": Call("flatten", ((2, 3, 4, 5),), {"end_dim": 2}),
    "leaky_relu": Call("leaky_relu", ((3, 5, 7),), {"negative_slope": 0.25}),
    "elu": Call("elu", ((3, 5, 7),), {"alpha": 1.5}),
    "silu": Call("silu", ((3, 5, 7),)),
    "hardsigmoid": Call("hardsigmoid", ((3, 5, 7),)),
    "hardswish": Call("hardswish", ((3, 5, 7),)),
    "gelu": Call("gelu", ((3, 5, 7),)),
    "gelu_tanh": Call("gelu", ((3, 5, 7),), {"approximate": "tanh"}),
    "layer_norm": Call("layer_norm", ((3, 5, 7),), {"normalized_shape": (5, 7)}),
    "group_norm": Call("group_norm", ((3, 6, 7),), {"num_groups": 2}),
    "instance_norm": Call("instance_norm", ((3, 4, 5, 6), None, None, (4,), (4,))),
    "local_response_norm": Call("local_response_norm", ((3, 6, 5, 4),), {"size": 4, "alpha": 0.5}),
    "dropout": Call("dropout", ((3, 5, 7),), {"seed": 2**64 - 1, "counter": 3}),
    "dropout2d": Call("dropout2d", ((3, 5, 4, 7),), {"seed": 5, "p": 0.75}),
    "unfold": Call("unfold", ((2, 3, 8, 9),), {"kernel_size": (2, 3), "stride": (1, 2), "padding": 1}),
    "fold": Call(
        "fold", ((2, 18, 36),), {"output_size": (8, 9), "kernel_size": (2, 3), "stride": (2, 1), "padding": (0, 1)}
    ),
}
