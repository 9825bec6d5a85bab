"""What is fetched ahead: every line of every run, once, in as many calls as there are."""

import numpy as np
import pytest

from fastconv.cpu import ahead
from fastconv.cpu.twin import TwinPointer


@pytest.mark.parametrize("calls", [1, 3, 7, 64, 1000])
@pytest.mark.parametrize(("elements", "runs", "step"), [(100, 5, 300), (16, 1, 16), (7, 40, 3136), (1000, 3, 1000)])
def test_every_line_is_fetched_once(elements, runs, step, calls, monkeypatch):
    fetched = []
    monkeypatch.setattr(ahead, "fetch", fetched.append)
    state = np.zeros(ahead.STREAMS * ahead.FIELDS, np.int64)
    streams, first = TwinPointer(state.ctypes.data, np.dtype(np.int64)), TwinPointer(1 << 20, np.dtype(np.float32))
    ahead.stream_runs(streams, 1, first, elements, runs, step, 4, calls)
    for _ in range(calls):
        ahead.fetch_ahead(streams)
    lines = elements * 4 // 64 + 1
    assert fetched == [(1 << 20) + 4 * run * step + 64 * i for run in range(runs) for i in range(lines)]
    ahead.fetch_ahead(streams)
    assert len(fetched) == runs * lines


def test_nothing_to_fetch(monkeypatch):
    monkeypatch.setattr(ahead, "fetch", pytest.fail)
    state = np.zeros(ahead.STREAMS * ahead.FIELDS, np.int64)
    streams, first = TwinPointer(state.ctypes.data, np.dtype(np.int64)), TwinPointer(1 << 20, np.dtype(np.float32))
    ahead.stream_runs(streams, 0, first, 100, 0, 100, 4, 5)
    ahead.fetch_ahead(streams)
