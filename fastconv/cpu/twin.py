"""Plain-Python pointers: what kernels see when they run without the compiler."""

from __future__ import annotations

import ctypes

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastconv import runtime


class TwinPointer:
    """Address of elements of one dtype, with the operations that compiled pointers have.

    Parameters
    ----------
    address : int
        Where the first element lies. The memory must stay alive while the pointer is used.
    dtype : dtype
        float32, float64, int32, int64 or uint8.
    """

    def __init__(self, address: int, dtype: DTypeLike):
        self.address, self.dtype = int(address), np.dtype(dtype)

    @classmethod
    def to(cls, array: NDArray) -> TwinPointer:
        """Return a pointer to the first element of an array."""
        return cls(array.ctypes.data, array.dtype)

    @property
    def lanes(self) -> int:
        """Elements of one register."""
        return runtime.vector_bytes() // self.dtype.itemsize

    @property
    def integer(self) -> np.dtype:
        """Integers as wide as the elements."""
        return np.dtype(f"i{self.dtype.itemsize}")

    def view(self, i: int, n: int) -> NDArray:
        """Elements i ... i+n-1 as an array that shares the memory."""
        raw = (ctypes.c_char * (n * self.dtype.itemsize)).from_address(self.address + int(i) * self.dtype.itemsize)
        return np.frombuffer(raw, self.dtype)

    def read(self, i: int, mask: NDArray | None, fill: float, lanes: int | None = None, step: int = 1) -> NDArray:
        """Elements i, i + step, ... as lanes; those where the mask is 0 are not touched."""
        values = np.full(lanes or self.lanes, fill, self.dtype)
        for first, last in _runs(mask, len(values), step):
            values[first:last] = self.view(i + first * step, last - first)
        return values

    def write(self, i: int, values: NDArray, mask: NDArray | None, step: int = 1) -> None:
        """Write lanes to i, i + step, ...; those where the mask is 0 are not touched."""
        for first, last in _runs(mask, len(values), step):
            self.view(i + first * step, last - first)[:] = values[first:last].astype(self.dtype)

    def __add__(self, n: int) -> TwinPointer:
        """Return the address of element n."""
        return TwinPointer(self.address + int(n) * self.dtype.itemsize, self.dtype)

    def __getitem__(self, i: int):
        """Return element i; integers as Python's, since kernels compute with 64 bits."""
        value = self.view(i, 1)[0]
        return value if self.dtype.kind == "f" else int(value)

    def __setitem__(self, i: int, value) -> None:
        """Write element i."""
        self.view(i, 1)[0] = np.asarray(value).astype(self.dtype)


def _runs(mask: NDArray | None, lanes: int, step: int) -> list[tuple[int, int]]:
    """Ranges of lanes that are set and lie side by side in memory."""
    if mask is None:
        mask = np.ones(lanes, bool)
    chosen = np.flatnonzero(mask)
    if step != 1:
        return [(lane, lane + 1) for lane in chosen]
    return [(run[0], run[-1] + 1) for run in np.split(chosen, np.flatnonzero(np.diff(chosen) > 1) + 1) if len(run)]
