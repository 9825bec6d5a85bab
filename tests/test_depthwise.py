"""The tiles that walk down strips of planes: shapes that they are for, their twins, NaN, and threads."""

import numpy as np
import pytest
from guarded import DTYPES, draw, run, sides, spoiled_memory, weight_gradients

from fastconv import ops, reference
from fastconv.cpu import depthwise, depthwise_weight
from fastconv.cpu.simd import VECTOR_BYTES
from fastconv.cpu.strip import MOST_BLOCKS, blocks_of
from fastconv.testing import ConvCase

__all__ = ["spoiled_memory"]

pytestmark = pytest.mark.usefixtures("spoiled_memory")


def planes(name, channels, size, kernel=3, stride=1, batch=2, multiplier=1, **options):
    """Make a depthwise layer."""
    w = (channels * multiplier, 1, *((kernel, kernel) if isinstance(kernel, int) else kernel))
    return ConvCase(name, (batch, channels, *size), w, stride=stride, groups=channels, **options)


CASES = [
    planes("stride_1", 3, (13, 19), padding=1),
    planes("stride_2_odd", 3, (13, 35), stride=2, padding=1),
    planes("stride_2_even", 2, (14, 34), stride=2, padding=1),
    planes("stride_2_without_padding", 2, (9, 40), stride=2),
    planes("more_padding_before", 2, (9, 20), stride=2, padding=((2, 0), (2, 1))),
    planes("5x5", 2, (17, 33), 5, padding=2),
    planes("5x5_stride_2", 2, (17, 33), 5, 2, padding=2),
    planes("7x7", 2, (10, 18), 7, padding=3),
    planes("stride_along_rows", 2, (9, 20), (3, 4), (2, 1), padding=1),
    planes("stride_along_columns", 2, (9, 20), (4, 3), (1, 2), padding=1),
    planes("dilation", 2, (15, 20), dilation=2, padding=2),
    planes("several_planes_in_a_vector", 7, (5, 4), padding=1),
    planes("several_strided_planes_in_a_vector", 5, (7, 8), 5, 2, padding=2),
    planes("planes_of_one_pixel", 9, (1, 1), padding=1),
    planes("one_channel", 1, (6, 3), padding=1, batch=3),
    planes("several_planes_a_task", 40, (3, 3), padding=1, batch=3),
    planes("several_bands", 1, (220, 170), padding=1, batch=1),
    planes("several_strided_bands", 1, (330, 160), stride=2, padding=1, batch=1),
    planes("multiplier", 3, (9, 11), multiplier=3, padding=1),
    planes("multiplier_of_short_rows", 3, (5, 3), multiplier=2, padding=1),
    ConvCase("one_input_channel", (2, 1, 12, 20), (20, 1, 5, 5), padding=2),
    ConvCase("one_output_channel", (2, 20, 9, 18), (1, 20, 3, 3), stride=2, padding=1),
    ConvCase("pairs", (2, 6, 9, 18), (6, 2, 3, 3), padding=1, groups=3),
    ConvCase("signal", (2, 3, 70), (3, 1, 5), padding=2, groups=3),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_all_passes_equal_the_reference(case, rng):
    check(case, DTYPES[0], rng)


@pytest.mark.parametrize("case", CASES[1::6], ids=lambda case: case.id)
def test_all_passes_equal_the_reference_in_float64(case, rng):
    check(case, DTYPES[1], rng)


def check(case, dtype, rng):
    geometry = case.geometry
    assert all(depthwise.fits(side) for side in sides(geometry))
    x, w, b, dy = draw(case, dtype, rng)
    y = run(depthwise.forward_plan(geometry, dtype, True), geometry.y_shape, dtype, x, w, b)
    np.testing.assert_array_equal(y, reference.conv2d(x, w, b, **case.options))
    dx, dw, db = reference.conv2d_backward(dy, x, w, b, **case.options)
    plan = depthwise.backward_data_plan(geometry, dtype, False)
    np.testing.assert_array_equal(run(plan, geometry.x_shape, dtype, dy, w, None), dx)
    for ours, theirs in zip(weight_gradients(depthwise_weight, geometry, dtype, x, dy), (dw, db), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("case", [case for case in CASES if case.x[-1] < 25], ids=lambda case: case.id)
def test_the_tiles_do_what_their_twins_do(case, rng, monkeypatch):
    geometry, dtype = case.geometry, DTYPES[0]
    x, w, b, dy = draw(case, dtype, rng)

    def passes():
        return [
            run(depthwise.forward_plan(geometry, dtype, True), geometry.y_shape, dtype, x, w, b),
            run(depthwise.backward_data_plan(geometry, dtype, False), geometry.x_shape, dtype, dy, w, None),
            *weight_gradients(depthwise_weight, geometry, dtype, x, dy),
        ]

    compiled = passes()
    monkeypatch.setattr("numba.config.DISABLE_JIT", 1)
    for ours, twin in zip(compiled, passes(), strict=True):
        np.testing.assert_array_equal(ours, twin)


@pytest.mark.parametrize("case", [CASES[0], CASES[1], CASES[11]], ids=lambda case: case.id)
def test_nan_and_infinity_reach_what_the_reference_says(case, rng):
    x, w, b, dy = draw(case, DTYPES[0], rng)
    x[0, 0, 0, 0], x[-1, 1, -1, -1], dy[0, 1, 0, -1], w[0, 0, 0, 0] = np.nan, np.inf, -np.inf, np.inf
    np.testing.assert_array_equal(ops.conv2d(x, w, b, **case.options), reference.conv2d(x, w, b, **case.options))
    ours, theirs = (f(dy, x, w, b, **case.options) for f in (ops.conv2d_backward, reference.conv2d_backward))
    for a, expected in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, expected)


def test_same_bits_at_any_number_of_threads(rng, set_num_threads):
    for case in (planes("", 24, (30, 30), padding=1), planes("", 3, (200, 210), 5, 2, padding=2)):
        geometry, dtype, results = case.geometry, DTYPES[0], []
        x, w, b = case.arrays(lambda shape: rng.standard_normal(shape, DTYPES[0]))
        dy = rng.standard_normal(geometry.y_shape, dtype)
        for threads in (1, 2, 3):
            set_num_threads(threads)
            dx_plan = depthwise.backward_data_plan(geometry, dtype, False)
            results.append([
                run(depthwise.forward_plan(geometry, dtype, True), geometry.y_shape, dtype, x, w, b).tobytes(),
                run(dx_plan, geometry.x_shape, dtype, dy, w, None).tobytes(),
                *(a.tobytes() for a in weight_gradients(depthwise_weight, geometry, dtype, x, dy)),
            ])
        assert results[0] == results[1] == results[2]


@pytest.mark.parametrize(("columns", "fitting"), [(64, 1), (9, 1), (8, 2), (4, 4), (1, 16)])
def test_as_many_planes_share_a_vector_as_fit(columns, fitting):
    alone, with_others = (planes("", 4, (4, columns), multiplier=m, padding=1).geometry for m in (1, 2))
    vectors = blocks_of(sides(alone)[0], 4)
    assert vectors <= MOST_BLOCKS and (vectors == 1 or vectors * columns * 4 <= VECTOR_BYTES)
    assert blocks_of(sides(with_others)[0], 4) == 1
    if VECTOR_BYTES == 64:
        assert vectors == min(fitting, MOST_BLOCKS)


def test_kernels_are_gathered_in_passes_that_cover_all_rows():
    for kernel in (3, 5, 7, 11):
        side = sides(planes("", 1, (30, 30), kernel, padding=kernel // 2).geometry)[0]
        rows = [tap for part in depthwise_weight.passes(side) for tap in part.rows.phases[0]]
        assert rows == list(side.rows.phases[0])


@pytest.mark.parametrize(
    ("w", "groups", "options", "fits"),
    [
        ((4, 1, 3, 3), 4, {}, True),
        ((4, 1, 1, 1), 4, {}, False),
        ((4, 4, 3, 3), 1, {}, False),
        ((4, 1, 3, 3), 4, {"dilation": 9, "padding": 9}, False),
        ((4, 1, 13, 13), 4, {"padding": 6}, False),
    ],
)
def test_what_the_slide_covers(w, groups, options, fits):
    side = sides(ConvCase("", (1, 4, 20, 20), w, groups=groups, **options).geometry)[0]
    assert depthwise.fits(side) is fits
