"""Windows as columns, and columns added up: against the specification, PyTorch, and convolution."""

import numpy as np
import pytest

from fastconv import layers, ops, reference
from fastconv.testing import exact_integers

CASES = {
    "same": ((2, 3, 9, 8), {"kernel_size": 3, "padding": 1}),
    "image": ((3, 9, 8), {"kernel_size": (2, 5)}),
    "strided": ((2, 3, 11, 40), {"kernel_size": 3, "stride": (2, 3), "padding": (0, 2)}),
    "dilated": ((1, 2, 13, 37), {"kernel_size": (3, 2), "dilation": (2, 5), "padding": (3, 4)}),
    "gaps": ((2, 2, 12, 12), {"kernel_size": 2, "stride": 5}),
    "patches": ((1, 3, 32, 32), {"kernel_size": 16, "stride": 16}),
    "all_padding": ((1, 1, 2, 2), {"kernel_size": 2, "padding": 5}),
    "beyond": ((1, 2, 5, 3), {"kernel_size": 3, "stride": 4, "padding": (2, 1)}),
    "empty": ((0, 3, 9, 8), {"kernel_size": 3}),
}
every_case = pytest.mark.parametrize("shape, options", CASES.values(), ids=CASES)
every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])


@every_dtype
@every_case
def test_the_specification(shape, options, dtype, rng):
    x = exact_integers(rng, shape, dtype)
    y = ops.unfold(x, **options)
    np.testing.assert_array_equal(y, reference.unfold(x, **options))
    dy = exact_integers(rng, y.shape, dtype)
    dx = ops.unfold_backward(dy, x, **options)
    np.testing.assert_array_equal(dx, reference.unfold_backward(dy, x, **options))
    np.testing.assert_array_equal(ops.fold(dy, shape[-2:], **options), dx)
    np.testing.assert_array_equal(ops.fold_backward(x, dy, shape[-2:], **options), y)
    assert (y * dy).sum() == (x * dx).sum()  # each is the other's transpose
    assert y.dtype == dx.dtype == dtype


@every_case
def test_pytorch_agrees(shape, options, rng):
    torch = pytest.importorskip("torch")
    if not shape[0]:
        pytest.skip("PyTorch takes no empty batch")
    x = rng.standard_normal(shape)
    y = torch.nn.functional.unfold(torch.tensor(x), **options)
    np.testing.assert_array_equal(ops.unfold(x, **options), y.numpy())
    folded = torch.nn.functional.fold(y, shape[-2:], **options)
    np.testing.assert_allclose(ops.fold(y.numpy(), shape[-2:], **options), folded.numpy(), rtol=1e-14)


@pytest.mark.parametrize("seed", range(40))
def test_random_geometries(seed):
    rng = np.random.default_rng(seed)
    kernel, stride, dilation, padding = (tuple(map(int, rng.integers(low, 5, 2))) for low in (1, 1, 1, 0))
    size = [
        max(1, d * (k - 1) + 1 - 2 * p) + int(rng.integers(0, 20))
        for k, d, p in zip(kernel, dilation, padding, strict=True)
    ]
    x = exact_integers(rng, (2, 2, *size))
    options = {"kernel_size": kernel, "stride": stride, "dilation": dilation, "padding": padding}
    y = ops.unfold(x, **options)
    np.testing.assert_array_equal(y, reference.unfold(x, **options))
    np.testing.assert_array_equal(ops.fold(y, tuple(size), **options), reference.fold(y, tuple(size), **options))


def test_a_convolution_is_a_product_with_columns(rng):
    x, w = exact_integers(rng, (2, 3, 10, 9)), exact_integers(rng, (4, 3, 3, 2))
    columns = ops.unfold(x, (3, 2), padding=1, stride=2)
    y = ops.conv2d(x, w, padding=1, stride=2)
    np.testing.assert_array_equal((w.reshape(4, -1) @ columns).reshape(y.shape), y)


def test_infinity_in_padding_does_not_matter(rng):
    x = np.full((1, 1, 3, 3), np.inf, np.float32)
    y = ops.unfold(x, 3, padding=1)
    assert set(np.unique(y)) == {0, np.inf}


def test_layers(rng):
    x = rng.standard_normal((2, 3, 8, 8)).astype(np.float32)
    unfold, fold = layers.Unfold(3, padding=1, stride=2), layers.Fold(8, 3, padding=1, stride=2)
    y, backward = unfold.forward(x)
    image, fold_backward = fold.forward(y)
    assert unfold.output_shape(x.shape) == y.shape and fold.output_shape(y.shape) == image.shape == x.shape
    np.testing.assert_array_equal(backward(y), image)
    np.testing.assert_array_equal(fold_backward(x), y)


X = np.zeros((2, 3, 8, 8), np.float32)


@pytest.mark.parametrize(
    "name, arguments, error, message",
    [
        ("unfold", (X[0, 0], 3), ValueError, r"x must have shape \(\[n,\] c, h, w\)"),
        ("unfold", (X, 9), ValueError, "kernel_size"),
        ("unfold", (X, 3, 0), ValueError, "dilation must be >= 1"),
        ("unfold", (X, 3, 1, -1), ValueError, "padding must be >= 0"),
        ("unfold", (X, 2.0), TypeError, "kernel_size"),
        ("fold", (X[0, 0], 3, 2), ValueError, r"x must have shape \(\[n,\] c \* 4, 4\)"),
        ("fold", (X[0], (8, 8), 3), ValueError, r"c \* 9, 36\) for 9 taps at \(6, 6\) positions, got \(3, 8, 8\)"),
        ("fold", (X[0], 0, 3), ValueError, "output_size must be >= 1"),
    ],
)
def test_bad_input(name, arguments, error, message):
    with pytest.raises(error, match=f"{name}: .*{message}"):
        getattr(ops, name)(*arguments)
    with pytest.raises(ValueError, match=r"unfold_backward: dy must have shape \(2, 27, 36\), got"):
        ops.unfold_backward(X, X, 3)
