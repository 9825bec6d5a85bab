"""Activations: functions of each element.

Where a gradient is simplest in terms of the result y, `saved` hands that on; given it, only the shape and the dtype of
x count. The other gradients need x, and save nothing.
"""

from collections.abc import Callable
from inspect import cleandoc, signature
from math import isfinite
from numbers import Real

import numpy as np

from fastconv import runtime
from fastconv.arrays import check_shape, reals
from fastconv.cpu import elementwise

FORWARD = """
Parameters
----------
x : ndarray
    float32 or float64, any shape.{options}

Returns
-------
ndarray
    `y`, of the shape and dtype of `x`.

Raises
------
TypeError{errors}
    `x` is no array of float32 or float64{or_option}.
"""
BACKWARD = """
Parameters
----------
dy, x : ndarray
    Gradient of the result, and what `{forward}` was given; of one shape and dtype.{options}{saved}

Returns
-------
ndarray
    `dx`, of the shape of `x`.

Raises
------
TypeError, ValueError
    Arrays of another dtype or shape{or_option}.
"""
SAVED = "\nsaved : ndarray, optional\n    The result of `{}`, which is computed again without it."


def documented(**options: str) -> Callable[[Callable], Callable]:
    """Decorate an activation or its gradient: what all have in common joins its docstring, and what `options` say."""

    def decorate(function: Callable) -> Callable:
        forward = function.__name__.removesuffix("_backward")
        sections = FORWARD if function.__name__ == forward else BACKWARD
        text = sections.format(
            forward=forward,
            options="".join(f"\n{name} : {about}" for name, about in options.items()),
            saved=SAVED.format(forward) if "saved" in signature(function).parameters else "",
            errors=", ValueError" if options else "",
            or_option=", or an option that is none" if options else "",
        )
        function.__doc__ = f"{cleandoc(function.__doc__)}\n{text}"
        return function

    return decorate


# ---- with kinks ------------------------------------------------------------------------------------------------


@documented()
def relu(x: np.ndarray) -> np.ndarray:
    """Rectified linear unit: ``max(x, 0)``. NaN stays NaN."""
    return _forward("relu", x)


@documented()
def relu_backward(dy: np.ndarray, x: np.ndarray, *, saved: np.ndarray | None = None) -> np.ndarray:
    """Gradient of `relu`: dy where ``x > 0`` or NaN, else 0. At 0 the slope is taken as 0."""
    return _backward("relu", dy, x, x if saved is None else saved)  # y > 0 where x > 0: x serves as well


@documented()
def relu6(x: np.ndarray) -> np.ndarray:
    """Rectified linear unit that stops at 6: ``min(max(x, 0), 6)``. NaN stays NaN.

    A. Krizhevsky, *Convolutional deep belief networks on CIFAR-10* (2010), section 2.2; used by MobileNet-v2.
    """
    return _forward("relu6", x)


@documented()
def relu6_backward(dy: np.ndarray, x: np.ndarray, *, saved: np.ndarray | None = None) -> np.ndarray:
    """Gradient of `relu6`: dy where ``0 < x < 6`` or NaN, else 0. At 0 and 6 the slope is taken as 0."""
    return _backward("relu6", dy, x, x if saved is None else saved)


SLOPE = "float\n    Slope below 0."


@documented(negative_slope=SLOPE)
def leaky_relu(x: np.ndarray, negative_slope: float = 0.01) -> np.ndarray:
    """Rectified linear unit that leaks: x where ``x > 0``, else ``negative_slope * x``.

    A. Maas, A. Hannun, A. Ng, *Rectifier nonlinearities improve neural network acoustic models* (2013), equation 2.
    """
    return _forward("leaky_relu", x, negative_slope=negative_slope)


@documented(negative_slope=SLOPE)
def leaky_relu_backward(dy: np.ndarray, x: np.ndarray, negative_slope: float = 0.01) -> np.ndarray:
    """Gradient of `leaky_relu`: dy where ``x > 0``, else ``negative_slope * dy``."""
    return _backward("leaky_relu", dy, x, x, negative_slope=negative_slope)


@documented()
def hardsigmoid(x: np.ndarray) -> np.ndarray:
    """Sigmoid of straight lines: ``relu6(x + 3) / 6``.

    A. Howard et al., *Searching for MobileNetV3* (2019), section 5.2, https://arxiv.org/abs/1905.02244.
    """
    return _forward("hardsigmoid", x)


