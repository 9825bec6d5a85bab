"""Losses. Their targets and weights are constants: a loss has one gradient, that of `x`.

``'mean'`` of nothing is NaN, as in PyTorch.
"""

from math import isfinite, prod
from numbers import Real

import numpy as np

from fastconv import runtime
from fastconv.arguments import as_flag
from fastconv.arrays import check_shape, reals
from fastconv.cpu import loss as kernels
from fastconv.cpu.softmax import row_plan
from fastconv.ops.reduction import check_reduction, reduced, share_of

Constant = np.ndarray | None


def mse_loss(x: np.ndarray, target: np.ndarray, reduction: str = "mean"):
    """Squared error, ``(x - target)**2``.

    Parameters
    ----------
    x, target : ndarray
        Of one shape, float32 or float64.
    reduction : {'mean', 'sum', 'none'}
        Whether the mean or the sum of all elements' losses is returned, or all of them.

    Returns
    -------
    NumPy scalar of the dtype of `x`, or ndarray
        For ``'none'`` an array of the shape of `x`.

    Raises
    ------
    TypeError, ValueError
        Arrays of another dtype or shape, an unknown reduction.
    """
    op = "mse_loss"
    x, target = _alike(op, reduction, x, target=target)
    return _evaluate(kernels.SQUARED, reduction, x, target)


def mse_loss_backward(dy, x: np.ndarray, target: np.ndarray, reduction: str = "mean") -> np.ndarray:
    """Gradient of `mse_loss`: ``2 * (x - target)``, times the share of dy.

    Parameters
    ----------
    dy : float or ndarray
        Gradient of the loss: a number, for ``'none'`` an array of the shape of `x`.
    x, target, reduction
        What `mse_loss` was given.

    Returns
    -------
    ndarray
        `dx`, of the shape of `x`.

    Raises
    ------
    TypeError, ValueError
        Arrays of another dtype or shape, an unknown reduction.
    """
    op = "mse_loss_backward"
    x, target = _alike(op, reduction, x, target=target)
    return _gradient(kernels.SQUARED, op, dy, reduction, x, target)


def binary_cross_entropy_with_logits(
    x: np.ndarray,
    target: np.ndarray,
    weight: Constant = None,
    reduction: str = "mean",
    pos_weight: Constant = None,
):
    """Cross entropy of ``sigmoid(x)`` and `target`, for each element.

    ``-weight * (pos_weight * target * log(sigmoid(x)) + (1 - target) * log(1 - sigmoid(x)))``, without overflow.

    Parameters
    ----------
    x, target : ndarray
        Logits, and what their sigmoids ought to be (0 ... 1); of one shape, float32 or float64.
    weight, pos_weight : ndarray, optional
        Factors of an element's loss, and of the part that `target` contributes; broadcast to the shape of `x`.
    reduction : {'mean', 'sum', 'none'}
        Whether the mean or the sum of all elements' losses is returned, or all of them.

    Returns
    -------
    NumPy scalar of the dtype of `x`, or ndarray
        For ``'none'`` an array of the shape of `x`.

    Raises
    ------
    TypeError, ValueError
        Arrays of another dtype, or of shapes that do not fit; an unknown reduction.
    """
    op = "binary_cross_entropy_with_logits"
    arrays = _alike(op, reduction, x, target=target, weight=weight, pos_weight=pos_weight)
    return _evaluate(kernels.LOGISTIC, reduction, *arrays)


def binary_cross_entropy_with_logits_backward(
    dy,
    x: np.ndarray,
    target: np.ndarray,
    weight: Constant = None,
    reduction: str = "mean",
    pos_weight: Constant = None,
) -> np.ndarray:
    """Gradient of `binary_cross_entropy_with_logits`; without weights ``sigmoid(x) - target``, times the share of dy.

    Parameters
    ----------
    dy : float or ndarray
        Gradient of the loss: a number, for ``'none'`` an array of the shape of `x`.
    x, target, weight, reduction, pos_weight
        What `binary_cross_entropy_with_logits` was given.

    Returns
    -------
    ndarray
        `dx`, of the shape of `x`.

    Raises
    ------
    TypeError, ValueError
        Arrays of another dtype, or of shapes that do not fit; an unknown reduction.
    """
    op = "binary_cross_entropy_with_logits_backward"
    arrays = _alike(op, reduction, x, target=target, weight=weight, pos_weight=pos_weight)
    return _gradient(kernels.LOGISTIC, op, dy, reduction, *arrays)


