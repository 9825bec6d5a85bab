"""Activations, and the softmax family, which normalises along one axis.

Each gradient here is simplest in terms of the result y. So what `saved` hands on is y, and where it is given, only the
shape and the dtype of x count.
"""

from collections.abc import Callable

import numpy as np

from fastconv import runtime
from fastconv.arguments import as_int
from fastconv.arrays import check_shape, reals
from fastconv.cpu import elementwise
from fastconv.cpu import softmax as rows
from fastconv.cpu.loop import Kernel


def relu(x: np.ndarray) -> np.ndarray:
    """Rectified linear unit: ``max(x, 0)``. NaN stays NaN.

    Parameters
    ----------
    x : ndarray
        float32 or float64, any shape.

    Returns
    -------
    ndarray
        `y`, of the shape and dtype of `x`.

    Raises
    ------
    TypeError
        `x` is no array of float32 or float64.
    """
    return _each("relu", elementwise.relu, x)


def relu_backward(dy: np.ndarray, x: np.ndarray, *, saved: np.ndarray | None = None) -> np.ndarray:
    """Gradient of `relu`: dy where ``x > 0`` or NaN, else 0. At 0 the slope is taken as 0.

    Parameters
    ----------
    dy, x : ndarray
        Gradient of the result, and what `relu` was given; of one shape and dtype.
    saved : ndarray, optional
        The result of `relu`.

    Returns
    -------
    ndarray
        `dx`, of the shape of `x`.

    Raises
    ------
    TypeError, ValueError
        Arrays of another dtype or shape.
    """
    return _each_backward("relu_backward", elementwise.relu_backward, lambda x: x, dy, x, saved)


def relu6(x: np.ndarray) -> np.ndarray:
    """Rectified linear unit that stops at 6: ``min(max(x, 0), 6)``. NaN stays NaN.

    A. Krizhevsky, *Convolutional deep belief networks on CIFAR-10* (2010), section 2.2; used by MobileNet-v2.

    Parameters
    ----------
    x : ndarray
        float32 or float64, any shape.

    Returns
    -------
    ndarray
        `y`, of the shape and dtype of `x`.

    Raises
    ------
    TypeError
        `x` is no array of float32 or float64.
    """
    return _each("relu6", elementwise.relu6, x)


