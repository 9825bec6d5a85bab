"""The public ops against PyTorch in float64: results and every gradient, over random geometries."""

import numpy as np
import pytest

from fastconv import ops
from fastconv.testing import CONV_CASES, POOL_CASES, error_bound, random_deform_case, random_geometry

torch = pytest.importorskip("torch")
F = torch.nn.functional


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pad(x, geometry, value=0.0):
    """Pad as the geometry says; PyTorch's own padding has equal ends."""
    (top, bottom), (left, right) = geometry.window.padding
    return F.pad(x, (left, right, top, bottom), value=value)


def torch_conv2d(case):
    options = {"stride": case.geometry.window.stride, "dilation": case.geometry.window.dilation, "groups": case.groups}
    return lambda x, w, b: F.conv2d(pad(x, case.geometry), w, b, **options)


def evaluate(f, dy, arrays):
    """Return the result of a function of PyTorch and its gradient for every float array, as arrays."""
    tensors = [None if a is None else torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    y = f(*tensors)
    y.backward(torch.tensor(dy))
    gradients = [None if t is None else t.grad.numpy() for t in tensors if t is None or t.requires_grad]
    return y.detach().numpy(), gradients


def check(name, f, arrays, rng, **options):
    """Compare an op and its gradients with the function `f` of PyTorch."""
    y = getattr(ops, name)(*arrays, **options)
    dy = np.asarray(rng.standard_normal(y.shape))
    gradients = getattr(ops, f"{name}_backward")(dy, *arrays, **options)
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    expected, expected_gradients = evaluate(f, dy, arrays)
    for actual, value in zip((y, *gradients), (expected, *expected_gradients), strict=True):
        assert (actual is None) == (value is None)
        if actual is not None:
            scale = np.abs(value).max(initial=1)
            np.testing.assert_allclose(actual, value, rtol=0, atol=1e-13 * scale)


@pytest.mark.parametrize("seed", range(100))
def test_conv2d(seed):
    rng = np.random.default_rng(seed)
    case = random_geometry(rng, outputs=20_000)
    check("conv2d", torch_conv2d(case), case.arrays(rng.standard_normal), rng, **case.options)


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CONV_CASES if case.network], ids=lambda case: case.id)
def test_conv2d_in_networks(case, rng):
    """Layers of real networks in float32: their errors stay within the bound."""

    def draw(shape):
        return rng.standard_normal(shape, np.float32)

    x, w, b = draw((1, *case.x[1:])), draw(case.w), draw(case.w[:1])
    y = ops.conv2d(x, w, b, **case.options)
    dy = draw(y.shape)
    results = y, *ops.conv2d_backward(dy, x, w, b, **case.options)
    doubles = [array.astype(np.float64) for array in (dy, x, w, b)]
    (value, gradients), (size, sizes) = (
        evaluate(torch_conv2d(case), dy, arrays) for dy, *arrays in (doubles, map(np.abs, doubles))
    )
    taps, places = np.prod(case.w[2:]), y.size // y.shape[1]
    products = (case.w[1] * taps, case.geometry.group_out * taps, places, places)
    for result, exact, magnitude, n in zip(results, (value, *gradients), (size, *sizes), products, strict=True):
        assert np.all(np.abs(result - exact) <= error_bound(magnitude, n, np.float32))


def sampled_conv2d(x, offset, w, b, mask, case):
    """Deformable convolution as PyTorch can say it: `grid_sample` for each tap, and a product."""
    shapes, (n, _, rows, columns) = case.geometry, x.shape
    outputs, parts = shapes.conv.output_size, n * case.offset_groups
    offset = offset.view(parts, shapes.taps, 2, *outputs)
    window, samples = shapes.conv.window, []
    for number, tap in enumerate(np.ndindex(window.kernel)):
        places = []
        for axis, size in enumerate((rows, columns)):
            start = torch.arange(outputs[axis]) * window.stride[axis] - window.padding[axis][0]
            shape = (-1, 1) if axis == 0 else (1, -1)
            place = start.view(shape) + tap[axis] * window.dilation[axis] + offset[:, number, axis]
            places.append((2 * place + 1) / size - 1)
        grid = torch.stack(places[::-1], -1)
        sample = F.grid_sample(x.view(parts, -1, rows, columns), grid, padding_mode="zeros", align_corners=False)
        samples.append(sample if mask is None else sample * mask.view(parts, shapes.taps, 1, *outputs)[:, number])
    read = torch.stack(samples, 2).view(n, shapes.conv.groups, -1, outputs[0] * outputs[1])
    y = w.reshape(1, shapes.conv.groups, -1, read.shape[2]) @ read
    return y.view(n, len(w), *outputs) + (0 if b is None else b.view(-1, 1, 1))


