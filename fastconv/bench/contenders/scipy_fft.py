"""SciPy, with what it has for many channels: Fourier transforms of whole images."""

from __future__ import annotations

from math import prod

import numpy as np
import scipy
from scipy import fft

from fastconv.bench.contenders.base import Contender, Declined, Runs
from fastconv.bench.rows import Row, operands

MOST_BYTES = 1 << 29  # of the transformed weights


class SciPy(Contender):
    """The convolution theorem: one product of matrices for each frequency. Strides drop what is not wanted."""

    form = "weights transformed in every call"

    def __init__(self, threads: int):
        self.threads, self.version = threads, scipy.__version__

    def conv2d(self, row: Row) -> Runs:
        """Convolution."""
        case, geometry = row.case, row.case.geometry
        window, groups, out = geometry.window, case.groups, geometry.output_size
        if max(window.dilation) > 1:
            raise Declined("dilation")
        sizes = [n + before + after for n, (before, after) in zip(geometry.input_size, window.padding, strict=True)]
        sizes = [fft.next_fast_len(size, real=True) for size in sizes]
        if 4 * prod(case.w[:2]) * prod(sizes) > MOST_BYTES:
            raise Declined(f"transformed weights of more than {MOST_BYTES >> 20} MiB")
        x, w, b, _ = operands(row)
        padding = [(0, 0), (0, 0), *window.padding]
        images = (slice(0, (n - 1) * s + 1, s) for n, s in zip(out, window.stride, strict=True))
        kept = (..., *images)

        def transformed(array: np.ndarray) -> np.ndarray:
            spectrum = fft.rfft2(array, sizes, workers=self.threads)
            return np.moveaxis(spectrum, (-2, -1), (0, 1))

        def forward() -> np.ndarray:
            image, kernel = transformed(np.pad(x, padding)), transformed(w).conj()
            image = image.reshape(*image.shape[:2], len(x), groups, -1).swapaxes(2, 3)
            kernel = kernel.reshape(*kernel.shape[:2], groups, geometry.group_out, -1)
            product = image @ kernel.swapaxes(-1, -2)  # (frequencies, groups, n, co of the group)
            product = np.moveaxis(product.swapaxes(2, 3).reshape(*product.shape[:2], len(x), -1), (0, 1), (-2, -1))
            y = fft.irfft2(product, sizes, workers=self.threads)[kept]
            return y if b is None else y + b[:, None, None]

        return {"forward": forward}
