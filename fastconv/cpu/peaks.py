"""What the machine can do: multiply-adds and bytes a second, measured by the kernels' own means."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from fastconv import runtime
from fastconv.cpu.loop import Program, kernel
from fastconv.cpu.microkernel import call_tile, most_rows, tile
from fastconv.cpu.primitive import VECTOR_BYTES
from fastconv.cpu.simd import lanes, load, store

DEPTH, CALLS = 256, 2000
COPIED = 64 << 20  # bytes: past every cache
CHUNK = 256 << 10
ROUNDS = 7


@kernel(tile="int", depth="int", calls="int", x="real", no_steps="int32", c="real", c_step="int", c_rows="int32")
def call_often(args, task, slot):
    """Call a tile whose operands stay in L1."""
    c = args.c + task * args.c_step
    for _ in range(args.calls):
        call_tile(
            args.tile, args.depth, args.x, args.no_steps, args.no_steps, args.x, args.no_steps,
            c, args.c_rows, c, args.c_rows,
        )  # fmt: skip


@kernel(x="real", y="real", count="int")
def copy(args, task, slot):
    """Copy a chunk."""
    x, y = args.x + task * args.count, args.y + task * args.count
    for i in range(0, args.count, lanes(x)):
        store(y, i, load(x, i))


def measure() -> dict[str, float]:
    """Measure the peaks of this machine with the threads that are set, in about a second.

    Returns
    -------
    dict
        ``float32`` and ``float64``: 10**9 floating-point operations a second, a multiply-add counting two; ``copy``:
        10**9 bytes read and written a second.
    """
    return {
        "float32": _multiply_adds(np.dtype(np.float32)),
        "float64": _multiply_adds(np.dtype(np.float64)),
        "copy": _copy(),
    }


def _best(run: Callable[[], None]) -> float:
    """Shortest time of a few runs, in seconds."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def _multiply_adds(dtype: np.dtype) -> float:
    workers, rows = runtime.get_num_threads(), most_rows(2)
    width = 2 * VECTOR_BYTES // dtype.itemsize
    c_step = rows * width + width
    program = Program(dtype, "x c")
    program.add(
        call_often, workers, tile=tile(dtype, rows, 2, rows), depth=DEPTH, calls=CALLS, x=program.x,
        no_steps=program.table(np.zeros(DEPTH)), c=program.c, c_step=c_step,
        c_rows=program.table(np.arange(rows) * width),
    )  # fmt: skip
    x, c = runtime.zeros(width + rows, dtype), runtime.zeros(workers * c_step, dtype)
    return 2 * workers * CALLS * DEPTH * rows * width / _best(lambda: program(x, c)) / 1e9


def _copy() -> float:
    dtype = np.dtype(np.float32)
    program = Program(dtype, "x y")
    program.add(copy, COPIED // CHUNK, x=program.x, y=program.y, count=CHUNK // dtype.itemsize)
    x, y = (runtime.zeros(COPIED // dtype.itemsize, dtype) for _ in range(2))
    return 2 * COPIED / _best(lambda: program(x, y)) / 1e9
