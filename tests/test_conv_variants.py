"""Convolutions along one and three axes, transposed ones, padding modes, layouts: what the planes' tests leave open."""

import numpy as np
import pytest
from test_ops import DTYPES, Call, check_against_specification, every_dtype, with_specials

from fastconv import ops, reference
from fastconv.layers import Conv1d, Conv3d, ConvTranspose2d, DeformConv2d, ReLU, Sequential, prepack
from fastconv.testing import (
    CONV1D_CASES,
    CONV3D_CASES,
    TRANSPOSE_CASES,
    exact_integers,
    gradcheck,
    random_geometry,
    random_transpose,
)

CASES = [case for case in (*CONV1D_CASES, *CONV3D_CASES, *TRANSPOSE_CASES) if not case.network]
LAYOUTS = {"conv1d": "NWC", "conv2d": "NHWC", "conv3d": "NDHWC"}
MODES = ["reflect", "replicate", "circular"]


def shapes_of(case):
    return tuple(None if array is None else array.shape for array in case.arrays(np.empty))


@every_dtype
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.op}-{case.id}")
def test_shapes(case, dtype, rng):
    check_against_specification(Call(case.op, shapes_of(case), case.options), dtype, rng)
    check_against_specification(Call(case.op, shapes_of(case), case.options), dtype, rng, with_specials)


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("seed", range(15))
def test_random_geometry(seed, ndim):
    rng = np.random.default_rng(1000 + seed)
    for draw_case in (random_geometry, random_transpose):
        case = draw_case(rng, 500, ndim)
        draw = with_specials if seed % 4 == 0 else exact_integers
        check_against_specification(Call(case.op, shapes_of(case), case.options), DTYPES[seed % 2], rng, draw)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_padding_modes(ndim, mode, rng):
    size = (5, 7, 4)[:ndim]
    for padding in [2, tuple((axis, 3 - axis) for axis in range(ndim)), "same", 0]:
        options = {"padding": padding, "padding_mode": mode}
        shapes = (2, 3, *size), (4, 3, *(3, 2, 3)[:ndim]), (4,)
        for dtype in DTYPES:
            check_against_specification(Call(f"conv{ndim}d", shapes, options), dtype, rng)
    arrays = tuple(rng.standard_normal(shape) for shape in shapes)
    op = f"conv{ndim}d"
    gradcheck(getattr(ops, op), getattr(ops, f"{op}_backward"), arrays, options | {"padding": 1}, rng)


def test_padding_modes_agree_with_numpy(rng):
    x, w = exact_integers(rng, (2, 3, 6, 7)), exact_integers(rng, (4, 3, 3, 3))
    for mode, numpy_mode in [("reflect", "reflect"), ("replicate", "edge"), ("circular", "wrap")]:
        padded = np.pad(x, [(0, 0), (0, 0), (3, 1), (0, 2)], numpy_mode)
        y = ops.conv2d(x, w, padding=((3, 1), (0, 2)), padding_mode=mode)
        np.testing.assert_array_equal(y, ops.conv2d(padded, w))


@pytest.mark.parametrize("op", LAYOUTS)
@pytest.mark.parametrize("transposed", [False, True], ids=["", "transposed"])
def test_channels_last(op, transposed, rng):
    ndim = int(op[4])
    x, w = rng.standard_normal((3, 18, *(6, 5, 7)[:ndim])), rng.standard_normal((18, 18, *(3,) * ndim))
    b, name = rng.standard_normal(18), op.replace("conv", "conv_transpose") if transposed else op
    forward, backward, layout = getattr(ops, name), getattr(ops, f"{name}_backward"), LAYOUTS[op]
    y = forward(x, w, b)
    dy = rng.standard_normal(y.shape)
    dx, dw, db = backward(dy, x, w, b)
    x, dy = np.moveaxis(x, 1, -1), np.moveaxis(dy, 1, -1)
    np.testing.assert_array_equal(forward(x, w, b, layout=layout), np.moveaxis(y, 1, -1))
    results = backward(dy, x, w, b, layout=layout)
    for result, expected in zip(results, (np.moveaxis(dx, 1, -1), dw, db), strict=True):
        np.testing.assert_array_equal(result, expected)
    np.testing.assert_array_equal(forward(x[0], w, b, layout=layout), np.moveaxis(y[0], 0, -1))
    for array in (forward(x, w, b, layout=layout), results[0]):
        assert array.flags.c_contiguous


