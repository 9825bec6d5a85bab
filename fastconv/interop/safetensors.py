"""Weights on disk in the safetensors format: a JSON header and raw arrays, nothing that could be executed.

The format: https://github.com/huggingface/safetensors. What a model needs besides its weights (names of classes, size
of the input, normalisation) goes into the header's metadata, whose values are strings; JSON in them holds the rest.
"""

import json
import os
from collections.abc import Mapping
from glob import escape
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as serialise

from fastconv.layers import Layer


def save(
    model: Layer | Mapping[str, np.ndarray], path: str | os.PathLike, metadata: Mapping[str, str] | None = None
) -> None:
    """Write parameters and metadata. The same values give the same bytes.

    Whatever was at `path` stays there whole until the new file is complete, even if the process is killed.

    Parameters
    ----------
    model : Layer or mapping of str to ndarray
    path : path
        Its directory must exist.
    metadata : mapping of str to str, optional

    Raises
    ------
    TypeError
        A key or value of `metadata` is no string, or an array has a dtype that the format does not know.
    OSError
        The file cannot be written.
    """
    wrong = [key for key, value in (metadata or {}).items() if not (isinstance(key, str) and isinstance(value, str))]
    if wrong:
        raise TypeError(f"save: metadata must map str to str (json.dumps makes one), got another type at {wrong[0]!r}")
    arrays = model.state_dict() if isinstance(model, Layer) else model
    try:
        data = serialise({name: np.asarray(array, order="C") for name, array in arrays.items()})
    except SafetensorError as error:
        raise TypeError(f"save: {error}") from None
    replace_file(path, _with_metadata(data, metadata or {}))


def load(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read arrays and metadata.

    Returns
    -------
    arrays : dict of str to ndarray
    metadata : dict of str to str

    Raises
    ------
    ValueError
        The file is no safetensors file, is damaged, or holds a dtype that NumPy does not have; the message names it.
    OSError
        The file cannot be read.
    """
    with open(path, "rb"):  # a missing file or a directory is an OSError here, with its name
        pass
    try:
        with safe_open(path, "numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}
            # Where another package has taught NumPy bfloat16, safetensors gives such arrays.
            for name, array in arrays.items():
                if array.dtype.kind not in "biufc":
                    raise TypeError(f"{name} holds {array.dtype}, which NumPy does not have")
            return arrays, file.metadata() or {}
    # TypeError and AttributeError: dtypes such as bfloat16, which NumPy does not have.
    except (SafetensorError, TypeError, AttributeError) as error:
        raise ValueError(f"{os.fspath(path)}: not a readable safetensors file: {error}") from None


def replace_file(path: str | os.PathLike, data: bytes) -> None:
    """Put `data` at `path`, in one instant: readers and a killed writer find the old file or the new one, never a part.

    Parameters
    ----------
    path : path
    data : bytes

    Raises
    ------
    OSError
        The file cannot be written; the old one is as it was.
    """
    path = Path(path)
    for orphan in path.parent.glob(f".{escape(path.name)}.*.tmp"):  # of writers that were killed
        orphan.unlink(missing_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _with_metadata(data: bytes, metadata: Mapping[str, str]) -> bytes:
    """Put metadata into a file's header, sorted: safetensors 0.8 itself writes it in a random order."""
    length = int.from_bytes(data[:8], "little")
    header, arrays = json.loads(data[8 : 8 + length]), data[8 + length :]
    header = {"__metadata__": dict(sorted(metadata.items())), **header}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the arrays start at a multiple of 8 bytes
    return len(text).to_bytes(8, "little") + text + arrays
