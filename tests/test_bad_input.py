"""Bad input: which error, and what its message has to name. Nothing may reach a kernel."""

import numpy as np
import pytest

from fastconv import ops

X = np.zeros((2, 6, 9, 8), np.float32)
W = np.zeros((4, 6, 3, 3), np.float32)
B = np.zeros(4, np.float32)
ROWS = np.zeros((5, 7), np.float32)
LABELS = np.zeros(5, np.int64)
# An op, its good arguments, and the shape of its result.
GOOD = {
    "conv2d": ({"x": X, "w": W, "b": B}, (2, 4, 7, 6)),
    "max_pool2d": ({"x": X, "kernel_size": 2}, (2, 6, 4, 4)),
    "avg_pool2d": ({"x": X, "kernel_size": 2}, (2, 6, 4, 4)),
    "linear": ({"x": ROWS, "w": np.zeros((3, 7), np.float32), "b": np.zeros(3, np.float32)}, (5, 3)),
    "relu": ({"x": X}, X.shape),
    "relu6": ({"x": X}, X.shape),
    "sigmoid": ({"x": X}, X.shape),
    "tanh": ({"x": X}, X.shape),
    "softmax": ({"x": X}, X.shape),
    "log_softmax": ({"x": X}, X.shape),
    "cross_entropy": ({"x": ROWS, "target": LABELS}, ()),
    "flatten": ({"x": X}, (2, 432)),
}


