"""Whole networks: functions that return layers.

`MODELS` holds every network that can be named on the command line. ``MODELS[name](num_classes, in_channels, seed=0)``
returns a layer whose `input_shape` is the (channels, height, width) that it was built for. All of them take the path of
a safetensors file: ``resnet50(weights="resnet50.safetensors")``, see `fastconv.interop.weights`.
"""

from collections.abc import Callable

from fastconv.interop.weights import loadable
from fastconv.layers import Layer
from fastconv.models.fashion import fashion_7x7
from fastconv.models.lenet import lenet, lenet5
from fastconv.models.mobilenet import mobilenet_v1, mobilenet_v2
from fastconv.models.resnet import (
    plain34,
    resnet18,
    resnet34,
    resnet50,
    resnet101,
    resnet152,
    resnext50_32x4d,
)
from fastconv.models.resnet_cifar import plain20, plain56, resnet20, resnet32, resnet44, resnet56, resnet110

MODELS: dict[str, Callable[..., Layer]] = {
    "lenet": lenet,
    "lenet5": lenet5,
    "fashion_7x7": fashion_7x7,
    "resnet20": resnet20,
    "resnet32": resnet32,
    "resnet44": resnet44,
    "resnet56": resnet56,
    "resnet110": resnet110,
    "plain20": plain20,
    "plain56": plain56,
    "resnet18": resnet18,
    "resnet34": resnet34,
    "resnet50": resnet50,
    "resnet101": resnet101,
    "resnet152": resnet152,
    "resnext50_32x4d": resnext50_32x4d,
    "plain34": plain34,
    "mobilenet_v1": mobilenet_v1,
    "mobilenet_v2": mobilenet_v2,
}
MODELS = {name: loadable(name, builder) for name, builder in MODELS.items()}
globals().update(MODELS)

__all__ = ["MODELS", *MODELS]  # noqa: PLE0604
