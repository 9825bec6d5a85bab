"""Models in ONNX's format: onnxruntime computes what they do, and what others wrote runs here."""

import numpy as np
import pytest
from click.testing import CliRunner

from fastconv import layers
from fastconv.cli import main
from fastconv.interop import safetensors
from fastconv.layers import Sequential
from fastconv.models import MODELS

onnx = pytest.importorskip("onnx")
interop = pytest.importorskip("fastconv.interop.onnx")
from fastconv.interop.onnx_export import NODES  # noqa: E402  # needs onnx

# Models that are tried each time, at the sizes that keep it short; the others are slow, or of the same family.
TRIED = {
    "lenet": 28,
    "lenet5": 32,
    "fashion_7x7": 28,
    "resnet20": 32,
    "resnet50": 64,
    "resnext50_32x4d": 64,
    "densenet40": 32,
    "densenet121": 64,
    "mobilenet_v1": 64,
    "mobilenet_v2": 64,
    "mobilenet_v3_small": 64,
    "efficientnet_b0": 64,
    "squeezenet1_0": 65,
    "googlenet": 64,
}


def scattered(model, seed=0):
    """Give every parameter and statistic a value of its own, so that none is left out unseen."""
    rng = np.random.default_rng(seed)
    for _, layer in model.named_layers():
        for key, array in (layer.params | layer.buffers).items():
            if array.dtype.kind == "f" and array.ndim == 1:
                array[...] = (
                    rng.uniform(0.5, 1.5, array.shape)
                    if key in ("weight", "running_var")
                    else (rng.uniform(-0.5, 0.5, array.shape))
                )
    return model


def run(path, x):
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def check(model, path, shape, batch=2):
    x = np.random.default_rng(1).standard_normal((batch, *shape), dtype=np.float32)
    interop.save(model, path, shape)
    y = model(x)
    near = {"rtol": 1e-4, "atol": 1e-4 * np.abs(y).max()}
    np.testing.assert_allclose(run(path, x), y, **near)
    return x, y, near


