"""Losses against the specification and PyTorch, with weights, smoothing, ignored labels and all reductions."""

from itertools import product

import numpy as np
import pytest

from fastconv import ops, reference
from fastconv.testing import gradcheck

REDUCTIONS = ("mean", "sum", "none")
DTYPES = [np.float32, np.float64]
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])
every_reduction = pytest.mark.parametrize("reduction", REDUCTIONS)
# Rows, rows of many registers, planes of less and of more than one block.
SHAPES = [(7, 5), (3, 150), (2, 5, 3, 4), (2, 21, 33, 41), (1, 3, 7)]


def labels(rng, shape, ignored=None):
    target = rng.integers(0, shape[1], (shape[0], *shape[2:]))
    if ignored is not None:
        target[rng.random(target.shape) < 0.3] = ignored
    return target


def check(name, x, constants, options, rng, torch_name=None):
    """Compare a loss and its gradient with the specification; in float64 also with PyTorch, if it is there."""
    few = 64 * np.finfo(x.dtype).eps
    loss = getattr(ops, name)(x, *constants, **options)
    dy = rng.standard_normal(loss.shape).astype(x.dtype) if np.ndim(loss) else x.dtype.type(1.5)
    dx = getattr(ops, f"{name}_backward")(dy, x, *constants, **options)
    assert loss.dtype == dx.dtype == x.dtype and dx.shape == x.shape
    exact = getattr(reference, name)(x, *constants, **options)
    np.testing.assert_allclose(loss, exact, rtol=few, atol=few)
    exact_dx = getattr(reference, f"{name}_backward")(dy, x, *constants, **options)
    np.testing.assert_allclose(dx, exact_dx, rtol=few, atol=few)
    if torch_name and x.dtype == np.float64:
        torch = pytest.importorskip("torch")
        t = torch.tensor(x, requires_grad=True)
        given = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
        theirs = getattr(torch.nn.functional, torch_name)(t, *map(torch.tensor, constants), **given)
        theirs.backward(torch.tensor(dy))
        np.testing.assert_allclose(loss, theirs.detach().numpy(), rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(dx, t.grad.numpy(), rtol=1e-11, atol=1e-13)


@every_dtype
@every_reduction
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_cross_entropy_of_labels(shape, reduction, dtype, rng):
    x, weight = (rng.standard_normal(shape) * 4).astype(dtype), rng.uniform(0, 2, shape[1]).astype(dtype)
    for smoothing, weighted, ignored in product((0.0, 0.1, 1.0), (False, True), (None, -100, 2)):
        if len(shape) > 3 and dtype == np.float32 and smoothing == 1:
            continue
        options = {"reduction": reduction, "label_smoothing": smoothing, "weight": weight if weighted else None}
        if ignored is not None:
            options["ignore_index"] = ignored
        check("cross_entropy", x, (labels(rng, shape, ignored),), options, rng, "cross_entropy")


@every_dtype
@every_reduction
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_cross_entropy_of_probabilities(shape, reduction, dtype, rng):
    x, weight = rng.standard_normal(shape).astype(dtype), rng.uniform(0, 2, shape[1]).astype(dtype)
    target = rng.random(shape).astype(dtype)
    for smoothing, weighted in product((0.0, 0.1), (None, weight)):
        options = {"reduction": reduction, "label_smoothing": smoothing, "weight": weighted}
        check("cross_entropy", x, (target,), options, rng, "cross_entropy")


@pytest.mark.parametrize("shape", [(4, 5), (2, 5, 3)], ids=str)
def test_all_labels_ignored(shape, rng):
    x, target = rng.standard_normal(shape), np.full((shape[0], *shape[2:]), -100)
    assert np.isnan(ops.cross_entropy(x, target))
    assert ops.cross_entropy(x, target, reduction="sum") == 0
    assert not ops.cross_entropy(x, target, reduction="none").any()
    assert not ops.cross_entropy_backward(1.0, x, target, reduction="sum").any()
    assert not ops.cross_entropy_backward(1.0, x, target, label_smoothing=0.3).any()


def test_masked_classes_do_not_spoil_a_loss(rng):
    """A logit of -inf excludes a class: 0 * inf must not come up where another label is wanted."""
    for shape in ((3, 4), (3, 4, 5)):
        x = rng.standard_normal(shape)
        x[:, 1] = -np.inf
        target = np.full((3, *shape[2:]), 2)
        assert np.isfinite(ops.cross_entropy(x, target))
        assert not ops.cross_entropy_backward(1.0, x, target)[:, 1].any()


def test_large_logits_cost_no_digits():
    x = np.array([[1e4, 1e4 + 1, 1e4 - 2]], np.float32)
    exact = reference.cross_entropy(x - np.float32(1e4), np.array([0]))
    np.testing.assert_allclose(ops.cross_entropy(x, np.array([0])), exact, rtol=1e-6)
    x = np.array([[1e4, 1e4 + 1], [0, 0]], np.float32).reshape(1, 2, 2).transpose(0, 2, 1)
    assert np.isfinite(ops.cross_entropy(x, np.zeros((1, 2), int)))


@pytest.mark.parametrize("shape", [(4, 5), (2, 5, 3)], ids=str)
@every_reduction
def test_gradients_are_slopes(shape, reduction, rng):
    weight, target = rng.uniform(0.5, 2, shape[1]), labels(rng, shape, -1)
    options = {"weight": weight, "ignore_index": -1, "reduction": reduction, "label_smoothing": 0.2}
    arrays = rng.standard_normal(shape), target
    gradcheck(ops.cross_entropy, ops.cross_entropy_backward, arrays, options, rng)
    wanted = rng.random(shape)
    for name in ("mse_loss", "binary_cross_entropy_with_logits", "dice_loss"):
        f, f_backward = getattr(ops, name), getattr(ops, f"{name}_backward")

        def slope(dy, x, f_backward=f_backward):
            return f_backward(dy, x, wanted, reduction=reduction)

        gradcheck(lambda x, f=f: f(x, wanted, reduction=reduction), slope, (rng.random(shape),), rng=rng)


@every_dtype
@every_reduction
@pytest.mark.parametrize("shape", [(), (1,), (3, 5, 7), (2, 9001)], ids=str)
def test_losses_of_elements(shape, reduction, dtype, rng):
    x, target = (np.asarray(rng.standard_normal(shape) * scale, dtype) for scale in (6, 1))
    target = np.asarray(np.abs(target) / 4)
    options = {"reduction": reduction}
    check("mse_loss", x, (target,), options, rng, "mse_loss")
    name = "binary_cross_entropy_with_logits"
    check(name, x, (target,), options, rng, name)
    weights = np.asarray(rng.random(shape[-1:]), dtype), np.asarray(rng.random(shape) * 3, dtype)
    check(name, x, (target,), options | {"weight": weights[0], "pos_weight": weights[1]}, rng, name)


@every_dtype
@every_reduction
@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("shape", [(3, 4, 5, 7), (2, 1, 300), (0, 2, 5), (3, 2)], ids=str)
def test_dice(shape, squared, reduction, dtype, rng):
    x, target = rng.random(shape).astype(dtype), (rng.random(shape) < 0.5).astype(dtype)
    check("dice_loss", x, (target,), {"reduction": reduction, "squared": squared, "smooth": 0.5}, rng)


def test_dice_of_equal_masks_is_no_loss():
    mask = (np.arange(60).reshape(1, 2, 30) % 3 == 0).astype(np.float32)
    assert ops.dice_loss(mask, mask) == 0
    assert ops.dice_loss(np.zeros_like(mask), np.zeros_like(mask)) == 0
    np.testing.assert_allclose(ops.dice_loss(mask, 1 - mask, smooth=0), 1)


def test_extreme_logits_do_not_overflow():
    x = np.array([1e4, -1e4, 200, -200, np.inf, -np.inf], np.float32)
    for t in (0, 1):
        target = np.full_like(x, t)
        losses = ops.binary_cross_entropy_with_logits(x[:4], target[:4], reduction="none")
        np.testing.assert_allclose(losses, np.maximum(x[:4] if t == 0 else -x[:4], 0))


@pytest.mark.parametrize("size", [5, 20_000, 70_001])
def test_threads_do_not_show(size, rng, set_num_threads):
    x, target = rng.random((2, size)).astype(np.float32)
    planes = x[: size // 5 * 5].reshape(1, 5, -1)
    results = []
    for threads in (1, 2, 3):
        set_num_threads(threads)
        results.append(
            [ops.mse_loss(x, target), ops.binary_cross_entropy_with_logits(x, target),
             ops.cross_entropy(planes, np.zeros((1, size // 5), int)), ops.dice_loss(planes, planes**2)]
        )  # fmt: skip
    assert results[0] == results[1] == results[2]


X, Y = np.zeros((4, 3), np.float32), np.zeros(4, int)


@pytest.mark.parametrize(
    "name, arrays, options, error, message",
    [
        ("cross_entropy", (X, Y), {"weight": np.ones(2, np.float32)}, ValueError, r"weight must have shape \(3,\)"),
        ("cross_entropy", (X, Y), {"weight": np.ones(3)}, TypeError, "one dtype"),
        ("cross_entropy", (X, Y), {"label_smoothing": 1.5}, ValueError, "label_smoothing must be between 0 and 1"),
        ("cross_entropy", (X, Y), {"label_smoothing": "a"}, TypeError, "label_smoothing must be a number"),
        ("cross_entropy", (X, Y), {"ignore_index": 1.0}, TypeError, "ignore_index must be an int"),
        ("cross_entropy", (X, Y - 100), {"ignore_index": -99}, ValueError, "or ignore_index -99, got -100"),
        ("cross_entropy", (X, X.astype(float)), {}, TypeError, "one dtype"),
        ("mse_loss", (X, X[:1]), {}, ValueError, r"target must have shape \(4, 3\)"),
        ("mse_loss", (X, None), {}, TypeError, "target must be a numpy.ndarray, got None"),
        ("mse_loss", (X, X), {"reduction": "average"}, ValueError, "reduction must be 'mean', 'sum' or 'none'"),
        ("binary_cross_entropy_with_logits", (X, X), {"pos_weight": X[:2]}, ValueError, "pos_weight .* broadcast"),
        ("dice_loss", (X[0], X[0]), {}, ValueError, r"x must have shape \(n, c, ...\)"),
        ("dice_loss", (X, X), {"smooth": -1}, ValueError, "smooth must be finite and >= 0"),
        ("dice_loss", (X, X), {"squared": 1}, TypeError, "squared must be True or False"),
    ],
)  # fmt: skip
def test_bad_input(name, arrays, options, error, message):
    with pytest.raises(error, match=f"{name}: .*{message}"):
        getattr(ops, name)(*arrays, **options)
    with pytest.raises(error, match=f"{name}_backward: .*{message}"):
        getattr(ops, f"{name}_backward")(1.0, *arrays, **options)
