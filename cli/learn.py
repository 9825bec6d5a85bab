"""The command ``fastconv explain``: why a convolution is computed as it is."""

from __future__ import annotations

from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any

import click

from fastconv.cli.base import COUNT, Command, Option, mistakes, watching
from fastconv.cli.bench import Group

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Console

    from fastconv.bench.explain import Line, Roofline
    from fastconv.geometry import ConvGeometry

MOST_ELEMENTS = 1 << 28  # of an array: 2 GiB in float64
TITLES = {"forward": "forward", "backward_data": "input gradient", "backward_weight": "weight gradient"}
what = partial(click.option, cls=Option, section="The convolution")
how = partial(click.option, cls=Option, section="How")


class Sizes(click.ParamType):
    """Whole numbers with commas between: `count` of them, or one that stands for all if `alone` allows it.

    Parameters
    ----------
    count, low : int
        How many there are, and the smallest.
    example : str
        What would be right.
    alone : bool
        Whether one number is enough.
    words : tuple of str
        What may stand in place of numbers.
    """

    name = "sizes"

    def __init__(self, count: int, low: int, example: str, alone: bool = False, words: tuple[str, ...] = ()):
        self._counts, self._low, self._words = {count, 1} if alone else {count}, low, words
        usage = f"{'one or ' if alone else ''}{count} whole numbers from {low} up, such as {example}"
        self._usage = f"{usage}, {' or '.join(words)}" if words else usage

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...] | str:
        """Return the numbers, or the word; or fail."""
        if isinstance(value, tuple) or value in self._words:
            return value
        numbers = [text.strip() for text in str(value).split(",")]
        good = all(text.isascii() and text.isdecimal() and len(text) < 19 for text in numbers)
        if not good or len(numbers) not in self._counts or min(map(int, numbers)) < self._low:
            self.fail(f"{value!r} is not {self._usage}", param, ctx)
        return tuple(map(int, numbers))


@click.group(cls=Group)
def explain() -> None:
    """Show which algorithm computes a layer, and why."""


@explain.command(cls=Command, section="Layers")
@what("--shape", type=Sizes(4, 1, "8,64,56,56"), required=True, metavar="N,CI,H,W", help="Of x.")
@what("--weight", type=Sizes(4, 1, "64,64,3,3"), required=True, metavar="CO,CI,KH,KW", help="Of w; CI of one group.")
@what("--stride", type=Sizes(2, 1, "2,1", alone=True), default="1", metavar="S", help="For both axes, or S,S.")
@what(
    "--padding", type=Sizes(2, 0, "1,0", alone=True, words=("same", "valid")), default="0", metavar="P",
    help="As conv2d: none unless given. For both axes, or P,P, same or valid.",
)  # fmt: skip
@what("--dilation", type=Sizes(2, 1, "2,1", alone=True), default="1", metavar="D", help="For both axes, or D,D.")
@what("--groups", type=COUNT, default=1, help="Independent convolutions that share the channels.")
@what("--layout", type=click.Choice(["NCHW", "NHWC"]), default="NCHW", help="Of x, y and --shape.")
@what("--dtype", type=click.Choice(["float32", "float64"]), default="float32", help="Of all arrays.")
@how("--threads", type=COUNT, default=1, help="Predictions are for one.")
@how("--no-measure", is_flag=True, help="Run nothing: show predictions only.")
def conv2d(
    shape: tuple[int, ...], weight: tuple[int, ...], layout: str, dtype: str, threads: int, no_measure: bool,
    **options: Any,
) -> None:  # fmt: skip
    """Show how the three passes of a convolution are computed.

    For each pass the candidates, the chosen one first: times as predicted and as measured, and why it is chosen or not.
    GFLOP/s count two operations for each product of the direct sum, in all candidates alike.
    """
    if layout == "NHWC":
        shape = (shape[0], shape[3], *shape[1:3])
    geometry = _geometry(shape, weight, options)
    with mistakes(ValueError, remedy="choose fewer --threads"):
        _set_threads(threads)
    import numpy as np

    from fastconv.bench.explain import Roofline, explain
    from fastconv.bench.table import open_console

    console, item = open_console(), np.dtype(dtype)
    with mistakes(MemoryError), watching(console):
        roofline = None if no_measure else Roofline.measure(geometry, item)
        passes = explain(geometry, item, measured=not no_measure)
    facts = _facts(geometry, item, roofline, threads, options)
    if layout == "NHWC":
        facts["layout"] = _cost_of_layout(geometry, item, roofline)
    for name, text in facts.items():
        click.echo(f"{name:14}  {text}")
    _print_table(console, passes, geometry)


