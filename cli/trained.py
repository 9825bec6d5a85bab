"""The commands for trained models: ``fastconv evaluate`` and ``fastconv predict``."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fastconv.cli.base import DATA, Command, Option, mistakes

if TYPE_CHECKING:
    from fastconv.layers import Layer
    from fastconv.train import Card

SECTION = "Trained models"
PATH = click.Path(path_type=Path)
option = partial(click.option, cls=Option)


@click.command(cls=Command, section=SECTION)
@click.argument("path", metavar="[DIR|FILE]", type=PATH, required=False)
@option("--data", type=DATA, metavar="NAME", show_default="what it was trained on", help="Data set.")
def evaluate(path: Path | None, data: str | None) -> None:
    """Measure a trained model on test images.

    DIR is where `fastconv train` has saved it, FILE the model.safetensors itself. Without either, the newest model
    under runs/ is taken.
    """
    from fastconv.data import DATASETS
    from fastconv.train import evaluate

    path, model, card = _open(path)
    dataset = DATASETS[data or card.data](card.input_shape[-1])
    loss, accuracy = evaluate(model, dataset.test_images, dataset.test_labels)
    count = len(dataset.test_images)
    click.echo(f"{path}: {card.model} on the {count} test images of {dataset.name}")
    click.echo(f"loss {loss:.4f}, accuracy {accuracy:.2%} ({round((1 - accuracy) * count)} wrong)")


@click.command(cls=Command, section=SECTION)
@click.argument("images", metavar="IMAGE...", type=PATH, nargs=-1, required=True)
@option("--model", "path", type=PATH, metavar="DIR|FILE", help="Trained model.", show_default="newest under runs/")
def predict(images: tuple[Path, ...], path: Path | None) -> None:
    """Tell what pictures show.

    A model of digits takes pictures of any size, dark ink on light paper or light on dark. What differs from the
    picture's border is ink; it is trimmed, and fitted to the frame that the model learnt from.
    """
    import numpy as np

    from fastconv import ops
    from fastconv.data import normalise
    from fastconv.data.picture import read_picture

    path, model, card = _open(path)
    with mistakes(OSError, ValueError):
        pictures = [read_picture(image, card.input_shape, card.ink_frame) for image in images]
    x = normalise(np.concatenate([pixels for pixels, _ in pictures]), card.mean, card.std)
    click.echo(f"{card.model} from {path}")
    width = max(len(str(image)) for image in images)
    for image, (_, inverted), chances in zip(images, pictures, ops.softmax(model(x)), strict=True):
        best = [f"{card.class_names[place]} {chances[place]:6.1%}" for place in chances.argsort()[::-1][:3]]
        click.echo(f"{image!s:{width}}   {'   '.join(best)}{'   (dark ink, inverted)' if inverted else ''}")


def _open(path: Path | None) -> "tuple[Path, Layer, Card]":
    """Load the model in a file or a run's directory, or the newest there is."""
    from fastconv.train import MODEL_FILE, load_model

    if path is None:
        path = max(Path("runs").glob(f"*/{MODEL_FILE}"), key=lambda file: file.stat().st_mtime, default=None)
    if path is None:
        raise click.UsageError(
            "there is no trained model under runs/; train one (fastconv train lenet) or name its directory",
            click.get_current_context(),
        )
    if path.is_dir():
        path /= MODEL_FILE
    with mistakes(OSError, ValueError):
        return path, *load_model(path)
