"""What follows the sums of a convolution as they are written: an addend, ReLU and ReLU6, in every plan."""

import numpy as np
import pytest
from guarded import DTYPES, draw, run, spoiled_memory

from fastconv import ops, reference, runtime
from fastconv.cpu import depthwise, direct, pixels, pointwise, transformed
from fastconv.cpu.epilogue import EPILOGUE_FIELDS, PLAIN, Epilogue, ending_of, finished
from fastconv.cpu.loop import Program, kernel
from fastconv.cpu.points import winograd
from fastconv.cpu.simd import VECTOR_BYTES, head, lanes, load, store, transpose_finished
from fastconv.layers import BatchNorm2d, Conv2d, Identity, ReLU, ReLU6, Sequential, Sum
from fastconv.testing import ConvCase, gradcheck, random_geometry

__all__ = ["spoiled_memory"]

LANES = VECTOR_BYTES // 4
EPILOGUES = (Epilogue(0.0), Epilogue(0.0, 6.0), Epilogue(added=True), Epilogue(0.0, 6.0, True))
PLANS = {
    "direct": (direct, ConvCase("", (3, 5, 9, 11), (2 * LANES + 3, 5, 3, 3), padding=1)),
    "direct_copied": (direct, ConvCase("", (2, 2, 40, 50), (LANES, 2, 5, 5), stride=2, padding=2)),
    "pixels": (pixels, ConvCase("", (2, 8, 10, 21), (8, 4, 3, 3), padding=1, groups=2)),
    "depthwise": (depthwise, ConvCase("", (2, 5, 9, 19), (5, 1, 3, 3), padding=1, groups=5)),
    "depthwise_strided": (depthwise, ConvCase("", (2, 7, 5, 5), (7, 1, 3, 3), stride=2, padding=1, groups=7)),
    "depthwise_multiplier": (depthwise, ConvCase("", (2, 3, 9, 11), (6, 1, 3, 3), padding=1, groups=3)),
    "pointwise": (pointwise, ConvCase("", (3, 9, 7, 7), (11, 9, 1, 1))),
    "pointwise_wide": (pointwise, ConvCase("", (2, 8, 24, 24), (12, 4, 1, 1), groups=2)),
    "pointwise_strided": (pointwise, ConvCase("", (2, 9, 9, 9), (11, 9, 1, 1), stride=2)),
    "transformed": (transformed, ConvCase("", (2, 5, 9, 11), (LANES + 3, 5, 3, 3), padding=1)),
}
every_plan = pytest.mark.parametrize(("module", "case"), PLANS.values(), ids=PLANS)


def computed(module, case, epilogue, x, w, b, addend):
    """Run a plan, whose output is guarded."""
    options = {"family": winograd(4, 3)} if module is transformed else {}
    plan = module.forward_plan(case.geometry, x.dtype, True, epilogue, **options)

    def call(*arrays):
        plan(*arrays, *((addend,) if epilogue.added else ()))

    return run(call, case.geometry.y_shape, x.dtype, x, w, b)


def ended(sums, addend, epilogue):
    """Do what an epilogue does, one step after the other."""
    y = sums + addend if epilogue.added else sums
    return np.where(y < epilogue.low, epilogue.low, np.where(y > epilogue.high, epilogue.high, y)).astype(y.dtype)


@pytest.mark.usefixtures("spoiled_memory")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@every_plan
def test_every_plan_gives_the_bits_of_separate_passes(module, case, dtype, rng):
    x, w, _, addend = draw(case, dtype, rng)
    arrays = x / 3, w / 3, rng.standard_normal(len(w)).astype(dtype), addend
    plain = computed(module, case, PLAIN, *arrays)
    for epilogue in EPILOGUES:
        y = computed(module, case, epilogue, *arrays)
        assert y.tobytes() == ended(plain, addend, epilogue).tobytes(), epilogue


