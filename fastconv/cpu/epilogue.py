"""What happens to the sums of a convolution as they are written: an addend, then the limits of ReLU or ReLU6.

    y = min(max(sum + addend, low), high)

Every plan takes an `Epilogue`, and all its kernels end alike: `ending_of` reads it from their arguments, and `finished`
treats a vector on its way to memory, so that no pass over y follows. Without limits these are infinite: to compare with
them takes 0 to 3 % of the time, where a second form of each kernel would have to be compiled.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import inf

import numpy as np
from numpy.typing import NDArray

from fastconv import jit
from fastconv.cpu.finish import finish
from fastconv.cpu.loop import At, Program, kernel
from fastconv.cpu.simd import VECTOR_BYTES, address_of, head, lanes, load, select, splat, store


@dataclass(frozen=True, slots=True)
class Epilogue:
    """What a plan does to its sums.

    Attributes
    ----------
    low, high : float
        Limits of the results. NaN stays NaN.
    added : bool
        Whether the program takes one more array, an addend in the shape of y.
    """

    low: float = -inf
    high: float = inf
    added: bool = False

    def program(self, dtype: np.dtype) -> Program:
        """Return an empty program of (x, w, b, y), and of the addend if there is one."""
        return Program(dtype, "x w b y addend" if self.added else "x w b y")

    def arguments(self, program: Program, nbytes: int = 0) -> dict[str, At | int]:
        """Values of EPILOGUE_FIELDS for a step that writes y from so many bytes on."""
        limits = program.table([self.low, self.high], program.dtype)
        return {"addend": program.addend + nbytes if self.added else 0, "limits": limits}


PLAIN = Epilogue()
EPILOGUE_FIELDS = {"addend": "real", "limits": "real"}


@jit.inline
def distance(addend, y):
    """Elements from y to the addend, which has y's layout; 0 where there is none."""
    if address_of(addend) == 0:
        return 0
    return (address_of(addend) - address_of(y)) // (VECTOR_BYTES // lanes(y))


@jit.inline
def ending_of(args):
    """Return what `finished` takes: the limits, and the distance of the addend."""
    y, limits = args.y, args.limits
    return splat(y, limits[0]), splat(y, limits[1]), distance(args.addend, y)


@jit.inline
def no_ending(y):
    """Return the ending that leaves sums as they are, for kernels that have no other."""
    return splat(y, -inf), splat(y, inf), 0


@jit.inline
def finished(v, y, i, mask, ending):
    """Return what goes to ``y[i]`` and on, where `v` has the sums."""
    low, high, apart = ending
    return finish(v, y, i, mask, low, high, apart)


# ---- the gradient ----------------------------------------------------------------------------------------------

CHUNK = 1 << 15  # elements of a task


@kernel(dy="real", y="real", dx="real", low="scalar", high="scalar", size="int")
def pass_within(args, task, slot):
    """Write dx = dy where y is within the limits or NaN, else 0."""
    n, last = lanes(args.y), min(args.size, (task + 1) * CHUNK)
    zero, low, high = splat(args.y, 0.0), splat(args.y, args.low), splat(args.y, args.high)
    for i in range(task * CHUNK, last, n):
        mask = head(args.y, last - i)
        y, dy = load(args.y, i, mask), load(args.dy, i, mask)
        store(args.dx, i, select(y <= low, zero, select(y >= high, zero, dy)), mask)


@lru_cache(maxsize=256)
def _backward_plan(size: int, dtype: np.dtype, low: float, high: float) -> Program:
    program = Program(dtype, "dy y dx")
    tasks, arrays = -(-size // CHUNK), {name: getattr(program, name) for name in program.names}
    program.add(pass_within, tasks, alone=tasks == 1, low=low, high=high, size=size, **arrays)
    return program


def limits_backward(dy: NDArray, y: NDArray, dx: NDArray, epilogue: Epilogue) -> None:
    """Write dx = dy where the result y lies between the limits or is NaN, and 0 at the limits and beyond."""
    _backward_plan(y.size, y.dtype, epilogue.low, epilogue.high)(dy, y, dx)
