"""Whole networks: functions that return layers.

`MODELS` holds every network that can be named on the command line. ``MODELS[name](num_classes, in_channels, seed=0)``
returns a layer whose `input_shape` is the (channels, height, width) that it was built for. All of them take the path of
a safetensors file: ``resnet50(weights="resnet50.safetensors")``, see `fastconv.interop.weights`.
"""

from collections.abc import Callable

from fastconv.interop.weights import loadable
from fastconv.layers import Layer
from fastconv.models.alexnet import alexnet, alexnet_owt
from fastconv.models.densenet import densenet40, densenet100_bc, densenet121, densenet161, densenet169, densenet201
from fastconv.models.efficientnet import (
    efficientnet_b0,
    efficientnet_b1,
    efficientnet_b2,
    efficientnet_b3,
    efficientnet_b4,
    efficientnet_b5,
    efficientnet_b6,
    efficientnet_b7,
)
from fastconv.models.fashion import (
    cifar_strided,
    fashion_7x7,
    fashion_fully_convolutional,
    fashion_max_pool,
    fashion_same,
    fashion_strided,
)
from fastconv.models.fractalnet import fractalnet
from fastconv.models.inception_resnet import inception_resnet_v2
from fastconv.models.inception_v1 import googlenet, inception_v1, inception_v1_naive
from fastconv.models.inception_v2 import inception_v2
from fastconv.models.inception_v3 import inception_v3
from fastconv.models.inception_v4 import inception_v4
from fastconv.models.lenet import lenet, lenet5
from fastconv.models.mobilenet import mobilenet_v1, mobilenet_v2
from fastconv.models.mobilenet_v3 import mobilenet_v3_large, mobilenet_v3_small
from fastconv.models.perceptron import correlation_filter, multilayer_perceptron, perceptron
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
from fastconv.models.resnet_spd import resnet18_spd
from fastconv.models.scanner import scanner
from fastconv.models.squeezenet import squeezenet1_0, squeezenet1_1
from fastconv.models.vgg import vgg11, vgg11_bn, vgg11_lrn, vgg13, vgg13_bn, vgg16, vgg16_bn, vgg19, vgg19_bn
from fastconv.models.xception import xception
from fastconv.models.zfnet import zfnet, zfnet_wide

MODELS: dict[str, Callable[..., Layer]] = {
    "perceptron": perceptron,
    "correlation_filter": correlation_filter,
    "multilayer_perceptron": multilayer_perceptron,
    "scanner": scanner,
    "lenet": lenet,
    "lenet5": lenet5,
    "fashion_7x7": fashion_7x7,
    "alexnet": alexnet,
    "alexnet_owt": alexnet_owt,
    "zfnet": zfnet,
    "zfnet_wide": zfnet_wide,
    "vgg11": vgg11,
    "vgg11_bn": vgg11_bn,
    "vgg11_lrn": vgg11_lrn,
    "vgg13": vgg13,
    "vgg13_bn": vgg13_bn,
    "vgg16": vgg16,
    "vgg16_bn": vgg16_bn,
    "vgg19": vgg19,
    "vgg19_bn": vgg19_bn,
    "inception_v1": inception_v1,
    "inception_v1_naive": inception_v1_naive,
    "googlenet": googlenet,
    "inception_v2": inception_v2,
    "inception_v3": inception_v3,
    "inception_v4": inception_v4,
    "inception_resnet_v2": inception_resnet_v2,
    "xception": xception,
    "squeezenet1_0": squeezenet1_0,
    "squeezenet1_1": squeezenet1_1,
    "fashion_max_pool": fashion_max_pool,
    "fashion_strided": fashion_strided,
    "fashion_same": fashion_same,
    "fashion_fully_convolutional": fashion_fully_convolutional,
    "cifar_strided": cifar_strided,
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
    "resnet18_spd": resnet18_spd,
    "fractalnet": fractalnet,
    "plain34": plain34,
    "densenet40": densenet40,
    "densenet100_bc": densenet100_bc,
    "densenet121": densenet121,
    "densenet161": densenet161,
    "densenet169": densenet169,
    "densenet201": densenet201,
    "mobilenet_v1": mobilenet_v1,
    "mobilenet_v2": mobilenet_v2,
    "mobilenet_v3_small": mobilenet_v3_small,
    "mobilenet_v3_large": mobilenet_v3_large,
    "efficientnet_b0": efficientnet_b0,
    "efficientnet_b1": efficientnet_b1,
    "efficientnet_b2": efficientnet_b2,
    "efficientnet_b3": efficientnet_b3,
    "efficientnet_b4": efficientnet_b4,
    "efficientnet_b5": efficientnet_b5,
    "efficientnet_b6": efficientnet_b6,
    "efficientnet_b7": efficientnet_b7,
}
MODELS = {name: loadable(name, builder) for name, builder in MODELS.items()}
globals().update(MODELS)

__all__ = ["MODELS", *MODELS]  # noqa: PLE0604
