"""Transposed convolution along one, two and three axes, and its gradients.

It is the gradient of a convolution with respect to its input, so its three passes are the convolution's in other roles:
forward is the convolution's gradient for the input, and the gradient for the input is the convolution.
"""

import numpy as np

from fastconv.arguments import as_needs
from fastconv.arrays import reals
from fastconv.geometry import ConvTransposeGeometry
from fastconv.ops import passes
from fastconv.ops.batch import Form

Padding = int | tuple[int | tuple[int, int], ...]


def conv_transpose2d(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    stride: int | tuple[int, int] = 1,
    padding: Padding = 0,
    output_padding: int | tuple[int, int] = 0,
    groups: int = 1,
    dilation: int | tuple[int, int] = 1,
    *,
    layout: str = "NCHW",
    algorithm: str = "auto",
    precision: str = "fp32",
) -> np.ndarray:
    """Transposed convolution in two dimensions: each input is spread over a window of outputs.

    It is the gradient of `conv2d` with respect to its input, as a function of its own ::

        y[n, co, ih * stride + kh * dilation - padding, iw * stride + kw * dilation - padding] +=
            w[ci, co, kh, kw] * x[n, ci, ih, iw]        for all n, ci, co, kh, kw, ih, iw

    plus the bias; what falls outside of `y` is dropped. It is computed by the kernels of that gradient, at their speed.

    Parameters
    ----------
    x : (n, ci, h, w) ndarray
        float32 or float64; (ci, h, w) is one sample, and its result has no batch axis either.
    w : (ci, co / groups, kh, kw) ndarray
    b : (co,) ndarray, optional
    stride, dilation : int or (int, int)
    padding : int, (int, int) or ((int, int), (int, int))
        How much is cut off the output, as the convolution's padding adds it to its input.
    output_padding : int or (int, int)
        Rows and columns added at the end of the output, fewer than the stride or the dilation: with a stride several
        sizes of `y` give the size of `x`.
    groups : int
        The channels are split into this many independent convolutions.
    layout : 'NCHW' or 'NHWC'
        Of `x` and of the result. Channels last are converted, which costs a pass over either array.
    algorithm, precision : str
        As in `conv2d`.

    Returns
    -------
    (n, co, oh, ow) ndarray
        `y`, with ``oh = (h - 1) * stride - before - after + dilation * (kh - 1) + 1 + output_padding``.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type or value; the message names it.
    MemoryError
        There is no memory for the result.
    """
    options = stride, padding, output_padding, groups, dilation
    return _spread("conv_transpose2d", 2, x, w, b, options, layout, algorithm, precision)


