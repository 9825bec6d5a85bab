"""The command ``fastconv train``."""

import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fastconv.cli.base import COUNT, DATA, INTERRUPTED, MODEL, OPTIMIZER, RATE, SEED, Command, Option, mistakes

if TYPE_CHECKING:
    from fastconv.data import Dataset
    from fastconv.layers import Layer

learning = partial(click.option, cls=Option, section="Learning")
running = partial(click.option, cls=Option, section="Running")
WEIGHTS = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(cls=Command, section="Training")
@click.argument("model", type=MODEL)
@learning("--data", type=DATA, default="digits", metavar="NAME", help="Data set.")
@learning("--epochs", type=COUNT, default=30, help="Times that every image is seen.")
@learning("--batch-size", type=COUNT, default=64, help="Images in a step.")
@learning("--optimizer", type=OPTIMIZER, default="adamw", metavar="NAME", help="adamw, adam or sgd.")
@learning("--lr", type=RATE, show_default="by optimizer", help="Peak learning rate.")
@learning("--seed", type=SEED, default=0, help="Of first weights, order and augmentation.")
@learning("--weights", type=WEIGHTS, metavar="FILE", help="Start from a .safetensors file; the last layer is new.")
@learning("--freeze", multiple=True, metavar="PATTERN", help="Do not train such parameters, as 'layer1'; repeatable.")
@running("--threads", type=COUNT, show_default="all cores", help="The result is the same for any number.")
@running("--out", type=click.Path(path_type=Path), metavar="DIR", show_default="runs/MODEL", help="Where files go.")
@running("--no-progress", is_flag=True, help="Plain lines in place of a live bar.")
def train(
    model: str,
    data: str,
    weights: Path | None,
    freeze: tuple[str, ...],
    out: Path | None,
    threads: int | None,
    no_progress: bool,
    **settings: Any,
) -> None:
    """Train MODEL, such as lenet.

    Writes model.safetensors, metrics.csv and config.json to DIR. The same seed gives the same model, to the byte.
    Ctrl-C saves what is learnt so far.
    """
    start = time.perf_counter()
    from fastconv import runtime
    from fastconv.cli.interrupt import Interrupted
    from fastconv.cli.screen import open_screen
    from fastconv.cli.session import config, run
    from fastconv.train import Card, NonFiniteLossError, Report, make_directory, steps_per_epoch

    with mistakes(OSError, remedy="choose another directory with --out"):
        directory = make_directory(out or Path("runs") / model)
    if threads:
        with mistakes(ValueError, remedy="choose fewer --threads"):
            runtime.set_num_threads(threads)
    network, dataset = _load(model, data, settings["seed"])
    start_from = _prepare(network, weights, freeze)
    click.echo(
        f"{model} on {data}: {network.parameter_count:,} parameters, "
        f"{len(dataset.train_images):,} training and {len(dataset.test_images):,} test images"
    )
    screen = open_screen(not no_progress, settings["epochs"], steps_per_epoch(dataset, settings["batch_size"]))
    try:
        with closing(screen), mistakes(OSError), mistakes(NonFiniteLossError, remedy="try a lower --lr"):
            report = Report(directory, config(model, data, settings) | start_from)
            last = run(network, dataset, report, Card.make(model, dataset), screen, settings)
    except Interrupted:
        saved = f"what is learnt so far is in {directory}" if screen.steps_done else "nothing was learnt or saved"
        click.echo(f"stopped after {screen.steps_done} of {screen.total_steps} steps; {saved}", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
    click.echo(f"test accuracy {last.test_accuracy:.2%}, {time.perf_counter() - start:.1f} s; saved in {directory}")


def _load(model: str, data: str, seed: int) -> "tuple[Layer, Dataset]":
    """Load the data in the size that the model reads, and build the model for their channels and classes."""
    from fastconv.data import DATASETS
    from fastconv.models import MODELS

    dataset = DATASETS[data](MODELS[model]().input_shape[-1])
    return MODELS[model](len(dataset.class_names), dataset.input_shape[0], seed=seed), dataset


def _prepare(network: "Layer", weights: Path | None, patterns: tuple[str, ...]) -> dict[str, Any]:
    """Load weights except those of the last layer, freeze parameters, and return what the record says of it."""
    from fastconv.interop.weights import load_weights
    from fastconv.layers import freeze

    with mistakes(OSError, ValueError):
        if weights:
            load_weights(network, weights, new_head=True)
        frozen = freeze(network, *patterns)
    if not network.has_parameters:
        raise click.UsageError("--freeze leaves nothing to train", click.get_current_context())
    if frozen:
        click.echo(f"{len(frozen)} frozen: {frozen[0]} to {frozen[-1]}")
    return {"weights": str(weights) if weights else None, "freeze": patterns}
