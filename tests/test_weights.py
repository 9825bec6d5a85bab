"""Weights of files in models: strict reports, frozen parameters, and new heads."""

import inspect
import json

import numpy as np
import pytest
from click.testing import CliRunner

from fastconv.cli import main
from fastconv.interop import safetensors
from fastconv.interop.weights import load_weights
from fastconv.layers import (
    Arena,
    BatchNorm2d,
    Conv2d,
    Flatten,
    Linear,
    ReLU,
    Sequential,
    SideHead,
    Supervised,
    freeze,
    heads,
    replace_head,
    unfreeze,
)
from fastconv.models import MODELS, lenet, resnet20
from fastconv.optim import AdamW


@pytest.fixture
def trained(tmp_path):
    """A file with weights of a LeNet, and the LeNet."""
    model, path = lenet(seed=3), tmp_path / "lenet.safetensors"
    safetensors.save(model, path)
    return path, model


# ---- builders that load


def test_every_builder_takes_weights():
    for name, builder in MODELS.items():
        assert "weights" in inspect.signature(builder).parameters and builder.__name__ == name and builder.__doc__


def test_a_builder_loads_weights(trained):
    path, model = trained
    for file in (path, str(path)):
        loaded = lenet(weights=file).state_dict()
        assert all((loaded[name] == array).all() for name, array in model.state_dict().items())


def test_the_report_names_all_that_differs(trained, tmp_path):
    path, model = trained
    arrays = model.state_dict()
    arrays["10.weight"] = arrays.pop("7.weight")
    arrays["9.bias"] = arrays["9.bias"][:5]
    safetensors.save(arrays, tmp_path / "b.safetensors")
    expected = (
        r"b.safetensors: .*missing: 7.weight; unexpected: 10.weight; wrong shape: 9.bias is \(5,\), must be \(84,\)$"
    )
    with pytest.raises(ValueError, match=expected):
        lenet(weights=tmp_path / "b.safetensors")


def test_names_may_differ_where_that_is_said(trained, tmp_path):
    arrays = trained[1].state_dict()
    arrays["extra"] = arrays.pop("0.bias")
    safetensors.save(arrays, tmp_path / "b")
    model = lenet()
    assert load_weights(model, tmp_path / "b", strict=False) == (["0.bias"], ["extra"])
    assert (model[0].params["weight"] == arrays["0.weight"]).all()


def test_other_classes_need_a_new_head(trained):
    path, model = trained
    with pytest.raises(ValueError, match=r"11.weight is \(10, 84\), must be \(4, 84\).*num_classes=10, then use `repl"):
        lenet(4, weights=path)
    other = lenet(4)
    before = other[11].params["weight"].copy()
    load_weights(other, path, new_head=True)
    assert (other[11].params["weight"] == before).all() and (other[9].params["bias"] == model[9].params["bias"]).all()


def test_pytorch_archives_are_refused_with_a_remedy(tmp_path):
    for start in (b"PK\3\4", b"\x80\2"):
        (tmp_path / "a.pth").write_bytes(start + b"x")
        with pytest.raises(ValueError, match="a.pth is a PyTorch archive; `fastconv convert`"):
            lenet(weights=tmp_path / "a.pth")
    with pytest.raises(FileNotFoundError):
        lenet(weights=tmp_path / "none")


def test_names_of_old_densenets(tmp_path):
    model = Sequential({"denselayer1": Sequential({"norm1": BatchNorm2d(2), "conv2": Conv2d(2, 3, 1, rng=0)})})
    arrays = {name.replace("norm1", "norm.1").replace("conv2", "conv.2"): a for name, a in model.state_dict().items()}
    assert "denselayer1.norm.1.weight" in arrays
    safetensors.save(arrays, tmp_path / "a")
    assert load_weights(model, tmp_path / "a") == ([], [])


# ---- heads


def test_the_last_layer_is_replaced():
    model = resnet20()
    assert [name for name, _ in heads(model)] == ["fc"]
    old = model.state_dict()
    assert replace_head(model.astype(np.float64), 7, rng=0) == ["fc"]
    assert model.output_shape((2, 3, 32, 32)) == (2, 7)
    new = model.state_dict()
    assert new["fc.weight"].shape == (7, 64) and new["fc.weight"].dtype == np.float64
    assert all((new[name] == array).all() for name, array in old.items() if not name.startswith("fc"))


def test_a_convolution_as_head_keeps_its_options():
    model = Sequential(Conv2d(1, 2, 3), Sequential(Conv2d(2, 4, 3, 2, 1, groups=2, bias=False)))
    replace_head(model, 6)
    assert repr(model[1][0]) == repr(Conv2d(2, 6, 3, 2, 1, groups=2, bias=False))


def test_heads_at_the_side_are_replaced():
    classifier = Sequential(Flatten(), Linear(32, 3))
    model = Supervised(
        {"conv": Conv2d(1, 2, 1), "aux": SideHead(classifier), "flatten": Flatten(), "fc": Linear(32, 3)}
    )
    assert replace_head(model, 5) == ["fc", "aux.1"]
    assert model.forward(np.ones((2, 1, 4, 4), np.float32))[0].shape == (2, 2, 5)


