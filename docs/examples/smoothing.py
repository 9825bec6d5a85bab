"""Three ways to smooth a noisy signal: equal weights, weights for the middle, weights for the ends.

``python docs/examples/smoothing.py smoothing.png`` draws them.
"""

import argparse

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fastconv.signal import convolve

INK, FAINT, PAPER = "#1d2733", "#9aa4b0", "#fbfaf7"
COLOURS = {"equal weights": "#2a6f97", "middle first": "#2f8f5b", "ends first": "#c8553d"}
WHAT_IT_DOES = {
    "equal weights": "least noise, but the peak is low and corners are cut",
    "middle first": "keeps the peak and the step best",
    "ends first": "hears neighbours, not the place itself: the peak splits in two",
}


def kernels(taps: int = 25) -> dict[str, NDArray]:
    """Make three kernels of an odd number of taps, whose weights add up to 1."""
    place = np.linspace(-1, 1, taps)
    shapes = {
        "equal weights": np.ones(taps),
        "middle first": np.cos(place * np.pi / 2 * (taps - 1) / (taps + 1)) ** 2,
        "ends first": 0.05 + place**4,
    }
    return {name: shape / shape.sum() for name, shape in shapes.items()}


def signal(samples: int = 600) -> tuple[NDArray, NDArray]:
    """Return what was sent, with a step and a narrow peak, and what was received."""
    time = np.linspace(0, 1, samples)
    sent = 0.6 * np.sin(2 * np.pi * 1.6 * time) + 1.1 * (time > 0.78)
    sent += 2.2 * np.exp(-(((time - 0.42) / 0.014) ** 2))
    return sent, sent + np.random.default_rng(3).normal(0, 0.35, samples)


def smoothed(received: NDArray, taps: int = 25) -> dict[str, NDArray]:
    """Convolve with each kernel. The ends are held, so that the result is as long and does not fall off."""
    padded = np.pad(received, taps // 2, "edge")
    return {name: convolve(padded, kernel, "valid") for name, kernel in kernels(taps).items()}


def draw(path: str, samples: int = 600, taps: int = 25) -> None:
    """Write the signal and what the kernels make of it."""
    sent, received = signal(samples)
    figure = Figure(figsize=(11, 9), facecolor=PAPER)
    grid = figure.subplots(4, 2, gridspec_kw=dict(
        left=0.045, right=0.985, top=0.88, bottom=0.045, wspace=0.06, hspace=0.42, width_ratios=(5, 1)))  # fmt: skip
    grid[0, 1].set_visible(False)
    _plot(grid[0, 0], "received", f"{samples} samples with noise", INK, sent, [(received, FAINT, 0.8)])
    for (plot, taps_axis), (name, result) in zip(grid[1:], smoothed(received, taps).items(), strict=True):
        error = np.sqrt(np.mean((result - sent) ** 2))
        text = f"{WHAT_IT_DOES[name]}; rms error {error:.2f}"
        _plot(plot, name, text, COLOURS[name], sent, [(received, "#dfe3e7", 0.7), (result, COLOURS[name], 2.0)])
        _stems(taps_axis, kernels(taps)[name], COLOURS[name])
    figure.suptitle("Three kernels on a signal", x=0.045, ha="left", fontsize=17, color=INK, weight="bold")
    figure.text(0.045, 0.926, "dashed: what was sent. Right: the kernel's weights", fontsize=10, color=FAINT)
    figure.savefig(path, dpi=110)


def _plot(axis: Axes, title: str, text: str, colour: str, sent: NDArray, lines: list[tuple]) -> None:
    for values, line_colour, width in lines:
        axis.plot(values, color=line_colour, linewidth=width)
    axis.plot(sent, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
    axis.set(xlim=(0, len(sent) - 1), ylim=(-1.7, 3.1), facecolor=PAPER)
    axis.tick_params(colors=FAINT, labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(FAINT)
    axis.text(0, 1.05, title, transform=axis.transAxes, fontsize=12, color=colour, weight="bold")
    axis.text(1, 1.05, text, transform=axis.transAxes, fontsize=9.5, color=FAINT, ha="right")


def _stems(axis: Axes, kernel: NDArray, colour: str) -> None:
    """Draw the weights of a kernel."""
    places = np.arange(kernel.size) - kernel.size // 2
    axis.vlines(places, 0, kernel, color=colour, linewidth=1.6)
    axis.plot(places, kernel, "o", color=colour, markersize=3)
    axis.set(ylim=(0, 0.17 * 25 / kernel.size), yticks=[], facecolor=PAPER)
    axis.tick_params(colors=FAINT, labelsize=8)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.spines["bottom"].set_color(FAINT)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", nargs="?", default="smoothing.png")
    draw(parser.parse_args().output)


if __name__ == "__main__":
    main()
