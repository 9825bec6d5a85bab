"""The one parallel loop, the kernels that it runs, and programs: lists of such loops.

A *kernel* is a function of ``(args, task, slot)``, compiled to a C function for float32 and float64. ``args`` has the
kernel's named arguments; ``task`` is the number of a piece of work; ``slot`` is the number of the worker that does it,
so that each worker has scratch memory of its own. All kernels share one compiled parallel loop, which calls them
through their address: a loop that inlines its work takes numba seconds to compile, since the body is compiled alone and
again inside it.

Each worker has a share of the tasks, and helps others when it is done. Which worker does a task never shows in a
result: a task owns what it writes, and how work is cut into tasks depends on shapes only. So results have the same bits
at any thread count.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache

import numpy as np
from llvmlite import ir
from numba import config, prange
from numba.core import types
from numba.core.typing.templates import signature
from numpy.typing import NDArray

from fastconv import jit, runtime
from fastconv.cpu.arguments import REALS, Args, TwinArgs
from fastconv.cpu.denormals import FLUSH, float_control, set_float_control
from fastconv.cpu.simd import I64, primitive

NUMBERS = REALS | {np.dtype(np.int32): types.int32, np.dtype(np.int64): types.int64}  # what a program may compute in

SCRATCH_STEPS = {"worker_step", "buffer_step"}  # arguments that say how far each worker's scratch memory lies apart

# ---- kernels ---------------------------------------------------------------------------------------------------


class Kernel:
    """A function of ``(args, task, slot)``; compiled, or loaded from the cache, when it is first used for a dtype."""

    def __init__(self, function: Callable, fields: tuple[tuple[str, str], ...]):
        self.function, self.fields = function, fields
        self.__doc__, self.__name__ = function.__doc__, function.__name__
        self._compiled: dict[np.dtype, object] = {}

    def address(self, dtype: np.dtype) -> int:
        """Address of the compiled C function."""
        if dtype not in self._compiled:
            args = Args(NUMBERS[dtype], self.fields)
            self._compiled[dtype] = jit.entry(self.function, signature(types.void, args, types.int64, types.int64))
        return self._compiled[dtype].address

    def block(self, values: dict[str, object]) -> list:
        """Arguments in the kernel's order."""
        names = [name for name, _ in self.fields]
        if set(names) != set(values):
            wrong = sorted(set(names) ^ set(values))
            raise TypeError(f"kernel {self.__name__}: missing or unknown arguments {wrong}")
        return [values[name] for name in names]


def kernel(**fields: str) -> Callable[[Callable], Kernel]:
    """Decorate a kernel, giving each argument's kind.

    Kinds: ``real`` (pointer to float32 or float64), ``int32``, ``int64``, ``uint8`` (pointers), ``int`` (an integer),
    ``scalar`` (one real number).
    """
    return lambda function: Kernel(function, tuple(fields.items()))


# ---- the loop --------------------------------------------------------------------------------------------------


def _emit_call_kernel(b, sig, function, block, task, slot):
    kind = ir.FunctionType(ir.VoidType(), [I64, I64, I64])
    b.call(b.inttoptr(function, kind.as_pointer()), [block, task, slot])


def _integers(result: types.Type, count: int) -> Callable:
    return lambda *args: (result, *[types.int64] * count) if len(args) == count else None


@primitive(_integers(types.void, 4), _emit_call_kernel)
def call_kernel(function: int, block: int, task: int, slot: int) -> None:
    """Call a compiled kernel through its address."""
    raise NotImplementedError("compiled code only")


def _emit_next_task(b, sig, counter):
    place = b.inttoptr(counter, I64.as_pointer())
    return b.atomic_rmw("add", place, ir.Constant(I64, 1), "monotonic")


@primitive(_integers(types.int64, 1), _emit_next_task)
def next_task(counter: int) -> int:
    """Take a number from a counter that all workers share."""
    raise NotImplementedError("compiled code only")


@jit.inline
def work(function, block, counters, tasks, slot, workers, control):
    """Do what one worker does in a step: its share of the tasks, in order, then what others have left of theirs."""
    before = float_control()
    set_float_control(before | control)
    for k in range(workers):
        owner = (slot + k) % workers
        first, last = tasks * owner // workers, tasks * (owner + 1) // workers
        task = first + next_task(counters + 8 * owner)
        while task < last:
            call_kernel(function, block, task, slot)
            task = first + next_task(counters + 8 * owner)
    set_float_control(before)


@jit.inline
def work_alone(function, block, tasks, control):
    """Do all tasks of a step, in order."""
    before = float_control()
    set_float_control(before | control)
    for task in range(tasks):
        call_kernel(function, block, task, 0)
    set_float_control(before)


INT64S = types.Array(types.int64, 1, "C")
INT64S_2D = types.Array(types.int64, 2, "C")
DRIVER = signature(types.int64, INT64S, INT64S, INT64S, INT64S_2D, INT64S_2D, INT64S, types.int64, types.int64)


