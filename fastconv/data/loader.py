"""Batches in a seeded order, prepared one ahead of the training step."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from fastconv.data.augment import Affine
from fastconv.data.dataset import Dataset
from fastconv.data.resample import warp

Item = TypeVar("Item")
Batch = tuple[np.ndarray, np.ndarray]

_STREAM = 2  # keeps the order apart from what the augmentation draws


def training_batches(
    data: Dataset, batch_size: int, *, seed: int, epoch: int, augment: Affine | None = None
) -> Iterator[Batch]:
    """Yield the training set once, shuffled; the last batch holds what is left.

    The order depends on (`seed`, `epoch`) alone, and how a sample is changed also on its place in the data set: not
    on `batch_size`, nor on threads.

    Yields
    ------
    x : (B, C, H, W) float32 ndarray
    target : (B,) int64 ndarray
    """
    count = len(data.train_images)
    order = np.random.default_rng((seed, epoch, _STREAM)).permutation(count)
    maps = augment.draw(count, seed, epoch) if augment else None
    for start in range(0, count, batch_size):
        chosen = order[start : start + batch_size]
        x = data.train_images[chosen]
        if augment:
            x = warp(x, maps[chosen], data.background)
        yield x, data.train_labels[chosen]


def prefetch(items: Iterable[Item]) -> Iterator[Item]:
    """Yield `items` while a thread prepares the next one.

    An exception in `items` is raised here. The thread ends with this iterator, also when it is closed early.
    """
    items, end = iter(items), object()
    with ThreadPoolExecutor(1, thread_name_prefix="fastconv-prefetch") as pool:
        coming = pool.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = pool.submit(next, items, end)
            yield item
