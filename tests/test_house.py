"""The rules of the house: what holds for every file and every operation, whoever writes the next one."""

import ast
import importlib.util
import inspect
import re
from itertools import pairwise
from pathlib import Path

import pytest

import fastconv
from fastconv import ops

ROOT = Path(__file__).resolve().parent.parent
MAX_LINES = 400
MAX_FUNCTION_LINES = 60

# Lowest first. A module may import modules of its own layer and of those below it.
LAYERS = (
    {"geometry", "arrays", "arguments", "runtime", "jit"},
    {"cpu"},
    {"ops", "signal"},
    {"init", "layers"},
    {"models", "data", "interop", "optim", "schedule"},
    {"train", "bench"},
    {"cli"},
)
RANK = {part: rank for rank, parts in enumerate(LAYERS) for part in parts}
OUTSIDE = {"fastconv", "reference", "testing"}  # the package itself, and what only tests and benchmarks import

MAY_IMPORT_NUMBA = {"cpu", "jit", "runtime"}


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


PRODUCT = python_files("fastconv", "models", "cli")
SOURCES = PRODUCT + python_files("tests", "asv_bench/benchmarks")


def part_of(path: Path) -> str:
    """Return the name in RANK of the part of the product that a file belongs to."""
    first, *rest = path.relative_to(ROOT).with_suffix("").parts
    return first if first != "fastconv" else rest[0].replace("__init__", "fastconv")


def imported_modules(path: Path) -> set[str]:
    """Return the full names of all that a file imports, at module level and inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def imported_parts(path: Path) -> set[str]:
    names = (name.split(".") for name in imported_modules(path))
    return {parts[1] for parts in names if parts[0] == "fastconv" and len(parts) > 1} & (RANK.keys() | OUTSIDE)


def by_path(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", PRODUCT, ids=by_path)
def test_imports_point_one_way(path):
    part, imported = part_of(path), imported_parts(path)
    if part in OUTSIDE:
        return
    assert not {other for other in imported & RANK.keys() if RANK[other] > RANK[part]}
    assert not imported & (OUTSIDE - {"testing"} if part == "bench" else OUTSIDE)


@pytest.mark.parametrize("path", PRODUCT, ids=by_path)
def test_only_kernels_know_numba(path):
    packages = {name.split(".")[0] for name in imported_modules(path)}
    assert part_of(path) in MAY_IMPORT_NUMBA or not packages & {"numba", "llvmlite"}


def test_the_specification_stands_alone():
    for path in (ROOT / "fastconv/reference").glob("*.py"):
        assert imported_parts(path) <= {"reference", "geometry"}


def test_models_are_made_of_layers_only():
    for path in (ROOT / "models").glob("*.py"):
        files = {"interop"} if path.name == "__init__.py" else set()  # whoever builds a model may load its weights
        assert imported_parts(path) <= {"layers", "init", "models"} | files


@pytest.mark.parametrize("path", SOURCES, ids=by_path)
def test_files_and_functions_are_short(path):
    text = path.read_text()
    assert len(text.splitlines()) <= MAX_LINES
    functions = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef))
    assert not {node.name for node in functions if node.end_lineno - body_start(node) > MAX_FUNCTION_LINES}


def body_start(function: ast.FunctionDef) -> int:
    """Return the line where a function's code starts, after its docstring."""
    first = function.body[0]
    return first.end_lineno if ast.get_docstring(function) else first.lineno


FORWARD = sorted(name for name in ops.MODULES if not name.endswith("_backward"))


@pytest.mark.parametrize("name", FORWARD)
def test_every_operation_has_its_gradient(name):
    forward, backward = getattr(ops, name), getattr(ops, f"{name}_backward")
    assert forward.__module__ == backward.__module__
    arguments, gradient_arguments = (list(inspect.signature(function).parameters) for function in (forward, backward))
    only_forward, only_backward = {"return_indices", "return_saved"}, {"needs", "saved"}
    assert gradient_arguments[0] == "dy"
    shared = [argument for argument in arguments if argument not in only_forward]
    assert [argument for argument in gradient_arguments[1:] if argument not in only_backward] == shared


@pytest.mark.parametrize("name", sorted(ops.MODULES))
def test_every_operation_has_its_specification(name):
    """The same arguments with the same defaults; how forward hands on to backward is the fast side's own business."""
    own = {"saved", "return_saved", "needs", "algorithm", "precision", "layout"}

    def arguments(function):
        parameters = inspect.signature(function).parameters.values()
        return [(p.name, p.default) for p in parameters if p.name not in own]

    reference = importlib.import_module("fastconv.reference")
    assert arguments(getattr(reference, name)) == arguments(getattr(ops, name))


@pytest.mark.parametrize("name", sorted(ops.MODULES))
def test_every_operation_is_public_and_documented(name):
    function = getattr(fastconv, name)
    assert function is getattr(ops, name)
    assert name in fastconv.__all__ and name in dir(fastconv) and name in dir(ops)
    sections = re.findall(r"^ *(Parameters|Returns|Raises)$", function.__doc__, re.MULTILINE)
    assert "Parameters" in sections and "Returns" in sections


def test_no_module_of_ops_hides_a_function():
    """Importing the module ``ops.f`` would put it in the place of the function ``ops.f``."""
    assert not set(ops.MODULES) & set(ops.MODULES.values())


def test_unknown_names_are_attribute_errors():
    for module in (fastconv, ops):
        with pytest.raises(AttributeError, match="convolve_everything"):
            _ = module.convolve_everything


def readme_code() -> str:
    return "".join(re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL))


def test_readme_example_runs():
    names: dict = {}
    exec(readme_code(), names)
    assert names["y"].shape == (32, 8, 16, 16) and names["dw"].shape == names["w"].shape
    assert names["accuracy"] > 0.9


def test_benchmarks_run(set_num_threads):
    """asv reports a benchmark that raises as a missing number, so nobody would notice."""
    path = ROOT / "asv_bench/benchmarks/conv.py"
    spec = importlib.util.spec_from_file_location("benchmark_conv", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for threads in module.THREADS:
        module.Conv2d().setup("lenet_2_batch", threads)


def test_links_in_the_documentation_lead_somewhere():
    for page in [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_ladder_of_layers_is_complete():
    parts = {part_of(path) for path in PRODUCT}
    assert parts <= RANK.keys() | OUTSIDE
    assert all(not low & high for low, high in pairwise(LAYERS))
