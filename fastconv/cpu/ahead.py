"""Fetching memory ahead of its use, a few lines with each tile, so that loads need not wait and nothing is held up.

A core waits for some ten lines at a time: more at once, and the arithmetic behind them waits as well. So a tile asks
for a line in each round of its products, where that costs nothing: between tiles, instructions that do not multiply
took 2 % of the time. A *stream* is a list of runs of neighbouring cache lines, a run a channel; a tile takes from the
first stream that has lines left.
"""

from __future__ import annotations

from fastconv import jit
from fastconv.cpu.simd import address_of

LINE = 64  # bytes
STREAMS = 3  # the most urgent first
FIELDS = 8  # int64 of a stream: a cache line
STATE_BYTES = STREAMS * FIELDS * 8  # of each worker's scratch memory
PLACE, LEFT, RUNS, RUN, GAP = range(5)  # place in the run, lines left in it, runs after it, lines of a run, gap


@jit.inline
def stream_runs(streams, which, first, elements, runs, step, size):
    """Set up a stream: `runs` runs of `elements` of `size` bytes, `step` elements apart."""
    s = which * FIELDS
    if step * size <= elements * size + LINE:  # or nearly one run
        elements, runs = step * runs, min(runs, 1)
    lines = elements * size // LINE + 1
    streams[s + PLACE] = address_of(first)
    streams[s + LEFT] = lines if runs > 0 else 0
    streams[s + RUNS], streams[s + RUN], streams[s + GAP] = runs - 1, lines, step * size - lines * LINE


@jit.inline
def take(streams, lines, other):
    """Address from which a tile is to fetch so many lines; it may pass the end of a run. `other` if none is left."""
    for s in range(0, STREAMS * FIELDS, FIELDS):
        place, left = streams[s + PLACE], streams[s + LEFT]
        if left > 0:
            if left > lines:
                streams[s + PLACE], streams[s + LEFT] = place + LINE * lines, left - lines
            elif streams[s + RUNS] > 0:
                streams[s + PLACE], streams[s + LEFT] = place + LINE * left + streams[s + GAP], streams[s + RUN]
                streams[s + RUNS] = streams[s + RUNS] - 1
            else:
                streams[s + LEFT] = 0
            return place
    return other
