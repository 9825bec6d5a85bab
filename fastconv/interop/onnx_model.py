"""A model whose layers are joined as a graph of ONNX says, and the layers that only such graphs need."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from fastconv.layers import Layer
from fastconv.layers.base import Pullback, Shape
from fastconv.layers.combinators import Branches, Gate, Split


@dataclass(frozen=True)
class Step:
    """A layer, the values that it is given, and the one that it makes.

    With several inputs it is one of the `Branches`, of which only `combine` is used.
    """

    name: str
    layer: Layer
    inputs: tuple[str, ...]
    output: str


class OnnxModel(Layer):
    """Layers in an order of computation, each with the outputs of any layers before it.

    It trains and infers as every model does. A graph can be any: branches need not meet where they part, so that values
    and gradients are kept by name here, where the combinators nest.

    Parameters
    ----------
    steps : sequence of Step
    input_name, output_name : str
        Of the values that the model is given and gives.
    """

    def __init__(self, steps: Sequence[Step], input_name: str, output_name: str):
        self.steps, self.input_name, self.output_name = tuple(steps), input_name, output_name
        super().__init__(children={step.name: step.layer for step in steps})

    def apply(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Pullback]:
        """See `Layer.apply`."""
        uses = Counter(name for step in self.steps for name in step.inputs) + Counter([self.output_name])
        values, backwards = {self.input_name: x}, []
        for step in self.steps:
            ys = [values[name] for name in step.inputs]
            if isinstance(step.layer, Branches):
                step.layer.combined_shape([y.shape for y in ys])
                values[step.output], backward = step.layer.combine(ys)
            else:
                values[step.output], backward = step.layer.forward(*ys, train)
            backwards.append(backward if train else None)
            uses.subtract(step.inputs)
            for name in step.inputs:
                if not uses[name]:
                    values.pop(name, None)  # nobody needs it any more

        def pullback(dy: np.ndarray, input_gradient: bool) -> np.ndarray | None:
            gradients = {self.output_name: dy}
            for step in reversed(self.steps):
                backward = backwards.pop()
                if step.output not in gradients:
                    continue
                found = backward(gradients.pop(step.output))
                parts = found if isinstance(step.layer, Branches) else [found]
                for name, part in zip(step.inputs, parts, strict=True):
                    gradients[name] = gradients[name] + part if name in gradients else part
            return gradients.get(self.input_name, np.zeros_like(x))

        return values[self.output_name], pullback

    def flow(self, input_shape: Shape) -> Iterator[tuple[str, Layer, Shape, Shape]]:
        """See `Layer.flow`."""
        shapes = {self.input_name: tuple(input_shape)}
        for step in self.steps:
            given = [shapes[name] for name in step.inputs]
            joins = isinstance(step.layer, Branches)
            shape = step.layer.combined_shape(given) if joins else step.layer.output_shape(given[0])
            shapes[step.output] = shape
            yield step.name, step.layer, given[0], shape

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        shapes = {step.output: shape for step, (*_, shape) in zip(self.steps, self.flow(input_shape), strict=True)}
        return shapes.get(self.output_name, tuple(input_shape))


class Product(Gate):
    """A `Gate` whose trunk may also come second."""

    def combined_shape(self, shapes: list[Shape]) -> Shape:
        """See `Branches.combined_shape`."""
        return super().combined_shape(sorted(shapes, key=prod, reverse=True))

    def combine(self, ys: list[np.ndarray]) -> tuple[np.ndarray, Split]:
        """See `Branches.combine`."""
        if ys[0].size >= ys[1].size:
            return super().combine(ys)
        y, split = super().combine(ys[::-1])
        return y, lambda dy: split(dy)[::-1]


class Reshape(Layer):
    """The same numbers in another shape.

    Parameters
    ----------
    shape : tuple of int
        0 stands for the input's size, one -1 for what is left.
    """

    def __init__(self, shape: tuple[int, ...]):
        self.shape = shape
        super().__init__()

    def apply(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Pullback]:
        """See `Layer.apply`."""
        return x.reshape(self._sizes(x.shape)), lambda dy, _: dy.reshape(x.shape)

    def _sizes(self, input_shape: Shape) -> list[int]:
        return [input_shape[axis] if size == 0 else size for axis, size in enumerate(self.shape)]

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        return np.broadcast_to(np.int8(), input_shape).reshape(self._sizes(input_shape)).shape


class Transpose(Layer):
    """The axes in another order.

    Parameters
    ----------
    axes : tuple of int
    """

    def __init__(self, axes: tuple[int, ...]):
        self.axes = axes
        super().__init__()

    def apply(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Pullback]:
        """See `Layer.apply`."""
        back = tuple(int(axis) for axis in np.argsort(self.axes))
        return np.ascontiguousarray(x.transpose(self.axes)), lambda dy, _: dy.transpose(back)

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        return tuple(input_shape[axis] for axis in self.axes)


class Pad(Layer):
    """Zeros, or what a border mode says, around the last axes.

    Parameters
    ----------
    padding : tuple of (int, int)
        For every axis.
    mode : {'constant', 'reflect', 'edge', 'wrap'}
        As in `numpy.pad`; only zeros have a gradient.
    """

    def __init__(self, padding: tuple[tuple[int, int], ...], mode: str = "constant"):
        self.padding, self.mode = padding, mode
        super().__init__()

    def apply(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Pullback]:
        """See `Layer.apply`."""
        if train and self.mode != "constant":
            raise ValueError(f"{self!r} has no gradient here")
        inner = tuple(slice(before, before + n) for (before, _), n in zip(self.padding, x.shape, strict=True))
        return np.pad(x, self.padding, self.mode), lambda dy, _: dy[inner]

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        return tuple(before + n + after for n, (before, after) in zip(input_shape, self.padding, strict=True))


class WithConstant(Layer):
    """y = operation(x, constant), of the shape of x.

    Parameters
    ----------
    operation : {'Add', 'Sub', 'Mul', 'Div'}
    constant : ndarray
    """

    def __init__(self, operation: str, constant: np.ndarray):
        self.operation, self.constant = operation, constant
        super().__init__()

    def apply(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Pullback]:
        """See `Layer.apply`."""
        self.output_shape(x.shape)
        function, factor = OPERATIONS[self.operation]
        constant = self.constant.astype(x.dtype)
        return function(x, constant), lambda dy, _: dy * factor(constant)

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        if np.broadcast_shapes(input_shape, self.constant.shape) != tuple(input_shape):
            raise ValueError(f"{self.operation}: a constant of shape {self.constant.shape} enlarges {input_shape}")
        return tuple(input_shape)


# The function, and by which factor a gradient goes back.
OPERATIONS = {
    "Add": (np.add, np.ones_like),
    "Sub": (np.subtract, np.ones_like),
    "Mul": (np.multiply, lambda constant: constant),
    "Div": (np.divide, np.reciprocal),
}
