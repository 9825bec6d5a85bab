"""Named arrays from elsewhere, copied into named arrays of our own: all of them, or none."""

from collections.abc import Collection, Iterable, Mapping

import numpy as np

_NAMES_SHOWN = 6  # of a list of names in an error, which is to fit on a terminal


def load_arrays(
    owner: str,
    targets: Mapping[str, np.ndarray],
    source: Mapping[str, np.ndarray],
    strict: bool = True,
    optional: Collection[str] = (),
) -> tuple[list[str], list[str]]:
    """Copy every array of `source` into the one of the same name in `targets`, after all of them have been checked.

    Parameters
    ----------
    owner : str
        Whom the error message names.
    targets : mapping of str to ndarray
        Written in place; they keep their dtype.
    source : mapping of str to ndarray
    strict : bool
        Whether missing and unexpected names are errors.
    optional : collection of str
        Names in `targets` that may be missing.

    Returns
    -------
    missing, unexpected : list of str
        Names in `targets` only, and names in `source` only.

    Raises
    ------
    ValueError
        Names are missing or unexpected, shapes differ, a dtype cannot be converted, or a target is read-only, as in a
        prepacked model. Nothing has been copied then.
    """
    source = {name: np.asarray(array) for name, array in source.items()}
    missing = [name for name in targets if name not in source and name not in optional]
    unexpected = [name for name in source if name not in targets]
    shared = [(name, array, source[name]) for name, array in targets.items() if name in source]
    shapes = [(name, old.shape, new.shape) for name, old, new in shared]
    dtypes = [(name, old.dtype, new.dtype) for name, old, new in shared]
    complaints = {
        "missing": missing if strict else [],
        "unexpected": unexpected if strict else [],
        "wrong shape": [f"{name} is {new}, must be {old}" for name, old, new in shapes if new != old],
        "read-only, load before `prepack`": [name for name, old, _ in shared if not old.flags.writeable],
        "wrong dtype": [
            f"{name} is {new}, must be {old}" for name, old, new in dtypes if not np.can_cast(new, old, "same_kind")
        ],
    }
    report = "; ".join(f"{kind}: {_shorten(entries)}" for kind, entries in complaints.items() if entries)
    if report:
        raise ValueError(f"{owner}: the state does not fit: {report}")
    for _, old, new in shared:
        old[...] = new
    return missing, unexpected


def _shorten(entries: Iterable[str]) -> str:
    first, rest = list(entries)[:_NAMES_SHOWN], list(entries)[_NAMES_SHOWN:]
    return ", ".join(first) + (f" and {len(rest)} more" if rest else "")
