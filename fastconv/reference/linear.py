"""The fully connected layer, as loops over its outputs."""

import numpy as np


@np.errstate(all="ignore")
def linear(x, w, b=None, *, relu=False) -> np.ndarray:
    """Return y, (..., out): ``y[..., o] = b[o] + sum over i of w[o, i] * x[..., i]``, or max(y, 0)."""
    x, w = np.asarray(x, np.float64), np.asarray(w, np.float64)
    y = np.zeros((*x.shape[:-1], len(w)))
    for row in np.ndindex(x.shape[:-1]):
        for o in range(len(w)):
            y[*row, o] = np.sum(w[o] * x[row]) + (0 if b is None else b[o])
    return np.where(y <= 0, 0, y) if relu else y


@np.errstate(all="ignore")
def linear_backward(dy, x, w, b=None, *, relu=False) -> tuple:
    """Return dx, dw, db: every product of the forward pass sends dy to its two factors, if its sum passes the ReLU."""
    dy, x, w = (np.asarray(array, np.float64) for array in (dy, x, w))
    if relu:
        dy = np.where(linear(x, w, b) <= 0, 0, dy)
    dx, dw, db = np.zeros(x.shape), np.zeros(w.shape), np.zeros(len(w))
    for row in np.ndindex(x.shape[:-1]):
        for o in range(len(w)):
            dx[row] += dy[*row, o] * w[o]
            dw[o] += dy[*row, o] * x[row]
            db[o] += dy[*row, o]
    return dx, dw, None if b is None else db
