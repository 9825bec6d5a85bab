"""The loss of classification."""

import numpy as np

from fastconv import runtime
from fastconv.arrays import check_shape, integers, reals
from fastconv.cpu import softmax as rows

REDUCTIONS = ("mean", "sum", "none")


def cross_entropy(x: np.ndarray, target: np.ndarray, reduction: str = "mean", *, return_saved: bool = False):
    """Cross entropy of logits and labels: ``-log_softmax(x)[target]``.

    Parameters
    ----------
    x : ndarray
        Logits, (n, c) or (n, c, ...), float32 or float64.
    target : ndarray
        Labels 0 ... c - 1, (n,) or (n, ...), of any integer dtype.
    reduction : {'mean', 'sum', 'none'}
        What is returned: the mean of all losses (NaN if there are none), their sum, or all of them.
    return_saved : bool
        Return what `cross_entropy_backward` takes as `saved`, too.

    Returns
    -------
    loss : NumPy scalar of the dtype of `x`, or ndarray
        For ``'none'`` an array of the shape of `target`.
    saved : ndarray
        The logarithms of the probabilities, in the shape of `x`. Only with `return_saved`.

    Raises
    ------
    TypeError, ValueError
        An array of another dtype or shape, a label outside its range, an unknown reduction.
    """
    x, target = _checked("cross_entropy", x, target, reduction)
    log_probability = _log_probability(x)
    losses = -np.take_along_axis(log_probability, target[..., None], -1)[..., 0]
    loss = losses if reduction == "none" else losses.sum(dtype=x.dtype)
    if reduction == "mean":
        loss = loss / x.dtype.type(target.size) if target.size else x.dtype.type(np.nan)
    return (loss, np.moveaxis(log_probability, -1, 1)) if return_saved else loss


def cross_entropy_backward(
    dy, x: np.ndarray, target: np.ndarray, reduction: str = "mean", *, saved: np.ndarray | None = None
) -> np.ndarray:
    """Gradient of `cross_entropy`: for each label the probabilities, less 1 at the label, times its share of dy.

    Parameters
    ----------
    dy : float or ndarray
        Gradient of the loss: a number, for ``'none'`` an array of the shape of `target`.
    x, target, reduction
        What `cross_entropy` was given.
    saved : ndarray, optional
        What `cross_entropy` returned with ``return_saved=True``; computed again without it.

    Returns
    -------
    ndarray
        `dx`, of the shape of `x`.

    Raises
    ------
    TypeError, ValueError
        An array of another dtype or shape, a label outside its range, an unknown reduction.
    """
    op = "cross_entropy_backward"
    x, target = _checked(op, x, target, reduction)
    if isinstance(dy, np.generic):
        dy = np.asarray(dy)
    elif type(dy) in (int, float):
        dy = np.asarray(dy, x.dtype)
    dy, x, saved = reals(op, dy=dy, x=x, saved=saved)
    check_shape(op, "dy", dy, target.shape if reduction == "none" else ())
    if saved is not None:
        check_shape(op, "saved", saved, x.shape)
    log_probability = _log_probability(x) if saved is None else _classes_last(saved)
    weight = runtime.empty(target.shape, x.dtype)
    weight[...] = dy / x.dtype.type(max(1, target.size)) if reduction == "mean" else dy
    dx = runtime.empty(log_probability.shape, x.dtype)
    rows.run(rows.cross_entropy_backward, log_probability, target, weight, dx)
    if x.ndim == 2:
        return dx
    result = runtime.empty(x.shape, x.dtype)
    np.copyto(result, np.moveaxis(dx, -1, 1))
    return result


def _classes_last(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(x, 1, -1))


def _log_probability(x: np.ndarray) -> np.ndarray:
    """Logarithm of the softmax of x, (n, c, ...), as rows, (n, ..., c)."""
    x = _classes_last(x)
    y = runtime.empty(x.shape, x.dtype)
    rows.run(rows.log_softmax, x, y)
    return y


def _checked(op: str, x: np.ndarray, target: np.ndarray, reduction: str) -> tuple[np.ndarray, np.ndarray]:
    (x,) = reals(op, x=x)
    if x.ndim < 2 or 0 in x.shape[1:]:
        raise ValueError(f"{op}: x must be logits (n, c) or (n, c, ...), none of them empty but n, got shape {x.shape}")
    target = integers(op, "target", target)
    check_shape(op, "target", target, (x.shape[0], *x.shape[2:]))
    if target.size and (target.min() < 0 or target.max() >= x.shape[1]):
        wrong = target[(target < 0) | (target >= x.shape[1])][0]
        raise ValueError(f"{op}: target must be labels from 0 to {x.shape[1] - 1}, the classes of x, got {wrong}")
    if not isinstance(reduction, str) or reduction not in REDUCTIONS:
        raise ValueError(f"{op}: reduction must be 'mean', 'sum' or 'none', got {reduction!r}")
    return x, target
