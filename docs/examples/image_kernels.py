"""Three kernels on a picture: edges, blur and sharpening, each a convolution of 3 x 3 weights.

    python docs/examples/image_kernels.py image_kernels.png [picture]

draws them on a picture of your own, or on a landscape that it makes up.
"""

import argparse

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image

from fastconv.signal import convolve2d

KERNELS = {
    "edges": np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]], np.float32),
    "blur": np.full((3, 3), 1 / 9, np.float32),
    "sharpening": np.array([[0, -1, 0], [-1, 5, -1], [0, -1, 0]], np.float32),
}
WHAT_IT_DOES = {
    "edges": "what differs from its neighbours;\nweights add up to 0, so even regions turn black",
    "blur": "the mean of 3 x 3 pixels;\nweights add up to 1, so brightness stays",
    "sharpening": "the picture and its edges together;\nweights add up to 1",
}
INK, FAINT, PAPER, LOUPE = "#1d2733", "#8a94a0", "#fbfaf7", "#e8a33d"


def landscape(height: int = 480, width: int = 640, seed: int = 7) -> NDArray[np.float32]:
    """Make up a picture: ridges in the haze under a low sun. Grey values from 0 to 255."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width] / height
    sun = np.hypot(rows - 0.34, columns - 0.9)
    picture = 0.55 + 0.35 * rows + 0.25 * np.exp(-sun / 0.35)
    picture[sun < 0.075] = 1.0
    for ridge in range(5):
        skyline = 0.46 + 0.115 * ridge + _rough_line(rng, width, 0.16 - 0.02 * ridge)
        haze = 0.66 - 0.145 * ridge + 0.18 * (rows - skyline)
        trees = 0.05 * (ridge > 1) * np.abs(_rough_line(rng, width, 1.0, octaves=(6, 9))) * 2**ridge
        picture = np.where(rows > skyline - trees, haze, picture)
    grain = rng.normal(0, 0.003, picture.shape)
    return np.clip(255 * (picture + grain), 0, 255).astype(np.float32)


def _rough_line(rng: np.random.Generator, width: int, height: float, octaves: tuple[int, int] = (1, 8)) -> NDArray:
    """Return a skyline: lines between random heights, at ever smaller distances."""
    places, line = np.linspace(0, 1, width), np.zeros(width)
    for octave in range(*octaves):
        corners = 2**octave + 1
        line += np.interp(places, np.linspace(0, 1, corners), rng.uniform(-1, 1, corners)) * 0.55 ** (octave - 1)
    return height * line


def filtered(picture: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Convolve a picture with each kernel, its mirror image around it."""
    return {name: convolve2d(picture, kernel, "same", "symm") for name, kernel in KERNELS.items()}


def draw(path: str, picture: NDArray[np.float32]) -> None:
    """Write the picture and what the kernels make of it."""
    results = filtered(picture)
    side = picture.shape[0] / picture.shape[1]
    figure = Figure(figsize=(11, 0.8 + 11 * side + 1.2), facecolor=PAPER)
    margins = dict(left=0.02, right=0.98, top=0.93, bottom=0.085, wspace=0.03, hspace=0.2)
    grid = figure.subplots(2, 2, gridspec_kw=margins)
    _panel(grid[0, 0], picture, "the picture", f"{picture.shape[0]} x {picture.shape[1]} grey values")
    for axis, (name, result) in zip(grid.flat[1:], results.items(), strict=True):
        # Differences are small: those beyond 120 are shown as white.
        shown = np.abs(result) * (255 / 120) if name == "edges" else result
        _panel(axis, shown, name, WHAT_IT_DOES[name])
        _weights(axis.inset_axes([0.79, -0.17, 0.2, 0.15]), KERNELS[name])
    figure.suptitle("Three kernels on a picture", x=0.02, ha="left", fontsize=17, color=INK, weight="bold")
    figure.savefig(path, dpi=110)


def _panel(axis: Axes, picture: NDArray[np.float32], title: str, text: str) -> None:
    shades = dict(cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axis.imshow(picture.clip(0, 255), **shades)
    axis.set_axis_off()
    # A loupe, on a part in which little and much happens.
    height, width = picture.shape
    row, column, side = int(0.86 * height), int(0.42 * width), max(8, height // 10)
    loupe = axis.inset_axes([0.025, 0.62, 0.36 * height / width, 0.36])
    loupe.imshow(picture[row : row + side, column : column + side].clip(0, 255), **shades)
    loupe.set(xticks=[], yticks=[])
    for spine in loupe.spines.values():
        spine.set(color=LOUPE, linewidth=1.5)
    axis.add_patch(Rectangle((column, row), side, side, fill=False, edgecolor=LOUPE, linewidth=1.2))
    axis.text(0, -0.03, title, transform=axis.transAxes, fontsize=13, color=INK, weight="bold", va="top")
    axis.text(0, -0.085, text, transform=axis.transAxes, fontsize=9.5, color=FAINT, va="top")


def _weights(axis: Axes, kernel: NDArray[np.float32]) -> None:
    """Write down the weights of a kernel."""
    axis.imshow(kernel, cmap="RdBu_r", vmin=-12, vmax=12, aspect="auto")
    axis.set(xticks=[], yticks=[])
    for (row, column), weight in np.ndenumerate(kernel):
        text = f"{weight:.0f}" if weight == round(weight) else "1/9"
        axis.text(column, row, text, ha="center", va="center", fontsize=9, color=INK)
    for spine in axis.spines.values():
        spine.set_color(FAINT)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", nargs="?", default="image_kernels.png")
    parser.add_argument("picture", nargs="?", help="any picture that Pillow reads")
    args = parser.parse_args()
    picture = landscape()
    if args.picture:
        picture = np.asarray(Image.open(args.picture).convert("L"), np.float32)
    draw(args.output, picture)


if __name__ == "__main__":
    main()
