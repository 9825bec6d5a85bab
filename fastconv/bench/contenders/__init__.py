"""The libraries that are compared, one file each; `CONTENDERS` names them.

No two of them ever share a process: their threads would fight over the cores.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from fastconv.bench.contenders.base import Contender, Declined


@dataclass(frozen=True)
class Entry:
    """Where a contender is, and what it needs.

    Attributes
    ----------
    module, name : str
        Of its class, here.
    options : dict
        Its arguments, beside the number of threads.
    needs : tuple of str
        Modules that must be installed.
    """

    module: str
    name: str
    options: dict[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()

    def missing(self) -> list[str]:
        """Modules that are not installed."""
        return [module for module in self.needs if find_spec(module) is None]

    def open(self, threads: int) -> Contender:
        """Import the library and make it use `threads` threads."""
        cls = getattr(import_module(f"{__name__}.{self.module}"), self.name)
        return cls(threads, **self.options)


US = "fastconv"
PEERS: dict[str, Entry] = {
    "torch": Entry("pytorch", "PyTorch", {"channels_last": False}, ("torch",)),
    "torch-channels-last": Entry("pytorch", "PyTorch", {"channels_last": True}, ("torch",)),
    "ncnn": Entry("ncnn_net", "Ncnn", needs=("ncnn",)),
    "onnxruntime": Entry("onnx_session", "OnnxRuntime", needs=("onnxruntime", "onnx")),
    "scipy": Entry("scipy_fft", "SciPy", needs=("scipy",)),
}
CONTENDERS = {US: Entry("ours", "Fastconv"), **PEERS}

__all__ = ["CONTENDERS", "PEERS", "US", "Contender", "Declined", "Entry"]