def zeros(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


# For conv2d and both poolings alike: argument, value, error, words.
WINDOW = [
    ("stride", 0, ValueError, ["stride", "0"]),
    ("stride", -1, ValueError, ["stride", "-1"]),
    ("stride", (1, 0), ValueError, ["stride", "(1, 0)"]),
    ("stride", (1, 2, 3), ValueError, ["stride", "2", "3"]),
    ("stride", (1,), ValueError, ["stride", "2", "1"]),
    ("stride", 1.0, TypeError, ["stride", "float"]),
    ("stride", True, TypeError, ["stride", "bool"]),
    ("stride", "1", TypeError, ["stride", "'1'"]),
    ("stride", (1, 1.5), TypeError, ["stride", "1.5"]),
    ("stride", 2**63, ValueError, ["stride", "9223372036854775808"]),
    ("padding", -1, ValueError, ["padding", "-1"]),
    ("padding", 2**62, ValueError, ["padding", "4611686018427387904"]),
    ("padding", 0.5, TypeError, ["padding", "0.5"]),
    ("padding", (1, 1, 1), ValueError, ["padding", "2", "3"]),
    ("padding", "full", ValueError, ["padding", "'full'", "'same'", "'valid'"]),
    ("padding", ((1, -1), 0), ValueError, ["padding", "-1"]),
    ("x", zeros(6), ValueError, ["x", "(6,)"]),
    ("x", zeros(9, 8), ValueError, ["x", "(9, 8)"]),
    ("x", zeros(2, 6, 9, 8, 1), ValueError, ["x", "(2, 6, 9, 8, 1)"]),
    ("x", zeros(2, 0, 9, 8), ValueError, ["x", "(2, 0, 9, 8)"]),
    ("x", zeros(2, 6, 0, 8), ValueError, ["x", "(2, 6, 0, 8)"]),
    ("x", zeros(2, 6, 1, 8), ValueError, ["kernel_size", "1"]),
]
POOL = [
    ("kernel_size", 0, ValueError, ["kernel_size", "0"]),
    ("kernel_size", (2, -3), ValueError, ["kernel_size", "-3"]),
    ("kernel_size", 10, ValueError, ["kernel_size", "10", "9"]),
    ("kernel_size", (2, 2, 2), ValueError, ["kernel_size", "3"]),
    ("kernel_size", 2.0, TypeError, ["kernel_size", "float"]),
    ("kernel_size", None, TypeError, ["kernel_size", "None"]),
    ("padding", 2, ValueError, ["padding", "half", "2"]),
    ("padding", ((0, 2), 0), ValueError, ["padding", "half"]),
    ("ceil_mode", "no", TypeError, ["ceil_mode", "'no'"]),
]
# The same for the op and, with a right gradient besides, for its backward.
TABLE = [
    *(("conv2d", *row) for row in WINDOW),
    *((op, *row) for op in ("max_pool2d", "avg_pool2d") for row in WINDOW + POOL),
    ("conv2d", "dilation", 0, ValueError, ["dilation", "0"]),
    ("conv2d", "dilation", -2, ValueError, ["dilation", "-2"]),
    ("conv2d", "dilation", 2**62, ValueError, ["dilation", "4611686018427387904"]),
    ("conv2d", "dilation", 1.0, TypeError, ["dilation", "float"]),
    ("conv2d", "groups", 0, ValueError, ["groups", "0"]),
    ("conv2d", "groups", -1, ValueError, ["groups", "-1"]),
    ("conv2d", "groups", 4, ValueError, ["groups", "4", "6"]),
    ("conv2d", "groups", 2, ValueError, ["w", "(4, 6, 3, 3)", "3"]),
    ("conv2d", "groups", 1.0, TypeError, ["groups", "1.0"]),
    ("conv2d", "groups", True, TypeError, ["groups", "True"]),
    ("conv2d", "x", zeros(2, 5, 9, 8), ValueError, ["w", "(4, 6, 3, 3)", "5"]),
    ("conv2d", "w", zeros(4, 6, 3), ValueError, ["w", "(4, 6, 3)"]),
    ("conv2d", "w", zeros(4, 6, 0, 3), ValueError, ["kernel_size", "0"]),
    ("conv2d", "w", zeros(0, 6, 3, 3), ValueError, ["w", "(0, 6, 3, 3)"]),
    ("conv2d", "w", zeros(4, 6, 10, 3), ValueError, ["kernel_size", "10", "9"]),
    ("conv2d", "w", None, TypeError, ["w", "None"]),
    ("conv2d", "b", zeros(1), ValueError, ["b", "(4,)", "(1,)"]),
    ("conv2d", "b", zeros(4, 1), ValueError, ["b", "(4,)", "(4, 1)"]),
    ("conv2d", "b", np.float32(0), TypeError, ["b", "float32"]),
    ("max_pool2d", "dilation", 0, ValueError, ["dilation", "0"]),
    ("max_pool2d", "dilation", (1, 9), ValueError, ["dilation", "9"]),
    ("avg_pool2d", "divisor_override", 0, ValueError, ["divisor_override", "0"]),
    ("avg_pool2d", "divisor_override", 2.0, TypeError, ["divisor_override", "2.0"]),
    ("avg_pool2d", "count_include_pad", "no", TypeError, ["count_include_pad", "'no'"]),
    ("linear", "x", zeros(5, 8), ValueError, ["x", "8", "7"]),
    ("linear", "x", np.zeros((), np.float32), ValueError, ["x", "()"]),
    ("linear", "w", zeros(7), ValueError, ["w", "(7,)"]),
    ("linear", "w", zeros(3, 7, 1), ValueError, ["w", "(3, 7, 1)"]),
    ("linear", "b", zeros(7), ValueError, ["b", "(3,)", "(7,)"]),
    ("linear", "b", zeros(1), ValueError, ["b", "(3,)", "(1,)"]),
    ("softmax", "dim", 4, ValueError, ["dim", "4"]),
    ("softmax", "dim", -5, ValueError, ["dim", "-5"]),
    ("softmax", "dim", 1.0, TypeError, ["dim", "1.0"]),
    ("log_softmax", "dim", 4, ValueError, ["dim", "4"]),
    ("log_softmax", "dim", None, TypeError, ["dim", "None"]),
    ("flatten", "start_dim", 4, ValueError, ["start_dim", "4"]),
    ("flatten", "end_dim", -5, ValueError, ["end_dim", "-5"]),
    ("flatten", "start_dim", "1", TypeError, ["start_dim", "'1'"]),
    ("flatten", "end_dim", 0, ValueError, ["start_dim", "end_dim", "0", "1"]),
    ("cross_entropy", "target", np.array([0, 1, 2, 3, 7]), ValueError, ["target", "7"]),
    ("cross_entropy", "target", np.array([0, 1, -1, 3, 4]), ValueError, ["target", "-1"]),
    ("cross_entropy", "target", np.array([0, 0, 0, 0, 2**32 + 3]), ValueError, ["target", "4294967299"]),
    ("cross_entropy", "target", zeros(5), TypeError, ["target", "float32"]),
    ("cross_entropy", "target", zeros(5, dtype=bool), TypeError, ["target", "bool"]),
    ("cross_entropy", "target", [0] * 5, TypeError, ["target", "list"]),
    ("cross_entropy", "target", LABELS[:4], ValueError, ["target", "(5,)", "(4,)"]),
    ("cross_entropy", "target", LABELS[:, None], ValueError, ["target", "(5,)", "(5, 1)"]),
    ("cross_entropy", "x", zeros(5), ValueError, ["x", "(5,)"]),
    ("cross_entropy", "x", zeros(5, 0), ValueError, ["x", "(5, 0)"]),
    ("cross_entropy", "reduction", "average", ValueError, ["reduction", "'average'", "'mean'"]),
    ("cross_entropy", "reduction", None, (TypeError, ValueError), ["reduction", "None"]),
]
WRONG_ARRAYS = {
    "integers": (lambda a: a.astype(np.int32), "int32"),
    "booleans": (lambda a: a.astype(bool), "bool"),
    "float16": (lambda a: a.astype(np.float16), "float16"),
    "longdouble": (lambda a: a.astype(np.longdouble), str(np.dtype(np.longdouble))),
    "complex": (lambda a: a.astype(np.complex64), "complex64"),
    "objects": (lambda a: a.astype(object), "object"),
    "masked": (np.ma.masked_array, "mask"),
    "list": (np.ndarray.tolist, "list"),
}
FLOAT_ARGUMENTS = [
    (op, name) for op, (good, _) in GOOD.items() for name in good if name != "target" and name != "kernel_size"
]


def call(op, arguments):
    return getattr(ops, op)(**arguments)


def call_backward(op, arguments):
    dy = arguments.get("dy", np.zeros(GOOD[op][1], np.float32))
    return getattr(ops, f"{op}_backward")(**{"dy": dy, **arguments})


def assert_refused(function, op, arguments, error, words):
    with pytest.raises(error) as caught:
        function(op, arguments)
    message = str(caught.value)
    assert message.startswith(op), f"does not name the op: {message}"
    missing = [word for word in words if word not in message.removeprefix(op)]
    assert not missing, f"does not name {missing}: {message}"


@pytest.mark.parametrize("op", GOOD)
def test_good_arguments(op):
    good, shape = GOOD[op]
    assert call(op, good).shape == shape
    call_backward(op, good)


@pytest.mark.parametrize("function", [call, call_backward], ids=["forward", "backward"])
@pytest.mark.parametrize(("op", "name", "value", "error", "words"), TABLE)
def test_refused(function, op, name, value, error, words):
    assert_refused(function, op, GOOD[op][0] | {name: value}, error, words)


@pytest.mark.parametrize("function", [call, call_backward], ids=["forward", "backward"])
@pytest.mark.parametrize("wrong", WRONG_ARRAYS)
@pytest.mark.parametrize(("op", "name"), FLOAT_ARGUMENTS)
def test_wrong_types_of_arrays(function, op, name, wrong):
    good = GOOD[op][0]
    make, word = WRONG_ARRAYS[wrong]
    assert_refused(function, op, good | {name: make(good[name])}, TypeError, [name, word])


@pytest.mark.parametrize("wrong", [wrong for wrong in WRONG_ARRAYS if wrong != "list"])
@pytest.mark.parametrize("op", GOOD)
def test_wrong_types_of_gradients(op, wrong):
    make, word = WRONG_ARRAYS[wrong]
    dy = make(np.zeros(GOOD[op][1], np.float32))
    assert_refused(call_backward, op, GOOD[op][0] | {"dy": dy}, TypeError, ["dy", word])


@pytest.mark.parametrize("function", [call, call_backward], ids=["forward", "backward"])
@pytest.mark.parametrize(("op", "name"), [(op, name) for op, name in FLOAT_ARGUMENTS if name != "x"])
def test_mixed_types(function, op, name):
    good = GOOD[op][0]
    mixed = good | {name: good[name].astype(np.float64)}
    assert_refused(function, op, mixed, TypeError, [name, "float32", "float64"])


@pytest.mark.parametrize("op", GOOD)
def test_gradient_of_another_type_or_shape(op):
    good, shape = GOOD[op]
    assert_refused(call_backward, op, good | {"dy": np.zeros(shape)}, TypeError, ["dy", "float32", "float64"])
    for wrong in [(*shape, 1), (3, *shape[1:]), (0, *shape[1:])]:
        words = ["dy", str(shape), str(wrong)]
        assert_refused(call_backward, op, good | {"dy": np.zeros(wrong, np.float32)}, ValueError, words)


@pytest.mark.parametrize("op", ["conv2d", "linear"])
@pytest.mark.parametrize("needs", [(True, True), True, "yes"], ids=str)
def test_needs(op, needs):
    assert_refused(call_backward, op, GOOD[op][0] | {"needs": needs}, (TypeError, ValueError), ["needs"])


def test_huge_output():
    """It is legal, and there is no such machine: nothing is computed for it before memory is asked for."""
    with pytest.raises(MemoryError, match="bytes"):
        ops.conv2d(X, W, padding=2**22)


def test_nothing_is_kept_of_a_refused_call():
    """An error leaves the op as it was: the next good call gives what it gave before."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal(X.shape), rng.standard_normal(W.shape)
    before = ops.conv2d(x, w)
    for bad in ({"stride": 0}, {"padding": 2**62}, {"groups": 5}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            ops.conv2d(x, w, **bad)
    np.testing.assert_array_equal(ops.conv2d(x, w), before)
