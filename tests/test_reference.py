"""The specification itself: against small sums by hand, finite differences, and PyTorch where it is installed."""

import numpy as np
import pytest

from fastconv import reference
from fastconv.testing import CONV_CASES, POOL_CASES, ConvCase, distinct_numbers, gradcheck, random_geometry

CONV = [case for case in CONV_CASES if not case.network]
POOL = [case for case in POOL_CASES if not case.network]
SYMMETRIC_POOL = [case for case in POOL if case.id != "padding_pairs"]  # PyTorch pads both ends alike
AVERAGES = [
    {"count_include_pad": True},
    {"count_include_pad": False},
    {"divisor_override": 3},
    {"divisor_override": -2, "count_include_pad": False},
]


def by_id(case):
    return case.id


def test_conv2d_by_hand():
    x = np.arange(9.0).reshape(1, 1, 3, 3)
    w = np.array([[[[1.0, 10.0], [100.0, 1000.0]]]])
    np.testing.assert_array_equal(reference.conv2d(x, w, np.array([0.5])), [[[[4310.5, 5421.5], [7643.5, 8754.5]]]])
    padded = reference.conv2d(x, w, stride=2, padding=1)
    np.testing.assert_array_equal(padded, [[[[0, 2100], [6030, 8754]]]])
    dx, dw, db = reference.conv2d_backward(np.ones((1, 1, 2, 2)), x, w)
    np.testing.assert_array_equal(dx[0, 0], [[1, 11, 10], [101, 1111, 1010], [100, 1100, 1000]])
    np.testing.assert_array_equal(dw[0, 0], [[0 + 1 + 3 + 4, 1 + 2 + 4 + 5], [3 + 4 + 6 + 7, 4 + 5 + 7 + 8]])
    assert db is None


def test_max_pool2d_by_hand():
    nan, inf = np.nan, np.inf
    x = np.array([[[[5, 5, 1, nan], [5, 2, nan, 3], [-inf, -inf, 0, -0.0], [-inf, -inf, -1, 0]]]])
    y, indices = reference.max_pool2d(x, 2, return_indices=True)
    np.testing.assert_array_equal(y, [[[[5, nan], [-inf, 0]]]])
    np.testing.assert_array_equal(indices, [[[[0, 3], [8, 10]]]])
    corner = reference.max_pool2d(np.full((1, 1, 2, 2), -inf), 3, stride=1, padding=1, return_indices=True)
    np.testing.assert_array_equal(corner[0], np.full((1, 1, 2, 2), -inf))
    np.testing.assert_array_equal(corner[1], np.zeros((1, 1, 2, 2)))


def test_padding_contributes_nothing():
    x, w = np.ones((1, 1, 3, 3)), np.full((1, 1, 3, 3), np.inf)
    np.testing.assert_array_equal(reference.conv2d(x, w, padding=1), np.full((1, 1, 3, 3), np.inf))
    x[0, 0, 0, 0] = 0
    assert np.isnan(reference.conv2d(x, w, padding=1)).sum() == 4  # 0 * inf where a window holds the corner
    dx, _, _ = reference.conv2d_backward(np.ones((1, 1, 3, 3)), x, w, padding=1)
    np.testing.assert_array_equal(dx, np.full((1, 1, 3, 3), np.inf))


@pytest.mark.parametrize("ndim", [1, 3])
def test_conv_over_other_numbers_of_axes(rng, ndim):
    case = ConvCase("", (1, 4, *(4,) * ndim), (2, 2, *(3,) * ndim), stride=2, padding=1, groups=2)
    arrays = case.arrays(rng.standard_normal)
    if ndim == 1:  # a plane of one row
        as_2d = {"stride": (1, 2), "padding": (0, 1), "groups": 2}
        expected = reference.conv2d(arrays[0][:, :, None], arrays[1][:, :, None], arrays[2], **as_2d)[:, :, 0]
        np.testing.assert_allclose(reference.conv2d(*arrays, **case.options), expected, rtol=1e-13, atol=1e-13)
    gradcheck(reference.conv2d, reference.conv2d_backward, arrays, case.options, rng)


@pytest.mark.parametrize("case", [case for case in CONV if case.geometry.macs < 1500], ids=by_id)
def test_conv2d_gradients(rng, case):
    gradcheck(reference.conv2d, reference.conv2d_backward, case.arrays(rng.standard_normal), case.options, rng)


