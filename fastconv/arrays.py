"""Which arrays the ops accept, and in which layout the kernels receive them. Nothing is computed here.

===================================  ==========================================================
float32, float64                     accepted; all real arrays of a call have the same dtype
any other layout of those            accepted and copied: strided, Fortran order, negative
                                     strides, big-endian, misaligned
read-only                            accepted, never written
float16, longdouble, complex,        TypeError
integers, bool, object
lists, scalars, masked arrays        TypeError
===================================  ==========================================================
"""

import numpy as np

REAL_TYPES = (np.float32, np.float64)
FLOAT32, FLOAT64 = map(np.dtype, REAL_TYPES)
REQUIRED = {"x", "w", "dy", "w_depthwise", "w_pointwise"}  # arguments that no op can do without


def reals(op: str, **named: np.ndarray | None) -> tuple[np.ndarray | None, ...]:
    """Return real arrays as kernels want them: C-contiguous, aligned, in native byte order.

    Parameters
    ----------
    op : str
        Function that an error message names.
    **named : ndarray or None
        The arrays by the names of their arguments. None passes through where an argument may be left out.

    Returns
    -------
    tuple of ndarray or None
        In the order given. An array that already qualifies is returned as it is; others are copied.

    Raises
    ------
    TypeError
        An argument is no plain ndarray, is neither float32 nor float64, or two of them differ in dtype.
    """
    if _qualify(named):
        return tuple(named.values())
    given = {name: array for name, array in named.items() if array is not None or name in REQUIRED}
    for name, array in given.items():
        _check_plain(op, name, array)
        if array.dtype.type not in REAL_TYPES:
            raise TypeError(f"{op}: {name} must be float32 or float64, got {array.dtype}; use {name}.astype(...)")
    if len({array.dtype.itemsize for array in given.values()}) > 1:
        found = ", ".join(f"{name} is {array.dtype}" for name, array in given.items())
        raise TypeError(f"{op}: arrays must have one dtype, but {found}")
    return tuple(None if array is None else _native(array) for array in named.values())


def integers(op: str, name: str, array: np.ndarray) -> np.ndarray:
    """Return an array of integers (labels, positions) as C-contiguous int64.

    Raises
    ------
    TypeError
        `array` is no plain ndarray of integers; bool does not count.
    ValueError
        An unsigned number does not fit into int64.
    """
    _check_plain(op, name, array)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{op}: {name} must be an array of integers, got {array.dtype}")
    limit = np.iinfo(np.int64).max
    if array.dtype.kind == "u" and array.size and array.max() > limit:
        raise ValueError(f"{op}: {name} must be <= 2**63 - 1, got {array.max()}")
    return np.require(np.asarray(array), np.int64, ["C", "A"])


def check_shape(op: str, name: str, array: np.ndarray, expected: tuple[int, ...]) -> None:
    """Raise ValueError unless `array` has the `expected` shape."""
    if array.shape != tuple(expected):
        raise ValueError(f"{op}: {name} must have shape {tuple(expected)}, got {array.shape}")


def _check_plain(op: str, name: str, array: object) -> None:
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(f"{op}: {name} must be a plain ndarray: a mask would be ignored; use {name}.filled(value)")
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{op}: {name} must be a numpy.ndarray, got {type(array).__name__}; use np.asarray({name})")


def _qualify(named: dict[str, np.ndarray | None]) -> bool:
    """Whether all arrays are as kernels want them already: in 1 us, of which a training step has 25."""
    common = None
    for name, array in named.items():
        if array is None:
            if name in REQUIRED:
                return False
            continue
        if type(array) is not np.ndarray or not array.flags.carray:
            return False
        if common is None:
            common = array.dtype
        if array.dtype is not common:  # one object for all arrays of a native type
            return False
    return common in (FLOAT32, FLOAT64) and common.isnative


def _native(array: np.ndarray) -> np.ndarray:
    """Return a plain array in C order, aligned and of native bytes: the same object where it already is."""
    if type(array) is np.ndarray and array.flags.carray and array.dtype.isnative:
        return array
    return np.require(np.asarray(array), array.dtype.type, ["C", "A"])
