"""The tensors in a file of ``torch.save``, without PyTorch, and without executing anything.

Since PyTorch 1.6 such a file is a zip archive: a pickle, data.pkl, that refers to stored numbers in entries beside it.
Before, it was five pickles (a magic number, a version, facts of the machine, the object, the keys of its storages)
and the storages' numbers. The formats: ``torch/serialization.py`` in https://github.com/pytorch/pytorch.
"""

import os
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from math import prod
from typing import BinaryIO

import numpy as np

from fastconv.interop.pickles import read_pickle

MAGIC = 0x1950A86A20F9469CFC6C  # of the older format
STORAGES = {
    "Double": "<f8",
    "Float": "<f4",
    "Half": "<f2",
    "BFloat16": "<u2",  # the upper halves of float32 numbers
    "Long": "<i8",
    "Int": "<i4",
    "Short": "<i2",
    "Char": "i1",
    "Byte": "u1",
    "Bool": "?",
}
MAX_NDIM = 32
SHARED = 4  # tensors may share storage; together they may be so many times larger than the file, and no more


@dataclass(frozen=True)
class Storage:
    """Numbers in the file, by the key that it gives them."""

    kind: str
    key: str
    size: int


@dataclass(frozen=True)
class Tensor:
    """A view of a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def __post_init__(self):
        numbers = (self.offset, *self.shape, *self.stride)
        if len(self.shape) > MAX_NDIM or not all(type(n) is int and 0 <= n < 1 << 40 for n in numbers):
            raise ValueError("a tensor has a size, stride or offset that is no such number, or too many axes")
        last = self.offset + sum((n - 1) * step for n, step in zip(self.shape, self.stride, strict=True))
        count = prod(self.shape)
        if count and (last >= self.storage.size or count > self.storage.size):
            raise ValueError(f"a tensor of shape {self.shape} exceeds its storage of {self.storage.size} numbers")


def load(path: str | os.PathLike, key: str | None = None) -> dict[str, np.ndarray]:
    """Read the named tensors of a state dict.

    Parameters
    ----------
    path : path
    key : str, optional
        Where in a checkpoint the state dict is, if the file is no state dict itself and has several.

    Returns
    -------
    dict of str to ndarray
        bfloat16 becomes float32. A prefix 'module.' of all names, from `DataParallel`, is left out.

    Raises
    ------
    ValueError
        The file is damaged, or holds something else; the message says what.
    OSError
        It cannot be read.
    """
    with open(path, "rb") as file:
        try:
            is_zip = file.read(2) == b"PK"
            file.seek(0)
            root, read = _open_zip(file) if is_zip else _open_legacy(file)
            tensors = _state_dict(root, key)
            total, allowed = 0, SHARED * os.fstat(file.fileno()).st_size
            arrays = {}
            for name, tensor in tensors.items():
                arrays[name] = _array(tensor, read(tensor.storage))
                total += arrays[name].nbytes
                if total > allowed:
                    raise ValueError("its tensors share so much memory that they would take a multiple of the file")
        except (ValueError, TypeError, EOFError, NotImplementedError, zipfile.BadZipFile) as error:
            raise ValueError(f"{os.fspath(path)}: not a PyTorch file that fastconv reads: {error}") from None
    return arrays


# ---- the two formats: each gives the pickled object, and a function that reads the numbers of a storage

Reader = Callable[[Storage], np.ndarray]


def _open_zip(file: BinaryIO) -> tuple[object, Reader]:
    archive = zipfile.ZipFile(file)
    pickles = [name for name in archive.namelist() if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(pickles) != 1:
        raise ValueError(f"the archive must have one data.pkl, it has {len(pickles)}")
    root = pickles[0].removesuffix("data.pkl")
    left = os.fstat(file.fileno()).st_size
    cache: dict[str, bytes] = {}

    def entry(name: str) -> bytes:
        nonlocal left
        if name not in cache:
            if name not in archive.NameToInfo:
                raise ValueError(f"the archive has no {name}")
            info = archive.getinfo(name)
            left -= info.file_size
            # Entries are stored as they are: none can be larger than the file, and all of them only if they overlap.
            if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 or left < 0:
                raise ValueError(f"{name} is compressed or encrypted, or its size is wrong")
            try:
                cache[name] = archive.read(info)
            except OSError:
                raise ValueError(f"{name} lies outside the file") from None
        return cache[name]

    if f"{root}byteorder" in archive.NameToInfo and entry(f"{root}byteorder") != b"little":
        raise ValueError("it was written by a machine with another order of bytes")
    value = _unpickle(BytesIO(entry(pickles[0])))
    return value, lambda storage: np.frombuffer(entry(f"{root}data/{storage.key}"), STORAGES[storage.kind])


def _open_legacy(file: BinaryIO) -> tuple[object, Reader]:
    if _unpickle(file) != MAGIC:
        raise ValueError("it does not start as such a file does")
    version, machine = _unpickle(file), _unpickle(file)
    if version != 1001 or not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise ValueError(f"its version is {version!r:.20}, must be 1001, of a little-endian machine")
    storages: dict[str, Storage] = {}
    value = _unpickle(file, storages)
    keys = _unpickle(file)
    if not isinstance(keys, list) or len(keys) != len(storages) or set(keys) != storages.keys():
        raise ValueError("its list of storages is not that of its tensors")
    data = {}
    for key in keys:
        storage = storages[key]
        left, dtype = os.fstat(file.fileno()).st_size - file.tell() - 8, np.dtype(STORAGES[storage.kind])
        if int.from_bytes(file.read(8), "little") != storage.size or storage.size * dtype.itemsize > left:
            raise ValueError(f"the storage {key:.40} must have {storage.size} numbers")
        data[storage] = np.frombuffer(file.read(storage.size * dtype.itemsize), dtype)
    return value, data.__getitem__


def _unpickle(stream: BinaryIO, storages: dict[str, Storage] | None = None) -> object:
    """Read a pickle of tensors; `storages` is filled with those that they refer to."""
    storages = {} if storages is None else storages

    def persistent(reference: object) -> Storage:
        what, kind, key, _, size, *view = reference
        known = what == "storage" and isinstance(kind, StorageKind) and isinstance(key, str) and type(size) is int
        if not known or size < 0 or (view and view[0] is not None):
            raise ValueError("a reference to a storage is not of the known form")
        storage = Storage(kind.name, key, size)
        if storages.setdefault(key, storage) != storage:
            raise ValueError(f"the storage {key!r:.40} has two types or sizes")
        return storage

    return read_pickle(stream, NAMES, persistent=persistent, build=lambda value, state: None)


# ---- what stands for the names in the file


@dataclass(frozen=True)
class StorageKind:
    """A class of PyTorch's storages, such as FloatStorage."""

    name: str