LAYERS = [
    (layers.Conv1d(2, 4, 3, 2, ((2, 0),), groups=2), (2, 9)),
    (layers.Conv2d(2, 4, (3, 2), padding="same", dilation=2), (2, 9, 8)),
    (layers.Conv2d(2, 3, 3, padding=2, padding_mode="reflect", bias=False), (2, 6, 7)),
    (layers.Conv2d(2, 3, 3, padding=1, padding_mode="replicate"), (2, 6, 7)),
    (layers.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), (2, 6, 7)),
    (layers.Conv3d(2, 3, 3, (1, 2, 1), 1), (2, 5, 6, 4)),
    (layers.ConvTranspose1d(4, 6, 3, 2, 1, 1, groups=2), (4, 6)),
    (layers.ConvTranspose2d(3, 2, 3, 2, 1, 1), (3, 6, 5)),
    (layers.ConvTranspose3d(2, 2, 2, 2, bias=False), (2, 3, 3, 2)),
    (layers.Scale(0.3), (4,)),
    (layers.DepthwiseSeparableConv2d(3, 4, 3, padding=1), (3, 6, 6)),
    (layers.Linear(5, 3), (5,)),
    (layers.Linear(5, 3, bias=False), (4, 5)),
    (layers.Linear(5, 3), (4, 5)),
    (layers.BatchNorm1d(4), (4,)),
    (layers.BatchNorm2d(4, affine=False, eps=0.1), (4, 3, 5)),
    (layers.BatchNorm3d(2), (2, 3, 3, 3)),
    (layers.InstanceNorm2d(3, affine=True), (3, 5, 5)),
    (layers.GroupNorm(2, 6), (6, 4, 4)),
    (layers.LayerNorm((3, 4)), (2, 3, 4)),
    (layers.LocalResponseNorm(5, 0.5, 0.7, 2.0), (8, 4, 4)),
    (layers.MaxPool1d(3, 2, 1), (2, 9)),
    (layers.MaxPool2d(3, 2, ceil_mode=True), (2, 8, 7)),
    (layers.MaxPool2d(3, 2, 1, 2, True), (2, 12, 11)),
    (layers.MaxPool3d(2), (2, 4, 4, 4)),
    (layers.AvgPool1d(2), (2, 9)),
    (layers.AvgPool2d(3, 2, 1), (2, 9, 8)),
    (layers.AvgPool2d(3, 2, 1, count_include_pad=False), (2, 9, 8)),
    (layers.AvgPool2d(3, 2, ceil_mode=True), (2, 8, 8)),
    (layers.AvgPool2d(3, 2, 1, True), (2, 8, 8)),
    (layers.AvgPool3d(2), (2, 4, 4, 4)),
    (layers.LPPool2d(2, 3, 2), (2, 9, 9)),
    (layers.AdaptiveAvgPool2d(1), (2, 5, 6)),
    (layers.AdaptiveAvgPool2d((5, None)), (2, 5, 6)),
    (layers.AdaptiveAvgPool2d(3), (2, 6, 9)),
    (layers.AdaptiveMaxPool2d((1, 3)), (2, 6, 9)),
    (layers.GlobalAvgPool1d(), (2, 7)),
    (layers.GlobalMaxPool2d(), (2, 7, 4)),
    (layers.Flatten(), (2, 3, 4)),
    (layers.Flatten(2), (2, 3, 4)),
    (layers.Upsample(scale_factor=2), (2, 3, 4)),
    (layers.Upsample(scale_factor=2, mode="bilinear"), (2, 3, 4)),
    (layers.Upsample((7, 5), mode="bilinear", align_corners=True), (2, 3, 4)),
    (layers.Upsample((4, 7)), (2, 3, 4)),
    (layers.PixelShuffle(2), (8, 3, 4)),
    (layers.PixelUnshuffle(2), (2, 4, 6)),
    *((layers.DepthToSpace(2, mode), (8, 3, 4)) for mode in ("DCR", "SPD", "CRD")),
    *((layers.SpaceToDepth(2, mode), (2, 4, 6)) for mode in ("DCR", "SPD", "CRD")),
    (layers.ReLU(), (5,)),
    (layers.ReLU6(), (50,)),
    (layers.LeakyReLU(0.3), (5,)),
    (layers.ELU(0.7), (5,)),
    (layers.GELU(), (5,)),
    (layers.GELU("tanh"), (5,)),
    (layers.Sigmoid(), (5,)),
    (layers.Tanh(), (5,)),
    (layers.Hardsigmoid(), (50,)),
    (layers.Hardswish(), (50,)),
    (layers.SiLU(), (5,)),
    (layers.Softmax(1), (5, 3)),
    (layers.LogSoftmax(), (5, 3)),
    (layers.Dropout2d(0.5), (2, 3, 3)),
    (layers.Identity(), (5,)),
    (layers.Sum(layers.Identity(), layers.ReLU(), layers.Tanh()), (5,)),
    (layers.Mean(layers.Identity(), layers.ReLU()), (5,)),
    (layers.Concat(layers.Conv2d(2, 3, 1), layers.Identity()), (2, 3, 3)),
    (layers.Gate(layers.Conv2d(2, 2, 1), Sequential(layers.GlobalAvgPool2d(), layers.Sigmoid())), (2, 3, 3)),
]


@pytest.mark.parametrize("layer, shape", LAYERS, ids=lambda value: repr(value).replace("\n", ""))
def test_layers(layer, shape, tmp_path):
    path = tmp_path / "a.onnx"
    x, y, near = check(scattered(Sequential(layer)), path, shape)
    loaded = interop.load(path)
    np.testing.assert_allclose(loaded(x), y, **near)
    assert loaded.output_shape(x.shape) == y.shape and loaded.input_shape == shape


@pytest.mark.parametrize(
    "name", [name if name in TRIED else pytest.param(name, marks=pytest.mark.slow) for name in MODELS]
)
def test_models(name, tmp_path):
    model = MODELS[name]()
    channels, *sizes = model.input_shape
    shape = (channels, *(TRIED.get(name, size) for size in sizes))
    x, y, near = check(model, tmp_path / "a.onnx", shape, batch=2 if name in TRIED else 1)
    for fold in (False, True):
        np.testing.assert_allclose(interop.load(tmp_path / "a.onnx", fold=fold)(x), y, **near)


def test_every_layer_is_in_the_table():
    """Except those that take two arrays, and those that have no counterpart."""
    not_offered = {"Fold", "Unfold", "MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d"}
    kinds = [kind for kind in vars(layers).values() if isinstance(kind, type) and issubclass(kind, layers.Layer)]
    written = {kind.__name__ for kind in kinds if any(base in NODES for base in kind.__mro__)}
    assert {kind.__name__ for kind in kinds} - written == {"Layer"} | not_offered


