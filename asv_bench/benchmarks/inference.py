"""Inference: networks with folded batch norm, weights packed in every call or once, in float32."""

import numpy as np

import fastconv
from fastconv.layers import fold_batch_norm, packed_bytes, prepack
from fastconv.models import MODELS


class Inference:
    param_names = ["model", "batch", "weights"]
    params = [["resnet18", "mobilenet_v2"], [1, 8], ["packed in every call", "packed once"]]

    def setup(self, model, batch, weights):
        fastconv.set_num_threads(1)
        self.model = fold_batch_norm(MODELS[model](seed=0))
        if weights == "packed once":
            self.model = prepack(self.model)
        self.x = np.random.default_rng(0).standard_normal((batch, 3, 224, 224), dtype=np.float32)
        self.model(self.x)

    def time_forward(self, model, batch, weights):
        self.model(self.x)

    def track_packed_bytes(self, model, batch, weights):
        return packed_bytes(self.model)

    track_packed_bytes.unit = "bytes"
