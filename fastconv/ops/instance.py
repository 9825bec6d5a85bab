"""Normalisation of each channel of each sample by itself."""

from math import prod

import numpy as np

from fastconv.arguments import as_flag, as_needs
from fastconv.arrays import check_shape, reals
from fastconv.ops.norm import batch_norm, batch_norm_backward
from fastconv.ops.statistics import EVERY, Saved, check_channels, parts_of


def instance_norm(
    x: np.ndarray,
    running_mean: np.ndarray | None = None,
    running_var: np.ndarray | None = None,
    weight: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    return_saved: bool = False,
):
    """Instance normalisation: mean 0 and variance 1 over each channel of each sample, then `weight` and `bias`.

    It is `batch_norm` of the n * c channels of one sample. D. Ulyanov, A. Vedaldi, V. Lempitsky, *Instance
    Normalization* (2016), equation 5, https://arxiv.org/abs/1607.08022.

    Parameters
    ----------
    x : (n, c, ...) ndarray
        float32 or float64.
    running_mean, running_var : (c,) ndarray, optional
        With `use_input_stats` moved in place by `momentum` towards the samples' mean of the means and of the unbiased
        variances; without it they are used in place of those.
    weight, bias : (c,) ndarray, optional
    use_input_stats : bool
        Whether each channel's own mean and variance are used.
    momentum : float
        Share of the samples in the running statistics.
    eps : float
        Added to the variance, >= 0.
    return_saved : bool
        Return what `instance_norm_backward` takes as `saved`, too.

    Returns
    -------
    y : ndarray
        Of the shape and dtype of `x`.
    saved : tuple of ndarray
        Mean and 1 / deviation of each channel, (n, c). Only with `return_saved`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type, shape or value; the message names it. With `use_input_stats`, a channel needs at
        least two elements.
    """
    op = "instance_norm"
    as_flag(op, "return_saved", return_saved)
    given = {"running_mean": running_mean, "running_var": running_var}
    arrays = reals(op, x=x, **given, weight=weight, bias=bias)
    own, shape = _check_instances(op, *arrays, use_input_stats), arrays[0].shape[:2]
    for name, array in given.items():
        if use_input_stats and array is not None and not array.flags.writeable:
            raise ValueError(f"{op}: {name} is updated in place with use_input_stats, but it is read-only")
    if not own.size:
        y, saved = np.empty_like(arrays[0]), np.empty((2, *shape), own.dtype)
        return (y, tuple(saved)) if return_saved else y
    tiled = [None if array is None else np.tile(array, shape[0]) for array in arrays[1:]]
    y, saved = batch_norm(own, *tiled, use_input_stats, momentum, eps, return_saved=True)
    for array, moved in zip(given.values(), tiled, strict=False):
        if use_input_stats and array is not None:
            with np.errstate(all="ignore"):
                array[...] = moved.reshape(shape).mean(axis=0)
    y = y.reshape(arrays[0].shape)
    return (y, tuple(part.reshape(shape) for part in saved)) if return_saved else y


def instance_norm_backward(
    dy: np.ndarray,
    x: np.ndarray,
    running_mean: np.ndarray | None = None,
    running_var: np.ndarray | None = None,
    weight: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    saved: Saved | None = None,
    needs: tuple[bool, bool, bool] = EVERY,
) -> tuple[np.ndarray | None, None, None, np.ndarray | None, np.ndarray | None]:
    """Gradients of `instance_norm`. The running statistics have none, and are left as they are.

    Parameters
    ----------
    dy : ndarray
        Gradient of the result.
    x, running_mean, running_var, weight, bias, use_input_stats, momentum, eps
        As `instance_norm` was given them.
    saved : tuple of ndarray, optional
        What `instance_norm` returned with ``return_saved=True``; computed again without it.
    needs : (bool, bool, bool)
        Which of `dx`, `dweight` and `dbias` are wanted.

    Returns
    -------
    dx, None, None, dweight, dbias : ndarray or None
        None where it is not wanted or the argument was None.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type, shape or value; the message names it.
    """
    op = "instance_norm_backward"
    mean, rstd = parts_of(op, saved)
    dy, *arrays, mean, rstd = reals(
        op, dy=dy, x=x, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias, saved_mean=mean,
        saved_rstd=rstd,
    )  # fmt: skip
    own, shape = _check_instances(op, *arrays, use_input_stats), arrays[0].shape[:2]
    check_shape(op, "dy", dy, arrays[0].shape)
    if saved is not None:
        for name, part in (("mean", mean), ("rstd", rstd)):
            check_shape(op, f"saved {name}", part, shape)
        saved = mean.reshape(-1), rstd.reshape(-1)
    need_x, *need = as_needs(op, needs)
    if not own.size:
        dx, affine = np.empty_like(arrays[0]), np.zeros((2, *shape), own.dtype)
    else:
        tiled = [None if array is None else np.tile(array, shape[0]) for array in arrays[1:]]
        options = {"saved": saved, "needs": (need_x, *need)}
        dx, _, _, *affine, _ = batch_norm_backward(
            dy.reshape(own.shape), own, *tiled, use_input_stats, momentum, eps, **options
        )
    with np.errstate(all="ignore"):
        sums = [
            part.reshape(shape).sum(axis=0) if array is not None and wanted else None
            for part, array, wanted in zip(affine, arrays[3:], need, strict=True)
        ]
    return dx.reshape(arrays[0].shape) if need_x else None, None, None, *sums


def _check_instances(op: str, x, running_mean, running_var, weight, bias, use_input_stats: bool) -> np.ndarray:
    """Return x as one sample of n * c channels."""
    as_flag(op, "use_input_stats", use_input_stats)
    check_channels(op, x, 3, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    if use_input_stats and prod(x.shape[2:]) == 1:
        raise ValueError(f"{op}: a channel needs more than 1 element in a sample, got x of shape {x.shape}")
    if not use_input_stats and (running_mean is None or running_var is None):
        raise ValueError(f"{op}: running_mean and running_var are needed without use_input_stats, got None")
    return x.reshape(1, x.shape[0] * x.shape[1], *x.shape[2:])