@pytest.mark.parametrize("seed", range(60))
def test_deform_conv2d(seed):
    rng = np.random.default_rng(seed)
    case = random_deform_case(rng)
    shapes = case.geometry
    x, w, b, dy = (rng.standard_normal(shape) for shape in (case.x, case.w, case.w[:1], shapes.conv.y_shape))
    offset, mask = 3 * rng.standard_normal(shapes.offset_shape), rng.standard_normal(shapes.mask_shape)
    b, mask = b if case.bias else None, mask if case.masked else None
    arrays, options = (x, offset, w, b), case.options | {"mask": mask}
    expected, gradients = evaluate(lambda *arrays: sampled_conv2d(*arrays, case), dy, (*arrays, mask))
    found = ops.deform_conv2d(*arrays, **options), *ops.deform_conv2d_backward(dy, *arrays, **options)
    for actual, value in zip(found, (expected, *gradients), strict=True):
        assert (actual is None) == (value is None)
        if actual is not None:
            np.testing.assert_allclose(actual, value, rtol=0, atol=1e-11 * np.abs(value).max(initial=1))


def random_pool(rng):
    """Draw a shape and the options of a pooling that PyTorch knows: equal padding at both ends."""
    kernel, stride, dilation = (tuple(int(n) for n in rng.integers(1, high, 2)) for high in (6, 5, 4))
    extent = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = [int(rng.integers(max(e, 2 * d), e + 20)) for e, d in zip(extent, dilation, strict=True)]
    padding = tuple(int(rng.integers(0, k // 2 + 1)) for k in kernel)
    options = {"kernel_size": kernel, "stride": stride, "padding": padding, "ceil_mode": bool(rng.integers(2))}
    return (int(rng.integers(0, 4)), int(rng.integers(1, 20)), *size), options, dilation


@pytest.mark.parametrize("seed", range(50))
def test_max_pool2d(seed):
    rng = np.random.default_rng(seed)
    shape, options, dilation = random_pool(rng)
    options["dilation"] = dilation
    x = rng.standard_normal(shape)
    check("max_pool2d", lambda x: F.max_pool2d(x, **options), (x,), rng, **options)
    _, indices = ops.max_pool2d(x, **options, return_indices=True)
    np.testing.assert_array_equal(indices, F.max_pool2d(torch.tensor(x), **options, return_indices=True)[1].numpy())


@pytest.mark.parametrize("seed", range(50))
def test_avg_pool2d(seed):
    rng = np.random.default_rng(seed)
    shape, options, _ = random_pool(rng)
    options["count_include_pad"] = bool(rng.integers(2))
    options["divisor_override"] = [None, None, 1, 7][seed % 4]
    check("avg_pool2d", lambda x: F.avg_pool2d(x, **options), (rng.standard_normal(shape),), rng, **options)


@pytest.mark.parametrize("case", [case for case in POOL_CASES if case.network], ids=lambda case: case.id)
def test_max_pool2d_in_networks(case, rng):
    x = rng.standard_normal((2, *case.x[1:]))
    check("max_pool2d", lambda x: F.max_pool2d(x, **case.options), (x,), rng, **case.options)


@pytest.mark.parametrize("shape", [(1, 1), (5, 33), (128, 400), (2, 3, 17), (64,), (0, 7)], ids=str)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no_bias"])
def test_linear(shape, bias, rng):
    w = rng.standard_normal((120, shape[-1]))
    check("linear", F.linear, (rng.standard_normal(shape), w, rng.standard_normal(120) if bias else None), rng)


@pytest.mark.parametrize("name", ["relu", "relu6", "sigmoid", "tanh"])
def test_activations(name, rng):
    x = np.concatenate([rng.standard_normal(1000) * scale for scale in (1e-8, 1e-3, 1, 10, 1000)])
    function = getattr(F, name)
    check(name, function, (x,), rng)
    special = np.array([0.0, -0.0, 6.0, np.inf, -np.inf, np.nan])
    np.testing.assert_array_equal(getattr(ops, name)(special), function(torch.tensor(special)).numpy())


@pytest.mark.parametrize("dim", [0, 1, 2, -1])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax(name, dim, rng):
    for scale in (1, 30, 1000):
        x = rng.standard_normal((5, 17, 10)) * scale
        check(name, lambda x: getattr(F, name)(x, dim=dim), (x,), rng, dim=dim)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("shape", [(128, 10), (1, 1), (3, 5, 4), (2, 19, 6, 7)], ids=str)
def test_cross_entropy(shape, reduction, rng):
    target = rng.integers(0, shape[1], (shape[0], *shape[2:]))
    x = rng.standard_normal(shape) * 5
    f = F.cross_entropy
    check("cross_entropy", lambda x, t: f(x, t, reduction=reduction), (x, target), rng, reduction=reduction)


@pytest.mark.parametrize(("start_dim", "end_dim"), [(1, -1), (0, -1), (0, 1), (1, 2), (-2, -1), (2, 2)])
def test_flatten(start_dim, end_dim, rng):
    x = rng.standard_normal((2, 3, 4, 5))
    f = torch.flatten
    check("flatten", lambda x: f(x, start_dim, end_dim), (x,), rng, start_dim=start_dim, end_dim=end_dim)
