"""Cross entropy: the loss of classification, of whole images or of each of their places."""

from functools import lru_cache
from math import isfinite, prod
from numbers import Real

import numpy as np

from fastconv import runtime
from fastconv.arguments import as_flag, as_int
from fastconv.arrays import check_shape, integers, reals
from fastconv.cpu import cross_entropy as kernels
from fastconv.cpu.softmax import row_plan
from fastconv.cpu.softmax_planes import plane_plan
from fastconv.ops.reduction import check_reduction, reduced, share_of


def cross_entropy(
    x: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    return_saved: bool = False,
):
    """Cross entropy of logits and labels: ``-weight[target] * log_softmax(x)[target]``.

    With smoothing, a label's probability is ``1 - label_smoothing``, and ``label_smoothing / c`` is added to those of
    all classes: C. Szegedy et al. (2016), section 7, https://arxiv.org/abs/1512.00567. The mean is that of what is not
    ignored, divided by the sum of the labels' weights.

    Parameters
    ----------
    x : ndarray
        Logits, (n, c) or (n, c, ...), float32 or float64.
    target : ndarray
        Labels 0 ... c - 1, (n,) or (n, ...), of any integer dtype; or the probability of each class, of the shape and
        dtype of `x`, whose mean is then divided by the number of places.
    weight : (c,) ndarray, optional
        Weights of the classes.
    ignore_index : int
        Label whose loss is 0 and does not count.
    reduction : {'mean', 'sum', 'none'}
        What is returned: the mean of all losses (NaN if there are none), their sum, or all of them.
    label_smoothing : float
        From 0 to 1.
    return_saved : bool
        Return what `cross_entropy_backward` takes as `saved`, too.

    Returns
    -------
    loss : NumPy scalar of the dtype of `x`, or ndarray
        For ``'none'`` an array (n, ...).
    saved : (3, n, ...) ndarray
        Of each place the largest logit, the logarithm of the sum of exponentials below it, and the label's weight. Only
        with `return_saved`.

    Raises
    ------
    TypeError, ValueError
        An array of another dtype or shape, a label outside its range, a wrong option.
    """
    as_flag("cross_entropy", "return_saved", return_saved)
    call = _Call("cross_entropy", x, target, weight, ignore_index, reduction, label_smoothing)
    losses, saved = call.losses()
    loss = reduced(losses, reduction, call.mass(saved) if reduction == "mean" else 1)
    return (loss, saved) if return_saved else loss


def cross_entropy_backward(
    dy,
    x: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    saved: np.ndarray | None = None,
) -> np.ndarray:
    """Gradient of `cross_entropy`: of each place the probabilities less those that were wanted, times its share of dy.

    Parameters
    ----------
    dy : float or ndarray
        Gradient of the loss: a number, for ``'none'`` an array (n, ...).
    x, target, weight, ignore_index, reduction, label_smoothing
        What `cross_entropy` was given.
    saved : (3, n, ...) ndarray, optional
        What `cross_entropy` returned with ``return_saved=True``; computed again without it.

    Returns
    -------
    ndarray
        `dx`, of the shape of `x`.

    Raises
    ------
    TypeError, ValueError
        An array of another dtype or shape, a label outside its range, a wrong option.
    """
    op = "cross_entropy_backward"
    call = _Call(op, x, target, weight, ignore_index, reduction, label_smoothing)
    _, saved = reals(op, x=call.x, saved=saved)
    if saved is None:
        saved = call.losses()[1]
    check_shape(op, "saved", saved, (3, *call.shape))
    mass = call.mass(saved) if reduction == "mean" else 1
    return call.gradient(share_of(op, dy, reduction, call.x.dtype, call.shape, mass), saved)


