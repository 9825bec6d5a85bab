"""Where compiled kernels are kept, and who is told when one is compiled."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

_callbacks: list[Callable[[str], None]] = []


def on_compile(callback: Callable[[str], None]) -> Callable[[], None]:
    """Call ``callback(name)`` before each kernel is compiled; return a function that ends it."""
    _callbacks.append(callback)
    return lambda: _callbacks.remove(callback) if callback in _callbacks else None


def announce_compile(name: str) -> None:
    """Tell those who asked through `on_compile`."""
    for callback in list(_callbacks):
        callback(name)


@cache
def source_hash() -> str:
    """Hash of every kernel source and of the compiler's versions.

    Numba's own key knows the function's file only: an edited helper in another file would run old code.
    """
    package = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for file in sorted([*package.glob("cpu/*.py"), *package.glob("runtime/*.py"), package / "jit.py"]):
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
