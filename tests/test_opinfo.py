"""The samples with which PyTorch tests its own operators: results, gradients, and inputs that must be refused.

Our functions have the names and the order of arguments of `torch.nn.functional`, so that a sample is a call of either.
Arrays come in several layouts in turn. What has no counterpart here is refused with an error that `REFUSED` lists.
"""

import inspect
import re
import sys
import types
import unittest
from functools import cache

import numpy as np
import pytest

from fastconv import ops

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:torch", "ignore:Using padding='same'")

SPATIAL = (
    *("conv", "conv_transpose", "max_pool", "avg_pool"),  # there are no samples of lp_pool
    *("adaptive_max_pool", "adaptive_avg_pool", "max_unpool"),
)
OTHERS = (
    *("linear", "interpolate", "pixel_shuffle", "pixel_unshuffle", "unfold"),
    *("batch_norm", "instance_norm", "layer_norm", "group_norm", "local_response_norm"),
    *("relu", "relu6", "leaky_relu", "elu", "silu", "gelu", "hardsigmoid", "hardswish"),
    *("cross_entropy", "mse_loss", "binary_cross_entropy_with_logits"),
)
THEIRS = {name: f"nn.functional.{name}" for name in (*(f"{op}{n}d" for op in SPATIAL for n in (1, 2, 3)), *OTHERS)}
THEIRS |= {name: name for name in ("sigmoid", "tanh", "softmax", "log_softmax", "flatten")}
VARIANTS = {"", "nearest", "linear", "bilinear", "trilinear", "grad"}

RENAMED = {"weight": "w", "bias": "b"}
MULTIPLY = {f"{op}{n}d" for op in ("conv", "conv_transpose") for n in (1, 2, 3)} | {"linear"}  # those with w and b
GRADIENTS = ("x", "w", "b", "running_mean", "running_var", "weight", "bias")  # in the order of an op that has them
LOSSES = {"cross_entropy", "mse_loss", "binary_cross_entropy_with_logits"}  # their weights and targets are constants
CHANGED = ("running_mean", "running_var")  # in place, by both
# Errors of gradients, where more is allowed: PyTorch multiplies doubles with 1/6 in single precision; and where all
# elements are the mean, what is left of products with 1 / sqrt(eps).
COARSE = {("hardsigmoid", "float64"): 1e-7, ("layer_norm", "float32"): 1e-3}
MOST_SAMPLES = 50  # of an operator and dtype: there are up to 1440

LAYOUTS = (
    np.ascontiguousarray,
    np.asfortranarray,
    lambda array: np.flip(np.flip(array).copy()),
    lambda array: np.repeat(array, 2, -1)[..., ::2],
    lambda array: array.astype(array.dtype.newbyteorder()),
)

# Our errors for what PyTorch accepts, and why.
REFUSED = {
    r"may be empty along its first axis": "axes other than the batch may not be empty",
    r"x must have shape \(n, c, ...\), empty at most in n": "axes other than the batch may not be empty",
    r"x must have at least one axis": "a number has no axis",
    r"must have \d entries, one per spatial axis, got [01]": "one entry, or none, does not stand for every axis",
    r"divisor_override must be >= 1": "a negative divisor has no meaning",
    r"momentum must be finite and >= 0": "a negative momentum has no meaning",
    r"eps must be finite and >= 0": "a negative variance has no root",
    r"unexpected keyword argument 'recompute_scale_factor'": "a scale is what it is; give a size for another one",
}
# PyTorch's errors for what is legal here, and why.
LEGAL = {
    r"padding='same' is not supported for strided": "it is, by TensorFlow's rule",
}


# ---- samples -----------------------------------------------------------------------------------------------------


@cache
def operators():
    """Tables of PyTorch's tests by operator."""
    # The module of the samples wants this one for a base class of tests, which nobody runs here.
    sys.modules.setdefault("expecttest", types.SimpleNamespace(TestCase=unittest.TestCase))
    from torch.testing._internal.common_methods_invocations import op_db

    table = {}
    for info in op_db:
        if info.variant_test_name in VARIANTS:
            table.setdefault(info.name, []).append(info)
    return table