def _tensor(storage: Storage, offset: int, shape: tuple, stride: tuple, *_: object) -> Tensor:
    """Stand for ``torch._utils._rebuild_tensor_v2``."""
    if not (isinstance(storage, Storage) and isinstance(shape, tuple) and isinstance(stride, tuple)):
        raise ValueError("a tensor is not described as usual")
    return Tensor(storage, offset, shape, stride)


def _parameter(tensor: Tensor, *_: object) -> Tensor:
    """Stand for ``torch._utils._rebuild_parameter``."""
    return tensor


# The state that may follow an OrderedDict, such as the versions of modules, is of no use here: `build` leaves it out.
NAMES: dict[str, object] = {
    "collections.OrderedDict": OrderedDict,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.Size": tuple,
    **{f"torch.{kind}Storage": StorageKind(kind) for kind in STORAGES},
}


# ---- from what was pickled to arrays


def _state_dict(root: object, key: str | None) -> dict[str, Tensor]:
    """Find the state dict in the file's object, and return its tensors."""
    if not isinstance(root, Mapping):
        raise ValueError(f"it holds a {type(root).__name__}, where a state dict is expected: model.state_dict()")
    inside = {name: tensors for name, value in root.items() if isinstance(name, str) and (tensors := _tensors(value))}
    if key is not None:
        if key not in inside:
            raise ValueError(f"it has no state dict called {key!r}; it has {', '.join(inside) or 'none'}")
        found = inside[key]
    else:
        found = _tensors(root) or (next(iter(inside.values())) if len(inside) == 1 else None)
    if found is None:
        several = f"choose one with --key: {', '.join(inside)}" if inside else "there are no named tensors in it"
        raise ValueError(f"it is no state dict; {several}")
    if all(name.startswith("module.") for name in found):
        return {name.removeprefix("module."): tensor for name, tensor in found.items()}
    return found


def _tensors(value: object) -> dict[str, Tensor]:
    items = value.items() if isinstance(value, Mapping) else ()
    return {name: tensor for name, tensor in items if isinstance(name, str) and isinstance(tensor, Tensor)}


def _array(tensor: Tensor, numbers: np.ndarray) -> np.ndarray:
    """Return a view of a storage's numbers; of those of bfloat16 as float32."""
    if len(numbers) != tensor.storage.size:
        raise ValueError(f"a storage has {len(numbers)} numbers, must have {tensor.storage.size}")
    numbers = numbers[tensor.offset :]
    strides = tuple(step * numbers.itemsize for step in tensor.stride)
    array = np.lib.stride_tricks.as_strided(numbers, tensor.shape, strides, writeable=False)
    return (array.astype(np.uint32) << 16).view(np.float32) if tensor.storage.kind == "BFloat16" else array
