import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastconv.arguments import as_flag, as_int
from fastconv.geometry import ConvGeometry, PoolGeometry, Window
from fastconv.testing import CASES


def conv(x=(2, 6, 14, 14), w=(16, 6, 5, 5), b=None, ndim=2, **options):
    return ConvGeometry.make("conv", x, w, b, **options, ndim=ndim)


def pool(x=(2, 3, 8, 8), kernel=2, ndim=2, **options):
    return PoolGeometry.make("pool", x, kernel, **options, ndim=ndim)


def count_positions(size, extent, stride, before, after, ceil_mode):
    """Slide a window along an axis and count: the definition of the output's size."""
    positions, start = 0, -before
    while start + extent <= size + after or (ceil_mode and start < size and start - stride + extent < size + after):
        positions += 1
        start += stride
    return positions


axis = st.tuples(*[st.integers(1, 12), st.integers(1, 5), st.integers(1, 4), st.integers(1, 3)])


@given(axis, st.integers(0, 6), st.integers(0, 6), st.booleans())
def test_output_size_counts_positions(axis, before, after, ceil_mode):
    size, kernel, stride, dilation = axis
    window = Window.make("op", 1, kernel, stride, ((before, after),), dilation, ceil_mode)
    expected = count_positions(size, window.extent[0], stride, before, after, ceil_mode)
    if window.extent[0] > size + before + after:
        with pytest.raises(ValueError, match=r"must be >= 1"):
            window.output_size((size,))
    else:
        assert window.output_size((size,)) == (expected,)


