"""Models for inference alone, whose weights are packed once."""

from __future__ import annotations

from copy import deepcopy

import numpy as np

from fastconv.layers.base import Layer


def prepack(model: Layer) -> Layer:
    """Return a copy of a model for inference, whose convolutions and linear layers pack their weights once.

    Otherwise each call packs them anew, or transforms them, as the fastest algorithm wants them. With a batch of one
    image that is up to half of the time. Outputs are the same but for rounding, since another algorithm may then be the
    fastest. Fold batch normalisation first (`fold_batch_norm`): ``prepack(fold_batch_norm(model))``.

    Packed copies are made when an input comes, one for each of its shapes, and cost memory: about that of the weights
    where they are multiplied as they are, four times as much for Winograd's algorithm with tiles of 4 x 4, nothing for
    depthwise layers. `packed_bytes` counts it.

    Parameters
    ----------
    model : Layer
        It is left as it is, and shares no array with the result.

    Returns
    -------
    Layer
        Its weights are read-only: to change them, change those of `model`, and prepack that again. To train it is an
        error, too.

    Raises
    ------
    TypeError
        `model` is no Layer.
    """
    if not isinstance(model, Layer):
        raise TypeError(f"prepack: model must be a Layer, got {model!r}")
    packed = deepcopy(model)
    for _, layer in packed.named_layers():
        if isinstance(layer, Packable):
            layer.pack()
    return packed


def packed_bytes(model: Layer) -> int:
    """Return the bytes of all packed copies of weights that a model keeps."""
    operations = (layer.packed for _, layer in model.named_layers() if isinstance(layer, Packable))
    return sum(operation.nbytes for operation in operations if operation is not None)


class Packable(Layer):
    """A layer of weights that can be packed once. A subclass defines `make_packed`.

    Attributes
    ----------
    packed : callable or None
        What computes the layer once it is prepacked.
    """

    packed = None

    def make_packed(self):
        """Return the operation with packed weights; see `fastconv.ops.packed`."""
        raise NotImplementedError

    def pack(self) -> None:
        """Keep packed weights from now on; they can no longer change."""
        for array in self.params.values():
            array.flags.writeable = False
        self.packed = self.make_packed()

    def infer(self, x: np.ndarray, train: bool, **options: object) -> np.ndarray:
        """Compute the layer with packed weights.

        Raises
        ------
        RuntimeError
            This is training.
        """
        if train:
            raise RuntimeError(
                f"{type(self).__name__}: a prepacked layer is for inference; train the model that was given to prepack"
            )
        if self.packed.w is not self.params["weight"] or self.packed.b is not self.params.get("bias"):
            self.pack()  # `astype` or a copy of the model has put other arrays in their place
        return self.packed(x, **options)
