"""The comparison as a picture: a bar for each pass of each row, from 1 to its ratio, on a logarithmic axis."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from fastconv.bench.contenders import US
from fastconv.bench.rounds import Result
from fastconv.bench.summary import BEST, fastest, ratio, ratio_text, short_name

WON, LOST, INK, FAINT = "#1b7f5c", "#c8553d", "#222222", "#d9d9d9"
PANELS = {
    "forward": ("forward", "step"),
    "forward, weights packed once": ("prepacked",),
    "gradient of the input": ("dx",),
    "gradient of the weights": ("dw",),
}
ROW_INCHES = 0.19

Place = tuple[str, str]  # kind, name


def draw(path: Path, results: Sequence[Result], title: str) -> None:
    """Write a PNG.

    Parameters
    ----------
    path : Path
    results : sequence of Result
        Those without a ratio are left out; one at least must have one.
    title : str
        Of what and where it was measured.

    Raises
    ------
    ImportError
        Matplotlib is missing.
    """
    from matplotlib.figure import Figure

    results = [result for result in results if ratio(result, BEST) is not None]
    places, headings = _places(results)
    panels = {name: [r for r in results if r.step in steps] for name, steps in PANELS.items()}
    panels = {name: found for name, found in panels.items() if found}
    height = max(places.values()) + 1
    figure = Figure(figsize=(3.2 + 3.4 * len(panels), 1.6 + ROW_INCHES * height), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    ratios = [ratio(result, BEST) for result in results]
    limits = min(0.5, min(ratios) / 1.5), max(2.0, max(ratios) * 4)
    for axis, (name, found) in zip(axes, panels.items(), strict=True):
        _draw_panel(axis, name, found, places, limits)
        for line in list(headings.values())[1:]:
            axis.axhline(line, color=FAINT, linewidth=0.8)
    _name_rows(axes[0], places, headings, height)
    figure.suptitle(title, fontsize=10, color=INK)
    figure.supxlabel(f"how many times faster {US} is than the best peer of the row (log scale)", fontsize=9)
    figure.savefig(path, dpi=130)


def _places(results: Sequence[Result]) -> tuple[dict[Place, int], dict[str, int]]:
    """Give each kind a line for its name, and below it a line to each of its rows."""
    places: dict[Place, int] = {}
    headings: dict[str, int] = {}
    line = 0
    for kind, group in groupby(dict.fromkeys((r.row.kind, r.row.name) for r in results), key=lambda place: place[0]):
        headings[kind] = line
        rows = list(group)
        places |= {place: line + number for number, place in enumerate(rows, 1)}
        line += len(rows) + 1
    return places, headings


def _draw_panel(axis, name: str, results: Sequence[Result], places: dict[Place, int], limits: tuple[float, float]):
    axis.set_xscale("log")
    axis.set_xlim(*limits)
    for result in results:
        times, place = ratio(result, BEST), places[result.row.kind, result.row.name]
        colour = WON if times >= 1 else LOST
        axis.barh(place, times - 1, left=1, height=0.7, color=colour)
        axis.annotate(
            f"{ratio_text(times)}  {short_name(fastest(result, BEST))}",
            (max(times, 1), place),
            (3, 0),
            textcoords="offset points",
            va="center",
            fontsize=6,
            color=colour,
        )
    axis.axvline(1, color=INK, linewidth=1)
    ticks = [t for t in (0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64) if limits[0] <= t <= limits[1]]
    axis.set_xticks(ticks, [f"{t:g}" for t in ticks], fontsize=7)
    axis.minorticks_off()
    axis.grid(axis="x", color=FAINT, linewidth=0.5)
    axis.set_axisbelow(True)
    axis.set_title(name, fontsize=9, color=INK)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)


def _name_rows(axis, places: dict[Place, int], headings: dict[str, int], height: int) -> None:
    labels = {place: name for (_, name), place in places.items()}
    axis.set_yticks(list(labels), list(labels.values()), fontsize=6.5)
    axis.set_ylim(height, -0.2)
    for kind, line in headings.items():
        axis.annotate(
            kind,
            (0, line),
            (-6, -2),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=7.5,
            fontweight="bold",
            annotation_clip=False,
        )
