"""A trained model in one file, with all that its use needs."""

import json
from dataclasses import asdict, dataclass, fields
from os import PathLike
from typing import Self

import numpy as np

from fastconv.data import Dataset
from fastconv.interop import safetensors
from fastconv.layers import Layer
from fastconv.models import MODELS


@dataclass(frozen=True)
class Card:
    """What a model file says about its model.

    Attributes
    ----------
    model, data : str
        Names in `fastconv.models.MODELS` and `fastconv.data.DATASETS`.
    class_names, input_shape, mean, std, ink_frame
        As in `fastconv.data.Dataset`.
    """

    model: str
    data: str
    class_names: tuple[str, ...]
    input_shape: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    ink_frame: int | None

    @classmethod
    def make(cls, model: str, data: Dataset) -> Self:
        """Describe a model that is trained on `data`."""
        return cls(model, data.name, data.class_names, data.input_shape, data.mean, data.std, data.ink_frame)

    @classmethod
    def parse(cls, metadata: dict[str, str]) -> Self:
        """Read the metadata that `text` returned.

        Raises
        ------
        ValueError
            A field is missing or damaged.
        """
        values = {}
        for field in fields(cls):
            if field.name not in metadata:
                raise ValueError(f"its metadata have no {field.name!r}")
            value = json.loads(metadata[field.name])
            values[field.name] = tuple(value) if isinstance(value, list) else value
        card = cls(**values)
        channels = np.asarray([card.mean, card.std], float)  # raises where there is no list of numbers
        if not (np.isfinite(channels).all() and min(card.std) > 0):
            raise ValueError(f"it normalises by mean {card.mean} and std {card.std}")
        if card.ink_frame is not None and not 1 <= card.ink_frame <= max(card.input_shape):
            raise ValueError(f"it fits ink into {card.ink_frame} pixels")
        return card

    def text(self) -> dict[str, str]:
        """Return the metadata for the file: every field as JSON."""
        return {name: json.dumps(value) for name, value in asdict(self).items()}


def save_model(model: Layer, card: Card, path: str | PathLike) -> None:
    """Write a model and its card to one file, whole or not at all. Equal models give equal bytes.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    safetensors.save(model, path, card.text())


def load_model(path: str | PathLike) -> tuple[Layer, Card]:
    """Build the model that a file describes, with the file's parameters.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It is not a whole file written by `save_model`, or a model of that name has other parameters here.
    """
    arrays, metadata = safetensors.load(path)
    try:
        card = Card.parse(metadata)
        if card.model not in MODELS:
            raise ValueError(f"there is no model {card.model!r}")
        model = MODELS[card.model](len(card.class_names), len(card.mean))
        if model.input_shape != card.input_shape:
            raise ValueError(f"it reads images of {card.input_shape}, {card.model} reads {model.input_shape}")
        model.load_state_dict(arrays)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: not a model that fastconv can use: {error}") from None
    return model, card
