"""One comparison from options to output."""

from __future__ import annotations

import re
from contextlib import ExitStack, closing
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import fastconv
from fastconv import runtime
from fastconv.bench import plot, record, table
from fastconv.bench.contenders import CONTENDERS, US
from fastconv.bench.layers_file import read_layers
from fastconv.bench.rounds import Player, Result, Unable, cores, has_failed, measure
from fastconv.bench.rows import KINDS, Row, conv_rows, fixed_rows
from fastconv.bench.shapes import sample
from fastconv.bench.summary import BEST, ratio

FAILED, NOTHING, INTERRUPTED = 3, 4, 130  # exit codes


class Session:
    """Measure rows, and show the outcome.

    Parameters
    ----------
    against : list of str
        Names of peers. Those that are not installed are named and left out.
    threads, rounds : int
    json_file, png_file : Path or None
        Where the outcome is written.
    layers : Path or None
        A file with the convolutions to measure, in place of all rows.
    shapes, seed : int
        How many layers are drawn, and from which seed.
    work : re.Pattern or None
        Which rows and passes.
    quick : bool
        No drawn layers, no training.

    Raises
    ------
    ValueError
        No row is left, an option does not fit the machine, the file of layers is bad.
    OSError
        A file cannot be read or written.
    ImportError
        There is no Matplotlib for the picture.
    """

    def __init__(
        self,
        against: list[str],
        threads: int = 1,
        json_file: Path | None = None,
        png_file: Path | None = None,
        *,
        rounds: int = 3,
        layers: Path | None = None,
        shapes: int = 48,
        seed: int = 0,
        work: re.Pattern[str] | None = None,
        quick: bool = False,
    ):
        rows = conv_rows(read_layers(layers)) if layers else _all_rows(seed, shapes, quick)
        self.rows = _by_kind(_selected(rows, work) if work else rows)
        if not self.rows:
            raise ValueError(f"no row matches {work.pattern!r}")
        self.cores, self.threads, self.rounds = cores(threads), threads, rounds
        self.json_file, self.png_file = json_file, png_file
        if png_file and not find_spec("matplotlib"):
            raise ImportError('--png needs Matplotlib: pip install "fastconv[peers]"')
        for file in filter(None, (json_file, png_file)):
            _check_writable(file)  # better now than after an hour
        missing = {name: CONTENDERS[name].missing() for name in against}
        self.skipped = {
            name: f'there is no {", ".join(modules)} (pip install "fastconv[peers]")'
            for name, modules in missing.items()
            if modules
        }
        self.peers = [name for name in against if name not in self.skipped]
        self.options = {"layers": layers and layers.name, "shapes": shapes, "seed": seed, "quick": quick}

    def run(self) -> int:
        """Measure, print and write, also what was found before a Ctrl-C; return the exit code."""
        console, results, interrupted = table.open_console(), [], False
        with ExitStack() as stack:
            players = [stack.enter_context(closing(Player(name, self.threads))) for name in (US, *self.peers)]
            try:
                about = self._about(players)
                for name, reason in self.skipped.items():
                    console.print(f"{name} is left out: {reason}", markup=False)
                self._measure(players, results)
            except KeyboardInterrupt:
                interrupted = True
        if results:
            self._show(console, results, about)
        if interrupted:
            console.print(f"stopped: {len(results)} passes of {sum(len(row.passes) for row in self.rows)} are measured")
            return INTERRUPTED
        if any(has_failed(result, US) for result in results):
            return FAILED
        return 0 if any(US in result.times for result in results) else NOTHING

    def _about(self, players: list[Player]) -> dict[str, Any]:
        """Start the contenders and ask their versions; a peer that cannot start is left out."""
        versions = {}
        for player in list(players):
            try:
                versions[player.name] = player.ask("about")
            except Unable as reason:
                self.skipped[player.name] = str(reason)
                players.remove(player)
        self.peers = [name for name in self.peers if name in versions]
        return {
            "fastconv": fastconv.__version__,
            "host": runtime.host(),
            "threads": self.threads,
            "cores": self.cores,
            "clock": "CPU time" if self.threads == 1 else "wall time",
            "rounds": self.rounds,
            **self.options,
            "contenders": versions,
            "skipped": self.skipped,
        }

    def _measure(self, players: list[Player], results: list[Result]) -> None:
        console = Console(stderr=True)
        columns = BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}", "dim")
        live = console.is_terminal
        with Progress(*columns, console=console, transient=True, refresh_per_second=2, disable=not live) as progress:
            task = progress.add_task("", total=len(self.rows))
            for number, row in enumerate(self.rows, 1):
                if not live:
                    console.print(f"{number}/{len(self.rows)} {row.kind}: {row.name}", highlight=False, markup=False)
                results.extend(measure(row, players, self.rounds, lambda text: progress.update(task, description=text)))
                progress.advance(task)

    def _show(self, console, results: list[Result], about: dict[str, Any]) -> None:
        table.print_results(console, results, self.peers)
        table.print_summary(console, results, self.peers)
        table.print_refused(console, results)
        title = f"{about['host']['cpu']}, {self.threads} thread{'s'[: self.threads > 1]}, float32, {about['clock']}"
        console.print(f"{title}; the shortest of at least 7 runs.", markup=False)
        for name, facts in about["contenders"].items():
            console.print(f"{name} {facts['version']}: {facts['form']}", markup=False)
        if self.json_file:
            record.write_json(self.json_file, about, results, self.peers)
        if self.png_file and all(ratio(result, BEST) is None for result in results):
            console.print(f"{self.png_file} is not drawn: there is nothing to compare", markup=False)
        elif self.png_file:
            versions = ", ".join(f"{name} {facts['version']}" for name, facts in about["contenders"].items())
            plot.draw(self.png_file, results, f"{title}\n{versions}")


def _check_writable(file: Path) -> None:
    new = not file.exists()
    file.open("ab").close()
    if new:
        file.unlink()


def _selected(rows: list[Row], work: re.Pattern[str]) -> list[Row]:
    """Keep the rows and passes that a pattern finds."""
    chosen = []
    for row in rows:
        passes = tuple(step for step in row.passes if work.search(f"{row.kind}/{row.name}/{step}"))
        if passes:
            chosen.append(replace(row, passes=passes))
    return chosen


def _all_rows(seed: int, shapes: int, quick: bool) -> list[Row]:
    """Return the fixed rows and those that are drawn."""
    if quick:
        return [row for row in fixed_rows() if row.work != "training"]
    return fixed_rows() + conv_rows(sample(seed, shapes))


def _by_kind(rows: list[Row]) -> list[Row]:
    """Put rows of one kind together."""
    kinds = [*KINDS, *dict.fromkeys(row.kind for row in rows)]
    return sorted(rows, key=lambda row: kinds.index(row.kind))
