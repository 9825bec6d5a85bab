"""Layers, and what combines them into models.

A small one::

    model = Sequential(Conv2d(1, 6, 5), ReLU(), MaxPool2d(2), Flatten(), Linear(864, 10))
    y, backward = model.forward(x)
    dx = backward(dy)
"""

from fastconv.layers.account import count_macs, count_parameters, receptive_field
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
from fastconv.layers.adaptive import (
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AdaptiveAvgPool3d,
    AdaptiveMaxPool1d,
    AdaptiveMaxPool2d,
    AdaptiveMaxPool3d,
    GlobalAvgPool1d,
    GlobalAvgPool2d,
    GlobalAvgPool3d,
    GlobalMaxPool1d,
    GlobalMaxPool2d,
    GlobalMaxPool3d,
)
from fastconv.layers.arena import Arena
from fastconv.layers.base import Layer
from fastconv.layers.columns import Fold, Unfold
from fastconv.layers.combinators import Concat, Gate, Identity, Mean, Sequential, Sum
from fastconv.layers.conv import Conv1d, Conv2d, Conv3d
from fastconv.layers.conv_transpose import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from fastconv.layers.deform_conv import DeformConv2d
from fastconv.layers.dense import Flatten, Linear
from fastconv.layers.dropout import Dropout, Dropout1d, Dropout2d, Dropout3d, StochasticDepth
from fastconv.layers.finetune import freeze, heads, replace_head, unfreeze
from fastconv.layers.fold import fold_batch_norm
from fastconv.layers.norm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from fastconv.layers.pool import (
    AvgPool1d,
    AvgPool2d,
    AvgPool3d,
    LPPool1d,
    LPPool2d,
    LPPool3d,
    MaxPool1d,
    MaxPool2d,
    MaxPool3d,
)
from fastconv.layers.prepack import packed_bytes, prepack
from fastconv.layers.rearrange import DepthToSpace, PixelShuffle, PixelUnshuffle, SpaceToDepth
from fastconv.layers.sample_norm import (
    GroupNorm,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
    LayerNorm,
    LocalResponseNorm,
)
from fastconv.layers.scale import Scale
from fastconv.layers.separable import DepthwiseSeparableConv2d
from fastconv.layers.side_heads import SideHead, Supervised
from fastconv.layers.summary import Row, summary_rows
from fastconv.layers.unpool import MaxUnpool1d, MaxUnpool2d, MaxUnpool3d, Upsample

__all__ = [
    "ELU",
    "GELU",
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "Arena",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "Concat",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "DeformConv2d",
    "DepthToSpace",
    "DepthwiseSeparableConv2d",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
    "Flatten",
    "Fold",
    "Gate",
    "GlobalAvgPool1d",
    "GlobalAvgPool2d",
    "GlobalAvgPool3d",
    "GlobalMaxPool1d",
    "GlobalMaxPool2d",
    "GlobalMaxPool3d",
    "GroupNorm",
    "Hardsigmoid",
    "Hardswish",
    "Identity",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "LPPool1d",
    "LPPool2d",
    "LPPool3d",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LocalResponseNorm",
    "LogSoftmax",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MaxUnpool1d",
    "MaxUnpool2d",
    "MaxUnpool3d",
    "Mean",
    "PixelShuffle",
    "PixelUnshuffle",
    "ReLU",
    "ReLU6",
    "Row",
    "Scale",
    "Sequential",
    "SiLU",
    "SideHead",
    "Sigmoid",
    "Softmax",
    "SpaceToDepth",
    "StochasticDepth",
    "Sum",
    "Supervised",
    "Tanh",
    "Unfold",
    "Upsample",
    "count_macs",
    "count_parameters",
    "fold_batch_norm",
    "freeze",
    "heads",
    "packed_bytes",
    "prepack",
    "receptive_field",
    "replace_head",
    "summary_rows",
    "unfreeze",
]