@jit.inline
def placed(relative, bases, addresses):
    """Arguments of all steps, with the addresses of this call in them."""
    blocks = np.empty(relative.shape, np.int64)
    for s in range(relative.shape[0]):
        for k in range(relative.shape[1]):
            blocks[s, k] = relative[s, k] + addresses[bases[s, k]]
    return blocks


def _run_parallel(functions, tasks, most, relative, bases, addresses, workers, control):
    blocks, counters = placed(relative, bases, addresses), np.empty(workers, np.int64)
    for s in range(functions.size):
        block, busy = blocks.ctypes.data + 8 * blocks.shape[1] * s, min(workers, most[s])
        if busy == 1:
            work_alone(functions[s], block, tasks[s], control)
        else:
            counters[:] = 0
            for slot in prange(busy):
                work(functions[s], block, counters.ctypes.data, tasks[s], slot, busy, control)
    return blocks.size + counters.size  # a use at the end: numba frees an array after the last one that it sees


def _run_serial(functions, tasks, most, relative, bases, addresses, workers, control):
    blocks = placed(relative, bases, addresses)
    for s in range(functions.size):
        work_alone(functions[s], blocks.ctypes.data + 8 * blocks.shape[1] * s, tasks[s], control)
    return blocks.size  # as above


@cache
def _driver(parallel: bool) -> Callable:
    return jit.driver(DRIVER, parallel=parallel)(_run_parallel if parallel else _run_serial)


_one_launch = threading.Lock()


@cache
def launch_lock() -> AbstractContextManager:
    """Return what to hold while a parallel loop runs: numba's own threading layer does not bear two at a time."""
    return _one_launch if runtime.threading_layer() == "workqueue" else nullcontext()


# ---- programs --------------------------------------------------------------------------------------------------


class At:
    """An argument that changes from call to call: the address of an array of the call, plus bytes."""

    def __init__(self, base: int, offset: int = 0):
        self.base, self.offset = base, offset

    def __add__(self, nbytes: int) -> At:
        return At(self.base, self.offset + nbytes)


