"""A network in ONNX's format."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from fastconv.bench.network import Node
from fastconv.geometry import Window
from fastconv.layers import Layer

OPSET, IR_VERSION = 17, 9  # of 2022: every release since reads them
PLAIN = {"ReLU": "Relu", "GlobalAvgPool2d": "GlobalAveragePool", "Flatten": "Flatten", "Add": "Add"}


def network(nodes: Sequence[Node], x_shape: tuple[int, ...]) -> onnx.ModelProto:
    """Return the model of a list of operations."""
    tensors: list[TensorProto] = []
    protos = [_node(node, tensors) for node in nodes]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, x_shape)
    y = helper.make_tensor_value_info(nodes[-1].output, TensorProto.FLOAT, None)
    graph = helper.make_graph(protos, "network", [x], [y], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def _node(node: Node, tensors: list[TensorProto]) -> NodeProto:
    """Return an operation, and append its weights to `tensors`."""

    def constants(arrays: dict[str, np.ndarray]) -> list[str]:
        names = [f"{node.output}.{name}" for name in arrays]
        tensors.extend(map(numpy_helper.from_array, arrays.values(), names))
        return names

    layer, inputs, output = node.layer, list(node.inputs), [node.output]
    if node.kind in PLAIN:
        return helper.make_node(PLAIN[node.kind], inputs, output)
    if node.kind == "ReLU6":
        return helper.make_node("Clip", [*inputs, *constants({"low": np.float32(0), "high": np.float32(6)})], output)
    if node.kind == "Linear":
        return helper.make_node("Gemm", [*inputs, *constants(layer.params)], output, transB=1)
    if node.kind == "MaxPool2d":
        return helper.make_node("MaxPool", inputs, output, **_window(layer))
    if node.kind == "Conv2d":
        return helper.make_node(
            "Conv", [*inputs, *constants(layer.params)], output, group=layer.groups, **_window(layer)
        )
    raise ValueError(f"there is no {node.kind} here")


def _window(layer: Layer) -> dict[str, list[int]]:
    window = Window.make("network", 2, layer.kernel_size, layer.stride, layer.padding, layer.dilation)
    return {
        "kernel_shape": list(window.kernel),
        "strides": list(window.stride),
        "dilations": list(window.dilation),
        "pads": [pair[end] for end in (0, 1) for pair in window.padding],
    }
