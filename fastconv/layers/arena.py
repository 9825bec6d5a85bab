"""All parameters of a model in one flat array, and all gradients in another.

An optimiser then works on two long arrays in place of many short ones: one pass, whatever the model.
"""

from math import prod

import numpy as np

from fastconv import runtime
from fastconv.layers.base import Layer


class Arena:
    """Move a model's parameters and gradients into two flat arrays, and leave views of them in its layers.

    Frozen parameters (`fastconv.layers.freeze`) stay outside, so that no optimiser reaches them.

    Each tensor starts on a cache line (64 bytes). The gaps between tensors are zeros, and stay zeros as long as
    whoever writes maps a zero parameter with a zero gradient to zero.

    Parameters
    ----------
    model : Layer
        Changed in place: its `params` and `grads` hold views afterwards, with the same values. Do this last: replacing
        them later (`Layer.astype`, another Arena) leaves this arena behind.

    Attributes
    ----------
    params, grads : (size,) ndarray
        float32 or float64, as the model.

    Raises
    ------
    TypeError
        The model's parameters differ in dtype.
    """

    def __init__(self, model: Layer):
        owners = [(name, layer, key) for name, layer, key in model.owners() if layer.learns(key)]
        dtypes = {layer.params[key].dtype for _, layer, key in owners} or {np.dtype(np.float32)}
        if len(dtypes) > 1:
            raise TypeError(f"Arena: parameters must have one dtype, got {sorted(map(str, dtypes))}: use model.astype")
        (dtype,) = dtypes
        line = runtime.ALIGNMENT // dtype.itemsize
        self._places: dict[str, tuple[int, tuple[int, ...]]] = {}
        size = 0
        for name, layer, key in owners:
            shape = layer.params[key].shape
            self._places[name] = size, shape
            size += -(-prod(shape) // line) * line
        self.params = runtime.zeros(size, dtype)
        self.grads = runtime.zeros(size, dtype)
        params, grads = self.views(self.params), self.views(self.grads)
        for name, layer, key in owners:
            params[name][...], grads[name][...] = layer.params[key], layer.grads[key]
            layer.params[key], layer.grads[key] = params[name], grads[name]

    def views(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """Return views, by parameter name, of an array laid out as `params`; such as an optimiser's momentum.

        Parameters
        ----------
        flat : (size,) ndarray
        """
        return {name: flat[start : start + prod(shape)].reshape(shape) for name, (start, shape) in self._places.items()}

    def zero_grad(self) -> None:
        """Set all gradients to zero."""
        self.grads.fill(0)
