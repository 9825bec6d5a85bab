"""What nodes of ONNX ask for, said to our functions.

An adapter takes a node's attributes and inputs to one of our functions, where it only names and lays out what the two
say differently. It refuses, with a reason, what has no counterpart.
"""

from math import prod

import numpy as np

from fastconv import ops


class NotOffered(Exception):
    """What a node asks for has no counterpart here."""


def require(condition, reason):
    if not condition:
        raise NotOffered(reason)


# ---- what several operators share --------------------------------------------------------------------------------


def sliding(name, ndim):
    return getattr(ops, f"{name}{ndim}d")


def options_of(a, x, kernel):
    """Stride, dilation and the (before, after) padding of each axis."""
    ndim = x.ndim - 2
    stride, dilation = (tuple(a.get(name, [1] * ndim)) for name in ("strides", "dilations"))
    pads, mode = a.get("pads", [0] * 2 * ndim), a.get("auto_pad", "NOTSET")
    pairs = list(zip(pads[:ndim], pads[ndim:], strict=True))
    if mode.startswith("SAME"):
        for axis, size in enumerate(x.shape[2:]):
            extent = dilation[axis] * (kernel[axis] - 1) + 1
            total = max(0, (-(-size // stride[axis]) - 1) * stride[axis] + extent - size)
            less, more = total // 2, total - total // 2
            pairs[axis] = (less, more) if mode == "SAME_UPPER" else (more, less)
    return stride, dilation, tuple(pairs)


def flat_base(x, places):
    """What is added to a position in a plane for one in the whole array."""
    return np.arange(prod(x.shape[:2])).reshape(x.shape[:2] + (1,) * (x.ndim - 2)) * places


# ---- convolution and pooling -------------------------------------------------------------------------------------


def conv(a, x, w, b=None):
    stride, dilation, padding = options_of(a, x, w.shape[2:])
    return sliding("conv", x.ndim - 2)(x, w, b, stride, padding, dilation, a.get("group", 1))


def conv_transpose(a, x, w, b=None):
    ndim, mode = x.ndim - 2, a.get("auto_pad", "NOTSET")
    stride, dilation, padding = options_of({**a, "auto_pad": "NOTSET"}, x, w.shape[2:])
    extra, wanted = tuple(a.get("output_padding", [0] * ndim)), a.get("output_shape")
    extent = [d * (k - 1) + 1 for d, k in zip(dilation, w.shape[2:], strict=True)]
    whole = [(n - 1) * s + e + p for n, s, e, p in zip(x.shape[2:], stride, extent, extra, strict=True)]
    if mode.startswith("SAME"):
        wanted = [n * s for n, s in zip(x.shape[2:], stride, strict=True)]
    if wanted:
        total = [n - m for n, m in zip(whole, wanted, strict=True)]
        extra = tuple(p + max(0, -t) for p, t in zip(extra, total, strict=True))
        less = [(max(0, t) // 2, max(0, t) - max(0, t) // 2) for t in total]
        padding = [pair if mode != "SAME_LOWER" else pair[::-1] for pair in less]
    return sliding("conv_transpose", ndim)(x, w, b, stride, tuple(padding), extra, a.get("group", 1), dilation)


def deform_conv(a, x, w, offset, b=None, mask=None):
    stride, dilation, padding = options_of(a, x, w.shape[2:])
    return ops.deform_conv2d(x, offset, w, b, stride, padding, dilation, mask)


def require_narrow(padding, kernel, dilation):
    extents = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    fits = all(2 * max(pair) <= extent for pair, extent in zip(padding, extents, strict=True))
    require(fits, "padding beyond half of the window")


def max_pool(a, x):
    require(x.dtype.kind == "f", "integers")
    require(not a.get("storage_order", 0), "positions counted down the columns")
    kernel = tuple(a["kernel_shape"])
    stride, dilation, padding = options_of(a, x, kernel)
    require_narrow(padding, kernel, dilation)
    y, indices = sliding("max_pool", x.ndim - 2)(
        x, kernel, stride, padding, dilation, bool(a.get("ceil_mode", 0)), return_indices=True
    )
    return y, indices + flat_base(x, prod(x.shape[2:]))


def average_pool(a, x):
    kernel = tuple(a["kernel_shape"])
    stride, dilation, padding = options_of(a, x, kernel)
    require(max(dilation) == 1, "averages with dilation")
    require_narrow(padding, kernel, dilation)
    ceil_mode, count = bool(a.get("ceil_mode", 0)), bool(a.get("count_include_pad", 0))
    return sliding("avg_pool", x.ndim - 2)(x, kernel, stride, padding, ceil_mode, count)


def lp_pool(a, x):
    kernel = tuple(a["kernel_shape"])
    stride, dilation, padding = options_of(a, x, kernel)
    require(max(dilation) == 1, "norms with dilation")
    x = np.pad(abs(x), ((0, 0), (0, 0), *padding))  # PyTorch has no padding here, and its powers keep the sign
    return sliding("lp_pool", x.ndim - 2)(x, a.get("p", 2), kernel, stride)


def global_average_pool(a, x):
    return sliding("adaptive_avg_pool", x.ndim - 2)(x, 1)


def global_max_pool(a, x):
    return sliding("adaptive_max_pool", x.ndim - 2)(x, 1)


def max_unpool(a, x, indices, output_shape=None):
    kernel = tuple(a["kernel_shape"])
    stride, _, padding = options_of(a, x, kernel)
    size = [(n - 1) * s + k - sum(p) for n, s, k, p in zip(x.shape[2:], stride, kernel, padding, strict=True)]
    y = sliding("max_unpool", x.ndim - 2)(x, indices - flat_base(x, prod(size)), kernel, stride, 0, tuple(size))
    return y if output_shape is None else np.pad(y, [(0, m - n) for n, m in zip(y.shape, output_shape, strict=True)])


# ---- resampling and shapes ---------------------------------------------------------------------------------------


def resize(a, x, roi=None, scales=None, sizes=None):
    mode, coordinates = a.get("mode", "nearest"), a.get("coordinate_transformation_mode", "half_pixel")
    require(mode != "cubic", "cubic interpolation")
    require(not a.get("antialias", 0), "antialiasing")
    require(coordinates != "tf_crop_and_resize", "cropping")
    require("keep_aspect_ratio_policy" not in a, "sizes from an aspect ratio")
    scaled = scales is not None and scales.size > 0
    per_axis = [1.0] * x.ndim if scaled else list(x.shape)
    for axis, value in zip(a.get("axes", range(x.ndim)), scales if scaled else sizes, strict=True):
        per_axis[axis] = value.item()
    if mode == "nearest":
        factors = per_axis if scaled else [m / n for m, n in zip(per_axis, x.shape, strict=True)]
        rule = coordinates, a.get("nearest_mode", "round_prefer_floor")
        same = rule == ("half_pixel", "round_prefer_floor") and all(f == int(f) for f in factors)  # as the next
        require(same or rule == ("asymmetric", "floor"), "another rule for the nearest neighbour")
        options = {"mode": "nearest"}
    else:
        known = ("half_pixel", "pytorch_half_pixel", "align_corners")
        require(coordinates in known, "pixels laid out symmetrically")
        single = coordinates == "pytorch_half_pixel" and not scaled and min(per_axis[2:]) == 1
        require(not single, "a single pixel from a corner, which PyTorch takes from the middle")
        whole = not scaled or all(f * n == int(f * n) for f, n in zip(per_axis, x.shape, strict=True))
        require(whole or coordinates != "align_corners", "aligned corners of a fraction of a pixel")
        names = {1: "linear", 2: "bilinear", 3: "trilinear"}
        options = {"mode": names[x.ndim - 2], "align_corners": coordinates == "align_corners"}
    return ops.interpolate(x, **{"scale_factor" if scaled else "size": tuple(per_axis[2:])}, **options)


def upsample(a, x, scales):
    return resize({**a, "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}, x, scales=scales)


def col2im(a, x, image_shape, block_shape):
    ndim = len(image_shape)
    require(ndim == 2, "images of three axes")
    pads = a.get("pads", [0] * 2 * ndim)
    require(pads[:ndim] == pads[ndim:], "uneven padding")
    shapes = tuple(image_shape.tolist()), tuple(block_shape.tolist())
    stride, dilation = (tuple(a.get(name, [1] * ndim)) for name in ("strides", "dilations"))
    return ops.fold(x, *shapes, dilation, tuple(pads[:ndim]), stride)


def flatten(a, x):
    axis = a.get("axis", 1) % x.ndim if a.get("axis", 1) != x.ndim else x.ndim
    ones = x.reshape(1, *x.shape, 1)  # so that neither side is without an axis
    return ops.flatten(ops.flatten(ones, axis + 1, -1), 0, axis)


def dropout(a, x, ratio=None, training=None):
    p = float(a.get("ratio", 0.5) if ratio is None else ratio)
    training = bool(training is not None and training)
    require(not training or p == 0, "the numbers of another generator")
    return ops.dropout(x, p, training, seed=0), np.ones(x.shape, bool)


# ---- normalisation -----------------------------------------------------------------------------------------------


def batch_norm(a, x, scale, bias, mean, var):
    momentum, training = 1 - a.get("momentum", 0.9), bool(a.get("training_mode", 0))
    running = mean.copy(), var.copy()
    y = ops.batch_norm(x, *running, scale, bias, training, momentum, a.get("epsilon", 1e-5))
    n = x.size // x.shape[1]  # the variance there is divided by n, here and in PyTorch by n - 1
    return y, running[0], (1 - momentum) * var + (running[1] - (1 - momentum) * var) * (n - 1) / n


def layer_norm(a, x, scale, bias=None):
    shape = x.shape[a.get("axis", -1) % x.ndim :]
    return ops.layer_norm(x, shape, scale, bias, a.get("epsilon", 1e-5))


def group_norm(a, x, scale, bias):
    return ops.group_norm(x, a["num_groups"], scale, bias, a.get("epsilon", 1e-5))


def instance_norm(a, x, scale, bias):
    return ops.instance_norm(x, None, None, scale, bias, eps=a.get("epsilon", 1e-5))


def local_response_norm(a, x):
    return ops.local_response_norm(x, a["size"], a.get("alpha", 1e-4), a.get("beta", 0.75), a.get("bias", 1.0))


# ---- the rest ----------------------------------------------------------------------------------------------------


def hardsigmoid(a, x):
    require((a.get("alpha", 0.2), a.get("beta", 0.5)) == (1 / 6, 0.5), "another slope than 1/6")
    return ops.hardsigmoid(x)


def over_axis(name):
    return lambda a, x: getattr(ops, name)(x, a.get("axis", -1))


def linear(a, x, w, c=None):
    x, w = x.T if a.get("transA") else x, w if a.get("transB") else w.T
    require(c is None or c.ndim < 2 or len(c) == 1, "a matrix to add")
    b = None if c is None else np.broadcast_to(a.get("beta", 1.0) * c, (1, len(w)))[0].astype(x.dtype)
    return ops.linear(np.asarray(a.get("alpha", 1.0) * x, x.dtype), w, b)


def cross_entropy(a, x, target, weight=None):
    arguments = {} if weight is None else {"weight": weight}
    if "ignore_index" in a:
        arguments["ignore_index"] = a["ignore_index"]
    loss = ops.cross_entropy(x, target, **arguments, reduction=a.get("reduction", "mean"))
    return loss, ops.log_softmax(x, 1)


ADAPTERS = {
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "DeformConv": deform_conv,
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "LpPool": lp_pool,
    "GlobalAveragePool": global_average_pool,
    "GlobalMaxPool": global_max_pool,
    "MaxUnpool": max_unpool,
    "Resize": resize,
    "Upsample": upsample,
    "DepthToSpace": lambda a, x: ops.depth_to_space(x, a["blocksize"], a.get("mode", "DCR")),
    "SpaceToDepth": lambda a, x: ops.space_to_depth(x, a["blocksize"], a.get("mode", "DCR")),
    "Col2Im": col2im,
    "Flatten": flatten,
    "Dropout": dropout,
    "BatchNormalization": batch_norm,
    "LayerNormalization": layer_norm,
    "GroupNormalization": group_norm,
    "InstanceNormalization": instance_norm,
    "LRN": local_response_norm,
    "Relu": lambda a, x: ops.relu(x),
    "LeakyRelu": lambda a, x: ops.leaky_relu(x, a.get("alpha", 0.01)),
    "Elu": lambda a, x: ops.elu(x, a.get("alpha", 1.0)),
    "Gelu": lambda a, x: ops.gelu(x, a.get("approximate", "none")),
    "Sigmoid": lambda a, x: ops.sigmoid(x),
    "Tanh": lambda a, x: ops.tanh(x),
    "HardSigmoid": hardsigmoid,
    "HardSwish": lambda a, x: ops.hardswish(x),
    "Softmax": over_axis("softmax"),
    "LogSoftmax": over_axis("log_softmax"),
    "SoftmaxCrossEntropyLoss": cross_entropy,
    "Gemm": linear,
}
