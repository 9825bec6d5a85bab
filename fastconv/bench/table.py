"""The comparison as tables: in colour on a terminal, in Markdown elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

from rich.box import MARKDOWN, SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fastconv.bench.contenders import US
from fastconv.bench.rounds import Result, has_failed
from fastconv.bench.summary import BEST, Line, fastest, ratio, ratio_text, rivals, short_name, summarise

PIPE_WIDTH = 300  # characters, where no terminal limits them
MOST_PLACES = 4  # where the same happened, that are told by name


def open_console() -> Console:
    """Return where the tables go."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PIPE_WIDTH)
    return console


def print_results(console: Console, results: Sequence[Result], peers: Sequence[str]) -> None:
    """Print a line for each pass: milliseconds, and in brackets how many times faster fastconv is.

    A narrow terminal gets the best peers only.
    """
    _print_fitting(console, lambda peers: _result_table(console, results, peers), peers)


def _print_fitting(console: Console, build: Callable[[Sequence[str]], Table], peers: Sequence[str]) -> None:
    """Print a table with a column for each peer; without these columns where the terminal is too narrow."""
    table = build(peers)
    fits = console.measure(table, options=console.options.update(width=PIPE_WIDTH)).maximum <= console.width
    console.print(table if fits else build([]))


def _result_table(console: Console, results: Sequence[Result], peers: Sequence[str]) -> Table:
    """Make the table of all passes. A kind of work is a heading on terminals, and a column in Markdown."""
    table = _table(console, *([] if console.is_terminal else ["work"]), "layer", "pass")
    for name in (f"{US}, ms", *map(short_name, peers)):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column(BEST, no_wrap=True)
    for kind, group in groupby(results, key=lambda result: result.row.kind):
        above = None
        if console.is_terminal:
            table.add_row(Text(kind, "bold"))
        for result in group:
            name = result.row.name
            place = ["" if name == above else Text(name)] if console.is_terminal else [kind, Text(name)]
            table.add_row(
                *place, result.step, _own_time(result), *(_cell(result, p) for p in peers), _best_cell(result)
            )
            above = name
        table.add_section()
    return table


def print_summary(console: Console, results: Sequence[Result], peers: Sequence[str]) -> None:
    """Print a line for each kind of work and pass: geometric means against each peer, and the worst row."""
    groups: dict[tuple[str, str], dict[str, Line]] = {}
    for line in summarise(results, peers):
        groups.setdefault((line.kind, line.step), {})[line.peer] = line
    if groups:
        console.print("Geometric means of the ratios; 'lost' counts the rows where the best peer is faster.")
        _print_fitting(console, lambda peers: _summary_table(console, groups, peers), peers)


def _summary_table(console: Console, groups: dict[tuple[str, str], dict[str, Line]], peers: Sequence[str]) -> Table:
    table = _table(console, "work", "pass")
    for name in ("rows", *map(short_name, rivals(peers)), "lost", "worst"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("worst row")
    for (kind, step), lines in groups.items():
        means = [_ratio(lines[peer].mean if peer in lines else None) for peer in rivals(peers)]
        best = lines[BEST]
        table.add_row(kind, step, str(best.rows), *means, str(best.lost), _ratio(best.worst), Text(best.worst_row))
    return table


def print_refused(console: Console, results: Sequence[Result]) -> None:
    """Print who failed or was wrong: it must not pass for a peer that does not do such work. And what we do not do."""
    places: dict[tuple[str, str], list[str]] = {}
    for result in results:
        for name, reason in result.refused.items():
            if name == US or has_failed(result, name):
                places.setdefault((name, reason), []).append(f"{result.row.name} {result.step}")
    for (name, reason), where in places.items():
        more = [f"and {len(where) - MOST_PLACES} more"] if len(where) > MOST_PLACES else []
        text = f"{name} is not in {'; '.join([*where[:MOST_PLACES], *more])}: {reason}"
        console.print(text, style="bold", markup=False)


def _table(console: Console, *columns: str) -> Table:
    terminal = console.is_terminal
    table = Table(box=SIMPLE_HEAD if terminal else MARKDOWN, pad_edge=not terminal)
    for name in columns:
        table.add_column(name)
    return table


def _own_time(result: Result) -> str:
    seconds = result.seconds.get(US)
    return _reason(result, US) if seconds is None else _milliseconds(seconds)


def _cell(result: Result, peer: str) -> Text:
    seconds, times = result.seconds.get(peer), ratio(result, peer)
    if seconds is None:
        return Text(_reason(result, peer), "dim")
    return Text(_milliseconds(seconds)) if times is None else Text(f"{_milliseconds(seconds)} ").append(_ratio(times))


def _best_cell(result: Result) -> Text:
    times = ratio(result, BEST)
    return _ratio(times) if times is None else _ratio(times).append(f" {short_name(fastest(result, BEST))}", "default")


def _reason(result: Result, name: str) -> str:
    return result.refused[name].partition(":")[0] if has_failed(result, name) else "-"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.3g}" if seconds < 0.1 else f"{seconds * 1e3:.0f}"


def _ratio(times: float | None) -> Text:
    """Write a ratio, in green or red; the brackets are for readers without colours."""
    if times is None:
        return Text("-", "dim")
    return Text(f"({ratio_text(times)})", "green" if times >= 1 else "red")
