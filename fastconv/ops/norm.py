"""Batch normalisation, with an addend and ReLU after it."""

from math import isfinite, prod
from numbers import Real

import numpy as np

from fastconv import runtime
from fastconv.arguments import as_flag, as_needs, as_relu
from fastconv.arrays import check_shape, reals
from fastconv.cpu import norm

Saved = tuple[np.ndarray, ...]


def batch_norm(
    x: np.ndarray,
    running_mean: np.ndarray | None,
    running_var: np.ndarray | None,
    weight: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    residual: np.ndarray | None = None,
    relu: bool | float = False,
    return_saved: bool = False,
):
    """Batch normalisation: each channel is shifted and scaled to mean 0 and variance 1, then to `bias` and `weight`.

    ``y = (x - mean) / sqrt(variance + eps) * weight + bias``, then ``+ residual`` and ``max(y, 0)`` where asked for, in
    one pass. S. Ioffe and C. Szegedy, *Batch normalization* (2015), algorithms 1 and 2,
    https://arxiv.org/abs/1502.03167.

    Parameters
    ----------
    x : (n, c, *spatial) ndarray
        float32 or float64.
    running_mean, running_var : (c,) ndarray, optional
        Statistics of earlier batches: used without `training`, and updated IN PLACE with it.
    weight, bias : (c,) ndarray, optional
        1 and 0 if left out.
    training : bool
        Whether mean and (biased) variance are those of this batch.
    momentum : float
        Share of this batch in the updated running statistics, to which it contributes its unbiased variance.
    eps : float
        Added to the variance.
    residual : ndarray, optional
        Addend in the shape of `x`, as of a residual unit.
    relu : bool or float
        Whether negative results become 0; a number is a ceiling as well, such as 6 for ReLU6.
    return_saved : bool
        Return what `batch_norm_backward` takes as `saved`, too.

    Returns
    -------
    y : ndarray
        In the shape and dtype of `x`.
    saved : tuple of ndarray
        Mean and 1 / sqrt(variance + eps), (c,) each, and y if there is a residual under ReLU. Only with `return_saved`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type, shape or value; the message names it. With `training`, a channel needs at least
        two elements.
    """
    op = "batch_norm"
    as_flag(op, "return_saved", return_saved)
    arrays = reals(
        op, x=x, weight=weight, bias=bias, residual=residual, running_mean=running_mean, running_var=running_var
    )
    _check(op, *arrays, training, eps)
    _check_number(op, "momentum", momentum)
    given = running_mean, running_var
    if training:
        _check_writeable(op, *given)
    y, mean, rstd = _forward(*arrays, training, momentum, eps, as_relu(op, relu))
    for own, updated in zip(given, arrays[4:], strict=True):
        if training and own is not updated:  # in a layout that no kernel takes: the kernel had a copy
            np.copyto(own, updated)
    if not return_saved:
        return y
    return y, (mean, rstd, y) if relu and residual is not None else (mean, rstd)


