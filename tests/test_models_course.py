"""Perceptrons, the network that scans, and the small networks for Fashion-MNIST and CIFAR-10."""

import numpy as np
import pytest
from blank import blank
from learning import losses_of_steps

import fastconv
from fastconv.data import hello_signals
from fastconv.data.hello import HELLO, WORD, word
from fastconv.layers import Arena, Flatten, Sequential
from fastconv.models import (
    MODELS,
    cifar_strided,
    correlation_filter,
    fashion_fully_convolutional,
    fashion_max_pool,
    fashion_same,
    fashion_strided,
    multilayer_perceptron,
    perceptron,
    scanner,
)
from fastconv.models.fashion import Chain, halving
from fastconv.optim import AdamW
from fastconv.testing import gradcheck_layer
from fastconv.train import evaluate, gradients

SMALL = {
    "perceptron": perceptron,
    "correlation_filter": correlation_filter,
    "multilayer_perceptron": multilayer_perceptron,
    "fashion_max_pool": lambda *args: fashion_max_pool(*args, width=1 / 8),
    "fashion_strided": lambda *args: fashion_strided(*args, width=1 / 8),
    "fashion_same": lambda *args: fashion_same(*args, width=1 / 8),
    "fully_convolutional": lambda *args: Sequential(fashion_fully_convolutional(*args, width=1 / 8), Flatten()),
}
UNPADDED = (SMALL["fashion_max_pool"], SMALL["fashion_strided"])


@pytest.mark.parametrize("build", SMALL.values(), ids=SMALL)
def test_twenty_steps_lower_the_loss(build):
    losses = losses_of_steps(build(10, 1), size=28, lr=0.02 if build in UNPADDED else 0.01, count=16)
    assert losses[-1] < 0.9 * losses[0]


def test_twenty_steps_of_the_network_for_cifar():
    losses = losses_of_steps(cifar_strided(10, 1, width=1 / 8), size=32, lr=0.02, count=16)
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("name", [*(name for name in MODELS if "fashion" in name), "cifar_strided"])
def test_sizes_of_the_maps(name):
    """As Keras lists them."""
    heights = {
        "fashion_7x7": [22, 16, 10, 4],
        "fashion_max_pool": [26, 24, 12, 10, 8, 4, 2],
        "fashion_strided": [26, 12, 10, 4, 2],
        "fashion_same": [28, 14, 7],
        "fashion_fully_convolutional": [28, 14, 7, 1],
        "cifar_strided": [32, 16, 8, 4],
    }
    model = blank(MODELS[name])
    shapes = [shape for *_, shape in model.flow((1, *model.input_shape))]
    assert list(dict.fromkeys(shape[2] for shape in shapes if len(shape) == 4)) == heights[name]


TINY = {
    "perceptron": (lambda: perceptron(3, 2, size=3), (2, 2, 3, 3)),
    "correlation_filter": (lambda: correlation_filter(3, 2, size=3), (2, 2, 4, 5)),
    "multilayer_perceptron": (lambda: multilayer_perceptron(3, 1, size=3, hidden=(4,)), (2, 1, 3, 3)),
    "scanner": (lambda: scanner(2, 2, window=5, hidden=3), (3, 2, 12)),
    "halving": (lambda: Sequential(*halving(Chain(1, 1 / 32, 0), (32, 64, 96))), (2, 1, 6, 5)),
}


@pytest.mark.parametrize(("build", "shape"), TINY.values(), ids=TINY)
def test_gradients_are_slopes(build, shape, rng):
    gradcheck_layer(build(), rng.standard_normal(shape), rng)


# ---- a dense layer that is a convolution


def test_fully_convolutional():
    model = blank(fashion_fully_convolutional)
    assert model.parameter_count == 6_816_010
    assert model.output_shape((32, 1, 28, 28)) == (32, 10, 1, 1)
    assert model.output_shape((32, 1, 64, 64)) == (32, 10, 10, 10)


def test_scores_of_a_larger_image(rng):
    """Away from the borders, where padding is: what it says of a window is what it says of that window alone."""
    model = fashion_fully_convolutional(width=1 / 16)
    x = rng.standard_normal((32, 1, 64, 64), np.float32)
    scores = model(x)
    assert scores.shape == (32, 10, 10, 10)
    moved = model(x[:, :, 8:, 4:])  # two strides of 4 down, one to the right
    np.testing.assert_allclose(moved[:, :, 1:, 1:], scores[:, :, 3:, 2:], rtol=0, atol=1e-4 * abs(scores).max())


