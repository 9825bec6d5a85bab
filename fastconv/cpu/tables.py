"""Tables of offsets that a plan gives to compiled code, each kept once."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


class Tables:
    """One array of int32 that holds many tables; equal tables share their place."""

    def __init__(self):
        self._parts: list[NDArray[np.int32]] = []
        self._places: dict[bytes, int] = {}
        self._size = 0

    def place(self, values: Iterable[int]) -> int:
        """Where a table begins.

        Raises
        ------
        ValueError
            An offset passes the range of int32: one image of one group would have 2**31 elements or more.
        """
        table = np.fromiter(values, np.int64) if not isinstance(values, np.ndarray) else values
        if len(table) and max(abs(int(table.min())), abs(int(table.max()))) >= 2**31:
            raise ValueError("an image of one group must have fewer than 2**31 elements")
        table = np.ascontiguousarray(table, np.int32)
        key = table.tobytes()
        if key not in self._places:
            self._places[key] = self._size
            self._parts.append(table)
            self._size += len(table)
        return self._places[key]

    def array(self) -> NDArray[np.int32]:
        """All tables, one after the other."""
        return np.concatenate([*self._parts, np.zeros(1, np.int32)])
