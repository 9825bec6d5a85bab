"""The commands for models and their files: ``fastconv summary``, ``convert`` and ``export``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fastconv.cli.base import MODEL, Command, Option, mistakes

if TYPE_CHECKING:
    from fastconv.layers import Layer

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


@click.command(cls=Command, section="Models")
@click.argument("model", metavar="MODEL|FILE")
@click.argument("target", metavar="FILE.onnx", type=NEW)
@click.option("--weights", cls=Option, type=OLD, metavar="FILE", help="Of MODEL, as .safetensors.")
@click.option("--fold", cls=Option, is_flag=True, help="Put batch normalisation into the layers before it.")
def export(model: str, target: Path, weights: Path | None, fold: bool) -> None:
    """Write a model in the format of ONNX.

    MODEL is a name such as resnet18, FILE a model that `fastconv train` has saved, or its directory.
    """
    network, metadata = _open(model, weights)
    with mistakes(ImportError, remedy='pip install "fastconv[onnx]"'):
        from fastconv.interop import onnx
    from fastconv.layers import fold_batch_norm

    with mistakes(OSError, TypeError, ValueError):
        onnx.save(fold_batch_norm(network) if fold else network, target, network.input_shape, metadata)
    click.echo(f"{target}: input (batch, {_shape(network.input_shape, ', ')}), {network.parameter_count:,} parameters")


def _open(model: str, weights: Path | None) -> "tuple[Layer, dict[str, str]]":
    """Load a trained model, or build one by name, and return it with what its file says of it."""
    from fastconv.models import MODELS
    from fastconv.train import MODEL_FILE, load_model

    path = Path(model)
    with mistakes(OSError, ValueError):
        if path.exists():
            network, card = load_model(path / MODEL_FILE if path.is_dir() else path)
            return network, card.text()
        return MODELS[MODEL.convert(model, None, click.get_current_context())](weights=weights), {}


def _shape(sizes: tuple[int, ...], sign: str = " x ") -> str:
    return sign.join(map(str, sizes))
