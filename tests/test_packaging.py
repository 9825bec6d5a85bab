"""The package is what it says wherever it is imported from: a wheel, a bare checkout, a light interpreter."""

import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULES = ("fastconv", "fastconv.models", "fastconv.cli", "fastconv.data")


def run_python(code: str, path: Path | None, cwd: Path) -> str:
    """Run `code` in a new interpreter in `cwd`, with `path` first on its import path, and return what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(path) if path else ""}
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def imported_files(path: Path, cwd: Path) -> dict[str, Path]:
    code = f"import importlib\nfor name in {MODULES!r}: print(name, importlib.import_module(name).__file__)"
    return {name: Path(file) for name, file in (line.split() for line in run_python(code, path, cwd).splitlines())}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """Copy the sources, without what earlier builds left among them: setuptools would pack it into the wheel."""
    copy = tmp_path_factory.mktemp("sources") / "fastconv"
    ignored = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "runs")
    shutil.copytree(ROOT, copy, ignore=ignored)
    return copy


@pytest.fixture(scope="module")
def installed(checkout, tmp_path_factory) -> Path:
    """Build the wheel and unpack it as pip does; the dependencies are those of the running interpreter."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet"]
    subprocess.run([*pip, "wheel", str(checkout), "--no-deps", "--wheel-dir", str(folder)], check=True)
    (wheel,) = folder.glob("fastconv-*.whl")
    site = folder / "site"
    subprocess.run([*pip, "install", str(wheel), "--no-deps", "--target", str(site)], check=True)
    return site


@pytest.mark.slow
def test_wheel_imports_from_itself(installed, tmp_path):
    files = imported_files(installed, tmp_path)
    assert files == {
        "fastconv": installed / "fastconv/__init__.py",
        "fastconv.models": installed / "fastconv/models/__init__.py",
        "fastconv.cli": installed / "fastconv/cli/__init__.py",
        "fastconv.data": installed / "fastconv/data/__init__.py",
    }


@pytest.mark.slow
def test_wheel_holds_every_source_and_nothing_else(checkout, installed):
    def files(folder: Path, prefix: str = "") -> set[str]:
        found = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
        return {prefix + path.relative_to(folder).as_posix() for path in found}

    expected = files(checkout / "fastconv") | files(checkout / "models", "models/") | files(checkout / "cli", "cli/")
    assert files(installed / "fastconv") == expected
    assert {"py.typed", "data/digits.npz"} <= expected
    others = {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")}
    assert others <= {"fastconv", "bin"}


@pytest.mark.slow
def test_bare_checkout_imports_from_itself(checkout, tmp_path):
    """Also where another copy is installed, as in asv's work trees: two versions must never mix."""
    files = imported_files(checkout, tmp_path)
    assert files == {
        "fastconv": checkout / "fastconv/__init__.py",
        "fastconv.models": checkout / "models/__init__.py",
        "fastconv.cli": checkout / "cli/__init__.py",
        "fastconv.data": checkout / "fastconv/data/__init__.py",
    }


def test_import_is_light(tmp_path):
    code = (
        "import sys, time\nstart = time.perf_counter()\nimport fastconv\nprint(time.perf_counter() - start)\n"
        "assert 'numba' not in sys.modules"
    )
    seconds = [float(run_python(code, ROOT, tmp_path)) for _ in range(5)]
    assert statistics.median(seconds) <= 0.35


def test_numba_waits_for_the_first_operation(tmp_path):
    code = (
        "import sys\nfrom fastconv import data, layers, models, optim, schedule, train\n"
        "models.lenet()\nassert 'numba' not in sys.modules"
    )
    run_python(code, ROOT, tmp_path)
