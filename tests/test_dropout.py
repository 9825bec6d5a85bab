"""Dropout: which elements stay, and that a run can be repeated and taken up again."""

import numpy as np
import pytest

from fastconv import ops, reference
from fastconv.cpu import philox
from fastconv.layers import Dropout, Dropout1d, Dropout2d, Dropout3d, Linear, Sequential, StochasticDepth, summary_rows
from fastconv.reference.dropout import philox as plain_philox

X = np.random.default_rng(0).standard_normal((40, 500)).astype(np.float32)


def test_a_share_is_zero_and_the_mean_stays():
    ones = np.ones((200, 1000), np.float32)
    for p in (0.1, 0.5, 0.9):
        y, backward = Dropout(p, rng=0).forward(ones)
        assert set(np.unique(y)) == {np.float32(0), np.float32(1 / (1 - p))} and y.dtype == np.float32
        assert abs((y == 0).mean() - p) < 0.01
        np.testing.assert_array_equal(backward(ones), y)  # the same elements on the way back


def test_the_ends_of_the_range():
    x = np.array([1, np.inf, -2.0])
    none, every = Dropout(0).forward(x)[0], Dropout(1).forward(x)[0]
    np.testing.assert_array_equal(none, x)
    np.testing.assert_array_equal(every, [0, np.nan, 0])  # Inf * 0, as in PyTorch


def test_inference_is_the_identity():
    layer = Dropout(rng=0)
    assert layer(X) is X and not layer.buffers["passes"]
    assert layer.output_shape(X.shape) == X.shape and repr(Dropout(0.2)) == "Dropout(p=0.2)"


def test_each_pass_draws_anew_and_a_seed_repeats_it():
    layer, again, other = Dropout(rng=3), Dropout(rng=3), Dropout(rng=4)
    first, second = layer.forward(X)[0], layer.forward(X)[0]
    assert (first != second).any() and (first != other.forward(X)[0]).any()
    np.testing.assert_array_equal(again.forward(X)[0], first)
    np.testing.assert_array_equal(again.forward(X)[0], second)


def test_layers_of_one_model_draw_differently():
    rng = np.random.default_rng(0)
    layers = [Dropout(rng=rng) for _ in range(2)]
    assert (layers[0].forward(X)[0] != layers[1].forward(X)[0]).any()


def test_a_run_that_is_taken_up_again():
    def build():
        rng = np.random.default_rng(1)
        return Sequential(Linear(500, 30, rng=rng), Dropout(rng=rng))

    model, resumed = build(), build()
    model.forward(X)
    resumed.load_state_dict(model.state_dict())
    np.testing.assert_array_equal(resumed.forward(X)[0], model.forward(X)[0])
    assert summary_rows(model, X.shape)[1].parameters == 0


def test_two_passes_before_one_goes_back():
    layer = Dropout(rng=0)
    (y, backward), (later, _) = layer.forward(X), layer.forward(X)
    assert (y != later).any()
    np.testing.assert_array_equal(backward(X), y)


@pytest.mark.parametrize("p, error", [(-0.1, ValueError), (1.5, ValueError), (np.nan, ValueError), ("half", TypeError)])
def test_bad_shares(p, error):
    with pytest.raises(error, match="Dropout: p must be"):
        Dropout(p)


# ---- the ops -----------------------------------------------------------------------------------------------------

# From the test vectors of Random123, the authors' library: counter, key and words.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x5F6FB709, 0x0D893F64, 0x4F121F81, 0x4F730A48)),
    ((2**32 - 1,) * 4, (2**32 - 1,) * 2, (0x5207DDC2, 0x45165E59, 0x4D8EE751, 0x8C52F662)),
]


@pytest.mark.parametrize("counter, key, words", KNOWN)
def test_known_words(counter, key, words):
    assert plain_philox(counter, key) == words
    block, call, number = (low + (high << 32) for low, high in (counter[:2], counter[2:], key))
    assert tuple(int(word[0]) for word in philox.philox(np.array([block], np.uint64), call, number)) == words


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed, counter", [(0, 0), (1, 2**63), (2**64 - 1, 2**64 - 1), (0x123456789ABCDEF0, 5)])
def test_elements_follow_from_seed_and_counter(seed, counter, dtype):
    for size in (1, 3, 31, 130):
        x = np.arange(1, size + 1).astype(dtype)
        draw = {"seed": seed, "counter": counter}
        np.testing.assert_allclose(ops.dropout(x, 0.4, **draw), reference.dropout(x, 0.4, **draw), rtol=1e-6)
        np.testing.assert_array_equal(ops.dropout_backward(x, x, 0.4, **draw), ops.dropout(x, 0.4, **draw))


