"""Elements that only change places, of maps in real networks: forward and gradient, in float32."""

import numpy as np

import fastconv

MAPS = {
    "pixel_unshuffle": ((4, 16, 256, 256), 2),
    "depth_to_space": ((4, 256, 64, 64), 2),
    "unpool_bed_of_nails": ((4, 64, 112, 112), 2),
}


class Rearrange:
    param_names = ["function"]
    params = [list(MAPS)]

    def setup(self, function):
        fastconv.set_num_threads(1)
        shape, self.factor = MAPS[function]
        self.forward, self.backward = getattr(fastconv, function), getattr(fastconv, f"{function}_backward")
        self.x = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
        self.dy = np.ones_like(self.forward(self.x, self.factor))
        self.time_gradient(function)

    def time_forward(self, function):
        self.forward(self.x, self.factor)

    def time_gradient(self, function):
        self.backward(self.dy, self.x, self.factor)
