"""Pooling of any number of axes, unpooling and resampling against PyTorch in float64: results and gradients."""

import numpy as np
import pytest

from fastconv import ops
from fastconv.testing import CASES

torch = pytest.importorskip("torch")
F = torch.nn.functional

RANDOM = pytest.mark.parametrize("seed", range(40))


def check(name, f, x, *rest, **options):
    """Compare an op, and its gradient, with the function `f` of PyTorch."""
    y, tensor = getattr(ops, name)(x, *rest, **options), torch.tensor(x, requires_grad=True)
    expected = f(tensor)
    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-12, atol=1e-13)
    dy = np.random.default_rng(0).standard_normal(y.shape)
    expected.backward(torch.tensor(dy))
    dx = getattr(ops, f"{name}_backward")(dy, x, *rest, **options)
    np.testing.assert_allclose(dx, tensor.grad.numpy(), rtol=1e-11, atol=1e-12)


def draw_window(rng, ndim, dilated):
    """Draw a shape and the options of a pooling that PyTorch knows."""
    kernel, stride = (tuple(int(n) for n in rng.integers(1, 5, ndim)) for _ in range(2))
    dilation = tuple(int(n) for n in rng.integers(1, 3 if dilated else 2, ndim))
    extent = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = [int(rng.integers(max(e, 2 * d), e + (30, 12, 6)[ndim - 1])) for e, d in zip(extent, dilation, strict=True)]
    padding = tuple(int(rng.integers(0, k // 2 + 1)) for k in kernel)
    options = {"kernel_size": kernel, "stride": stride, "padding": padding, "ceil_mode": bool(rng.integers(2))}
    batch = () if rng.integers(4) == 0 else (int(rng.integers(0, 4)),)
    return (*batch, 3, *size), options, dilation


@RANDOM
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_max_pool(ndim, seed):
    rng = np.random.default_rng(seed)
    shape, options, dilation = draw_window(rng, ndim, True)
    x, options, name = rng.standard_normal(shape), options | {"dilation": dilation}, f"max_pool{ndim}d"
    f = getattr(F, name)
    check(name, lambda x: f(x, **options), x, **options)
    indices = getattr(ops, name)(x, **options, return_indices=True)[1]
    np.testing.assert_array_equal(indices, f(torch.tensor(x), **options, return_indices=True)[1].numpy())


@RANDOM
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_avg_pool(ndim, seed):
    rng = np.random.default_rng(seed)
    shape, options, _ = draw_window(rng, ndim, False)
    name = f"avg_pool{ndim}d"
    options["count_include_pad"] = bool(rng.integers(2))
    if ndim > 1:
        options["divisor_override"] = [None, 7][seed % 2]
    check(name, lambda x: getattr(F, name)(x, **options), rng.standard_normal(shape), **options)


@pytest.mark.parametrize("norm_type", [1, 2, 3, 2.5])
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_lp_pool(ndim, ceil_mode, norm_type, rng):
    x, name = rng.uniform(0.1, 2, (2, 3, *(11, 12, 7)[:ndim])), f"lp_pool{ndim}d"
    f = getattr(F, name)
    check(name, lambda x: f(x, norm_type, 3, 2, ceil_mode), x, norm_type, 3, 2, ceil_mode)


def test_lp_pool_of_zeros():
    x = np.zeros((1, 1, 4, 4))
    check("lp_pool2d", lambda x: F.lp_pool2d(x, 2, 2), x, 2, 2)


@RANDOM
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_adaptive_pools(ndim, seed):
    rng = np.random.default_rng(seed)
    size, outputs = (tuple(int(n) for n in rng.integers(1, (60, 24, 9)[ndim - 1], ndim)) for _ in range(2))
    x = rng.standard_normal((*([2] if seed % 3 else []), 3, *size))
    for kind in ("max", "avg"):
        name = f"adaptive_{kind}_pool{ndim}d"
        check(name, lambda x, name=name: getattr(F, name)(x, outputs), x, outputs)
    name = f"adaptive_max_pool{ndim}d"
    indices = getattr(ops, name)(x, outputs, return_indices=True)[1]
    np.testing.assert_array_equal(indices, getattr(F, name)(torch.tensor(x), outputs, return_indices=True)[1].numpy())


@RANDOM
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_interpolate(ndim, seed):
    rng = np.random.default_rng(seed)
    size, outputs = (tuple(int(n) for n in rng.integers(1, (200, 40, 9)[ndim - 1], ndim)) for _ in range(2))
    mode = "nearest" if seed % 3 == 0 else ("linear", "bilinear", "trilinear")[ndim - 1]
    options = {"mode": mode, "align_corners": None if mode == "nearest" else bool(rng.integers(2))}
    factors = tuple(float(f) for f in rng.uniform(1 / min(size), 3, ndim))
    # With factors of three axes, PyTorch 2.13's gradient of 'nearest' is not the derivative: its own gradcheck fails.
    by_size = seed % 2 or (mode, ndim) == ("nearest", 3)
    options |= {"size": outputs} if by_size else {"scale_factor": factors}
    f = F.interpolate
    check("interpolate", lambda x: f(x, **options), rng.standard_normal((2, 3, *size)), **options)


@RANDOM
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_max_unpool(ndim, seed):
    rng = np.random.default_rng(seed)
    size = tuple(int(n) for n in rng.integers(2, (40, 16, 8)[ndim - 1], ndim))
    kernel = tuple(int(rng.integers(1, min(3, n) + 1)) for n in size)
    pooled, indices = getattr(ops, f"max_pool{ndim}d")(rng.standard_normal((2, 3, *size)), kernel, return_indices=True)
    name, i = f"max_unpool{ndim}d", torch.tensor(indices)
    f = getattr(F, name)
    check(name, lambda x: f(x, i, kernel, output_size=size), pooled, indices, kernel, output_size=size)


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_pixel_shuffle(factor, rng):
    x = rng.standard_normal((2, 3 * factor**2, 5, 19))
    check("pixel_shuffle", lambda x: F.pixel_shuffle(x, factor), x, factor)
    x = rng.standard_normal((2, 3, 5 * factor, 19 * factor))
    check("pixel_unshuffle", lambda x: F.pixel_unshuffle(x, factor), x, factor)


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CASES["resample"] if case.network], ids=lambda case: case.id)
def test_resampling_in_networks(case, rng):
    x = rng.standard_normal((1, *case.x[1:]))
    if case.op == "space_to_depth":  # the channels are what varies fastest
        factor = case.options["block_size"]
        check(case.op, lambda x: in_order(F.pixel_unshuffle(x, factor), factor), x, factor)
    else:
        check(case.op, lambda x: getattr(F, case.op)(x, **case.options), x, **case.options)


def in_order(y, factor):
    n, channels, h, w = y.shape
    return y.reshape(n, -1, factor**2, h, w).transpose(1, 2).reshape(n, channels, h, w)
