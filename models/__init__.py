"""Whole networks: functions that return layers.

`MODELS` holds every network that can be named on the command line. ``MODELS[name](num_classes, in_channels, seed=0)``
returns a layer whose `input_shape` is the (channels, height, width) that it was built for.
"""

from collections.abc import Callable

from fastconv.layers import Layer
from fastconv.models.lenet import lenet, lenet5

MODELS: dict[str, Callable[..., Layer]] = {"lenet": lenet, "lenet5": lenet5}

__all__ = ["MODELS", "lenet", "lenet5"]