@pytest.mark.parametrize(
    ("size", "kernel", "options", "expected"),
    [
        (224, 7, {"stride": 2, "padding": 3}, 112),  # the stem of ResNet
        (227, 11, {"stride": 4}, 55),  # the first layer of AlexNet
        (28, 5, {"padding": 2}, 28),  # the first layer of LeNet
        (7, 3, {"dilation": 2}, 3),
        (5, 4, {"padding": 2}, 6),
        (5, 3, {"padding": 2}, 7),  # full padding
        (6, 3, {"stride": 2, "padding": 1}, 3),
    ],
)
def test_known_sizes(size, kernel, options, expected):
    assert Window.make("op", 1, kernel, **options).output_size((size,)) == (expected,)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "dilation", "pair"),
    [
        (14, 5, 1, 1, (2, 2)),
        (14, 4, 1, 1, (1, 2)),  # the odd zero goes to the end
        (14, 3, 1, 3, (3, 3)),
        (14, 3, 2, 1, (0, 1)),
        (13, 3, 2, 1, (1, 1)),
        (10, 2, 3, 1, (0, 1)),
        (9, 1, 2, 1, (0, 0)),
        (9, 2, 3, 1, (0, 0)),  # the windows already leave elements out: nothing to pad
    ],
)
def test_same_padding(size, kernel, stride, dilation, pair):
    geometry = conv((1, 1, size), (1, 1, kernel), padding="same", stride=stride, dilation=dilation, ndim=1)
    assert geometry.window.padding == (pair,)
    assert geometry.output_size == (-(-size // stride),)


def test_same_padding_without_input():
    assert Window.make("op", 2, (3, 4), padding="same").padding == ((1, 1), (1, 2))
    with pytest.raises(ValueError, match="needs the input size"):
        Window.make("op", 2, 3, stride=2, padding="same")


@pytest.mark.parametrize(
    ("padding", "pairs"),
    [
        (1, ((1, 1), (1, 1))),
        ((1, 2), ((1, 1), (2, 2))),
        ([[1, 0], [2, 3]], ((1, 0), (2, 3))),
        ((4, (2, 3)), ((4, 4), (2, 3))),
        (np.int32(1), ((1, 1), (1, 1))),
        ("valid", ((0, 0), (0, 0))),
    ],
)
def test_forms_of_padding(padding, pairs):
    assert conv(padding=padding).window.padding == pairs


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_any_number_of_axes(ndim):
    geometry = conv((2, 4, *(9,) * ndim), (6, 2, *(3,) * ndim), (6,), ndim=ndim, stride=2, groups=2)
    assert geometry.x_shape == (2, 4, *(9,) * ndim)
    assert geometry.w_shape == (6, 2, *(3,) * ndim)
    assert geometry.y_shape == (2, 6, *(4,) * ndim)
    assert (geometry.group_in, geometry.group_out, geometry.window.ndim) == (2, 3, ndim)
    assert geometry.macs == 2 * 6 * 4**ndim * 2 * 3**ndim
    assert pool((2, 3, *(9,) * ndim), 3, ndim=ndim).y_shape == (2, 3, *(3,) * ndim)


@pytest.mark.parametrize("case", [*CASES["conv2d"], *CASES["pool2d"]], ids=lambda case: case.id)
def test_shared_cases_are_legal(case):
    assert case.geometry.x_shape == case.x


def test_geometries_are_keys():
    first, second = conv(stride=1), conv(stride=(np.int64(1), 1), padding="valid")
    assert first == second and hash(first) == hash(second) and first != conv(stride=2)
    for geometry in (first, first.window, pool()):
        name = dataclasses.fields(geometry)[0].name
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(geometry, name, 0)


def test_remembered_geometries_do_not_hide_wrong_types():
    conv(stride=(1, 1))
    pool(kernel=(2, 2))
    for wrong in (True, 1.0, (1, True), (1.0, 1)):
        with pytest.raises(TypeError, match="stride"):
            conv(stride=wrong)
        with pytest.raises(TypeError, match="kernel_size"):
            pool(kernel=wrong)


def test_only_the_batch_may_be_empty():
    assert conv((0, 6, 14, 14)).y_shape == (0, 16, 10, 10)
    assert pool((0, 3, 8, 8)).y_shape == (0, 3, 4, 4)
    for x in [(2, 0, 8, 8), (2, 3, 0, 8), (2, 3, 8, 0)]:
        with pytest.raises(ValueError, match=r"x may be empty along its first axis"):
            pool(x)
        with pytest.raises(ValueError, match=r"x may be empty along its first axis"):
            conv(x, (4, 3, 3, 3))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"stride": 0}, ValueError, "stride must be >= 1, got 0"),
        ({"stride": (0, 1)}, ValueError, r"stride must be >= 1, got \(0, 1\)"),
        ({"stride": -1}, ValueError, "stride must be >= 1, got -1"),
        ({"stride": 2**63}, ValueError, "stride must be <= "),
        ({"stride": (1, 1, 1)}, ValueError, "stride must have 2 entries, one per spatial axis, got 3"),
        ({"stride": 1.0}, TypeError, r"stride .* got 1.0 \(float\)"),
        ({"stride": True}, TypeError, r"stride .* got True \(bool\)"),
        ({"stride": np.True_}, TypeError, "stride"),
        ({"stride": "11"}, TypeError, "stride .* got '11'"),
        ({"stride": None}, TypeError, "stride .* got None"),
        ({"stride": (1, "2")}, TypeError, r"stride .* got \(1, '2'\)"),
        ({"stride": {1: 2, 3: 4}}, TypeError, "stride"),
        ({"dilation": 0}, ValueError, "dilation must be >= 1, got 0"),
        ({"dilation": 2**62}, ValueError, "dilation .* does not fit"),
        ({"groups": 0}, ValueError, "groups must be >= 1, got 0"),
        ({"groups": 1.0}, TypeError, "groups must be an int"),
        ({"groups": 4}, ValueError, "groups must divide .* got groups 4 for 6 channels"),
        ({"groups": 2}, ValueError, r"w of shape \(16, 6, 5, 5\) must have 6 // 2 = 3 input channels"),
        ({"padding": -1}, ValueError, "padding must be >= 0, got -1"),
        ({"padding": ((1, -2), 0)}, ValueError, "padding must be >= 0"),
        ({"padding": (1,)}, ValueError, "padding must have 2 entries"),
        ({"padding": ((1, 2, 3), 0)}, ValueError, "padding must have 2 entries"),
        ({"padding": 0.5}, TypeError, "padding"),
        ({"padding": "full"}, ValueError, "padding must be 'same', 'valid'.* got 'full'"),
        ({"padding": 2**62}, ValueError, "padding .*4611686018427387904.* more than 2\\*\\*63 - 1"),
        ({"padding": 2**61}, ValueError, "exceeds 2\\*\\*63 - 1 bytes; check stride and padding"),
        ({"padding": 2**61, "x": (0, 6, 14, 14)}, ValueError, "exceeds 2\\*\\*63 - 1 bytes"),
        ({"x": (2, 6, 4, 14)}, ValueError, r"kernel_size \(5, 5\) .* \(4 \+ 0 \+ 0 - 5\) // 1 \+ 1 = 0"),
        ({"x": (6, 14, 14)}, ValueError, r"x must have 4 axes .* got shape \(6, 14, 14\)"),
        ({"x": (2, 7, 14, 14)}, ValueError, r"w of shape \(16, 6, 5, 5\) must have 7 // 1 = 7 .* got 6"),
        ({"w": (16, 6, 5)}, ValueError, "w must have 4 axes"),
        ({"w": (16, 6, 0, 5)}, ValueError, "kernel_size must be >= 1"),
        ({"w": (0, 6, 5, 5)}, ValueError, r"w of shape \(0, 6, 5, 5\)"),
        ({"b": (6,)}, ValueError, r"b must have shape \(16,\).* got \(6,\)"),
        ({"b": (1,)}, ValueError, r"b must have shape \(16,\)"),
        ({"b": (16, 1)}, ValueError, r"b must have shape \(16,\)"),
    ],
)
def test_conv_errors(arguments, error, words):
    with pytest.raises(error, match=f"^conv: .*{words}"):
        conv(**arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"kernel": 0}, ValueError, "kernel_size must be >= 1, got 0"),
        ({"kernel": (2, -1)}, ValueError, "kernel_size must be >= 1"),
        ({"kernel": 9}, ValueError, "kernel_size .* does not fit into input size 8"),
        ({"stride": 0}, ValueError, "stride must be >= 1"),
        ({"padding": 2}, ValueError, r"padding must be at most half .* = 2, got \(2, 2\)"),
        ({"padding": ((0, 2), 0)}, ValueError, "padding must be at most half"),
        ({"padding": 2**62, "kernel": 2**63 - 1}, ValueError, "padding"),
        ({"x": (1, 1, 3, 3), "dilation": 4, "padding": 2}, ValueError, "dilation must be at most the input size 3"),
        ({"ceil_mode": 1}, TypeError, "ceil_mode must be True or False, got 1"),
        ({"ceil_mode": "no"}, TypeError, "ceil_mode"),
        ({"x": (3, 8, 8)}, ValueError, "x must have 4 axes"),
    ],
)
def test_pool_errors(arguments, error, words):
    with pytest.raises(error, match=f"^pool: .*{words}"):
        pool(**arguments)


