"""What users may write for a number, a number per axis, a flag or a padding, adapted to exact Python values.

Every function takes the name of the op and of the argument, and raises an error that names both: TypeError for a wrong
type, ValueError for a wrong value.
"""

import operator
from collections.abc import Sequence
from math import inf, isfinite
from numbers import Real

MAX_SIZE = 2**63 - 1
"""Largest size, offset or number of bytes that compiled code can hold (int64)."""

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")
"""What may stand in the padding of a convolution."""

Ints = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]


def as_int(op: str, name: str, value: object, low: int = 0, high: int = MAX_SIZE) -> int:
    """Return `value` as a Python int between `low` and `high`.

    Parameters
    ----------
    op, name : str
        Function and argument that an error message names.
    value : int
        Anything with ``__index__`` (such as NumPy's integers) except bool.
    low, high : int
        Smallest and largest legal value.

    Raises
    ------
    TypeError
        `value` is not an integer. Floats are refused even when they are whole.
    ValueError
        `value` lies outside the range.
    """
    number = _index(value)
    if number is None:
        raise TypeError(f"{op}: {name} must be an int, got {value!r} ({type(value).__name__})")
    _check_range(op, name, (number,), low, high, value)
    return number


def as_ints(op: str, name: str, value: object, ndim: int, low: int = 0) -> Ints:
    """Return `value` as `ndim` Python ints, all of them at least `low`; a single int stands for every axis.

    Raises
    ------
    TypeError
        `value` is neither an int nor a sequence of ints.
    ValueError
        The sequence has another length, or a number is out of range.
    """
    if type(value) is int and low <= value <= MAX_SIZE:  # most calls, and a training step makes some thirty
        return (value,) * ndim
    number = _index(value)
    numbers = (number,) * ndim if number is not None else tuple(map(_index, _sequence(op, name, value, ndim)))
    if None in numbers:
        raise TypeError(f"{op}: {name} must be an int or a sequence of {ndim} ints, got {value!r}")
    _check_range(op, name, numbers, low, MAX_SIZE, value)
    return numbers


def as_word(op: str, name: str, value: object, known: Sequence[str]) -> str:
    """Return `value` if it is one of the `known` words; TypeError for what is no string, ValueError for others."""
    if not isinstance(value, str):
        raise TypeError(f"{op}: {name} must be a string, got {value!r}")
    if value not in known:
        raise ValueError(f"{op}: {name} must be one of {known}, got {value!r}")
    return value


def as_flag(op: str, name: str, value: object) -> bool:
    """Return `value` if it is a bool, and raise TypeError for anything else (``'no'`` would count as true)."""
    if not isinstance(value, bool):
        raise TypeError(f"{op}: {name} must be True or False, got {value!r} ({type(value).__name__})")
    return value


def as_real(op: str, name: str, value: object) -> float:
    """Return a finite number as a float."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{op}: {name} must be a number, got {value!r} ({type(value).__name__})")
    if not isfinite(value):
        raise ValueError(f"{op}: {name} must be finite, got {value!r}")
    return float(value)


def as_relu(op: str, value: object) -> float | None:
    """Return the ceiling of the ReLU that is asked for: inf for True, a number for itself, None for False.

    Raises
    ------
    TypeError
        `value` is neither a bool nor a number.
    ValueError
        The ceiling is not above 0.
    """
    if isinstance(value, bool):
        return inf if value else None
    if not isinstance(value, Real):
        raise TypeError(f"{op}: relu must be True or False, or a ceiling, got {value!r} ({type(value).__name__})")
    if not value > 0:
        raise ValueError(f"{op}: relu must be True or False, or a ceiling above 0, got {value!r}")
    return float(value)


def as_padding(op: str, padding: object, ndim: int) -> Pairs | str:
    """Return the (before, after) pair of every axis, or ``'same'``, whose pairs depend on the input's size.

    Parameters
    ----------
    op : str
        Function that an error message names.
    padding : int, sequence of int or of (int, int), 'same' or 'valid'
        An int pads both ends of an axis; ``'valid'`` is 0.
    ndim : int
        Number of axes.

    Raises
    ------
    TypeError, ValueError
        Another type, another word, another length, or a negative number.
    """
    if type(padding) is int and 0 <= padding <= MAX_SIZE:
        return ((padding, padding),) * ndim
    if isinstance(padding, str):
        if padding == "same":
            return padding
        if padding != "valid":
            raise ValueError(
                f"{op}: padding must be 'same', 'valid', an int, or an int or pair per axis, got {padding!r}"
            )
        padding = 0
    entries = (padding,) * ndim if _index(padding) is not None else _sequence(op, "padding", padding, ndim)
    return tuple(as_ints(op, "padding", entry, 2) for entry in entries)


def _index(value: object) -> int | None:
    """Return an integer as a Python int, and None for everything else."""
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def _sequence(op: str, name: str, value: object, ndim: int) -> Sequence:
    """Return `value` if it is a sequence with an entry per axis."""
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise TypeError(
            f"{op}: {name} must be an int or a sequence of {ndim} ints, got {value!r} ({type(value).__name__})"
        )
    if len(value) != ndim:
        raise ValueError(f"{op}: {name} must have {ndim} entries, one per spatial axis, got {len(value)}: {value!r}")
    return value


def _check_range(op: str, name: str, numbers: Ints, low: int, high: int, value: object) -> None:
    if min(numbers) < low:
        raise ValueError(f"{op}: {name} must be >= {low}, got {value!r}")
    if max(numbers) > high:
        limit = "2**63 - 1" if high == MAX_SIZE else high
        raise ValueError(f"{op}: {name} must be <= {limit}, got {value!r}")


def as_needs(op: str, needs: object, names: tuple[str, ...] = ("dx", "dw", "db")) -> tuple[bool, ...]:
    """Return which of the gradients are wanted."""
    if not isinstance(needs, tuple | list) or len(needs) != len(names):
        raise TypeError(f"{op}: needs must be {len(names)} bools, for {', '.join(names)}, got {needs!r}")
    return tuple(map(bool, needs))


def as_share(op: str, name: str, value: object) -> float:
    """Return a number from 0 to 1 as a float."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{op}: {name} must be a number, got {value!r}")
    if not 0 <= value <= 1:
        raise ValueError(f"{op}: {name} must be between 0 and 1, got {value!r}")
    return float(value)
