"""How the cost of a convolution grows with its batch, its channels and its planes: time, speed and memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from rich.box import MARKDOWN, SIMPLE_HEAD
from rich.table import Table

from fastconv import runtime
from fastconv.bench.explain import fastest_run
from fastconv.cpu import choose
from fastconv.geometry import ConvGeometry

# A 3 x 3 layer in the middle of a ResNet; along each axis one of its sizes runs through a range of powers of two, and
# planes through those of a ResNet, too.
BATCH, CHANNELS, PLANE = 8, 64, 28
AXES: dict[str, tuple[int, ...]] = {
    "batch": (1, 2, 4, 8, 16, 32, 64),
    "channels": (4, 8, 16, 32, 64, 128, 256, 512),
    "plane": (4, 7, 8, 14, 16, 28, 32, 56, 64, 112, 128),
}
PASSES = {"forward": "forward", "backward_data": "input gradient", "backward_weight": "weight gradient"}
COLOURS = {"forward": "#1b7f5c", "backward_data": "#31688e", "backward_weight": "#c8553d"}
INK, FAINT = "#222222", "#d9d9d9"


@dataclass(frozen=True)
class Cost:
    """What one pass of one layer took.

    Attributes
    ----------
    axis : str
        The size that grows: 'batch', 'channels' or 'plane'.
    size : int
        Its value.
    kind : str
        One of `choose.PASSES`.
    algorithm : str
        The candidate that was chosen.
    seconds : float
        The shortest run.
    gflops : float
        10**9 operations of the direct sum a second, whatever the algorithm.
    arrays, scratch : int
        Bytes of what is read and written, and of the scratch memory beside it.
    """

    axis: str
    size: int
    kind: str
    algorithm: str
    seconds: float
    gflops: float
    arrays: int
    scratch: int


def layers() -> Iterator[tuple[str, int, ConvGeometry]]:
    """Yield the axis that grows, its value, and the layer."""
    for axis, sizes in AXES.items():
        for size in sizes:
            layer = {"batch": BATCH, "channels": CHANNELS, "plane": PLANE} | {axis: size}
            n, c, h = layer.values()
            yield axis, size, ConvGeometry.make("growth", (n, c, h, h), (c, c, 3, 3), None, padding=1)


def measure() -> list[Cost]:
    """Measure the passes of all layers with the threads that are set."""
    return [_measure(axis, size, geometry, kind) for axis, size, geometry in layers() for kind in PASSES]


def _measure(axis: str, size: int, geometry: ConvGeometry, kind: str) -> Cost:
    dtype, rng = np.dtype(np.float32), np.random.default_rng(0)
    way = choose.chosen(choose.candidates(kind, geometry, dtype))
    plan = way.plan(geometry, dtype, *([] if kind == "backward_weight" else [False]))  # no bias
    x, w, y = (rng.standard_normal(s, dtype=dtype) for s in (geometry.x_shape, geometry.w_shape, geometry.y_shape))
    bias = runtime.empty((geometry.out_channels,), dtype)
    arrays = {"forward": (x, w, None, y), "backward_data": (y, w, None, x), "backward_weight": (x, y, w, bias)}[kind]
    seconds = fastest_run(lambda: plan(*arrays))
    nbytes = dtype.itemsize * sum(map(prod, (geometry.x_shape, geometry.w_shape, geometry.y_shape)))
    scratch = plan.nbytes + runtime.get_num_threads() * plan.nbytes_per_worker
    return Cost(axis, size, kind, way.name, seconds, 2 * geometry.macs / seconds / 1e9, nbytes, scratch)


def table(costs: Sequence[Cost], terminal: bool) -> Table:
    """Make a table with a line for each layer; in Markdown where there is no terminal."""
    lines = Table(box=SIMPLE_HEAD if terminal else MARKDOWN, pad_edge=not terminal)
    lines.add_column("grows", no_wrap=True)
    for name in ("size", *(f"{name}, ms" for name in PASSES.values()), "GFLOP/s", "arrays, MB", "scratch, MB"):
        lines.add_column(name, justify="right", no_wrap=not name.endswith("ms"))
    lines.add_column("algorithms")
    passes = len(PASSES)
    for first in range(0, len(costs), passes):
        three = costs[first : first + passes]
        speeds = " ".join(f"{cost.gflops:.0f}" for cost in three)
        scratch = " ".join(f"{cost.scratch / 1e6:.1f}" for cost in three)
        lines.add_row(
            three[0].axis, str(three[0].size), *(f"{cost.seconds * 1e3:.3g}" for cost in three), speeds,
            f"{three[0].arrays / 1e6:.1f}", scratch, ", ".join(dict.fromkeys(cost.algorithm for cost in three)),
        )  # fmt: skip
        if first + passes < len(costs) and costs[first + passes].axis != three[0].axis:
            lines.add_section()
    return lines


def draw(path: Path, costs: Sequence[Cost], peak: float, title: str) -> None:
    """Write a PNG: a column for each size that grows; time, speed and memory below each other.

    Parameters
    ----------
    path : Path
    costs : sequence of Cost
    peak : float
        10**9 operations a second by multiply-adds alone, which only fewer multiplications can pass.
    title : str
        On what it was measured.

    Raises
    ------
    ImportError
        Matplotlib is missing.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 8), layout="constrained")
    axes = figure.subplots(3, len(AXES), sharex="col", sharey="row")
    fixed = {"batch": f"{BATCH} images", "channels": f"{CHANNELS} channels", "plane": f"planes of {PLANE} x {PLANE}"}
    for column, axis in enumerate(AXES):
        found = [cost for cost in costs if cost.axis == axis]
        for kind in PASSES:
            _draw_pass(axes[:, column], kind, [cost for cost in found if cost.kind == kind])
        _draw_memory(axes[2, column], [cost for cost in found if cost.kind == "forward"])
        axes[0, column].set_title(", ".join(text for name, text in fixed.items() if name != axis), fontsize=9)
        axes[2, column].set_xlabel({"plane": "height and width of the planes"}.get(axis, axis), fontsize=9)
        axes[1, column].axhline(peak, color=INK, linestyle=":", linewidth=1, label="peak of multiply-adds")
        ticks = [size for size in AXES[axis] if size & (size - 1) == 0]
        axes[2, column].set_xticks(ticks, [str(tick) for tick in ticks])
    for row, label in enumerate(("milliseconds", "GFLOP/s of the direct sum", "MB")):
        axes[row, 0].set_ylabel(label, fontsize=9)
    for panel in axes.flat:
        panel.grid(color=FAINT, linewidth=0.5)
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(labelsize=7)
        panel.minorticks_off()
    axes[1, 0].set_ylim(0, 1.1 * max(peak, *(cost.gflops for cost in costs)))
    for panel in axes[:, 0]:
        panel.legend(fontsize=7, frameon=False)
    figure.suptitle(title, fontsize=10, color=INK)
    figure.savefig(path, dpi=130)


def _draw_pass(panels, kind: str, costs: Sequence[Cost]) -> None:
    sizes = [cost.size for cost in costs]
    style = {"color": COLOURS[kind], "marker": "o", "markersize": 3, "linewidth": 1.2, "label": PASSES[kind]}
    panels[0].loglog(sizes, [cost.seconds * 1e3 for cost in costs], **style)
    panels[1].plot(sizes, [cost.gflops for cost in costs], **style)
    panels[2].loglog(sizes, [cost.scratch / 1e6 for cost in costs], **(style | {"label": f"scratch, {PASSES[kind]}"}))


def _draw_memory(panel, costs: Sequence[Cost]) -> None:
    sizes, arrays = [cost.size for cost in costs], [cost.arrays / 1e6 for cost in costs]
    panel.loglog(sizes, arrays, color=INK, linestyle="--", linewidth=1.2, label="x, w and y")