@given(axis, st.integers(0, 6), st.integers(0, 6), st.booleans())
def test_every_pooling_window_holds_an_element(axis, before, after, ceil_mode):
    size, kernel, stride, dilation = axis
    options = {"stride": stride, "padding": ((before, after),), "dilation": dilation, "ceil_mode": ceil_mode}
    try:
        geometry = pool((1, 1, size), kernel, ndim=1, **options)
    except ValueError:
        return
    for o in range(geometry.output_size[0]):
        places = {o * stride - before + tap * dilation for tap in range(kernel)}
        assert places & set(range(size))


def test_gradient_shapes():
    for geometry, shape in ((conv(), (2, 16, 10, 10)), (pool(), (2, 3, 4, 4))):
        geometry.check_gradient("op", shape)
        with pytest.raises(ValueError, match=r"^op: dy must have the shape of the output, .*, got \(1,\)"):
            geometry.check_gradient("op", (1,))


def test_single_values():
    assert as_int("op", "dim", np.uint8(3)) == 3 and type(as_int("op", "dim", np.uint8(3))) is int
    assert as_int("op", "dim", -2, low=-2, high=1) == -2
    with pytest.raises(ValueError, match="op: dim must be <= 1, got 2"):
        as_int("op", "dim", 2, low=-2, high=1)
    with pytest.raises(TypeError, match="op: dim must be an int, got 0.5"):
        as_int("op", "dim", 0.5)
    assert as_flag("op", "flag", True) is True
    with pytest.raises(TypeError, match="op: flag must be True or False, got 'no'"):
        as_flag("op", "flag", "no")
