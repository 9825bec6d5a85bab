"""The commands for models and their files: ``fastconv summary`` and ``fastconv convert``."""

from pathlib import Path

import click

from fastconv.cli.base import MODEL, Command, Option, mistakes

OLD = click.Path(exists=True, dir_okay=False, path_type=Path)
NEW = click.Path(dir_okay=False, path_type=Path)


@click.command(cls=Command, section="Models")
@click.argument("model", type=MODEL)
def summary(model: str) -> None:
    """Show the layers of MODEL: shapes, parameters, multiply-adds."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from fastconv.layers import summary_rows
    from fastconv.models import MODELS

    network = MODELS[model]()
    rows = summary_rows(network, (1, *network.input_shape))
    table = Table(box=SIMPLE_HEAD, show_footer=True, pad_edge=False)
    table.add_column("name", footer="total")
    table.add_column("layer")
    table.add_column("output", justify="right")
    table.add_column("parameters", f"{network.parameter_count:,}", justify="right")
    table.add_column("multiply-adds", f"{sum(row.macs for row in rows):,}", justify="right")
    for row in rows:
        counts = (f"{count:,}" if count else "" for count in (row.parameters, row.macs))
        table.add_row(row.name, row.layer, _shape(row.output_shape[1:]), *counts)
    console = Console()
    console.print(f"{model}, for an image of {_shape(network.input_shape)}", highlight=False)
    console.print(table)


@click.command(cls=Command, section="Models")
@click.argument("source", metavar="FILE.pth", type=OLD)
@click.argument("target", metavar="FILE.safetensors", type=NEW)
@click.option("--key", cls=Option, metavar="NAME", show_default="the only one", help="State dict in a checkpoint.")
def convert(source: Path, target: Path, key: str | None) -> None:
    """Make safetensors of a PyTorch file.

    Reads what torch.save has written, a state dict or a checkpoint that has one, without PyTorch. Nothing in it is
    executed.
    """
    from fastconv.interop import pytorch_archive, safetensors

    with mistakes(OSError, ValueError):
        arrays = pytorch_archive.load(source, key)
        safetensors.save(arrays, target)
    numbers = sum(array.size for array in arrays.values())
    click.echo(f"{target}: {len(arrays)} arrays of {numbers:,} numbers")


def _shape(sizes: tuple[int, ...]) -> str:
    return " x ".join(map(str, sizes))