@pytest.mark.parametrize("case", [case for case in POOL if np.prod(case.x) < 200], ids=by_id)
def test_pool_gradients(rng, case):
    x = distinct_numbers(rng, case.x)
    gradcheck(reference.max_pool2d, reference.max_pool2d_backward, (x,), case.options, rng)
    gradcheck(reference.avg_pool2d, reference.avg_pool2d_backward, (x,), case.average_options, rng)


ELEMENTWISE = ["relu", "relu6", "sigmoid", "tanh"]
ROWWISE = ["softmax", "log_softmax"]


@pytest.mark.parametrize("name", ELEMENTWISE + ROWWISE + ["flatten"])
def test_gradients_of_functions_of_x(rng, name):
    options = {"dim": 1} if name in ROWWISE else {}
    f, f_backward = getattr(reference, name), getattr(reference, f"{name}_backward")
    gradcheck(f, f_backward, (distinct_numbers(rng, (2, 5, 3)),), options, rng)


@pytest.mark.parametrize("bias", [True, False])
def test_linear_gradients(rng, bias):
    arrays = rng.standard_normal((2, 3, 4)), rng.standard_normal((5, 4)), rng.standard_normal(5) if bias else None
    gradcheck(reference.linear, reference.linear_backward, arrays, {}, rng)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_gradients(rng, reduction):
    arrays = rng.standard_normal((3, 4, 2)), rng.integers(0, 4, (3, 2))
    gradcheck(reference.cross_entropy, reference.cross_entropy_backward, arrays, {"reduction": reduction}, rng)


@pytest.mark.parametrize("wrong", ["dx", "dw", "db", "shape", "missing"])
def test_gradcheck_notices(rng, wrong):
    """A check that never fails would be worth nothing."""

    def backward(dy, x, w, b, **options):
        dx, dw, db = reference.conv2d_backward(dy, x, w, b, **options)
        if wrong == "missing":
            return dx, dw, None
        if wrong == "shape":
            return dx[..., :-1], dw, db
        gradient = {"dx": dx, "dw": dw, "db": db}[wrong]
        gradient.flat[1] *= 1.001
        return dx, dw, db

    number = {"dx": 0, "shape": 0, "dw": 1, "db": 2, "missing": 2}[wrong]
    arrays = ConvCase("", (2, 2, 4, 4), (3, 2, 3, 3)).arrays(rng.standard_normal)
    with pytest.raises(AssertionError, match=f"argument {number}"):
        gradcheck(reference.conv2d, backward, arrays, {}, rng)


def test_random_geometries_are_legal_and_various(rng):
    cases = [random_geometry(rng) for _ in range(300)]
    geometries = [case.geometry for case in cases]
    assert {g.batch for g in geometries} == {0, 1, 2, 3}
    assert all(1 <= g.in_channels <= 40 and 1 <= g.out_channels <= 40 for g in geometries)
    windows = [g.window for g in geometries]
    seen = {
        "groups": any(g.groups > 1 for g in geometries),
        "long rows": any(g.output_size[1] > 32 for g in geometries),
        "uneven kernel": any(w.kernel[0] != w.kernel[1] for w in windows),
        "uneven stride": any(w.stride[0] != w.stride[1] for w in windows),
        "dilation": any(max(w.dilation) > 1 for w in windows),
        "uneven padding": any(before != after for w in windows for before, after in w.padding),
        "no padding": any(sum(map(sum, w.padding)) == 0 for w in windows),
        "bias": any(case.bias for case in cases) and not all(case.bias for case in cases),
    }
    assert all(seen.values()), seen


