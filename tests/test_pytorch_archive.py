"""Files of PyTorch, read without it: both formats, and files that want to do harm."""

import os
import pickle
import zipfile
from collections import OrderedDict
from io import BytesIO

import numpy as np
import pytest
from click.testing import CliRunner

from fastconv.cli import main
from fastconv.interop import pickles, pytorch_archive, safetensors
from fastconv.interop.pickles import read_pickle

PLAIN = [None, True, 7, -(2**70), 1.5, "text", b"bytes", (1,), (1, 2, 3, 4), [], {"a": [{}], 3: ()}, [[1], "x" * 300]]


# ---- pickles


@pytest.mark.parametrize("protocol", range(3, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_plain_data(value, protocol):
    assert read_pickle(BytesIO(pickle.dumps(value, protocol)), {}) == value


def test_shared_objects_stay_shared_and_names_are_looked_up():
    inner = [1]
    a, b, c = read_pickle(
        BytesIO(pickle.dumps([inner, inner, OrderedDict(k=inner)])), {"collections.OrderedDict": dict}
    )
    assert a is b is c["k"]


class Call:
    """What is pickled as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(6))
def test_nothing_in_a_file_is_called(protocol, tmp_path):
    data = pickle.dumps({"a": Call(os.mkdir, str(tmp_path / "made"))}, protocol)
    with pytest.raises(ValueError, match=r"it names (posix|nt)\.mkdir, which is not read"):
        read_pickle(BytesIO(data), {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "data, answer",
    [
        (b"", "STOP"),
        (b".", "no sense"),
        (b"(", "STOP"),
        (b"N", "STOP"),
        (b"NN.", "no sense|Not enough"),
        (b"t.", "no sense"),
        (b"h\0.", "no sense"),
        (b"}(]Nu.", "no sense"),  # an unhashable key
        (b"}((Ntt" + b"Nu.", "no sense"),  # a tuple as key
        (b"NNa.", "no sense"),
        (b"N)R.", "no sense"),  # None is called
        (b"NN\x92.", "operation NEWOBJ_EX"),
        (b"\x82\1.", "operation EXT1"),
        (b"NQ.", "no plain data"),
        (b"]Nb.", "no plain data"),
        (b"\x8a\xff" + b"1" * 9, "not enough data|expected"),
        (b"\x8d" + b"\xff" * 8, "sys.maxsize"),
        (b"I" + b"9" * 5000 + b"\n.", "digits"),
    ],
)
def test_damaged_pickles(data, answer):
    with pytest.raises(ValueError, match=answer):
        read_pickle(BytesIO(data), {})


def test_the_number_of_operations_is_limited(monkeypatch):
    monkeypatch.setattr(pickles, "OPERATIONS", 100)
    assert read_pickle(BytesIO(b"N0" * 49 + b"N."), {}) is None
    with pytest.raises(ValueError, match="more than 100 operations"):
        read_pickle(BytesIO(b"N0" * 50 + b"N."), {})


# ---- archives, as PyTorch writes them


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


ZIP, LEGACY = {}, {"_use_new_zipfile_serialization": False}
both_formats = pytest.mark.parametrize("form", [ZIP, LEGACY], ids=["zip", "legacy"])


def saved(torch, value, path, form=ZIP):
    torch.save(value, path, **form)
    return path


@both_formats
def test_every_type_and_layout(torch, form, tmp_path):
    whole = torch.arange(24).reshape(4, 6)
    state = {"t": whole.t(), "part": whole[1:, 2:4], "scalar": torch.tensor(5), "none": torch.zeros(0, 3)}
    for dtype in ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"):
        state[dtype] = whole.to(getattr(torch, dtype))
    state["parameter"] = torch.nn.Parameter(whole.float()[:, 1])
    arrays = pytorch_archive.load(saved(torch, OrderedDict(state), tmp_path / "a.pth", form))
    assert arrays.keys() == state.keys()
    for name, tensor in state.items():
        expected = tensor.detach().numpy()
        np.testing.assert_array_equal(arrays[name], expected, err_msg=name)
        assert arrays[name].dtype == expected.dtype


@both_formats
def test_bfloat16_becomes_float32(torch, form, tmp_path):
    tensor = torch.linspace(-3, 3, 7, dtype=torch.bfloat16)
    array = pytorch_archive.load(saved(torch, {"a": tensor}, tmp_path / "a", form))["a"]
    assert array.dtype == np.float32 and (array == tensor.float().numpy()).all()


@both_formats
def test_state_dicts_in_checkpoints(torch, form, tmp_path):
    layer = torch.nn.Linear(2, 3)
    state = layer.state_dict()
    optimizer = torch.optim.Adam(layer.parameters())
    optimizer.zero_grad()
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    path = saved(torch, {"epoch": 3, "state_dict": state, "optimizer": optimizer.state_dict()}, tmp_path / "a", form)
    assert pytorch_archive.load(path).keys() == {"weight", "bias"}
    twice = saved(torch, {"model": state, "ema": {f"module.{name}": a for name, a in state.items()}}, path, form)
    with pytest.raises(ValueError, match="choose one with --key: model, ema"):
        pytorch_archive.load(twice)
    assert pytorch_archive.load(twice, "ema").keys() == {"weight", "bias"}
    with pytest.raises(ValueError, match="no state dict called 'x'; it has model, ema"):
        pytorch_archive.load(twice, "x")


@both_formats
def test_other_contents_are_explained(torch, form, tmp_path):
    layer = torch.nn.Linear(2, 3)
    for value, answer in [
        (layer, r"it names torch.nn.modules.linear.Linear, which is not read"),
        ([torch.ones(2)], "it holds a list, where a state dict is expected"),
        ({"lr": 0.1}, "there are no named tensors"),
    ]:
        with pytest.raises(ValueError, match=answer):
            pytorch_archive.load(saved(torch, value, tmp_path / "a", form))


def test_convert_and_load(torch, tmp_path):
    state = {"0.weight": torch.ones(2, 3), "0.bias": torch.zeros(2)}
    source, target = saved(torch, state, tmp_path / "a.pth"), tmp_path / "a.safetensors"
    done = CliRunner().invoke(main, ["convert", str(source), str(target)])
    assert done.exit_code == 0 and done.output == f"{target}: 2 arrays of 8 numbers\n"
    arrays, _ = safetensors.load(target)
    assert arrays.keys() == state.keys() and (arrays["0.weight"] == 1).all()
    source.write_bytes(b"nothing of the kind")
    failed = CliRunner().invoke(main, ["convert", str(source), str(target)])
    assert failed.exit_code == 2 and "a.pth: not a PyTorch file" in failed.stderr and failed.stderr.count("\n") == 1


# ---- archives that want to do harm


@both_formats
def test_damage_anywhere_is_a_clear_error(torch, form, tmp_path):
    """A damaged file is refused, or read where the damage is in a number, a name or what nobody reads."""
    path = saved(torch, {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4)}, tmp_path / "a", form)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for size in rng.integers(0, len(whole), 60):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match="not a PyTorch file"):
            pytorch_archive.load(path)
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            arrays = pytorch_archive.load(path)
        except ValueError as error:
            assert "not a PyTorch file" in str(error)
        else:
            assert sum(array.nbytes for array in arrays.values()) <= 4 * len(whole)


def archive(path, pickled, storage=b"", compression=zipfile.ZIP_STORED):
    """Write an archive around a pickle in text: the protocol 0 of the tensor's description."""
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("a/data.pkl", pickled)
        file.writestr("a/data/0", storage)
    return path


def tensor_pickle(size=4, offset=0, shape=(2, 2), stride=(2, 1)):
    def numbers(values):
        return "(" + "".join(f"I{value}\n" for value in values) + "t"

    storage = f"(Vstorage\nctorch\nFloatStorage\nV0\nVcpu\nI{size}\ntQ"
    call = f"ctorch._utils\n_rebuild_tensor_v2\n({storage}I{offset}\n{numbers(shape)}{numbers(stride)}I00\n}}tR"
    return f"}}Va\n{call}s.".encode()


FOUR = np.arange(4, dtype="<f4").tobytes()


def test_an_archive_made_by_hand(tmp_path):
    arrays = pytorch_archive.load(archive(tmp_path / "a", tensor_pickle(), FOUR))
    np.testing.assert_array_equal(arrays["a"], [[0, 1], [2, 3]])


@pytest.mark.parametrize(
    "change, answer",
    [
        ({"offset": 1}, r"shape \(2, 2\) exceeds its storage of 4"),
        ({"shape": (3, 2)}, "exceeds its storage"),
        ({"shape": (2**39, 2**39), "stride": (0, 0)}, "exceeds its storage"),
        ({"shape": (-1, 2)}, "no such number"),
        ({"stride": (-2, 1)}, "no such number"),
        ({"stride": (1,)}, "zip"),
        ({"offset": 2**62}, "no such number"),
        ({"shape": (1,) * 40, "stride": (1,) * 40}, "too many axes"),
        ({"size": 2**40}, "has 4 numbers, must have 1099511627776"),
        ({"size": -4}, "not of the known form"),
    ],
)
def test_tensors_beyond_their_storage(change, answer, tmp_path):
    with pytest.raises(ValueError, match=answer):
        pytorch_archive.load(archive(tmp_path / "a", tensor_pickle(**change), FOUR))


def test_bombs(tmp_path):
    zeros = bytes(4_000_000)
    packed = archive(tmp_path / "a", tensor_pickle(1_000_000), zeros, zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="compressed"):
        pytorch_archive.load(packed)
    shared = b"}" + b"".join(b"V%d\n" % i + tensor_pickle()[4:-2] + b"s" for i in range(400)) + b"."
    assert len(pytorch_archive.load(archive(tmp_path / "a", shared, FOUR))) == 400
    big = shared.replace(b"I4\ntQ", b"I40000\ntQ").replace(b"I0\n(I2\nI2\nt(I2\nI1\nt", b"I0\n(I40000\nt(I1\nt")
    with pytest.raises(ValueError, match="share so much memory"):
        pytorch_archive.load(archive(tmp_path / "a", big, bytes(160_000)))


def test_archives_of_other_kinds(tmp_path):
    with zipfile.ZipFile(tmp_path / "a", "w") as file:
        file.writestr("readme", "nothing")
    with pytest.raises(ValueError, match="must have one data.pkl, it has 0"):
        pytorch_archive.load(tmp_path / "a")
    with zipfile.ZipFile(tmp_path / "b", "w") as file:
        file.writestr("a/data.pkl", tensor_pickle())
    with pytest.raises(ValueError, match="has no a/data/0"):
        pytorch_archive.load(tmp_path / "b")
    with pytest.raises(FileNotFoundError):
        pytorch_archive.load(tmp_path / "none")