# ---- templates


def test_a_correlation_filter_is_a_perceptron_that_moves(rng):
    still, moving = perceptron(5, 2, size=8), correlation_filter(5, 2, size=8)
    state = still.state_dict()
    w, b = state["1.weight"].reshape(5, 2, 8, 8), state["1.bias"]
    moving.load_state_dict({"0.weight": w, "0.bias": b})
    x = rng.standard_normal((4, 2, 8, 8), np.float32)
    np.testing.assert_allclose(moving(x), still(x), rtol=1e-5, atol=1e-5)
    larger = np.zeros((4, 2, 20, 30), np.float32)
    larger[:, :, 7:15, 11:19] = x
    windows = [still(larger[:, :, i : i + 8, j : j + 8]) for i in range(13) for j in range(23)]
    np.testing.assert_allclose(moving(larger), np.max(windows, 0), rtol=1e-5, atol=1e-5)


def test_a_template_fires_where_the_angle_is_small(rng):
    """The word as weights of a perceptron: it finds the word among others at any place, up to some noise."""
    signals, labels = hello_signals(200, noise=0.05)
    template = word(HELLO).astype(np.float32)
    template /= np.linalg.norm(template)
    windows = np.lib.stride_tricks.sliding_window_view(signals[:, 0], WORD, axis=1)
    cosines = windows @ template / np.linalg.norm(windows, axis=-1)
    np.testing.assert_array_equal(cosines.max(1) > 0.9, labels)


# ---- scanning


def test_hello_signals():
    signals, labels = hello_signals(101, 200, seed=1)
    again, other = (hello_signals(101, 200, seed=seed)[0] for seed in (1, 2))
    assert signals.shape == (101, 1, 200) and signals.dtype == np.float32
    assert labels.dtype == np.int64 and labels.sum() == 50
    np.testing.assert_array_equal(signals, again)
    assert (signals != other).any()
    for places, length in [((10, 9), 200), ((-1, 5), 200), ((0, 137), 200), (None, 191)]:
        with pytest.raises(ValueError, match="hello_signals: a word of 64 samples must start between 0 and"):
            hello_signals(4, length, places=places)


def test_words_stand_where_they_are_asked_to():
    signals, labels = hello_signals(40, places=(100, 100), noise=0)
    spoken, template = signals[:, 0, 100 : 100 + WORD], word(HELLO)
    cosines = spoken @ template / np.linalg.norm(spoken, axis=1) / np.linalg.norm(template)
    np.testing.assert_array_equal(cosines > 0.999, labels)


def train(model, seed, count=2048, steps=200):
    """Train on words in the first half of the signals; return the accuracy there and in the second half."""
    (x, labels), (near, near_labels), (far, far_labels) = (
        hello_signals(size, places=places, seed=seed + number)
        for number, (size, places) in enumerate([(count, (0, 80)), (500, (0, 80)), (500, (130, 192))])
    )
    arena = Arena(model)
    optimizer, rng = AdamW(arena, lr=1e-2), np.random.default_rng(seed)
    for _ in range(steps):
        batch = rng.integers(count, size=64)
        gradients(model, arena, x[batch], labels[batch])
        optimizer.step()
    return evaluate(model, near, near_labels)[1], evaluate(model, far, far_labels)[1]


def test_what_scans_finds_words_where_it_never_met_any():
    model = scanner()
    assert model.parameter_count == 1_346 and model.output_shape((3, 1, 256)) == (3, 2)
    near, far = train(model, seed=0)
    assert min(near, far) >= 0.99


def test_what_sees_all_at_once_does_not():
    """A perceptron of the whole signal, and layers of them."""
    flat = Sequential(Flatten(), *multilayer_perceptron(2, 1, size=16, hidden=(32,)))
    assert train(flat, seed=0)[1] < 0.7


def test_moving_a_word_moves_the_maximum_and_nothing_else(rng):
    model = scanner()
    x = np.zeros((2, 1, 300), np.float32)
    x[0, 0, 50:114] = x[1, 0, 200:264] = word(HELLO)
    scores = model(x)
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-6)
    assert fastconv.cross_entropy(scores, np.array([0, 1])) > 0
