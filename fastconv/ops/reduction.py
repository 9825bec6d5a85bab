"""How losses are reduced to a number, and how the gradient of that number is dealt to them."""

import numpy as np

from fastconv.arrays import check_shape, reals

REDUCTIONS = ("mean", "sum", "none")


def check_reduction(op: str, reduction: object) -> None:
    """Raise ValueError unless `reduction` is one."""
    if not isinstance(reduction, str) or reduction not in REDUCTIONS:
        raise ValueError(f"{op}: reduction must be 'mean', 'sum' or 'none', got {reduction!r}")


@np.errstate(all="ignore")
def reduced(losses: np.ndarray, reduction: str, mass: np.ndarray | float | None = None):
    """Return the losses, their sum, or the sum divided by `mass`, which is their number if not given."""
    if reduction == "none":
        return losses
    total = losses.sum(dtype=losses.dtype)
    if reduction == "sum":
        return total
    return total / losses.dtype.type(losses.size if mass is None else mass)


def share_of(op: str, dy: object, reduction: str, dtype: np.dtype, shape: tuple[int, ...], mass: float) -> np.ndarray:
    """Return the gradient of each loss: an array of `shape` for ``'none'``, else of one element that holds for all.

    Parameters
    ----------
    op : str
    dy : float or ndarray
        Gradient of the reduced loss.
    reduction : str
    dtype : dtype
        Of the loss.
    shape : tuple of int
        Of the losses.
    mass : float
        What the mean was divided by.

    Raises
    ------
    TypeError, ValueError
        `dy` has another dtype or shape.
    """
    if isinstance(dy, np.generic):
        dy = np.asarray(dy)
    elif type(dy) in (int, float):
        dy = np.asarray(dy, dtype)
    dy, _ = reals(op, dy=dy, x=np.empty(0, dtype))
    check_shape(op, "dy", dy, shape if reduction == "none" else ())
    if reduction == "none":
        return dy
    with np.errstate(all="ignore"):
        return (dy / dtype.type(mass) if reduction == "mean" else dy).reshape(1)
