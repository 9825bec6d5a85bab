"""Convolution along one, two and three axes, and its gradients."""

import numpy as np

from fastconv.arguments import as_needs
from fastconv.arrays import reals
from fastconv.geometry import ConvGeometry
from fastconv.ops import passes
from fastconv.ops.batch import Form
from fastconv.ops.border import Border
from fastconv.ops.ending import Ending

Padding = int | str | tuple[int | tuple[int, int], ...]


def conv2d(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    stride: int | tuple[int, int] = 1,
    padding: Padding = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    layout: str = "NCHW",
    residual: np.ndarray | None = None,
    relu: bool | float = False,
    algorithm: str = "auto",
    precision: str = "fp32",
) -> np.ndarray:
    """Convolve in two dimensions (cross-correlation, as in every deep-learning library).

    The result is ::

        y[n, co, oh, ow] = b[co] + sum over ci, kh, kw of
            w[co, ci, kh, kw] * x[n, ci, oh * stride + kh * dilation - padding, ow * stride + kw * dilation - padding]

    Where the sum leaves `x` it adds nothing: NaN and Inf reach only outputs whose window holds them.

    Parameters
    ----------
    x : (n, ci, h, w) ndarray
        float32 or float64; (ci, h, w) is one sample, and its result has no batch axis either.
    w : (co, ci / groups, kh, kw) ndarray
    b : (co,) ndarray, optional
    stride, dilation : int or (int, int)
    padding : int, (int, int), ((int, int), (int, int)), 'same' or 'valid'
        What is put around the input: at both axes, at each axis, or at each end of each axis. ``'same'`` gives
        ``ceil(h / stride)`` rows, with the odd one of an odd number at the end, as TensorFlow does.
    groups : int
        The channels are split into this many independent convolutions.
    padding_mode : 'zeros', 'reflect', 'replicate' or 'circular'
        What stands in the padding: zeros, the input mirrored at its outermost element, that element, or the other end.
    layout : 'NCHW' or 'NHWC'
        Of `x` and of the result. Channels last are converted, which costs a pass over either array; `w` stays as it is.
    residual : (n, co, oh, ow) ndarray, optional
        Added to the result, as in a residual unit.
    relu : bool or float
        Whether negative results become 0, after that; a number is a ceiling as well, such as 6 for ReLU6. All of it
        happens as results are written, without another pass over memory.
    algorithm : 'auto', 'direct', 'winograd' or 'fft'
        ``'direct'`` sums the products as they stand. ``'winograd'`` does a 3 x 3 kernel of stride 1 with a quarter of
        the multiplications (A. Lavin and S. Gray, arXiv:1509.09308): in float32 errors relative to the largest output
        are up to 5e-6 instead of 1e-6. ``'fft'`` does kernels of 5 taps and more along an axis, stride 1, by Fourier
        transforms of tiles (M. Mathieu, M. Henaff and Y. LeCun, arXiv:1312.5851), with smaller errors than a direct
        sum. ``'auto'`` takes the fastest; the size of the batch has no part in that.
    precision : 'fp32' or 'strict'
        ``'strict'`` allows direct sums only.

    Returns
    -------
    (n, co, oh, ow) ndarray
        `y`, with ``oh = (h + before + after - dilation * (kh - 1) - 1) // stride + 1``; likewise `ow`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type or value; the message names it.
    MemoryError
        There is no memory for the result.
    """
    options = stride, padding, dilation, groups
    about = options, padding_mode, layout, relu, algorithm, precision
    return _convolve("conv2d", 2, x, w, b, residual, *about)


