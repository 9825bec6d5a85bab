"""torchvision's models, also where its compiled operators do not fit the installed PyTorch: classifiers need none."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")


def load():
    """Import torchvision.models; skip where it is not installed.

    Without its compiled library, torchvision still describes the operators in it to PyTorch, which refuses to hear of
    operators that do not exist: they are declared first.
    """
    spec = find_spec("torchvision")
    if spec is None:
        pytest.skip("torchvision is not installed")
    described = (Path(spec.origin).parent / "_meta_registrations.py").read_text()
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in sorted({"nms", *re.findall(r'register_(?:meta|fake)\("(?:torchvision::)?(\w+)"', described)}):
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor x) -> Tensor")
    load.library = library  # its declarations end with it
    import torchvision.models

    return torchvision.models
