"""The only place that spells numba's options.

Numba's ``fastmath`` is never used: it would give its freedoms to every operation of a kernel, and a compiler that may
assume that there is no NaN makes ``max([1, nan, 2])`` 2. The vector operators + - * have one freedom, ``contract``: a
product and a sum may become one fused operation. Otherwise a kernel computes what it says, in the order in which it
says so; `exp` relies on that, and so do bits that stay the same from one release of the compiler to the next.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import SimpleNamespace

from numba import config, njit
from numba.core.caching import FunctionCache, IndexDataCacheFile, NullCache
from numba.core.ccallback import CFunc
from numba.core.typing.templates import Signature
from numba.extending import register_jitable

from fastconv import runtime

FLOAT_FREEDOMS = ("contract",)

runtime.start_threading()
runtime.vector_bytes()  # settles which processor numba compiles for, before anything is compiled


class KernelCache(FunctionCache):
    """Numba's cache in a directory of our own: misses are announced, damaged files replaced, full disks ignored."""

    def load_overload(self, sig, target_context):
        """Return the kernel from the cache, or None."""
        # An index for each signature and processor. Numba has one for all, with numbered files: of two processes that
        # compile for different types at once, one would find the other's code under its own number.
        key = repr(self._index_key(sig, target_context.codegen()))
        name = f"{self._impl.filename_base}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
        self._cache_file = IndexDataCacheFile(self._cache_path, name, self._impl.locator.get_source_stamp())
        try:
            found = super().load_overload(sig, target_context)
        except Exception:  # truncated or foreign: numba raises EOFError, UnpicklingError, RuntimeError, ...
            found = None
            self._forget()
        if found is None:
            runtime.announce_compile(self._py_func.__name__)
        return found

    def _forget(self) -> None:
        try:
            self.flush()
        except OSError:
            self.disable()

    def save_overload(self, sig, data):
        """Keep a kernel."""
        try:
            super().save_overload(sig, data)
        except OSError:
            self.disable()


class _NoCache(NullCache):
    """Nothing can be written: every kernel is compiled in this process."""

    def __init__(self, name: str):
        self._kernel_name = name

    def load_overload(self, sig, target_context):
        """Announce that the kernel will be compiled."""
        runtime.announce_compile(self._kernel_name)


def _cache_of(function: Callable) -> FunctionCache | NullCache:
    directory: Path | None = runtime.cache_directory()
    if directory is None:
        return _NoCache(function.__name__)
    # Numba reads its directory once, when a cache object is made; other users of numba keep theirs.
    saved = config.CACHE_DIR, config.CACHE_LOCATOR_CLASSES
    config.CACHE_DIR, config.CACHE_LOCATOR_CLASSES = str(directory), ""
    try:
        return KernelCache(function)
    except (OSError, RuntimeError):
        return _NoCache(function.__name__)
    finally:
        config.CACHE_DIR, config.CACHE_LOCATOR_CLASSES = saved


def inline(function: Callable) -> Callable:
    """Let kernels call a helper. It stays a plain function, so that kernels also run as plain Python."""
    return register_jitable(error_model="numpy", nogil=True, forceinline=True)(function)


_names = count(1)


def entry(function: Callable, signature: Signature) -> CFunc | SimpleNamespace:
    """Compile a kernel to a C function, or load it; ``.address`` is where it lies.

    With ``NUMBA_DISABLE_JIT=1`` twins run in its place; the address then only tells one kernel from another.
    """
    if config.DISABLE_JIT:
        return SimpleNamespace(address=next(_names))
    compiled = CFunc(
        function,
        sig=(signature.args, signature.return_type),
        locals={},
        options={"error_model": "numpy"},
    )
    compiled._cache = _cache_of(function)
    compiled.compile()
    return compiled


# What else numba would make parallel loops of: each would cost as much as a step.
PRANGE_ONLY = {"prange": True} | dict.fromkeys(
    ("comprehension", "reduction", "inplace_binop", "setitem", "numpy", "stencil", "fusion"), False
)


def driver(signature: Signature, *, parallel: bool) -> Callable:
    """Decorate a function that Python calls to start kernels; it has one signature and releases Python's lock."""

    def decorate(function: Callable) -> Callable:
        compiled = njit(parallel=PRANGE_ONLY if parallel else False, nogil=True, error_model="numpy")(function)
        compiled._cache = _cache_of(function)
        compiled.compile(signature)
        compiled.disable_compile()
        return compiled

    return decorate
