"""The loss of classification, as a loop over the labels."""

import numpy as np

from fastconv.reference.softmax import log_softmax, softmax


@np.errstate(all="ignore")
def cross_entropy(x, target, reduction="mean") -> np.ndarray | np.float64:
    """Return ``-log_softmax(x)[target]`` for logits x, (n, c, ...), and labels, (n, ...): its mean, its sum, or all.

    The mean over nothing is NaN.
    """
    log_probability = log_softmax(x, dim=1)
    losses = np.zeros(target.shape)
    for n, *place in np.ndindex(target.shape):
        losses[n, *place] = -log_probability[n, target[n, *place], *place]
    if reduction == "none":
        return losses
    return losses.sum() / (losses.size if reduction == "mean" else 1)


@np.errstate(all="ignore")
def cross_entropy_backward(dy, x, target, reduction="mean") -> np.ndarray:
    """Return dx, (n, c, ...): for each label the probabilities, less one at the label."""
    shares = np.broadcast_to(np.asarray(dy, np.float64), target.shape)
    dx = softmax(x, dim=1)
    for n, *place in np.ndindex(target.shape):
        dx[n, target[n, *place], *place] -= 1
        dx[n, :, *place] *= shares[n, *place] / (target.size if reduction == "mean" else 1)
    return dx