def test_the_file_says_what_it_is(tmp_path):
    model = MODELS["lenet"]()
    interop.save(model, tmp_path / "a", metadata={"classes": "ten"})
    file = onnx.load(tmp_path / "a")
    assert [dim.dim_param or dim.dim_value for dim in file.graph.input[0].type.tensor_type.shape.dim] == [
        *("batch", 1, 28, 28)
    ]
    names = {tensor.name for tensor in file.graph.initializer}
    assert names >= {name for name, _ in model.named_parameters()}
    assert {entry.key: entry.value for entry in file.metadata_props} == {"classes": "ten"}
    interop.save(model, tmp_path / "b", metadata={"classes": "ten"})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_float64(tmp_path):
    """On layers that onnxruntime has in float64."""
    model = Sequential(layers.Linear(5, 4), layers.Tanh(), layers.Linear(4, 3)).astype(np.float64)
    x = np.random.default_rng(0).standard_normal((2, 5))
    interop.save(model, tmp_path / "a", (5,))
    np.testing.assert_allclose(run(tmp_path / "a", x), model(x), rtol=1e-12)


def test_what_has_no_form_is_named(tmp_path):
    class Odd(layers.Identity.__mro__[1]):
        def output_shape(self, shape):
            return shape

    with pytest.raises(TypeError, match="'0.odd' is a Odd, which has no form in ONNX"):
        interop.save(Sequential(Sequential({"odd": Odd()})), tmp_path / "a", (3,))
    with pytest.raises(TypeError, match="unequal windows"):
        interop.save(Sequential(layers.AdaptiveAvgPool2d(3)), tmp_path / "a", (2, 5, 6))
    with pytest.raises(ValueError, match="give input_shape"):
        interop.save(Sequential(), tmp_path / "a")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("mask", [True, False])
def test_deformable_convolution(mask, tmp_path):
    layer = scattered(layers.DeformConv2d(4, 6, 3, 2, 1, groups=2, offset_groups=2, mask=mask))
    layer.params["offset.weight"][...] = np.random.default_rng(2).normal(0, 0.1, layer.params["offset.weight"].shape)
    model, path = Sequential(layer), tmp_path / "a"
    x = np.random.default_rng(1).standard_normal((2, 4, 9, 8), dtype=np.float32)
    interop.save(model, path, x.shape[1:])
    np.testing.assert_allclose(run(path, x), model(x), rtol=1e-4, atol=1e-5)


# ---- models that are read


def test_parameters_keep_their_names_and_gradients(tmp_path):
    model = scattered(MODELS["resnet20"]())
    interop.save(model, tmp_path / "a")
    loaded = interop.load(tmp_path / "a")
    names = dict(model.named_parameters())
    assert dict(loaded.named_parameters()).keys() == names.keys()
    assert loaded.macs((1, 3, 32, 32)) == model.macs((1, 3, 32, 32))
    x = np.random.default_rng(0).standard_normal((3, 3, 32, 32))
    gradients = []
    for network in (model.astype(np.float64), loaded.astype(np.float64)):
        y, backward = network.forward(x)
        dx = backward(np.cos(y))
        gradients.append(dict(network.named_gradients()) | {"x": dx})
    for name, gradient in gradients[0].items():
        bound = 1e-9 * np.abs(gradient).max()
        np.testing.assert_allclose(gradients[1][name], gradient, rtol=1e-9, atol=bound, err_msg=name)


def test_folding(tmp_path):
    model = scattered(MODELS["resnet20"]())
    interop.save(model, tmp_path / "a")
    folded = interop.load(tmp_path / "a", fold=True)
    assert not any(isinstance(layer, layers.BatchNorm2d) for _, layer in folded.named_layers())
    assert "conv1.bias" in dict(folded.named_parameters())


