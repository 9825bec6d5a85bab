"""Which input element meets which output through which tap: the one description of a convolution and of its gradient.

Along one axis a convolution pairs output ``o`` with input ``o * stride + tap * dilation - before``. Its gradient with
respect to the input asks the same the other way round: input ``i`` pairs with output ``(i + before - tap * dilation) /
stride`` where that division leaves nothing. Outputs that leave the same remainder form a `Phase`, within which taps
move evenly. So forward has one phase, a gradient has `stride` of them, and what follows cannot tell which of the two it
computes.

The last axis is that of *columns*. All axes before it together are *rows*, numbered in C order: 1D, 2D and 3D look
alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from fastconv.cpu.slabs import Slabs
from fastconv.geometry import ConvGeometry


@dataclass(frozen=True, slots=True)
class Phase:
    """Outputs ``first + j * spacing`` for j < count; the j-th meets input ``j * advance + offset`` through each tap.

    ``taps`` holds (tap, offset); inputs that do not exist are meant to be left out, they are the padding.
    """

    first: int
    spacing: int
    count: int
    advance: int
    taps: tuple[tuple[int, int], ...]

    def inside(self, offset: int, size: int) -> tuple[int, int]:
        """Return the range of j whose input, through a tap at `offset`, lies in an axis of `size` elements."""
        low = max(0, -(offset // self.advance))
        high = min(self.count, (size - 1 - offset) // self.advance + 1)
        return low, max(low, high)


@dataclass(frozen=True, slots=True)
class View:
    """A convolution as seen from what it computes: `taps` that lead from outputs to inputs, and the sizes of both.

    Attributes
    ----------
    in_rows, in_columns, out_rows, out_columns : int
    in_height, out_height : int
        Rows of one plane: those of the last axis before the columns.
    row_taps : tuple
        For each output row the (tap, input row) that exist.
    columns : tuple of Phase
    tap_rows, tap_columns : int
        Size of the kernel, its axes taken together like those of the input.
    """

    in_rows: int
    in_columns: int
    out_rows: int
    out_columns: int
    row_taps: tuple[tuple[tuple[int, int], ...], ...]
    columns: tuple[Phase, ...]
    tap_rows: int
    tap_columns: int
    in_height: int
    out_height: int

    def slabs(self, rows: range) -> Slabs:
        """Input rows that these output rows meet."""
        return Slabs.of((place for r in rows for _, place in self.row_taps[r]), self.in_height)


def forward_view(geometry: ConvGeometry) -> View:
    """Describe the convolution: its outputs are what is computed."""
    return _view(forward_phases(geometry), geometry.input_size, geometry.output_size, geometry.window.kernel)


def backward_view(geometry: ConvGeometry) -> View:
    """Describe the gradient with respect to the input: the output's gradient is what is read."""
    return _view(backward_phases(geometry), geometry.output_size, geometry.input_size, geometry.window.kernel)


def forward_phases(geometry: ConvGeometry) -> list[tuple[Phase, ...]]:
    """Of each axis the only phase of the convolution."""
    window = geometry.window
    return [
        (Phase(0, 1, out, s, tuple((k, k * d - before) for k in range(taps))),)
        for out, taps, s, d, (before, _) in zip(
            geometry.output_size, window.kernel, window.stride, window.dilation, window.padding, strict=True
        )
    ]


def backward_phases(geometry: ConvGeometry) -> list[tuple[Phase, ...]]:
    """Of each axis the phases of the input's gradient, one for each element of a stride."""
    window = geometry.window
    return [
        _backward_phases(size, taps, s, d, before)
        for size, taps, s, d, (before, _) in zip(
            geometry.input_size, window.kernel, window.stride, window.dilation, window.padding, strict=True
        )
    ]


def _backward_phases(size: int, taps: int, stride: int, dilation: int, before: int) -> tuple[Phase, ...]:
    phases = []
    for first in range(min(stride, size)):
        meets = [divmod(first + before - k * dilation, stride) for k in range(taps)]
        pairs = tuple((k, offset) for k, (offset, rest) in enumerate(meets) if rest == 0)
        phases.append(Phase(first, stride, -(-(size - first) // stride), 1, pairs))
    return tuple(phases)


def _axis_taps(phases: tuple[Phase, ...], in_size: int, out_size: int) -> list[list[tuple[int, int]]]:
    """For each output of an axis, the (tap, input) that exist."""
    found: list[list[tuple[int, int]]] = [[] for _ in range(out_size)]
    for phase in phases:
        for tap, offset in phase.taps:
            low, high = phase.inside(offset, in_size)
            for j in range(low, high):
                found[phase.first + j * phase.spacing].append((tap, j * phase.advance + offset))
    return found


def _view(phases: list[tuple[Phase, ...]], in_size: tuple, out_size: tuple, kernel: tuple) -> View:
    """Join all axes but the last into rows."""
    rows: list[tuple[tuple[int, int], ...]] = [((0, 0),)]
    in_rows = out_rows = tap_rows = 1
    for axis, n_in, n_out, taps in zip(phases[:-1], in_size, out_size, kernel, strict=False):
        here = _axis_taps(axis, n_in, n_out)
        rows = [
            tuple((t * taps + tap, i * n_in + place) for (t, i), (tap, place) in product(before, after))
            for before, after in product(rows, here)
        ]
        in_rows, out_rows, tap_rows = in_rows * n_in, out_rows * n_out, tap_rows * taps
    heights = (in_size[-2], out_size[-2]) if len(phases) > 1 else (1, 1)
    columns = phases[-1]
    return View(in_rows, in_size[-1], out_rows, out_size[-1], tuple(rows), columns, tap_rows, kernel[-1], *heights)
