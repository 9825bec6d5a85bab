"""Layers as nodes of ONNX (https://onnx.ai/onnx/operators): `NODES` tells for each class of layers what it becomes.

A function of this table is given the graph, a layer and its input, adds nodes that do what the layer does in inference,
and returns the last one's output. Combinators call `write_layer` for the layers in them, so that models need no word
here.
"""

from collections.abc import Callable, Sequence
from functools import reduce

import numpy as np

from fastconv import layers
from fastconv.geometry import ConvGeometry, ConvTransposeGeometry, PoolGeometry, Window
from fastconv.interop.onnx_graph import Graph, Value
from fastconv.layers import Layer
from fastconv.layers.norm import BatchNorm
from fastconv.layers.sample_norm import InstanceNorm

PAD_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


# ---- combinators


def chain(graph: Graph, layer: Layer, x: Value) -> Value:
    """One layer after another."""
    return reduce(lambda value, child: write_layer(graph, child, value), layer.children.values(), x)


def same(graph: Graph, layer: Layer, x: Value) -> Value:
    """Return the input: the layer does nothing in inference."""
    return x


def side_by_side(kind: str, **attributes: object) -> Callable:
    """Return what joins branches by one node."""

    def write(graph: Graph, layer: layers.Sum, x: Value) -> Value:
        ys = [write_layer(graph, branch, x) for branch in layer.children.values()]
        return graph.node(kind, ys, layer.combined_shape([y.shape for y in ys]), **attributes)

    return write


# ---- layers with weights


def window_attributes(window: Window) -> dict[str, object]:
    """Return the attributes that convolutions and poolings share."""
    before, after = zip(*window.padding, strict=True)
    return {
        "kernel_shape": window.kernel,
        "strides": window.stride,
        "dilations": window.dilation,
        "pads": (*before, *after),
    }


def conv(graph: Graph, layer: layers.Conv2d, x: Value) -> Value:
    """Conv; a border other than zeros is a Pad before it."""
    shape, y_shape = layer.params["weight"].shape, layer.output_shape(x.shape)
    options = layer.stride, layer.padding, layer.dilation, layer.groups
    attributes = window_attributes(ConvGeometry.make("onnx", x.shape, shape, None, *options, ndim=layer.axes).window)
    if layer.padding_mode != "zeros":
        pads, axes = attributes.pop("pads"), layer.axes
        padded = [n + a + b for n, a, b in zip(x.shape[2:], pads[:axes], pads[axes:], strict=True)]
        amounts = graph.integers(0, 0, *pads[:axes], 0, 0, *pads[axes:])
        x = graph.node("Pad", [x, amounts], (*x.shape[:2], *padded), mode=PAD_MODES[layer.padding_mode])
    inputs = [x, graph.state(layer, "weight"), graph.state(layer, "bias")]
    return graph.node("Conv", inputs, y_shape, group=layer.groups, **attributes)


def conv_transpose(graph: Graph, layer: layers.ConvTranspose2d, x: Value) -> Value:
    """ConvTranspose."""
    options = layer.stride, layer.padding, layer.output_padding, layer.groups, layer.dilation
    shape = layer.params["weight"].shape
    geometry = ConvTransposeGeometry.make("onnx", x.shape, shape, None, *options, ndim=layer.axes)
    attributes = window_attributes(geometry.convolution.window) | {"output_padding": geometry.output_padding}
    inputs = [x, graph.state(layer, "weight"), graph.state(layer, "bias")]
    return graph.node("ConvTranspose", inputs, layer.output_shape(x.shape), group=layer.groups, **attributes)


