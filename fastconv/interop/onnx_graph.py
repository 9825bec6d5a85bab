"""A graph of ONNX in the making."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from fastconv.layers import Layer


@dataclass(frozen=True)
class Value:
    """What a node gives: its name, and its shape for a batch of one."""

    name: str
    shape: tuple[int, ...]


class Graph:
    """The nodes and the constants of a model that is being written.

    Parameters
    ----------
    model : Layer
        Its parameters keep their names.

    Attributes
    ----------
    nodes : list of NodeProto
    constants : dict of str to TensorProto
    dtype : dtype
        Of the model.
    """

    def __init__(self, model: Layer):
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        arrays = [array for _, array in model.named_parameters()]
        self.dtype = arrays[0].dtype if arrays else np.dtype(np.float32)
        self._names = {id(layer): name for name, layer in model.named_layers()}

    def name(self, layer: Layer) -> str:
        """Return a layer's name in the model."""
        return self._names[id(layer)]

    def node(self, kind: str, inputs: Sequence[Value | str], shape: Sequence[int], **attributes: object) -> Value:
        """Add a node of one output, which has this shape."""
        y = Value(f"{kind}_{len(self.nodes)}", tuple(shape))
        names = [value.name if isinstance(value, Value) else value for value in inputs]
        self.nodes.append(helper.make_node(kind, names, [y.name], name=y.name, **attributes))
        return y

    def constant(self, name: str, array: np.ndarray) -> str:
        """Add a constant, once, and return its name."""
        self.constants.setdefault(name, numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name

    def integers(self, *values: int) -> str:
        """Add a constant list of integers, such as a shape."""
        return self.constant(f"list_{'_'.join(map(str, values))}", np.array(values, np.int64))

    def number(self, value: float) -> str:
        """Add a constant number, in the type of the model."""
        return self.constant(f"number_{value}", np.array(value, self.dtype))

    def state(self, layer: Layer, key: str, default: np.ndarray | None = None) -> str:
        """Add a parameter or a buffer of a layer, and return its name; '' where it has none and no default is given."""
        array = (layer.params | layer.buffers).get(key, default)
        name = self.name(layer)
        return "" if array is None else self.constant(f"{name}.{key}" if name else key, array)
