"""Facts about the processor and the compiler."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path

import numpy as np

from fastconv.runtime.cache import cache_directory
from fastconv.runtime.threads import cores, get_num_threads, settle_target, threading_layer


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
    settle_target()
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
    return 32 if vector_bytes() == 64 or platform.machine() in ("arm64", "aarch64") else 16


def host() -> dict[str, object]:
    """Facts about the machine and the compiler, as ``fastconv info`` prints them."""
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


def _model_name() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return None
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), None)
