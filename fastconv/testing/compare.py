"""Error bounds, and a check of gradients by central differences."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from fastconv.layers import Layer


def error_bound(magnitude: np.ndarray, products: int, dtype: DTypeLike) -> np.ndarray:
    """Return how far a directly computed sum may lie from the exact one, element by element.

    Parameters
    ----------
    magnitude : ndarray
        The same op on the absolute values of its arguments.
    products : int
        Number of products in a sum.
    dtype : dtype
        Type in which the sum was computed.

    Notes
    -----
    ``(n + 8) u B`` with the unit roundoff u holds for any order of summation: N. Higham, *Accuracy and Stability of
    Numerical Algorithms* (2nd edition, 2002), section 3.1. The 8 leaves room for the bias and second-order terms.
    """
    return (products + 8) * np.finfo(dtype).eps / 2 * magnitude


def gradcheck(
    f: Callable,
    f_backward: Callable,
    arrays: tuple[np.ndarray | None, ...],
    options: dict[str, Any] | None = None,
    rng: np.random.Generator | None = None,
    eps: float = 1e-5,
    tolerance: float = 1e-6,
) -> None:
    """Compare the gradients of an op with central differences, element by element.

    A random cotangent dy turns the op into the scalar ``sum(dy * f(*arrays))``, whose slope along each element of each
    float array is measured. (With ones for dy, as in ``sum(f(x))``, many wrong gradients pass.)

    Parameters
    ----------
    f, f_backward : callable
        ``f(*arrays, **options)`` gives one array; ``f_backward(dy, *arrays, **options)`` one gradient per float array.
    arrays : tuple of ndarray or None
        Arguments, in float64. Integer arrays (labels) have no gradient, and None has None.
    options : dict, optional
        Keyword arguments of both.
    rng : numpy.random.Generator, optional
        Source of dy.
    eps : float
        Step of the differences.
    tolerance : float
        Largest error allowed, relative to the gradient's largest element (or to 1, if that is smaller).

    Raises
    ------
    AssertionError
        A gradient is wrong; the message names the argument by its number and its worst element.
    """
    options = options or {}
    rng = np.random.default_rng(0) if rng is None else rng
    dy = np.asarray(rng.standard_normal(np.shape(f(*arrays, **options))))
    gradients = f_backward(dy, *arrays, **options)
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    differentiable = [number for number, array in enumerate(arrays) if array is None or array.dtype.kind == "f"]
    assert len(gradients) == len(differentiable), f"{len(gradients)} gradients for {len(differentiable)} float arrays"
    for number, gradient in zip(differentiable, gradients, strict=True):

        def scalar(changed, number=number):
            return np.sum(dy * f(*arrays[:number], changed, *arrays[number + 1 :], **options))

        slopes = None if arrays[number] is None else _central_differences(scalar, arrays[number], eps)
        _compare(f"argument {number}", gradient, slopes, tolerance)


def gradcheck_layer(layer: Layer, x: np.ndarray, rng: np.random.Generator, **options: float) -> None:
    """Compare the gradients of a layer, of its input and all parameters, with central differences.

    Parameters
    ----------
    layer : Layer
        Converted to float64; its parameters are what they were in the end.
    x : ndarray
        Input, in float64.
    rng : numpy.random.Generator
        Source of the cotangent.
    **options
        `eps` and `tolerance` of `gradcheck`.

    Raises
    ------
    AssertionError
        A gradient is wrong. Argument 0 is x; parameters follow by their number.
    """
    layer.astype(np.float64)
    params = [array.copy() for _, array in layer.named_parameters()]

    def put(values: tuple[np.ndarray, ...]) -> None:
        for (_, array), value in zip(layer.named_parameters(), values, strict=True):
            array[...] = value

    def f(x: np.ndarray, *values: np.ndarray) -> np.ndarray:
        put(values)
        return layer.forward(x)[0]

    def f_backward(dy: np.ndarray, x: np.ndarray, *values: np.ndarray) -> tuple[np.ndarray, ...]:
        put(values)
        layer.zero_grad()
        dx = layer.forward(x)[1](dy)
        return dx, *(gradient for _, gradient in layer.named_gradients())

    gradcheck(f, f_backward, (x, *params), {}, rng, **options)
    put(params)


def _central_differences(scalar: Callable, array: np.ndarray, eps: float) -> np.ndarray:
    slopes = np.zeros(array.shape)
    for place in np.ndindex(array.shape):
        up, down = array.copy(), array.copy()
        up[place] += eps
        down[place] -= eps
        slopes[place] = (scalar(up) - scalar(down)) / (up[place] - down[place])
    return slopes


def _compare(name: str, gradient: np.ndarray | None, slopes: np.ndarray | None, tolerance: float) -> None:
    assert np.shape(gradient) == np.shape(slopes) and (gradient is None) == (slopes is None), (
        f"{name}: the gradient should have shape {np.shape(slopes)}, but has {np.shape(gradient)}"
    )
    if slopes is None:
        return
    error = np.abs(gradient - slopes)
    limit = tolerance * max(1.0, np.abs(slopes).max(initial=0))
    if not np.all(error <= limit):  # a NaN fails too
        worst = np.unravel_index(np.argmax(error), error.shape)
        place = tuple(int(i) for i in worst)
        raise AssertionError(
            f"{name}: the gradient of element {place} is {gradient[place]:.9g}, but central differences give "
            f"{slopes[place]:.9g} (error {error[place]:.2g}, allowed {limit:.2g})"
        )