def _geometry(shape: tuple[int, ...], weight: tuple[int, ...], options: dict[str, Any]) -> ConvGeometry:
    """Check the sizes: also that they can be measured, and explained in a moment."""
    from fastconv.geometry import ConvGeometry

    one = {name: value[0] if isinstance(value, tuple) and len(value) == 1 else value for name, value in options.items()}
    with mistakes(ValueError, remedy="x is --shape, w is --weight"):
        geometry = ConvGeometry.make("conv2d", shape, weight, None, **one)
        largest = max(map(prod, (geometry.x_shape, geometry.w_shape, geometry.y_shape)))
        if largest > MOST_ELEMENTS:
            raise ValueError(f"x, w and y may have {MOST_ELEMENTS:,} elements, and one would have {largest:,}")
    return geometry


def _set_threads(threads: int) -> None:
    from fastconv import runtime

    runtime.set_num_threads(threads)


def _facts(
    geometry: ConvGeometry, dtype: np.dtype, roofline: Roofline | None, threads: int, options: dict[str, Any]
) -> dict[str, str]:
    """Describe the convolution, and what any pass has to do."""
    from fastconv.bench.explain import nbytes

    x, w, y = map(_commas, (geometry.x_shape, geometry.w_shape, geometry.y_shape))
    facts = {
        "convolution": f"x {x}, w {w}, y {y} in {dtype}",
        "options": ", ".join(
            f"{name} {_commas(options[name])}" for name in ("stride", "padding", "dilation", "groups")
        ),
        "multiply-adds": f"{geometry.macs:,} in each pass, those with padding counted",
        "bytes": f"{nbytes(geometry, dtype):,} in each pass: x, w and y once",
    }
    if roofline:
        plural = "s" if threads > 1 else ""
        facts["roofline"] = f"{_short(roofline.seconds * 1e3)} ms on {threads} thread{plural}, of a direct sum"
        facts["  products"] = f"{_short(roofline.products * 1e3)} ms at the peak of {_short(roofline.gflops)} GFLOP/s"
        facts["  bytes"] = f"{_short(roofline.memory * 1e3)} ms at {_short(roofline.gbytes)} GB/s, from and to memory"
    return facts


def _cost_of_layout(geometry: ConvGeometry, dtype: np.dtype, roofline: Roofline | None) -> str:
    """Describe what channels last cost in a forward pass: x and y are each read and written once more."""
    moved = 2 * dtype.itemsize * (prod(geometry.x_shape) + prod(geometry.y_shape))
    time = f", {_short(moved / roofline.gbytes / 1e6)} ms at {_short(roofline.gbytes)} GB/s" if roofline else ""
    return f"NHWC: converting x and y to and from NCHW moves {moved:,} bytes more{time}; times below are without it"


def _print_table(console: Console, passes: dict[str, list[Line]], geometry: ConvGeometry) -> None:
    """Print the candidates; a pass is a heading on terminals, and a column in Markdown."""
    from rich.box import MARKDOWN, SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    terminal = console.is_terminal
    table = Table(box=SIMPLE_HEAD if terminal else MARKDOWN, pad_edge=not terminal)
    for name in [*([] if terminal else ["pass"]), "candidate"]:
        table.add_column(name, no_wrap=True)
    break_line = "\n" if terminal else ", "
    for name in (f"predicted{break_line}ms", f"measured{break_line}ms", "GFLOP/s"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("why")
    for kind, lines in passes.items():
        if terminal:
            table.add_row(Text(TITLES[kind], "bold"))
        for line in lines:
            style = "bold green" if line.chosen else "dim" if line.way.why_not else ""
            name = f"* {line.way.name}" if line.chosen else f"  {line.way.name}"
            place = [] if terminal else [TITLES[kind]]
            table.add_row(*place, Text(name, style), *_figures(line, geometry), line.reason, style=style)
        if terminal:
            table.add_section()
    console.print(table)
    console.print(
        "* is the choice. Predictions are for one core with AVX-512, and '-' where a rule decides without them."
    )


def _figures(line: Line, geometry: ConvGeometry) -> list[str]:
    predicted = "-" if line.way.milliseconds is None else _short(line.way.milliseconds)
    if line.seconds is None:
        return [predicted, "-", "-"]
    return [predicted, _short(line.seconds * 1e3), _short(2 * geometry.macs / line.seconds / 1e9)]


def _short(number: float) -> str:
    """Write three digits, as in 0.123, 12.3 and 123, and those before the point."""
    return f"{number:.0f}" if number >= 99.95 else f"{number:#.3g}"


def _commas(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
