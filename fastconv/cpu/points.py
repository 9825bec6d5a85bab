"""Families of points: how a short convolution becomes products, one at each point.

Toom and Cook: m outputs of a correlation with r taps are coefficients of a product of two polynomials, which a = m + r
- 1 points determine. The 1D algorithm F(m, r) is ::

    y = A^T [(G w) * (B^T x)],      A^T: m x a,   G: a x r,   B^T: a x a,

and in two dimensions it is applied to columns, then to rows: a tile of m x m outputs takes a * a products instead of m
* m * r * r. Transposing the algorithm gives the gradient for w: ``dw = G^T [(A dy) * (B^T x)]``.

Sources: A. Lavin and S. Gray, *Fast Algorithms for Convolutional Neural Networks* (2015), arXiv:1509.09308; S.
Winograd, *Arithmetic Complexity of Computations* (1980). On the choice of points: B. Barabasz, A. Anderson, K.
Soodhalter and D. Gregg, *Error Analysis and Improving the Accuracy of Winograd Convolution for DNNs* (2020),
arXiv:1803.10986.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from fastconv.cpu.transform import Map, from_matrix

# Finite points by their number; infinity comes on top. Of four points the pairs +-1/sqrt(2), +-sqrt(2) leave the least
# error: their powers stay near 1. With the usual +-1, +-2 it is twice as large.
POINTS = {
    0: (),
    1: (0.0,),
    2: (0.0, 1.0),
    3: (0.0, 1.0, -1.0),
    5: (0.0, sqrt(0.5), -sqrt(0.5), sqrt(2.0), -sqrt(2.0)),
}


@dataclass(frozen=True, eq=False)
class ToomCook:
    """The 1D algorithm F(m, r).

    Attributes
    ----------
    outputs, taps : int
        m and r.
    size : int
        a = m + r - 1: inputs of a tile, and points.
    to_outputs, from_taps, from_inputs : ndarray
        A^T (m, a), G (a, r) and B^T (a, a).
    """

    outputs: int
    taps: int
    to_outputs: NDArray[np.float64]
    from_taps: NDArray[np.float64]
    from_inputs: NDArray[np.float64]

    @property
    def size(self) -> int:
        """Inputs of a tile, and points."""
        return self.outputs + self.taps - 1


@cache
def toom_cook(outputs: int, taps: int) -> ToomCook:
    """Return F(outputs, taps), for the points of `POINTS` and infinity.

    With the finite points p_j and M(z) = prod_j (z - p_j): column j of A^T holds the powers of p_j; row j of G the
    powers over |prod_{i != j} (p_j - p_i)|; row j of B^T the coefficients of M(z) / (z - p_j), with that product's
    sign. Infinity takes the highest power in A^T and G, and the coefficients of M itself in B^T.
    """
    size = outputs + taps - 1
    points = np.array(POINTS[size - 1])
    others = [np.delete(points, j) for j in range(size - 1)]
    to_outputs, from_taps, from_inputs = np.zeros((outputs, size)), np.zeros((size, taps)), np.zeros((size, size))
    for j, (point, rest) in enumerate(zip(points, others, strict=True)):
        to_outputs[:, j] = point ** np.arange(outputs)
        scale = np.prod(point - rest)
        from_taps[j] = point ** np.arange(taps) / abs(scale)
        from_inputs[j, :-1] = np.poly(rest)[::-1] * np.sign(scale)
    to_outputs[-1, -1] = from_taps[-1, -1] = 1
    from_inputs[-1] = np.poly(points)[::-1]
    return ToomCook(outputs, taps, *(_exact(matrix) for matrix in (to_outputs, from_taps, from_inputs)))


def _exact(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Remove the rounding errors of coefficients that are multiples of 1/12."""
    near = np.round(matrix * 12) / 12 + 0.0  # no -0
    return np.where(np.isclose(matrix, near, rtol=0, atol=1e-14), near, matrix)


# ---- two dimensions --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Crossing:
    """A map between places (row, column) of a tile whose columns are transformed, and points."""

    map: Map
    places: tuple[tuple[int, int], ...]
    points: tuple[int, ...]


@dataclass(frozen=True)
class Passage:
    """The way of a tile to its points, or back: a map `down` all columns, and maps `across` the rows that it makes.

    Attributes
    ----------
    tall, wide : int
        Size of the tile.
    rows : int
        Rows between `down` and `across`.
    """

    tall: int
    wide: int
    rows: int
    down: Map
    across: tuple[Crossing, ...]

    def flip(self) -> Passage:
        """Return the same for tiles whose rows and columns come in reverse order."""
        across = tuple(
            Crossing(crossing.map, tuple((i, self.wide - 1 - j) for i, j in crossing.places), crossing.points)
            for crossing in self.across
        )
        return Passage(self.tall, self.wide, self.rows, self.down, across)


def to_points(matrix: NDArray[np.float64]) -> Passage:
    """Return the way to the points ``matrix tile matrix^T``, numbered row by row."""
    points, size = matrix.shape
    return Passage(size, size, points, from_matrix(matrix), _crossings(from_matrix(matrix), points, size, points))


def from_points(matrix: NDArray[np.float64], *, constant: bool = False) -> Passage:
    """Return the way back from points to the tile ``matrix points matrix^T``; with `constant`, plus a vector."""
    size, points = matrix.shape
    down = from_matrix(matrix, constant=constant)
    return Passage(size, size, points, down, _crossings(from_matrix(matrix), points, size, points))


def _crossings(across: Map, rows: int, columns: int, points: int) -> tuple[Crossing, ...]:
    return tuple(
        Crossing(across, tuple(product([i], range(columns))), tuple(range(i * points, (i + 1) * points)))
        for i in range(rows)
    )


@dataclass(frozen=True, eq=False)
class Family:
    """What the engine needs to know of an algorithm: tiles of inputs, taps and outputs, and the ways between them.

    Attributes
    ----------
    points : int
        Products a tile, for each pair of channels.
    inputs, taps, outputs : Passage
        ``x`` and ``w`` to the points, and the points to ``y``.
    gradients, sums : Passage
        ``dy`` to the points, and the points to ``dw``.
    """

    points: int
    inputs: Passage
    taps: Passage
    outputs: Passage
    gradients: Passage
    sums: Passage


@cache
def winograd(outputs: int, taps: int) -> Family:
    """Return F(outputs x outputs, taps x taps) by Toom and Cook's points."""
    line = toom_cook(outputs, taps)
    return Family(
        points=line.size**2,
        inputs=to_points(line.from_inputs),
        taps=to_points(line.from_taps),
        outputs=from_points(line.to_outputs, constant=True),
        gradients=to_points(line.to_outputs.T),
        sums=from_points(line.from_taps.T),
    )
