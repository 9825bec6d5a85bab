"""What lies beyond the ends of an axis."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

OUTSIDE = -1  # no element: there lies a constant


def places(border: str, size: int, first: int, count: int) -> NDArray[np.int64]:
    """Return which elements of an axis stand at the places first, first + 1, ..., first + count - 1.

    Parameters
    ----------
    border : str
        ``constant`` (k k | a b c | k k), ``nearest`` (a a | a b c | c c), ``reflect`` (b a | a b c | c b), ``mirror``
        (c b | a b c | b a) or ``wrap`` (b c | a b c | a b): SciPy's names for images.
    size : int
        Elements of the axis.
    first, count : int
        The places; the elements themselves are at 0, ..., size - 1.

    Returns
    -------
    (count,) int64 ndarray
        `OUTSIDE` where a constant stands.
    """
    place = np.arange(first, first + count)
    if border == "constant":
        return np.where((place >= 0) & (place < size), place, OUTSIDE)
    if border == "nearest":
        return place.clip(0, size - 1)
    if border == "wrap":
        return place % size
    if border == "reflect":
        place %= 2 * size
        return np.minimum(place, 2 * size - 1 - place)
    place %= max(1, 2 * size - 2)
    return np.minimum(place, 2 * size - 2 - place)
