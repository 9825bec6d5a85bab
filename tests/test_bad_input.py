"""Bad input: which error, and what its message has to name. Nothing may reach a kernel."""

import numpy as np
import pytest

from fastconv import ops

X = np.zeros((2, 6, 9, 8), np.float32)
W = np.zeros((4, 6, 3, 3), np.float32)
V = np.zeros((6, 4, 3, 3), np.float32)
B = np.zeros(4, np.float32)
LINE, CUBE = np.zeros((2, 6, 9), np.float32), np.zeros((2, 6, 4, 4, 4), np.float32)
SHUFFLED = np.zeros((2, 4, 9, 8), np.float32)
PLACES = np.zeros(X.shape, np.int64)
ROWS = np.zeros((5, 7), np.float32)
LABELS = np.zeros(5, np.int64)
# An op, its good arguments, and the shape of its result.
GOOD = {
    "conv2d": ({"x": X, "w": W, "b": B}, (2, 4, 7, 6)),
    "conv1d": ({"x": X[:, :, 0], "w": W[:, :, 0], "b": B}, (2, 4, 6)),
    "conv3d": ({"x": X[..., None], "w": W[..., None], "b": B}, (2, 4, 7, 6, 1)),
    "conv_transpose1d": ({"x": X[:, :, 0], "w": V[:, :, 0], "b": B}, (2, 4, 10)),
    "conv_transpose2d": ({"x": X, "w": V, "b": B}, (2, 4, 11, 10)),
    "conv_transpose3d": ({"x": X[..., None], "w": V[..., None], "b": B}, (2, 4, 11, 10, 1)),
    "depthwise_separable_conv2d": (
        {"x": X, "w_depthwise": np.zeros((12, 1, 3, 3), np.float32), "w_pointwise": np.zeros((4, 12, 1, 1), np.float32)}
        | {"b": B},
        (2, 4, 7, 6),
    ),
    "max_pool2d": ({"x": X, "kernel_size": 2}, (2, 6, 4, 4)),
    "avg_pool2d": ({"x": X, "kernel_size": 2}, (2, 6, 4, 4)),
    "max_pool1d": ({"x": LINE, "kernel_size": 2}, (2, 6, 4)),
    "max_pool3d": ({"x": CUBE, "kernel_size": 2}, (2, 6, 2, 2, 2)),
    "avg_pool1d": ({"x": LINE, "kernel_size": 2}, (2, 6, 4)),
    "avg_pool3d": ({"x": CUBE, "kernel_size": 2}, (2, 6, 2, 2, 2)),
    "lp_pool2d": ({"x": X, "norm_type": 2, "kernel_size": 2}, (2, 6, 4, 4)),
    "adaptive_max_pool2d": ({"x": X, "output_size": 4}, (2, 6, 4, 4)),
    "adaptive_avg_pool2d": ({"x": X, "output_size": 4}, (2, 6, 4, 4)),
    "max_unpool2d": ({"x": X, "indices": PLACES, "kernel_size": 2}, (2, 6, 18, 16)),
    "unpool_bed_of_nails": ({"x": X, "kernel_size": 2}, (2, 6, 18, 16)),
    "interpolate": ({"x": X, "scale_factor": 2}, (2, 6, 18, 16)),
    "pixel_shuffle": ({"x": SHUFFLED, "upscale_factor": 2}, (2, 1, 18, 16)),
    "pixel_unshuffle": ({"x": CUBE[0], "downscale_factor": 2}, (6, 16, 2, 2)),
    "depth_to_space": ({"x": SHUFFLED, "block_size": 2}, (2, 1, 18, 16)),
    "space_to_depth": ({"x": CUBE[0], "block_size": 2}, (6, 16, 2, 2)),
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
ANY_AXES = [row for row in WINDOW + POOL if row[0] != "x" and not isinstance(row[1], tuple) and row[1] != 10]
OUTPUT_SIZE = [
    ("output_size", 0, ValueError, ["output_size", "0"]),
    ("output_size", (2, -1), ValueError, ["output_size", "-1"]),
    ("output_size", (2, 2, 2), ValueError, ["output_size", "3"]),
    ("output_size", 2.0, TypeError, ["output_size", "2.0"]),
    ("output_size", "44", TypeError, ["output_size", "'44'"]),
    ("output_size", 2**40, ValueError, ["2**63 - 1"]),
    ("x", zeros(9, 8), ValueError, ["x", "(9, 8)"]),
    ("x", zeros(2, 6, 0, 8), ValueError, ["x", "(2, 6, 0, 8)"]),
]
SHUFFLE = [("x", zeros(2, 6, 9, 8), ValueError, ["4", "6"]), ("x", zeros(4, 9), ValueError, ["x", "(4, 9)"])]
UNSHUFFLE = [("x", zeros(2, 6, 9, 8), ValueError, ["2", "(2, 6, 9, 8)"]), ("x", zeros(4, 9), ValueError, ["(4, 9)"])]
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
    ("conv2d", "padding_mode", "symmetric", ValueError, ["padding_mode", "'symmetric'", "'reflect'"]),
    ("conv2d", "padding_mode", None, TypeError, ["padding_mode", "None"]),
    ("conv2d", "layout", "NWC", ValueError, ["layout", "'NWC'", "'NHWC'"]),
    ("conv2d", "layout", 1, TypeError, ["layout", "1"]),
    ("conv1d", "layout", "NHWC", ValueError, ["layout", "'NHWC'", "'NWC'"]),
    ("conv1d", "stride", (1, 1), ValueError, ["stride", "1", "2"]),
    ("conv1d", "x", zeros(2, 6, 9, 8), ValueError, ["x", "(2, 6, 9, 8)"]),
    ("conv1d", "padding", 2**62, ValueError, ["padding", "4611686018427387904"]),
    ("conv3d", "stride", (1, 1), ValueError, ["stride", "3", "2"]),
    ("conv3d", "x", zeros(9, 8), ValueError, ["x", "(9, 8)"]),
    ("conv3d", "w", zeros(4, 6, 3, 3), ValueError, ["w", "(4, 6, 3, 3)"]),
    ("conv3d", "padding", 2**21, ValueError, ["2**63 - 1 bytes", "padding"]),
    *(
        ("conv_transpose2d", *row)
        for row in [
            ("stride", 0, ValueError, ["stride", "0"]),
            ("stride", 1.0, TypeError, ["stride", "float"]),
            ("stride", 2**62, ValueError, ["stride", "2**63 - 1"]),
            ("dilation", 0, ValueError, ["dilation", "0"]),
            ("dilation", 2**62, ValueError, ["dilation", "2**63 - 1"]),
            ("dilation", 2**32, ValueError, ["2**63 - 1 bytes"]),
            ("padding", -1, ValueError, ["padding", "-1"]),
            ("padding", 6, ValueError, ["padding", "(6, 6)", "nothing"]),
            ("padding", "same", ValueError, ["padding", "'same'"]),
            ("output_padding", 1, ValueError, ["output_padding", "stride", "dilation", "1"]),
            ("output_padding", -1, ValueError, ["output_padding", "-1"]),
            ("output_padding", True, TypeError, ["output_padding", "True"]),
            ("groups", 4, ValueError, ["groups", "4", "6"]),
            ("groups", 0, ValueError, ["groups", "0"]),
            ("w", zeros(5, 4, 3, 3), ValueError, ["w", "(5, 4, 3, 3)", "6"]),
            ("w", zeros(6, 0, 3, 3), ValueError, ["w", "(6, 0, 3, 3)"]),
            ("w", zeros(6, 4, 3), ValueError, ["w", "(6, 4, 3)"]),
            ("w", zeros(6, 4, 0, 3), ValueError, ["kernel_size", "0"]),
            ("b", zeros(6), ValueError, ["b", "(4,)", "(6,)"]),
            ("x", zeros(2, 0, 9, 8), ValueError, ["x", "(2, 0, 9, 8)"]),
            ("x", zeros(9, 8), ValueError, ["x", "(9, 8)"]),
            ("layout", "NWC", ValueError, ["layout", "'NWC'"]),
        ]
    ),
    ("depthwise_separable_conv2d", "w_depthwise", zeros(7, 1, 3, 3), ValueError, ["w_depthwise", "(7, 1, 3, 3)", "6"]),
    ("depthwise_separable_conv2d", "w_depthwise", zeros(12, 2, 3, 3), ValueError, ["w_depthwise", "(12, 2, 3, 3)"]),
    ("depthwise_separable_conv2d", "w_pointwise", zeros(4, 6, 1, 1), ValueError, ["w_pointwise", "(4, 6, 1, 1)", "12"]),
    ("depthwise_separable_conv2d", "w_pointwise", zeros(4, 12, 1, 2), ValueError, ["w_pointwise", "(4, 12, 1, 2)"]),
    ("depthwise_separable_conv2d", "b", zeros(12), ValueError, ["b", "(4,)", "(12,)"]),
    ("depthwise_separable_conv2d", "stride", 0, ValueError, ["stride", "0"]),
    ("depthwise_separable_conv2d", "padding_mode", "mirror", ValueError, ["padding_mode", "'mirror'"]),
    ("depthwise_separable_conv2d", "x", zeros(9, 8), ValueError, ["x", "(9, 8)"]),
    ("max_pool2d", "dilation", 0, ValueError, ["dilation", "0"]),
    ("max_pool2d", "dilation", (1, 9), ValueError, ["dilation", "9"]),
    ("avg_pool2d", "divisor_override", 0, ValueError, ["divisor_override", "0"]),
    ("avg_pool2d", "divisor_override", 2.0, TypeError, ["divisor_override", "2.0"]),
    ("avg_pool2d", "count_include_pad", "no", TypeError, ["count_include_pad", "'no'"]),
    *((op, *row) for op in ("max_pool1d", "avg_pool1d", "max_pool3d", "avg_pool3d") for row in ANY_AXES),
    *(("lp_pool2d", *row) for row in ANY_AXES if row[0] != "padding"),
    ("lp_pool2d", "norm_type", 0, ValueError, ["norm_type", "0"]),
    ("lp_pool2d", "norm_type", -2, ValueError, ["norm_type", "-2"]),
    ("lp_pool2d", "norm_type", float("inf"), ValueError, ["norm_type", "inf"]),
    ("lp_pool2d", "norm_type", "2", TypeError, ["norm_type", "'2'"]),
    ("max_pool3d", "x", zeros(6, 9), ValueError, ["x", "(6, 9)"]),
    ("max_pool1d", "x", zeros(6), ValueError, ["x", "(6,)"]),
    *((op, *row) for op in ("adaptive_max_pool2d", "adaptive_avg_pool2d") for row in OUTPUT_SIZE),
    ("max_unpool2d", "indices", PLACES + 288, ValueError, ["indices", "287", "288"]),
    ("max_unpool2d", "indices", PLACES - 1, ValueError, ["indices", "-1"]),
    ("max_unpool2d", "indices", PLACES + 2**32 + 3, ValueError, ["indices", "4294967299"]),
    ("max_unpool2d", "indices", PLACES.astype(np.uint64) + 2**63, ValueError, ["indices", "9223372036854775808"]),
    ("max_unpool2d", "indices", PLACES.astype(np.float32), TypeError, ["indices", "float32"]),
    ("max_unpool2d", "indices", PLACES[:1], ValueError, ["indices", "(2, 6, 9, 8)"]),
    ("max_unpool2d", "indices", None, TypeError, ["indices", "None"]),
    ("max_unpool2d", "kernel_size", 0, ValueError, ["kernel_size", "0"]),
    ("max_unpool2d", "stride", 0, ValueError, ["stride", "0"]),
    ("max_unpool2d", "padding", 20, ValueError, ["padding", "20"]),
    ("max_unpool2d", "output_size", (20, 16), ValueError, ["output_size", "(20, 16)", "(18, 16)"]),
    ("max_unpool2d", "output_size", (2, 18, 16), ValueError, ["output_size", "3"]),
    ("max_unpool2d", "x", zeros(9, 8), ValueError, ["x", "(9, 8)"]),
    ("unpool_bed_of_nails", "kernel_size", 0, ValueError, ["kernel_size", "0"]),
    ("unpool_bed_of_nails", "kernel_size", 2**40, ValueError, ["2**63 - 1"]),
    ("unpool_bed_of_nails", "x", zeros(9, 8), ValueError, ["x", "(9, 8)"]),
    ("interpolate", "x", zeros(9, 8), ValueError, ["x", "(9, 8)"]),
    ("interpolate", "x", zeros(2, 6, 0, 8), ValueError, ["x", "(2, 6, 0, 8)"]),
    ("interpolate", "scale_factor", None, ValueError, ["size", "scale_factor"]),
    ("interpolate", "size", 3, ValueError, ["size", "scale_factor"]),
    ("interpolate", "scale_factor", 0, ValueError, ["scale_factor", "0"]),
    ("interpolate", "scale_factor", -1.5, ValueError, ["scale_factor", "-1.5"]),
    ("interpolate", "scale_factor", float("nan"), ValueError, ["scale_factor", "nan"]),
    ("interpolate", "scale_factor", 1e300, ValueError, ["output size"]),
    ("interpolate", "scale_factor", 0.01, ValueError, ["output size", "0"]),
    ("interpolate", "scale_factor", (2, 2, 2), ValueError, ["scale_factor", "2"]),
    ("interpolate", "scale_factor", "2", TypeError, ["scale_factor", "'2'"]),
    ("interpolate", "mode", "cubic", ValueError, ["mode", "'cubic'", "'nearest'"]),
    ("interpolate", "mode", "linear", ValueError, ["mode", "'linear'", "2"]),
    ("interpolate", "align_corners", True, ValueError, ["align_corners", "'nearest'"]),
    *((op, *row) for op in ("pixel_shuffle", "depth_to_space") for row in SHUFFLE),
    *((op, *row) for op in ("pixel_unshuffle", "space_to_depth") for row in UNSHUFFLE),
    ("pixel_shuffle", "upscale_factor", 3, ValueError, ["upscale_factor", "9", "4"]),
    ("pixel_shuffle", "upscale_factor", 0, ValueError, ["upscale_factor", "0"]),
    ("pixel_unshuffle", "downscale_factor", 3, ValueError, ["downscale_factor", "3"]),
    ("depth_to_space", "mode", "RCD", ValueError, ["mode", "'RCD'", "'DCR'"]),
    ("space_to_depth", "block_size", 2.0, TypeError, ["block_size", "2.0"]),
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
    (op, name)
    for op, (good, _) in GOOD.items()
    for name, value in good.items()
    if isinstance(value, np.ndarray) and value.dtype.kind == "f"
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


@pytest.mark.parametrize(("mode", "most"), [("reflect", 7), ("circular", 8)])
def test_padding_that_repeats_has_an_end(mode, most):
    ops.conv2d(X, W, padding=(0, most), padding_mode=mode)
    with pytest.raises(ValueError, match=f"^conv2d: padding must be at most {most} .*{mode}"):
        ops.conv2d(X, W, padding=(0, most + 1), padding_mode=mode)
    with pytest.raises(ValueError, match="2\\*\\*63 - 1 bytes"):
        ops.conv2d(X, W, stride=2**40, padding=2**40, padding_mode="replicate")


def test_nothing_is_kept_of_a_refused_call():
    """An error leaves the op as it was: the next good call gives what it gave before."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal(X.shape), rng.standard_normal(W.shape)
    before = ops.conv2d(x, w)
    for bad in ({"stride": 0}, {"padding": 2**62}, {"groups": 5}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            ops.conv2d(x, w, **bad)
    np.testing.assert_array_equal(ops.conv2d(x, w), before)
