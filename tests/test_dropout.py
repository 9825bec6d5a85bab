"""Dropout: which elements stay, and that a run can be repeated and taken up again."""

import numpy as np
import pytest

from fastconv.layers import Dropout, Linear, Sequential, summary_rows

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
