"""The host: threads, the pool of reused memory, the kernel cache's directory, and facts about the processor.

Nothing here imports numba until a fact about the compiler is asked for, so that ``import fastconv`` stays light.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.metadata
import math
import os
import sys
import tempfile
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastconv.arguments import MAX_SIZE, as_int

ALIGNMENT = 64  # bytes: a cache line, and one AVX-512 register
PAGE = 4096  # bytes after which addresses share a cache set
STAGGER = 9 * 64  # bytes by which blocks are put apart: batch norm's gradient of 512 maps of 7x7 gained 7-13 %
POOL_LIMIT = 2 << 30  # bytes of free blocks that the pool keeps
MOST_THREADS = 1024

# ---- threads ---------------------------------------------------------------------------------------------------


class _State:
    """What a process changes while it runs."""

    threads: int | None = None
    forked = False
    compile_callbacks: list[Callable[[str], None]] = []


def cores() -> int:
    """Processors that this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def set_num_threads(n: int) -> None:
    """Set how many threads the kernels use. Results do not depend on it, to the bit.

    Parameters
    ----------
    n : int
        From 1 to 1024. More threads than cores are allowed and gain nothing.

    Raises
    ------
    TypeError, ValueError
        `n` is not an integer, or out of range.
    """
    _State.threads = as_int("set_num_threads", "n", n, low=1, high=MOST_THREADS)


def get_num_threads() -> int:
    """Threads that the kernels use: what was set, else ``FASTCONV_NUM_THREADS``, else the cores of this process.

    Raises
    ------
    ValueError
        The environment variable is no number of threads.
    """
    if _State.threads is None:
        chosen = os.environ.get("FASTCONV_NUM_THREADS") or str(min(cores(), MOST_THREADS))
        if not chosen.isdecimal() or not 1 <= int(chosen) <= MOST_THREADS:
            raise ValueError(f"FASTCONV_NUM_THREADS must be an integer from 1 to {MOST_THREADS}, got {chosen!r}")
        _State.threads = int(chosen)
    return 1 if _State.forked else _State.threads


@cache
def start_threading() -> str:
    """Prepare numba's threads once, before the first parallel loop, and return the name of the layer it will use.

    pip's ``tbb`` lies where the dynamic linker does not look: its library is loaded by path first. Measured, an empty
    parallel loop costs 1.5 us on TBB, 30 us on OpenMP and 80 us on numba's own workqueue.
    """
    _load_tbb()
    from numba import config

    # Numba takes the number of its threads once. With four at least, thread counts above the cores can be tested.
    if "NUMBA_NUM_THREADS" not in os.environ:
        config.NUMBA_NUM_THREADS = max(4, cores())
    return config.THREADING_LAYER


def _load_tbb() -> None:
    try:
        distribution = importlib.metadata.distribution("tbb")
    except importlib.metadata.PackageNotFoundError:
        return
    for file in distribution.files or []:
        if file.name in ("libtbb.so.12", "libtbb.12.dylib", "tbb12.dll"):
            try:
                ctypes.CDLL(str(distribution.locate_file(file)), mode=ctypes.RTLD_GLOBAL)
            except OSError:
                pass  # numba falls back to OpenMP or its own layer
            return


def _after_fork() -> None:
    # OpenMP kills a forked child that starts a parallel loop; serial kernels are right everywhere.
    _State.forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

# ---- memory ----------------------------------------------------------------------------------------------------


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


# ---- the kernel cache ------------------------------------------------------------------------------------------


def on_compile(callback: Callable[[str], None]) -> Callable[[], None]:
    """Call ``callback(name)`` before each kernel is compiled; return a function that ends it."""
    _State.compile_callbacks.append(callback)
    return lambda: _State.compile_callbacks.remove(callback) if callback in _State.compile_callbacks else None


def announce_compile(name: str) -> None:
    """Tell those who asked through `on_compile`."""
    for callback in list(_State.compile_callbacks):
        callback(name)


@cache
def source_hash() -> str:
    """Hash of every kernel source and of the compiler's versions.

    Numba's own key knows the function's file only: an edited helper in another file would run old code.
    """
    package = Path(__file__).parent
    digest = hashlib.sha256()
    for file in sorted([*package.glob("cpu/*.py"), package / "jit.py", package / "runtime.py"]):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    for name in ("numba", "llvmlite", "numpy"):
        digest.update(f"{name} {importlib.metadata.version(name)}".encode())
    digest.update(sys.version.encode())
    return digest.hexdigest()[:16]


