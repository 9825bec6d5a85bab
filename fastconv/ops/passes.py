"""The three passes of a convolution, in the roles in which a convolution and a transposed one call them."""

from collections.abc import Callable

import numpy as np

from fastconv import runtime
from fastconv.arguments import as_word
from fastconv.cpu import choose, direct, direct_weight
from fastconv.cpu.epilogue import Epilogue
from fastconv.cpu.loop import Program
from fastconv.geometry import ConvGeometry
from fastconv.ops.ending import NO_ENDING, Ending

ALGORITHMS = ("auto", "direct", "winograd", "fft")
PRECISIONS = ("fp32", "strict")


def forward(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, geometry: ConvGeometry, algorithm: str, end: Ending = NO_ENDING
) -> np.ndarray:
    """Return y."""
    y = runtime.empty(geometry.y_shape, x.dtype)
    if y.size:
        about = geometry, x.dtype, b is not None, algorithm, end.epilogue
        forward_program(*about, lambda: np.isfinite(w).all())(x, w, b, y, *end.arrays)
    return y


def forward_program(
    geometry: ConvGeometry, dtype: np.dtype, bias: bool, algorithm: str, epilogue: Epilogue, finite: Callable[[], bool],
    prepacked: bool = False,
) -> Program:  # fmt: skip
    """Return the program of y; an exact one where weights that are not finite would make NaN of padding."""
    folded = geometry.folded()
    plan = choose.forward_plan(folded, dtype, bias, algorithm, epilogue, prepacked)
    if plan.multiplies_padding and not finite():
        return direct.forward_plan(folded, dtype, bias, epilogue, exact=True)
    return plan


def input_gradient(
    dy: np.ndarray, w: np.ndarray, b: np.ndarray | None, geometry: ConvGeometry, algorithm: str
) -> np.ndarray:
    """Return dx, plus a bias: with one it is the result of a transposed convolution."""
    dx = runtime.empty(geometry.x_shape, dy.dtype)
    if dx.size:
        about = geometry.folded(), dy.dtype, b is not None
        plan = choose.backward_data_plan(*about, algorithm)
        if plan.multiplies_padding and not np.isfinite(w).all():
            plan = direct.backward_data_plan(*about, exact=True)
        plan(dy, w, b, dx)
    return dx


def weight_gradient(
    x: np.ndarray, dy: np.ndarray, geometry: ConvGeometry, algorithm: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return dw and db, the sums of dy."""
    dw = runtime.empty(geometry.w_shape, x.dtype)
    db = runtime.empty((geometry.out_channels,), x.dtype)
    folded = geometry.folded()
    plan = choose.backward_weight_plan(folded, x.dtype, algorithm)
    plan(x, dy, dw, db)
    if plan.multiplies_padding and not np.isfinite(dw).all():  # 0 * inf: perhaps from padding, which adds nothing
        direct_weight.backward_weight_plan(folded, x.dtype, exact=True)(x, dy, dw, db)
    return dw, db


@np.errstate(all="ignore")  # Inf - Inf is NaN, without a word, as in the kernels
def bias_gradient(dy: np.ndarray) -> np.ndarray:
    """Return the sum over all pixels of each channel."""
    return dy.sum(axis=(0, *range(2, dy.ndim)))


def checked_algorithm(op: str, geometry: ConvGeometry, algorithm: str, precision: str) -> str:
    """Return the algorithm to choose from.

    Raises
    ------
    TypeError, ValueError
        `algorithm` or `precision` is unknown, they contradict each other, or the algorithm does not fit.
    """
    as_word(op, "algorithm", algorithm, ALGORITHMS)
    as_word(op, "precision", precision, PRECISIONS)
    reasons = {"winograd": choose.why_not_winograd, "fft": choose.why_not_fourier}
    if algorithm in reasons:
        if precision == "strict":
            raise ValueError(f"{op}: precision='strict' allows direct sums only, got algorithm={algorithm!r}")
        reason = reasons[algorithm](geometry.folded())
        if reason:
            raise ValueError(f"{op}: algorithm={algorithm!r} does not fit this convolution: {reason}")
    return "direct" if precision == "strict" else algorithm
