import numpy as np
import pytest

from fastconv.arrays import check_shape, integers, reals


def misaligned(array):
    """Return the same numbers one byte off any address that the type would like."""
    raw = np.zeros(array.nbytes + 1, np.uint8)[1:]
    view = raw.view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


LAYOUTS = {
    "contiguous": lambda a: a,
    "fortran": np.asfortranarray,
    "strided": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "reversed": lambda a: a[::-1].copy()[::-1],
    "transposed": lambda a: a.T.copy().T,
    "broadcast": lambda a: np.broadcast_to(a[:1], a.shape),
    "misaligned": misaligned,
    "big_endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "little_endian": lambda a: a.astype(a.dtype.newbyteorder("<")),
    "memory_map": lambda a: a.view(np.memmap),
    "empty": lambda a: a[:0],
    "scalar": lambda a: np.array(a[0, 0]),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_becomes_native(layout, dtype):
    array = LAYOUTS[layout](np.arange(12, dtype=dtype).reshape(3, 4))
    before = array.tobytes()
    (native,) = reals("op", x=array)
    assert type(native) is np.ndarray and native.dtype == dtype and native.dtype.isnative
    assert native.flags.c_contiguous and native.flags.aligned
    assert native.shape == array.shape
    np.testing.assert_array_equal(native, array)
    assert array.tobytes() == before


def test_what_qualifies_is_not_copied():
    array = np.ones((3, 4), np.float32)
    assert reals("op", x=array)[0] is array
    array.flags.writeable = False
    assert np.shares_memory(reals("op", x=array)[0], array)


def test_what_is_left_out():
    x, w = np.zeros(2), np.ones(3)
    given = reals("op", x=x, b=None, w=w)
    assert given[0] is x and given[1] is None and given[2] is w
    with pytest.raises(TypeError, match="op: w must be a numpy.ndarray, got NoneType"):
        reals("op", x=x, w=None)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.zeros(2, np.int64), "x must be float32 or float64, got int64"),
        (np.zeros(2, bool), "got bool"),
        (np.zeros(2, np.float16), "got float16"),
        (np.zeros(2, np.longdouble), f"got {np.dtype(np.longdouble)}"),
        (np.zeros(2, np.complex128), "got complex128"),
        (np.zeros(2, object), "got object"),
        (np.array(["a"]), "got <U1"),
        (np.zeros(2, "f4,f4"), "got "),
        (np.ma.zeros(2), "x must be a plain ndarray: a mask would be ignored"),
        ([1.0, 2.0], r"x must be a numpy.ndarray, got list; use np.asarray\(x\)"),
        (1.0, "got float"),
        (np.float32(1), "got float32"),
    ],
)
def test_other_types_are_refused(value, words):
    with pytest.raises(TypeError, match=f"^op: .*{words}"):
        reals("op", x=value)


def test_mixed_types_are_refused():
    with pytest.raises(TypeError, match="x is float32, w is float64"):
        reals("op", x=np.zeros(1, np.float32), w=np.zeros(1))
    x, w = reals("op", x=np.zeros(1, ">f4"), w=np.zeros(1, "<f4"))
    assert x.dtype == w.dtype == np.float32


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int32, np.int64, np.uint64, ">i4"])
def test_integers_of_any_width(dtype):
    labels = integers("op", "target", np.arange(6).astype(dtype)[::-1])
    assert labels.dtype == np.int64 and labels.flags.c_contiguous
    np.testing.assert_array_equal(labels, np.arange(6)[::-1])


@pytest.mark.parametrize("value", [np.zeros(2), np.zeros(2, bool), np.zeros(2, object), [0, 1], np.ma.zeros(2, int)])
def test_what_is_no_array_of_integers(value):
    with pytest.raises(TypeError, match="^op: target "):
        integers("op", "target", value)


def test_unsigned_numbers_do_not_wrap():
    with pytest.raises(ValueError, match="op: target must be <= .* got 9223372036854775808"):
        integers("op", "target", np.array([0, 2**63], np.uint64))


def test_check_shape():
    check_shape("op", "b", np.zeros((2, 3)), (2, 3))
    with pytest.raises(ValueError, match=r"op: b must have shape \(3,\), got \(2, 3\)"):
        check_shape("op", "b", np.zeros((2, 3)), (3,))
