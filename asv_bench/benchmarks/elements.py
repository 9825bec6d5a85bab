"""What stands around convolutions: activations, norms of samples, losses, dropout and columns, in float32."""

import numpy as np

import fastconv
from fastconv import ops

ACTIVATIONS = list(ops.FAMILIES["activation"])
MAPS = {"resnet_56": (8, 64, 56, 56), "mobilenet_28": (16, 96, 28, 28), "cifar_8": (128, 16, 8, 8)}


def draw(*shape):
    fastconv.set_num_threads(1)
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


class Both:
    """A function and its gradient; `setup` calls `prepare`."""

    def prepare(self, name, *arrays, **options):
        self.forward, self.backward = getattr(fastconv, name), getattr(fastconv, f"{name}_backward")
        self.arrays, self.options = arrays, options
        y = self.forward(*arrays, **options)
        self.dy = np.ones_like(y) if np.ndim(y) else 1.0
        self.backward(self.dy, *arrays, **options)

    def time_forward(self, *_):
        self.forward(*self.arrays, **self.options)

    def time_gradient(self, *_):
        self.backward(self.dy, *self.arrays, **self.options)


class Activation(Both):
    param_names = ["function", "layer"]
    params = [ACTIVATIONS, list(MAPS)]

    def setup(self, function, layer):
        self.prepare(function, draw(*MAPS[layer]))


class Softmax(Both):
    param_names = ["function", "shape"]
    params = [["softmax", "log_softmax"], ["imagenet", "attention", "segmentation"]]

    def setup(self, function, shape):
        shapes = {"imagenet": (64, 1000), "attention": (8, 12, 197, 197), "segmentation": (4, 21, 128, 128)}
        self.prepare(function, draw(*shapes[shape]), dim=1 if shape == "segmentation" else -1)


NORMS = {
    "layer vit": ("layer_norm", (8, 197, 768), {"normalized_shape": 768}),
    "layer swin": ("layer_norm", (8, 3136, 96), {"normalized_shape": 96}),
    "group 56": ("group_norm", (8, 64, 56, 56), {"num_groups": 32}),
    "group 14": ("group_norm", (8, 256, 14, 14), {"num_groups": 32}),
    "instance 128": ("instance_norm", (4, 64, 128, 128), {}),
    "response alexnet": ("local_response_norm", (8, 96, 55, 55), {"size": 5, "k": 2.0}),
}


class SampleNorm(Both):
    param_names = ["norm"]
    params = [list(NORMS)]

    def setup(self, norm):
        name, shape, options = NORMS[norm]
        self.prepare(name, draw(*shape), **options)


class Loss(Both):
    param_names = ["loss"]
    params = [["cross entropy", "cross entropy of places", "mse_loss", "binary_cross_entropy_with_logits", "dice_loss"]]

    def setup(self, loss):
        if loss.startswith("cross"):
            shape = (64, 1000) if loss == "cross entropy" else (4, 21, 128, 128)
            target = np.random.default_rng(0).integers(0, shape[1], (shape[0], *shape[2:]))
            self.prepare("cross_entropy", draw(*shape), target)
        else:
            x = draw(16, 1, 256, 256)
            self.prepare(loss, x, (x > 0).astype(np.float32))


class Dropout(Both):
    param_names = ["function"]
    params = [["dropout", "dropout2d"]]

    def setup(self, function):
        self.prepare(function, draw(*MAPS["resnet_56"]), seed=0)


class Columns(Both):
    param_names = ["layer"]
    params = [["resnet_56", "patches_16"]]

    def setup(self, layer):
        if layer == "resnet_56":
            self.prepare("unfold", draw(*MAPS[layer]), kernel_size=3, padding=1)
        else:
            self.prepare("unfold", draw(8, 3, 224, 224), kernel_size=16, stride=16)