def samples(name, dtype):
    """Yield an operator of PyTorch and a sample of it, at most some of many."""
    for info in operators()[THEIRS[name]]:
        drawn = list(info.sample_inputs("cpu", dtype, requires_grad=True))
        for sample in drawn[:: -(-len(drawn) // MOST_SAMPLES)]:
            yield info, sample


def arguments_of(name, sample):
    """Arguments of our function, by name; tensors as they are."""
    first, *others = inspect.signature(getattr(ops, name)).parameters
    arguments = {first: sample.input, **dict(zip(others, sample.args, strict=False))}
    for key, value in sample.kwargs.items():
        arguments[RENAMED.get(key, key) if name in MULTIPLY else key] = value
    if name == "flatten":
        arguments.setdefault("start_dim", 0)  # PyTorch's function and its layer differ
    for unused in ("recompute_scale_factor", "antialias"):
        if not arguments.get(unused, True):
            del arguments[unused]
    return arguments


def as_array(value, layout):
    if not isinstance(value, torch.Tensor):
        return tuple(value) if isinstance(value, torch.Size) else value
    array = value.detach().numpy().copy()
    return layout(array) if array.ndim else array  # most functions of NumPy change one without an axis


# ---- comparison --------------------------------------------------------------------------------------------------


def assert_close(actual, expected, what, limit=None):
    expected = expected.detach().numpy()
    assert np.asarray(actual).dtype == expected.dtype and np.shape(actual) == expected.shape, what
    scale = np.abs(expected[np.isfinite(expected)]).max(initial=1)
    limit = limit or {"float32": 2e-5, "float64": 1e-11}.get(expected.dtype.name, 0)
    np.testing.assert_allclose(actual, expected, rtol=limit, atol=limit * scale, err_msg=what)


def loses(indices):
    """Whether two elements go to one place: here the gradient of the one that loses is 0, in PyTorch it is not."""
    if indices is None:
        return False
    planes = indices.reshape(-1, indices[0, 0].size) if indices.ndim > 2 else indices
    return any(np.unique(plane).size < plane.size for plane in planes)


def check_gradients(name, arguments, tensors, y, theirs, rng):
    """Compare the gradients of all tensors that have one, for a random dy."""
    wanted = {key: t for key, t in tensors.items() if isinstance(t, torch.Tensor) and t.requires_grad}
    if not wanted or not theirs.requires_grad or loses(arguments.get("indices")):
        return
    dy = np.asarray(rng.standard_normal(np.shape(y)), np.asarray(y).dtype)
    gradients = torch.autograd.grad(theirs, list(wanted.values()), torch.tensor(dy), allow_unused=True)
    backward = getattr(ops, f"{name}_backward")
    known = inspect.signature(backward).parameters
    found = backward(dy, **{key: value for key, value in arguments.items() if key in known})
    found = found if isinstance(found, tuple) else (found,)
    named = dict(zip([key for key in known if key in GRADIENTS], found, strict=False))
    for key, expected in zip(wanted, gradients, strict=True):
        if expected is not None and (key == "x" or name not in LOSSES):
            assert_close(named[key], expected, f"{name}: gradient of {key}", COARSE.get((name, dy.dtype.name)))


def check(name, info, sample, layout, rng):
    """Compare one sample; return the message of a refusal."""
    tensors = arguments_of(name, sample)
    arguments = {key: as_array(value, layout if key not in CHANGED else np.copy) for key, value in tensors.items()}
    try:
        found = getattr(ops, name)(**arguments)
    except (TypeError, ValueError) as error:
        return str(error)
    theirs = info.op(sample.input, *sample.args, **sample.kwargs)
    found, theirs = (value if isinstance(value, tuple) else (value,) for value in (found, theirs))
    for actual, expected in zip(found, theirs, strict=True):
        assert_close(actual, expected, f"{name}: result")
    for key in CHANGED:
        if arguments.get(key) is not None:
            assert_close(arguments[key], tensors[key], f"{name}: {key}")
    check_gradients(name, arguments, tensors, found[0], theirs[0], rng)
    return None


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", THEIRS)
def test_samples(name, dtype, rng):
    compared = 0
    for number, (info, sample) in enumerate(samples(name, getattr(torch, dtype))):
        message = check(name, info, sample, LAYOUTS[number % len(LAYOUTS)], rng)
        assert message is None or any(re.search(known, message) for known in REFUSED), (message, sample)
        compared += message is None
    assert compared


@pytest.mark.parametrize("name", THEIRS)
def test_error_inputs(name):
    for info in operators()[THEIRS[name]]:
        if info.error_inputs_func is None:
            continue
        for wrong in info.error_inputs("cpu"):
            if any(re.search(known, wrong.error_regex) for known in LEGAL):
                continue
            arguments = arguments_of(name, wrong.sample_input)
            with pytest.raises((TypeError, ValueError)):
                getattr(ops, name)(**{key: as_array(value, np.copy) for key, value in arguments.items()})
                pytest.fail(f"accepted what PyTorch refuses: {wrong.error_regex}, {wrong.sample_input}")
