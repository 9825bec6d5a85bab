"""Let the contenders take turns: each in its process, all on the same cores, every result compared with the truth."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastconv import runtime
from fastconv.bench import truth, worker
from fastconv.bench.rows import Row

LEAST_RUNS = 7  # of each pass by each contender
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "FASTCONV_NUM_THREADS")


class Unable(Exception):
    """A contender does not do what it was asked for; the text says why."""


@dataclass
class Result:
    """What a pass of a row gave.

    Attributes
    ----------
    row : Row
    step : str
        The pass.
    times : dict of str to list of float
        Seconds of all timed runs, by contender.
    errors : dict of str to float
        Largest error relative to the truth's largest element.
    refused : dict of str to str
        Who was not timed, and why: unable, or wrong.
    """

    row: Row
    step: str
    times: dict[str, list[float]] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    @property
    def seconds(self) -> dict[str, float]:
        """Shortest run of each contender whose result was right."""
        return {name: min(times) for name, times in self.times.items()}


def has_failed(result: Result, name: str) -> bool:
    """Whether a contender broke down or was wrong, rather than that it does not do such work."""
    return result.refused.get(name, "").startswith(("failed", "wrong"))


class Player:
    """A contender's process, as seen from here. If it dies, the row is lost, and the next one gets a new process."""

    def __init__(self, name: str, threads: int):
        self.name, self._threads = name, threads
        self._process = self._pipe = None

    def ask(self, method: str, *arguments: Any) -> Any:
        """Call a method of the process's `worker.Bench`.

        Raises
        ------
        Unable
            It did not do it.
        """
        if self._process is None:
            self._start()
        try:
            self._pipe.send((method, arguments))
            done, answer = self._pipe.recv()
        except (EOFError, ConnectionError) as error:
            self._process.join(1)
            code = self._process.exitcode
            self.close()
            raise Unable(f"failed: its process ended with exit code {code}") from error
        if not done:
            raise Unable(answer)
        return answer

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()  # it holds nothing that it would have to save
            self._process.join()
            self._pipe.close()
            self._process = self._pipe = None

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        arguments = theirs, self.name, self._threads, cores(self._threads)
        self._process = context.Process(target=worker.serve, args=arguments, name=self.name, daemon=True)
        with _environment({name: str(self._threads) for name in THREAD_VARIABLES}):
            self._process.start()
        theirs.close()  # so that the end of the process ends the pipe


def cores(threads: int) -> list[int]:
    """Choose the cores where all contenders run: the last that this process may use; none where it cannot choose.

    Raises
    ------
    ValueError
        There are fewer.
    """
    if threads > runtime.cores():
        raise ValueError(f"{threads} threads need as many cores, and there are {runtime.cores()}")
    return sorted(os.sched_getaffinity(0))[-threads:] if hasattr(os, "sched_setaffinity") else []


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set environment variables, which a new process reads when its libraries load."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def measure(row: Row, players: list[Player], rounds: int, tell: Callable[[str], None]) -> Iterator[Result]:
    """Measure a row.

    Parameters
    ----------
    row : Row
    players : list of Player
    rounds : int
        How often the contenders take turns.
    tell : callable
        Gets what is being done.

    Yields
    ------
    Result
        Of each pass.
    """
    expected, unable, able = truth.TRUTH[row.work](row), {}, {}
    for player in players:
        tell(f"{row.name}: {player.name} prepares")
        try:
            able[player] = player.ask("prepare", row)
        except Unable as reason:
            unable[player.name] = str(reason)
    for step in row.passes:
        result = Result(row, step, refused=dict(unable))
        ready = [player for player in able if _judged(result, player, able[player], expected[step], tell)]
        least = -(-LEAST_RUNS // rounds)
        for number in range(rounds):
            tell(f"{row.name}: {step}, round {number + 1} of {rounds}")
            first = number % max(1, len(ready))
            for player in [*ready[first:], *ready[:first]]:
                _take_turn(result, player, least)
        yield result


def _judged(
    result: Result, player: Player, passes: list[str], expected: list[np.ndarray], tell: Callable[[str], None]
) -> bool:
    """Compare what a contender computes with the truth; say whether it may be timed."""
    row, step, name = result.row, result.step, player.name
    if step not in passes:
        result.refused[name] = "forward only"
        return False
    tell(f"{row.name}: {step}, {name} computes")
    try:
        found = truth.error(player.ask("result", step), expected)
    except Unable as reason:
        result.refused[name] = str(reason)
        return False
    result.errors[name] = found
    if not truth.is_right(row, found):
        result.refused[name] = f"wrong: error {found:.1e}"
        return False
    return True


def _take_turn(result: Result, player: Player, least: int) -> None:
    if player.name in result.refused:
        return
    try:
        result.times.setdefault(player.name, []).extend(player.ask("turn", result.step, least))
    except Unable as reason:
        result.refused[player.name] = str(reason)
        result.times.pop(player.name, None)
