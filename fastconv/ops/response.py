"""Local response normalisation."""

from math import isfinite, prod
from numbers import Real

import numpy as np

from fastconv import runtime
from fastconv.arguments import as_flag, as_int
from fastconv.arrays import check_shape, reals
from fastconv.cpu import response_norm as kernels
from fastconv.ops.statistics import check_channels


def local_response_norm(
    x: np.ndarray,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
    *,
    return_saved: bool = False,
):
    """Divide each element by a power of the squares at its place in the channels around.

    ``y[c] = x[c] / (k + alpha / size * sum(x[c - size // 2 : c + (size - 1) // 2 + 1]**2))**beta``, where channels that
    do not exist count as 0. A. Krizhevsky, I. Sutskever, G. Hinton, *ImageNet classification with deep convolutional
    neural networks* (2012), section 3.3, whose alpha is ``alpha / size`` here, as in PyTorch.

    Parameters
    ----------
    x : (n, c, *size) ndarray
        float32 or float64.
    size : int
        Channels that count.
    alpha, beta, k : float
    return_saved : bool
        Return what `local_response_norm_backward` takes as `saved`, too.

    Returns
    -------
    y : ndarray
        Of the shape and dtype of `x`.
    saved : ndarray
        What is taken to the power beta, in the shape of `x`. Only with `return_saved`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type, shape or value; the message names it.
    """
    op = "local_response_norm"
    as_flag(op, "return_saved", return_saved)
    (x,) = reals(op, x=x)
    y, base = _forward(x, *_check(op, x, size, alpha, beta, k))
    return (y, base) if return_saved else y


def local_response_norm_backward(
    dy: np.ndarray,
    x: np.ndarray,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
    *,
    saved: np.ndarray | None = None,
) -> np.ndarray:
    """Gradient of `local_response_norm`.

    With b for what is taken to the power beta, ``dx = dy * b**-beta - 2 * beta * alpha / size * x * s``, where s sums
    ``dy * x * b**(-beta - 1)`` over the channels for which x counts.

    Parameters
    ----------
    dy : ndarray
        Gradient of the result.
    x, size, alpha, beta, k
        What `local_response_norm` was given.
    saved : ndarray, optional
        What `local_response_norm` returned with ``return_saved=True``; computed again without it.

    Returns
    -------
    ndarray
        `dx`, of the shape of `x`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type, shape or value; the message names it.
    """
    op = "local_response_norm_backward"
    dy, x, base = reals(op, dy=dy, x=x, saved=saved)
    options = _check(op, x, size, alpha, beta, k)
    check_shape(op, "dy", dy, x.shape)
    if base is None:
        _, base = _forward(x, *options)
    check_shape(op, "saved", base, x.shape)
    dx = runtime.empty(x.shape, x.dtype)
    kernels.backward_plan(_planes(x), x.dtype, *options[:3])(dy, x, base, dx)
    return dx


def _forward(x: np.ndarray, *options: float) -> tuple[np.ndarray, np.ndarray]:
    y, base = runtime.empty(x.shape, x.dtype), runtime.empty(x.shape, x.dtype)
    kernels.forward_plan(_planes(x), x.dtype, *options)(x, y, base)
    return y, base


def _planes(x: np.ndarray) -> tuple[int, int, int]:
    """Return samples, channels, and elements of a channel in a sample."""
    return x.shape[0], x.shape[1], prod(x.shape[2:])


def _check(op: str, x: np.ndarray, size: int, alpha: float, beta: float, k: float) -> tuple[int, float, float, float]:
    check_channels(op, x, 3)
    size = as_int(op, "size", size, low=1)
    for name, value in {"alpha": alpha, "beta": beta, "k": k}.items():
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"{op}: {name} must be a number, got {value!r} ({type(value).__name__})")
        if not isfinite(value):
            raise ValueError(f"{op}: {name} must be finite, got {value!r}")
    return size, float(alpha), float(beta), float(k)
