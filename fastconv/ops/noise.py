"""Dropout: of single elements, and of whole channels.

Which elements stay follows from a seed and a counter, and from nothing else: not from threads, nor from the device.
With the same two numbers the gradient finds them again, so nothing is kept. The words are those of Philox 4x32 with
seven rounds (J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, *Parallel random numbers: as easy as 1, 2, 3*, 2011).
Element i, counted in C order, has word ``i % 4`` of the block with the counter ``(i // 4, counter)`` and the key
`seed`, both in words of 32 bits, the lowest first; it stays if that is at least ``p * 2**32``. Of whole channels the
same holds for channel i.
"""

from inspect import cleandoc
from math import prod
from numbers import Real

import numpy as np

from fastconv import runtime
from fastconv.arguments import as_flag, as_int
from fastconv.arrays import check_shape, reals
from fastconv.cpu import philox
from fastconv.cpu.softmax import row_plan

LARGEST = 2**64 - 1


def dropout(x: np.ndarray, p: float = 0.5, training: bool = True, *, seed: int, counter: int = 0) -> np.ndarray:
    """Set a random share of all elements to 0, and divide the others by 1 - p.

    N. Srivastava et al., *Dropout: a simple way to prevent neural networks from overfitting* (2014),
    https://jmlr.org/papers/v15/srivastava14a.html.

    Parameters
    ----------
    x : ndarray
        float32 or float64, any shape.
    p : float
        Probability that an element becomes 0, from 0 to 1.
    training : bool
        Without it the result is a copy of `x`.
    seed, counter : int
        What the draw follows from, both from 0 to 2**64 - 1: `seed` for a layer, `counter` for each of its calls.

    Returns
    -------
    ndarray
        `y`, of the shape and dtype of `x`. As in PyTorch, infinite elements become NaN in place of 0.

    Raises
    ------
    TypeError, ValueError
        `x` is no array of float32 or float64, or an option is out of range.
    """
    return _drop("dropout", x, 0, p, training, seed, counter)


def dropout_backward(
    dy: np.ndarray, x: np.ndarray, p: float = 0.5, training: bool = True, *, seed: int, counter: int = 0
) -> np.ndarray:
    """Gradient of `dropout`: dy for what stayed, divided by 1 - p, and 0 elsewhere.

    Parameters
    ----------
    dy, x : ndarray
        Gradient of the result, and what `dropout` was given; of `x` only the shape and dtype count.
    p, training, seed, counter
        As `dropout` was given them.

    Returns
    -------
    ndarray
        `dx`, of the shape of `x`.

    Raises
    ------
    TypeError, ValueError
        Arrays of another dtype or shape, or an option is out of range.
    """
    return _drop_backward("dropout_backward", dy, x, 0, p, training, seed, counter)


def dropout2d(x: np.ndarray, p: float = 0.5, training: bool = True, *, seed: int, counter: int = 0) -> np.ndarray:
    """Set a random share of all channels to 0, each with all its places, and divide the others by 1 - p.

    J. Tompson et al., *Efficient object localization using convolutional networks* (2015), section 3.2,
    https://arxiv.org/abs/1411.4280.

    Parameters
    ----------
    x : ([n,] c, h, w) ndarray
        float32 or float64.
    p, training, seed, counter
        As in `dropout`; an element is a channel.

    Returns
    -------
    ndarray
        `y`, of the shape and dtype of `x`.

    Raises
    ------
    TypeError, ValueError
        `x` has another dtype or number of axes, or an option is out of range.
    """
    return _drop("dropout2d", x, 2, p, training, seed, counter)


def dropout2d_backward(
    dy: np.ndarray, x: np.ndarray, p: float = 0.5, training: bool = True, *, seed: int, counter: int = 0
) -> np.ndarray:
    """Gradient of `dropout2d`: dy for the channels that stayed, divided by 1 - p, and 0 elsewhere.

    Parameters
    ----------
    dy, x : ndarray
        Gradient of the result, and what `dropout2d` was given; of `x` only the shape and dtype count.
    p, training, seed, counter
        As `dropout2d` was given them.

    Returns
    -------
    ndarray
        `dx`, of the shape of `x`.

    Raises
    ------
    TypeError, ValueError
        Arrays of another dtype or shape, or an option is out of range.
    """
    return _drop_backward("dropout2d_backward", dy, x, 2, p, training, seed, counter)


