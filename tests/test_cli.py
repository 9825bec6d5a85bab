"""The command line: what it prints, what it leaves, and how it answers mistakes."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from fastconv.cli import main, session
from fastconv.cli.interrupt import Interrupted, interruptible
from fastconv.cli.screen import Live, Plain
from fastconv.data import digits
from fastconv.models import MODELS
from fastconv.train import Epoch, load_model

ROOT = Path(__file__).resolve().parent.parent
FILES = ["config.json", "metrics.csv", "model.safetensors"]


@pytest.fixture
def fastconv(tmp_path, monkeypatch):
    """Run a command in a directory of its own."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A directory with one short run in it, and what was printed."""
    folder = tmp_path_factory.mktemp("trained")
    done = CliRunner().invoke(main, ["train", "lenet", "--epochs", "3", "--seed", "1", "--out", str(folder / "run")])
    assert done.exit_code == 0, done.output
    return folder / "run", done.output


def mistake(result):
    """Return the one line that a mistake is answered with."""
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == "" and result.stderr.count("\n") == 1
    return result.stderr


# ---- train


def test_train_writes_its_files(trained):
    folder, output = trained
    assert sorted(os.listdir(folder)) == FILES
    lines = list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))
    assert [line["epoch"] for line in lines] == ["1", "2", "3"]
    config = json.loads((folder / "config.json").read_text())
    assert {"model": "lenet", "data": "digits", "epochs": 3, "batch_size": 64, "seed": 1}.items() <= config.items()
    assert config["lr"] > 0 and config["optimizer"] and config["host"]["cpu"] and config["augmentation"]["rotation"]
    _, card = load_model(folder / "model.safetensors")
    assert card.class_names == tuple("0123456789") and card.input_shape == (1, 28, 28)


def test_train_prints_a_line_for_each_epoch(trained):
    folder, output = trained
    assert "lenet on digits: 61,706 parameters, 1,438 training and 359 test images" in output
    assert re.findall(r"^ +(\d/3) .* s$", output, re.MULTILINE) == ["1/3", "2/3", "3/3"]
    assert re.search(rf"test accuracy \d+\.\d\d%, .* saved in {re.escape(str(folder))}\n$", output)


def test_the_same_seed_gives_the_same_file(fastconv, trained, tmp_path):
    fastconv("train", "lenet", "--epochs", 3, "--seed", 1, "--out", "again", "--threads", 1, "--no-progress")
    assert (tmp_path / "again/model.safetensors").read_bytes() == (trained[0] / "model.safetensors").read_bytes()


def test_files_go_to_runs_by_default(fastconv, tmp_path):
    assert fastconv("train", "lenet5", "--epochs", 1).exit_code == 0
    assert sorted(os.listdir(tmp_path / "runs/lenet5")) == FILES


def test_interrupted_training_saves_and_exits_with_130(tmp_path):
    command = [sys.executable, "-c", "from fastconv.cli import main; main()", "train", "lenet", "--epochs", "1000"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=-1, stderr=-1, text=True) as process:
        while " 1/1000 " not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    done, steps = map(int, re.fullmatch(r"stopped after (\d+) of (\d+) steps; .* is in runs/lenet\n", errors).groups())
    assert 23 <= done < steps == 23_000
    assert sorted(os.listdir(tmp_path / "runs/lenet")) == FILES
    assert load_model(tmp_path / "runs/lenet/model.safetensors")[1].model == "lenet"
    assert (tmp_path / "runs/lenet/metrics.csv").read_text().count("\n") >= 2


def test_an_interruption_before_the_first_step_changes_nothing(fastconv, monkeypatch, tmp_path):
    def interrupted(*arguments, **settings):
        raise Interrupted
        yield

    monkeypatch.setattr(session, "fit", interrupted)
    result = fastconv("train", "lenet")
    assert result.exit_code == 130 and "nothing was learnt" in result.stderr
    assert os.listdir(tmp_path / "runs/lenet") == []


