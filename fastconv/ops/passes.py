"""The three passes of a convolution, in the roles in which a convolution and a transposed one call them."""

import numpy as np

from fastconv import runtime
from fastconv.cpu import choose, direct, direct_weight
from fastconv.cpu.loop import Program
from fastconv.geometry import ConvGeometry

ALGORITHMS = ("auto", "direct", "winograd")
PRECISIONS = ("fp32", "strict")


def forward(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, geometry: ConvGeometry, algorithm: str) -> np.ndarray:
    """Return y."""
    y = runtime.empty(geometry.y_shape, x.dtype)
    _run("forward_plan", x, w, b, y, geometry, algorithm)
    return y


def input_gradient(
    dy: np.ndarray, w: np.ndarray, b: np.ndarray | None, geometry: ConvGeometry, algorithm: str
) -> np.ndarray:
    """Return dx, plus a bias: with one it is the result of a transposed convolution."""
    dx = runtime.empty(geometry.x_shape, dy.dtype)
    _run("backward_data_plan", dy, w, b, dx, geometry, algorithm)
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


def _run(
    kind: str, read: np.ndarray, w: np.ndarray, b: np.ndarray | None, written: np.ndarray, geometry: ConvGeometry,
    algorithm: str,
) -> None:  # fmt: skip
    if written.size:
        _finite_plan(kind, w, geometry.folded(), read.dtype, b is not None, algorithm=algorithm)(read, w, b, written)


def _finite_plan(kind: str, w: np.ndarray, *about: object, algorithm: str) -> Program:
    """Return the plan; an exact one where weights that are not finite would make NaN of padding."""
    plan = getattr(choose, kind)(*about, algorithm)
    if plan.multiplies_padding and not np.isfinite(w).all():
        return getattr(direct, kind)(*about, exact=True)
    return plan


def checked_algorithm(op: str, geometry: ConvGeometry, algorithm: str, precision: str) -> str:
    """Return the algorithm to choose from.

    Raises
    ------
    TypeError, ValueError
        `algorithm` or `precision` is unknown, they contradict each other, or the algorithm does not fit.
    """
    for name, value, known in (("algorithm", algorithm, ALGORITHMS), ("precision", precision, PRECISIONS)):
        if not isinstance(value, str):
            raise TypeError(f"{op}: {name} must be a string, got {value!r}")
        if value not in known:
            raise ValueError(f"{op}: {name} must be one of {known}, got {value!r}")
    if algorithm == "winograd":
        if precision == "strict":
            raise ValueError(f"{op}: precision='strict' allows direct sums only, got algorithm='winograd'")
        reason = choose.why_not_winograd(geometry.folded())
        if reason:
            raise ValueError(f"{op}: algorithm='winograd' does not fit this convolution: {reason}")
    return "direct" if precision == "strict" else algorithm