@every_plan
def test_nan_and_infinity_pass_or_meet_a_limit(module, case, rng):
    x, w, _, addend = draw(case, DTYPES[0], rng)
    b = np.zeros(len(w), x.dtype)
    x[0, 0, 2, 2], x[0, -1, 4, 4], x[-1, 0, 3, 3], addend[0, 0, 0, 0] = np.nan, np.inf, -np.inf, np.nan
    plain = computed(module, case, PLAIN, x, w, b, addend)
    assert np.isnan(plain).any() and np.isposinf(plain).any() and np.isneginf(plain).any()
    for epilogue in EPILOGUES:
        y = computed(module, case, epilogue, x, w, b, addend)
        np.testing.assert_array_equal(y, ended(plain, addend, epilogue))
    assert np.isnan(y).sum() == np.isnan(plain + addend).sum()


@kernel(x="real", y="real", turned="real", count="int", rows="int", **EPILOGUE_FIELDS)
def finish_all(args, task, slot):
    """Write a vector of x to y, and a square of x to `turned`, finished."""
    mask, (low, high, apart) = head(args.x, args.count), ending_of(args)
    store(args.y, 0, finished(load(args.x, 0), args.y, 0, mask, (low, high, apart)), mask)
    n = lanes(args.x)
    transpose_finished(args.x, n, n, head(args.x, n), args.turned, n, args.rows, mask, low, high, apart)


@pytest.mark.parametrize("epilogue", (PLAIN, *EPILOGUES), ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_twins_agree_with_the_kernels(dtype, epilogue, rng, monkeypatch):
    n = VECTOR_BYTES // dtype.itemsize
    x, memory = rng.normal(3, 4, (n, n)).astype(dtype), rng.standard_normal((2, 2 * n * n)).astype(dtype)
    program = Program(dtype, "x y addend")
    turned, count, rows = program.y + n * n * dtype.itemsize, n - 2, n - 1
    arguments = epilogue.arguments(program)
    program.add(finish_all, 1, x=program.x, y=program.y, turned=turned, count=count, rows=rows, **arguments)
    results = []
    for disabled in (0, 1):
        monkeypatch.setattr("numba.config.DISABLE_JIT", disabled)
        y = np.full(2 * n * n, 7, dtype)
        program(x, y, memory[0])
        results.append(y)
    assert results[0].tobytes() == results[1].tobytes()
    assert np.all(results[0][count:n] == 7) and not np.all(results[0][: n - 2] == 7)


# ---- the operation ---------------------------------------------------------------------------------------------


def test_the_operation_equals_the_reference_on_random_geometries():
    rng = np.random.default_rng(7)
    for number in range(12):
        case = random_geometry(rng, 600)
        x, w, b, residual = draw(case, DTYPES[number % 2], rng)
        options = case.options | {"residual": (None, residual)[number % 3 > 0], "relu": (True, 6.0, False)[number % 3]}
        np.testing.assert_array_equal(ops.conv2d(x, w, b, **options), reference.conv2d(x, w, b, **options))
        gradients = ops.conv2d_backward(residual, x, w, b, **options)
        wanted = reference.conv2d_backward(residual, x, w, b, **options)
        for gradient, right in zip(gradients, wanted, strict=True):
            np.testing.assert_array_equal(gradient, right)


@pytest.mark.parametrize("relu", (False, True, 1.5))
def test_gradients(relu, rng):
    arrays = [rng.standard_normal(shape) for shape in ((2, 3, 5, 6), (4, 3, 3, 3), (4,), (2, 4, 5, 6))]

    def f(x, w, b, residual):
        return ops.conv2d(x, w, b, padding=1, residual=residual, relu=relu)

    def f_backward(dy, x, w, b, residual):
        return ops.conv2d_backward(dy, x, w, b, padding=1, residual=residual, relu=relu)

    gradcheck(f, f_backward, tuple(arrays), rng=rng)


def test_a_saved_result_replaces_what_is_computed_again(rng):
    x, w, residual, dy = (rng.standard_normal(shape) for shape in ((2, 3, 5, 6), (4, 3, 1, 1), *[(2, 4, 5, 6)] * 2))
    y = ops.conv2d(x, w, residual=residual, relu=6)
    again = ops.conv2d_backward(dy, x, w, residual=residual, relu=6)
    gradients = ops.conv2d_backward(dy, x, w, residual=np.full_like(y, np.nan), relu=6, saved=y)
    assert all(a is b is None or a.tobytes() == b.tobytes() for a, b in zip(again, gradients, strict=True))
    assert ops.conv2d_backward(dy, x, w, residual=residual)[3] is not dy


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"relu": "yes"}, TypeError, "relu must be True or False, or a ceiling, got 'yes'"),
        ({"relu": None}, TypeError, "relu must be True or False"),
        ({"relu": 0}, ValueError, "a ceiling above 0, got 0"),
        ({"relu": float("nan")}, ValueError, "a ceiling above 0, got nan"),
        ({"residual": np.zeros((1, 2, 3, 4))}, ValueError, r"residual must have shape \(2, 4, 5, 6\), got \(1, 2, 3"),
        ({"residual": np.zeros((2, 4, 5, 6), np.float32)}, TypeError, "one dtype"),
        ({"residual": [1.0]}, TypeError, "residual must be a numpy.ndarray"),
    ],
)
def test_bad_input(options, error, message):
    x, w, dy = np.zeros((2, 3, 5, 6)), np.zeros((4, 3, 1, 1)), np.zeros((2, 4, 5, 6))
    with pytest.raises(error, match=f"conv2d: .*{message}"):
        ops.conv2d(x, w, **options)
    with pytest.raises(error, match=f"conv2d_backward: .*{message}"):
        ops.conv2d_backward(dy, x, w, **options)


