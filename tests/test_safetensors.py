"""Weights on disk: round trips, interrupted writers, hostile files."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from fastconv.interop.safetensors import load, save
from fastconv.layers import Linear, Sequential

METADATA = {"classes": json.dumps(["zero", "één"]), "input": "[1, 28, 28]", "mean": "0.5"}


def test_round_trip(tmp_path):
    path = tmp_path / "model.safetensors"
    model = Sequential(Linear(3, 2, rng=0), Linear(2, 2, rng=1).astype(np.float64))
    save(model, path, METADATA)
    arrays, metadata = load(str(path))
    assert metadata == METADATA
    assert {name: array.dtype for name, array in arrays.items()} == {
        name: array.dtype for name, array in model.named_parameters()
    }
    other = Sequential(Linear(3, 2, rng=2), Linear(2, 2, rng=3).astype(np.float64))
    other.load_state_dict(arrays)
    for (name, array), (_, loaded) in zip(model.named_parameters(), other.named_parameters(), strict=True):
        np.testing.assert_array_equal(loaded, array, err_msg=name)


def test_any_layout(tmp_path):
    a = np.arange(12.0).reshape(3, 4)
    arrays = {"t": a.T, "r": a[:, ::-1], "big": a.astype(">f4"), "zero": np.array(3), "none": np.zeros((0, 2))}
    save(arrays, tmp_path / "a")
    loaded, metadata = load(tmp_path / "a")
    assert metadata == {} and loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(loaded[name], array)
        assert loaded[name].flags.writeable


@pytest.mark.parametrize("metadata", [None, {}, METADATA])
def test_nothing_but_metadata(tmp_path, metadata):
    save({}, tmp_path / "a", metadata)
    assert load(tmp_path / "a") == ({}, metadata or {})


def test_safetensors_itself_reads_it(tmp_path):
    from safetensors.numpy import load_file

    save({"a": np.ones(3), "b": np.ones(2, np.float32)}, tmp_path / "a", METADATA)
    assert load_file(tmp_path / "a").keys() == {"a", "b"}


def test_the_same_values_give_the_same_bytes(tmp_path):
    """In two processes, because safetensors orders metadata by a hash with a seed of the process."""
    code = (
        "import sys, numpy as np; from fastconv.interop.safetensors import save\n"
        "save({n: np.ones(2) for n in 'abc'}, sys.argv[1], {k: k for k in 'stuvwxyz'})"
    )
    for name in ("first", "second"):
        subprocess.run([sys.executable, "-c", code, str(tmp_path / name)], check=True)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_metadata_must_be_text(tmp_path):
    for metadata in ({"epochs": 3}, {3: "epochs"}):
        with pytest.raises(TypeError, match=r"metadata must map str to str \(json.dumps makes one\), got another type"):
            save({}, tmp_path / "a", metadata)
    assert not list(tmp_path.iterdir())


def test_unknown_dtypes(tmp_path):
    with pytest.raises(TypeError, match="save: "):
        save({"a": np.ones(2, np.longdouble)}, tmp_path / "a")
    assert not list(tmp_path.iterdir())


# ---- interrupted writers


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch, broken):
    def fail(*args):
        raise OSError("No space left on device")

    path = tmp_path / "model"
    save({"a": np.zeros(3)}, path)
    before = path.read_bytes()
    monkeypatch.setattr(os, broken, fail)
    with pytest.raises(OSError, match="No space left"):
        save({"a": np.ones(3)}, path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_writer_leaves_the_old_file(tmp_path):
    path = tmp_path / "model"
    save({"a": np.zeros(3)}, path)
    before = path.read_bytes()
    code = (
        "import os, signal, sys, numpy as np; from fastconv.interop.safetensors import save\n"
        "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        "save({'a': np.ones(3)}, sys.argv[1])"
    )
    died = subprocess.run([sys.executable, "-c", code, str(path)])
    assert died.returncode == -signal.SIGKILL and path.read_bytes() == before
    save({"a": np.ones(3)}, path)
    assert load(path)[0]["a"].all()
    assert list(tmp_path.iterdir()) == [path], "the next writer sweeps up"


# ---- hostile files


def header(entries, data=b""):
    text = json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text + data


def tensor(dtype, shape, start, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


HOSTILE = {
    "empty": b"",
    "short": b"\x05",
    "no_json": header({})[:-1] + b"!",
    "header_beyond_the_file": (10**9).to_bytes(8, "little") + b"{}",
    "header_beyond_all_memory": b"\xff" * 8,
    "truncated": header({"a": tensor("F32", [4], 0, 16)}, bytes(15)),
    "trailing": header({"a": tensor("F32", [4], 0, 16)}, bytes(17)),
    "huge_shape": header({"a": tensor("F32", [2**40, 2**40], 0, 16)}, bytes(16)),
    "shape_lies": header({"a": tensor("F32", [5], 0, 16)}, bytes(16)),
    "overlap": header({"a": tensor("F32", [4], 0, 16), "b": tensor("F32", [4], 8, 24)}, bytes(24)),
    "negative": header({"a": tensor("F32", [-4], 0, 16)}, bytes(16)),
    "backwards": header({"a": tensor("F32", [4], 16, 0)}, bytes(16)),
    "unknown_dtype": header({"a": tensor("F7", [4], 0, 16)}, bytes(16)),
    "bfloat16": header({"a": tensor("BF16", [2], 0, 4)}, bytes(4)),
    "float8": header({"a": tensor("F8_E4M3", [4], 0, 4)}, bytes(4)),
    "pickle": b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94.",
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_hostile_files(tmp_path, data):
    path = tmp_path / "hostile.safetensors"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"hostile.safetensors: not a readable safetensors file: \w"):
        load(path)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.safetensors"):
        load(tmp_path / "none.safetensors")
    with pytest.raises(OSError, match=tmp_path.name):
        load(tmp_path)
    with pytest.raises(FileNotFoundError):
        save({}, tmp_path / "none" / "model.safetensors")
