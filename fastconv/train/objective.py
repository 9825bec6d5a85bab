"""What training makes small: cross entropy, with the losses of heads at the side."""

import numpy as np

from fastconv import ops, runtime
from fastconv.layers import Layer, Supervised


def objective(model: Layer, y: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """Return the loss of a batch and its gradient.

    Parameters
    ----------
    model : Layer
    y : ndarray
        What the model's training pass gave: scores (n, classes), or (1 + heads, n, classes) of a `Supervised` model,
        whose losses are added with its `loss_weights`.
    target : (n,) integer ndarray

    Returns
    -------
    scores : (n, classes) ndarray
        Those to judge the model by.
    loss : float
        Mean over the batch.
    dy : ndarray
        Gradient of the loss with respect to `y`.
    """
    heads, weights = (y, model.loss_weights) if isinstance(model, Supervised) else (y[None], (1.0,))
    dy = runtime.empty(heads.shape, heads.dtype)
    loss = 0.0
    for scores, weight, dscores in zip(heads, weights, dy, strict=True):
        head_loss, saved = ops.cross_entropy(scores, target, return_saved=True)
        loss += weight * float(head_loss)
        dscores[...] = ops.cross_entropy_backward(weight, scores, target, saved=saved)
    return heads[0], loss, dy.reshape(y.shape)
