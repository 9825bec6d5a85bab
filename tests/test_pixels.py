"""The view in which lanes are pixels: against the reference, the other view, and the tiles' twins."""

import numpy as np
import pytest
from guarded import DTYPES, draw, run, sides, spoiled_memory, weight_gradients

from fastconv import reference, runtime
from fastconv.cpu import choose, depthwise, depthwise_weight, direct, direct_weight, pixels, pixels_weight
from fastconv.cpu.epilogue import PLAIN
from fastconv.cpu.loop import Program, kernel
from fastconv.cpu.microkernel_pixels import MOST_DOT_POINTERS, call_dot_tile, dot_tile
from fastconv.cpu.simd import VECTOR_BYTES
from fastconv.testing import CONV_CASES, ConvCase, exact_integers, random_geometry

__all__ = ["spoiled_memory"]

pytestmark = pytest.mark.usefixtures("spoiled_memory")

OWN_CASES = (
    ConvCase("signal", (2, 3, 40), (4, 3, 5), padding=2),
    ConvCase("long_signal", (1, 2, 30011), (2, 1, 5), padding=((3, 1),), groups=2),
    ConvCase("long_strided_signal", (1, 2, 40003), (4, 2, 3), stride=2, padding=1),
    ConvCase("multiplier", (2, 3, 9, 11), (6, 1, 3, 3), padding=1, groups=3),
    ConvCase("several_tiles_of_channels", (1, 2, 6, 7), (19, 2, 3, 3), padding=1),
    ConvCase("strided_depthwise", (2, 5, 13, 12), (5, 1, 3, 3), stride=2, padding=1, groups=5),
    ConvCase("stride_along_one_axis", (2, 4, 9, 8), (4, 2, 3, 4), stride=(2, 1), padding=(1, 2), groups=2),
    ConvCase("gaps_between_kernel_rows", (2, 3, 12, 9), (3, 1, 3, 3), dilation=(2, 1), padding=2, groups=3),
    ConvCase("gaps_between_kernel_columns", (2, 3, 12, 20), (3, 1, 3, 3), dilation=(1, 3), padding=(1, 3), groups=3),
    ConvCase("tall_kernel", (1, 2, 30, 6), (2, 1, 13, 3), padding=(6, 1), groups=2),
    ConvCase("whole_vectors", (2, 2, 17, 32), (2, 1, 3, 3), padding=1, groups=2),
    ConvCase("several_bands", (1, 2, 150, 200), (2, 1, 3, 3), padding=1, groups=2),
    ConvCase("several_bands_of_groups", (1, 8, 61, 130), (8, 4, 3, 3), padding=1, groups=2),
    ConvCase("several_strided_bands", (1, 3, 121, 263), (4, 3, 3, 3), stride=2, padding=1),
    ConvCase("many_small_planes", (3, 200, 3, 3), (200, 1, 3, 3), padding=1, groups=200),
)
CASES = [case for case in (*CONV_CASES, *OWN_CASES) if not case.network and len(case.x) < 5]


def fitting(cases):
    return [pytest.param(case, id=case.id) for case in cases if all(side.fits() for side in sides(case.geometry))]


def views(side):
    return [pixels, depthwise] if depthwise.fits(side) else [pixels]


