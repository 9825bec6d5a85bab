"""Element-wise activations; `e` below is an exponential of a negative number, which cannot overflow."""

import numpy as np


def relu(x) -> np.ndarray:
    """Return max(x, 0); NaN stays NaN."""
    x = np.asarray(x, np.float64)
    return np.where((x > 0) | np.isnan(x), x, 0.0)


def relu_backward(dy, x) -> np.ndarray:
    """Return dy where x > 0 or NaN, else 0: at 0 the slope is taken as 0."""
    return np.where(x <= 0, 0.0, np.asarray(dy, np.float64))


def relu6(x) -> np.ndarray:
    """Return min(max(x, 0), 6); NaN stays NaN."""
    return np.clip(np.asarray(x, np.float64), 0, 6)


def relu6_backward(dy, x) -> np.ndarray:
    """Return dy where 0 < x < 6 or NaN, else 0: at 0 and at 6 the slope is taken as 0."""
    flat = np.less_equal(x, 0) | np.greater_equal(x, 6)
    return np.where(flat, 0.0, np.asarray(dy, np.float64))


def sigmoid(x) -> np.ndarray:
    """Return 1 / (1 + exp(-x))."""
    e = np.exp(-np.abs(np.asarray(x, np.float64)))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def sigmoid_backward(dy, x) -> np.ndarray:
    """Return dy times the slope exp(-x) / (1 + exp(-x))**2, which is the same for x and -x."""
    e = np.exp(-np.abs(np.asarray(x, np.float64)))
    return dy * e / (1 + e) ** 2


def tanh(x) -> np.ndarray:
    """Return (1 - exp(-2x)) / (1 + exp(-2x))."""
    return np.tanh(np.asarray(x, np.float64))


def tanh_backward(dy, x) -> np.ndarray:
    """Return dy times the slope 1 / cosh(x)**2 = 4 exp(-2x) / (1 + exp(-2x))**2."""
    e = np.exp(-2 * np.abs(np.asarray(x, np.float64)))
    return dy * 4 * e / (1 + e) ** 2
