"""Training: what it learns, that it repeats, when it stops, and the files that it leaves."""

import csv
import json
import os
from dataclasses import astuple, replace

import numpy as np
import pytest

from fastconv.data import digits, training_batches
from fastconv.interop import safetensors
from fastconv.models import lenet
from fastconv.schedule import one_cycle
from fastconv.train import (
    OPTIMIZERS,
    Card,
    Epoch,
    NonFiniteLossError,
    Report,
    evaluate,
    fit,
    load_model,
    make_directory,
    save_model,
    steps_per_epoch,
)


@pytest.fixture(scope="module")
def data():
    """A third of the digits."""
    whole = digits()
    return replace(whole, train_images=whole.train_images[:480], train_labels=whole.train_labels[:480])


@pytest.fixture
def card(data):
    return Card.make("lenet", data)


def model_bytes(model, card, path):
    save_model(model, card, path)
    return path.read_bytes()


# ---- fit


def test_a_few_epochs_learn_a_good_part(data):
    results = list(fit(lenet(), data, epochs=4, batch_size=32))
    assert [result.epoch for result in results] == [1, 2, 3, 4]
    assert results[-1].train_loss < results[0].train_loss
    assert results[-1].test_accuracy > 0.8 and results[-1].test_loss < 0.7
    assert all(result.seconds > 0 for result in results)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_learns(data, optimizer):
    *_, last = fit(lenet(), data, epochs=4, batch_size=16, optimizer=optimizer, augment=None)
    assert last.test_accuracy > 0.6


def test_the_same_seed_gives_the_same_bytes(data, card, tmp_path, set_num_threads):
    def train(seed, threads):
        set_num_threads(threads)
        model = lenet(seed=0)
        figures = [astuple(result)[:-1] for result in fit(model, data, epochs=2, seed=seed)]
        return figures, model_bytes(model, card, tmp_path / "model")

    first = train(seed=5, threads=2)
    assert train(seed=5, threads=2) == first
    assert train(seed=5, threads=1) == first
    assert train(seed=6, threads=2)[1] != first[1]


def test_training_figures_are_means_over_the_samples(data):
    losses = []
    (result,) = fit(lenet(), data, epochs=1, batch_size=100, on_step=lambda step, loss: losses.append((step, loss)))
    assert [step for step, _ in losses] == [1, 2, 3, 4, 5] and steps_per_epoch(data, 100) == 5
    assert np.isclose(result.train_loss, np.average([loss for _, loss in losses], weights=[100] * 4 + [80]))
    assert 0 <= result.train_accuracy <= 1


def test_the_rate_goes_through_one_cycle(data, monkeypatch):
    rates = []

    class Recorder:
        steps = 0

        def __init__(self, arena, lr):
            self.arena = arena

        def step(self, lr):
            rates.append(lr)
            self.steps += 1

    monkeypatch.setitem(OPTIMIZERS, "recorder", (Recorder, 0.5))
    list(fit(lenet(), data, epochs=2, batch_size=120, optimizer="recorder"))
    assert rates == [one_cycle(step, 8, 0.5) for step in range(8)]


def test_a_loss_that_is_not_finite_stops_before_the_step(data):
    images = data.train_images.copy()
    images[7] = np.nan
    broken = replace(data, train_images=images)
    batches = training_batches(broken, 32, seed=0, epoch=1)
    step = next(i for i, (x, _) in enumerate(batches, 1) if np.isnan(x).any())
    models = lenet(), lenet()
    with pytest.raises(NonFiniteLossError, match=rf"the loss is nan at step {step}"):
        list(fit(models[0], broken, epochs=1, batch_size=32))

    def stop(done, loss):
        if done == step - 1:
            raise StopAsyncIteration

    assert step > 1
    with pytest.raises(StopAsyncIteration):
        list(fit(models[1], data, epochs=1, batch_size=32, on_step=stop))
    for (name, a), (_, b) in zip(models[0].named_parameters(), models[1].named_parameters(), strict=True):
        assert np.array_equal(a, b), name


