"""Deformable convolution against its specification, an ordinary convolution, and samples that PyTorch takes."""

import numpy as np
import pytest

from fastconv import ops, reference
from fastconv.layers import Conv2d, DeformConv2d
from fastconv.testing import DEFORM_CASES, error_bound, exact_integers, gradcheck, random_deform_case

CASES = [case for case in DEFORM_CASES if not case.network]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
GRADIENTS = ["dx", "doffset", "dw", "db", "dmask"]


def steps(rng, shape, dtype=np.float64):
    """Offsets in quarters, whose interpolation is exact; none is whole."""
    return (rng.integers(-9, 9, shape) + rng.choice([0.25, 0.5, 0.75], shape)).astype(dtype)


def draw(case, rng, dtype=np.float64, offsets=steps, numbers=exact_integers):
    """Arrays of a call, in the order of its arguments without the mask, the mask, and dy."""
    shapes = case.geometry
    x, w, b = (numbers(rng, shape).astype(dtype) for shape in (case.x, case.w, case.w[:1]))
    mask = steps(rng, shapes.mask_shape, dtype) if case.masked else None
    dy = numbers(rng, shapes.conv.y_shape).astype(dtype)
    return (x, offsets(rng, shapes.offset_shape, dtype), w, b if case.bias else None), mask, dy


def run(module, case, arrays, mask, dy):
    options = case.options | {"mask": mask}
    gradients = module.deform_conv2d_backward(dy, *arrays, **options)
    return {"y": module.deform_conv2d(*arrays, **options)} | dict(zip(GRADIENTS, gradients, strict=True))


def assert_same(found, expected, **tolerance):
    for name, value in expected.items():
        assert (found[name] is None) == (value is None), name
        if value is not None:
            np.testing.assert_allclose(found[name], value, err_msg=name, rtol=0, atol=tolerance.get("atol", 0))


@every_dtype
@every_case
def test_sums_are_exact(case, dtype, rng):
    """Small whole numbers and quarters: no product and no sum is rounded."""
    arguments = draw(case, rng, dtype)
    found = run(ops, case, *arguments)
    assert_same(found, run(reference, case, *arguments))
    assert all(value is None or value.dtype == dtype for value in found.values())


@every_case
def test_gradients_are_slopes(case, rng):
    if np.prod(case.x) > 300:
        pytest.skip("too many differences")
    arrays, mask, _ = draw(case, rng, numbers=lambda rng, shape: rng.standard_normal(shape))
    extra = () if mask is None else (mask,)

    def f(*arrays):
        return ops.deform_conv2d(*arrays[:4], **case.options, mask=arrays[4] if extra else None)

    def f_backward(dy, *arrays):
        gradients = ops.deform_conv2d_backward(dy, *arrays[:4], **case.options, mask=arrays[4] if extra else None)
        return gradients[: 4 + len(extra)]

    gradcheck(f, f_backward, (*arrays, *extra), rng=rng)


@pytest.mark.parametrize("seed", range(25))
def test_random_sizes(seed):
    rng = np.random.default_rng(seed)
    case = random_deform_case(rng)
    dtype = (np.float32, np.float64)[seed % 2]
    arguments = draw(case, rng, dtype)
    assert_same(run(ops, case, *arguments), run(reference, case, *arguments))


@every_dtype
def test_whole_offsets_shift_a_convolution(dtype, rng):
    """All taps moved by (2, -1): the convolution of an image that was shifted, between zeros."""
    x, w = exact_integers(rng, (2, 18, 9, 11), dtype), exact_integers(rng, (5, 18, 3, 3), dtype)
    offset = np.zeros((2, 18, 9, 11), dtype)
    offset[:, ::2], offset[:, 1::2] = 2, -1
    shifted = np.pad(x[:, :, 1:], ((0, 0), (0, 0), (0, 3), (2, 0)))
    np.testing.assert_array_equal(ops.deform_conv2d(x, offset, w, padding=1), ops.conv2d(shifted, w))
    np.testing.assert_array_equal(ops.deform_conv2d(x, 0 * offset, w, padding=1), ops.conv2d(x, w, padding=1))


