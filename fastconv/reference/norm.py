"""Batch normalisation, one channel at a time."""

import numpy as np


@np.errstate(all="ignore")
def batch_norm(
    x, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5, *, residual=None,
    relu=False,
) -> np.ndarray:  # fmt: skip
    """Return (x - mean) / sqrt(variance + eps) * weight + bias [+ residual] [above 0, below a ceiling], (n, c, ...).

    With `training`, mean and biased variance are the batch's, and the running statistics move towards its mean and its
    unbiased variance, in place. Without, the running statistics are used.
    """
    y = np.zeros(x.shape)
    for c in range(x.shape[1]):
        normal, _ = _normalised(x[:, c], c, running_mean, running_var, training, eps)
        y[:, c] = _affine(normal, c, weight, bias)
        if training:
            count = normal.size
            channel = np.asarray(x[:, c], np.float64)
            for running, value in ((running_mean, channel.mean()), (running_var, channel.var() * count / (count - 1))):
                if running is not None:
                    running[c] = (1 - momentum) * running[c] + momentum * value
    if residual is not None:
        y += residual
    return y if relu is False else np.where(y <= 0, 0.0, np.where(y >= _ceiling(relu), _ceiling(relu), y))


@np.errstate(all="ignore")
def batch_norm_backward(
    dy, x, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5, *, residual=None,
    relu=False,
) -> tuple[np.ndarray | None, ...]:  # fmt: skip
    """Return dx, None, None, dweight, dbias, dresidual.

    In training every element moves the mean and the variance, and through them every result: its gradient loses the
    mean of all gradients, and its own part of their slope along the normalised input.
    """
    g, dx = np.asarray(dy, np.float64), np.zeros(x.shape)
    dweight, dbias = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    if relu:
        running = [None if array is None else array.copy() for array in (running_mean, running_var)]
        y = batch_norm(x, *running, weight, bias, training, momentum, eps, residual=residual)
        g = np.where((y <= 0) | (y >= _ceiling(relu)), 0.0, g)
    for c in range(x.shape[1]):
        normal, deviation = _normalised(x[:, c], c, running_mean, running_var, training, eps)
        dweight[c], dbias[c] = (g[:, c] * normal).sum(), g[:, c].sum()
        inner = g[:, c] - dbias[c] / normal.size - normal * dweight[c] / normal.size if training else g[:, c]
        dx[:, c] = inner * (1 if weight is None else weight[c]) / deviation
    return (
        dx, None, None, None if weight is None else dweight, None if bias is None else dbias,
        None if residual is None else g,
    )  # fmt: skip


def _ceiling(relu: bool | float) -> float:
    return np.inf if relu is True else relu


def _normalised(channel, c, running_mean, running_var, training, eps) -> tuple[np.ndarray, float]:
    """Return (x - mean) / deviation, and the deviation."""
    channel = np.asarray(channel, np.float64)
    mean, variance = (channel.mean(), channel.var()) if training else (float(running_mean[c]), float(running_var[c]))
    deviation = np.sqrt(variance + eps)
    return (channel - mean) / deviation, deviation


def _affine(normal, c, weight, bias) -> np.ndarray:
    return normal * (1.0 if weight is None else float(weight[c])) + (0.0 if bias is None else float(bias[c]))