def test_gates_and_values_that_are_used_twice(tmp_path):
    """What no combinator writes: an output that several branches take, further on."""
    value, node = onnx.helper.make_tensor_value_info, onnx.helper.make_node
    nodes = [
        node("Relu", ["x"], ["a"]),
        node("GlobalAveragePool", ["a"], ["m"]),
        node("Sigmoid", ["m"], ["s"]),
        node("Mul", ["s", "a"], ["g"]),
        node("Constant", [], ["two"], value_float=2.0),
        node("Sub", ["g", "two"], ["h"]),
        node("Concat", ["h", "a", "g"], ["c"], axis=1),
        node("ReduceMean", ["c"], ["y"], axes=[2, 3], keepdims=0),
    ]
    ends = (value(name, onnx.TensorProto.DOUBLE, shape) for name, shape in (("x", ["n", 2, 3, 3]), ("y", ["n", 6])))
    graph = onnx.helper.make_graph(nodes, "g", *([end] for end in ends))
    file = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    onnx.save(file, tmp_path / "a")
    model = interop.load(tmp_path / "a")
    x = np.random.default_rng(0).standard_normal((2, 2, 3, 3))

    def expected(x):
        a = np.maximum(x, 0)
        g = a / (1 + np.exp(-a.mean((2, 3), keepdims=True)))
        return np.concatenate([g - 2, a, g], axis=1).mean((2, 3))

    y, backward = model.forward(x)
    np.testing.assert_allclose(y, expected(x), rtol=1e-12)
    dy = np.random.default_rng(1).standard_normal(y.shape)
    dx, step = backward(dy), 1e-6
    for place in np.ndindex(x.shape):
        nudge = np.zeros_like(x)
        nudge[place] = step
        slope = ((expected(x + nudge) - expected(x - nudge)) * dy).sum() / (2 * step)
        assert abs(slope - dx[place]) < 1e-7


def model_of(nodes, path, opset=17, shape=("n", 2, 4, 4)):
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "g",
        [value("x", 1, shape)],
        [value("y", 1, list("nchw"))],
        [onnx.numpy_helper.from_array(np.ones(1), "w")],
    )
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)]), path)


@pytest.mark.parametrize(
    "kind, inputs, attributes, answer",
    [
        ("Einsum", ["x"], {"equation": "nchw->n"}, "onnx: Einsum .*, which is not read"),
        ("Conv", ["x", "x"], {}, "Conv with a computed weight"),
        ("MaxPool", ["x"], {"kernel_shape": [2, 2], "strides": [2, 2], "auto_pad": "SAME_LOWER"}, "SAME_LOWER"),
        ("Flatten", ["x"], {"axis": 2}, "Flatten from axis 2"),
        ("Concat", ["x", "x"], {"axis": 2}, "Concat along axis 2"),
        ("Clip", ["x", "w"], {}, "Clip to"),
        ("Sub", ["x", "x"], {}, "Sub of two computed values"),
        ("ReduceMean", ["x"], {"axes": [1]}, r"ReduceMean over the axes \[1\]"),
    ],
)
def test_what_is_not_read_is_named(kind, inputs, attributes, answer, tmp_path):
    model_of([onnx.helper.make_node(kind, inputs, ["y"], **attributes)], tmp_path / "a")
    with pytest.raises(ValueError, match=answer):
        interop.load(tmp_path / "a")


def test_damaged_files(tmp_path):
    path = tmp_path / "a.onnx"
    interop.save(MODELS["lenet"](), path)
    whole = path.read_bytes()
    for data in (b"", b"nothing of the kind", whole[: len(whole) // 2]):
        path.write_bytes(data)
        with pytest.raises(ValueError, match="not a readable ONNX file|opset|inputs"):
            interop.load(path)
    with pytest.raises(FileNotFoundError):
        interop.load(tmp_path / "none")
    model_of([onnx.helper.make_node("Relu", ["x"], ["y"])], path, opset=9)
    with pytest.raises(ValueError, match="opset 9, must be 11"):
        interop.load(path)


def test_export_from_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = MODELS["lenet"](seed=5)
    safetensors.save(model, "w.safetensors")
    done = CliRunner().invoke(main, ["export", "lenet", "a.onnx", "--weights", "w.safetensors"])
    assert done.exit_code == 0 and "a.onnx" in done.output, done.output
    x = np.ones((1, 1, 28, 28), np.float32)
    np.testing.assert_array_equal(interop.load("a.onnx")(x), model(x))
    for words, answer in ((["lenett", "b.onnx"], "did you mean lenet"), (["w.safetensors", "b.onnx"], "not a model")):
        failed = CliRunner().invoke(main, ["export", *words])
        assert failed.exit_code == 2 and answer in failed.stderr