@pytest.mark.parametrize("far", [-1.0, 4.0, -1.0 - 1e-6, 1e9, -1e9, 3e38, -3e38, np.inf, -np.inf])
@pytest.mark.parametrize("axis", [0, 1])
def test_nothing_is_read_outside(far, axis, rng):
    """A place at -1, at the size or beyond reads 0, and leaves no gradient in the input."""
    x = rng.standard_normal((1, 2, 4, 4)).astype(np.float32)
    w, offset = np.ones((1, 2, 1, 1), np.float32), np.zeros((1, 2, 1, 1), np.float32)
    x_one = x[:, :, :1, :1].copy()
    x_one[:] = np.inf  # an infinity would show
    offset[:, axis] = far if far != 4.0 else 1.0
    assert ops.deform_conv2d(x_one, offset, w) == 0
    dx, doffset, dw, _, _ = ops.deform_conv2d_backward(np.ones((1, 1, 1, 1), np.float32), x_one, offset, w)
    assert not dx.any() and not doffset.any() and not dw.any()


def test_a_sliver_of_the_border_is_read():
    x, w = np.ones((1, 1, 3, 3)), np.ones((1, 1, 1, 1))
    offset = np.zeros((1, 2, 3, 3))
    offset[0, 0, 0], offset[0, 0, 2], offset[0, 1, :, 0] = -0.75, 0.75, -0.25
    corners = np.outer([0.25, 1, 0.25], [0.75, 1, 1])
    np.testing.assert_array_equal(ops.deform_conv2d(x, offset, w)[0, 0], corners)


@every_dtype
@pytest.mark.parametrize("axis", [0, 1])
def test_nan_in_a_place_stays_in_its_sample(axis, dtype, rng):
    case = next(case for case in CASES if case.id == "plain")
    (x, offset, w, b), mask, dy = draw(case, rng, dtype)
    offset[0, 4 + axis, 1, 2] = np.nan  # the third tap
    found, expected = (run(module, case, (x, offset, w, b), mask, dy) for module in (ops, reference))
    assert_same(found, expected)
    assert np.isnan(found["y"][0, :, 1, 2]).all() and np.isnan(found["y"]).sum() == found["y"].shape[1]
    assert np.isfinite(found["dx"]).all()
    assert np.isnan(found["doffset"]).sum() == 2 and np.isnan(found["dmask"]).sum() == 1