def conv2d_backward(
    dy: np.ndarray,
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    stride: int | tuple[int, int] = 1,
    padding: Padding = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
    needs: tuple[bool, bool, bool] = (True, True, True),
    *,
    padding_mode: str = "zeros",
    layout: str = "NCHW",
    residual: np.ndarray | None = None,
    relu: bool | float = False,
    saved: np.ndarray | None = None,
    algorithm: str = "auto",
    precision: str = "fp32",
) -> tuple[np.ndarray | None, ...]:
    """Gradients of `conv2d` with respect to its arrays.

    Parameters
    ----------
    dy : (n, co, oh, ow) ndarray
        Gradient of the result.
    x, w, b, stride, padding, dilation, groups
        What `conv2d` was given.
    needs : (bool, bool, bool)
        Which of the first three gradients are wanted.
    padding_mode, layout, residual, relu, algorithm, precision
        As in `conv2d`; the last two for each of the gradients.
    saved : (n, co, oh, ow) ndarray, optional
        The result of `conv2d`; computed again without it, if there is a ReLU. Of `residual` only the shape counts then.

    Returns
    -------
    dx, dw, db : ndarray or None
        None where it is not wanted, and for `db` where `b` is None.
    dresidual : ndarray
        Only if there is a `residual`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type or value; the message names it.
    MemoryError
        There is no memory for a result.
    """
    options = stride, padding, dilation, groups
    about = options, padding_mode, layout, relu, algorithm, precision
    return _convolve_backward("conv2d_backward", 2, dy, x, w, b, residual, saved, needs, *about)


def conv1d(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    stride: int | tuple[int] = 1,
    padding: Padding = 0,
    dilation: int | tuple[int] = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    layout: str = "NCW",
    residual: np.ndarray | None = None,
    relu: bool | float = False,
    algorithm: str = "auto",
    precision: str = "fp32",
) -> np.ndarray:
    """Convolve along one axis, as of signals; `conv2d` explains the options.

    Parameters
    ----------
    x : (n, ci, w) ndarray
        float32 or float64; (ci, w) is one sample, and its result has no batch axis either.
    w : (co, ci / groups, kw) ndarray
    b : (co,) ndarray, optional
    stride, padding, dilation, groups, padding_mode, layout, residual, relu, algorithm, precision
        As in `conv2d`, with one number for one axis and the layouts 'NCW' and 'NWC'.

    Returns
    -------
    (n, co, ow) ndarray
        `y`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type or value; the message names it.
    MemoryError
        There is no memory for the result.
    """
    options = stride, padding, dilation, groups
    about = options, padding_mode, layout, relu, algorithm, precision
    return _convolve("conv1d", 1, x, w, b, residual, *about)


def conv1d_backward(
    dy: np.ndarray,
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    stride: int | tuple[int] = 1,
    padding: Padding = 0,
    dilation: int | tuple[int] = 1,
    groups: int = 1,
    needs: tuple[bool, bool, bool] = (True, True, True),
    *,
    padding_mode: str = "zeros",
    layout: str = "NCW",
    residual: np.ndarray | None = None,
    relu: bool | float = False,
    saved: np.ndarray | None = None,
    algorithm: str = "auto",
    precision: str = "fp32",
) -> tuple[np.ndarray | None, ...]:
    """Gradients of `conv1d` with respect to its arrays.

    Parameters
    ----------
    dy : (n, co, ow) ndarray
        Gradient of the result.
    x, w, b, stride, padding, dilation, groups
        What `conv1d` was given.
    needs : (bool, bool, bool)
        Which of the first three gradients are wanted.
    padding_mode, layout, residual, relu, saved, algorithm, precision
        As in `conv2d_backward`.

    Returns
    -------
    dx, dw, db : ndarray or None
        None where it is not wanted, and for `db` where `b` is None.
    dresidual : ndarray
        Only if there is a `residual`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type or value; the message names it.
    MemoryError
        There is no memory for a result.
    """
    options = stride, padding, dilation, groups
    about = options, padding_mode, layout, relu, algorithm, precision
    return _convolve_backward("conv1d_backward", 1, dy, x, w, b, residual, saved, needs, *about)


def conv3d(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    stride: int | tuple[int, int, int] = 1,
    padding: Padding = 0,
    dilation: int | tuple[int, int, int] = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    layout: str = "NCDHW",
    residual: np.ndarray | None = None,
    relu: bool | float = False,
    algorithm: str = "auto",
    precision: str = "fp32",
) -> np.ndarray:
    """Convolve along three axes, as of volumes and videos; `conv2d` explains the options.

    Parameters
    ----------
    x : (n, ci, d, h, w) ndarray
        float32 or float64; (ci, d, h, w) is one sample, and its result has no batch axis either.
    w : (co, ci / groups, kd, kh, kw) ndarray
    b : (co,) ndarray, optional
    stride, padding, dilation, groups, padding_mode, layout, residual, relu, algorithm, precision
        As in `conv2d`, with three numbers for three axes and the layouts 'NCDHW' and 'NDHWC'.

    Returns
    -------
    (n, co, od, oh, ow) ndarray
        `y`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type or value; the message names it.
    MemoryError
        There is no memory for the result.
    """
    options = stride, padding, dilation, groups
    about = options, padding_mode, layout, relu, algorithm, precision
    return _convolve("conv3d", 3, x, w, b, residual, *about)


