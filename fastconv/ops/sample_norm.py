"""Normalisation of each sample by itself: of its last axes, or of groups of its channels."""

from collections.abc import Sequence
from math import prod

import numpy as np

from fastconv import runtime
from fastconv.arguments import as_flag, as_int, as_ints, as_needs
from fastconv.arrays import check_shape, reals
from fastconv.cpu import group_norm as group_kernels
from fastconv.cpu import layer_norm as layer_kernels
from fastconv.ops.statistics import EVERY, Saved, check_channels, check_eps, parts_of

Gradients = tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]

# ---- the last axes ---------------------------------------------------------------------------------------------


def layer_norm(
    x: np.ndarray,
    normalized_shape: int | Sequence[int],
    weight: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    eps: float = 1e-5,
    *,
    return_saved: bool = False,
):
    """Layer normalisation: mean 0 and variance 1 over the last axes, then `weight` and `bias` for each element of them.

    ``y = (x - mean) / sqrt(variance + eps) * weight + bias``, with the biased variance. J. L. Ba, J. R. Kiros, G. E.
    Hinton, *Layer Normalization* (2016), equation 4, https://arxiv.org/abs/1607.06450.

    Parameters
    ----------
    x : (..., *normalized_shape) ndarray
        float32 or float64.
    normalized_shape : int or sequence of int
        Sizes of the last axes.
    weight, bias : (*normalized_shape) ndarray, optional
    eps : float
        Added to the variance, >= 0.
    return_saved : bool
        Return what `layer_norm_backward` takes as `saved`, too.

    Returns
    -------
    y : ndarray
        Of the shape and dtype of `x`.
    saved : tuple of ndarray
        Mean and 1 / deviation of each row. Only with `return_saved`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type, shape or value; the message names it.
    """
    op = "layer_norm"
    as_flag(op, "return_saved", return_saved)
    x, weight, bias = reals(op, x=x, weight=weight, bias=bias)
    shape, rows = _check_layer(op, x, normalized_shape, weight, bias, eps)
    y, saved = _layer_forward(x, shape, rows, weight, bias, eps)
    return (y, saved) if return_saved else y


def layer_norm_backward(
    dy: np.ndarray,
    x: np.ndarray,
    normalized_shape: int | Sequence[int],
    weight: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    eps: float = 1e-5,
    *,
    saved: Saved | None = None,
    needs: tuple[bool, bool, bool] = EVERY,
) -> Gradients:
    """Gradients of `layer_norm`.

    Parameters
    ----------
    dy : ndarray
        Gradient of the result.
    x, normalized_shape, weight, bias, eps
        What `layer_norm` was given.
    saved : tuple of ndarray, optional
        What `layer_norm` returned with ``return_saved=True``; computed again without it.
    needs : (bool, bool, bool)
        Which of the gradients are wanted.

    Returns
    -------
    dx, dweight, dbias : ndarray or None
        None where it is not wanted or the argument was None.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type, shape or value; the message names it.
    """
    op = "layer_norm_backward"
    mean, rstd = parts_of(op, saved)
    dy, x, weight, bias, mean, rstd = reals(op, dy=dy, x=x, weight=weight, bias=bias, saved_mean=mean, saved_rstd=rstd)
    shape, rows = _check_layer(op, x, normalized_shape, weight, bias, eps)
    check_shape(op, "dy", dy, x.shape)
    if saved is None:
        _, (mean, rstd) = _layer_forward(x, shape, rows, weight, bias, eps)
    for name, part in (("mean", mean), ("rstd", rstd)):
        check_shape(op, f"saved {name}", part, rows)
    need_x, need_weight, need_bias = as_needs(op, needs)
    dx = runtime.empty(x.shape, x.dtype) if need_x else None
    dweight, dbias = np.zeros((2, *shape), x.dtype)
    if x.size:
        plan = layer_kernels.backward_plan(prod(rows), prod(shape), x.dtype)
        plan(dy, x, weight, mean, rstd, dx, dweight, dbias)
    dweight = dweight if need_weight and weight is not None else None
    return dx, dweight, dbias if need_bias and bias is not None else None


def _layer_forward(x, shape, rows, weight, bias, eps) -> tuple[np.ndarray, Saved]:
    y, mean, rstd = runtime.empty(x.shape, x.dtype), np.zeros(rows, x.dtype), np.zeros(rows, x.dtype)
    if x.size:
        layer_kernels.forward_plan(prod(rows), prod(shape), x.dtype, float(eps))(x, weight, bias, y, mean, rstd)
    return y, (mean, rstd)