def check(case, dtype, rng):
    geometry = case.geometry
    forward, backward = sides(geometry)
    x, w, b, dy = draw(case, dtype, rng)
    if case.x[-1] > 100:  # too large for the reference
        y = run(direct.forward_plan(geometry, dtype, b is not None), geometry.y_shape, dtype, x, w, b)
        dx = run(direct.backward_data_plan(geometry, dtype, False), geometry.x_shape, dtype, dy, w, None)
        dw, db = weight_gradients(direct_weight, geometry, dtype, x, dy)
    else:
        y = reference.conv2d(x, w, b, **case.options)
        dx, dw, db = reference.conv2d_backward(dy, x, w, np.zeros(len(w)), **case.options)
    for view in views(forward):
        plan = view.forward_plan(geometry, dtype, b is not None)
        np.testing.assert_array_equal(run(plan, geometry.y_shape, dtype, x, w, b), y)
    for view in views(backward):
        plan = view.backward_data_plan(geometry, dtype, False)
        np.testing.assert_array_equal(run(plan, geometry.x_shape, dtype, dy, w, None), dx)
    for view in [pixels_weight, depthwise_weight] if depthwise_weight.fits(forward) else [pixels_weight]:
        for ours, theirs in zip(weight_gradients(view, geometry, dtype, x, dy), (dw, db), strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", fitting(CASES))
def test_all_passes_equal_the_reference(case, dtype, rng):
    check(case, dtype, rng)


def test_random_geometries_equal_the_reference(rng):
    checked = 0
    while checked < 24:
        case = random_geometry(rng, 600)
        if all(side.fits() for side in sides(case.geometry)):
            check(case, DTYPES[checked % 2], rng)
            checked += 1


def test_nan_and_infinity_reach_what_the_reference_says(rng):
    case = ConvCase("", (2, 6, 9, 10), (6, 1, 3, 3), padding=1, groups=6)
    x, w, b, _ = draw(case, DTYPES[0], rng)
    x[0, 1, 4, 9], x[0, 2, 0, 0], x[1, 3, 8, 9] = np.nan, np.inf, -np.inf
    expected = reference.conv2d(x, w, b, **case.options)
    for view in (pixels, depthwise):
        y = run(view.forward_plan(case.geometry, DTYPES[0], True), case.geometry.y_shape, DTYPES[0], x, w, b)
        np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize(
    "case",
    [
        ConvCase("depthwise", (3, 24, 30, 30), (24, 1, 3, 3), padding=1, groups=24),
        ConvCase("groups", (2, 24, 60, 40), (24, 4, 3, 3), padding=1, groups=6),
        ConvCase("strided", (5, 3, 40, 33), (6, 3, 5, 5), stride=2, padding=2),
    ],
    ids=lambda case: case.id,
)
def test_same_bits_at_any_number_of_threads(case, rng, set_num_threads):
    geometry, dtype = case.geometry, DTYPES[0]
    x, w, b = case.arrays(lambda shape: rng.standard_normal(shape, dtype))
    dy = rng.standard_normal(geometry.y_shape, dtype)
    results = []
    for threads in (1, 2, 3, 4):
        set_num_threads(threads)
        results.append([
            run(choose.forward_plan(geometry, dtype, True), geometry.y_shape, dtype, x, w, b).tobytes(),
            run(choose.backward_data_plan(geometry, dtype, False), geometry.x_shape, dtype, dy, w, None).tobytes(),
            *(a.tobytes() for a in weight_gradients(choose, geometry, dtype, x, dy)),
        ])
    assert all(result == results[0] for result in results)


# ---- tiles -----------------------------------------------------------------------------------------------------


@kernel(a="real", b="real", c="real", tables="int32", tile="int", depth="int")
def one_dot(args, task, slot):
    call_dot_tile(args.tile, args.depth, args.a, args.tables, args.b, args.tables + 16, args.c, args.a, args.b)


def tile_results(step, tile, depth, dtype, rng, monkeypatch):
    """Return what the compiled tile writes, and what its twin does."""
    a, b = (exact_integers(rng, 2000, dtype) for _ in range(2))
    tables = rng.integers(200, 900, 32).astype(np.int32)
    program = Program(dtype, "c")
    program.add(
        step, 1, a=runtime.address(a), b=runtime.address(b), c=program.c, tables=program.table(tables), tile=tile,
        depth=depth,
    )  # fmt: skip
    start = exact_integers(rng, 4000, dtype)
    compiled, twin = start.copy(), start.copy()
    program(compiled)
    monkeypatch.setattr("numba.config.DISABLE_JIT", 1)
    program(twin)
    return start, compiled, twin


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 3), (1, MOST_DOT_POINTERS - 1), (6, 4)])
def test_the_dot_tile_does_what_its_twin_does(rows, columns, dtype, rng, monkeypatch):
    start, compiled, twin = tile_results(one_dot, dot_tile(dtype, rows, columns), 7, dtype, rng, monkeypatch)
    np.testing.assert_array_equal(compiled, twin)
    assert np.any(compiled != start)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 3), (12, 12), (4, 49), (96, 3)])
def test_dot_tiles_fit_the_registers_and_cover_all_sums(rows, columns):
    high, wide = pixels_weight.tile_shape(rows, columns)
    assert high + wide <= MOST_DOT_POINTERS and high * wide + wide + 1 <= runtime.registers()
    assert high <= rows and wide <= columns


# ---- the choice ------------------------------------------------------------------------------------------------

LANES = VECTOR_BYTES // 4


@pytest.mark.parametrize(
    ("x", "w", "groups", "forward", "backward", "weight"),
    [
        ((1, 32, 30, 30), (32, 1, 3, 3), 32, depthwise, depthwise, depthwise_weight),
        ((1, 32, 30, 30), (32, 2, 3, 3), 16, depthwise, depthwise, depthwise_weight),
        ((1, 32, 30, 30), (32, 4, 3, 3), 8, pixels, pixels, pixels_weight),
        ((1, 64, 30, 30), (64, 64, 3, 3), 1, direct, direct, direct_weight),
        ((1, 1, 30, 30), (4 * LANES, 1, 7, 7), 1, direct, depthwise, direct_weight),
        ((1, 64, 30, 30), (1, 64, 3, 3), 1, depthwise, depthwise, depthwise_weight),
        ((1, 4, 30, 30, 30), (4, 1, 3, 3, 3), 4, pixels, pixels, pixels_weight),
        ((1, 64, 8, 30, 30), (64, 64, 3, 3, 3), 1, direct, direct, direct_weight),
    ],
)
def test_the_view_follows_from_the_geometry(x, w, groups, forward, backward, weight):
    geometry = ConvCase("", x, w, padding=1, groups=groups).geometry
    dtype = DTYPES[0]
    assert choose.forward_plan(geometry, dtype, False, "direct") is forward.forward_plan(geometry, dtype, False, PLAIN)
    dx_plan = choose.backward_data_plan(geometry, dtype, False, "direct")
    assert dx_plan is backward.backward_data_plan(geometry, dtype, False)
    assert choose.backward_weight_plan(geometry, dtype, "direct") is weight.backward_weight_plan(geometry, dtype)


@pytest.mark.parametrize(
    ("options", "fits"),
    [({"stride": 2}, True), ({"stride": 3}, False), ({"dilation": 100, "padding": 100}, False), ({"padding": 9}, True)],
)
def test_what_pixels_cover(options, fits):
    geometry = ConvCase("", (1, 4, 9, 9), (4, 1, 3, 3), groups=4, **options).geometry
    assert all(side.fits() for side in sides(geometry)) is fits
