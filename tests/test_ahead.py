"""What is fetched ahead: every line of every run, the most urgent stream first."""

import numpy as np
import pytest

from fastconv.cpu import ahead
from fastconv.cpu.twin import TwinPointer

START, NOTHING = 1 << 20, -1


@pytest.fixture
def streams():
    state = np.zeros(ahead.STREAMS * ahead.FIELDS, np.int64)
    yield TwinPointer(state.ctypes.data, np.dtype(np.int64))
    assert state.size  # alive to the end: the pointer does not keep it


def at(place):
    return TwinPointer(place, np.dtype(np.float32))


def taken(streams, lines):
    """Return all lines that tiles fetch, each of them so many."""
    found = []
    while (place := ahead.take(streams, lines, NOTHING)) != NOTHING:
        found += [place + ahead.LINE * i for i in range(lines)]
    return found


@pytest.mark.parametrize("lines", [1, 3, 7, 64, 1000])
@pytest.mark.parametrize(("elements", "runs", "step"), [(100, 5, 300), (16, 1, 16), (7, 40, 3136), (1000, 3, 1000)])
def test_every_line_is_fetched(streams, elements, runs, step, lines):
    ahead.stream_runs(streams, 1, at(START), elements, runs, step, 4)
    first = [START + 4 * run * step + byte for run in range(runs) for byte in range(0, 4 * elements, ahead.LINE)]
    needed = {place // ahead.LINE for place in first}
    assert needed <= {place // ahead.LINE for place in taken(streams, lines)}


def test_neighbouring_runs_are_one(streams):
    ahead.stream_runs(streams, 0, at(START), 16, 10, 20, 4)
    assert taken(streams, 13) == [START + ahead.LINE * i for i in range(13)]


def test_the_first_stream_is_the_most_urgent(streams):
    for which in range(ahead.STREAMS):
        ahead.stream_runs(streams, which, at(START * (which + 1)), 40, 1, 40, 4)
    assert [ahead.take(streams, 2, NOTHING) // START for _ in range(7)] == [1, 1, 2, 2, 3, 3, NOTHING]


def test_nothing_to_fetch(streams):
    ahead.stream_runs(streams, 0, at(START), 100, 0, 100, 4)
    assert ahead.take(streams, 8, NOTHING) == NOTHING