def _check_layer(op: str, x, normalized_shape, weight, bias, eps) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the normalised shape, and that of the axes before."""
    check_eps(op, eps)
    axes = len(normalized_shape) if isinstance(normalized_shape, Sequence) else 1
    if not axes:
        raise ValueError(f"{op}: normalized_shape must have at least one axis, got {normalized_shape!r}")
    shape = as_ints(op, "normalized_shape", normalized_shape, axes, low=1)
    if x.shape[-axes:] != shape:
        raise ValueError(f"{op}: x must have shape (..., *normalized_shape) = (..., {shape}), got {x.shape}")
    for name, array in (("weight", weight), ("bias", bias)):
        if array is not None:
            check_shape(op, name, array, shape)
    return shape, x.shape[:-axes]


# ---- groups of channels ----------------------------------------------------------------------------------------


def group_norm(
    x: np.ndarray,
    num_groups: int,
    weight: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    eps: float = 1e-5,
    *,
    return_saved: bool = False,
):
    """Group normalisation: mean 0 and variance 1 over groups of channels, then `weight` and `bias` for each channel.

    ``y = (x - mean) / sqrt(variance + eps) * weight + bias``, with the biased variance of a sample's group. Y. Wu, K.
    He, *Group Normalization* (2018), equations 1 to 3 and 7, https://arxiv.org/abs/1803.08494.

    Parameters
    ----------
    x : (n, c, ...) ndarray
        float32 or float64.
    num_groups : int
        Divides c.
    weight, bias : (c,) ndarray, optional
    eps : float
        Added to the variance, >= 0.
    return_saved : bool
        Return what `group_norm_backward` takes as `saved`, too.

    Returns
    -------
    y : ndarray
        Of the shape and dtype of `x`.
    saved : tuple of ndarray
        Mean and 1 / deviation of each group, (n, num_groups). Only with `return_saved`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type, shape or value; the message names it.
    """
    op = "group_norm"
    as_flag(op, "return_saved", return_saved)
    x, weight, bias = reals(op, x=x, weight=weight, bias=bias)
    sizes = _check_groups(op, x, num_groups, weight, bias, eps)
    y, saved = _group_forward(x, sizes, weight, bias, eps)
    return (y, saved) if return_saved else y


def group_norm_backward(
    dy: np.ndarray,
    x: np.ndarray,
    num_groups: int,
    weight: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    eps: float = 1e-5,
    *,
    saved: Saved | None = None,
    needs: tuple[bool, bool, bool] = EVERY,
) -> Gradients:
    """Gradients of `group_norm`.

    Parameters
    ----------
    dy : ndarray
        Gradient of the result.
    x, num_groups, weight, bias, eps
        What `group_norm` was given.
    saved : tuple of ndarray, optional
        What `group_norm` returned with ``return_saved=True``; computed again without it.
    needs : (bool, bool, bool)
        Which of the gradients are wanted.

    Returns
    -------
    dx, dweight, dbias : ndarray or None
        None where it is not wanted or the argument was None.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type, shape or value; the message names it.
    """
    op = "group_norm_backward"
    mean, rstd = parts_of(op, saved)
    dy, x, weight, bias, mean, rstd = reals(op, dy=dy, x=x, weight=weight, bias=bias, saved_mean=mean, saved_rstd=rstd)
    sizes = _check_groups(op, x, num_groups, weight, bias, eps)
    check_shape(op, "dy", dy, x.shape)
    if saved is None:
        _, (mean, rstd) = _group_forward(x, sizes, weight, bias, eps)
    for name, part in (("mean", mean), ("rstd", rstd)):
        check_shape(op, f"saved {name}", part, sizes[:2])
    need_x, need_weight, need_bias = as_needs(op, needs)
    dx = runtime.empty(x.shape, x.dtype) if need_x else None
    dweight, dbias = np.zeros((2, x.shape[1]), x.dtype)
    if x.size:
        plan = group_kernels.backward_plan(sizes, x.dtype, need_x)
        plan(dy, x, _or_constant(weight, x, 1), mean, rstd, dx, dweight, dbias)
    dweight = dweight if need_weight and weight is not None else None
    return dx, dweight, dbias if need_bias and bias is not None else None


def _group_forward(x, sizes, weight, bias, eps) -> tuple[np.ndarray, Saved]:
    y, (mean, rstd) = runtime.empty(x.shape, x.dtype), np.zeros((2, *sizes[:2]), x.dtype)
    if x.size:
        plan = group_kernels.forward_plan(sizes, x.dtype, float(eps))
        plan(x, _or_constant(weight, x, 1), _or_constant(bias, x, 0), y, mean, rstd)
    return y, (mean, rstd)


def _check_groups(op: str, x, num_groups, weight, bias, eps) -> tuple[int, int, int, int]:
    """Return samples, groups, channels of a group and elements of a channel."""
    check_eps(op, eps)
    check_channels(op, x, 2, weight=weight, bias=bias)
    groups = as_int(op, "num_groups", num_groups, low=1)
    if x.shape[1] % groups:
        raise ValueError(f"{op}: num_groups must divide the {x.shape[1]} channels of x, got {groups}")
    return x.shape[0], groups, x.shape[1] // groups, prod(x.shape[2:])


def _or_constant(array: np.ndarray | None, x: np.ndarray, value: int) -> np.ndarray:
    return np.full(x.shape[1], value, x.dtype) if array is None else array
