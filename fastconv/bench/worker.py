"""A contender in a process of its own, which does what it is told through a pipe."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from fastconv.bench.contenders import CONTENDERS, Contender, Declined
from fastconv.bench.rows import Row

MOST_RUNS, TURN_SECONDS = 50, 0.03
PAUSE = 0.02  # seconds: OpenMP's threads of the one before spin some 15 ms after their work


def serve(pipe: Connection, name: str, threads: int, cores: list[int]) -> None:
    """Answer questions (method, arguments) with (True, answer), or (False, what went wrong).

    Parameters
    ----------
    pipe : Connection
    name : str
        Of the contender.
    threads : int
    cores : list of int
        Where this process may run; empty where the system cannot say.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends this process
    if cores:
        os.sched_setaffinity(0, cores)
    bench = None
    while True:
        try:
            method, arguments = pipe.recv()
        except EOFError:
            return  # the parent is gone
        try:
            bench = bench or Bench(CONTENDERS[name].open(threads), threads)
            answer = True, getattr(bench, method)(*arguments)
        except Declined as reason:
            answer = False, str(reason)
        except Exception as error:  # whatever a library raises is its answer for this row
            answer = False, f"failed: {type(error).__name__}: {error}"
        pipe.send(answer)


class Bench:
    """What a worker does with its contender."""

    def __init__(self, contender: Contender, threads: int):
        self._contender, self._threads = contender, threads
        self._clock = time.process_time if threads == 1 else time.perf_counter
        self._runs: dict[str, Callable[[], Any]] = {}

    def about(self) -> dict[str, str]:
        """Tell version and form."""
        return {"version": self._contender.version, "form": self._contender.form}

    def prepare(self, row: Row) -> list[str]:
        """Take up a row, and name the passes that are done."""
        self._runs = {}  # frees the memory of the row before
        self._runs = self._contender.prepare(row)
        return list(self._runs)

    def result(self, name: str) -> list:
        """Compute a pass once, for the comparison with the truth. Here kernels are compiled and memory is touched."""
        return self._contender.arrays(self._runs[name]())

    def turn(self, name: str, least: int) -> list[float]:
        """Time a pass at least `least` times, after a run that fills the caches.

        Returns
        -------
        list of float
            Seconds: CPU time with one thread, which other work on the machine disturbs least, else wall time.
        """
        run, clock, times = self._runs[name], self._clock, []
        if self._threads > 1:
            time.sleep(PAUSE)
        run()
        end = time.perf_counter() + TURN_SECONDS
        while len(times) < least or (len(times) < MOST_RUNS and time.perf_counter() < end):
            start = clock()
            result = run()
            times.append(clock() - start)
            del result  # its memory serves the next run, as in a program
        return times