SECTIONS = """

Parameters
----------
{arrays}
p, training, seed, counter
    As in `dropout2d`.

Returns
-------
ndarray
    `{result}`, of the shape of `x`.

Raises
------
TypeError, ValueError
    As `dropout2d`.
"""


def _like_dropout2d(function):
    """Decorate dropout of channels with another number of axes: the sections join its docstring."""
    if function.__name__.endswith("_backward"):
        sections = SECTIONS.format(arrays="dy, x : ndarray\n    Of one shape.", result="dx")
    else:
        sections = SECTIONS.format(arrays="x : ndarray\n    float32 or float64.", result="y")
    function.__doc__ = cleandoc(function.__doc__) + sections
    return function


@_like_dropout2d
def dropout1d(x: np.ndarray, p: float = 0.5, training: bool = True, *, seed: int, counter: int = 0) -> np.ndarray:
    """`dropout2d` of ([n,] c, l)."""
    return _drop("dropout1d", x, 1, p, training, seed, counter)


@_like_dropout2d
def dropout1d_backward(
    dy: np.ndarray, x: np.ndarray, p: float = 0.5, training: bool = True, *, seed: int, counter: int = 0
) -> np.ndarray:
    """Gradient of `dropout1d`."""
    return _drop_backward("dropout1d_backward", dy, x, 1, p, training, seed, counter)


@_like_dropout2d
def dropout3d(x: np.ndarray, p: float = 0.5, training: bool = True, *, seed: int, counter: int = 0) -> np.ndarray:
    """`dropout2d` of ([n,] c, d, h, w)."""
    return _drop("dropout3d", x, 3, p, training, seed, counter)


@_like_dropout2d
def dropout3d_backward(
    dy: np.ndarray, x: np.ndarray, p: float = 0.5, training: bool = True, *, seed: int, counter: int = 0
) -> np.ndarray:
    """Gradient of `dropout3d`."""
    return _drop_backward("dropout3d_backward", dy, x, 3, p, training, seed, counter)


# ---- what they share -------------------------------------------------------------------------------------------


def _drop(op: str, x: np.ndarray, axes: int, p: float, training: bool, seed: int, counter: int) -> np.ndarray:
    """Drop elements, or channels where these have `axes` axes after them."""
    (x,) = reals(op, x=x)
    as_flag(op, "training", training)
    if isinstance(p, bool) or not isinstance(p, Real):
        raise TypeError(f"{op}: p must be a number, got {p!r} ({type(p).__name__})")
    if not 0 <= p <= 1:
        raise ValueError(f"{op}: p must be between 0 and 1, got {p!r}")
    draw = np.array(
        [as_int(op, "counter", counter, high=LARGEST), as_int(op, "seed", seed, high=LARGEST)], np.uint64
    ).view(np.int64)
    if axes and x.ndim not in (axes + 1, axes + 2):
        raise ValueError(f"{op}: x must have {axes + 1} or {axes + 2} axes, got shape {x.shape}")
    y = runtime.empty(x.shape, x.dtype)
    if not training or p == 0:
        np.copyto(y, x)
    elif not axes:
        philox.dropout_plan(x.size, x.dtype, float(p))(x, draw, y)
    else:
        rows, columns = prod(x.shape[:-axes]), prod(x.shape[-axes:])
        factors, ones = np.empty(rows, x.dtype), np.ones(rows, x.dtype)
        philox.dropout_plan(rows, x.dtype, float(p))(ones, draw, factors)
        row_plan(philox.scale_rows, rows, columns, x.dtype)(x, factors, y)
    return y


def _drop_backward(op: str, dy: np.ndarray, x: np.ndarray, *options) -> np.ndarray:
    dy, x = reals(op, dy=dy, x=x)
    check_shape(op, "dy", dy, x.shape)
    return _drop(op, dy, *options)
