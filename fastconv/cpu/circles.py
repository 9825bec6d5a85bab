"""Which circular tiles a convolution can take."""

from __future__ import annotations

from fastconv.cpu.simd import VECTOR_BYTES
from fastconv.geometry import ConvGeometry

SIZES, ROW_SIZES = range(6, 33, 2), (16, 20, 24, 32, 40, 48, 64, 80, 96)  # along an axis
FEWEST_TAPS = 5  # along an axis
MOST_PANEL_BYTES = 6 << 20  # of a panel of weights, as rows or at the points of a row, which a task holds


def why_not_fourier(geometry: ConvGeometry) -> str | None:
    """Say what of a geometry circular tiles cannot do; None where they can."""
    window = geometry.window
    if len(window.kernel) != 2:
        return "it needs one or two axes along which the kernel has more than one tap"
    most = (ROW_SIZES if 1 in window.kernel else SIZES)[-1] - 1
    if not FEWEST_TAPS <= max(window.kernel) <= most:
        return f"it needs a kernel of {FEWEST_TAPS} to {most} taps along an axis, got {window.kernel}"
    least = panel_bytes(geometry, tuple(k + 2 - k % 2 if k > 1 else 1 for k in window.kernel))
    if least > MOST_PANEL_BYTES:
        return f"a panel of its weights would take {least >> 20} MiB, and may take {MOST_PANEL_BYTES >> 20}"
    return why_not_dense(geometry)


def why_not_dense(geometry: ConvGeometry) -> str | None:
    """Say which stride or dilation is in the way of tiles; None where none is."""
    window = geometry.window
    if set(window.stride + window.dilation) != {1}:
        return f"it needs stride and dilation 1, got {window.stride} and {window.dilation}"
    return None


def panel_bytes(geometry: ConvGeometry, size: tuple[int, int]) -> int:
    """Return the bytes of a panel of weights, for large tiles: as rows, or at the points of a row."""
    held = VECTOR_BYTES * -(-max(geometry.group_in, geometry.group_out) // (VECTOR_BYTES // 4))
    rows = size[0] * geometry.window.kernel[1] * geometry.groups
    return 0 if size[0] == 1 else 2 * VECTOR_BYTES // 4 * held * max(3 * size[1], rows)


def circles(kind: str, geometry: ConvGeometry) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """List (size, outputs) of tiles: as wide as high, or smaller along an axis that one tile covers."""
    kernel, inputs, planes = geometry.window.kernel, geometry.input_size, geometry.output_size
    padding = geometry.window.padding
    if kind == "backward_data":
        inputs, planes = planes, inputs
        padding = [[k - 1 - p for p in pads] for k, pads in zip(kernel, padding, strict=True)]
    planes = [max(2, n) for n in planes]  # the transform of a single output would be zero in places
    wholes = []
    for ins, outs, taps, pads in zip(inputs, planes, kernel, padding, strict=True):
        # What wraps around is padding, if there is as much of it as is missing.
        whole = max(outs, ins + max(pads) if min(pads) >= 0 else outs + taps - 1, taps + 1)
        wholes.append(whole + whole % 2)
    sizes = ROW_SIZES if 1 in kernel else SIZES
    tiles = []
    for n in sorted({*sizes, *(whole for whole in wholes if whole <= sizes[-1])}):
        if n > max(kernel):
            axes = zip(wholes, planes, kernel, strict=True)
            tile = [
                (1, 1) if taps == 1 else (whole, outs) if whole <= n else (n, min(outs, n - taps + 1))
                for whole, outs, taps in axes
            ]
            tiles.append(tuple(zip(*tile, strict=True)))
    return tiles
