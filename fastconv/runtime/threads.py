"""How many threads the kernels use, on what layer, and how they treat tiny numbers."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import platform
from functools import cache

from fastconv.arguments import as_flag, as_int

MOST_THREADS = 1024
X86 = platform.machine().lower() in ("x86_64", "amd64")


class _State:
    """What a process changes while it runs."""

    threads: int | None = None
    forked = False
    flush_denormals = False


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


def set_flush_denormal(mode: bool) -> bool:
    """Take numbers too small for a full exponent (below 1.2e-38 in float32) for zeros, inside the kernels only.

    With it such numbers cost no more than others; without it, as at the start, up to 190 times as much.

    Parameters
    ----------
    mode : bool

    Returns
    -------
    bool
        Whether this processor can: x86-64 can. As in PyTorch, where it cannot, nothing changes.
    """
    _State.flush_denormals = as_flag("set_flush_denormal", "mode", mode) and X86
    return X86


def flushes_denormals() -> bool:
    """Whether kernels take denormal numbers for zeros."""
    return _State.flush_denormals


@cache
def start_threading() -> str:
    """Prepare numba's threads once, before the first parallel loop, and return the name of the layer it will use.

    pip's ``tbb`` lies where the dynamic linker does not look: its library is loaded by path first. Measured, an empty
    parallel loop costs 1.5 us on TBB, 30 us on OpenMP and 80 us on numba's own workqueue.
    """
    _load_tbb()
    settle_target()
    from numba import config

    # Numba reads its variables again after any of them has changed, and refuses to once its threads run.
    config.reload_config()
    # Numba takes the number of its threads once. With four at least, thread counts above the cores can be tested.
    if "NUMBA_NUM_THREADS" not in os.environ:
        config.NUMBA_NUM_THREADS = max(4, cores())
    return config.THREADING_LAYER


def settle_target() -> None:
    """Give a chosen processor its own features, not the host's, unless these are chosen as well."""
    if os.environ.get("NUMBA_CPU_NAME"):
        os.environ.setdefault("NUMBA_CPU_FEATURES", "")


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


def threading_layer() -> str:
    """Start numba's threads if need be and name the layer in use: tbb, omp or workqueue."""
    start_threading()
    import numba

    numba.get_num_threads()  # starts them
    return numba.threading_layer()
