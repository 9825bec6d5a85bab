"""Pooling: forward and gradient of layers of real networks, in float32."""

import numpy as np

import fastconv
from fastconv.testing import CASES

LAYERS = {case.id: case for case in CASES["pool2d"] if case.network}
KINDS = ["max", "average"]


class Pool2d:
    param_names = ["layer", "kind"]
    params = [list(LAYERS), KINDS]

    def setup(self, layer, kind):
        fastconv.set_num_threads(1)
        rng, case = np.random.default_rng(0), LAYERS[layer]
        self.x, self.options = rng.standard_normal(case.x, dtype=np.float32), dict(case.options)
        self.saved = {}
        if kind == "max":
            self.forward, self.backward = fastconv.max_pool2d, fastconv.max_pool2d_backward
            y, saved = self.forward(self.x, **self.options, return_saved=True)
            self.saved = {"saved": saved}
        else:
            self.forward, self.backward = fastconv.avg_pool2d, fastconv.avg_pool2d_backward
            del self.options["dilation"]
            y = self.forward(self.x, **self.options)
        self.dy = np.ones_like(y)
        self.time_gradient(layer, kind)

    def time_forward(self, layer, kind):
        self.forward(self.x, **self.options)

    def time_gradient(self, layer, kind):
        self.backward(self.dy, self.x, **self.options, **self.saved)
