"""Fully connected layers of real networks: forward and all gradients, in float32."""

import numpy as np

import fastconv

LAYERS = {"lenet": (128, 400, 120), "vgg": (8, 25088, 4096), "resnet": (64, 2048, 1000), "vit": (1576, 768, 3072)}


class Linear:
    param_names = ["layer"]
    params = [list(LAYERS)]

    def setup(self, layer):
        fastconv.set_num_threads(1)
        rng, (rows, inputs, outputs) = np.random.default_rng(0), LAYERS[layer]
        shapes = (rows, inputs), (outputs, inputs), (outputs,), (rows, outputs)
        self.x, self.w, self.b, self.dy = (rng.standard_normal(shape, dtype=np.float32) for shape in shapes)
        self.time_forward(layer)
        self.time_gradients(layer)

    def time_forward(self, layer):
        fastconv.linear(self.x, self.w, self.b)

    def time_gradients(self, layer):
        fastconv.linear_backward(self.dy, self.x, self.w, self.b)
