"""Layers, and what combines them into models.

A small one::

    model = Sequential(Conv2d(1, 6, 5), ReLU(), MaxPool2d(2), Flatten(), Linear(864, 10))
    y, backward = model.forward(x)
    dx = backward(dy)
"""

from fastconv.layers.activation import LogSoftmax, ReLU, ReLU6, Sigmoid, Softmax, Tanh
from fastconv.layers.arena import Arena
from fastconv.layers.base import Layer
from fastconv.layers.combinators import Concat, Gate, Identity, Mean, Sequential, Sum
from fastconv.layers.conv import Conv2d
from fastconv.layers.deform_conv import DeformConv2d
from fastconv.layers.dense import Flatten, Linear
from fastconv.layers.dropout import Dropout
from fastconv.layers.fold import fold_batch_norm
from fastconv.layers.norm import BatchNorm1d, BatchNorm2d
from fastconv.layers.pool import AvgPool2d, GlobalAvgPool2d, MaxPool2d
from fastconv.layers.summary import Row, summary_rows

__all__ = [
    "Arena",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Concat",
    "Conv2d",
    "DeformConv2d",
    "Dropout",
    "Flatten",
    "Gate",
    "GlobalAvgPool2d",
    "Identity",
    "Layer",
    "Linear",
    "LogSoftmax",
    "MaxPool2d",
    "Mean",
    "ReLU",
    "ReLU6",
    "Row",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Sum",
    "Tanh",
    "fold_batch_norm",
    "summary_rows",
]
