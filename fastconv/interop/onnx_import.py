"""Nodes of ONNX (https://onnx.ai/onnx/operators) as layers: `READERS` tells for each operator what it becomes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from fastconv import layers
from fastconv.interop.onnx_model import OPERATIONS, Pad, Product, Reshape, Transpose, WithConstant
from fastconv.layers import Identity, Layer, Sequential


@dataclass(frozen=True)
class Node:
    """What a reader is told of a node.

    Attributes
    ----------
    kind : str
        The operator.
    attributes : mapping
    constants : tuple of (ndarray or None)
        Of each input; None for what is computed, or left out.
    rank : int
        Number of axes of the first input that is computed.
    opset : int
    """

    kind: str
    attributes: Mapping[str, object]
    constants: tuple[np.ndarray | None, ...]
    rank: int
    opset: int

    def __getitem__(self, name: str) -> object:
        """Return an attribute, None if it is left out."""
        return self.attributes.get(name)

    def constant(self, place: int) -> np.ndarray | None:
        """Return a constant input, None if it is left out."""
        return self.constants[place] if place < len(self.constants) else None

    def refuse(self, reason: str) -> None:
        """Raise ValueError."""
        raise ValueError(f"onnx: {self.kind} {reason}, which is not read")

    def require(self, condition: bool, reason: str) -> None:
        """Raise ValueError unless a condition holds."""
        if not condition:
            self.refuse(reason)

    @property
    def axes(self) -> int:
        """How many axes a window moves along."""
        return self.rank - 2

    def window(self) -> dict[str, object]:
        """Return stride, dilation and padding."""
        ones, mode = (1,) * self.axes, self["auto_pad"] or b"NOTSET"
        pads = self["pads"] or (0,) * (2 * self.axes)
        stride, dilation = tuple(self["strides"] or ones), tuple(self["dilations"] or ones)
        padding = tuple(zip(pads[: self.axes], pads[self.axes :], strict=True))
        if mode == b"SAME_UPPER" and stride == ones:
            padding = "same"
        else:
            self.require(mode in (b"NOTSET", b"VALID"), f"with auto_pad {mode.decode()} and stride {stride}")
        return {"stride": stride, "padding": padding, "dilation": dilation}


def along(name: str, node: Node) -> type[Layer]:
    """Return the class of a layer for the node's number of axes."""
    node.require(1 <= node.axes <= 3, f"of {node.rank} axes")
    return getattr(layers, f"{name}{node.axes}d")


def with_state(layer: Layer, **arrays: np.ndarray | None) -> Layer:
    """Give a layer its parameters and buffers, in their own dtype."""
    given = {key: np.array(array) for key, array in arrays.items() if array is not None}
    (dtype,) = {array.dtype for array in given.values()}
    layer.astype(dtype)
    for key, array in given.items():
        target = layer.params if key in layer.params else layer.buffers
        if target[key].shape != array.shape:
            raise ValueError(f"onnx: {key} of {layer!r} must have shape {target[key].shape}, got {array.shape}")
        target[key][...] = array
    return layer


# ---- layers with weights


def weight_of(node: Node) -> np.ndarray:
    """Return the weight, which is to be a constant."""
    node.require(node.constant(1) is not None, "with a computed weight")
    return node.constant(1)


def conv(node: Node) -> Layer:
    """Conv."""
    w, b, groups = weight_of(node), node.constant(2), node["group"] or 1
    options = node.window() | {"groups": groups, "bias": b is not None, "init": "zeros"}
    return with_state(along("Conv", node)(w.shape[1] * groups, len(w), w.shape[2:], **options), weight=w, bias=b)


def conv_transpose(node: Node) -> Layer:
    """ConvTranspose."""
    w, b, groups = weight_of(node), node.constant(2), node["group"] or 1
    node.require(node["output_shape"] is None, "with an output_shape")
    options = node.window() | {"groups": groups, "bias": b is not None, "init": "zeros"}
    options["output_padding"] = tuple(node["output_padding"] or (0,) * node.axes)
    layer = along("ConvTranspose", node)(len(w), w.shape[1] * groups, w.shape[2:], **options)
    return with_state(layer, weight=w, bias=b)


def gemm(node: Node) -> Layer:
    """Gemm of an input and constants."""
    alpha, beta = (1.0 if node[name] is None else node[name] for name in ("alpha", "beta"))
    node.require(not node["transA"], "with transA")
    w = weight_of(node) if node["transB"] else weight_of(node).T
    b = node.constant(2)
    b = None if b is None else np.broadcast_to(beta * b.reshape(-1), len(w)).astype(w.dtype)
    return linear((alpha * w).astype(w.dtype), b)


