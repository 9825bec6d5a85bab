"""The commands ``fastconv bench``."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import click

from fastconv.cli.base import COUNT, SEED, Command, Name, Option, Program, mistakes, watching

PEER = Name("peer", "fastconv.bench.contenders", "PEERS")
FILE = click.Path(path_type=Path, dir_okay=False)
what = partial(click.option, cls=Option, section="What is compared")
how = partial(click.option, cls=Option, section="How")
output = partial(click.option, cls=Option, section="Output, beside the tables")


class Group(Program):
    """Commands under one name, which belong to a section of the program's help."""

    section = "System"


@click.group(cls=Group)
def bench() -> None:
    """Measure how fast fastconv is."""


class Peers(click.ParamType):
    """Names of peers with commas between."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        """Return the names, or fail with what is near."""
        if isinstance(value, list):
            return value
        names = [name.strip() for name in value.split(",")]
        return list(dict.fromkeys(PEER.convert(name, param, ctx) for name in names))


class Pattern(click.ParamType):
    """A regular expression."""

    name = "regex"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> re.Pattern[str]:
        """Compile it, or fail."""
        try:
            return re.compile(value, re.IGNORECASE)
        except re.error as error:
            return self.fail(f"{value!r} is not a regular expression: {error}", param, ctx)


@bench.command(cls=Command, section="Speed")
@what("--against", type=Peers(), default="torch,torch-channels-last,ncnn,onnxruntime", help="Peers; also: scipy.")
@what("--layers", type=FILE, metavar="FILE", help="Compare these convolutions alone; see above.")
@what("--shapes", type=COUNT, default=48, help="Layers drawn around those of real networks, beside the fixed ones.")
@what("--seed", type=SEED, default=0, help="Of the drawn layers.")
@what("--work", type=Pattern(), metavar="REGEX", help="Rows whose 'work/layer/pass' holds this: depthwise.*dx$")
@what("--quick", is_flag=True, help="No drawn layers and no training steps.")
@how("--threads", type=COUNT, default=1, help="Cores that all share. CPU time is counted on one, else wall time.")
@how("--rounds", type=COUNT, default=3, help="Times that the contenders take turns, with 7 runs of each at least.")
@output("--json", "json_file", type=FILE, metavar="FILE", help="Every run, versions and machine.")
@output("--png", "png_file", type=FILE, metavar="FILE", help="A bar for each row.")
def peers(against: list[str], threads: int, json_file: Path | None, png_file: Path | None, **options: Any) -> None:
    """Compare fastconv with other libraries on this machine, layer by layer.

    Each library runs in a process of its own, all on the same cores, and they take turns; a figure is the shortest run.
    Results are compared with float64 first: who is wrong is not timed. dx and dw are gradients of input and weights.
    Peers come from pip install "fastconv[peers]".

    \b
    A file of layers is CSV (or JSON: a list of objects with these keys):
        name,x,w,stride,padding,dilation,groups,bias
        stem,8x3x224x224,64x3x7x7,2,3,1,1,no
        mine,1x32x40x60,32x32x1x5,1,0x2,1,1,yes
    All but name, x and w may be left out.
    """  # noqa: D301 - click's mark
    from fastconv.bench.session import Session

    with mistakes(ValueError, OSError, ImportError):
        session = Session(against, threads, json_file, png_file, **options)
    raise SystemExit(session.run())


@bench.command(cls=Command, section="Speed")
@how("--threads", type=COUNT, default=1, help="CPU time is counted on one, else wall time.")
@output("--png", "png_file", type=FILE, metavar="FILE", help="Time, speed and memory as curves.")
def growth(threads: int, png_file: Path | None) -> None:
    """Show how the cost of a convolution grows with batch, channels and size.

    A 3 x 3 layer of 64 channels on 8 planes of 28 x 28; one of its sizes grows while the others stay. GFLOP/s count two
    operations for each product of the direct sum, whatever the algorithm.
    """
    from fastconv import runtime
    from fastconv.bench.growth import draw, measure, table
    from fastconv.bench.table import open_console
    from fastconv.cpu import peaks

    with mistakes(ValueError, remedy="choose fewer --threads"):
        runtime.set_num_threads(threads)
    console = open_console()
    with mistakes(OSError, ImportError):
        if png_file:
            png_file.open("ab").close()  # a path that cannot be written is told at once, not after a minute
        with watching(console):
            costs = measure()
        console.print(table(costs, console.is_terminal))
        if png_file:
            where = f"{threads} thread{'s' if threads > 1 else ''}"
            draw(png_file, costs, peaks.measure()["float32"], f"A 3 x 3 convolution in float32, {where}")
            click.echo(f"drawn: {png_file}")
