"""The host: threads, the pool of reused memory, the kernel cache's directory, and facts about the processor.

Nothing here imports numba until a fact about the compiler is asked for, so that ``import fastconv`` stays light.
"""

from fastconv.runtime.cache import announce_compile, cache_directory, on_compile, source_hash
from fastconv.runtime.facts import host, registers, vector_bytes
from fastconv.runtime.memory import ALIGNMENT, address, clear_workspaces, empty, zeros
from fastconv.runtime.threads import (
    cores,
    flushes_denormals,
    get_num_threads,
    set_flush_denormal,
    set_num_threads,
    start_threading,
    threading_layer,
)

__all__ = [
    "ALIGNMENT",
    "address",
    "announce_compile",
    "cache_directory",
    "clear_workspaces",
    "cores",
    "empty",
    "flushes_denormals",
    "get_num_threads",
    "host",
    "on_compile",
    "registers",
    "set_flush_denormal",
    "set_num_threads",
    "source_hash",
    "start_threading",
    "threading_layer",
    "vector_bytes",
    "zeros",
]
