"""onnxruntime, on models of one node, and on networks: forward only."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from fastconv.bench.contenders.base import Contender, Runs
from fastconv.bench.contenders.onnx_network import IR_VERSION, OPSET, network
from fastconv.bench.network import folded, nodes
from fastconv.bench.rows import Row, operands


class OnnxRuntime(Contender):
    """A session on the processor."""

    form = "prepacked: weights laid out when the session starts"

    def __init__(self, threads: int):
        self.options = onnxruntime.SessionOptions()
        self.options.intra_op_num_threads = threads
        self.options.inter_op_num_threads = 1
        self.version = onnxruntime.__version__

    def conv2d(self, row: Row) -> Runs:
        """Convolution."""
        x, w, b, _ = operands(row)
        weights = {"w": w} if b is None else {"w": w, "b": b}
        model = _model(row, {name: numpy_helper.from_array(array, name) for name, array in weights.items()})
        return self._runs(model, x)

    def inference(self, row: Row) -> Runs:
        """Run a network with folded batch normalisation; the session fuses what follows a convolution into it."""
        (x,) = operands(row)
        return self._runs(network(nodes(folded(row)), row.case.x), x)

    def _runs(self, model: onnx.ModelProto, x: np.ndarray) -> Runs:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), self.options, providers=["CPUExecutionProvider"]
        )
        return {"forward": lambda: session.run(None, {"x": x})[0]}


def _model(row: Row, weights: dict[str, TensorProto]) -> onnx.ModelProto:
    window = row.case.geometry.window
    node = helper.make_node(
        "Conv",
        ["x", *weights],
        ["y"],
        kernel_shape=window.kernel,
        strides=window.stride,
        dilations=window.dilation,
        pads=[pair[end] for end in (0, 1) for pair in window.padding],
        group=row.case.groups,
    )
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, row.case.x)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, row.case.geometry.y_shape)
    graph = helper.make_graph([node], "row", [x], [y], list(weights.values()))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
