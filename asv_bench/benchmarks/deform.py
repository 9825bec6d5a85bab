"""Deformable convolution with a mask: forward and gradients of layers of detectors, in float32."""

import numpy as np

import fastconv
from fastconv.testing import CASES

LAYERS = {case.id: case for case in CASES["deform_conv2d"] if case.network}


class DeformConv2d:
    param_names = ["layer"]
    params = [list(LAYERS)]

    def setup(self, layer):
        fastconv.set_num_threads(1)
        rng, case = np.random.default_rng(0), LAYERS[layer]
        shapes = case.geometry.offset_shape, case.w, case.w[:1], case.geometry.conv.y_shape
        offset, w, b, self.dy = (rng.standard_normal(shape, dtype=np.float32) for shape in shapes)
        self.arrays = rng.standard_normal(case.x, dtype=np.float32), offset, w, b
        self.options = case.options | {"mask": rng.random(case.geometry.mask_shape, dtype=np.float32)}
        self.time_forward(layer)
        self.time_data_gradients(layer)
        self.time_weight_gradient(layer)

    def time_forward(self, layer):
        fastconv.deform_conv2d(*self.arrays, **self.options)

    def time_data_gradients(self, layer):
        needs = (True, True, False, False, True)
        fastconv.deform_conv2d_backward(self.dy, *self.arrays, **self.options, needs=needs)

    def time_weight_gradient(self, layer):
        needs = (False, False, True, True, False)
        fastconv.deform_conv2d_backward(self.dy, *self.arrays, **self.options, needs=needs)
