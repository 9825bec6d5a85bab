"""What a model is made of, layer by layer, with sizes and costs. Nothing is computed."""

from collections.abc import Iterator
from typing import NamedTuple

from fastconv.layers.base import Layer, Shape, join_names


class Row(NamedTuple):
    """One layer of a summary."""

    name: str
    """Dotted name, as in the names of parameters."""
    layer: str
    """Such as 'Conv2d(1, 6, 5, padding=2)'."""
    output_shape: Shape
    """Batch included."""
    parameters: int
    """Parameters of this layer; 0 where a shared layer comes again, so that the sum is the model's."""
    macs: int
    """Multiply-adds of one forward pass."""


def summary_rows(model: Layer, input_shape: Shape) -> list[Row]:
    """Describe every layer that is not made of others, in the order of computation.

    What a forward pass for inference leaves out, as a `SideHead`, is one row.

    Parameters
    ----------
    model : Layer
    input_shape : tuple of int
        Batch included, as (1, *model.input_shape).

    Raises
    ------
    ValueError
        The model does not take such an input.
    """
    seen: set[int] = set()
    rows = []
    for name, layer, shape, output_shape in _leaves("", model, tuple(input_shape), model.output_shape(input_shape)):
        parameters = 0 if id(layer) in seen else layer.parameter_count
        seen.add(id(layer))
        rows.append(Row(name, _text(layer), output_shape, parameters, layer.macs(shape)))
    return rows


def _leaves(name: str, layer: Layer, shape: Shape, output_shape: Shape) -> Iterator[tuple[str, Layer, Shape, Shape]]:
    steps = list(layer.flow(shape))
    if not steps:
        yield name, layer, shape, output_shape
    for child_name, child, child_shape, child_output in steps:
        yield from _leaves(join_names(name, child_name), child, child_shape, child_output)


def _text(layer: Layer) -> str:
    return f"{type(layer).__name__}(...)" if layer.children else repr(layer)
