"""Softmax and its logarithm, row by row, with their Jacobian matrices."""

from collections.abc import Callable

import numpy as np


def softmax(x, dim=-1) -> np.ndarray:
    """Return exp(x) / sum(exp(x)), the sum running along axis `dim`."""
    return _map_rows(_softmax, dim, x)


def softmax_backward(dy, x, dim=-1) -> np.ndarray:
    """Return dx for ``d y[j] / d x[i] = y[i] * (j == i) - y[i] * y[j]``."""

    def backward(dy, x):
        y = _softmax(x)
        return (np.diag(y) - np.outer(y, y)) @ dy

    return _map_rows(backward, dim, dy, x)


def log_softmax(x, dim=-1) -> np.ndarray:
    """Return x - log(sum(exp(x))), the sum running along axis `dim`."""
    return _map_rows(_log_softmax, dim, x)


def log_softmax_backward(dy, x, dim=-1) -> np.ndarray:
    """Return dx for ``d y[j] / d x[i] = (j == i) - softmax(x)[i]``."""

    def backward(dy, x):
        return (np.eye(len(x)) - _softmax(x)[:, None]) @ dy

    return _map_rows(backward, dim, dy, x)


def _softmax(row: np.ndarray) -> np.ndarray:
    e = np.exp(row - row.max())  # the largest exponent is 0: nothing overflows
    return e / e.sum()


def _log_softmax(row: np.ndarray) -> np.ndarray:
    shifted = row - row.max()
    return shifted - np.log(np.exp(shifted).sum())


@np.errstate(all="ignore")
def _map_rows(function: Callable, dim: int, *arrays) -> np.ndarray:
    """Apply `function` to the rows that the arrays have along axis `dim`."""
    arrays = [np.moveaxis(np.asarray(array, np.float64), dim, -1) for array in arrays]
    result = np.zeros(arrays[0].shape)
    for row in np.ndindex(result.shape[:-1]):
        result[row] = function(*(array[row] for array in arrays))
    return np.moveaxis(result, -1, dim)