@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [
        ("epochs", 0, ValueError),
        ("epochs", 1.5, TypeError),
        ("batch_size", -1, ValueError),
        ("lr", 0, ValueError),
        ("lr", float("nan"), ValueError),
        ("lr", float("inf"), ValueError),
        ("lr", "0.1", TypeError),
        ("optimizer", "adagrad", ValueError),
        ("seed", -1, ValueError),
    ],
)
def test_bad_arguments_are_refused_at_once(data, argument, value, error):
    with pytest.raises(error, match=f"fit: {argument} must be"):
        fit(lenet(), data, **{argument: value})


def test_evaluation_is_a_mean_whatever_the_batches(data):
    model = lenet()
    scores = model(data.test_images).astype(float)
    chances = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    rows = np.arange(len(scores))
    expected = -np.log(chances[rows, data.test_labels]).mean(), (scores.argmax(1) == data.test_labels).mean()
    for batch_size in (50, 359, 1000):
        assert np.allclose(evaluate(model, data.test_images, data.test_labels, batch_size), expected, rtol=1e-5)


# ---- files

EPOCH = Epoch(1, 1.5, 0.5, 1.25, 0.625, 0.75)


def test_the_report_writes_what_it_is_told(data, card, tmp_path):
    report = Report(make_directory(tmp_path / "new" / "run"), {"model": "lenet", "seed": 3})
    report.add(EPOCH)
    report.add(replace(EPOCH, epoch=2))
    lines = list(csv.DictReader((report.directory / "metrics.csv").read_text().splitlines()))
    assert [line["epoch"] for line in lines] == ["1", "2"]
    assert list(lines[0]) == ["epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "seconds"]
    assert float(lines[0]["test_accuracy"]) == 0.625
    assert json.loads((report.directory / "config.json").read_text()) == {"model": "lenet", "seed": 3}
    report.save(lenet(seed=4), card)
    assert sorted(os.listdir(report.directory)) == ["config.json", "metrics.csv", "model.safetensors"]


def test_an_earlier_run_stays_until_there_is_something_new(card, tmp_path):
    first = Report(tmp_path, {"run": 1})
    first.add(EPOCH)
    first.save(lenet(seed=1), card)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    second = Report(make_directory(tmp_path), {"run": 2})
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    second.add(EPOCH)
    second.save(lenet(seed=2), card)
    after = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert after["metrics.csv"] == before["metrics.csv"]
    assert after["config.json"] != before["config.json"] and after["model.safetensors"] != before["model.safetensors"]


def test_a_directory_that_cannot_be_used_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        make_directory(tmp_path / "file")


def test_a_model_file_needs_nothing_else(data, card, tmp_path):
    model = lenet(seed=9)
    save_model(model, card, tmp_path / "model.safetensors")
    loaded, loaded_card = load_model(tmp_path / "model.safetensors")
    assert loaded_card == card
    assert np.array_equal(loaded(data.test_images[:9]), model(data.test_images[:9]))


DAMAGE = {
    "class_names": [None, "7", "[", '["0", "1"]'],
    "model": [None, '"resnet"', "[1]"],
    "input_shape": ["[1, 32, 32]", "null"],
    "mean": ["[]", "[0.1, 0.2]", '["a"]', "[NaN]"],
    "std": ["[0]", "[1, 1]"],
    "ink_frame": ["0", "1000000", '"8"'],
}


@pytest.mark.parametrize(("key", "text"), [(key, text) for key, texts in DAMAGE.items() for text in texts])
def test_a_damaged_card_is_an_error(card, tmp_path, key, text):
    metadata = {**card.text(), key: text}
    if text is None:
        del metadata[key]
    safetensors.save(lenet(), tmp_path / "model", metadata)
    with pytest.raises(ValueError, match="model: not a model that fastconv can use"):
        load_model(tmp_path / "model")
