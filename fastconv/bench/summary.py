"""Ratios: how many times faster fastconv is than each peer, than the best of them, and in the mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, log

from fastconv.bench.contenders import PEERS, US
from fastconv.bench.rounds import Result

BEST, LAYOUT = "best peer", "better layout"
LAYOUTS = ("torch", "torch-channels-last")
ORDER = {"forward": 0, "prepacked": 1, "dx": 2, "dw": 3, "step": 4}


def fastest(result: Result, peer: str) -> str | None:
    """Name the fastest of a row: of all peers for `BEST`, of PyTorch's layouts for `LAYOUT`, else the peer itself."""
    groups = {BEST: PEERS, LAYOUT: LAYOUTS}
    seconds = result.seconds
    present = [name for name in groups.get(peer, (peer,)) if name in seconds]
    return min(present, key=seconds.__getitem__, default=None)


def ratio(result: Result, peer: str) -> float | None:
    """Return the time of a peer (or `BEST`, `LAYOUT`) over fastconv's, None where one of the two is missing."""
    seconds, rival = result.seconds, fastest(result, peer)
    return seconds[rival] / seconds[US] if rival and US in seconds else None


def short_name(peer: str) -> str:
    """Return a peer's name for narrow places: channels-last."""
    return peer.removeprefix("torch-")


def ratio_text(times: float) -> str:
    """Write a ratio with two decimals, or two digits below 0.1."""
    return f"{times:.2f}" if times >= 0.1 else f"{times:.2g}"


def geometric_mean(ratios: Iterable[float]) -> float:
    """Return the mean that treats 2 and 1/2 as opposites; NaN of nothing."""
    logarithms = [log(r) for r in ratios]
    return exp(sum(logarithms) / len(logarithms)) if logarithms else float("nan")


def rivals(peers: Sequence[str]) -> list[str]:
    """Return whom means are taken against."""
    return [*peers, *([LAYOUT] if set(LAYOUTS) <= set(peers) else []), BEST]


@dataclass(frozen=True)
class Line:
    """The rows of one kind of work and one pass, against one peer or the best.

    Attributes
    ----------
    kind, step, peer : str
    rows : int
    mean : float
        Geometric mean of the ratios.
    worst : float
        The smallest.
    worst_row : str
    lost : int
        Ratios below 1.
    """

    kind: str
    step: str
    peer: str
    rows: int
    mean: float
    worst: float
    worst_row: str
    lost: int


def summarise(results: Sequence[Result], peers: Sequence[str]) -> list[Line]:
    """Return a line for each kind, pass and rival, in the order of the results.

    Rivals are the peers, the better layout of PyTorch where both were measured, and the best peer.
    """
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in sorted(results, key=lambda r: ORDER[r.step]):
        groups.setdefault((result.row.kind, result.step), []).append(result)
    kinds = list(dict.fromkeys(result.row.kind for result in results))
    lines = []
    for kind, step in sorted(groups, key=lambda group: (kinds.index(group[0]), ORDER[group[1]])):
        for peer in rivals(peers):
            ratios = {r.row.name: q for r in groups[kind, step] if (q := ratio(r, peer)) is not None}
            if ratios:
                worst = min(ratios, key=ratios.__getitem__)
                lost = sum(q < 1 for q in ratios.values())
                mean = geometric_mean(ratios.values())
                lines.append(Line(kind, step, peer, len(ratios), mean, ratios[worst], worst, lost))
    return lines
