"""One step of training, and the measure of what was learnt."""

import numpy as np

from fastconv import ops
from fastconv.layers import Arena, Layer
from fastconv.train.objective import objective


def gradients(model: Layer, arena: Arena, x: np.ndarray, target: np.ndarray) -> tuple[float, int]:
    """Put the gradients of the `objective` of a batch into `arena`.

    Parameters
    ----------
    model : Layer
    arena : Arena
        Of `model`.
    x : (B, ...) ndarray
        float32 or float64, as the model.
    target : (B,) integer ndarray

    Returns
    -------
    loss : float
    hits : int
        Samples whose class got the highest score.
    """
    y, backward = model.forward(x)
    scores, loss, dy = objective(model, y, target)
    arena.zero_grad()
    backward(dy, input_gradient=False)
    return loss, _hits(scores, target)


def evaluate(model: Layer, images: np.ndarray, labels: np.ndarray, batch_size: int = 512) -> tuple[float, float]:
    """Return mean cross-entropy and accuracy (0 to 1) of a model on labelled images.

    Parameters
    ----------
    model : Layer
    images : (N, C, H, W) ndarray
        At least one image; normalised, in the dtype of the model.
    labels : (N,) integer ndarray
    batch_size : int
    """
    loss = hits = 0
    for start in range(0, len(images), batch_size):
        scores, target = model(images[start : start + batch_size]), labels[start : start + batch_size]
        loss += float(ops.cross_entropy(scores, target, reduction="sum"))
        hits += _hits(scores, target)
    return loss / len(images), hits / len(images)


def _hits(scores: np.ndarray, target: np.ndarray) -> int:
    return int(np.count_nonzero(scores.argmax(1) == target))