def relu6_backward(dy: np.ndarray, x: np.ndarray, *, saved: np.ndarray | None = None) -> np.ndarray:
    """Gradient of `relu6`: dy where ``0 < x < 6`` or NaN, else 0. At 0 and 6 the slope is taken as 0.

    Parameters
    ----------
    dy, x : ndarray
        Gradient of the result, and what `relu6` was given; of one shape and dtype.
    saved : ndarray, optional
        The result of `relu6`.

    Returns
    -------
    ndarray
        `dx`, of the shape of `x`.

    Raises
    ------
    TypeError, ValueError
        Arrays of another dtype or shape.
    """
    return _each_backward("relu6_backward", elementwise.relu6_backward, lambda x: x, dy, x, saved)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Logistic function, ``1 / (1 + exp(-x))``.

    Parameters
    ----------
    x : ndarray
        float32 or float64, any shape.

    Returns
    -------
    ndarray
        `y`, of the shape and dtype of `x`; within 3 units in the last place.

    Raises
    ------
    TypeError
        `x` is no array of float32 or float64.
    """
    return _each("sigmoid", elementwise.sigmoid, x)


def sigmoid_backward(dy: np.ndarray, x: np.ndarray, *, saved: np.ndarray | None = None) -> np.ndarray:
    """Gradient of `sigmoid`: ``dy * y * (1 - y)``.

    Parameters
    ----------
    dy, x : ndarray
        Gradient of the result, and what `sigmoid` was given; of one shape and dtype.
    saved : ndarray, optional
        The result of `sigmoid`, which is computed again without it.

    Returns
    -------
    ndarray
        `dx`, of the shape of `x`.

    Raises
    ------
    TypeError, ValueError
        Arrays of another dtype or shape.
    """
    return _each_backward("sigmoid_backward", elementwise.sigmoid_backward, sigmoid, dy, x, saved)


def tanh(x: np.ndarray) -> np.ndarray:
    """Hyperbolic tangent.

    Parameters
    ----------
    x : ndarray
        float32 or float64, any shape.

    Returns
    -------
    ndarray
        `y`, of the shape and dtype of `x`; within 2 units in the last place.

    Raises
    ------
    TypeError
        `x` is no array of float32 or float64.
    """
    return _each("tanh", elementwise.tanh, x)


def tanh_backward(dy: np.ndarray, x: np.ndarray, *, saved: np.ndarray | None = None) -> np.ndarray:
    """Gradient of `tanh`: ``dy * (1 - y**2)``.

    Parameters
    ----------
    dy, x : ndarray
        Gradient of the result, and what `tanh` was given; of one shape and dtype.
    saved : ndarray, optional
        The result of `tanh`, which is computed again without it.

    Returns
    -------
    ndarray
        `dx`, of the shape of `x`.

    Raises
    ------
    TypeError, ValueError
        Arrays of another dtype or shape.
    """
    return _each_backward("tanh_backward", elementwise.tanh_backward, tanh, dy, x, saved)


def softmax(x: np.ndarray, dim: int = -1) -> np.ndarray:
    """Exponentials that are scaled to sum to 1 along an axis.

    Parameters
    ----------
    x : ndarray
        float32 or float64, at least one axis.
    dim : int
        Axis along which the sum runs.

    Returns
    -------
    ndarray
        `y`, of the shape and dtype of `x`.

    Raises
    ------
    TypeError, ValueError
        `x` is no array of float32 or float64, or `dim` is not one of its axes.
    """
    return _along("softmax", rows.softmax, dim, x=x)


def softmax_backward(dy: np.ndarray, x: np.ndarray, dim: int = -1, *, saved: np.ndarray | None = None) -> np.ndarray:
    """Gradient of `softmax`: ``y * (dy - sum(dy * y))``.

    Parameters
    ----------
    dy, x : ndarray
        Gradient of the result, and what `softmax` was given; of one shape and dtype.
    dim : int
        Axis along which the sum runs.
    saved : ndarray, optional
        The result of `softmax`, which is computed again without it.

    Returns
    -------
    ndarray
        `dx`, of the shape of `x`.

    Raises
    ------
    TypeError, ValueError
        Arrays of another dtype or shape, or `dim` is not one of their axes.
    """
    return _along_backward("softmax_backward", rows.softmax_backward, softmax, dim, dy, x, saved)


def log_softmax(x: np.ndarray, dim: int = -1) -> np.ndarray:
    """Logarithm of `softmax`, exact also where that underflows.

    Parameters
    ----------
    x : ndarray
        float32 or float64, at least one axis.
    dim : int
        Axis along which the sum runs.

    Returns
    -------
    ndarray
        `y`, of the shape and dtype of `x`.

    Raises
    ------
    TypeError, ValueError
        `x` is no array of float32 or float64, or `dim` is not one of its axes.
    """
    return _along("log_softmax", rows.log_softmax, dim, x=x)


def log_softmax_backward(
    dy: np.ndarray, x: np.ndarray, dim: int = -1, *, saved: np.ndarray | None = None
) -> np.ndarray:
    """Gradient of `log_softmax`: ``dy - exp(y) * sum(dy)``.

    Parameters
    ----------
    dy, x : ndarray
        Gradient of the result, and what `log_softmax` was given; of one shape and dtype.
    dim : int
        Axis along which the sum runs.
    saved : ndarray, optional
        The result of `log_softmax`, which is computed again without it.

    Returns
    -------
    ndarray
        `dx`, of the shape of `x`.

    Raises
    ------
    TypeError, ValueError
        Arrays of another dtype or shape, or `dim` is not one of their axes.
    """
    return _along_backward("log_softmax_backward", rows.log_softmax_backward, log_softmax, dim, dy, x, saved)


# ---- what they share -------------------------------------------------------------------------------------------


def _each(op: str, step: Kernel, x: np.ndarray) -> np.ndarray:
    (x,) = reals(op, x=x)
    y = runtime.empty(x.shape, x.dtype)
    elementwise.run(step, x, y)
    return y


def _each_backward(op: str, step: Kernel, forward: Callable, dy, x, saved) -> np.ndarray:
    dy, x, y = _checked(op, forward, dy, x, saved)
    dx = runtime.empty(x.shape, x.dtype)
    elementwise.run(step, dy, y, dx)
    return dx


def _checked(op: str, forward: Callable, dy, x, saved) -> tuple[np.ndarray, ...]:
    """Return dy, x and the result of `forward`, which is `saved` where that is given."""
    dy, x, saved = reals(op, dy=dy, x=x, saved=saved)
    check_shape(op, "dy", dy, x.shape)
    if saved is None:
        saved = forward(x)
    check_shape(op, "saved", saved, x.shape)
    return dy, x, saved


def _along(op: str, step: Kernel, dim: int, **named: np.ndarray) -> np.ndarray:
    """Run a kernel whose rows lie along axis `dim` of its arrays; moved there and back if that is not the last."""
    arrays = reals(op, **named)
    shape, dtype = arrays[0].shape, arrays[0].dtype
    if not shape:
        raise ValueError(f"{op}: x must have at least one axis, got shape ()")
    dim = as_int(op, "dim", dim, low=-len(shape), high=len(shape) - 1)
    moved = [np.ascontiguousarray(np.moveaxis(array, dim, -1)) for array in arrays]
    result = runtime.empty(moved[0].shape, dtype)
    rows.run(step, *moved, result)
    if dim % len(shape) == len(shape) - 1:
        return result
    y = runtime.empty(shape, dtype)
    np.copyto(y, np.moveaxis(result, -1, dim))
    return y


def _along_backward(op: str, step: Kernel, forward: Callable, dim: int, dy, x, saved) -> np.ndarray:
    dy, _, y = _checked(op, lambda x: forward(x, dim), dy, x, saved)
    return _along(op, step, dim, dy=dy, y=y)