def test_threads_and_dtypes_do_not_show(set_num_threads):
    x = np.ones((3, 70_001), np.float32)
    masks = []
    for threads, dtype in ((1, np.float32), (2, np.float32), (3, np.float32), (2, np.float64)):
        set_num_threads(threads)
        masks.append(ops.dropout(x.astype(dtype), 0.3, seed=9) > 0)
    for mask in masks[1:]:
        np.testing.assert_array_equal(mask, masks[0])
    assert abs(masks[0].mean() - 0.7) < 0.005


def test_words_look_random():
    """Neighbouring elements, calls and seeds are not correlated: of n fair coins less than 5 deviations apart."""
    ones, n = np.ones(100_000, np.float32), 100_000
    first, call, seed = (ops.dropout(ones, seed=s, counter=c) > 0 for s, c in ((1, 0), (1, 1), (2, 0)))
    for other in (call, seed, np.roll(first, 1), np.roll(first, 4), np.roll(first, 32)):
        assert abs((first == other).mean() - 0.5) < 2.5 / np.sqrt(n)


CHANNELS = [
    ("dropout1d", Dropout1d, (5, 40, 9)),
    ("dropout2d", Dropout2d, (5, 40, 3, 7)),
    ("dropout3d", Dropout3d, (5, 40, 2, 3, 4)),
]


@pytest.mark.parametrize("name, layer, shape", CHANNELS, ids=[name for name, *_ in CHANNELS])
def test_whole_channels(name, layer, shape, rng):
    x = (rng.random(shape) + 1).astype(np.float32)
    f, f_backward, exact = getattr(ops, name), getattr(ops, f"{name}_backward"), getattr(reference, name)
    y = f(x, 0.4, seed=3, counter=8)
    np.testing.assert_allclose(y, exact(x, 0.4, seed=3, counter=8), rtol=1e-6)
    np.testing.assert_array_equal(f_backward(x, x, 0.4, seed=3, counter=8), y)
    kept = (y > 0).reshape(200, -1)
    assert (kept.all(axis=1) | ~kept.any(axis=1)).all() and 0.4 < kept.mean() < 0.8
    np.testing.assert_array_equal(f(x[0], 0.4, seed=3, counter=8), y[0])  # one sample draws what the first does
    model = layer(0.4, rng=0)
    result, backward = model.forward(x)
    np.testing.assert_array_equal(backward(x), result)
    assert model(x) is x and model.buffers["passes"] == 1


@pytest.mark.parametrize("p, training", [(0, True), (0.5, False)])
def test_nothing_is_dropped(p, training):
    y = ops.dropout(X, p, training, seed=1)
    np.testing.assert_array_equal(y, X)
    assert not np.shares_memory(y, X)


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"p": 1.1, "seed": 0}, ValueError, "p must be between 0 and 1"),
        ({"p": "1", "seed": 0}, TypeError, "p must be a number"),
        ({"seed": -1}, ValueError, "seed must be >= 0"),
        ({"seed": 2**64}, ValueError, "seed must be <="),
        ({"seed": 0, "counter": 1.0}, TypeError, "counter must be an int"),
        ({"seed": 0, "training": 1}, TypeError, "training must be True or False"),
    ],
)
def test_bad_options(options, error, message):
    for name, x in (("dropout", X), ("dropout1d", X)):
        with pytest.raises(error, match=f"{name}: {message}"):
            getattr(ops, name)(x, **options)
    with pytest.raises(ValueError, match="dropout2d: x must have 3 or 4 axes"):
        ops.dropout2d(X, seed=0)
    with pytest.raises(TypeError):
        ops.dropout(X)


def test_whole_samples_are_dropped():
    layer = StochasticDepth(0.25, rng=0)
    x = np.random.default_rng(1).standard_normal((400, 3, 2, 5))
    y, backward = layer.forward(x)
    stays = y.any(axis=(1, 2, 3))
    np.testing.assert_allclose(y[stays], x[stays] / 0.75, rtol=1e-15)
    assert abs(stays.mean() - 0.75) < 0.07 and not y[~stays].any()
    dy = np.asfortranarray(np.ones_like(x))
    np.testing.assert_allclose(backward(dy), stays[:, None, None, None] / 0.75 * dy, rtol=1e-15)
    assert layer(x) is not None and (layer(x) == x).all() and layer.forward(x[:0])[0].shape == (0, 3, 2, 5)