class _Call:
    """The arguments of a call, checked, and what is computed from them.

    Labels are compared with logits where these lie. Probabilities, which are rare, have their classes moved to the end.
    """

    def __init__(self, op: str, x, target, weight, ignore_index, reduction, label_smoothing):
        check_reduction(op, reduction)
        self.smoothing = _share(op, label_smoothing)
        self.ignored = as_int(op, "ignore_index", ignore_index, low=-(2**31), high=2**31 - 1)
        self.x, weight = reals(op, x=x, weight=weight)
        if self.x.ndim < 2 or 0 in self.x.shape[1:]:
            raise ValueError(
                f"{op}: x must be logits (n, c) or (n, c, ...), none of them empty but n, got shape {self.x.shape}"
            )
        n, self.classes, *size = self.x.shape
        self.shape, self.places = (n, *size), prod(size)
        self.counts = weight is None  # whether the mass of a mean is a number of places
        self.weight, self.weights = _ones(self.classes, self.x.dtype) if weight is None else (weight, _total(weight))
        check_shape(op, "weight", self.weight, (self.classes,))
        self.probabilities = getattr(target, "shape", None) == self.x.shape and target.dtype.kind == "f"
        if self.probabilities:
            _, self.target = reals(op, x=self.x, target=target)
        else:
            self.target = integers(op, "target", target)
            check_shape(op, "target", self.target, self.shape)
            self._check_labels(op)

    def _check_labels(self, op: str) -> None:
        target = self.target
        in_range = target.view(np.uint64).max(initial=0) < self.classes  # negative labels become large ones
        self.counts = self.counts and in_range and not 0 <= self.ignored < self.classes
        if in_range:
            return
        wrong = target[((target < 0) | (target >= self.classes)) & (target != self.ignored)]
        if wrong.size:
            raise ValueError(
                f"{op}: target must be labels from 0 to {self.classes - 1}, the classes of x, or ignore_index "
                f"{self.ignored}, got {wrong[0]}"
            )

    def _run(self, rows, planes, *arrays: np.ndarray, **options: float) -> None:
        options |= {"hard": 1 - self.smoothing, "soft": self.smoothing / self.classes, "apart": prod(self.shape)}
        if not self.x.size:
            return
        if self.probabilities or self.places == 1:
            row_plan(rows, prod(self.shape), self.classes, self.x.dtype, **options)(*arrays)
        else:
            plane_plan(planes, self.shape[0], self.classes, self.places, self.x.dtype, **options)(*arrays)

    def losses(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the loss of each place, and what the way back needs."""
        saved, losses = (runtime.empty(shape, self.x.dtype) for shape in ((3, *self.shape), self.shape))
        if self.probabilities:
            arrays = _classes_last(self.x), _classes_last(self.target), self.weight, saved, losses
            self._run(kernels.row_losses_of_probabilities, None, *arrays)
        else:
            arrays = self.x, self.target, self.weight, saved, losses
            self._run(kernels.row_losses, kernels.plane_losses, *arrays, ignored=self.ignored)
        return losses, saved

    def mass(self, saved: np.ndarray) -> float:
        """Return what the mean is divided by."""
        with np.errstate(all="ignore"):
            return prod(self.shape) if self.counts or self.probabilities else saved[2].sum()

    def gradient(self, share: np.ndarray, saved: np.ndarray) -> np.ndarray:
        """Return dx, for the share of each place or of all."""
        options = {"share_step": int(share.size > 1)}
        if self.probabilities:
            arrays = _classes_last(self.x), _classes_last(self.target), self.weight, saved, share
            dx = runtime.empty(arrays[0].shape, self.x.dtype)
            self._run(kernels.row_gradients_of_probabilities, None, *arrays, dx, **options)
            return np.ascontiguousarray(np.moveaxis(dx, -1, 1))
        dx = runtime.empty(self.x.shape, self.x.dtype)
        arrays = self.x, self.target, self.weight, saved, self.weights, share, dx
        self._run(kernels.row_gradients, kernels.plane_gradients, *arrays, ignored=self.ignored, **options)
        return dx


@lru_cache(maxsize=64)
def _ones(classes: int, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Return equal weights and their sum."""
    return np.ones(classes, dtype), np.full(1, classes, dtype)


def _total(weight: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return weight.sum().reshape(1)


def _classes_last(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(x, 1, -1))


def _share(op: str, label_smoothing: float) -> float:
    if isinstance(label_smoothing, bool) or not isinstance(label_smoothing, Real):
        raise TypeError(f"{op}: label_smoothing must be a number, got {label_smoothing!r}")
    if not (isfinite(label_smoothing) and 0 <= label_smoothing <= 1):
        raise ValueError(f"{op}: label_smoothing must be between 0 and 1, got {label_smoothing!r}")
    return float(label_smoothing)
