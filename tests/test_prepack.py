"""Weights that are packed once, for inference."""

from copy import deepcopy

import numpy as np
import pytest
from guarded import DTYPES, draw

from fastconv import ops, runtime
from fastconv.cpu import transformed
from fastconv.cpu.points import winograd
from fastconv.layers import (
    Arena,
    BatchNorm2d,
    Conv2d,
    Flatten,
    Identity,
    Linear,
    ReLU,
    ReLU6,
    Sequential,
    Sum,
    fold_batch_norm,
    packed_bytes,
    prepack,
)
from fastconv.ops.packed import PackedConv2d, PackedLinear
from fastconv.testing import CASES, ConvCase, random_geometry

LAYERS = [case for case in CASES["conv2d"] if len(case.x) == 4 and not case.network]


def options_of(case):
    options = dict(case.options)
    return [options.pop(name) for name in ("stride", "padding", "dilation", "groups")]


@pytest.mark.parametrize("case", LAYERS, ids=lambda case: case.id)
def test_packed_weights_give_the_same_results(case, rng):
    for dtype in DTYPES:
        x, w, b, residual = draw(case, dtype, rng)
        packed = PackedConv2d(w, b, *options_of(case))  # of integers, sums are exact in any order
        for more in ({}, {"relu": True}, {"residual": residual, "relu": 6}):
            y = ops.conv2d(x, w, b, **case.options, **more)
            assert packed(x, **more).tobytes() == packed(x, **more).tobytes()
            np.testing.assert_allclose(packed(x, **more), y, atol=1e-4)


def test_random_geometries():
    rng = np.random.default_rng(3)
    cases = [random_geometry(rng, 3000) for _ in range(15)]
    for case in cases:
        x, w, b, _ = draw(case, DTYPES[0], rng)
        y = ops.conv2d(x, w, b, **case.options)
        np.testing.assert_allclose(PackedConv2d(w, b, *options_of(case))(x), y, atol=1e-4)


def test_transforms_of_many_weights(rng):
    """So many that a plain call transforms them again for each block of tiles."""
    x, w = rng.standard_normal((2, 272, 7, 7), np.float32), rng.standard_normal((272, 272, 3, 3), np.float32)
    geometry, dtype = ConvCase("", x.shape, w.shape, padding=1).geometry, x.dtype
    ys = np.empty((2, *geometry.y_shape), dtype)
    plan = transformed.forward_plan(geometry, dtype, False, family=winograd(4, 3))
    plan(x, w, None, ys[0])
    program = plan.prepacked()
    packed = program.pack(None, w, None, None)
    program(x, w, None, ys[1], packed=packed)
    assert ys[0].tobytes() == ys[1].tobytes() and packed.nbytes > 4 * w.nbytes
    assert plan.nbytes_packed == 0


def test_the_choice_does_not_depend_on_the_batch(rng):
    """An image has the same bits in every batch, and wide layers of small maps are summed directly."""
    for channels, size in ((512, 7), (256, 14), (64, 28)):
        x, w = rng.standard_normal((3, channels, size, size), np.float32), rng.standard_normal((16, channels, 3, 3))
        packed = PackedConv2d(w.astype(np.float32), None, 1, 1)
        assert packed(x)[1].tobytes() == packed(x[1:2])[0].tobytes()


def test_shapes_that_pack_alike_share_a_copy(rng):
    w = rng.standard_normal((32, 32, 3, 3), np.float32)
    packed, sizes = PackedConv2d(w, None, 1, 1), []
    for batch in (1, 2, 1, 8):
        packed(rng.standard_normal((batch, 32, 28, 28), np.float32))
        sizes.append(packed.nbytes)
    assert sizes[0] > 0 and len(set(sizes)) == 1


def test_a_sample_without_a_batch_axis(rng):
    x, w = rng.standard_normal((3, 6, 7)), rng.standard_normal((3, 3, 3, 3))
    packed = PackedConv2d(w, None, 1, 1)
    assert packed(x, residual=x, relu=True).tobytes() == ops.conv2d(x, w, padding=1, residual=x, relu=True).tobytes()


def test_weights_that_are_not_finite(rng):
    x, w = rng.standard_normal((2, 4, 6, 9)), rng.standard_normal((4, 1, 3, 3))
    w[1, 0, 0, 0], w[2, 0, 1, 1] = np.inf, np.nan
    np.testing.assert_array_equal(PackedConv2d(w, None, 1, 1, 1, 4)(x), ops.conv2d(x, w, padding=1, groups=4))


def test_linear(rng):
    for dtype in DTYPES:
        w, b = rng.standard_normal((37, 300)).astype(dtype), rng.standard_normal(37).astype(dtype)
        packed = PackedLinear(w, b)
        for shape in ((1, 300), (5, 300), (2, 3, 300), (0, 300)):
            x = rng.standard_normal(shape).astype(dtype)
            for relu in (False, True):
                assert packed(x, relu=relu).tobytes() == ops.linear(x, w, b, relu=relu).tobytes()


