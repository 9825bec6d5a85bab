"""Convolution: forward and gradients of layers of real networks, in float32."""

import os

import numpy as np

import fastconv
from fastconv.testing import CASES

THREADS = {"one": 1, "all": os.cpu_count()}


def layers(op):
    return {case.id: case for case in CASES[op] if case.network}


class Conv2d:
    layers = layers("conv2d")
    param_names = ["layer", "threads"]
    params = [list(layers), list(THREADS)]

    def setup(self, layer, threads):
        fastconv.set_num_threads(THREADS[threads])
        rng = np.random.default_rng(0)
        case = self.layers[layer]
        self.x, self.w, self.b = case.arrays(lambda shape: rng.standard_normal(shape, dtype=np.float32))
        self.dy = rng.standard_normal(case.geometry.y_shape, dtype=np.float32)
        self.options = case.options
        self.forward, self.backward = getattr(fastconv, case.op), getattr(fastconv, f"{case.op}_backward")
        # The first call of each compiles its kernels, plans the shape and touches its memory.
        self.time_forward(layer, threads)
        self.time_input_gradient(layer, threads)
        self.time_weight_gradient(layer, threads)

    def time_forward(self, layer, threads):
        self.forward(self.x, self.w, self.b, **self.options)

    def time_input_gradient(self, layer, threads):
        self.backward(self.dy, self.x, self.w, self.b, needs=(True, False, False), **self.options)

    def time_weight_gradient(self, layer, threads):
        self.backward(self.dy, self.x, self.w, self.b, needs=(False, True, True), **self.options)


class Conv1d(Conv2d):
    layers = layers("conv1d")
    params = [list(layers), list(THREADS)]


class Conv3d(Conv2d):
    layers = layers("conv3d")
    params = [list(layers), list(THREADS)]


class ConvTranspose(Conv2d):
    layers = layers("conv_transpose")
    params = [list(layers), list(THREADS)]


class PaddingMode:
    """What a border that is stored costs, beside the same layer with zeros."""

    param_names = ["mode"]
    params = [["zeros", "reflect", "replicate", "circular"]]

    def setup(self, mode):
        fastconv.set_num_threads(1)
        rng = np.random.default_rng(0)
        self.x, self.w = (rng.standard_normal(shape, dtype=np.float32) for shape in [(8, 64, 56, 56), (64, 64, 3, 3)])
        self.options = {"padding": 1, "padding_mode": mode}
        self.dy = fastconv.conv2d(self.x, self.w, **self.options)
        self.time_gradients(mode)

    def time_forward(self, mode):
        fastconv.conv2d(self.x, self.w, **self.options)

    def time_gradients(self, mode):
        fastconv.conv2d_backward(self.dy, self.x, self.w, **self.options)


class Layout:
    """What channels last cost."""

    param_names = ["layout"]
    params = [["NCHW", "NHWC"]]

    def setup(self, layout):
        fastconv.set_num_threads(1)
        rng = np.random.default_rng(0)
        shape = (8, 64, 56, 56) if layout == "NCHW" else (8, 56, 56, 64)
        self.x, self.w = (rng.standard_normal(shape, dtype=np.float32) for shape in [shape, (64, 64, 3, 3)])
        self.time_forward(layout)

    def time_forward(self, layout):
        fastconv.conv2d(self.x, self.w, padding=1, layout=layout)


class DepthwiseSeparable:
    def setup(self):
        fastconv.set_num_threads(1)
        rng = np.random.default_rng(0)
        shapes = (8, 128, 56, 56), (128, 1, 3, 3), (128, 128, 1, 1)
        self.arrays = [rng.standard_normal(shape, dtype=np.float32) for shape in shapes]
        self.dy, self.saved = fastconv.depthwise_separable_conv2d(*self.arrays, padding=1, return_saved=True)
        self.time_gradients()

    def time_forward(self):
        fastconv.depthwise_separable_conv2d(*self.arrays, padding=1)

    def time_gradients(self):
        fastconv.depthwise_separable_conv2d_backward(self.dy, *self.arrays, padding=1, saved=self.saved)