@cache
def cache_directory() -> Path | None:
    """Where compiled kernels are kept: ``FASTCONV_CACHE_DIR``, else the user's cache directory, else a temporary one.

    None where nothing can be written: kernels are then compiled anew in each process.
    """
    chosen = os.environ.get("FASTCONV_CACHE_DIR")
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    temporary = os.path.join(tempfile.gettempdir(), f"fastconv-{getattr(os, 'getuid', lambda: 0)()}")
    for base in [chosen] if chosen else [os.path.join(home, "fastconv"), temporary]:
        directory = Path(base) / f"kernels-{source_hash()}"
        if _writable(directory):
            _remove_old(directory)
            return directory
    return None


def _writable(directory: Path) -> bool:
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Compiled code is loaded from here: a directory that somebody else owns is not trusted.
        if hasattr(os, "getuid") and directory.stat().st_uid != os.getuid():
            return False
        with tempfile.TemporaryFile(dir=directory):
            return True
    except OSError:
        return False


def _remove_old(directory: Path, days: float = 60) -> None:
    """Remove the kernels of other versions that nobody used for a while."""
    import shutil

    os.utime(directory)
    for other in directory.parent.glob("kernels-*"):
        if other != directory and time.time() - other.stat().st_mtime > days * 86400:
            shutil.rmtree(other, ignore_errors=True)


# ---- facts -----------------------------------------------------------------------------------------------------


@cache
def vector_bytes() -> int:
    """Bytes of one SIMD register of the processor that the compiler aims at: 64, 32 or 16.

    The compiler itself is asked: a 64-byte addition is compiled and the registers in its assembly are looked at. So
    ``NUMBA_CPU_NAME=haswell`` gives 32 on an AVX-512 machine.
    """
    import llvmlite.binding as llvm

    name, features = _target()
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(cpu=name, features=features)
    source = (
        "define void @f(ptr %p) {\n %v = load <16 x float>, ptr %p\n %s = fadd <16 x float> %v, %v\n"
        " store <16 x float> %s, ptr %p\n ret void\n}"
    )
    assembly = machine.emit_assembly(llvm.parse_assembly(source))
    return 64 if "zmm" in assembly else 32 if "ymm" in assembly else 16


def _target() -> tuple[str, str]:
    """Name and features of the processor that numba compiles for."""
    # A chosen processor has its own features, not the host's, unless these are chosen as well.
    if os.environ.get("NUMBA_CPU_NAME"):
        os.environ.setdefault("NUMBA_CPU_FEATURES", "")
    import llvmlite.binding as llvm
    from numba import config
    from numba.core import codegen

    name = config.CPU_NAME or llvm.get_host_cpu_name()
    if config.CPU_NAME and "NUMBA_CPU_FEATURES" in os.environ:
        config.CPU_FEATURES = os.environ["NUMBA_CPU_FEATURES"]
    features = config.CPU_FEATURES if config.CPU_FEATURES is not None else codegen.get_host_cpu_features()
    return name, features


@cache
def registers() -> int:
    """SIMD registers of the processor that the compiler aims at."""
    import platform

    return 32 if vector_bytes() == 64 or platform.machine() in ("arm64", "aarch64") else 16


def host() -> dict[str, object]:
    """Facts about the machine and the compiler, as ``fastconv info`` prints them."""
    import platform

    import numba

    name, features = _target()
    known = ("sse2", "sse4.2", "avx", "fma", "avx2", "avx512f", "avx512vl", "avx512_vnni", "avx512vnni", "neon", "sve")
    active = {f[1:] for f in features.split(",") if f.startswith("+")}
    return {
        "machine": platform.machine(),
        "cpu": _model_name() or name,
        "target": name,
        "features": [f for f in known if f in active],
        "cores": cores(),
        "threads": get_num_threads(),
        "vector_bytes": vector_bytes(),
        "threading_layer": threading_layer(),
        "cache_directory": str(cache_directory() or "none: not writable"),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
    }


def threading_layer() -> str:
    """Start numba's threads if need be and name the layer in use: tbb, omp or workqueue."""
    start_threading()
    import numba

    numba.get_num_threads()  # starts them
    return numba.threading_layer()


def _model_name() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return None
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), None)
