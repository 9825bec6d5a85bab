"""What every contender is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv.bench.rows import Row
from fastconv.geometry import Window

Runs = dict[str, Callable[[], Any]]  # of each pass: one call of what is timed


class Declined(Exception):
    """A contender does not do this row; the text says why."""


class Contender:
    """A library that computes rows.

    A subclass has one method for each work that it knows, named as ``Row.work``, which returns the passes. What is done
    there is not timed: drawing operands, laying them out, building a session.

    Attributes
    ----------
    version : str
    form : str
        What it does ahead of the clock.
    """

    version: str
    form = "weights as given, in every call"

    def prepare(self, row: Row) -> Runs:
        """Return the passes of a row that this library does.

        Raises
        ------
        Declined
            It does none.
        """
        work = getattr(self, row.work, None)
        if work is None:
            raise Declined("not compared")
        runs = work(row)
        if "prepacked" in row.passes:  # who has no other form shows the one it has
            runs.setdefault("prepacked", runs["forward"])
        return runs

    def arrays(self, result: Any) -> list[np.ndarray]:
        """Return what a pass gave as NCHW arrays: y; dx; dw and db."""
        results = result if isinstance(result, tuple | list) else (result,)
        return [np.asarray(array) for array in results if array is not None]


def even_padding(window: Window) -> list[int]:
    """Return the padding of each axis, which must be the same at both ends."""
    if any(before != after for before, after in window.padding):
        raise Declined("uneven padding")
    return [before for before, _ in window.padding]
