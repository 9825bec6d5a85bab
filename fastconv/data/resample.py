"""Bilinear resampling of images: to another size, and through affine maps."""

import numpy as np


def enlarge(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Enlarge images (..., H, W) to (..., *size); pixels are squares, and the outermost go on outside."""
    rows, columns = map(_interpolation, images.shape[-2:], size)
    return rows @ images @ columns.T


def _interpolation(length: int, size: int) -> np.ndarray:
    """Matrix (size, length) that interpolates a line of `length` pixels linearly at the centres of `size` pixels."""
    centres = (np.arange(size) + 0.5) * length / size - 0.5
    distance = np.abs(centres.clip(0, length - 1)[:, None] - np.arange(length))
    return np.maximum(0, 1 - distance).astype(np.float32)


def warp(images: np.ndarray, maps: np.ndarray, fill: float | np.ndarray = 0.0) -> np.ndarray:
    """Resample images through affine maps.

    Output pixel ``p`` takes its value from input position ``A p + t``. Both are measured in pixels from the image's
    centre; ``t`` is a fraction of height and width. Outside the image lies `fill`, which blends in over one pixel.

    Parameters
    ----------
    images : (N, C, H, W) float32 ndarray
    maps : (N, 2, 3) float32 ndarray
        ``[A | t]`` of each image, row axis first.
    fill : float or (C,) ndarray

    Returns
    -------
    (N, C, H, W) float32 ndarray
    """
    n, c, h, w = images.shape
    bordered = np.empty((n, c, h + 2, w + 2), images.dtype)
    bordered[:] = np.reshape(fill, (-1, 1, 1))
    bordered[:, :, 1:-1, 1:-1] = images

    row, below = _cells(maps[:, 0], h, (h, w))
    column, right = _cells(maps[:, 1], w, (h, w))
    planes = np.arange(n * c).reshape(n, c, 1, 1) * ((h + 2) * (w + 2))
    corner = planes + (row * (w + 2) + column)

    def along_row(first):
        return _blend(bordered.take(first, mode="clip"), bordered.take(first + 1, mode="clip"), right)

    return _blend(along_row(corner), along_row(corner + (w + 2)), below)


def _blend(a: np.ndarray, b: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Return ``a + part * (b - a)``, in the memory of `b`."""
    b -= a
    b *= part
    b += a
    return b


def _cells(coefficients: np.ndarray, length: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """On one axis of the bordered input: cell, and position in the cell from 0 to 1, of every output pixel.

    Both are (N, 1, H, W). A cell lies between two neighbouring pixel centres.
    """
    by_row, by_column, shift = coefficients.T[:, :, None, None, None]
    rows, columns = (np.arange(n, dtype=np.float32) - (n - 1) / 2 for n in size)
    position = (by_row * rows[:, None] + (shift * length + (length + 1) / 2)) + by_column * columns
    last = np.nextafter(np.float32(length + 1), np.float32(0))
    np.clip(position, 0, last, out=position)
    cell = position.astype(np.intp)
    position -= cell
    return cell, position
