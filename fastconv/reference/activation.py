"""Element-wise activations; `e` below is an exponential of a negative number, which cannot overflow."""

from math import erfc, pi, sqrt

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


def leaky_relu(x, negative_slope=0.01) -> np.ndarray:
    """Return x where it is positive, else x * negative_slope."""
    x = np.asarray(x, np.float64)
    return np.where(x > 0, x, x * negative_slope)


def leaky_relu_backward(dy, x, negative_slope=0.01) -> np.ndarray:
    """Return dy where x is positive, else dy * negative_slope."""
    dy = np.asarray(dy, np.float64)
    return np.where(np.asarray(x) > 0, dy, dy * negative_slope)


def elu(x, alpha=1.0) -> np.ndarray:
    """Return x where it is positive, else alpha * (exp(x) - 1)."""
    x = np.asarray(x, np.float64)
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def elu_backward(dy, x, alpha=1.0) -> np.ndarray:
    """Return dy where x is positive, else dy * alpha * exp(x)."""
    dy, x = np.asarray(dy, np.float64), np.asarray(x, np.float64)
    return np.where(x > 0, dy, dy * (alpha * np.exp(np.minimum(x, 0))))


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


@np.errstate(all="ignore")
def silu(x) -> np.ndarray:
    """Return x * sigmoid(x)."""
    return np.asarray(x, np.float64) * sigmoid(x)


@np.errstate(all="ignore")
def silu_backward(dy, x) -> np.ndarray:
    """Return dy * (s + x * s * (1 - s)) with s = sigmoid(x): the rule for a product."""
    x = np.asarray(x, np.float64)
    return dy * (sigmoid(x) + x * sigmoid_backward(1.0, x))


def hardsigmoid(x) -> np.ndarray:
    """Return min(max(x + 3, 0), 6) / 6."""
    return np.clip(np.asarray(x, np.float64) + 3, 0, 6) / 6


def hardsigmoid_backward(dy, x) -> np.ndarray:
    """Return dy / 6 where -3 < x < 3 or NaN, else 0."""
    return np.where(np.abs(x) >= 3, 0.0, np.asarray(dy, np.float64) / 6)


@np.errstate(all="ignore")
def hardswish(x) -> np.ndarray:
    """Return x * hardsigmoid(x)."""
    return np.asarray(x, np.float64) * hardsigmoid(x)


@np.errstate(all="ignore")
def hardswish_backward(dy, x) -> np.ndarray:
    """Return dy * (x / 3 + 1/2) where -3 < x < 3 or NaN, 0 below, dy above."""
    dy, x = np.asarray(dy, np.float64), np.asarray(x, np.float64)
    return np.where(x <= -3, 0.0, np.where(x >= 3, dy, dy * (x / 3 + 0.5)))


@np.errstate(all="ignore")
def gelu(x, approximate="none") -> np.ndarray:
    """Return x times the share of the normal distribution below x, or of a logistic one that is close to it."""
    return np.asarray(x, np.float64) * _share_below(x, approximate)


@np.errstate(all="ignore")
def gelu_backward(dy, x, approximate="none") -> np.ndarray:
    """Return dy * (share + x * density): the rule for a product."""
    x = np.asarray(x, np.float64)
    if approximate == "tanh":
        slope = sqrt(8 / pi) * (1 + 3 * 0.044715 * x**2)
        density = slope * sigmoid_backward(1.0, _argument(x))
    else:
        density = np.exp(-(x**2) / 2) / sqrt(2 * pi)
    return dy * (_share_below(x, approximate) + x * density)


def _argument(x) -> np.ndarray:
    x = np.asarray(x, np.float64)
    return sqrt(8 / pi) * (x + 0.044715 * x**3)


def _share_below(x, approximate) -> np.ndarray:
    """Return (1 + tanh(z)) / 2 = sigmoid(2z), or erfc(-x / sqrt(2)) / 2."""
    if approximate == "tanh":
        return sigmoid(_argument(x))
    return np.vectorize(lambda v: erfc(-v / sqrt(2)) / 2, otypes=[np.float64])(np.asarray(x, np.float64))
