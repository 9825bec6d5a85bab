"""Fetching memory ahead of its use, a few lines with each tile, so that loads need not wait and nothing is held up.

A core waits for some ten lines at a time: more at once, and the arithmetic behind them waits as well. A *stream* is a
list of runs of neighbouring cache lines, a run a channel; whoever calls tiles takes a little of it between two of them.
"""

from __future__ import annotations

from fastconv import jit
from fastconv.cpu.simd import address_of, fetch

LINE = 64  # bytes
STREAMS = 2  # that are taken from side by side
FIELDS = 8  # int64 of a stream: a cache line
STATE_BYTES = STREAMS * FIELDS * 8  # of each worker's scratch memory
PLACE, LEFT, RUNS, RUN, GAP, SHARE = range(6)  # place in the run, its lines left, runs after it, lines, bytes, lines


@jit.inline
def stream_runs(streams, which, first, elements, runs, step, size, calls):
    """Set up a stream: `runs` runs of `elements`, `step` elements apart, to be fetched in so many `calls` of tiles."""
    s = which * FIELDS
    lines = elements * size // LINE + 1
    streams[s + PLACE] = address_of(first)
    streams[s + LEFT] = lines if runs > 0 else 0
    streams[s + RUNS], streams[s + RUN], streams[s + GAP] = runs - 1, lines, step * size - lines * LINE
    streams[s + SHARE] = runs * lines // calls + 1


@jit.inline
def fetch_ahead(streams):
    """Fetch the next few lines of each stream."""
    for s in range(0, STREAMS * FIELDS, FIELDS):
        wanted, place, left = streams[s + SHARE], streams[s + PLACE], streams[s + LEFT]
        while wanted > 0 and left > 0:
            lines = min(wanted, left)
            for i in range(lines):
                fetch(place + LINE * i)
            place, left, wanted = place + LINE * lines, left - lines, wanted - lines
            if left == 0 and streams[s + RUNS] > 0:
                place, left = place + streams[s + GAP], streams[s + RUN]
                streams[s + RUNS] = streams[s + RUNS] - 1
        streams[s + PLACE], streams[s + LEFT] = place, left
