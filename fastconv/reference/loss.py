"""Losses, as loops over the labels or over the elements. Targets and weights are constants."""

import numpy as np

from fastconv.reference.activation import sigmoid
from fastconv.reference.softmax import log_softmax, softmax


@np.errstate(all="ignore")
def cross_entropy(
    x, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0
) -> np.ndarray | np.float64:
    """Return ``-sum over c of q[c] * log_softmax(x)[c]`` for logits x, (n, c, ...): the mean, the sum, or all.

    q is what is wanted: ``weight[c] * ((1 - label_smoothing) * p[c] + label_smoothing / classes)``, where p is 1 at the
    label and 0 elsewhere, or the target itself if it has probabilities. Where q is 0, nothing is added. The mean over
    labels is divided by the sum of their weights.
    """
    log_probability, shares, mass = log_softmax(x, dim=1), *_wanted(x, target, weight, ignore_index, label_smoothing)
    terms = np.where(shares == 0, 0.0, -shares * log_probability)
    return _reduced(terms.sum(axis=1), reduction, mass)


@np.errstate(all="ignore")
def cross_entropy_backward(
    dy, x, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0
) -> np.ndarray:
    """Return dx, (n, c, ...): for each place ``sum(q) * softmax(x) - q``, times its share of dy, if it counts."""
    shares, mass = _wanted(x, target, weight, ignore_index, label_smoothing)
    dx = shares.sum(axis=1, keepdims=True) * softmax(x, dim=1) - shares
    share = np.expand_dims(dy, 1) if reduction == "none" else _share(dy, reduction, mass)
    return dx * np.where(shares.any(axis=1, keepdims=True), share, 0.0)


def _wanted(x, target, weight, ignore_index, label_smoothing) -> tuple[np.ndarray, float]:
    """Return q in the shape of x, and what a mean is divided by."""
    classes = x.shape[1]
    weight = np.ones(classes) if weight is None else np.asarray(weight, np.float64)
    shares, mass = np.zeros(x.shape), 0.0
    for n, *place in np.ndindex(x.shape[0], *x.shape[2:]):
        if np.shape(target) == x.shape and target.dtype.kind == "f":
            p, mass = target[n, :, *place], mass + 1
        elif target[n, *place] == ignore_index:
            continue
        else:
            label = target[n, *place]
            p, mass = np.eye(classes)[label], mass + weight[label]
        shares[n, :, *place] = weight * ((1 - label_smoothing) * p + label_smoothing / classes)
    return shares, mass


@np.errstate(all="ignore")
def mse_loss(x, target, reduction="mean") -> np.ndarray | np.float64:
    """Return (x - target)**2: the mean, the sum, or all."""
    losses = (np.asarray(x, np.float64) - target) ** 2
    return _reduced(losses, reduction, losses.size)


@np.errstate(all="ignore")
def mse_loss_backward(dy, x, target, reduction="mean") -> np.ndarray:
    """Return 2 * (x - target), times the share of dy."""
    return 2 * (np.asarray(x, np.float64) - target) * _share(dy, reduction, np.size(x))


@np.errstate(all="ignore")
def binary_cross_entropy_with_logits(
    x, target, weight=None, reduction="mean", pos_weight=None
) -> np.ndarray | np.float64:
    """Return -weight * (pos_weight * target * log(s) + (1 - target) * log(1 - s)) with s = sigmoid(x)."""
    x = np.asarray(x, np.float64)
    weight, pos_weight = (1.0 if array is None else np.asarray(array, np.float64) for array in (weight, pos_weight))
    log_share = np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x)))
    losses = -weight * (pos_weight * target * log_share + (1 - target) * (log_share - x))
    return _reduced(losses, reduction, losses.size)


@np.errstate(all="ignore")
def binary_cross_entropy_with_logits_backward(
    dy, x, target, weight=None, reduction="mean", pos_weight=None
) -> np.ndarray:
    """Return weight * ((1 - target) * s - pos_weight * target * (1 - s)), times the share of dy."""
    x = np.asarray(x, np.float64)
    weight, pos_weight = (1.0 if array is None else np.asarray(array, np.float64) for array in (weight, pos_weight))
    slope = weight * ((1 - target) * sigmoid(x) - pos_weight * target * sigmoid(-x))
    return slope * _share(dy, reduction, x.size)


@np.errstate(all="ignore")
def dice_loss(x, target, smooth=1.0, squared=False, reduction="mean") -> np.ndarray | np.float64:
    """Return 1 - (2 * sum(x * target) + smooth) / (sum(x) + sum(target) + smooth) of each plane, or with squares."""
    losses = np.zeros(x.shape[:2])
    for plane in np.ndindex(losses.shape):
        above, below = _overlap(x[plane], target[plane], smooth, squared)
        losses[plane] = 1 - above / below
    return _reduced(losses, reduction, losses.size)


@np.errstate(all="ignore")
def dice_loss_backward(dy, x, target, smooth=1.0, squared=False, reduction="mean") -> np.ndarray:
    """Return dx: the rule for a quotient."""
    dx = np.zeros(x.shape)
    shares = np.broadcast_to(_share(dy, reduction, x.shape[0] * x.shape[1]), x.shape[:2])
    for plane in np.ndindex(x.shape[:2]):
        above, below = _overlap(x[plane], target[plane], smooth, squared)
        slope_above = 2 * np.asarray(target[plane], np.float64)
        slope_below = 2 * np.asarray(x[plane], np.float64) if squared else 1.0
        dx[plane] = -shares[plane] * (slope_above * below - above * slope_below) / below**2
    return dx


def _overlap(x, target, smooth, squared) -> tuple[float, float]:
    x, target = np.asarray(x, np.float64), np.asarray(target, np.float64)
    power = 2 if squared else 1
    return 2 * (x * target).sum() + smooth, (x**power).sum() + (target**power).sum() + smooth


def _reduced(losses, reduction, mass) -> np.ndarray | np.float64:
    """Return all losses, their sum, or that divided by `mass`; the mean over nothing is NaN."""
    if reduction == "none":
        return losses
    return losses.sum() / (mass if reduction == "mean" else 1)


def _share(dy, reduction, mass) -> np.ndarray:
    return np.asarray(dy, np.float64) / (mass if reduction == "mean" else 1)
