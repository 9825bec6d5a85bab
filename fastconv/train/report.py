"""What a run leaves behind in its directory: `config.json`, `metrics.csv` and `model.safetensors`."""

import json
import tempfile
from dataclasses import astuple, fields
from os import PathLike
from pathlib import Path
from typing import Any

from fastconv.interop.safetensors import replace_file
from fastconv.layers import Layer
from fastconv.train.checkpoint import Card, save_model
from fastconv.train.fit import Epoch

MODEL_FILE = "model.safetensors"


def make_directory(path: str | PathLike) -> Path:
    """Make the directory of a run if it does not exist.

    Raises
    ------
    OSError
        It cannot be made, or nothing can be written to it.
    """
    directory = Path(path)
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=directory):
        return directory


class Report:
    """The files of one run. What an earlier run has left stays until there is something to put in its place.

    Parameters
    ----------
    directory : path
        It exists, as after `make_directory`.
    config : dict
        What the run was started with, as JSON values.
    """

    def __init__(self, directory: str | PathLike, config: dict[str, Any]):
        self.directory = Path(directory)
        self._metrics = self.directory / "metrics.csv"
        self._config = config
        self._begun = False

    def add(self, epoch: Epoch) -> None:
        """Append a line to `metrics.csv`; whoever reads the file sees it at once."""
        self._begin()
        with self._metrics.open("a") as file:
            file.write(_line(astuple(epoch)))

    def save(self, model: Layer, card: Card) -> None:
        """Write `model.safetensors` anew."""
        self._begin()
        save_model(model, card, self.directory / MODEL_FILE)

    def _begin(self) -> None:
        if not self._begun:
            replace_file(self.directory / "config.json", json.dumps(self._config, indent=2).encode() + b"\n")
            replace_file(self._metrics, _line(field.name for field in fields(Epoch)).encode())
            self._begun = True


def _line(values) -> str:
    return ",".join(f"{value:.6g}" if isinstance(value, float) else str(value) for value in values) + "\n"