def test_ctrl_c_waits_for_the_next_check():
    before, told = signal.getsignal(signal.SIGINT), []
    with interruptible(lambda: told.append("stopping")) as check:
        check()
        os.kill(os.getpid(), signal.SIGINT)
        assert told == ["stopping"]
        with pytest.raises(Interrupted):
            check()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_diverging_run_is_told_to_slow_down(fastconv):
    with np.errstate(all="ignore"):
        line = fastconv("train", "lenet", "--optimizer", "sgd", "--lr", 1e30).stderr
    assert re.fullmatch(r"fastconv train: the loss is (nan|inf) at step \d+; try a lower --lr\n", line)


# ---- trained models


def test_evaluate_finds_what_train_has_found(fastconv, trained):
    folder, _ = trained
    last = list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))[-1]
    for path in (folder, folder / "model.safetensors"):
        result = fastconv("evaluate", path)
        assert result.exit_code == 0
        assert f"accuracy {float(last['test_accuracy']):.2%}" in result.output
        assert f"loss {float(last['test_loss']):.4f}" in result.output


@pytest.fixture
def pictures(tmp_path):
    """Save test images that are easy to tell, as dark ink on light paper: {digit: path}."""
    data = digits()
    paths = {}
    for image, label in zip(data.test_images[:40, 0], data.test_labels[:40], strict=True):
        ink = np.uint8((image * data.std[0] + data.mean[0]).clip(0, 1) * 255)
        paper = Image.new("L", (80, 60), 255)
        paper.paste(Image.fromarray(255 - ink), (30, 20))
        paper.save(tmp_path / f"{label}.png")
        paths[str(label)] = tmp_path / f"{label}.png"
    return paths


def test_predict_reads_pictures(fastconv, trained, pictures):
    result = fastconv("predict", *pictures.values(), "--model", trained[0])
    assert result.exit_code == 0
    lines = result.output.splitlines()[1:]
    right = 0
    for line, (digit, path) in zip(lines, pictures.items(), strict=True):
        assert line.startswith(str(path)) and "dark ink" in line
        best = re.findall(r"(\d) +([\d.]+)%", line[len(str(path)) :])
        assert len(best) == 3
        chances = [float(chance) for _, chance in best]
        assert chances == sorted(chances, reverse=True) and 33 < sum(chances) <= 100.2
        right += best[0][0] == digit
    assert right >= 0.7 * len(pictures)


def test_the_newest_model_is_taken(fastconv, trained, pictures, tmp_path):
    for name, age in (("old", 1000), ("new", 10), ("older", 2000)):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes((trained[0] / "model.safetensors").read_bytes())
        os.utime(folder / "model.safetensors", (2e9 - age, 2e9 - age))
    assert "runs/new/model.safetensors" in fastconv("evaluate").output
    assert "runs/new/model.safetensors" in fastconv("predict", pictures["0"]).output


# ---- models and system


def test_summary_adds_up(fastconv):
    for name in ("lenet", "lenet5", "fashion_7x7"):
        lines = fastconv("summary", name).output.splitlines()
        rows = [line.split() for line in lines if re.match(r" *\d+ ", line)]
        counts = [
            [int(word.replace(",", "")) for word in row[-2:]]
            for row in rows
            if "Conv2d" in row[1] or "Linear" in row[1]
        ]
        (total,) = (line.split()[1:] for line in lines if line.strip().startswith("total"))
        assert len(rows) == len(MODELS[name]())
        assert [f"{sum(column):,}" for column in zip(*counts, strict=True)] == total


def test_info_names_the_host(fastconv):
    output = fastconv("info").output
    for name in ("processor", "instructions", "threads", "peak", "memory", "kernel cache", "GPU"):
        assert re.search(rf"^{name}  ", output, re.MULTILINE), name
    single, double, copied = map(
        float, re.search(r"([\d.]+) GFLOP/s float32, ([\d.]+) .*\n.* ([\d.]+) GB/s", output).groups()
    )
    assert single > double > 1 and copied > 0.5


# ---- help and mistakes


def test_help_lists_every_command_and_option(fastconv):
    for words in ((), ("--help",)):
        assert all(f"  {name} " in fastconv(*words).output for name in main.commands)
    for name, command in main.commands.items():
        text = fastconv(name, "--help").output
        for option in command.params:
            if isinstance(option, click.Option):
                assert option.opts[0] in text and option.help
    assert "[default: 30]" in fastconv("train", "--help").output


