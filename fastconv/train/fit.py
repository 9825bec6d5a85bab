"""Training: shuffled batches, a learning rate that rises and falls once, and a record of every epoch."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from fastconv.arguments import as_int
from fastconv.data import Affine, Dataset, prefetch, training_batches
from fastconv.layers import Arena, Layer
from fastconv.optim import SGD, Adam, AdamW
from fastconv.schedule import one_cycle
from fastconv.train.step import NonFiniteLossError, evaluate, gradients

# By name: how an optimiser is made from an arena and a rate, and the highest rate that suits it.
OPTIMIZERS = {
    "adamw": (partial(AdamW, weight_decay=0.2), 4e-3),
    "adam": (Adam, 3e-3),
    "sgd": (partial(SGD, momentum=0.9, nesterov=True), 0.05),
}
AUGMENTATION = Affine()


@dataclass(frozen=True)
class Epoch:
    """What one epoch gave. The training figures are means over its steps, so of a model that was still changing."""

    epoch: int
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    seconds: float


def fit(
    model: Layer,
    data: Dataset,
    *,
    epochs: int = 30,
    batch_size: int = 64,
    lr: float | None = None,
    optimizer: str = "adamw",
    seed: int = 0,
    augment: Affine | None = AUGMENTATION,
    on_step: Callable[[int, float], None] | None = None,
) -> Iterator[Epoch]:
    """Train a model, one epoch for each item that the caller takes.

    Parameters
    ----------
    model : Layer
        From images (B, C, H, W) to scores (B, classes); trained in place.
    data : Dataset
    epochs, batch_size : int
        At least 1. The last batch of an epoch holds what is left.
    lr : float, optional
        Peak of the learning rate, which follows one cycle over all epochs; if omitted, what suits `optimizer`.
    optimizer : str
        A name in `OPTIMIZERS`.
    seed : int
        Of order and augmentation. The same seed and the same model give the same result, to the bit.
    augment : Affine, optional
        None shows the images as they are.
    on_step : callable, optional
        ``on_step(step, loss)`` is called after each step; the first is 1. What it raises ends the training.

    Returns
    -------
    iterator of Epoch

    Raises
    ------
    TypeError, ValueError
        At once, if an argument is not what is said here.
    NonFiniteLossError
        While iterating, if the loss is NaN or infinite. The model is as it was before the step that is named.
    """
    epochs, batch_size = as_int("fit", "epochs", epochs, low=1), as_int("fit", "batch_size", batch_size, low=1)
    seed = as_int("fit", "seed", seed)
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"fit: optimizer must be one of {', '.join(OPTIMIZERS)}, got {optimizer!r}")
    make, usual = OPTIMIZERS[optimizer]
    peak = usual if lr is None else lr
    if not 0 < peak < math.inf:
        raise ValueError(f"fit: lr must be a positive number, got {lr}")
    batches = partial(training_batches, data, batch_size, seed=seed, augment=augment)
    rate = partial(one_cycle, total_steps=epochs * steps_per_epoch(data, batch_size), max_lr=peak)
    return _epochs(model, data, epochs, batches, make(Arena(model), peak), rate, on_step)


def steps_per_epoch(data: Dataset, batch_size: int) -> int:
    """Return the number of batches that the training images make."""
    return math.ceil(len(data.train_images) / batch_size)


def _epochs(model, data, epochs, batches, optimizer, rate, on_step) -> Iterator[Epoch]:
    count = len(data.train_images)
    for epoch in range(1, epochs + 1):
        start = time.perf_counter()
        loss_sum, hit_sum = 0.0, 0
        with closing(prefetch(batches(epoch=epoch))) as coming:
            for x, target in coming:
                step = optimizer.steps + 1
                try:
                    loss, hits = gradients(model, optimizer.arena, x, target)
                except NonFiniteLossError as error:
                    raise NonFiniteLossError(f"{error} at step {step}, in epoch {epoch}") from None
                optimizer.step(rate(step - 1))
                loss_sum, hit_sum = loss_sum + loss * len(x), hit_sum + hits
                if on_step:
                    on_step(step, loss)
        test = evaluate(model, data.test_images, data.test_labels)
        yield Epoch(epoch, loss_sum / count, hit_sum / count, *test, time.perf_counter() - start)
