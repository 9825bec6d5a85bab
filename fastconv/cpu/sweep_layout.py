"""What a correlation of images of one channel depends on, and how it is cut into tasks."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastconv import runtime
from fastconv.cpu.border import OUTSIDE, places
from fastconv.cpu.microkernel_sweep import Shape
from fastconv.cpu.primitive import VECTOR_BYTES
from fastconv.cpu.schedule import apart, split

COPY_BYTES = 128 << 10  # of a band's copy, which stays in L2
ROW_BYTES = 8 << 10  # of a row of it
ENOUGH_TASKS = 16  # so that a task more or less on one of a few cores costs little
TASK_BYTES = 64 << 10  # of output, below which a task computes several planes
MOST_ROWS = 4  # of sums in a tile: a vector that is loaded serves as many
MOST_WIDER = 1.1  # columns of sums, with those that no output needs, for more registers a row


class Correlation(NamedTuple):
    """What a plan depends on: sizes, the border, and types.

    Attributes
    ----------
    batch : int
        Images, each correlated with the same weights.
    size, kernel, outputs : tuple of int
        Of an image, of the weights, and of a result, axis by axis.
    first : tuple of int
        Where the window of output 0 begins, axis by axis.
    border : str
        One of `border.places`.
    source, work, target : dtype
        Of the image, of the sums, and of the result: of their real numbers.
    parts : int
        2 where the numbers are complex, else 1.
    exact : bool
        Whether products are rounded before they are added.
    order : str
        How products are summed: ``rows``, as the taps are stored; for taps along one axis also ``last``, the last tap
        before the others, or ``even`` and ``odd``, for weights that are: the centre, and then pairs of inputs, added or
        subtracted before they are multiplied, from the ends to the centre.
    """

    batch: int
    size: tuple[int, ...]
    kernel: tuple[int, ...]
    outputs: tuple[int, ...]
    first: tuple[int, ...]
    border: str
    source: np.dtype
    work: np.dtype
    target: np.dtype
    parts: int = 1
    exact: bool = False
    order: str = "rows"

    @property
    def fold(self) -> int:
        """Sign of the second input of a pair; 0 where there are no pairs."""
        return {"even": 1, "odd": -1}.get(self.order, 0)

    @property
    def axes(self) -> list[tuple[int, int, int, int]]:
        """Size, kernel, outputs and first, axis by axis."""
        return list(zip(self.size, self.kernel, self.outputs, self.first, strict=True))

    def simplified(self) -> Correlation:
        """Join neighbouring axes along which nothing happens, and count the first one of them as images."""
        batch, axes = self.batch, []
        for axis in self.axes:
            if axes and _idle(axis) and _idle(axes[-1]):
                size = axes[-1][0] * axis[0]
                axes[-1] = size, 1, size, 0
            else:
                axes.append(axis)
        if len(axes) > 1 and _idle(axes[0]):
            batch *= axes.pop(0)[0]
        columns = list(zip(*axes, strict=True))
        return self._replace(batch=batch, **dict(zip(("size", "kernel", "outputs", "first"), columns, strict=True)))


def _idle(axis: tuple[int, int, int, int]) -> bool:
    size, kernel, outputs, first = axis
    return kernel == 1 and outputs == size and first == 0


class Axis(NamedTuple):
    """An axis of a correlation."""

    size: int
    kernel: int
    outputs: int
    first: int

    def places(self, border: str) -> NDArray[np.int64]:
        """Return the inputs that stand where windows reach, from the first window to the last."""
        return places(border, self.size, self.first, self.outputs + self.kernel - 1)

    @property
    def behind(self) -> int:
        """Places beyond the end where windows reach."""
        return max(0, self.first + self.outputs + self.kernel - 1 - self.size)


class Layout:
    """How a correlation is cut into tasks, and what its copies look like."""

    def __init__(self, given: Correlation, masked: bool):
        *outer, rows, columns = [Axis(1, 1, 1, 0)] * (len(given.size) == 1) + [Axis(*axis) for axis in given.axes]
        self.given, self.outer_axes, self.rows, self.columns = given, outer, rows, columns
        self.outer, self.depth = prod(a.outputs for a in outer), prod(a.kernel for a in outer)
        self.all_planes, self.taps = given.batch * self.outer, prod(given.kernel)
        item, planes = given.work.itemsize, self.depth * given.parts

        # Rows of sums that share what they load: each row of weights has to meet some of them.
        share_rows = rows.kernel > 1 and rows.outputs >= MOST_ROWS and given.order == "rows" and not masked
        tile_rows = MOST_ROWS if share_rows else 1
        n, more = VECTOR_BYTES // item, columns.kernel - 1
        self.band_columns = split(columns.outputs, max(ROW_BYTES // item - more, more, 8 * n))[0]
        vectors = _vectors(self.band_columns, n, runtime.registers() // (8 if tile_rows > 1 else 4))
        self.shape, self.width = Shape(tile_rows, vectors, given.exact, given.fold), vectors * n
        padded = -(-self.band_columns // self.width) * self.width
        self.band_columns = min(padded, columns.outputs)
        self.copy_columns = padded + more
        self.pitch, self.sums_pitch = apart(self.copy_columns, given.work), apart(padded, given.work)
        self.row_parts = -(-columns.outputs // self.band_columns)

        most = COPY_BYTES // (self.pitch * item * planes) - (rows.kernel - 1)
        share = -(-rows.outputs * self.row_parts * self.all_planes // ENOUGH_TASKS)
        band = split(rows.outputs, max(tile_rows, 2 * (rows.kernel - 1), min(most, share)))[0]
        self.band_rows = -(-band // tile_rows) * tile_rows
        self.bands = -(-rows.outputs // self.band_rows) * self.row_parts
        task = TASK_BYTES // (rows.outputs * columns.outputs * given.target.itemsize) if self.bands == 1 else 1
        self.planes = max(1, min(task, self.all_planes // ENOUGH_TASKS))

        self.copy_rows = self.band_rows + rows.kernel - 1
        self.copy_size, self.sums_size = planes * self.copy_rows * self.pitch, tile_rows * self.sums_pitch

    @property
    def in_place(self) -> bool:
        """Whether windows lie in rows of their own, of numbers as the sums want them: then little has to be copied."""
        same = self.given.source == self.given.work == self.given.target
        return same and self.outer == self.depth == self.given.parts == 1 and _idle(self.rows)

    @property
    def start(self) -> int:
        """Where a tile's first window begins in the copy; where sums are folded, its centre."""
        return self.pitch * (self.rows.kernel // 2) + self.columns.kernel // 2 if self.given.fold else 0

    def met_planes(self) -> NDArray[np.int64]:
        """Planes of the input that an output plane meets: (outputs, taps) of all axes but the last two."""
        met = np.zeros((1, 1), np.int64)
        for axis in self.outer_axes:
            here = np.lib.stride_tricks.sliding_window_view(axis.places(self.given.border), axis.kernel)
            both = met[:, None, :, None] * axis.size + here[None, :, None, :]
            both[(met[:, None, :, None] < 0) | (here[None, :, None, :] < 0)] = OUTSIDE
            met = both.reshape(len(met) * len(here), -1)
        return met

    def runs(self, mask: bytes | None) -> list[tuple[int, int, int, int]]:
        """Return runs of taps, as `microkernel_sweep` takes them."""
        if self.given.order != "rows":
            return self._runs_along_axis()
        kh, kw, shape = self.rows.kernel, self.columns.kernel, self.shape
        chosen = np.ones((self.depth, kh, kw), bool) if mask is None else np.frombuffer(mask, bool)
        runs = []
        for k, taps in enumerate(chosen.reshape(self.depth, kh, kw)):
            for part, i in product(range(self.given.parts), range(kh + shape.rows - 1)):
                first, last = max(0, i - kh + 1), min(shape.rows - 1, i)
                x = ((k * self.given.parts + part) * self.copy_rows + i) * self.pitch
                w = ((part * self.depth + k) * kh + i - first) * kw
                runs += [(shape.case(first, last), x + j, w + j, end - j) for j, end in _ranges(taps[i - first])]
        return runs

    def _runs_along_axis(self) -> list[tuple[int, int, int, int]]:
        """Return runs of taps along one axis: one run for neighbours in a row, one each for those in a column."""
        in_row = self.rows.kernel == 1
        step, half, last = 1 if in_row else self.pitch, self.taps // 2, self.taps - 1

        def neighbours(case, first, count):
            return [(case, first, 0, count)] if in_row else [(case, first + i * step, i, 1) for i in range(count)]

        if self.given.fold:
            return [(0, 0, half, 1), *neighbours(self.shape.folded, -half * step, half)]
        return [(0, last * step, last, 1), *neighbours(0, 0, last)]


def _vectors(columns: int, n: int, most: int) -> int:
    """Return the registers of a row of sums: many, unless fewer would leave fewer lanes empty."""
    padded = {v: -(-columns // (v * n)) * v * n for v in (8, 4, 2, 1) if v <= most}
    return next(v for v, width in padded.items() if width <= min(padded.values()) * MOST_WIDER)


def _ranges(taps: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Ranges of neighbours that are set."""
    edges = np.flatnonzero(np.diff(taps.astype(np.int8), prepend=0, append=0))
    return [(int(first), int(end)) for first, end in edges.reshape(-1, 2)]
