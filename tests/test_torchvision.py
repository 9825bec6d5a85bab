"""The networks that torchvision has: its names, its shapes, and with its weights its results."""

import numpy as np
import pytest

from fastconv.models import MODELS

torch = pytest.importorskip("torch")

NAMES = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "mobilenet_v2")
SIZES = {"resnet101": 32, "resnet152": 32}  # of images, where 64 would take long


@pytest.fixture(scope="module")
def theirs():
    from torchvision_models import load

    return load()


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def with_random_statistics(model):
    """Give a model of torchvision's running statistics that hide no mistake."""
    generator = torch.Generator().manual_seed(0)
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.1, generator=generator)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 2, generator=generator)
    return model.eval()


@pytest.mark.parametrize("name", NAMES)
def test_names_and_shapes(name, theirs):
    """Order included: a file written by either is read by the other."""
    state = getattr(theirs, name)().state_dict()
    own = {key: array for key, array in MODELS[name]().state_dict().items() if not key.endswith(".passes")}
    assert {key: array.shape for key, array in own.items()} == {key: tuple(value.shape) for key, value in state.items()}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-4), (np.float64, 1e-9)], ids=["float32", "float64"])
def test_logits(name, dtype, tolerance, theirs, rng):
    """Relative to the largest."""
    model = with_random_statistics(getattr(theirs, name)()).to(torch.from_numpy(np.empty(0, dtype)).dtype)
    own = MODELS[name]().astype(dtype)
    own.load_state_dict({key: value.numpy() for key, value in model.state_dict().items()})
    size = SIZES.get(name, 64)
    x = rng.standard_normal((2, 3, size, size)).astype(dtype)
    with torch.no_grad():
        wanted = model(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(own(x), wanted, rtol=0, atol=tolerance * abs(wanted).max())
