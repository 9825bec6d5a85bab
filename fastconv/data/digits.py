"""The 1,797 handwritten digits of the UCI 'Optical Recognition of Handwritten Digits' set, embedded in the package.

Source, licence and how the file was made: `digits.txt`, beside it.
"""

from importlib.resources import files

import numpy as np

from fastconv.arguments import as_int
from fastconv.data.dataset import Dataset, normalise
from fastconv.data.resample import enlarge

DEEPEST = 16  # a pixel counts the ink in a 4x4 block of the scan


def digits(size: int = 28) -> Dataset:
    """Load the handwritten digits, enlarged from 8x8 to `size` x `size` pixels.

    The split is part of the file: 1,438 training and 359 test images, a fifth of every class.

    Parameters
    ----------
    size : int
        Height and width of the images that the model reads.

    Returns
    -------
    Dataset
        One channel; ink is light (towards 1) on a dark background (0).

    Raises
    ------
    TypeError, ValueError
        `size` is not an integer, or less than 1.
    """
    size = as_int("digits", "size", size, low=1)
    with (files(__package__) / "digits.npz").open("rb") as file, np.load(file, allow_pickle=False) as archive:
        recorded, labels, test = archive["images"], archive["labels"].astype(np.int64), archive["test"]
    images = enlarge(recorded[:, None].astype(np.float32) / DEEPEST, (size, size))
    mean, std = (float(images[~test].mean()),), (float(images[~test].std()),)
    images = normalise(images, mean, std)
    return Dataset(
        name="digits",
        train_images=images[~test],
        train_labels=labels[~test],
        test_images=images[test],
        test_labels=labels[test],
        class_names=tuple("0123456789"),
        mean=mean,
        std=std,
        ink_frame=recorded.shape[-1],
    )