def conv_transpose2d_backward(
    dy: np.ndarray,
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    stride: int | tuple[int, int] = 1,
    padding: Padding = 0,
    output_padding: int | tuple[int, int] = 0,
    groups: int = 1,
    dilation: int | tuple[int, int] = 1,
    needs: tuple[bool, bool, bool] = (True, True, True),
    *,
    layout: str = "NCHW",
    algorithm: str = "auto",
    precision: str = "fp32",
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """Gradients of `conv_transpose2d` with respect to its three arrays.

    Parameters
    ----------
    dy : (n, co, oh, ow) ndarray
        Gradient of the result.
    x, w, b, stride, padding, output_padding, groups, dilation
        What `conv_transpose2d` was given.
    needs : (bool, bool, bool)
        Which of the three gradients are wanted.
    layout, algorithm, precision : str
        As in `conv_transpose2d`; the last two for each of the gradients.

    Returns
    -------
    dx, dw, db : ndarray or None
        None where it is not wanted, and for `db` where `b` is None.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type or value; the message names it.
    MemoryError
        There is no memory for the result.
    """
    options = stride, padding, output_padding, groups, dilation
    about = options, needs, layout, algorithm, precision
    return _spread_backward("conv_transpose2d_backward", 2, dy, x, w, b, *about)


def conv_transpose1d(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    stride: int | tuple[int] = 1,
    padding: Padding = 0,
    output_padding: int | tuple[int] = 0,
    groups: int = 1,
    dilation: int | tuple[int] = 1,
    *,
    layout: str = "NCW",
    algorithm: str = "auto",
    precision: str = "fp32",
) -> np.ndarray:
    """Transposed convolution along one axis; `conv_transpose2d` explains the options.

    Parameters
    ----------
    x : (n, ci, w) ndarray
        float32 or float64; (ci, w) is one sample, and its result has no batch axis either.
    w : (ci, co / groups, kw) ndarray
    b : (co,) ndarray, optional
    stride, padding, output_padding, groups, dilation, layout, algorithm, precision
        As in `conv_transpose2d`, with the layouts 'NCW' and 'NWC'.

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
    options = stride, padding, output_padding, groups, dilation
    return _spread("conv_transpose1d", 1, x, w, b, options, layout, algorithm, precision)


def conv_transpose1d_backward(
    dy: np.ndarray,
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    stride: int | tuple[int] = 1,
    padding: Padding = 0,
    output_padding: int | tuple[int] = 0,
    groups: int = 1,
    dilation: int | tuple[int] = 1,
    needs: tuple[bool, bool, bool] = (True, True, True),
    *,
    layout: str = "NCW",
    algorithm: str = "auto",
    precision: str = "fp32",
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """Gradients of `conv_transpose1d` with respect to its three arrays.

    Parameters
    ----------
    dy : (n, co, ow) ndarray
        Gradient of the result.
    x, w, b, stride, padding, output_padding, groups, dilation
        What `conv_transpose1d` was given.
    needs : (bool, bool, bool)
        Which of the three gradients are wanted.
    layout, algorithm, precision : str
        As in `conv_transpose1d`; the last two for each of the gradients.

    Returns
    -------
    dx, dw, db : ndarray or None
        None where it is not wanted, and for `db` where `b` is None.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type or value; the message names it.
    MemoryError
        There is no memory for the result.
    """
    options = stride, padding, output_padding, groups, dilation
    about = options, needs, layout, algorithm, precision
    return _spread_backward("conv_transpose1d_backward", 1, dy, x, w, b, *about)


def conv_transpose3d(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    stride: int | tuple[int, int, int] = 1,
    padding: Padding = 0,
    output_padding: int | tuple[int, int, int] = 0,
    groups: int = 1,
    dilation: int | tuple[int, int, int] = 1,
    *,
    layout: str = "NCDHW",
    algorithm: str = "auto",
    precision: str = "fp32",
) -> np.ndarray:
    """Transposed convolution along three axes; `conv_transpose2d` explains the options.

    Parameters
    ----------
    x : (n, ci, d, h, w) ndarray
        float32 or float64; (ci, d, h, w) is one sample, and its result has no batch axis either.
    w : (ci, co / groups, kd, kh, kw) ndarray
    b : (co,) ndarray, optional
    stride, padding, output_padding, groups, dilation, layout, algorithm, precision
        As in `conv_transpose2d`, with the layouts 'NCDHW' and 'NDHWC'.

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
    options = stride, padding, output_padding, groups, dilation
    return _spread("conv_transpose3d", 3, x, w, b, options, layout, algorithm, precision)


def conv_transpose3d_backward(
    dy: np.ndarray,
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    stride: int | tuple[int, int, int] = 1,
    padding: Padding = 0,
    output_padding: int | tuple[int, int, int] = 0,
    groups: int = 1,
    dilation: int | tuple[int, int, int] = 1,
    needs: tuple[bool, bool, bool] = (True, True, True),
    *,
    layout: str = "NCDHW",
    algorithm: str = "auto",
    precision: str = "fp32",
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """Gradients of `conv_transpose3d` with respect to its three arrays.

    Parameters
    ----------
    dy : (n, co, od, oh, ow) ndarray
        Gradient of the result.
    x, w, b, stride, padding, output_padding, groups, dilation
        What `conv_transpose3d` was given.
    needs : (bool, bool, bool)
        Which of the three gradients are wanted.
    layout, algorithm, precision : str
        As in `conv_transpose3d`; the last two for each of the gradients.

    Returns
    -------
    dx, dw, db : ndarray or None
        None where it is not wanted, and for `db` where `b` is None.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type or value; the message names it.
    MemoryError
        There is no memory for the result.
    """
    options = stride, padding, output_padding, groups, dilation
    about = options, needs, layout, algorithm, precision
    return _spread_backward("conv_transpose3d_backward", 3, dy, x, w, b, *about)


def _spread(
    op: str, ndim: int, x, w, b, options: tuple, layout: str, algorithm: str, precision: str
) -> np.ndarray:  # fmt: skip
    x, w, b = reals(op, x=x, w=w, b=b)
    form = Form(op, ndim, x, layout)
    x = form.inside(x)
    convolution = _geometry(op, ndim, x, w, b, options).convolution
    algorithm = passes.checked_algorithm(op, convolution, algorithm, precision)
    return form.outside(passes.input_gradient(x, w, b, convolution, algorithm))


def _spread_backward(
    op: str, ndim: int, dy, x, w, b, options: tuple, needs: tuple, layout: str, algorithm: str, precision: str
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:  # fmt: skip
    dy, x, w, b = reals(op, dy=dy, x=x, w=w, b=b)
    form = Form(op, ndim, x, layout)
    dy, x = form.inside(dy), form.inside(x)
    geometry = _geometry(op, ndim, x, w, b, options)
    geometry.check_gradient(op, dy.shape)
    convolution = geometry.convolution
    algorithm = passes.checked_algorithm(op, convolution, algorithm, precision)
    need_x, need_w, need_b = as_needs(op, needs)
    dx = form.outside(passes.forward(dy, w, None, convolution, algorithm)) if need_x else None
    dw = passes.weight_gradient(dy, x, convolution, algorithm)[0] if need_w else None
    return dx, dw, passes.bias_gradient(dy) if need_b and b is not None else None


def _geometry(
    op: str, ndim: int, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, options: tuple
) -> ConvTransposeGeometry:
    b_shape = None if b is None else b.shape
    return ConvTransposeGeometry.make(op, x.shape, w.shape, b_shape, *options, ndim=ndim)
