"""The examples in the documentation run, and show what they say."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

EXAMPLES = Path(__file__).resolve().parent.parent / "docs/examples"


def example(name: str) -> ModuleType:
    pytest.importorskip("matplotlib")
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_image_kernels(tmp_path):
    module = example("image_kernels")
    picture = module.landscape(60, 80)
    results = module.filtered(picture)
    assert results.keys() == module.KERNELS.keys()
    assert np.abs(results["edges"]).mean() > 1 and abs(results["edges"].mean()) < 1  # weights add up to 0
    assert results["blur"].std() < picture.std() < results["sharpening"].std()
    for name in ("blur", "sharpening"):  # weights add up to 1
        np.testing.assert_allclose(results[name].mean(), picture.mean(), rtol=0.01)
    module.draw(str(tmp_path / "picture.png"), picture)
    with Image.open(tmp_path / "picture.png") as written:
        assert written.size[0] > 600


def test_smoothing(tmp_path):
    module = example("smoothing")
    sent, received = module.signal(300)
    errors = {name: np.std(result - sent) for name, result in module.smoothed(received, 9).items()}
    assert max(errors.values()) < np.std(received - sent)
    assert min(errors, key=errors.get) != "ends first"
    module.draw(str(tmp_path / "signal.png"), samples=200, taps=9)
    with Image.open(tmp_path / "signal.png") as written:
        assert written.size[0] > 600
