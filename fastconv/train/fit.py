"""Training: shuffled batches, a learning rate that rises and falls once, and a record of every epoch."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from numbers import Real

from fastconv.arguments import as_int
from fastconv.data import Affine, Batch, Dataset, prefetch, training_batches
from fastconv.layers import Arena, Layer
from fastconv.optim import SGD, Adam, AdamW, Optimizer
from fastconv.schedule import one_cycle
from fastconv.train.step import evaluate, gradients

# By name: how an optimiser is made from an arena and a rate, and the highest rate that suits it.
OPTIMIZERS = {
    "adamw": (partial(AdamW, weight_decay=0.2), 4e-3),
    "adam": (Adam, 3e-3),
    "sgd": (partial(SGD, momentum=0.9, nesterov=True), 0.05),
}
AUGMENTATION = Affine()
OnStep = Callable[[int, float], None] | None


class NonFiniteLossError(ArithmeticError):
    """The loss is NaN or infinite: there is nothing to learn from it."""


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
    on_step: OnStep = None,
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
    make_optimizer, usual_lr = OPTIMIZERS[optimizer]
    peak = usual_lr if lr is None else lr
    if isinstance(peak, bool) or not isinstance(peak, Real):
        raise TypeError(f"fit: lr must be a number, got {lr!r}")
    if not 0 < peak < math.inf:
        raise ValueError(f"fit: lr must be finite and > 0, got {lr}")
    rate = partial(one_cycle, total_steps=epochs * steps_per_epoch(data, batch_size), max_lr=peak)
    batches = partial(training_batches, data, batch_size, seed=seed, augment=augment)
    train = partial(_train, model, make_optimizer(Arena(model), peak), rate, on_step)
    test = partial(evaluate, model, data.test_images, data.test_labels)
    return _epochs(epochs, batches, train, test)


def steps_per_epoch(data: Dataset, batch_size: int) -> int:
    """Return the number of batches that the training images make."""
    return math.ceil(len(data.train_images) / batch_size)


def _epochs(epochs: int, batches: Callable, train: Callable, test: Callable) -> Iterator[Epoch]:
    for epoch in range(1, epochs + 1):
        start = time.perf_counter()
        with closing(prefetch(batches(epoch=epoch))) as coming:
            train_figures = train(coming)
        test_figures = test()
        yield Epoch(epoch, *train_figures, *test_figures, time.perf_counter() - start)


def _train(
    model: Layer, optimizer: Optimizer, rate: Callable, on_step: OnStep, batches: Iterator[Batch]
) -> tuple[float, float]:
    """Take a step for each batch, and return mean loss and accuracy."""
    loss_sum = hit_sum = count = 0
    for x, target in batches:
        loss, hits = gradients(model, optimizer.arena, x, target)
        if not math.isfinite(loss):
            raise NonFiniteLossError(f"the loss is {loss} at step {optimizer.steps + 1}")
        optimizer.step(rate(optimizer.steps))
        loss_sum, hit_sum, count = loss_sum + loss * len(x), hit_sum + hits, count + len(x)
        if on_step:
            on_step(optimizer.steps, loss)
    return loss_sum / count, hit_sum / count
