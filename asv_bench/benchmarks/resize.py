"""Pooling of any number of axes, unpooling and resampling: forward and gradient of layers of real networks."""

import numpy as np

import fastconv
from fastconv.testing import CASES


class _Ops:
    """One operation on one array."""

    param_names = ["layer"]
    cases: dict

    def setup(self, layer):
        fastconv.set_num_threads(1)
        case = self.cases[layer]
        self.x = np.abs(np.random.default_rng(0).standard_normal(case.x, dtype=np.float32))
        self.forward, self.backward = getattr(fastconv, case.op), getattr(fastconv, f"{case.op}_backward")
        self.options, self.saved = case.options, {}
        if "max" in case.op:
            self.saved = {"saved": self.forward(self.x, **self.options, return_saved=True)[1]}
        self.dy = np.ones_like(self.forward(self.x, **self.options))
        self.time_gradient(layer)

    def time_forward(self, layer):
        self.forward(self.x, **self.options)

    def time_gradient(self, layer):
        self.backward(self.dy, self.x, **self.options, **self.saved)


def _network_cases(kind):
    return {f"{case.op} {case.id}": case for case in CASES[kind] if case.network}


class Windows(_Ops):
    cases = _network_cases("windows")
    params = [list(cases)]


class Resample(_Ops):
    cases = _network_cases("resample")
    params = [list(cases)]


class MaxUnpool2d:
    """What a decoder undoes of its encoder's pooling."""

    param_names = ["x"]
    params = [[(2, 64, 224, 224), (4, 128, 112, 112), (8, 256, 56, 56)]]

    def setup(self, x):
        fastconv.set_num_threads(1)
        x = np.random.default_rng(0).standard_normal(x, dtype=np.float32)
        self.y, self.indices = fastconv.max_pool2d(x, 2, return_indices=True)
        self.dy = x
        self.time_gradient(None)

    def time_forward(self, x):
        fastconv.max_unpool2d(self.y, self.indices, 2)

    def time_gradient(self, x):
        fastconv.max_unpool2d_backward(self.dy, self.y, self.indices, 2)
