"""What the normalisations of samples check alike."""

from math import isfinite
from numbers import Real

import numpy as np

from fastconv.arrays import check_shape

Saved = tuple[np.ndarray, np.ndarray]
EVERY = (True, True, True)


def check_channels(op: str, x: np.ndarray, axes: int, **per_channel: np.ndarray | None) -> None:
    """Raise ValueError unless x has at least `axes` axes, none empty but the first, and arrays fit its channels."""
    if x.ndim < axes or 0 in x.shape[1:]:
        expected = "(n, c, ...)" if axes == 2 else "(n, c, *size)"
        raise ValueError(f"{op}: x must have shape {expected}, empty at most in n, got {x.shape}")
    for name, array in per_channel.items():
        if array is not None:
            check_shape(op, name, array, (x.shape[1],))


def check_eps(op: str, eps: float) -> None:
    """Raise TypeError or ValueError unless `eps` is a number >= 0."""
    if isinstance(eps, bool) or not isinstance(eps, Real):
        raise TypeError(f"{op}: eps must be a number, got {eps!r} ({type(eps).__name__})")
    if not (isfinite(eps) and eps >= 0):
        raise ValueError(f"{op}: eps must be finite and >= 0, got {eps!r}")


def parts_of(op: str, saved: Saved | None) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return mean and 1 / deviation, None without `saved`."""
    if saved is None:
        return None, None
    if not isinstance(saved, tuple) or len(saved) != 2 or any(part is None for part in saved):
        raise TypeError(f"{op}: saved must be the tuple of 2 arrays that the forward pass gave with return_saved=True")
    return saved
