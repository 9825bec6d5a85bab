"""Batch norm with what follows it in a residual network: forward and gradients while training, in float32."""

import numpy as np

import fastconv

SHAPES = {
    "resnet_56": (8, 64, 56, 56),
    "resnet_14": (8, 256, 14, 14),
    "resnet_7": (8, 512, 7, 7),
    "cifar_32": (128, 16, 32, 32),
}


class BatchNorm:
    param_names = ["layer", "followed_by"]
    params = [list(SHAPES), ["nothing", "relu", "add and relu"]]

    def setup(self, layer, followed_by):
        fastconv.set_num_threads(1)
        rng, shape = np.random.default_rng(0), SHAPES[layer]
        channels = shape[1]
        self.x, self.dy, residual = (rng.standard_normal(shape, dtype=np.float32) for _ in range(3))
        running = np.zeros(channels, np.float32), np.ones(channels, np.float32)
        parameters = rng.standard_normal((2, channels), dtype=np.float32)
        self.arguments = *running, *parameters, True
        self.options = {"relu": "relu" in followed_by, "residual": residual if "add" in followed_by else None}
        self.saved = fastconv.batch_norm(self.x, *self.arguments, **self.options, return_saved=True)[-1]
        self.time_gradients(layer, followed_by)

    def time_forward(self, layer, followed_by):
        fastconv.batch_norm(self.x, *self.arguments, **self.options)

    def time_gradients(self, layer, followed_by):
        fastconv.batch_norm_backward(self.dy, self.x, *self.arguments, **self.options, saved=self.saved)
