"""Layers, and what combines them into models.

A small one::

    model = Sequential(Conv2d(1, 6, 5), ReLU(), MaxPool2d(2), Flatten(), Linear(864, 10))
    y, backward = model.forward(x)
    dx = backward(dy)
"""

from fastconv.layers.activation import (
    ELU,
    GELU,
    Hardsigmoid,
    Hardswish,
    LeakyReLU,
    LogSoftmax,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Tanh,
)
from fastconv.layers.arena import Arena
from fastconv.layers.base import Layer
from fastconv.layers.columns import Fold, Unfold
from fastconv.layers.combinators import Concat, Gate, Identity, Mean, Sequential, Sum
from fastconv.layers.conv import Conv2d
from fastconv.layers.dense import Flatten, Linear
from fastconv.layers.dropout import Dropout, Dropout1d, Dropout2d, Dropout3d
from fastconv.layers.fold import fold_batch_norm
from fastconv.layers.norm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from fastconv.layers.pool import AvgPool2d, GlobalAvgPool2d, MaxPool2d
from fastconv.layers.sample_norm import (
    GroupNorm,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
    LayerNorm,
    LocalResponseNorm,
)
from fastconv.layers.summary import Row, summary_rows

__all__ = [
    "Arena",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "Concat",
    "Conv2d",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
    "ELU",
    "Flatten",
    "Fold",
    "GELU",
    "Gate",
    "GlobalAvgPool2d",
    "GroupNorm",
    "Hardsigmoid",
    "Hardswish",
    "Identity",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LocalResponseNorm",
    "LogSoftmax",
    "MaxPool2d",
    "Mean",
    "ReLU",
    "ReLU6",
    "Row",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Sum",
    "Tanh",
    "Unfold",
    "fold_batch_norm",
    "summary_rows",
]
