"""A few steps of training on a few digits: what every network must be able to do."""

from functools import lru_cache

import numpy as np

from fastconv.data import digits
from fastconv.layers import Arena, Layer
from fastconv.optim import Adam
from fastconv.train import gradients


@lru_cache
def some_digits(size: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a batch of images of size x size, and its labels."""
    data = digits(size)
    return data.train_images[:count], data.train_labels[:count]


def losses_of_steps(model: Layer, size: int, count: int = 8, steps: int = 20, lr: float = 1e-3) -> list[float]:
    """Train on one batch of `count` images; return the losses before each step."""
    images, labels = some_digits(size, count)
    arena = Arena(model)
    optimizer, losses = Adam(arena, lr=lr), []
    for _ in range(steps):
        losses.append(gradients(model, arena, images, labels)[0])
        optimizer.step()
    return losses
