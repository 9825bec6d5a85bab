"""What a model costs and sees: parameters, multiply-adds, receptive field. Nothing is computed."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fastconv.arguments import Ints
from fastconv.geometry import Window
from fastconv.layers.base import Layer, Shape
from fastconv.layers.combinators import Branches, Sequential
from fastconv.layers.conv_transpose import ConvTranspose2d
from fastconv.layers.separable import DepthwiseSeparableConv2d

LARGE = 1 << 15  # elements of an axis that every window fits into


def count_parameters(model: Layer) -> int:
    """Return the number of parameters of a model; shared ones count once.

    Parameters
    ----------
    model : Layer

    Returns
    -------
    int
        Weights and biases. Running statistics are no parameters.
    """
    return model.parameter_count


def count_macs(model: Layer, input_shape: Shape) -> int:
    """Return the number of multiply-adds of a forward pass.

    Parameters
    ----------
    model : Layer
    input_shape : tuple of int
        Batch included, as (1, 3, 224, 224).

    Returns
    -------
    int
        Of convolutions and linear layers, the products with padding included. Additions of a bias and activations are
        not counted, as is usual.

    Raises
    ------
    ValueError
        The model does not take such an input.
    """
    return model.macs(tuple(input_shape))


def receptive_field(model: Layer) -> Ints:
    """Return how many input elements along each axis an output depends on: its receptive field.

    It grows by ``dilation * (kernel - 1)`` times the steps of all layers before, through every convolution and pooling:
    A. Araujo, W. Norris and J. Sim, *Computing receptive fields of convolutional neural networks*, Distill (2019).
    Through branches it is that of the branch that sees most. Normalisation and activations count as single elements.

    Parameters
    ----------
    model : Layer
        Convolutions, pooling, what keeps the size, and combinations of them.

    Returns
    -------
    tuple of int
        One number for each spatial axis.

    Raises
    ------
    ValueError
        A layer sees everything, as Flatten and Linear do, or enlarges its input.

    Examples
    --------
    >>> receptive_field(Sequential(Conv2d(3, 8, 3), ReLU(), Conv2d(8, 8, 3, stride=2), MaxPool2d(2)))
    (7, 7)
    """
    first = next((layer for _, layer in model.named_layers() if hasattr(layer, "kernel_size")), None)
    if first is None:
        return (1,)
    ndim = first.axes
    channels = next((layer.in_channels for _, layer in model.named_layers() if hasattr(layer, "in_channels")), 1)
    start = _Field((1,) * ndim, (1,) * ndim, (1, channels, *[LARGE] * ndim))
    return _through(model, "", start).size


@dataclass(frozen=True)
class _Field:
    """What an element depends on: `size` inputs along each axis, and those of its neighbour lie `step` further on.

    `shape` is that of a sample, to ask the layers for the next one.
    """

    size: Ints
    step: Ints
    shape: Shape


def _through(layer: Layer, name: str, field: _Field) -> _Field:
    """Return the field of the layer's output from that of its input."""
    if isinstance(layer, Branches):
        return _joined(layer, name, field)
    if isinstance(layer, Sequential | DepthwiseSeparableConv2d):
        for child_name, child in layer.children.items():
            field = _through(child, f"{name}.{child_name}" if name else child_name, field)
        return field
    try:
        shape = layer.output_shape(field.shape)
    except ValueError as error:
        raise ValueError(f"receptive_field: {error}") from None
    if hasattr(layer, "kernel_size") and not isinstance(layer, ConvTranspose2d):
        return _widened(layer, field, shape)
    if shape[2:] != field.shape[2:]:
        raise ValueError(
            f"receptive_field: {layer!r}, layer {name!r}, sees its whole input or changes its scale; "
            f"ask for the layers before it, as in receptive_field(model[:3])"
        )
    return replace(field, shape=shape)


def _widened(layer: Layer, field: _Field, shape: Shape) -> _Field:
    ndim = len(field.size)
    stride = layer.kernel_size if layer.stride is None else layer.stride
    window = Window.make("receptive_field", ndim, layer.kernel_size, stride, dilation=getattr(layer, "dilation", 1))
    size = tuple(n + (extent - 1) * step for n, extent, step in zip(field.size, window.extent, field.step, strict=True))
    return _Field(size, tuple(s * step for s, step in zip(window.stride, field.step, strict=True)), shape)


def _joined(layer: Branches, name: str, field: _Field) -> _Field:
    ends = [_through(child, f"{name}.{key}" if name else key, field) for key, child in layer.children.items()]
    same = [end for end in ends if end.shape[2:] == ends[0].shape[2:]]
    size = tuple(map(max, zip(*(end.size for end in same), strict=True)))
    return _Field(size, ends[0].step, layer.output_shape(field.shape))
