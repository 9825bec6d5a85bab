"""The node tests of ONNX, a suite that others wrote: each one passes, or stands in a list of what is not offered.

An adapter takes a node's attributes and inputs to one of our functions, where it only names and lays out what the two
say differently. It refuses, with a reason, what has no counterpart; `NOT_OFFERED` has to list exactly those tests.
"""

import inspect
import warnings
from functools import cache
from math import prod

import numpy as np
import pytest

from fastconv import ops

onnx = pytest.importorskip("onnx")

SUITES = ("node", "pytorch-converted", "pytorch-operator")


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
    if "weight" not in inspect.signature(ops.cross_entropy).parameters:
        pytest.skip("cross_entropy has no weights yet")
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

# Reasons, and the tests that are refused for them.
NOT_OFFERED = {
    "integers": ("test_maxpool_2d_uint8",),
    "positions counted down the columns": ("test_maxpool_with_argmax_2d_precomputed_strides",),
    "padding beyond half of the window": (
        "test_maxpool_2d_pads",
        "test_averagepool_2d_pads",
        "test_averagepool_2d_pads_count_include_pad",
    ),
    "averages with dilation": (
        "test_averagepool_2d_dilations",
        "test_averagepool_3d_dilations_small",
        "test_averagepool_3d_dilations_large_count_include_pad_is_0_ceil_mode_is_True",
        "test_averagepool_3d_dilations_large_count_include_pad_is_0_ceil_mode_is_False",
        "test_averagepool_3d_dilations_large_count_include_pad_is_1_ceil_mode_is_True",
        "test_averagepool_3d_dilations_large_count_include_pad_is_1_ceil_mode_is_False",
    ),
    "norms with dilation": ("test_lppool_2d_dilations",),
    "cubic interpolation": (
        "test_resize_upsample_scales_cubic",
        "test_resize_upsample_scales_cubic_align_corners",
        "test_resize_downsample_scales_cubic",
        "test_resize_downsample_scales_cubic_align_corners",
        "test_resize_upsample_sizes_cubic",
        "test_resize_downsample_sizes_cubic",
        "test_resize_upsample_scales_cubic_A_n0p5_exclude_outside",
        "test_resize_downsample_scales_cubic_A_n0p5_exclude_outside",
        "test_resize_upsample_scales_cubic_asymmetric",
        "test_resize_downsample_scales_cubic_antialias",
        "test_resize_downsample_sizes_cubic_antialias",
    ),
    "antialiasing": ("test_resize_downsample_scales_linear_antialias", "test_resize_downsample_sizes_linear_antialias"),
    "cropping": (
        "test_resize_tf_crop_and_resize",
        "test_resize_tf_crop_and_resize_extrapolation_value",
        "test_resize_tf_crop_and_resize_axes_2_3",
        "test_resize_tf_crop_and_resize_axes_3_2",
    ),
    "sizes from an aspect ratio": (
        "test_resize_upsample_sizes_nearest_not_larger",
        "test_resize_upsample_sizes_nearest_not_smaller",
        "test_resize_downsample_sizes_nearest_not_larger",
        "test_resize_downsample_sizes_nearest_not_smaller",
    ),
    "another rule for the nearest neighbour": (
        "test_resize_downsample_scales_nearest",
        "test_resize_upsample_sizes_nearest",
        "test_resize_downsample_sizes_nearest",
        "test_resize_upsample_sizes_nearest_floor_align_corners",
        "test_resize_upsample_sizes_nearest_round_prefer_ceil_asymmetric",
        "test_resize_upsample_sizes_nearest_ceil_half_pixel",
        "test_resize_upsample_sizes_nearest_axes_2_3",
        "test_resize_upsample_sizes_nearest_axes_3_2",
    ),
    "pixels laid out symmetrically": (
        "test_resize_downsample_scales_linear_half_pixel_symmetric",
        "test_resize_upsample_scales_linear_half_pixel_symmetric",
    ),
    "aligned corners of a fraction of a pixel": ("test_resize_downsample_scales_linear_align_corners",),
    "images of three axes": ("test_col2im_5d",),
    "the numbers of another generator": (
        "test_training_dropout_default",
        "test_training_dropout_default_mask",
        "test_training_dropout",
        "test_training_dropout_mask",
    ),
    "another slope than 1/6": ("test_hardsigmoid_example", "test_hardsigmoid", "test_hardsigmoid_default"),
    "a matrix to add": ("test_gemm_default_matrix_bias",),
}


# ---- the suites --------------------------------------------------------------------------------------------------


@cache
def suite():
    """Tests of one node each, by operator: (name, attributes, inputs, expected outputs, tolerances)."""
    from onnx.backend.test.loader import load_model_tests

    tests = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # their NumPy overflows on purpose
        cases = [case for kind in SUITES for case in load_model_tests(kind=kind)]
    for case in cases:
        model = case.model or onnx.load(f"{case.model_dir}/model.onnx")
        if len(model.graph.node) == 1 and model.graph.node[0].op_type in ADAPTERS:
            tests.setdefault(model.graph.node[0].op_type, []).append((case, model))
    return tests


def attributes_of(node):
    values = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}


def data_of(case, model):
    """Inputs in the order of the node, None where one is left out, and the expected outputs."""
    if case.data_sets:
        given, expected = case.data_sets[0]
    else:
        folder = f"{case.model_dir}/test_data_set_0"
        given, expected = (
            [read(f"{folder}/{kind}_{k}.pb") for k in range(len(values))]
            for kind, values in (("input", free_inputs(model)), ("output", model.graph.output))
        )
    named = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    named |= dict(zip((value.name for value in free_inputs(model)), given, strict=False))
    return [named.get(name) for name in model.graph.node[0].input], expected


def free_inputs(model):
    fixed = {t.name for t in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in fixed]


def read(path):
    tensor = onnx.TensorProto()
    with open(path, "rb") as file:
        tensor.ParseFromString(file.read())
    return onnx.numpy_helper.to_array(tensor)


def outcome(operator, case, model):
    """None where the results agree, the reason of a refusal, or what went wrong."""
    inputs, expected = data_of(case, model)
    try:
        found = ADAPTERS[operator](attributes_of(model.graph.node[0]), *inputs)
    except NotOffered as refusal:
        return str(refusal)
    except AttributeError as missing:
        pytest.skip(str(missing))
    found = found if isinstance(found, tuple) else (found,)
    for mine, theirs in zip(found, expected, strict=False):
        np.testing.assert_allclose(mine, theirs, rtol=case.rtol, atol=max(case.atol, 1e-6), err_msg=case.name)
        assert np.asarray(mine).dtype == theirs.dtype, case.name
    return None


@pytest.mark.parametrize("operator", ADAPTERS)
def test_nodes(operator):
    tests = suite()[operator]
    refused = {}
    for case, model in tests:
        reason = outcome(operator, case, model)
        if reason:
            refused[case.name] = reason
    names = {case.name for case, _ in tests}
    assert refused == {name: reason for reason, listed in NOT_OFFERED.items() for name in listed if name in names}


def test_the_list_names_real_tests():
    names = {case.name for tests in suite().values() for case, _ in tests}
    assert not {name for listed in NOT_OFFERED.values() for name in listed} - names