def conv3d_backward(
    dy: np.ndarray,
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    stride: int | tuple[int, int, int] = 1,
    padding: Padding = 0,
    dilation: int | tuple[int, int, int] = 1,
    groups: int = 1,
    needs: tuple[bool, bool, bool] = (True, True, True),
    *,
    padding_mode: str = "zeros",
    layout: str = "NCDHW",
    residual: np.ndarray | None = None,
    relu: bool | float = False,
    saved: np.ndarray | None = None,
    algorithm: str = "auto",
    precision: str = "fp32",
) -> tuple[np.ndarray | None, ...]:
    """Gradients of `conv3d` with respect to its arrays.

    Parameters
    ----------
    dy : (n, co, od, oh, ow) ndarray
        Gradient of the result.
    x, w, b, stride, padding, dilation, groups
        What `conv3d` was given.
    needs : (bool, bool, bool)
        Which of the first three gradients are wanted.
    padding_mode, layout, residual, relu, saved, algorithm, precision
        As in `conv2d_backward`.

    Returns
    -------
    dx, dw, db : ndarray or None
        None where it is not wanted, and for `db` where `b` is None.
    dresidual : ndarray
        Only if there is a `residual`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type or value; the message names it.
    MemoryError
        There is no memory for a result.
    """
    options = stride, padding, dilation, groups
    about = options, padding_mode, layout, relu, algorithm, precision
    return _convolve_backward("conv3d_backward", 3, dy, x, w, b, residual, saved, needs, *about)


def _convolve(
    op: str, ndim: int, x, w, b, residual, options: tuple, padding_mode: str, layout: str, relu: bool | float,
    algorithm: str, precision: str,
) -> np.ndarray:  # fmt: skip
    x, w, b, residual = reals(op, x=x, w=w, b=b, residual=residual)
    form = Form(op, ndim, x, layout)
    x, residual = form.inside(x), form.inside(residual)
    border = Border(op, _geometry(op, ndim, x, w, b, options), padding_mode)
    algorithm = passes.checked_algorithm(op, border.geometry, algorithm, precision)
    end = Ending(op, border.geometry.y_shape, residual, relu)
    return form.outside(passes.forward(border.add(x), w, b, border.geometry, algorithm, end))


def _convolve_backward(
    op: str, ndim: int, dy, x, w, b, residual, saved, needs: tuple, options: tuple, padding_mode: str, layout: str,
    relu: bool | float, algorithm: str, precision: str,
) -> tuple[np.ndarray | None, ...]:  # fmt: skip
    dy, x, w, b, residual, y = reals(op, dy=dy, x=x, w=w, b=b, residual=residual, saved=saved)
    form = Form(op, ndim, x, layout)
    dy, x, residual, y = map(form.inside, (dy, x, residual, y))
    geometry = _geometry(op, ndim, x, w, b, options)
    geometry.check_gradient(op, dy.shape)
    border = Border(op, geometry, padding_mode)
    algorithm = passes.checked_algorithm(op, border.geometry, algorithm, precision)
    need_x, need_w, need_b = as_needs(op, needs)
    end = Ending(op, geometry.y_shape, residual, relu)
    dy, *dresidual = end.backward(dy, y, lambda: passes.forward(border.add(x), w, b, border.geometry, algorithm, end))
    dx = dw = db = None
    if need_x:
        dx = form.outside(border.gather(passes.input_gradient(dy, w, None, border.geometry, algorithm)))
    if need_w:
        dw, db = passes.weight_gradient(border.add(x), dy, border.geometry, algorithm)
    elif need_b and b is not None:
        db = passes.bias_gradient(dy)
    return dx, dw, db if need_b and b is not None else None, *map(form.outside, dresidual)


def _geometry(op: str, ndim: int, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, options: tuple) -> ConvGeometry:
    b_shape = None if b is None else b.shape
    return ConvGeometry.make(op, x.shape, w.shape, b_shape, *options, ndim=ndim)
