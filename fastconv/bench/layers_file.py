"""Read layers to compare from a file that a user wrote."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

from fastconv.testing import ConvCase

FIELDS = {"name", "x", "w", "stride", "padding", "dilation", "groups", "bias"}
NAME = re.compile(r"[\w .,:;/+*()-]{1,60}")
MOST_ELEMENTS = 1 << 28  # of one array, and of all windows of an image, which the truth needs in float64: 2 GiB
FLAGS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


def read_layers(path: str | Path) -> list[ConvCase]:
    """Read convolutions from a CSV or a JSON file.

    Parameters
    ----------
    path : path
        With the suffix .csv: a header with `name`, `x` (8x64x56x56) and `w` (64x64x3x3), and, if wanted, `stride`,
        `padding`, `dilation` (a number, or one for each axis: 2x1), `groups` and `bias` (yes or no). Else JSON: a list
        of objects with these keys and numbers, lists of numbers and booleans for values.

    Raises
    ------
    ValueError
        The file does not hold layers; the message tells where.
    OSError
        It cannot be read.
    """
    path = Path(path)
    entries = _csv_entries(path) if path.suffix.lower() == ".csv" else _json_entries(path)
    cases: dict[str, ConvCase] = {}
    for place, entry in entries:
        try:
            case = _case(entry)
            if case.id in cases:
                raise ValueError(f"name: {case.id!r} is there twice")
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path.name}, {place}: {error}") from error
        cases[case.id] = case
    if not cases:
        raise ValueError(f"{path.name}: there are no layers in it")
    return list(cases.values())


def _csv_entries(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.DictReader(file, skipinitialspace=True, restkey="", strict=True)
            for fields in lines:
                if None in fields.values() or "" in fields:
                    raise ValueError(f"{path.name}, line {lines.line_num}: must have {len(lines.fieldnames)} fields")
                yield f"line {lines.line_num}", {key.strip(): _value(key, text) for key, text in fields.items() if text}
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name}: is no CSV file: {error}") from error


def _value(key: str, text: str) -> Any:
    """Read a field: sizes are split at every x; what is no number stays text, for the message."""
    text = text.strip()
    if key.strip() == "name":
        return text
    if key.strip() == "bias":
        return FLAGS.get(text.lower(), text)
    sizes = text.split("x")
    if not all(size.isdecimal() for size in sizes):
        return text
    return int(text) if len(sizes) == 1 else [int(size) for size in sizes]


def _json_entries(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path.name}: is no JSON file: {error}") from error
    if not isinstance(entries, list):
        raise ValueError(f"{path.name}: must hold a list of layers, got {type(entries).__name__}")
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, dict):
            raise ValueError(f"{path.name}, layer {number}: must be an object, got {entry!r}")
        yield f"layer {number}", entry


def _case(entry: dict[str, Any]) -> ConvCase:
    unknown, missing = entry.keys() - FIELDS, {"name", "x", "w"} - entry.keys()
    if unknown or missing:
        raise ValueError(f"{sorted(missing)[0]} is missing" if missing else f"there is no field {sorted(unknown)[0]!r}")
    name, bias = entry["name"], entry.get("bias", True)
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(f"name: must be up to 60 letters, digits, spaces and .,:;/+*()-, got {name!r}")
    if not isinstance(bias, bool):
        raise TypeError(f"bias: must be yes or no, got {bias!r}")
    x, w = (_sizes(key, entry[key]) for key in ("x", "w"))
    options = {key: _option(entry[key]) for key in ("stride", "padding", "dilation", "groups") if key in entry}
    case = ConvCase(name, x, w, **options, bias=bias)
    geometry = case.geometry
    windows = (x[1], *w[2:], *geometry.output_size)
    largest = max(prod(shape) for shape in (x, w, geometry.y_shape, windows))
    if largest > MOST_ELEMENTS:
        raise ValueError(f"arrays may have {MOST_ELEMENTS:,} elements, and one would have {largest:,}")
    return case


def _sizes(key: str, value: Any) -> tuple[int, ...]:
    good = isinstance(value, list) and len(value) == 4 and all(type(size) is int and size > 0 for size in value)
    if not good:
        raise ValueError(f"{key}: must be four sizes, as in 8x64x56x56, got {value!r}")
    return tuple(value)


def _option(value: Any) -> Any:
    return tuple(map(_option, value)) if isinstance(value, list) else value
