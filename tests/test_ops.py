"""Every public op against the specification, and the promises that all of them share."""

import inspect
import re

import numpy as np
import pytest
from calls import CALLS, Call
from test_arrays import LAYOUTS

from fastconv import ops, reference
from fastconv.testing import (
    CONV_CASES,
    POOL_CASES,
    distinct_numbers,
    error_bound,
    exact_integers,
    gradcheck,
    random_geometry,
)

DTYPES = [np.float32, np.float64]
CONV = [case for case in CONV_CASES if not case.network]
POOL = [case for case in POOL_CASES if not case.network]
AVERAGES = [{"count_include_pad": False}, {"divisor_override": 3}]
CONVOLUTIONS = [f"{name}{ndim}d" for name in ("conv", "conv_transpose") for ndim in (1, 2, 3)]
CONVOLUTIONS += ["depthwise_separable_conv2d"]
# Exact on small integers.
EXACT = {*CONVOLUTIONS, "max_pool2d", "linear", "relu", "relu6", "flatten", "dropout", "dropout2d", "unfold", "fold"}
ROWWISE = {"softmax", "log_softmax", "cross_entropy"}
TUPLES = ("layer_norm", "group_norm", "instance_norm")  # which save more than one array
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])


def drawer(rng, dtype, draw=exact_integers):
    return lambda shape: np.asarray(draw(rng, shape)).astype(dtype)


def normal(rng, shape):
    return rng.standard_normal(shape)


def with_specials(rng, shape):
    """Small integers, a few of them replaced by NaN and infinities."""
    numbers = exact_integers(rng, shape)
    return np.where(rng.random(shape) < 0.02, rng.choice([np.nan, np.inf, -np.inf], shape), numbers)


def assert_same(op, actual, expected, dtype):
    """Compare with the specification: exactly where sums are exact, else to a few roundings; NaN where it has NaN."""
    assert (actual is None) == (expected is None)
    if actual is None:
        return
    assert actual.dtype == dtype and actual.shape == np.shape(expected)
    few = 0 if op in EXACT else 16 * np.finfo(dtype).eps
    np.testing.assert_allclose(actual, expected, rtol=few, atol=few)


def check_against_specification(call, dtype, rng, draw=exact_integers):
    arrays = call.arrays(drawer(rng, dtype, draw), rng)
    y = call.forward(arrays)
    assert_same(call.op, y, call.specified(arrays), dtype)
    # Within a row of softmax an infinite dy gives inf or inf - inf: which, depends on how the sum is written.
    dy = drawer(rng, dtype, exact_integers if call.op in ROWWISE else draw)(y.shape)
    gradients, expected = call.backward(dy, arrays), call.specified_gradients(dy, arrays)
    assert len(gradients) == len(expected)
    for gradient, specified in zip(gradients, expected, strict=True):
        assert_same(call.op, gradient, specified, dtype)


@every_dtype
@every_call
def test_small_integers(call, dtype, rng):
    check_against_specification(call, dtype, rng)


@every_dtype
@every_call
def test_nan_and_infinity_travel_as_specified(call, dtype, rng):
    for _ in range(5):
        check_against_specification(call, dtype, rng, with_specials)


@every_dtype
@pytest.mark.parametrize("case", CONV, ids=lambda case: case.id)
def test_conv2d_shapes(case, dtype, rng):
    shapes = case.x, case.w, case.w[:1] if case.bias else None
    check_against_specification(Call("conv2d", shapes, case.options), dtype, rng)


@every_dtype
@pytest.mark.parametrize("case", POOL, ids=lambda case: case.id)
def test_pool_shapes(case, dtype, rng):
    check_against_specification(Call("max_pool2d", (case.x,), case.options), dtype, rng)
    for options in ({}, *AVERAGES):
        check_against_specification(Call("avg_pool2d", (case.x,), case.average_options | options), dtype, rng)


