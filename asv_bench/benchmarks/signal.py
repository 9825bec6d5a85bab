"""SciPy's and NumPy's convolutions of images and signals."""

import numpy as np

import fastconv
from fastconv import signal

THREADS = (1, 2)


def numbers(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    return (np.random.default_rng(0).random(shape) * 200).astype(dtype)


class Image:
    """Kernels on an image of 1024 x 1024."""

    param_names = ["kernel", "dtype", "threads"]
    params = [[3, 7, 15], ["uint8", "float32", "float64"], THREADS]

    def setup(self, kernel, dtype, threads):
        fastconv.set_num_threads(threads)
        self.x, self.w = numbers((1024, 1024), dtype), numbers((kernel, kernel), dtype)
        self.time_convolve2d(kernel, dtype, threads)
        self.time_ndimage(kernel, dtype, threads)
        self.time_ndimage_columns(kernel, dtype, threads)

    def time_convolve2d(self, kernel, dtype, threads):
        signal.convolve2d(self.x, self.w, "same", "symm")

    def time_ndimage(self, kernel, dtype, threads):
        signal.ndimage.correlate(self.x, self.w)

    def time_ndimage_columns(self, kernel, dtype, threads):
        signal.ndimage.correlate1d(self.x, self.w[0], axis=0)


class Signal:
    """Kernels on a signal: short ones, and one that is worth a transform."""

    param_names = ["samples", "kernel", "dtype"]
    params = [[100, 10_000, 1_000_000], [3, 31, 501], ["float32", "float64"]]

    def setup(self, samples, kernel, dtype):
        fastconv.set_num_threads(1)
        self.x, self.w = numbers((samples,), dtype), numbers((kernel,), dtype)
        self.time_convolve(samples, kernel, dtype)

    def time_convolve(self, samples, kernel, dtype):
        signal.convolve(self.x, self.w, "same")