class TestAgainstTorch:
    """Every function and gradient in float64."""

    @pytest.fixture(autouse=True)
    def import_torch(self):
        self.torch = pytest.importorskip("torch")
        self.F = self.torch.nn.functional
        self.torch.set_num_threads(1)

    def check(self, name, f, arrays, rng, options, torch_options=None):
        """Compare ``reference.name`` and its gradients with those of the function `f` of PyTorch."""
        y = getattr(reference, name)(*arrays, **options)
        tensors = [None if a is None else self.torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
        expected = f(*tensors, **(options if torch_options is None else torch_options))
        np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-12, atol=1e-12)
        dy = rng.standard_normal(np.shape(y))
        expected.backward(self.torch.tensor(dy))
        gradients = getattr(reference, f"{name}_backward")(dy, *arrays, **options)
        gradients = gradients if isinstance(gradients, tuple) else (gradients,)
        for gradient, tensor in zip(gradients, (t for t in tensors if t is None or t.requires_grad), strict=True):
            if tensor is None:
                assert gradient is None
            else:
                np.testing.assert_allclose(gradient, tensor.grad.numpy(), rtol=1e-11, atol=1e-11)

    def pad(self, x, geometry, value=0.0):
        (top, bottom), (left, right) = geometry.window.padding
        return self.F.pad(x, (left, right, top, bottom), value=value)

    @pytest.mark.parametrize("case", CONV, ids=by_id)
    def test_conv2d(self, rng, case):
        def conv2d(x, w, b, padding, **options):
            return self.F.conv2d(self.pad(x, case.geometry), w, b, **options)

        self.check("conv2d", conv2d, case.arrays(rng.standard_normal), rng, case.options)

    @pytest.mark.parametrize("case", POOL, ids=by_id)
    def test_max_pool2d(self, rng, case):
        def max_pool2d(x, padding, **options):
            if case.id == "padding_pairs":
                return self.F.max_pool2d(self.pad(x, case.geometry, -np.inf), **options)
            return self.F.max_pool2d(x, padding=padding, **options)

        self.check("max_pool2d", max_pool2d, (distinct_numbers(rng, case.x),), rng, case.options)

    @pytest.mark.parametrize("case", SYMMETRIC_POOL, ids=by_id)
    def test_max_pool2d_with_ties_and_nan(self, rng, case):
        x = rng.choice([0.0, 1.0, 2.0, -np.inf, np.nan], case.x, p=[0.3, 0.3, 0.2, 0.15, 0.05])
        y, indices = reference.max_pool2d(x, **case.options, return_indices=True)
        expected_y, expected_indices = self.F.max_pool2d(self.torch.tensor(x), **case.options, return_indices=True)
        np.testing.assert_array_equal(y, expected_y.numpy())
        # PyTorch takes the last NaN of a window and the first of equal numbers; here the first counts for both.
        known = ~np.isnan(y)
        np.testing.assert_array_equal(indices[known], expected_indices.numpy()[known])

    @pytest.mark.parametrize("average", AVERAGES, ids=str)
    @pytest.mark.parametrize("case", SYMMETRIC_POOL, ids=by_id)
    def test_avg_pool2d(self, rng, case, average):
        options = case.average_options | average
        self.check("avg_pool2d", self.F.avg_pool2d, (rng.standard_normal(case.x),), rng, options)

    @pytest.mark.parametrize("shape", [(11,), (4, 11), (2, 3, 11), (0, 11)], ids=str)
    @pytest.mark.parametrize("bias", [True, False])
    def test_linear(self, rng, shape, bias):
        arrays = rng.standard_normal(shape), rng.standard_normal((7, 11)), rng.standard_normal(7) if bias else None
        self.check("linear", self.F.linear, arrays, rng, {})

    @pytest.mark.parametrize("name", ELEMENTWISE)
    def test_activation(self, rng, name):
        special = np.array([0.0, -0.0, 800, -800, 30, -30, 1e-9, np.inf, -np.inf, np.nan])
        x = np.concatenate([rng.standard_normal(50), special])
        self.check(name, getattr(self.F, name), (x,), rng, {})

    @pytest.mark.parametrize("dim", [0, 1, -1])
    @pytest.mark.parametrize("name", ROWWISE)
    def test_rowwise(self, rng, name, dim):
        self.check(name, getattr(self.F, name), (rng.standard_normal((4, 5, 6)) * 30,), rng, {"dim": dim})

    @pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
    @pytest.mark.parametrize("shape", [(6, 5), (2, 5, 3), (2, 5, 3, 4), (0, 5)], ids=str)
    def test_cross_entropy(self, rng, shape, reduction):
        target = rng.integers(0, 5, (shape[0], *shape[2:]))
        arrays = rng.standard_normal(shape) * 10, target
        self.check("cross_entropy", self.F.cross_entropy, arrays, rng, {"reduction": reduction})

    @pytest.mark.parametrize(("start", "end"), [(1, -1), (0, -1), (0, 1), (1, 2), (-2, -1), (2, 2)])
    def test_flatten(self, rng, start, end):
        options = {"start_dim": start, "end_dim": end}
        self.check("flatten", self.torch.flatten, (rng.standard_normal((2, 3, 4, 5)),), rng, options)
