"""Convolution: forward and gradients of layers of real networks, in float32."""

import os

import numpy as np

import fastconv
from fastconv.testing import CASES

LAYERS = {case.id: case for case in CASES["conv2d"] if case.network}
THREADS = {"one": 1, "all": os.cpu_count()}


class Conv2d:
    param_names = ["layer", "threads"]
    params = [list(LAYERS), list(THREADS)]

    def setup(self, layer, threads):
        fastconv.set_num_threads(THREADS[threads])
        rng = np.random.default_rng(0)
        case = LAYERS[layer]
        self.x, self.w, self.b = case.arrays(lambda shape: rng.standard_normal(shape, dtype=np.float32))
        self.dy = rng.standard_normal(case.geometry.y_shape, dtype=np.float32)
        self.options = case.options
        # The first call of each compiles its kernels, plans the shape and touches its memory.
        self.time_forward(layer, threads)
        self.time_input_gradient(layer, threads)
        self.time_weight_gradient(layer, threads)

    def time_forward(self, layer, threads):
        fastconv.conv2d(self.x, self.w, self.b, **self.options)

    def time_input_gradient(self, layer, threads):
        fastconv.conv2d_backward(self.dy, self.x, self.w, self.b, needs=(True, False, False), **self.options)

    def time_weight_gradient(self, layer, threads):
        fastconv.conv2d_backward(self.dy, self.x, self.w, self.b, needs=(False, True, True), **self.options)
