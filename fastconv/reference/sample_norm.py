"""Normalisation of each sample by itself, one row, group or channel at a time, and across channels."""

from math import prod

import numpy as np


@np.errstate(all="ignore")
def layer_norm(x, normalized_shape, weight=None, bias=None, eps=1e-5) -> np.ndarray:
    """Return (x - mean) / sqrt(variance + eps) * weight + bias over the last axes, with the biased variance."""
    y = _rows(x, normalized_shape)
    for row in y:
        row[:] = _normal(row, eps)[0]
    return y.reshape(x.shape) * _or(weight, 1.0) + _or(bias, 0.0)


@np.errstate(all="ignore")
def layer_norm_backward(dy, x, normalized_shape, weight=None, bias=None, eps=1e-5) -> tuple:
    """Return dx, dweight, dbias."""
    dx, normal, dy = _rows(x, normalized_shape), _rows(x, normalized_shape), np.asarray(dy, np.float64)
    gradients = _rows(dy * _or(weight, 1.0), normalized_shape)
    for row, values, g in zip(dx, normal, gradients, strict=True):
        row[:], values[:] = _through(g, row, eps), _normal(row, eps)[0]
    shape = np.shape(weight if weight is not None else bias)
    dy = dy.reshape(-1, prod(shape))
    dweight = None if weight is None else (dy * normal).sum(axis=0).reshape(shape)
    return dx.reshape(x.shape), dweight, None if bias is None else dy.sum(axis=0).reshape(shape)


@np.errstate(all="ignore")
def group_norm(x, num_groups, weight=None, bias=None, eps=1e-5) -> np.ndarray:
    """Return (x - mean) / sqrt(variance + eps) * weight + bias, by sample and group of channels."""
    y = np.array(x, np.float64)
    for n, channels in _groups(x, num_groups):
        y[n, channels] = _normal(y[n, channels], eps)[0]
    return y * _by_channel(weight, x, 1.0) + _by_channel(bias, x, 0.0)


@np.errstate(all="ignore")
def group_norm_backward(dy, x, num_groups, weight=None, bias=None, eps=1e-5) -> tuple:
    """Return dx, dweight, dbias."""
    dy, dx, normal = np.asarray(dy, np.float64), np.array(x, np.float64), np.array(x, np.float64)
    g = dy * _by_channel(weight, x, 1.0)
    for n, channels in _groups(x, num_groups):
        normal[n, channels] = _normal(dx[n, channels], eps)[0]
        dx[n, channels] = _through(g[n, channels], dx[n, channels], eps)
    rest = (0, *range(2, x.ndim))
    dweight = None if weight is None else (dy * normal).sum(axis=rest)
    return dx, dweight, None if bias is None else dy.sum(axis=rest)


@np.errstate(all="ignore")
def instance_norm(
    x, running_mean=None, running_var=None, weight=None, bias=None, use_input_stats=True, momentum=0.1, eps=1e-5
) -> np.ndarray:
    """Return (x - mean) / sqrt(variance + eps) * weight + bias, by sample and channel.

    With `use_input_stats`, the running statistics move towards the samples' mean of the means and of the unbiased
    variances, in place. Without, they are used.
    """
    if not use_input_stats:
        normal = (x - _by_channel(running_mean, x, 0.0)) / np.sqrt(_by_channel(running_var, x, 1.0) + eps)
        return normal * _by_channel(weight, x, 1.0) + _by_channel(bias, x, 0.0)
    values, places = np.array(x, np.float64), tuple(range(2, x.ndim))
    for running, statistic in (
        (running_mean, values.mean(axis=places)), (running_var, values.var(axis=places, ddof=1)),
    ):  # fmt: skip
        if running is not None and len(x):
            running[:] = (1 - momentum) * running + momentum * statistic.mean(axis=0)
    return group_norm(x, x.shape[1], weight, bias, eps)


@np.errstate(all="ignore")
def instance_norm_backward(
    dy, x, running_mean=None, running_var=None, weight=None, bias=None, use_input_stats=True, momentum=0.1, eps=1e-5
) -> tuple:
    """Return dx, None, None, dweight, dbias."""
    if use_input_stats:
        dx, *affine = group_norm_backward(dy, x, x.shape[1], weight, bias, eps)
        return dx, None, None, *affine
    dy, rest = np.asarray(dy, np.float64), (0, *range(2, x.ndim))
    deviation = np.sqrt(_by_channel(running_var, x, 1.0) + eps)
    normal = (x - _by_channel(running_mean, x, 0.0)) / deviation
    dweight = None if weight is None else (dy * normal).sum(axis=rest)
    dbias = None if bias is None else dy.sum(axis=rest)
    return dy * _by_channel(weight, x, 1.0) / deviation, None, None, dweight, dbias


@np.errstate(all="ignore")
def local_response_norm(x, size, alpha=1e-4, beta=0.75, k=1.0) -> np.ndarray:
    """Return x[c] / (k + alpha / size * sum of squares of channels c - size // 2 to c + (size - 1) // 2)**beta."""
    x, base = np.asarray(x, np.float64), _bases(x, size, alpha, k)
    return x * base**-beta


@np.errstate(all="ignore")
def local_response_norm_backward(dy, x, size, alpha=1e-4, beta=0.75, k=1.0) -> np.ndarray:
    """Return dx: the direct share, and what each element takes from the channels around it."""
    dy, x, base = np.asarray(dy, np.float64), np.asarray(x, np.float64), _bases(x, size, alpha, k)
    dx = dy * base**-beta
    for c, around in _neighbours(x.shape[1], size):
        taken = dy[:, c] * x[:, c] * base[:, c] ** (-beta - 1)
        dx[:, around] -= 2 * beta * alpha / size * x[:, around] * taken[:, None]
    return dx


def _bases(x, size, alpha, k) -> np.ndarray:
    squares = np.asarray(x, np.float64) ** 2
    base = np.full(x.shape, float(k))
    for c, around in _neighbours(x.shape[1], size):
        base[:, c] += alpha / size * squares[:, around].sum(axis=1)
    return base


def _neighbours(channels, size) -> list[tuple[int, slice]]:
    return [(c, slice(max(0, c - size // 2), c + (size - 1) // 2 + 1)) for c in range(channels)]


def _normal(values, eps) -> tuple[np.ndarray, float]:
    """Return (values - mean) / deviation, and the deviation."""
    deviation = np.sqrt(values.var() + eps)
    return (values - values.mean()) / deviation, deviation


def _through(g, values, eps) -> np.ndarray:
    """Return the gradient of values whose normal has the gradient g: less its mean, and its part along the normal."""
    normal, deviation = _normal(values, eps)
    return (g - g.mean() - normal * (g * normal).mean()) / deviation


def _rows(x, normalized_shape) -> np.ndarray:
    return np.array(x, np.float64).reshape(-1, np.prod(normalized_shape, dtype=int))


def _groups(x, num_groups) -> list[tuple[int, slice]]:
    size = x.shape[1] // num_groups
    return [(n, slice(g * size, (g + 1) * size)) for n in range(x.shape[0]) for g in range(num_groups)]


def _or(array, value) -> np.ndarray | float:
    return value if array is None else np.asarray(array, np.float64)


def _by_channel(array, x, value) -> np.ndarray | float:
    return value if array is None else np.asarray(array, np.float64).reshape(-1, *[1] * (x.ndim - 2))
