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
        raw = (ctypes.c_char * (n * self.dtype.itemsize)).from_address(self.address + i * self.dtype.itemsize)
        return np.frombuffer(raw, self.dtype)

    def read(self, i: int, mask: NDArray | None, fill: float, lanes: int | None = None, step: int = 1) -> NDArray:
        """Elements i, i + step, ... as lanes; those where the mask is 0 are not touched."""
        lanes = lanes or self.lanes
        values = np.full(lanes, fill, self.dtype)
        for lane in range(lanes) if mask is None else np.flatnonzero(mask):
            values[lane] = self[i + lane * step]
        return values

    def write(self, i: int, values: NDArray, mask: NDArray | None, step: int = 1) -> None:
        """Write lanes to i, i + step, ...; those where the mask is 0 are not touched."""
        for lane in range(len(values)) if mask is None else np.flatnonzero(mask):
            self[i + lane * step] = values[lane]

    def __add__(self, n: int) -> TwinPointer:
        """Return the address of element n."""
        return TwinPointer(self.address + int(n) * self.dtype.itemsize, self.dtype)

    def __getitem__(self, i: int):
        """Return element i."""
        return self.view(int(i), 1)[0]

    def __setitem__(self, i: int, value) -> None:
        """Write element i."""
        self.view(int(i), 1)[0] = np.asarray(value).astype(self.dtype)
