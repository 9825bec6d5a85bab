"""Data sets, augmentation and batches.

`DATASETS` holds every data set that can be named on the command line: ``DATASETS["digits"](size=28)``.
"""

from collections.abc import Callable

from fastconv.data.augment import Affine
from fastconv.data.dataset import Dataset, normalise
from fastconv.data.digits import digits
from fastconv.data.hello import hello_signals
from fastconv.data.loader import Batch, prefetch, training_batches
from fastconv.data.resample import enlarge, warp

DATASETS: dict[str, Callable[[int], Dataset]] = {"digits": digits}

__all__ = [
    "DATASETS",
    "Affine",
    "Batch",
    "Dataset",
    "digits",
    "enlarge",
    "hello_signals",
    "normalise",
    "prefetch",
    "training_batches",
    "warp",
]