@pytest.mark.parametrize("name", ["x", "w", "mask", "dy"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_travels_as_specified(name, bad, rng):
    case = next(case for case in CASES if case.id == "plain")
    (x, offset, w, b), mask, dy = draw(case, rng)
    {"x": x, "w": w, "mask": mask, "dy": dy}[name][0, 1, 1, 1] = bad
    found, expected = (run(module, case, (x, offset, w, b), mask, dy) for module in (ops, reference))
    for key in ("y", *GRADIENTS):
        np.testing.assert_array_equal(np.isnan(found[key]), np.isnan(expected[key]), err_msg=key)
        np.testing.assert_array_equal(found[key], expected[key], err_msg=key)


def test_any_number_of_threads_gives_the_same_bits(rng, set_num_threads):
    case = next(case for case in CASES if case.id == "many_pixels")

    def normal(rng, shape, dtype=np.float32):
        return rng.standard_normal(shape).astype(dtype)

    arguments = draw(case, rng, np.float32, normal, normal)
    results = []
    for threads in (1, 2, 3):
        set_num_threads(threads)
        results.append(run(ops, case, *arguments))
    for other in results[1:]:
        for name, value in results[0].items():
            np.testing.assert_array_equal(other[name], value, err_msg=name)


def test_errors_stay_within_the_bound(rng):
    """In float32, against the specification in float64."""
    case = next(case for case in CASES if case.id == "wide")

    def normal(rng, shape, dtype=np.float32):
        return rng.standard_normal(shape).astype(dtype)

    arguments = draw(case, rng, np.float32, normal, normal)
    exact = run(reference, case, *arguments)
    (x, offset, w, b), mask, dy = arguments
    size = run(reference, case, (abs(x), offset, abs(w), abs(b)), abs(mask), abs(dy))["y"]
    products = 6 * np.prod(case.w[1:])  # four pixels, a mask and a weight
    assert np.all(np.abs(ops.deform_conv2d(x, offset, w, b, **case.options, mask=mask) - exact["y"])
                  <= error_bound(size, products, np.float32))  # fmt: skip


@pytest.mark.parametrize("layout", ["fortran", "reversed", "read_only", "big_endian"])
def test_layouts(layout, rng):
    case = next(case for case in CASES if case.id == "plain")
    arrays, mask, dy = draw(case, rng)
    change = {
        "fortran": np.asfortranarray,
        "reversed": lambda a: a[..., ::-1].copy()[..., ::-1],
        "read_only": lambda a: np.require(a, requirements="W").copy(),
        "big_endian": lambda a: a.astype(">f8"),
    }[layout]
    changed = [change(a) for a in (*arrays, mask, dy)]
    if layout == "read_only":
        for array in changed:
            array.flags.writeable = False
    before = [a.copy() for a in changed]
    found = run(ops, case, tuple(changed[:4]), changed[4], changed[5])
    assert_same(found, run(ops, case, arrays, mask, dy))
    for array, kept in zip(changed, before, strict=True):
        np.testing.assert_array_equal(array, kept)


def test_only_what_is_needed(rng):
    case = next(case for case in CASES if case.id == "plain")
    arrays, mask, dy = draw(case, rng)
    everything = ops.deform_conv2d_backward(dy, *arrays, **case.options, mask=mask)
    for number in range(5):
        needs = tuple(k == number for k in range(5))
        found = ops.deform_conv2d_backward(dy, *arrays, **case.options, mask=mask, needs=needs)
        for k, gradient in enumerate(found):
            assert (gradient is None) == (k != number)
        np.testing.assert_array_equal(found[number], everything[number])


SHAPES = {"x": (2, 4, 6, 6), "offset": (2, 18, 6, 6), "w": (3, 4, 3, 3), "b": (3,), "mask": (2, 9, 6, 6)}


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("x", (4, 6, 6), "x must have 4 axes"),
        ("x", (2, 5, 6, 6), "groups|input"),
        ("w", (3, 4, 3), "w must have 4 axes"),
        ("w", (3, 0, 3, 3), "input channels"),
        ("w", (3, 2, 3, 3), "groups must divide"),
        ("b", (4,), "b must have shape"),
        ("offset", (2, 17, 6, 6), "offset must have shape"),
        ("offset", (2, 9, 6, 6), "offset must have shape"),
        ("offset", (2, 0, 6, 6), "offset must have shape"),
        ("offset", (1, 18, 6, 6), "offset must have shape"),
        ("offset", (2, 18, 6, 5), "offset must have shape"),
        ("offset", (18, 6, 6), "offset must have shape"),
        ("offset", (2, 54, 6, 6), "offset groups must divide"),
        ("mask", (2, 18, 6, 6), "mask must have shape"),
        ("mask", (2, 9, 6), "mask must have shape"),
    ],
)
def test_bad_shapes(name, shape, message):
    arrays = {key: np.ones(size) for key, size in (SHAPES | {name: shape}).items()}
    with pytest.raises(ValueError, match=message):
        ops.deform_conv2d(**arrays, padding=1)
    with pytest.raises(ValueError, match=message):
        ops.deform_conv2d_backward(np.ones((2, 3, 6, 6)), **arrays, padding=1)


def test_bad_values():
    arrays = {key: np.ones(size) for key, size in SHAPES.items()}
    with pytest.raises(ValueError, match="dy must have the shape"):
        ops.deform_conv2d_backward(np.ones((2, 3, 6, 5)), **arrays, padding=1)
    with pytest.raises(TypeError, match="needs must be 5 bools"):
        ops.deform_conv2d_backward(np.ones((2, 3, 6, 6)), **arrays, padding=1, needs=(True, True, True))
    with pytest.raises(TypeError, match="mask"):
        ops.deform_conv2d(**arrays | {"mask": np.ones((2, 9, 6, 6), np.float32)}, padding=1)
    x, offset, w = np.ones((1, 1, 1, 1)), np.ones((1, 2, 1, 2)), np.ones((1, 1, 1, 1))
    with pytest.raises(ValueError, match="2\\*\\*30"):
        ops.deform_conv2d(x, offset, w, stride=2**40, padding=((0, 0), (0, 2**40)))


def test_the_layer_starts_as_a_convolution(rng):
    x = rng.standard_normal((2, 6, 7, 8)).astype(np.float32)
    plain = Conv2d(6, 4, 3, 2, 1, groups=2, rng=1)
    layer = DeformConv2d(6, 4, 3, 2, 1, groups=2, offset_groups=3, mask=False, rng=1)
    assert layer.params["offset.weight"].shape == (54, 6, 3, 3)
    np.testing.assert_allclose(layer(x), plain(x), atol=1e-6)
    assert layer.macs(x.shape) == plain.macs(x.shape) + 2 * 4 * 4 * 54 * 6 * 9
    with pytest.raises(ValueError, match="offset_groups must divide"):
        DeformConv2d(6, 4, 3, offset_groups=4)
