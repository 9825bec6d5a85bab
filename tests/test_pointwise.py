"""Convolutions of one tap whose lanes are pixels, against the direct engine."""

import numpy as np
import pytest

from fastconv import runtime
from fastconv.cpu import direct, pointwise
from fastconv.geometry import ConvGeometry
from fastconv.testing import exact_integers

SHAPES = {  # batch, input channels, output channels, groups, size[, stride]
    "small planes": (5, 20, 33, 1, (3, 3)),
    "single pixels": (37, 12, 7, 1, (1, 1)),
    "planes that end inside vectors": (3, 40, 30, 1, (7, 7)),
    "two passes": (2, 130, 64, 1, (14, 14)),
    "groups": (2, 12, 20, 4, (5, 6)),
    "one channel": (2, 1, 1, 1, (9, 40)),
    "whole strips": (1, 8, 17, 1, (32, 32)),
    "one dimension": (2, 8, 9, 1, (70,)),
    "three dimensions": (2, 5, 6, 1, (3, 4, 5)),
    "stride 2": (3, 20, 18, 1, (9, 40), 2),
    "stride 2, odd columns": (2, 6, 18, 2, (8, 7), 2),
    "stride 3 and 1": (2, 6, 18, 1, (10, 37), (3, 1)),
    "stride 1 and 3": (2, 6, 18, 1, (10, 37), (1, 3)),
    "stride of three dimensions": (2, 5, 6, 1, (5, 6, 70), (2, 4, 2)),
}


def operands(shape, dtype, draw):
    batch, ins, outs, groups, size, *stride = shape
    ones = (1,) * len(size)
    geometry = ConvGeometry.make(
        "test",
        (batch, ins, *size),
        (outs, ins // groups, *ones),
        (outs,),
        *(stride or [1]),
        0,
        1,
        groups,
        ndim=len(size),
    )
    assert pointwise.fits(geometry)
    return geometry, *(draw(s).astype(dtype) for s in (geometry.x_shape, geometry.w_shape, (outs,), geometry.y_shape))


def run(module, geometry, x, w, b, dy):
    """The convolution, without and with bias, and its gradient for x."""
    shapes = (geometry.y_shape, geometry.y_shape, geometry.x_shape)
    outputs = [np.full(s, np.nan, x.dtype) for s in shapes]
    module.forward_plan(geometry, x.dtype, False)(x, w, None, outputs[0])
    module.forward_plan(geometry, x.dtype, True)(x, w, b, outputs[1])
    module.backward_data_plan(geometry, x.dtype, False)(dy, w, None, outputs[2])
    return outputs


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_sums_are_exact(shape, dtype, rng):
    arguments = operands(shape, np.dtype(dtype), lambda size: exact_integers(rng, size))
    for found, expected in zip(run(pointwise, *arguments), run(direct, *arguments), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_few_images_are_copied_at_a_time(rng, monkeypatch):
    monkeypatch.setattr(pointwise, "COPY_BYTES", 2 * 20 * 5 * 20 * 4)
    arguments = operands((5, *SHAPES["stride 2"][1:]), np.float32, lambda size: exact_integers(rng, size))
    for found, expected in zip(run(pointwise, *arguments), run(direct, *arguments), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_its_pixel(bad, rng):
    geometry, x, w, b, dy = operands(SHAPES["planes that end inside vectors"], np.float32, rng.standard_normal)
    x[1, 3, 2, 4] = dy[2, 5, 6, 6] = bad
    _, y, dx = run(pointwise, geometry, x, w, b, dy)
    for found, place in ((y, (1, slice(None), 2, 4)), (dx, (2, slice(None), 6, 6))):
        assert not np.isfinite(found[place]).any()
        found[place] = 0
        assert np.isfinite(found).all()


def test_large_results_pass_the_caches(rng, set_num_threads, monkeypatch):
    """The same bits, whatever the way to memory and the number of threads."""
    geometry, x, w, b, dy = operands((2, 9, 40, 1, (32, 32)), np.float32, rng.standard_normal)
    expected = run(pointwise, geometry, x, w, b, dy)
    monkeypatch.setattr(pointwise, "STREAMED_BYTES", 0)
    pointwise.forward_plan.cache_clear()
    try:
        y = runtime.empty(geometry.y_shape, x.dtype)
        for threads in (1, 2, 3):
            set_num_threads(threads)
            y.fill(0)
            pointwise.forward_plan(geometry, x.dtype, True)(x, w, b, y)
            np.testing.assert_array_equal(y, expected[1])
    finally:
        pointwise.forward_plan.cache_clear()