def test_heads_that_cannot_be_replaced():
    with pytest.raises(ValueError, match="no Linear and no convolution in Sequential"):
        replace_head(Sequential(ReLU()), 2)
    with pytest.raises(ValueError, match="the model is a single layer"):
        replace_head(Linear(2, 3), 2)
    with pytest.raises(ValueError, match="out_features must be >= 1"):
        replace_head(lenet(), 0)


# ---- frozen parameters


def small():
    return Sequential(
        Conv2d(1, 3, 3, rng=0), BatchNorm2d(3), ReLU(), Conv2d(3, 2, 3, rng=1), Flatten(), Linear(8, 2, rng=2)
    )


def step(model, x):
    """Take a step with weight decay, which would move parameters that have no gradient, too."""
    optimizer = AdamW(Arena(model), lr=0.1, weight_decay=0.5)
    y, backward = model.forward(x)
    dx = backward(np.ones_like(y))
    optimizer.step()
    return dx


def test_training_leaves_frozen_parameters():
    x = np.random.default_rng(0).standard_normal((4, 1, 6, 6), dtype=np.float32)
    model, free = small(), small()
    assert freeze(model, "1", "3.bias") == ["1.weight", "1.bias", "3.bias"]
    before = model.state_dict()
    step(model, x)
    changed = {name for name, array in model.state_dict().items() if (array != before[name]).any()}
    assert changed == {"0.weight", "0.bias", "3.weight", "5.weight", "5.bias"}
    assert not model[1].grads["weight"].any() and not model[3].grads["bias"].any()
    step(free, x)
    assert {name for name, array in free.state_dict().items() if (array != before[name]).any()} == before.keys()


def test_gradients_beside_frozen_ones_are_the_same():
    x = np.random.default_rng(1).standard_normal((4, 1, 6, 6))
    model, free = (small().astype(np.float64) for _ in range(2))
    freeze(model, "3", "0.weight")
    for network in (model, free):
        y, backward = network.forward(x)
        network.dx = backward(np.cos(y))
    np.testing.assert_allclose(model.dx, free.dx, rtol=1e-12, atol=1e-14)
    for (name, gradient), (_, expected) in zip(model.named_gradients(), free.named_gradients(), strict=True):
        expected = 0 if name in ("0.weight", "3.weight", "3.bias") else expected
        np.testing.assert_allclose(gradient, expected, rtol=1e-12, atol=1e-14, err_msg=name)


def test_nothing_goes_back_through_a_frozen_start():
    model = small()
    freeze(model, "[013]")
    assert not model[0].has_parameters and model.has_parameters
    model[0].apply = lambda x, train: (Conv2d.apply(model[0], x, train)[0], None)  # a way back would raise
    y, backward = model.forward(np.ones((1, 1, 6, 6), np.float32))
    backward(y, input_gradient=False)
    assert model[5].grads["weight"].any()


def test_unfreeze_and_wrong_patterns():
    model = small()
    freeze(model, "*")
    assert not model.has_parameters
    assert unfreeze(model, "5.*", "3.weight") == ["3.weight", "5.weight", "5.bias"]
    assert [name for name, layer, key in model.owners() if layer.learns(key)] == ["3.weight", "5.weight", "5.bias"]
    with pytest.raises(ValueError, match=r"freeze: no parameter is called 'conv7'; the first are 0.weight, 0.bias, 1"):
        freeze(model, "0", "conv7")
    assert model[3].learns("weight")


# ---- from the command line


def test_train_from_weights(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["train", "lenet", "--epochs", "1", "--weights", str(trained[0]), "--freeze", "0", "--freeze", "3.*"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    assert "4 frozen: 0.weight to 3.bias" in done.output
    arrays, _ = safetensors.load("runs/lenet/model.safetensors")
    before = trained[1].state_dict()
    assert {name for name in before if (arrays[name] == before[name]).all()} == {
        "0.weight",
        "0.bias",
        "3.weight",
        "3.bias",
    }
    config = json.loads((tmp_path / "runs/lenet/config.json").read_text())
    assert config["weights"] == str(trained[0]) and config["freeze"] == ["0", "3.*"]


@pytest.mark.parametrize(
    "options, answer",
    [
        (["--freeze", "conv9"], "no parameter is called 'conv9'"),
        (["--freeze", "*"], "--freeze leaves nothing to train"),
        (["--weights", "none"], "does not exist"),
        (["--weights", "other"], "missing: 0.weight"),
    ],
)
def test_mistakes_on_the_command_line(options, answer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    safetensors.save({"w": np.ones(2)}, "other")
    done = CliRunner().invoke(main, ["train", "lenet", *options])
    assert done.exit_code == 2 and answer in done.stderr and done.stderr.count("\n") == 1
