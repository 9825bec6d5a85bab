"""Arrays from memory that is used again."""

from __future__ import annotations

import ctypes
import math
import threading
from collections import defaultdict, deque

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastconv.arguments import MAX_SIZE

ALIGNMENT = 64  # bytes: a cache line, and one AVX-512 register
PAGE = 4096  # bytes after which addresses share a cache set
STAGGER = 9 * 64  # bytes by which blocks are put apart: batch norm's gradient of 512 maps of 7x7 gained 7-13 %
POOL_LIMIT = 2 << 30  # bytes of free blocks that the pool keeps


class _Memory(np.ndarray):
    """Bytes that the pool owns; `start` is the first one on a cache line."""

    start: int


class _Loan(np.ndarray):
    """View of memory that goes back to the pool when the last array that views the loan is gone.

    Its base is of a class of its own: NumPy shortens chains of views whose bases are plain arrays, and would skip it.
    """

    def __del__(self) -> None:
        _pool.give_back(self.base)


class _Pool:
    """Free blocks by size. A fresh page costs more than some kernels: 9 GB/s, where reused memory runs at 20-30."""

    def __init__(self):
        self._free: dict[int, deque] = defaultdict(deque)
        self._bytes, self._made = 0, 0
        self._lock = threading.RLock()  # a collection inside the locked part may call give_back again

    @staticmethod
    def size_class(nbytes: int) -> int:
        """Sizes rounded up to an eighth of a power of two, so that at most 12 % is unused."""
        step = max(1 << nbytes.bit_length() >> 4, ALIGNMENT)
        return -(-nbytes // step) * step or step

    def take(self, nbytes: int) -> _Memory:
        size = self.size_class(nbytes) + ALIGNMENT + (PAGE if nbytes >= PAGE else 0)
        with self._lock:
            free = self._free[size]
            if free:
                self._bytes -= size
                return free.pop()
            self._made += 1
        memory = _Memory(size, np.uint8)
        # Large blocks come at one place in a page; streams that walk through several would evict each other.
        apart = self._made * STAGGER % PAGE if nbytes >= PAGE else 0
        memory.start = -memory.ctypes.data % ALIGNMENT + apart
        return memory

    def give_back(self, memory: _Memory) -> None:
        with self._lock:
            if self._bytes + memory.nbytes <= POOL_LIMIT:
                self._free[memory.nbytes].append(memory)
                self._bytes += memory.nbytes

    def clear(self) -> None:
        with self._lock:
            self._free.clear()
            self._bytes = 0


_pool = _Pool()


def empty(shape: int | tuple[int, ...], dtype: DTypeLike) -> NDArray:
    """Return an uninitialised C-contiguous array, aligned to 64 bytes, from memory that is used again.

    Raises
    ------
    MemoryError
        If the array needs more bytes than the machine gives, naming them.
    """
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    dtype = np.dtype(dtype)
    nbytes = math.prod(map(int, shape)) * dtype.itemsize
    if nbytes > MAX_SIZE:
        raise MemoryError(f"an array of shape {shape} needs {nbytes} bytes, more than can be addressed")
    try:
        memory = _pool.take(nbytes)
    except (MemoryError, ValueError):  # ValueError: larger than NumPy's own limit
        raise MemoryError(f"no memory for an array of shape {shape} and type {dtype}: {nbytes} bytes") from None
    return np.ndarray(shape, dtype, memory.view(_Loan), memory.start)


def zeros(shape: int | tuple[int, ...], dtype: DTypeLike) -> NDArray:
    """Like `empty`, filled with zeros."""
    array = empty(shape, dtype)
    array.fill(0)
    return array


def address(array: NDArray | None) -> int:
    """Address of the first element of a C-contiguous array; 0 for None."""
    if array is None:
        return 0
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(array))  # 0.9 us, where ``array.ctypes.data`` takes 1.5
    except (TypeError, ValueError):  # read-only, or empty
        return array.ctypes.data


def clear_workspaces() -> None:
    """Free the memory that is kept for reuse. Arrays in use are not touched."""
    _pool.clear()