def dice_loss(x: np.ndarray, target: np.ndarray, smooth: float = 1.0, squared: bool = False, reduction: str = "mean"):
    """Soft Dice loss of a segmentation, one for each sample and class.

    ``1 - (2 * sum(x * target) + smooth) / (sum(x) + sum(target) + smooth)`` over the places of a plane; with `squared`,
    the squares of `x` and `target` are summed in the denominator. F. Milletari, N. Navab, S.-A. Ahmadi, *V-Net* (2016),
    section 3, https://arxiv.org/abs/1606.04797 (squared); M. Drozdzal et al. (2016), section 3,
    https://arxiv.org/abs/1608.04117 (not squared).

    Parameters
    ----------
    x, target : (n, c, ...) ndarray
        Probabilities, and what they ought to be; of one shape, float32 or float64.
    smooth : float
        What keeps the loss of an empty plane finite, >= 0.
    squared : bool
        Whether the denominator has squares.
    reduction : {'mean', 'sum', 'none'}
        Whether the mean or the sum of all losses is returned, or all of them.

    Returns
    -------
    NumPy scalar of the dtype of `x`, or ndarray
        For ``'none'`` an array (n, c).

    Raises
    ------
    TypeError, ValueError
        Arrays of another dtype or shape, an unknown reduction, a wrong option.
    """
    x, target, smooth = _check_dice("dice_loss", x, target, smooth, squared, reduction)
    both, sizes = _overlaps(x, target, smooth, squared)
    with np.errstate(all="ignore"):
        return reduced(1 - both / sizes, reduction)


def dice_loss_backward(
    dy, x: np.ndarray, target: np.ndarray, smooth: float = 1.0, squared: bool = False, reduction: str = "mean"
) -> np.ndarray:
    """Gradient of `dice_loss`: with its fraction N / D, ``(N / D * (1 or 2 * x) - 2 * target) / D``.

    Parameters
    ----------
    dy : float or ndarray
        Gradient of the loss: a number, for ``'none'`` an array (n, c).
    x, target, smooth, squared, reduction
        What `dice_loss` was given.

    Returns
    -------
    ndarray
        `dx`, of the shape of `x`.

    Raises
    ------
    TypeError, ValueError
        Arrays of another dtype or shape, an unknown reduction, a wrong option.
    """
    op = "dice_loss_backward"
    x, target, smooth = _check_dice(op, x, target, smooth, squared, reduction)
    share = np.broadcast_to(share_of(op, dy, reduction, x.dtype, x.shape[:2], prod(x.shape[:2])), x.shape[:2])
    both, sizes = _overlaps(x, target, smooth, squared)
    dx = runtime.empty(x.shape, x.dtype)
    with np.errstate(all="ignore"):
        of_target = np.ascontiguousarray(-2 * share / sizes)
        of_size = np.ascontiguousarray(share * both / sizes**2)
    _rows(kernels.overlap_gradients, x, squared)(x, target, of_target, of_size, dx)
    return dx


# ---- what they share -------------------------------------------------------------------------------------------


def _alike(op: str, reduction: str, x: np.ndarray, **constants: Constant) -> tuple[np.ndarray | None, ...]:
    """Return x and the constants, all in its shape: the target must have it, weights are broadcast."""
    check_reduction(op, reduction)
    if constants["target"] is None:
        raise TypeError(f"{op}: target must be a numpy.ndarray, got None")
    x, target, *weights = reals(op, x=x, **constants)
    check_shape(op, "target", target, x.shape)
    for k, (name, array) in enumerate(list(constants.items())[1:]):
        if array is not None:
            try:
                weights[k] = np.ascontiguousarray(np.broadcast_to(weights[k], x.shape))
            except ValueError:
                raise ValueError(
                    f"{op}: {name} of shape {array.shape} cannot be broadcast to the shape {x.shape} of x"
                ) from None
    return x, target, *weights


def _evaluate(loss: kernels.Loss, reduction: str, x: np.ndarray, *constants: Constant):
    if reduction == "none":
        losses = runtime.empty(x.shape, x.dtype)
        loss.write(x, *constants, losses)
        return losses
    total = loss.total(x, *constants)
    if reduction == "sum":
        return total
    return total / x.dtype.type(x.size) if x.size else x.dtype.type(np.nan)


def _gradient(loss: kernels.Loss, op: str, dy, reduction: str, x: np.ndarray, *constants: Constant) -> np.ndarray:
    share = share_of(op, dy, reduction, x.dtype, x.shape, x.size)
    dx = runtime.empty(x.shape, x.dtype)
    loss.write_gradient(x, *constants, share, dx)
    return dx


def _check_dice(op: str, x, target, smooth, squared, reduction) -> tuple[np.ndarray, np.ndarray, float]:
    x, target = _alike(op, reduction, x, target=target)
    as_flag(op, "squared", squared)
    if x.ndim < 2 or 0 in x.shape[1:]:
        raise ValueError(f"{op}: x must have shape (n, c, ...), empty at most in n, got {x.shape}")
    if isinstance(smooth, bool) or not isinstance(smooth, Real):
        raise TypeError(f"{op}: smooth must be a number, got {smooth!r} ({type(smooth).__name__})")
    if not (isfinite(smooth) and smooth >= 0):
        raise ValueError(f"{op}: smooth must be finite and >= 0, got {smooth!r}")
    return x, target, float(smooth)


def _rows(step, x: np.ndarray, squared: bool):
    return row_plan(step, prod(x.shape[:2]), prod(x.shape[2:]), x.dtype, squared=int(squared))


def _overlaps(x: np.ndarray, target: np.ndarray, smooth: float, squared: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return numerator and denominator of the Dice coefficient of each sample and class."""
    both, sizes = np.zeros((2, *x.shape[:2]), x.dtype)
    _rows(kernels.overlaps, x, squared)(x, target, both, sizes)
    return 2 * both + x.dtype.type(smooth), sizes + x.dtype.type(smooth)
