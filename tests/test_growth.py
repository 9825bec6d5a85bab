"""``fastconv bench growth``: the table and the picture of what a convolution costs."""

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from fastconv.bench import growth
from fastconv.cli import main


@pytest.fixture
def small(monkeypatch):
    """Let sizes grow a little only."""
    monkeypatch.setattr(growth, "AXES", {"batch": (1, 2), "channels": (4, 8), "plane": (4, 8)})
    monkeypatch.setattr(growth, "CHANNELS", 16)


@pytest.mark.usefixtures("small")
def test_costs_are_those_of_the_layers():
    costs = growth.measure()
    assert [(cost.axis, cost.size) for cost in costs[::3]] == [(axis, size) for axis, size, _ in growth.layers()]
    assert {cost.kind for cost in costs} == set(growth.PASSES)
    for cost, macs in zip(costs, np.repeat([geometry.macs for *_, geometry in growth.layers()], 3), strict=True):
        assert cost.gflops * cost.seconds * 1e9 == pytest.approx(2 * macs) and cost.scratch >= 0
    one, two = (cost.arrays for cost in costs[:6:3])
    weights = 4 * 16 * 16 * 9
    assert two - weights == 2 * (one - weights)  # x and y double with the batch, w does not


@pytest.mark.usefixtures("small", "set_num_threads")
def test_table_and_picture(tmp_path, monkeypatch):
    result = CliRunner().invoke(main, ["bench", "growth", "--png", str(tmp_path / "growth.png")])
    assert result.exit_code == 0, result.output
    assert [line.split()[1] for line in result.output.splitlines() if line.startswith(("| b", "| c", "| p"))] == [
        "batch", "batch", "channels", "channels", "plane", "plane",
    ]  # fmt: skip
    with Image.open(tmp_path / "growth.png") as picture:
        assert picture.size == (1300, 1040)


@pytest.mark.usefixtures("small", "set_num_threads")
def test_picture_that_cannot_be_written_is_told_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(growth, "measure", lambda: pytest.fail("measured for nothing"))
    result = CliRunner().invoke(main, ["bench", "growth", "--png", str(tmp_path / "nowhere" / "growth.png")])
    assert result.exit_code == 2 and "nowhere" in result.output
