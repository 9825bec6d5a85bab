"""Operations whose weights are packed once, for inference.

Before it multiplies, a plan brings weights into the order in which the register tile reads them, or transforms them.
That is a share of the time where batches are small; with fixed weights once is enough. How weights are packed depends
on the plan, and so on the shape of the input: a copy is made when a shape comes first, and shared with other shapes
whose plans pack alike, as a rule those that differ in the batch alone.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import partial
from math import prod
from typing import Self

import numpy as np

from fastconv import runtime
from fastconv.arguments import as_flag
from fastconv.arrays import reals
from fastconv.cpu import gemm
from fastconv.cpu.loop import Program
from fastconv.geometry import ConvGeometry
from fastconv.ops import passes
from fastconv.ops.ending import Ending


class Packed:
    """What both classes below are: weights, and their packed copies by what a plan depends on.

    Parameters
    ----------
    w, b : ndarray, or None for `b`
        Copied, unless they are read-only.

    Attributes
    ----------
    w, b : ndarray or None
        Read-only.
    """

    def __init__(self, w: np.ndarray, b: np.ndarray | None = None):
        self.w, self.b = (None if array is None else _frozen(array) for array in reals(self.op, w=w, b=b))
        self._plans: dict[Hashable, tuple] = {}
        self._copies: dict[tuple, np.ndarray] = {}

    op = "packed"

    @property
    def nbytes(self) -> int:
        """Bytes of all packed copies."""
        return sum(packed.nbytes for packed in self._copies.values())

    def __deepcopy__(self, memo: dict) -> Self:
        """Return the object itself: it does not change."""
        return self

    def _keep(self, key: Hashable, program: Program, y_shape: tuple[int, ...]) -> tuple:
        """Return what runs a program with packed weights, what it still reads of w and b, and the shape of y."""
        packing = program.packing_key()
        if packing not in self._copies:
            others = [None] * (len(program.names) - 3)
            self._copies[packing] = program.pack(None, self.w, self.b, *others)
        w, b = (array if program.reads(name) else None for name, array in (("w", self.w), ("b", self.b)))
        found = self._plans[key] = partial(program, packed=self._copies[packing]), w, b, y_shape
        return found


class PackedConv2d(Packed):
    """`fastconv.conv2d` with fixed weights; gradients it has none.

    Parameters
    ----------
    w, b, stride, padding, dilation, groups
        As in `conv2d`.

    Raises
    ------
    TypeError, ValueError
        An argument has a wrong type or value; some are found when the first input comes.
    """

    op = "conv2d"

    def __init__(self, w, b=None, stride=1, padding=0, dilation=1, groups=1):
        super().__init__(w, b)
        self._options = stride, padding, dilation, groups
        self._finite = bool(np.isfinite(self.w).all())

    def __call__(self, x: np.ndarray, *, residual: np.ndarray | None = None, relu: bool | float = False) -> np.ndarray:
        """Return what `conv2d` returns; another algorithm may be the fastest now, and round in another way."""
        x, residual = reals(self.op, x=x, residual=residual)
        if x.ndim == self.w.ndim - 1:  # a sample without a batch axis
            return self(x[None], residual=None if residual is None else residual[None], relu=relu)[0]
        key = x.shape, residual is not None, type(relu), relu
        run, w, b, y_shape = self._plans.get(key) or self._plan(key, x, residual, relu)
        if x.dtype is not self.w.dtype or (residual is not None and residual.shape != y_shape):
            reals(self.op, x=x, w=self.w)
            Ending(self.op, y_shape, residual, relu)
        y = runtime.empty(y_shape, x.dtype)
        run(x, w, b, y, *(() if residual is None else (residual,)))
        return y

    def _plan(self, key: Hashable, x: np.ndarray, residual: np.ndarray | None, relu: bool | float) -> tuple:
        reals(self.op, x=x, w=self.w)
        b_shape = None if self.b is None else self.b.shape
        geometry = ConvGeometry.make(self.op, x.shape, self.w.shape, b_shape, *self._options, ndim=2)
        end = Ending(self.op, geometry.y_shape, residual, relu)
        about = geometry, x.dtype, self.b is not None, "auto", end.epilogue
        program = passes.forward_program(*about, lambda: self._finite, prepacked=True)
        return self._keep(key, program, geometry.y_shape)


class PackedLinear(Packed):
    """`fastconv.linear` with fixed weights; gradients it has none.

    Parameters
    ----------
    w, b
        As in `linear`.
    """

    op = "linear"

    def __call__(self, x: np.ndarray, *, relu: bool = False) -> np.ndarray:
        """Return what `linear` returns, to the bit."""
        (x,) = reals(self.op, x=x)
        outputs, inputs = self.w.shape
        if x.dtype is not self.w.dtype:
            reals(self.op, x=x, w=self.w)
        if x.ndim < 1 or x.shape[-1] != inputs:
            raise ValueError(f"{self.op}: x must have shape (..., {inputs}), got {x.shape}")
        y = runtime.empty((*x.shape[:-1], outputs), x.dtype)
        if y.size:
            key = rows, _ = prod(x.shape[:-1]), as_flag(self.op, "relu", relu)
            about = rows, inputs, outputs, x.dtype, self.b is not None, relu
            run, w, b, _ = self._plans.get(key) or self._keep(key, gemm.forward_plan(*about), y.shape)
            run(x, w, b, y)
        return y


def _frozen(array: np.ndarray) -> np.ndarray:
    """Return a read-only copy, or the array itself if it is that already."""
    if array.flags.writeable:
        array = array.copy()
        array.flags.writeable = False
    return array