@pytest.mark.parametrize("seed", range(60))
def test_conv2d_of_random_geometry(seed):
    rng = np.random.default_rng(seed)
    case = random_geometry(rng, outputs=1000)
    shapes = case.x, case.w, case.w[:1] if case.bias else None
    draw = with_specials if seed % 4 == 0 else exact_integers
    check_against_specification(Call("conv2d", shapes, case.options), DTYPES[seed % 2], rng, draw)


@pytest.mark.parametrize("case", CONV, ids=lambda case: case.id)
def test_conv2d_error_is_bounded(case, rng):
    x, w, b = case.arrays(drawer(rng, np.float32, normal))
    y = ops.conv2d(x, w, b, **case.options)
    dy = drawer(rng, np.float32, normal)(y.shape)
    results = (y, *ops.conv2d_backward(dy, x, w, b, **case.options))
    exact, magnitude = (
        (reference.conv2d(*arrays[1:], **case.options), *reference.conv2d_backward(*arrays, **case.options))
        for arrays in ((dy, x, w, b), [None if a is None else np.abs(a) for a in (dy, x, w, b)])
    )
    taps, places = np.prod(case.w[2:]), y.size // max(1, y.shape[1])
    products = (case.w[1] * taps, case.w[0] // case.groups * taps, places, places)
    for result, value, size, n in zip(results, exact, magnitude, products, strict=True):
        if result is not None:
            assert np.all(np.abs(result - value) <= error_bound(size, n, np.float32))


@pytest.mark.parametrize(
    "call", [pytest.param(call, id=id) for id, call in CALLS.items() if not re.search("large|layer|group_", id)]
)
def test_gradients(call, rng):
    draw = distinct_numbers if call.op in ("max_pool2d", "relu", "relu6", "hardsigmoid", "hardswish") else normal
    forward, backward = getattr(ops, call.op), getattr(ops, f"{call.op}_backward")
    gradcheck(forward, backward, call.arrays(drawer(rng, np.float64, draw), rng), call.options, rng)


@every_dtype
@pytest.mark.parametrize("case", POOL, ids=lambda case: case.id)
def test_max_pool2d_indices(case, dtype, rng):
    """Ties, NaN, and windows of nothing but -inf."""
    x = rng.choice([0, 1, 2, -np.inf, np.nan], case.x, p=[0.3, 0.3, 0.2, 0.1, 0.1]).astype(dtype)
    x[:, :, : case.x[2] // 2] = -np.inf
    y, indices = ops.max_pool2d(x, **case.options, return_indices=True)
    expected_y, expected_indices = reference.max_pool2d(x, **case.options, return_indices=True)
    np.testing.assert_array_equal(y, expected_y)
    np.testing.assert_array_equal(indices, expected_indices)
    assert indices.dtype == np.int64
    np.testing.assert_array_equal(ops.max_pool2d(x, **case.options), expected_y)


@pytest.mark.parametrize("layout", [layout for layout in LAYOUTS if layout not in ("scalar", "empty")])
@every_call
def test_layouts_do_not_matter(call, layout, rng):
    arrays = call.arrays(drawer(rng, np.float32), rng)
    if layout == "broadcast":
        arrays = tuple(a if a is None else np.repeat(a[:1], len(a), axis=0) for a in arrays)
    dy = drawer(rng, np.float32)(call.forward(arrays).shape)
    y, gradients = call.forward(arrays), call.backward(dy, arrays)
    laid_out = tuple(a if a is None else LAYOUTS[layout](a) for a in arrays)
    np.testing.assert_array_equal(call.forward(laid_out), y)
    for gradient, expected in zip(call.backward(dy[()], laid_out), gradients, strict=True):
        np.testing.assert_array_equal(gradient, expected)
    if dy.ndim and layout != "broadcast":
        for gradient, expected in zip(call.backward(LAYOUTS[layout](dy), arrays), gradients, strict=True):
            np.testing.assert_array_equal(gradient, expected)


@every_call
def test_inputs_are_read_only_and_results_are_fresh(call, rng):
    arrays = call.arrays(drawer(rng, np.float32), rng)
    before = [None if a is None else a.copy() for a in arrays]
    for array in arrays:
        if array is not None:
            array.flags.writeable = False
    y, saved = call.forward_saved(arrays)
    dy = np.ones_like(y)
    dy.flags.writeable = False
    results = [y, *call.backward(dy, arrays), *call.backward(dy, arrays, saved=saved)] if takes_saved(call) else [y]
    for array, old in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, old)
    for result in results:
        if result is not None and result.ndim:
            assert result.flags.c_contiguous and result.flags.writeable
            assert not any(np.shares_memory(result, other) for other in (*arrays, dy) if other is not None)


def takes_saved(call):
    return "saved" in inspect.signature(getattr(ops, f"{call.op}_backward")).parameters


def check_threads(call, rng, set_num_threads):
    arrays = call.arrays(drawer(rng, np.float32, normal), rng)
    results = []
    for threads in (1, 2, 3):
        set_num_threads(threads)
        y = call.forward(arrays)
        gradients = call.backward(np.ones_like(y), arrays)
        results.append([None if a is None else a.tobytes() for a in (y, *gradients)])
    assert results[0] == results[1] == results[2]


@every_call
def test_results_do_not_depend_on_threads(call, rng, set_num_threads):
    check_threads(call, rng, set_num_threads)


@pytest.mark.parametrize("name", ["lenet_2", "many_channels", "wide_groups", "depthwise", "stride_two"])
def test_conv2d_does_not_depend_on_threads(name, rng, set_num_threads):
    case = next(case for case in CONV_CASES if case.id == name)
    check_threads(Call("conv2d", ((9, *case.x[1:]), case.w, case.w[:1]), case.options), rng, set_num_threads)


@pytest.mark.parametrize("call", [pytest.param(call, id=id) for id, call in CALLS.items() if "sample" not in id])
def test_empty_batch(call, rng):
    shapes = ((0, *call.shapes[0][1:]), *call.shapes[1:])
    empty = Call(call.op, shapes, call.options, call.labels and (0, *call.labels[1:]))
    arrays = empty.arrays(drawer(rng, np.float32), rng)
    y = empty.forward(arrays)
    expected = empty.specified(arrays)
    assert y.shape == np.shape(expected) and y.dtype == np.float32
    np.testing.assert_array_equal(y, expected)  # the mean over nothing is NaN
    for gradient, array in zip(empty.backward(np.ones_like(y), arrays), arrays, strict=False):
        assert (gradient is None) == (array is None)
        if array is not None:
            assert gradient.shape == array.shape
            assert not gradient.any()


@pytest.mark.parametrize("call", [CALLS[op] for op in (*CONVOLUTIONS, "linear")], ids=lambda call: call.op)
def test_gradients_that_are_not_needed(call, rng):
    arrays = call.arrays(drawer(rng, np.float32), rng)
    dy = np.ones_like(call.forward(arrays))
    everything = call.backward(dy, arrays)
    for needs in np.ndindex(*[2] * len(arrays)):
        needs = tuple(map(bool, needs))
        for need, gradient, expected in zip(needs, call.backward(dy, arrays, needs=needs), everything, strict=True):
            assert (gradient is not None) == need
            if need:
                np.testing.assert_array_equal(gradient, expected)


KEEPS_OTHERS = ("conv", "linear", *TUPLES)
SAVING = {name: call for name, call in CALLS.items() if takes_saved(call) and not call.op.startswith(KEEPS_OTHERS)}
every_saving_call = pytest.mark.parametrize("call", SAVING.values(), ids=SAVING)


@every_dtype
@every_saving_call
def test_saved_gives_the_same_gradient(call, dtype, rng):
    arrays = call.arrays(drawer(rng, dtype, normal), rng)
    y, saved = call.forward_saved(arrays)
    np.testing.assert_array_equal(y, call.forward(arrays))
    dy = drawer(rng, dtype, normal)(y.shape)
    for gradient, expected in zip(call.backward(dy, arrays, saved=saved), call.backward(dy, arrays), strict=True):
        assert gradient.tobytes() == expected.tobytes()


@every_saving_call
def test_foreign_saved_is_refused(call, rng):
    arrays = call.arrays(drawer(rng, np.float32, normal), rng)
    y, saved = call.forward_saved(arrays)
    wrong_dtype = np.float64 if saved.dtype == np.float32 else np.float32
    wrong_shapes = saved[:-1], saved[..., None], saved.ravel()[:0]
    for foreign in (*wrong_shapes, saved.astype(wrong_dtype), saved.tolist(), "saved"):
        with pytest.raises((ValueError, TypeError), match="saved"):
            call.backward(np.ones_like(y), arrays, saved=foreign)


@pytest.mark.parametrize("position", [9, 255, 0, "-1"])
def test_corrupt_positions_are_refused(position, rng):
    """Positions are places to write to: one past the window, or (0 at a corner) in the padding, would hit elsewhere."""
    x = drawer(rng, np.float32, normal)((2, 3, 8, 8))
    options = {"kernel_size": 3, "stride": 2, "padding": 1}
    y, saved = ops.max_pool2d(x, **options, return_saved=True)
    assert saved.dtype == np.uint8 and saved.shape == y.shape
    corrupt = saved.astype(np.int32) if position == "-1" else saved.copy()
    corrupt[1, 2, 0, 0] = int(position)
    with pytest.raises((ValueError, TypeError), match="saved"):
        ops.max_pool2d_backward(np.ones_like(y), x, **options, saved=corrupt)


@pytest.mark.parametrize("position", [-1, 289, 2**31 - 1, -(2**31)])
def test_corrupt_positions_in_large_windows_are_refused(position, rng):
    x = drawer(rng, np.float32, normal)((1, 2, 20, 19))
    y, saved = ops.max_pool2d(x, 17, stride=1, return_saved=True)
    assert saved.dtype == np.int32
    saved = saved.copy()
    saved[0, 1, 2, 2] = position
    with pytest.raises(ValueError, match="saved"):
        ops.max_pool2d_backward(np.ones_like(y), x, 17, stride=1, saved=saved)


def test_a_rectified_maximum_may_lie_nowhere(rng):
    """The position after the last one means nowhere, for a zero of ReLU only."""
    x = -np.ones((1, 1, 4, 4), np.float32)
    y, saved = ops.max_pool2d(x, 3, 2, 1, relu=True, return_saved=True)
    assert (y == 0).all() and (saved == 9).all()
    assert not ops.max_pool2d_backward(np.ones_like(y), x, 3, 2, 1, relu=True, saved=saved).any()
    with pytest.raises(ValueError, match="saved"):
        ops.max_pool2d_backward(np.ones_like(y), x, 3, 2, 1, saved=saved)
    with pytest.raises(ValueError, match="return_indices"):
        ops.max_pool2d(x, 3, return_indices=True, relu=True)


def test_outputs_come_in_order(rng):
    x = drawer(rng, np.float32, normal)((1, 2, 4, 4))
    y, indices, saved = ops.max_pool2d(x, 2, return_indices=True, return_saved=True)
    assert y.dtype == np.float32 and indices.dtype == np.int64 and saved.dtype == np.uint8
    assert ops.max_pool2d(x, 2).shape == (1, 2, 2, 2)


@every_dtype
def test_a_loss_is_a_numpy_scalar(dtype, rng):
    x, target = rng.standard_normal((3, 4)).astype(dtype), np.array([0, 3, 1], np.uint8)
    assert type(ops.cross_entropy(x, target)) is dtype
    dx = ops.cross_entropy_backward(dtype(1), x, target)
    np.testing.assert_allclose(dx.sum(axis=1), 0, atol=1e-6)