def linear(w: np.ndarray, b: np.ndarray | None = None) -> Layer:
    """Return the layer of a weight (out, in) and a bias."""
    return with_state(layers.Linear(w.shape[1], len(w), b is not None, init="zeros"), weight=w, bias=b)


def matmul(node: Node) -> Layer:
    """MatMul by a constant matrix."""
    node.require(weight_of(node).ndim == 2, "with a second factor that is no matrix")
    return linear(weight_of(node).T)


def batch_norm(node: Node) -> Layer:
    """BatchNormalization with running statistics."""
    node.require(not node["training_mode"], "in training mode")
    kind = {2: layers.BatchNorm1d, 3: layers.BatchNorm1d, 4: layers.BatchNorm2d, 5: layers.BatchNorm3d}[node.rank]
    names = ("weight", "bias", "running_mean", "running_var")
    arrays = dict(zip(names, node.constants[1:], strict=True))
    return with_state(kind(len(arrays["weight"]), _or(node["epsilon"], 1e-5)), **arrays)


def sample_norm(node: Node) -> Layer:
    """GroupNormalization, InstanceNormalization or LayerNormalization."""
    weight, bias, eps = node.constant(1), node.constant(2), _or(node["epsilon"], 1e-5)
    if node.kind == "GroupNormalization":
        node.require(node.opset >= 21, "before opset 21")
        layer = layers.GroupNorm(node["num_groups"], len(weight), eps)
    elif node.kind == "InstanceNormalization":
        layer = along("InstanceNorm", node)(len(weight), eps, affine=True)
    else:
        layer = layers.LayerNorm(weight.shape, eps, bias=bias is not None)
    return with_state(layer, weight=weight, bias=bias)


# ---- pooling and sizes


def pool(node: Node) -> Layer:
    """MaxPool, AveragePool or LpPool."""
    options = {"kernel_size": tuple(node["kernel_shape"]), "ceil_mode": bool(node["ceil_mode"])} | node.window()
    if node.kind == "MaxPool":
        return along("MaxPool", node)(**options)
    node.require(set(options.pop("dilation")) == {1}, "with a dilation")
    if node.kind == "AveragePool":
        return along("AvgPool", node)(**options, count_include_pad=bool(node["count_include_pad"]))
    node.require(not any(map(any, options.pop("padding"))), "with padding")
    return along("LPPool", node)(_or(node["p"], 2), **options)


def mean_of_maps(node: Node) -> Layer:
    """ReduceMean over all axes of a map."""
    axes = node["axes"] if node["axes"] is not None else node.constant(1)
    axes = () if axes is None else sorted(int(axis) % node.rank for axis in axes)
    node.require(list(axes) == list(range(2, node.rank)), f"over the axes {axes}")
    pooled = along("GlobalAvgPool", node)()
    return pooled if _or(node["keepdims"], 1) else Sequential(pooled, layers.Flatten())


def resize(node: Node) -> Layer:
    """Resize with the rules of PyTorch."""
    mode, rule = (_or(node[name], default).decode() for name, default in RESIZE)
    scales, sizes = node.constant(2), node.constant(3)
    linear_mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[node.axes]
    where = {("nearest", "asymmetric"): None, ("linear", "align_corners"): True}
    where |= {("linear", "half_pixel"): False, ("linear", "pytorch_half_pixel"): False}
    node.require((mode, rule) in where, f"of mode {mode} and {rule}")
    node.require(mode != "nearest" or node["nearest_mode"] == b"floor", "to the nearest that does not round down")
    size = None if sizes is None else tuple(int(n) for n in sizes[-node.axes :])
    scale = None if size else tuple(float(factor) for factor in scales[-node.axes :])
    return layers.Upsample(size, scale, "nearest" if mode == "nearest" else linear_mode, where[mode, rule])


RESIZE = (("mode", b"nearest"), ("coordinate_transformation_mode", b"half_pixel"))


def flatten(node: Node) -> Layer:
    """Flatten."""
    node.require(_or(node["axis"], 1) == 1, f"from axis {node['axis']}")
    return layers.Flatten()


def reshape(node: Node) -> Layer:
    """Reshape to a constant shape."""
    node.require(node.constant(1) is not None and not node["allowzero"], "to a computed shape")
    return Reshape(tuple(int(size) for size in node.constant(1)))