def test_later_changes_do_not_reach_a_packed_operation(rng):
    x, w = rng.standard_normal((1, 3, 5, 5)), rng.standard_normal((4, 3, 3, 3))
    packed = PackedConv2d(w)
    y = packed(x)
    w[...] = 0
    assert packed(x).tobytes() == y.tobytes() and not packed.w.flags.writeable


@pytest.mark.parametrize(
    ("x", "options", "error", "message"),
    [
        (np.zeros((1, 3, 5, 5), np.float32), {}, TypeError, "one dtype"),
        (np.zeros((1, 2, 5, 5)), {}, ValueError, "channels"),
        ([1.0], {}, TypeError, "x must be a numpy.ndarray"),
        (np.zeros((1, 3, 5, 5)), {"relu": "yes"}, TypeError, "relu must be True or False"),
        (np.zeros((1, 3, 5, 5)), {"residual": np.zeros((1, 4, 2, 3))}, ValueError, "residual must have shape"),
        (np.zeros((1, 3, 5, 5)), {"residual": np.zeros((1, 4, 3, 3), np.float32)}, TypeError, "one dtype"),
    ],
)
def test_bad_input(x, options, error, message):
    packed = PackedConv2d(np.ones((4, 3, 3, 3)))
    packed(np.zeros((1, 3, 5, 5)), residual=np.zeros((1, 4, 3, 3)))
    for _ in range(2):
        with pytest.raises(error, match=f"conv2d: .*{message}"):
            packed(x, **options)
    with pytest.raises(ValueError, match=r"linear: x must have shape \(..., 3\), got \(2, 4\)"):
        PackedLinear(np.ones((2, 3)))(np.zeros((2, 4)))
    with pytest.raises(TypeError, match="linear: .*one dtype"):
        PackedLinear(np.ones((2, 3)))(np.zeros((2, 3), np.float32))


# ---- models ----------------------------------------------------------------------------------------------------


def network():
    def unit(ci, co, activation, **options):
        return [Conv2d(ci, co, 3, padding=1, bias=False, rng=ci, **options), BatchNorm2d(co), activation()]

    main = Sequential(*unit(8, 8, ReLU6, groups=8), *unit(8, 8, ReLU)[:2])
    residual = [Sum(main, Identity()), ReLU()]
    return Sequential(*unit(3, 8, ReLU), *residual, Flatten(), Linear(8 * 30, 5, rng=2))


X = np.random.default_rng(5).standard_normal((2, 3, 5, 6), np.float32)


def test_a_prepacked_model_gives_what_the_plain_one_gives():
    model = fold_batch_norm(network())
    packed = prepack(model)
    assert packed_bytes(packed) == 0
    assert packed(X).tobytes() == packed(X).tobytes()
    np.testing.assert_allclose(packed(X), model(X), rtol=1e-5, atol=1e-5)
    assert packed_bytes(packed) > packed_bytes(model) == 0
    before, y = runtime.get_num_threads(), packed(X)
    runtime.set_num_threads(3)
    assert packed(X).tobytes() == y.tobytes()
    runtime.set_num_threads(before)


def test_weights_of_a_prepacked_model_cannot_change():
    model = network()
    packed, state = prepack(model), model.state_dict()
    y = packed(X)
    with pytest.raises(ValueError, match="read-only.*prepack.*0.weight"):
        packed.load_state_dict(state)
    with pytest.raises(ValueError, match="read-only"):
        packed[0].params["weight"][...] = 0
    with pytest.raises(RuntimeError, match="Conv2d: a prepacked layer is for inference"):
        packed.forward(X)
    assert packed(X).tobytes() == y.tobytes()


def test_the_model_itself_stays_as_it_is():
    model = network()
    y, packed = model(X), prepack(model)
    packed_y = packed(X)
    model.forward(X)[1](np.ones((2, 5), np.float32))
    model[0].params["weight"] += 1
    model.load_state_dict(model.state_dict())
    assert packed(X).tobytes() == packed_y.tobytes() != model(X).tobytes()
    np.testing.assert_allclose(packed_y, y, rtol=1e-5, atol=1e-5)


def test_other_arrays_are_packed_anew():
    model = network()
    packed = prepack(model)
    packed(X)
    twin = deepcopy(packed)
    assert twin(X).tobytes() == packed(X).tobytes()
    twin.astype(np.float64)
    y = model.astype(np.float64)(X.astype(np.float64))
    np.testing.assert_allclose(twin(X.astype(np.float64)), y, rtol=1e-12)


def test_prepack_wants_a_layer():
    with pytest.raises(TypeError, match="prepack: model must be a Layer, got 3"):
        prepack(3)


def test_an_arena_of_a_prepacked_model_does_not_train_it():
    packed = prepack(Sequential(Conv2d(3, 4, 3, rng=1)))
    y = packed(X)
    Arena(packed)
    assert packed(X).tobytes() == y.tobytes()