def _with_gap(nbytes: int) -> int:
    """Round up to cache lines, and one more: streams a multiple of 4096 bytes apart would evict each other."""
    return (-(-nbytes // 64) + 1) * 64


class Program:
    """Steps that run one after the other in one compiled call; built once for a shape, called with arrays.

    Steps that only pack weights come first, and can be run once for many calls: `pack` returns what they write, and a
    call that is given it leaves them out.

    Parameters
    ----------
    dtype : dtype
        float32 or float64; int32 or int64 for kernels of sums of integers.
    arrays : str
        Names of the arrays of a call, in order; ``program.x`` is then `x`'s address as an argument of a step.
    """

    def __init__(self, dtype: np.dtype, arrays: str):
        self.dtype = np.dtype(dtype)
        self.names = arrays.split()
        for k, name in enumerate(self.names):
            setattr(self, name, At(k + 1))
        self.nbytes, self.nbytes_packed, self.nbytes_per_worker = 0, 0, 0
        self.multiplies_padding = False  # whether zeros stand for padding: 0 * inf is NaN
        self.prepacked: Callable[[], Program] = lambda: self  # makes what does the same better with packed weights
        self._packing: list[tuple[Kernel, int, int, list]] = []
        self._steps: list[tuple[Kernel, int, int, list]] = []
        self._kept: list[NDArray] = []
        self._frozen: dict[bool | None, tuple] = {}

    def workspace(self, elements: int, dtype: np.dtype | None = None) -> At:
        """Scratch memory that all steps of a call share; its contents do not outlive the call."""
        place = At(len(self.names) + 1, self.nbytes)
        self.nbytes += _with_gap(elements * np.dtype(dtype or self.dtype).itemsize)
        return place

    def packed(self, elements: int) -> At:
        """Memory for packed weights: scratch memory, unless `pack` writes it for many calls."""
        place = At(len(self.names) + 3, self.nbytes_packed)
        self.nbytes_packed += _with_gap(elements * self.dtype.itemsize)
        return place

    def worker_workspace(self, elements: int) -> tuple[At, int]:
        """Scratch memory of each worker, asked for once: its place, and the elements from one worker to the next."""
        nbytes = _with_gap(elements * self.dtype.itemsize)
        self.nbytes_per_worker = max(self.nbytes_per_worker, nbytes)
        return At(len(self.names) + 2), nbytes // self.dtype.itemsize

    def table(self, values, dtype: np.dtype = np.int32) -> int:
        """Keep a table alive with the program, and return its address.

        Raises
        ------
        OverflowError
            An integer does not fit into `dtype`.
        """
        values = np.asarray(values)
        table = np.ascontiguousarray(values, dtype)
        if table.dtype.kind == "i" and not np.array_equal(table, values):
            raise OverflowError(f"a table of offsets reaches {values.max()}, which is no {table.dtype}")
        self._kept.append(table)
        return table.ctypes.data

    def add(self, step: Kernel, tasks: int, /, *, alone: bool = False, packs: bool = False, **arguments) -> None:
        """Append a step: `tasks` calls of a kernel with these arguments.

        A step of less than some 30 us does best `alone`, on one thread: to share it with another costs 10 us. One that
        `packs` reads nothing but weights, and writes nothing but `packed` memory.
        """
        if tasks > 0:
            steps = self._packing if packs else self._steps
            steps.append((step, int(tasks), 1 if alone else int(tasks), step.block(arguments)))

    def _chosen(self, packing: bool | None) -> list:
        """Return the steps that pack, or those that do not; all for None."""
        return {True: self._packing, False: self._steps, None: self._packing + self._steps}[packing]

    def _freeze(self, steps: list) -> tuple:
        width = max(len(block) for *_, block in steps)
        relative = np.zeros((len(steps), width), np.int64)
        bases = np.zeros((len(steps), width), np.int64)
        for s, (*_, block) in enumerate(steps):
            for k, value in enumerate(block):
                if isinstance(value, At):
                    bases[s, k], relative[s, k] = value.base, value.offset
                elif isinstance(value, float):
                    relative[s, k] = np.float64(value).view(np.int64)
                else:
                    relative[s, k] = value
        functions = np.array([step.address(self.dtype) for step, *_ in steps], np.int64)
        tasks, most = np.array([sizes for _, *sizes, _ in steps], np.int64).T.copy()
        return functions, tasks, most, relative, bases

    def __call__(self, *arrays: NDArray | None, packed: NDArray[np.uint8] | None = None) -> None:
        """Run all steps; where `packed` is what `pack` has returned, those that pack are left out.

        An array that is None has the address 0.
        """
        self._run(None if packed is None else False, arrays, packed)

    def pack(self, *arrays: NDArray | None) -> NDArray[np.uint8]:
        """Run the steps that pack, and return what they have written. Arrays but the weights and bias may be None."""
        packed = runtime.empty(self.nbytes_packed, np.uint8)
        self._run(True, arrays, packed)
        return packed

    def reads(self, name: str) -> bool:
        """Whether a step that does not pack takes an array of the call."""
        base = self.names.index(name) + 1
        return any(isinstance(value, At) and value.base == base for *_, block in self._steps for value in block)

    def packing_key(self) -> tuple:
        """Return what decides what `pack` writes: programs with equal keys can share it."""
        tables = {table.ctypes.data: table.tobytes() for table in self._kept}

        def deciding(name: str, value: object) -> object:
            if isinstance(value, At):
                return value.base, value.offset if value.base != len(self.names) + 2 else None
            return None if name in SCRATCH_STEPS else tables.get(value, value)

        return tuple(
            (step, tasks, *(deciding(name, value) for (name, _), value in zip(step.fields, block, strict=True)))
            for step, tasks, _, block in self._packing
        )

    def _run(self, packing: bool | None, arrays: tuple, packed: NDArray[np.uint8] | None) -> None:
        steps = self._chosen(packing)
        if not steps:
            return
        if config.DISABLE_JIT:
            self._call_twins(arrays, packing, packed)
            return
        if packing not in self._frozen:
            self._frozen[packing] = self._freeze(steps)
        functions, tasks, most, relative, bases = self._frozen[packing]
        workers = runtime.get_num_threads()
        nbytes = self._nbytes(workers, packed)
        workspace = runtime.empty(nbytes, np.uint8) if nbytes else None
        addresses = self._addresses(arrays, workspace, packed)
        control = FLUSH if runtime.flushes_denormals() else 0
        if workers == 1:
            _driver(False)(functions, tasks, most, relative, bases, addresses, 1, control)
            return
        with launch_lock():
            _driver(True)(functions, tasks, most, relative, bases, addresses, workers, control)

    def _nbytes(self, workers: int, packed: NDArray[np.uint8] | None) -> int:
        """Scratch memory of a call: what steps share, each worker's, and packed weights where none are given."""
        return self.nbytes + workers * self.nbytes_per_worker + (self.nbytes_packed if packed is None else 0)

    def _addresses(self, arrays: tuple, workspace: NDArray | None, packed: NDArray | None) -> NDArray[np.int64]:
        *places, start = map(runtime.address, (*arrays, workspace))
        if packed is not None:
            return np.array([0, *places, start, start + self.nbytes, runtime.address(packed)], np.int64)
        after = start + self.nbytes
        return np.array([0, *places, start, after + self.nbytes_packed, after], np.int64)

    def _call_twins(self, arrays: tuple, packing: bool | None = None, packed: NDArray | None = None) -> None:
        workspace = np.empty(self._nbytes(1, packed) + 64, np.uint8)
        workspace = workspace[-workspace.ctypes.data % 64 :]
        addresses = self._addresses(arrays, workspace, packed)
        for step, tasks, _, block in self._chosen(packing):
            values = [addresses[v.base] + v.offset if isinstance(v, At) else
                      np.float64(v).view(np.int64) if isinstance(v, float) else v for v in block]  # fmt: skip
            args = TwinArgs(self.dtype, step.fields, np.array(values, np.int64))
            for task in range(tasks):
                step.function(args, task, 0)
