"""What a data set is: labelled images, already normalised, and all that a model must know to read another image."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images for training and for testing.

    Attributes
    ----------
    name : str
    train_images, test_images : (N, C, H, W) float32 ndarray
        ``(pixel - mean) / std`` of pixels between 0 and 1.
    train_labels, test_labels : (N,) int64 ndarray
        Places in `class_names`.
    class_names : tuple of str
    mean, std : tuple of float
        Of each channel, over the training images.
    ink_frame : int, optional
        Where the images are of something written that was trimmed and fitted to a square frame: pixels of its side.
    """

    name: str
    train_images: np.ndarray = field(repr=False)
    train_labels: np.ndarray = field(repr=False)
    test_images: np.ndarray = field(repr=False)
    test_labels: np.ndarray = field(repr=False)
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    ink_frame: int | None = None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Channels, height and width of one image."""
        return self.train_images.shape[1:]

    @property
    def background(self) -> np.ndarray:
        """What a pixel of value 0 became: (C,) float32."""
        return normalise(np.zeros((1, len(self.mean), 1, 1), np.float32), self.mean, self.std).ravel()


def normalise(images: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...]) -> np.ndarray:
    """Return ``(images - mean) / std``, channel by channel, as float32; `images` is (N, C, H, W)."""
    mean, std = (np.asarray(values, np.float32)[:, None, None] for values in (mean, std))
    return (images.astype(np.float32) - mean) / std
