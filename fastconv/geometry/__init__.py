"""The arithmetic of windows that slide over an input, and every check on sizes.

A convolution or a pooling moves a window along each axis of its input. This module derives how many positions the
window has and checks that all shapes and options agree. It works on Python ints, which cannot overflow, and runs before
any memory is taken, so that a kernel never meets a size that does not fit.

The formulas follow V. Dumoulin and F. Visin, *A guide to convolution arithmetic for deep learning* (2016),
https://arxiv.org/abs/1603.07285. Its relationship 15, for an axis of ``n`` elements with ``before`` and ``after`` zeros
at its ends, reads::

    output = (n + before + after - extent) // stride + 1,     extent = dilation * (kernel - 1) + 1

The dataclasses are frozen and hashable: equal geometries share whatever is computed from them.
"""

from fastconv.arguments import Ints
from fastconv.geometry.adaptive import AdaptiveGeometry
from fastconv.geometry.conv import ConvGeometry
from fastconv.geometry.conv_transpose import ConvTransposeGeometry
from fastconv.geometry.deform import DeformGeometry
from fastconv.geometry.pool import PoolGeometry
from fastconv.geometry.resample import ResampleGeometry
from fastconv.geometry.sizes import conv_transpose_output_size, output_size
from fastconv.geometry.unpool import UnpoolGeometry
from fastconv.geometry.window import Window

__all__ = [
    "AdaptiveGeometry",
    "ConvGeometry",
    "ConvTransposeGeometry",
    "DeformGeometry",
    "Ints",
    "PoolGeometry",
    "ResampleGeometry",
    "UnpoolGeometry",
    "Window",
    "conv_transpose_output_size",
    "output_size",
]