def pad(node: Node) -> Layer:
    """Pad by constant widths."""
    widths, value = node.constant(1), node.constant(2)
    node.require(widths is not None and len(widths) == 2 * node.rank, "by computed widths, or of some axes")
    node.require(value is None or not np.any(value), "with another number than 0")
    mode = _or(node["mode"], b"constant").decode()
    pairs = zip(map(int, widths[: node.rank]), map(int, widths[node.rank :]), strict=True)
    return Pad(tuple(pairs), mode)


# ---- functions of elements, and joins


def clip(node: Node) -> Layer:
    """Clip to where ReLU and ReLU6 do."""
    low, high = (node[name] if node[name] is not None else node.constant(i) for i, name in ((1, "min"), (2, "max")))
    node.require(low == 0 and high in (None, 6), f"to {low} and {high}")
    return layers.ReLU() if high is None else layers.ReLU6()


def hardsigmoid(node: Node) -> Layer:
    """HardSigmoid with PyTorch's slope."""
    alpha, beta = _or(node["alpha"], 0.2), _or(node["beta"], 0.5)
    node.require(abs(alpha - 1 / 6) < 1e-6 and beta == 0.5, f"of slope {alpha}")
    return layers.Hardsigmoid()


def arithmetic(node: Node) -> Layer:
    """Add and Mul of two computed values, or of one and a constant."""
    constants = [array for array in node.constants if array is not None]
    if constants:
        node.require(node.constants[0] is None or node.kind in ("Add", "Mul"), "from a constant")
        return WithConstant(node.kind, constants[0])
    node.require(node.kind in ("Add", "Mul"), "of two computed values")
    return join(layers.Sum if node.kind == "Add" else Product)(node)


def join(combinator: Callable) -> Callable:
    """Return a reader of nodes that join what was computed."""
    return lambda node: combinator(*(Identity() for _ in node.constants))


def concat(node: Node) -> Layer:
    """Concat of channels."""
    node.require(node["axis"] in (1, 1 - node.rank), f"along axis {node['axis']}")
    node.require(all(array is None for array in node.constants), "with a constant")
    return join(layers.Concat)(node)


def simple(layer: type[Layer], **names: tuple[str, object]) -> Callable:
    """Return a reader; `names` maps arguments of the layer to attributes and their defaults."""
    return lambda node: layer(**{key: _or(node[name], default) for key, (name, default) in names.items()})


def _or(value: object, default: object) -> object:
    return default if value is None else value


def softmax(layer: type[Layer]) -> Callable:
    """Return a reader of Softmax or LogSoftmax."""
    return lambda node: layer(_or(node["axis"], -1 if node.opset >= 13 else 1))


READERS: dict[str, Callable[[Node], Layer]] = {
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "Gemm": gemm,
    "MatMul": matmul,
    "BatchNormalization": batch_norm,
    **dict.fromkeys(("GroupNormalization", "InstanceNormalization", "LayerNormalization"), sample_norm),
    "LRN": lambda node: layers.LocalResponseNorm(
        node["size"], _or(node["alpha"], 1e-4), _or(node["beta"], 0.75), _or(node["bias"], 1.0)
    ),
    **dict.fromkeys(("MaxPool", "AveragePool", "LpPool"), pool),
    "GlobalAveragePool": lambda node: along("GlobalAvgPool", node)(),
    "GlobalMaxPool": lambda node: along("GlobalMaxPool", node)(),
    "ReduceMean": mean_of_maps,
    "Flatten": flatten,
    "Reshape": reshape,
    "Transpose": lambda node: Transpose(tuple(node["perm"])),
    "Pad": pad,
    "Resize": resize,
    "DepthToSpace": lambda node: layers.DepthToSpace(node["blocksize"], _or(node["mode"], b"DCR").decode()),
    "SpaceToDepth": lambda node: layers.SpaceToDepth(node["blocksize"]),
    "Relu": simple(layers.ReLU),
    "LeakyRelu": simple(layers.LeakyReLU, negative_slope=("alpha", 0.01)),
    "Elu": simple(layers.ELU, alpha=("alpha", 1.0)),
    "Gelu": lambda node: layers.GELU(_or(node["approximate"], b"none").decode()),
    "Sigmoid": simple(layers.Sigmoid),
    "Tanh": simple(layers.Tanh),
    "HardSigmoid": hardsigmoid,
    "HardSwish": simple(layers.Hardswish),
    "Clip": clip,
    "Softmax": softmax(layers.Softmax),
    "LogSoftmax": softmax(layers.LogSoftmax),
    **dict.fromkeys(OPERATIONS, arithmetic),
    "Sum": join(layers.Sum),
    "Mean": join(layers.Mean),
    "Concat": concat,
    "Identity": simple(Identity),
    "Dropout": simple(Identity),
}