def batch_norm_backward(
    dy: np.ndarray,
    x: np.ndarray,
    running_mean: np.ndarray | None,
    running_var: np.ndarray | None,
    weight: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    residual: np.ndarray | None = None,
    relu: bool | float = False,
    saved: Saved | None = None,
    needs: tuple[bool, bool, bool] = (True, True, True),
) -> tuple[np.ndarray | None, None, None, np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """Gradients of `batch_norm`. The running statistics have none, and are left as they are.

    Parameters
    ----------
    dy : ndarray
        Gradient of the result.
    x, running_mean, running_var, weight, bias, training, momentum, eps, residual, relu
        As `batch_norm` was given them.
    saved : tuple of ndarray, optional
        What `batch_norm` returned with ``return_saved=True``; computed again without it.
    needs : (bool, bool, bool)
        Which of `dx`, `dweight` and `dbias` are wanted.

    Returns
    -------
    dx, None, None, dweight, dbias, dresidual : ndarray or None
        None where it is not wanted or the argument was None.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type, shape or value; the message names it.
    """
    op = "batch_norm_backward"
    ceiling = as_relu(op, relu)
    masked = ceiling is not None and residual is not None
    mean, rstd, y = _parts(op, saved, masked)
    dy, mean, rstd, y, *arrays = reals(
        op, dy=dy, saved_mean=mean, saved_rstd=rstd, saved_y=y,
        x=x, weight=weight, bias=bias, residual=residual, running_mean=running_mean, running_var=running_var,
    )  # fmt: skip
    x, weight, bias, residual, *running = arrays
    _check(op, *arrays, training, eps)
    check_shape(op, "dy", dy, x.shape)
    if saved is None:
        running = (None, None) if training else running  # which a second forward pass must not move again
        y, mean, rstd = _forward(x, weight, bias, residual, *running, training, 0.0, eps, ceiling)
    check_shape(op, "saved mean", mean, x.shape[1:2])
    check_shape(op, "saved rstd", rstd, x.shape[1:2])
    if masked:
        check_shape(op, "saved y", y, x.shape)
    need_x, need_weight, need_bias = as_needs(op, needs)
    dx = runtime.empty(x.shape, x.dtype) if need_x else None
    dweight, dbias = np.zeros((2, x.shape[1]), x.dtype)
    dresidual = None if residual is None else runtime.empty(x.shape, x.dtype)
    plan = norm.backward_plan(_runs(x), x.dtype, training, masked, ceiling, need_x)
    plan(dy, x, y, *_scale_and_shift(x, weight, bias), mean, rstd, dx, dweight, dbias, dresidual)
    if residual is not None and not relu:
        np.copyto(dresidual, dy)
    dweight = dweight if need_weight and weight is not None else None
    return dx, None, None, dweight, dbias if need_bias and bias is not None else None, dresidual


# ---- what they share -------------------------------------------------------------------------------------------


def _runs(x: np.ndarray) -> tuple[int, int, int]:
    """Return the samples, the channels, and the elements of a channel in a sample."""
    return x.shape[0], x.shape[1], prod(x.shape[2:])


def _scale_and_shift(x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None) -> tuple[np.ndarray, ...]:
    channels = x.shape[1]
    return (
        np.ones(channels, x.dtype) if weight is None else weight,
        np.zeros(channels, x.dtype) if bias is None else bias,
    )


def _forward(
    x, weight, bias, residual, running_mean, running_var, training, momentum, eps, ceiling
) -> tuple[np.ndarray, ...]:
    """Return y, the mean, and 1 / sqrt(variance + eps); with `training`, move the running statistics."""
    mean, rstd = np.zeros((2, x.shape[1]), x.dtype)
    y = runtime.empty(x.shape, x.dtype)
    added = residual is not None
    plan = norm.forward_plan(_runs(x), x.dtype, training, float(momentum), float(eps), added, ceiling)
    plan(x, *_scale_and_shift(x, weight, bias), residual, running_mean, running_var, y, mean, rstd)
    return y, mean, rstd


def _check_number(op: str, name: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{op}: {name} must be a number, got {value!r} ({type(value).__name__})")
    if not (isfinite(value) and value >= 0):
        raise ValueError(f"{op}: {name} must be finite and >= 0, got {value!r}")


def _check(op: str, x, weight, bias, residual, running_mean, running_var, training: bool, eps: float) -> None:
    as_flag(op, "training", training)
    _check_number(op, "eps", eps)
    if x.ndim < 2 or 0 in x.shape[1:]:
        raise ValueError(f"{op}: x must have shape (n, c, ...), empty at most in n, got {x.shape}")
    per_channel = {"weight": weight, "bias": bias, "running_mean": running_mean, "running_var": running_var}
    for name, array in per_channel.items():
        if array is not None:
            check_shape(op, name, array, (x.shape[1],))
    if residual is not None:
        check_shape(op, "residual", residual, x.shape)
    if training and x.size == x.shape[1]:
        raise ValueError(f"{op}: training needs more than 1 element per channel, got x of shape {x.shape}")
    if not training and (running_mean is None or running_var is None):
        raise ValueError(f"{op}: running_mean and running_var are needed without training, got None")


def _check_writeable(op: str, running_mean: np.ndarray | None, running_var: np.ndarray | None) -> None:
    for name, array in (("running_mean", running_mean), ("running_var", running_var)):
        if array is not None and not array.flags.writeable:
            raise ValueError(f"{op}: {name} is updated in place in training, but it is read-only")


def _parts(op: str, saved: Saved | None, masked: bool) -> tuple[np.ndarray | None, ...]:
    """Return mean, 1 / deviation and y: None without `saved`, and y also unless ReLU came after an addend."""
    if saved is None:
        return None, None, None
    count = 3 if masked else 2
    if not isinstance(saved, tuple) or len(saved) != count or any(part is None for part in saved):
        raise TypeError(f"{op}: saved must be the tuple of {count} arrays from batch_norm(..., return_saved=True)")
    return (*saved, None)[:3]
