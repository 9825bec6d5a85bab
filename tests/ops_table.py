"""The table of operations in docs/ops.md, made from what is there; ``python tests/ops_table.py`` writes it anew."""

import importlib
import importlib.util
import re
from functools import cache
from pathlib import Path

import fastconv
from fastconv import ops, reference

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/ops.md"

HEAD = """# Operations

What there is of every operation. `f` stands for the forward function, `f_backward` for its gradient; both take float32
and float64 arrays. The reference has the same two names in `fastconv.reference`, the layer is in `fastconv.layers`, and
the last column has the files of its benchmarks in `asv_bench/benchmarks`. Axes are the spatial ones, behind batch and
channels; "any" operations take any number of them, or arrays of any shape. [operations.md](operations.md) says what
those around convolutions compute.

`python tests/ops_table.py` makes this page, and a test fails where it is out of date or an operation lacks a part.

| operation | axes | forward | backward | CPU | CUDA | reference | layer | tests | benchmark |
|---|---|---|---|---|---|---|---|---|---|
"""

# Spatial axes of operations whose name does not say them; all others take any number.
AXES = dict.fromkeys(("pixel_shuffle", "pixel_unshuffle", "depth_to_space", "space_to_depth", "unfold", "fold"), "2")
AXES |= {"interpolate": "1, 2, 3"}
OTHER_NAMES = {"interpolate": "upsample"}
LOSSES = ("cross_entropy", "mse_loss", "binary_cross_entropy_with_logits", "dice_loss")
WITHOUT_LAYER = dict.fromkeys(LOSSES, "a loss") | {"unpool_bed_of_nails": "networks have `MaxUnpool2d` or `Upsample`"}
WITHOUT_BENCHMARK = {"flatten": "a view", "fold": "the gradient of `unfold`"}


@cache
def measured() -> dict[str, str]:
    """Return the text of every file of benchmarks, and what its classes are run with."""
    texts = {}
    for path in sorted((ROOT / "asv_bench/benchmarks").glob("[a-z]*.py")):
        spec = importlib.util.spec_from_file_location(f"benchmark_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        parameters = [getattr(value, "params", "") for value in vars(module).values() if isinstance(value, type)]
        texts[path.stem] = f"{path.read_text()} {parameters}"
    return texts


class Row:
    """Operations of one name for different numbers of axes, and what there is of them."""

    def __init__(self, base: str, names: list[str]):
        self.base, self.names = base, names

    def everywhere(self, module: object, suffix: str = "") -> str:
        """Whether a module has all of them."""
        return "yes" if all(hasattr(module, name + suffix) for name in self.names) else "no"

    @property
    def axes(self) -> str:
        """Numbers of spatial axes."""
        named = [name[-2] for name in self.names if name != self.base]
        return ", ".join(named) or AXES.get(self.base, "any")

    @property
    def cuda(self) -> str:
        """Whether there are kernels for CUDA."""
        there = importlib.util.find_spec("fastconv.cuda") is not None
        return self.everywhere(importlib.import_module("fastconv.cuda")) if there else "no"

    @property
    def layers(self) -> list[str]:
        """Layers of that name, for any number of axes."""
        wanted = OTHER_NAMES.get(self.base, self.base).replace("_", "")
        return [name for name in fastconv.layers.__all__ if re.fullmatch(rf"{wanted}([123]d)?", name.lower())]

    @property
    def tests(self) -> list[str]:
        """Files of tests that name one of them."""
        files = sorted((ROOT / "tests").glob("test_*.py"))
        return [file.stem for file in files if self.named_in(file.read_text())]

    @property
    def benchmarks(self) -> list[str]:
        """Files of benchmarks that name one of them, in their text or among their parameters."""
        return [name for name, text in measured().items() if self.named_in(text)]

    def named_in(self, text: str) -> bool:
        """Whether a text has one of the names."""
        return re.search(rf"(?<![a-z_]){self.base}([123]d)?(_backward)?(?![a-z_])", text) is not None

    @property
    def missing(self) -> list[str]:
        """Parts that are due and not there."""
        parts = {
            "forward": self.everywhere(ops),
            "backward": self.everywhere(ops, "_backward"),
            "reference": self.everywhere(reference),
            "reference of the gradient": self.everywhere(reference, "_backward"),
            "layer": self.layers or self.base in WITHOUT_LAYER,
            "tests": self.tests,
            "benchmark": self.benchmarks or self.base in WITHOUT_BENCHMARK,
        }
        return [part for part, there in parts.items() if not there or there == "no"]

    def __str__(self) -> str:
        """Return the row in Markdown."""
        layers = ", ".join(f"`{name}`" for name in self.layers) or WITHOUT_LAYER.get(self.base, "no")
        cells = (
            ", ".join(f"`{name}`" for name in self.names),
            self.axes,
            self.everywhere(ops),
            self.everywhere(ops, "_backward"),
            self.everywhere(ops),
            self.cuda,
            self.everywhere(reference),
            layers,
            "yes" if self.tests else "no",
            ", ".join(f"`{name}`" for name in self.benchmarks) or WITHOUT_BENCHMARK.get(self.base, "no"),
        )
        return f"| {' | '.join(cells)} |"


def rows() -> list[Row]:
    """Return a row for each name, in the order of `ops.FAMILIES`."""
    named: dict[str, list[str]] = {}
    for name in (name for family in ops.FAMILIES.values() for name in family):
        base = re.sub(r"[123]d$", "", name)
        named.setdefault(base, []).append(name)
    return [Row(base, names) for base, names in named.items()]


def page() -> str:
    """Return the text of the page."""
    return HEAD + "".join(f"{row}\n" for row in rows())


if __name__ == "__main__":
    PAGE.write_text(page())