def test_a_saved_result_must_have_its_shape():
    with pytest.raises(ValueError, match=r"saved must have shape \(2, 4, 5, 6\), got \(1,\)"):
        ops.conv2d_backward(np.zeros((2, 4, 5, 6)), np.zeros((2, 3, 5, 6)), np.zeros((4, 3, 1, 1)), saved=np.zeros(1))


# ---- layers ----------------------------------------------------------------------------------------------------


def conv(ci=4, co=4, kernel=3, **options):
    return Conv2d(ci, co, kernel, padding=kernel // 2, rng=ci + co + kernel, **options)


MODELS = {
    "relu": lambda: [conv(), ReLU()],
    "relu6": lambda: [conv(groups=4), ReLU6()],
    "residual": lambda: [Sum(Sequential(conv(), ReLU(), conv()), Identity()), ReLU()],
    "residual_relu6": lambda: [Sum(Identity(), Sequential(conv(), conv(kernel=1), Identity())), ReLU6()],
    "residual_alone": lambda: [Sum(conv(), conv(kernel=1))],
    "norm": lambda: [conv(), BatchNorm2d(4), ReLU6()],
    "norm_residual": lambda: [Sum(Sequential(conv(), BatchNorm2d(4)), Identity()), ReLU6()],
}


class Apart(Sequential):
    """Layers that do not merge."""

    def _stages(self):
        return list(self)


def passes(model, x, dy):
    """Return y, dx, and all gradients of parameters."""
    y, backward = model.forward(x)
    return y, backward(dy), *(gradient for _, gradient in model.named_gradients())


@pytest.mark.parametrize("build", MODELS.values(), ids=MODELS)
def test_merged_layers_give_the_bits_of_layers_apart(build, rng):
    x, dy = (3 * rng.standard_normal((2, 4, 6, 7)).astype(np.float32) for _ in range(2))
    merged, apart = Sequential(*build()), Apart(*build())
    assert len(merged._stages()) < len(merged) or len(merged) == 1
    for mine, plain in zip(passes(merged, x, dy), passes(apart, x, dy), strict=True):
        assert mine.tobytes() == plain.tobytes()
    assert merged(x).tobytes() == apart(x).tobytes()


def test_results_do_not_depend_on_threads(rng):
    x, w = rng.standard_normal((2, 20, 17, 18)), rng.standard_normal((20, 20, 3, 3))
    results, before = set(), runtime.get_num_threads()
    for threads in (1, 2, 3):
        runtime.set_num_threads(threads)
        results.add(ops.conv2d(x, w, padding=1, residual=x, relu=6).tobytes())
    runtime.set_num_threads(before)
    assert len(results) == 1