@documented()
def hardsigmoid_backward(dy: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Gradient of `hardsigmoid`: ``dy / 6`` where ``-3 < x < 3`` or NaN, else 0."""
    return _backward("hardsigmoid", dy, x, x)


@documented()
def hardswish(x: np.ndarray) -> np.ndarray:
    """``x * relu6(x + 3) / 6``, close to `silu` and without an exponential.

    A. Howard et al., *Searching for MobileNetV3* (2019), section 5.2, https://arxiv.org/abs/1905.02244.
    """
    return _forward("hardswish", x)


@documented()
def hardswish_backward(dy: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Gradient of `hardswish`: ``dy * (x / 3 + 1 / 2)`` where ``-3 < x < 3`` or NaN, 0 below, dy above."""
    return _backward("hardswish", dy, x, x)


# ---- with exponentials -----------------------------------------------------------------------------------------


@documented()
def sigmoid(x: np.ndarray) -> np.ndarray:
    """Logistic function, ``1 / (1 + exp(-x))``, within 3 units in the last place."""
    return _forward("sigmoid", x)


@documented()
def sigmoid_backward(dy: np.ndarray, x: np.ndarray, *, saved: np.ndarray | None = None) -> np.ndarray:
    """Gradient of `sigmoid`: ``dy * y * (1 - y)``."""
    return _backward("sigmoid", dy, x, saved)


@documented()
def tanh(x: np.ndarray) -> np.ndarray:
    """Hyperbolic tangent, within 3 units in the last place."""
    return _forward("tanh", x)


@documented()
def tanh_backward(dy: np.ndarray, x: np.ndarray, *, saved: np.ndarray | None = None) -> np.ndarray:
    """Gradient of `tanh`: ``dy * (1 - y**2)``."""
    return _backward("tanh", dy, x, saved)


ALPHA = "float\n    Factor of the exponential."


@documented(alpha=ALPHA)
def elu(x: np.ndarray, alpha: float = 1.0) -> np.ndarray:
    """Exponential linear unit: x where ``x > 0``, else ``alpha * (exp(x) - 1)``.

    D.-A. Clevert, T. Unterthiner, S. Hochreiter (2016), equation 16, https://arxiv.org/abs/1511.07289.
    """
    return _forward("elu", x, alpha=alpha)


@documented(alpha=ALPHA)
def elu_backward(dy: np.ndarray, x: np.ndarray, alpha: float = 1.0) -> np.ndarray:
    """Gradient of `elu`: dy where ``x > 0``, else ``dy * alpha * exp(x)``."""
    return _backward("elu", dy, x, x, alpha=alpha)


@documented()
def silu(x: np.ndarray) -> np.ndarray:
    """Sigmoid linear unit, or swish: ``x * sigmoid(x)``, within 4 units in the last place.

    S. Elfwing, E. Uchibe, K. Doya (2018), equation 5, https://arxiv.org/abs/1702.03118.
    """
    return _forward("silu", x)


@documented()
def silu_backward(dy: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Gradient of `silu`: ``dy * s * (1 + x * (1 - s))`` with ``s = sigmoid(x)``."""
    return _backward("silu", dy, x, x)


APPROXIMATE = "{'none', 'tanh'}\n    Whether the distribution is exact, or ``tanh`` of a polynomial stands in for it."


@documented(approximate=APPROXIMATE)
def gelu(x: np.ndarray, approximate: str = "none") -> np.ndarray:
    """Gaussian error linear unit: x times the share of the normal distribution below x.

    ``x * (1 + erf(x / sqrt(2))) / 2``, within 8 units in the last place also where the sum is nearly 0; with `tanh`,
    ``x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))) / 2``. D. Hendrycks, K. Gimpel (2016), section 2,
    https://arxiv.org/abs/1606.08415.
    """
    return _forward(_gelu("gelu", approximate), x)


@documented(approximate=APPROXIMATE)
def gelu_backward(dy: np.ndarray, x: np.ndarray, approximate: str = "none") -> np.ndarray:
    """Gradient of `gelu`: dy times the share of the distribution below x, plus ``dy * x`` times its density."""
    return _backward(_gelu("gelu_backward", approximate), dy, x, x)


# ---- what they share -------------------------------------------------------------------------------------------


def _forward(name: str, x: np.ndarray, **option: float) -> np.ndarray:
    op = name.removesuffix("_tanh")
    (x,) = reals(op, x=x)
    y = runtime.empty(x.shape, x.dtype)
    elementwise.run(elementwise.FUNCTIONS[name].forward, x, y, option=_number(op, **option))
    return y


def _backward(name: str, dy: np.ndarray, x: np.ndarray, given: np.ndarray | None, **option: float) -> np.ndarray:
    """Return dx by what the gradient follows from: x, or y, which is computed where it is not given."""
    op = f"{name.removesuffix('_tanh')}_backward"
    dy, x, given = reals(op, dy=dy, x=x, saved=given)
    check_shape(op, "dy", dy, x.shape)
    given = _forward(name, x) if given is None else given
    check_shape(op, "saved", given, x.shape)
    dx = runtime.empty(x.shape, x.dtype)
    elementwise.run(elementwise.FUNCTIONS[name].backward, dy, given, dx, option=_number(op, **option))
    return dx


def _number(op: str, **option: float) -> float:
    """Return the one option that a function may have, checked."""
    for name, value in option.items():
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"{op}: {name} must be a number, got {value!r} ({type(value).__name__})")
        if not isfinite(value):
            raise ValueError(f"{op}: {name} must be finite, got {value!r}")
        return float(value)
    return 0.0


def _gelu(op: str, approximate: str) -> str:
    names = {"none": "gelu", "tanh": "gelu_tanh"}
    if not isinstance(approximate, str) or approximate not in names:
        raise ValueError(f"{op}: approximate must be 'none' or 'tanh', got {approximate!r}")
    return names[approximate]
