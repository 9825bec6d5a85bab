"""The fully connected layer, as loops over its outputs."""

import numpy as np


@np.errstate(all="ignore")
def linear(x, w, b=None) -> np.ndarray:
    """Return y, (..., out): ``y[..., o] = b[o] + sum over i of w[o, i] * x[..., i]``."""
    x, w = np.asarray(x, np.float64), np.asarray(w, np.float64)
    y = np.zeros((*x.shape[:-1], len(w)))
    for row in np.ndindex(x.shape[:-1]):
        for o in range(len(w)):
            y[*row, o] = np.sum(w[o] * x[row]) + (0 if b is None else b[o])
    return y


@np.errstate(all="ignore")
def linear_backward(dy, x, w, b=None) -> tuple:
    """Return dx, dw, db: every product of the forward pass sends dy to its two factors."""
    dy, x, w = (np.asarray(array, np.float64) for array in (dy, x, w))
    dx, dw, db = np.zeros(x.shape), np.zeros(w.shape), np.zeros(len(w))
    for row in np.ndindex(x.shape[:-1]):
        for o in range(len(w)):
            dx[row] += dy[*row, o] * w[o]
            dw[o] += dy[*row, o] * x[row]
            db[o] += dy[*row, o]
    return dx, dw, None if b is None else db
