"""Models in the format of ONNX: written for other programs, and read from them. Needs the extra ``onnx``."""

import os
from collections import Counter
from collections.abc import Mapping

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import helper, numpy_helper

from fastconv.interop.onnx_export import write_layer
from fastconv.interop.onnx_graph import Graph, Value
from fastconv.interop.onnx_import import READERS, Node
from fastconv.interop.onnx_model import OnnxModel, Step
from fastconv.interop.safetensors import replace_file
from fastconv.layers import Identity, Layer, Sequential, fold_batch_norm
from fastconv.layers.base import Shape
from fastconv.layers.combinators import Branches
from fastconv.layers.norm import BatchNorm

OLDEST = 11  # set of operators: before it, more of them have other arguments
OPSET, IR_VERSION = 21, 10  # of 2024: the first with a scale for each channel in GroupNormalization


def save(
    model: Layer,
    path: str | os.PathLike,
    input_shape: Shape | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write what a model computes in inference: from 'input', a batch of any size, to 'output'.

    Parameters
    ----------
    model : Layer
    path : path
    input_shape : tuple of int, optional
        Of a sample, without the batch; the model's own if left out.
    metadata : mapping of str to str, optional
        Kept in the file.

    Raises
    ------
    TypeError
        A layer has no form in ONNX; the message names it.
    ValueError
        The model does not take such an input, or says of none what it takes.
    OSError
        The file cannot be written.
    """
    shape = input_shape or model.input_shape
    if shape is None:
        raise ValueError("onnx: the model does not say what shape its input has: give input_shape")
    graph = Graph(model)
    y = write_layer(graph, model, Value("input", (1, *shape)))
    last = graph.node("Identity", [y], y.shape)
    graph.nodes[-1].output[0] = "output"
    number = helper.np_dtype_to_tensor_dtype(graph.dtype)
    inputs, outputs = (
        [helper.make_tensor_value_info(name, number, ["batch", *sizes[1:]])]
        for name, sizes in (("input", (1, *shape)), ("output", last.shape))
    )
    proto = helper.make_graph(graph.nodes, type(model).__name__, inputs, outputs, list(graph.constants.values()))
    opset = [helper.make_opsetid("", OPSET)]
    file = helper.make_model(proto, opset_imports=opset, ir_version=IR_VERSION, producer_name="fastconv")
    helper.set_model_props(file, dict(metadata or {}))
    onnx.checker.check_model(file)
    replace_file(path, file.SerializeToString(deterministic=True))


def load(path: str | os.PathLike, *, fold: bool = False) -> OnnxModel:
    """Read a convolutional model of one input and one output, with the operators in `onnx_import.READERS`.

    Parameters
    ----------
    path : path
    fold : bool
        Whether batch normalisation goes into the convolutions and linear layers before it, as by `fold_batch_norm`.

    Returns
    -------
    OnnxModel
        A layer that infers and trains as others do. Parameters have the names that the file gives them, or else those
        of its nodes.

    Raises
    ------
    ValueError
        The file is damaged, or has an operator or an option that is not read; the message names it.
    OSError
        It cannot be read.
    """
    try:
        file = onnx.load(path)
        onnx.checker.check_model(file)
        file = onnx.shape_inference.infer_shapes(file)
    except (DecodeError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        first = (str(error).splitlines() or ["no message"])[0]
        raise ValueError(f"{os.fspath(path)}: not a readable ONNX file: {first}") from None
    graph, opset = file.graph, next((entry.version for entry in file.opset_import if not entry.domain), 0)
    if opset < OLDEST:
        raise ValueError(f"onnx: the file uses operators of opset {opset}, must be {OLDEST} or later")
    constants = _constants(graph)
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise ValueError(
            f"onnx: the model has {len(inputs)} inputs and {len(graph.output)} outputs, must have one each"
        )
    steps = _steps(graph, constants, opset)
    output = graph.output[0].name
    model = OnnxModel(_folded(steps, output) if fold else steps, inputs[0].name, output)
    sizes = [size.dim_value for size in inputs[0].type.tensor_type.shape.dim][1:]
    model.input_shape = tuple(sizes) if sizes and all(sizes) else None
    return model


def _constants(graph: onnx.GraphProto) -> dict[str, np.ndarray]:
    """Return the weights, and what nodes of constants give."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            (attribute,) = node.attribute
            value = helper.get_attribute_value(attribute)
            constants[node.output[0]] = numpy_helper.to_array(value) if attribute.name == "value" else np.array(value)
    return constants


def _steps(graph: onnx.GraphProto, constants: dict[str, np.ndarray], opset: int) -> list[Step]:
    """Make a layer of each node."""
    values = *graph.input, *graph.value_info, *graph.output
    known = [value for value in values if value.type.tensor_type.HasField("shape")]
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in known}
    steps: dict[str, Step] = {}
    for node in graph.node:
        if node.output[0] in constants:
            continue
        data = [name for name in node.input if name and name not in constants]
        attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
        arrays = tuple(constants.get(name) for name in node.input)
        what = Node(node.op_type, attributes, arrays, ranks.get(data[0], 0) if data else 0, opset)
        what.require(node.op_type in READERS and node.domain in ("", "ai.onnx"), f"({node.name})")
        what.require(what.rank > 0, "of constants alone, or of unknown rank")
        layer = READERS[node.op_type](what)
        what.require(isinstance(layer, Branches) or len(data) == 1, "with several computed inputs")
        name = _name(node, steps)
        ranks.setdefault(node.output[0], what.rank)  # what inference leaves open keeps the number of axes
        steps[name] = Step(name, layer, tuple(data), node.output[0])
    return list(steps.values())


def _name(node: onnx.NodeProto, taken: Mapping[str, Step]) -> str:
    """Return a layer's name: that of its weight in the file where there is one, as 'layer1.0.conv1' of ...weight."""
    weight = node.input[1] if len(node.input) > 1 else ""
    named = weight.removesuffix(".weight") if weight.endswith(".weight") else node.name or node.output[0]
    return node.output[0] if named in taken else named


def _folded(steps: list[Step], output: str) -> list[Step]:
    """Fold each normalisation into the layer before it, if nothing else uses what that gives."""
    uses = Counter(name for step in steps for name in step.inputs) + Counter([output])
    done: dict[str, Step] = {}  # by output
    for step in steps:
        before = done.get(step.inputs[0])
        if before and isinstance(step.layer, BatchNorm) and uses[before.output] == 1:
            layer, rest = fold_batch_norm(Sequential(before.layer, step.layer))
            if isinstance(rest, Identity):
                del done[before.output]
                step = Step(before.name, layer, before.inputs, step.output)
        done[step.output] = step
    return list(done.values())
