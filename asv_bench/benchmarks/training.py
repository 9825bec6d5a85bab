"""Steps of training, and what a process pays before the first one."""

import os
import subprocess
import sys

import numpy as np

import fastconv
from fastconv.layers import Arena
from fastconv.models import MODELS
from fastconv.optim import SGD

STEPS = {"lenet": (128, 1, 28, 28), "resnet20": (32, 3, 32, 32)}  # model: shape of a batch
THREADS = {"one": 1, "all": os.cpu_count()}


class Step:
    param_names = ["model", "threads"]
    params = [list(STEPS), list(THREADS)]

    def setup(self, model, threads):
        if model not in MODELS:
            raise NotImplementedError(f"there is no model {model}")  # asv skips the benchmark
        fastconv.set_num_threads(THREADS[threads])
        rng, shape = np.random.default_rng(0), STEPS[model]
        self.x, self.labels = rng.standard_normal(shape, dtype=np.float32), rng.integers(0, 10, shape[0])
        self.model = MODELS[model](num_classes=10)
        self.optimizer = SGD(Arena(self.model), lr=0.01, momentum=0.9)
        self.time_step(model, threads)

    def time_step(self, model, threads):
        scores, backward = self.model.forward(self.x)
        _, saved = fastconv.cross_entropy(scores, self.labels, return_saved=True)
        self.optimizer.zero_grad()
        backward(fastconv.cross_entropy_backward(1.0, scores, self.labels, saved=saved), input_gradient=False)
        self.optimizer.step()


class Startup:
    """Whole processes; kernels are compiled already."""

    def setup(self):
        self.time_first_convolution()

    def run(self, code):
        subprocess.run([sys.executable, "-c", code], check=True)

    def time_import(self):
        self.run("import fastconv")

    def time_first_convolution(self):
        self.run("import fastconv, numpy; fastconv.conv2d(numpy.ones((1, 1, 8, 8)), numpy.ones((1, 1, 3, 3)))")