def test_names_are_completed_in_the_shell():
    context = click.Context(main.commands["train"])
    (argument,) = (parameter for parameter in context.command.params if parameter.name == "model")
    assert [item.value for item in argument.shell_complete(context, "lenet5")] == ["lenet5"]


def test_help_is_light():
    """Neither Numba nor a table printer is imported to show a page of text."""
    code = "import sys; from fastconv.cli import main; main(['train', '--help'], standalone_mode=False)"
    code += "; print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    shown = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert not {"numba", "rich", "scipy", "PIL"} & set(shown.stdout.split())


MISTAKES = [
    (["train", "lenett"], "there is no model 'lenett'; did you mean lenet"),
    (["train", "zzz"], "there is no model 'zzz'; known: perceptron, "),
    (["train", "lenet", "--data", "digit"], "there is no data set 'digit'; did you mean digits?"),
    (["train", "lenet", "--optimizer", "sdg"], "there is no optimizer 'sdg'; did you mean sgd?"),
    (["train", "lenet", "--epochs", "0"], "'--epochs': 0 is not between 1 and"),
    (["train", "lenet", "--epochs", "many"], "'--epochs': 'many' is not a whole number"),
    (["train", "lenet", "--epochs", "1e3"], "--epochs"),
    (["train", "lenet", "--batch-size", "-3"], "--batch-size"),
    (["train", "lenet", "--lr", "nan"], "'--lr': nan is not greater than 0 and finite"),
    (["train", "lenet", "--lr", "fast"], "'--lr': 'fast' is not a number"),
    (["train", "lenet", "--lr", "0"], "--lr"),
    (["train", "lenet", "--seed", "-1"], "--seed"),
    (["train", "lenet", "--seed", str(2**63)], "--seed"),
    (["train", "lenet", "--threads", "0"], "--threads"),
    (["train", "lenet", "--threads", "1000000"], "choose fewer --threads"),
    (["train", "lenet", "--out", "occupied"], "occupied: File exists; choose another directory with --out"),
    (["train", "lenet", "--epoch", "3"], "--epoch"),
    (["train"], "MODEL"),
    (["trian"], "trian"),
    (["summary", "lenet6"], "did you mean lenet or lenet5?"),
    (["evaluate"], "there is no trained model under runs/"),
    (["evaluate", "nowhere"], "nowhere: No such file or directory"),
    (["evaluate", "."], "model.safetensors: No such file or directory"),
    (["evaluate", "occupied"], "occupied: not a readable safetensors file"),
    (["predict"], "IMAGE"),
    (["predict", "occupied"], "there is no trained model under runs/"),
]


@pytest.mark.parametrize(
    ("words", "answer"), MISTAKES, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_mistakes_are_answered_in_one_line(fastconv, tmp_path, words, answer):
    (tmp_path / "occupied").write_text("nothing")
    line = mistake(fastconv(*words))
    assert answer in line and line.startswith("fastconv")


@pytest.mark.parametrize(("name", "answer"), [("absent.png", "No such file"), ("text.png", "not a picture")])
def test_predict_answers_for_bad_pictures(fastconv, trained, pictures, tmp_path, name, answer):
    (tmp_path / "text.png").write_text("not a picture")
    line = mistake(fastconv("predict", pictures["0"], tmp_path / name, "--model", trained[0]))
    assert name in line and answer in line


def test_unexpected_errors_are_shown(fastconv, monkeypatch):
    def broken(*arguments, **settings):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(session, "fit", broken)
    assert isinstance(fastconv("train", "lenet").exception, ZeroDivisionError)


# ---- screens


@pytest.mark.parametrize("kind", [Plain, Live])
def test_screens_show_every_stage(kind, capsys):
    screen = kind(epochs=2, steps=3)
    screen.compiling("direct_forward")
    screen.compiling("max_pool")
    for step in (1, 2, 3):
        screen.step(step, 2.5)
    screen.stopping()
    screen.epoch(Epoch(1, 1.5, 0.5, 1.25, 0.625, 0.75))
    screen.close()
    output = capsys.readouterr().out
    assert (screen.steps_done, screen.total_steps) == (3, 6)
    assert re.search(r"1/2 +1\.5000 +50\.00% +1\.2500 +62\.50% +0\.75 s\n", output)
    if kind is Plain:
        assert output.startswith("compiling kernels, on the first run only ..\n")