def deform_conv(graph: Graph, layer: layers.DeformConv2d, x: Value) -> Value:
    """DeformConv, after the Conv that gives its offsets and its mask."""
    shape, y_shape = layer.params["weight"].shape, layer.output_shape(x.shape)
    options = layer.stride, layer.padding, layer.dilation
    attributes = window_attributes(ConvGeometry.make("onnx", x.shape, shape, None, *options, layer.groups).window)
    branch = [graph.state(layer, f"offset.{key}") for key in ("weight", "bias")]
    found_shape = (1, len(layer.params["offset.bias"]), *y_shape[2:])
    found = offset = graph.node("Conv", [x, *branch], found_shape, **attributes)
    mask: Value | str = ""
    if layer.mask:
        places = graph.integers(0), graph.integers(layer.offsets), graph.integers(found_shape[1]), graph.integers(1)
        start, middle, end, axis = places
        offset = graph.node("Slice", [found, start, middle, axis], (1, layer.offsets, *y_shape[2:]))
        logits = graph.node("Slice", [found, middle, end, axis], (1, layer.offsets // 2, *y_shape[2:]))
        mask = graph.node("Sigmoid", [logits], logits.shape)
    inputs = [x, graph.state(layer, "weight"), offset, graph.state(layer, "bias"), mask]
    groups = {"group": layer.groups, "offset_group": layer.offset_groups}
    return graph.node("DeformConv", inputs, y_shape, **groups, **attributes)


def linear(graph: Graph, layer: layers.Linear, x: Value) -> Value:
    """Gemm of a matrix; of more axes MatMul, and Add."""
    y_shape = layer.output_shape(x.shape)
    if len(x.shape) == 2:
        inputs = [x, graph.state(layer, "weight"), graph.state(layer, "bias")]
        return graph.node("Gemm", inputs, y_shape, transB=1)
    turned = graph.constant(f"{graph.name(layer)}.weight^T", layer.params["weight"].T)
    y = graph.node("MatMul", [x, turned], y_shape)
    return graph.node("Add", [y, graph.state(layer, "bias")], y_shape) if "bias" in layer.params else y


def batch_norm(graph: Graph, layer: BatchNorm, x: Value) -> Value:
    """BatchNormalization with the running statistics."""
    if not layer.track_running_stats:
        raise TypeError(f"onnx: {layer!r} has no running statistics")
    scale, shift = graph.state(layer, "weight"), graph.state(layer, "bias")
    if not layer.affine:
        like = layer.buffers["running_var"]
        scale, shift = (graph.state(layer, key, full(like)) for key, full in AFFINE.items())
    statistics = [graph.state(layer, key) for key in ("running_mean", "running_var")]
    return graph.node("BatchNormalization", [x, scale, shift, *statistics], x.shape, epsilon=layer.eps)


AFFINE = {"weight": np.ones_like, "bias": np.zeros_like}


def sample_norm(kind: str, size: str, **names: str) -> Callable:
    """Return what writes a normalisation of single samples; `names` maps attributes to the layer's own."""

    def write(graph: Graph, layer: layers.GroupNorm, x: Value) -> Value:
        if layer.buffers:
            raise TypeError(f"onnx: {layer!r} tracks running statistics, which has no form in ONNX")
        like = np.empty(getattr(layer, size), graph.dtype)
        affine = [graph.state(layer, key, full(like)) for key, full in AFFINE.items()]
        attributes = {attribute: getattr(layer, name) for attribute, name in names.items()}
        if kind == "LayerNormalization":
            attributes["axis"] = -like.ndim
        return graph.node(kind, [x, *affine], x.shape, epsilon=layer.eps, **attributes)

    return write


# ---- pooling and sizes


def closed(window: Window, x_shape: Sequence[int], y_shape: Sequence[int]) -> dict[str, object]:
    """Return a window's attributes, with padding at the end for a last window that hangs over it (`ceil_mode`)."""
    attributes, axes = window_attributes(window), len(window.kernel)
    pads = list(attributes["pads"])
    for axis, (n, outputs, extent) in enumerate(zip(x_shape[2:], y_shape[2:], window.extent, strict=True)):
        end = (outputs - 1) * window.stride[axis] + extent
        pads[axes + axis] = max(pads[axes + axis], end - n - pads[axis])
    return attributes | {"pads": pads}


def pool(kind: str) -> Callable:
    """Return what writes a pooling with windows."""

    def write(graph: Graph, layer: layers.MaxPool2d | layers.AvgPool2d | layers.LPPool2d, x: Value) -> Value:
        options = (getattr(layer, name, default) for name, default in (("padding", 0), ("dilation", 1)))
        sizes = layer.kernel_size, layer.stride, *options, layer.ceil_mode
        geometry = PoolGeometry.make("onnx", x.shape, *sizes, ndim=layer.axes)
        attributes = closed(geometry.window, x.shape, geometry.y_shape)
        if kind == "AveragePool":
            if layer.divisor_override is not None:
                raise TypeError(f"onnx: {layer!r} has a divisor of its own, which has no form in ONNX")
            padded = any(map(any, geometry.window.padding))
            if padded and layer.count_include_pad:  # what hangs over the end does not count, padding does
                attributes = window_attributes(geometry.window) | {"ceil_mode": int(layer.ceil_mode)}
                attributes["count_include_pad"] = 1
        if kind == "LpPool":
            attributes["p"] = _whole(layer.norm_type, layer)
        return graph.node(kind, [x], geometry.y_shape, **attributes)

    return write


def adaptive(kind: str) -> Callable:
    """Return what writes a pooling to a given size: nothing, one window or equal ones."""

    def write(graph: Graph, layer: layers.AdaptiveAvgPool2d, x: Value) -> Value:
        y_shape = layer.output_shape(x.shape)
        if y_shape == x.shape:
            return x
        if set(y_shape[2:]) == {1}:
            return graph.node(f"Global{kind}", [x], y_shape)
        kernel = [n // outputs for n, outputs in zip(x.shape[2:], y_shape[2:], strict=True)]
        if any(n % outputs for n, outputs in zip(x.shape[2:], y_shape[2:], strict=True)):
            raise TypeError(f"onnx: {layer!r} has unequal windows on maps of {x.shape[2:]}, which has no form in ONNX")
        return graph.node(kind, [x], y_shape, kernel_shape=kernel, strides=kernel)

    return write


def global_pool(kind: str) -> Callable:
    """Return what writes a pooling of whole maps."""
    return lambda graph, layer, x: graph.node(kind, [x], layer.output_shape(x.shape))


def flatten(graph: Graph, layer: layers.Flatten, x: Value) -> Value:
    """Flatten to a matrix, or else Reshape."""
    y_shape = layer.output_shape(x.shape)
    if len(y_shape) == 2 and y_shape[0] == x.shape[0]:
        return graph.node("Flatten", [x], y_shape)
    return graph.node("Reshape", [x, graph.integers(-1, *y_shape[1:])], y_shape)


def resize(graph: Graph, layer: layers.Upsample, x: Value) -> Value:
    """Resize."""
    y_shape, linear_mode = layer.output_shape(x.shape), layer.mode != "nearest"
    corners = "align_corners" if layer.align_corners else "half_pixel"
    attributes = {"mode": "linear", "coordinate_transformation_mode": corners} if linear_mode else NEAREST
    if layer.size is None:
        factors = np.broadcast_to(np.array(layer.scale_factor, np.float32), len(x.shape) - 2)
        name = f"factors_{'_'.join(map(str, factors))}"
        inputs = [x, "", graph.constant(name, np.concatenate([np.ones(2, np.float32), factors]))]
    else:
        inputs = [x, "", "", graph.integers(*y_shape[2:])]
        attributes = attributes | {"axes": tuple(range(2, len(x.shape)))}
    return graph.node("Resize", inputs, y_shape, **attributes)


NEAREST = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}


def _whole(value: float, layer: Layer) -> int:
    if value != int(value):
        raise TypeError(f"onnx: {layer!r} has an exponent that is no whole number, which has no form in ONNX")
    return int(value)


# ---- channels and pixels: the axes of (n, parts of channels, h, w), and where each of them goes

DEPTH_AXES = {"DCR": ("i", "j", "c"), "SPD": ("j", "i", "c"), "CRD": ("c", "i", "j")}


def depth_to_space(graph: Graph, layer: layers.DepthToSpace, x: Value) -> Value:
    """Reshape, Transpose, Reshape: ONNX's own operator lacks one of the orders."""
    (_, block), mode = next(iter(layer._options().items())), getattr(layer, "mode", "CRD")
    _, c, h, w = y_shape = layer.output_shape(x.shape)
    sizes = {"i": block, "j": block, "c": c, "h": h // block, "w": w // block}
    return _moved(graph, x, (*DEPTH_AXES[mode], "h", "w"), ("c", "h", "i", "w", "j"), sizes, y_shape)


def space_to_depth(graph: Graph, layer: layers.SpaceToDepth, x: Value) -> Value:
    """Do the opposite of `depth_to_space`."""
    (_, block), mode = next(iter(layer._options().items())), getattr(layer, "mode", "CRD")
    _, c, h, w = x.shape
    sizes = {"i": block, "j": block, "c": c, "h": h // block, "w": w // block}
    y_shape = layer.output_shape(x.shape)
    return _moved(graph, x, ("c", "h", "i", "w", "j"), (*DEPTH_AXES[mode], "h", "w"), sizes, y_shape)


def _moved(graph: Graph, x: Value, before: tuple, after: tuple, sizes: dict[str, int], y_shape: tuple) -> Value:
    split, order = [sizes[axis] for axis in before], [before.index(axis) for axis in after]
    x = graph.node("Reshape", [x, graph.integers(-1, *split)], (1, *split))
    x = graph.node("Transpose", [x], (1, *(split[axis] for axis in order)), perm=[0, *(axis + 1 for axis in order)])
    return graph.node("Reshape", [x, graph.integers(-1, *y_shape[1:])], y_shape)


# ---- functions of single elements, and of rows


def plain(kind: str, **names: str) -> Callable:
    """Return what writes a node that keeps the shape; `names` maps attributes to those of the layer."""

    def write(graph: Graph, layer: Layer, x: Value) -> Value:
        return graph.node(kind, [x], x.shape, **{key: getattr(layer, name) for key, name in names.items()})

    return write


def relu6(graph: Graph, layer: layers.ReLU6, x: Value) -> Value:
    """Clip."""
    return graph.node("Clip", [x, graph.number(0), graph.number(6)], x.shape)


def hardsigmoid(graph: Graph, layer: layers.Hardsigmoid, x: Value) -> Value:
    """HardSigmoid, whose usual slope is another."""
    return graph.node("HardSigmoid", [x], x.shape, alpha=1 / 6, beta=0.5)


def scale(graph: Graph, layer: layers.Scale, x: Value) -> Value:
    """Mul by a number."""
    return graph.node("Mul", [x, graph.number(layer.factor)], x.shape)


def silu(graph: Graph, layer: layers.SiLU, x: Value) -> Value:
    """Mul by Sigmoid."""
    return graph.node("Mul", [x, graph.node("Sigmoid", [x], x.shape)], x.shape)


def response_norm(graph: Graph, layer: layers.LocalResponseNorm, x: Value) -> Value:
    """LRN."""
    if layer.size % 2 == 0:
        raise TypeError(f"onnx: {layer!r} has an even size, whose extra channel ONNX takes on the other side")
    options = {"alpha": layer.alpha, "beta": layer.beta, "bias": layer.k}
    return graph.node("LRN", [x], x.shape, size=layer.size, **options)


def each_axis(name: str, write: Callable) -> dict[type[Layer], Callable]:
    """Return the entries of layers that exist along one, two and three axes."""
    return {getattr(layers, f"{name}{axes}d"): write for axes in (1, 2, 3)}


def write_layer(graph: Graph, layer: Layer, x: Value) -> Value:
    """Add the nodes of a layer.

    Raises
    ------
    TypeError
        Its class, or one of its options, has no form in ONNX.
    """
    write = next((NODES[kind] for kind in type(layer).__mro__ if kind in NODES), None)
    if write is None:
        raise TypeError(f"onnx: {graph.name(layer)!r} is a {type(layer).__name__}, which has no form in ONNX")
    return write(graph, layer, x)


NODES: dict[type[Layer], Callable[[Graph, Layer, Value], Value]] = {
    layers.Sequential: chain,
    layers.DepthwiseSeparableConv2d: chain,
    layers.Identity: same,
    layers.Dropout: same,
    layers.Sum: side_by_side("Sum"),
    layers.Mean: side_by_side("Mean"),
    layers.Concat: side_by_side("Concat", axis=1),
    layers.Gate: side_by_side("Mul"),
    layers.SideHead: same,
    layers.Scale: scale,
    layers.Conv2d: conv,
    layers.DeformConv2d: deform_conv,
    layers.ConvTranspose2d: conv_transpose,
    layers.Linear: linear,
    BatchNorm: batch_norm,
    InstanceNorm: sample_norm("InstanceNormalization", "num_features"),
    layers.GroupNorm: sample_norm("GroupNormalization", "num_channels", num_groups="num_groups"),
    layers.LayerNorm: sample_norm("LayerNormalization", "normalized_shape"),
    layers.LocalResponseNorm: response_norm,
    layers.MaxPool2d: pool("MaxPool"),
    layers.AvgPool2d: pool("AveragePool"),
    layers.LPPool2d: pool("LpPool"),
    **each_axis("AdaptiveMaxPool", adaptive("MaxPool")),
    **each_axis("AdaptiveAvgPool", adaptive("AveragePool")),
    **each_axis("GlobalMaxPool", global_pool("GlobalMaxPool")),
    **each_axis("GlobalAvgPool", global_pool("GlobalAveragePool")),
    layers.Flatten: flatten,
    layers.Upsample: resize,
    layers.PixelShuffle: depth_to_space,
    layers.DepthToSpace: depth_to_space,
    layers.PixelUnshuffle: space_to_depth,
    layers.SpaceToDepth: space_to_depth,
    layers.ReLU: plain("Relu"),
    layers.ReLU6: relu6,
    layers.LeakyReLU: plain("LeakyRelu", alpha="negative_slope"),
    layers.ELU: plain("Elu", alpha="alpha"),
    layers.GELU: plain("Gelu", approximate="approximate"),
    layers.Sigmoid: plain("Sigmoid"),
    layers.Tanh: plain("Tanh"),
    layers.Hardsigmoid: hardsigmoid,
    layers.Hardswish: plain("HardSwish"),
    layers.SiLU: silu,
    layers.Softmax: plain("Softmax", axis="dim"),
    layers.LogSoftmax: plain("LogSoftmax", axis="dim"),
}
