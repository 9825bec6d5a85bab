"""The command ``fastconv info``."""

import shutil
import subprocess

import click

from fastconv.cli.base import Command


@click.command(cls=Command, section="System")
def info() -> None:
    """Show the processor, its peaks, threads and the kernel cache."""
    import fastconv
    from fastconv import runtime
    from fastconv.cpu import peaks

    host, peak = runtime.host(), peaks.measure()
    lines = {
        "fastconv": f"{fastconv.__version__} on Python {host['python']}, NumPy {host['numpy']}, Numba {host['numba']}",
        "processor": f"{host['cpu']} ({host['machine']}), {host['cores']} cores",
        "instructions": f"{' '.join(host['features'])}; {8 * host['vector_bytes']}-bit vectors",
        "threads": f"{host['threads']}, by {host['threading_layer']}",
        "peak": f"{peak['float32']:.0f} GFLOP/s float32, {peak['float64']:.0f} float64, by multiply-adds",
        "memory": f"{peak['copy']:.1f} GB/s, copying (read and written bytes together)",
        "kernel cache": host["cache_directory"],
        "GPU": "; ".join(_gpus()) or "none found",
    }
    for name, text in lines.items():
        click.echo(f"{name:12}  {text}")


def _gpus() -> list[str]:
    """Name and memory of each NVIDIA GPU, as its driver tells."""
    program = shutil.which("nvidia-smi")
    if not program:
        return []
    query = [program, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    return done.stdout.strip().splitlines() if done.returncode == 0 else []