def test_samples_without_a_batch_axis(rng):
    x, w, b = (exact_integers(rng, shape) for shape in [(3, 8, 7), (4, 3, 3, 3), (4,)])
    y = ops.conv2d(x, w, b)
    np.testing.assert_array_equal(y, ops.conv2d(x[None], w, b)[0])
    for result, batch in zip(ops.conv2d_backward(y, x, w, b), ops.conv2d_backward(y[None], x[None], w, b), strict=True):
        np.testing.assert_array_equal(result, batch.reshape(result.shape))
    with pytest.raises(ValueError, match="dy must have the shape"):
        ops.conv2d_backward(y[None], x, w, b)


def test_transpose_leads_back(rng):
    """The inner products <conv(x), y> and <x, conv_transpose(y)> are equal: that is what a transpose is."""
    x, w = rng.standard_normal((2, 6, 9, 8)), rng.standard_normal((8, 3, 3, 2))
    options = {"stride": (2, 3), "padding": 1, "dilation": (2, 1), "groups": 2}
    y = rng.standard_normal(ops.conv2d(x, w, **options).shape)
    back = ops.conv_transpose2d(y, w, **options, output_padding=(0, 2))
    assert back.shape == x.shape
    np.testing.assert_allclose(np.vdot(ops.conv2d(x, w, **options), y), np.vdot(x, back), rtol=1e-12)


@pytest.mark.parametrize("layer", [Conv1d, Conv3d, DeformConv2d, ConvTranspose2d], ids=lambda layer: layer.__name__)
def test_layers_before_a_relu_keep_it(layer, rng):
    """Whether they take it into their own pass, or cannot."""
    convolution = layer(3, 4, 3, rng=0)
    x = rng.standard_normal((2, 3, 6, 5, 4)[: 2 + layer.axes], np.float32)
    model = Sequential(convolution, ReLU())
    np.testing.assert_array_equal(model(x), np.maximum(convolution(x), 0))
    np.testing.assert_array_equal(prepack(model)(x), model(x))
    y, backward = model.forward(x)
    dx = backward(np.ones_like(y))
    y, through = convolution.forward(x)
    np.testing.assert_array_equal(through((y > 0).astype(np.float32)), dx)


def test_separable_is_two_convolutions(rng):
    x, w, v, b = (rng.standard_normal(shape) for shape in [(2, 3, 7, 6), (6, 1, 3, 3), (5, 6, 1, 1), (5,)])
    y, planes = ops.depthwise_separable_conv2d(x, w, v, b, padding=1, return_saved=True)
    np.testing.assert_array_equal(planes, ops.conv2d(x, w, padding=1, groups=3))
    full = np.einsum("om,mhw->omhw", v[:, :, 0, 0], w[:, 0]).reshape(5, 3, 2, 3, 3).sum(2)
    np.testing.assert_allclose(y, reference.conv2d(x, full, b, padding=1), atol=1e-12)


@pytest.mark.parametrize("case", CONV3D_CASES, ids=lambda case: case.id)
def test_volumes_do_not_depend_on_threads(case, rng, set_num_threads):
    if case.network:
        pytest.skip("large")
    x, w, _ = case.arrays(rng.standard_normal)
    dy, results = rng.standard_normal(case.geometry.y_shape), []
    for threads in (1, 2, 3):
        set_num_threads(threads)
        arrays = ops.conv3d(x, w, **case.options), *ops.conv3d_backward(dy, x, w, **case.options)[:2]
        results.append([array.tobytes() for array in arrays])
    assert results[0] == results[1] == results[2]
