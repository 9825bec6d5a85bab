"""Why a convolution is computed as it is: the candidates of each pass, what is predicted, and what is measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, prod

import numpy as np

from fastconv import runtime
from fastconv.cpu import choose, peaks
from fastconv.cpu.choose import Candidate
from fastconv.geometry import ConvGeometry

ROUNDS, LEAST_ROUNDS, MOST_SECONDS = 7, 2, 2.0  # turns of the candidates of a pass, and when there are enough of them
TURN_SECONDS, MOST_RUNS = 0.03, 50


@dataclass(frozen=True)
class Line:
    """A candidate, and what came of it.

    Attributes
    ----------
    way : Candidate
    chosen : bool
    reason : str
        Why it is chosen, or why not.
    seconds : float or None
        Measured time; None where it was not measured, or cannot compute the pass.
    """

    way: Candidate
    chosen: bool
    reason: str
    seconds: float | None = None


@dataclass(frozen=True)
class Roofline:
    """The time below which nothing falls that multiplies every product, and moves every array from and to memory.

    S. Williams, A. Waterman, D. Patterson: *Roofline*, Communications of the ACM 52 (2009).

    Attributes
    ----------
    gflops, gbytes : float
        Measured peaks: 10**9 operations and 10**9 bytes a second.
    products, memory : float
        Seconds that the multiply-adds take at the peak, and the bytes.
    """

    gflops: float
    gbytes: float
    products: float
    memory: float

    @property
    def seconds(self) -> float:
        """The longer of the two."""
        return max(self.products, self.memory)

    @classmethod
    def measure(cls, geometry: ConvGeometry, dtype: np.dtype) -> Roofline:
        """Measure the peaks with the threads that are set."""
        peak = peaks.measure()
        gflops, gbytes = peak[dtype.name], peak["copy"]
        return cls(gflops, gbytes, 2 * geometry.macs / gflops / 1e9, nbytes(geometry, dtype) / gbytes / 1e9)


def nbytes(geometry: ConvGeometry, dtype: np.dtype) -> int:
    """Return the bytes of x, w and y, or of their gradients: each pass reads two of them and writes the third."""
    return dtype.itemsize * sum(map(prod, (geometry.x_shape, geometry.w_shape, geometry.y_shape)))


def explain(geometry: ConvGeometry, dtype: np.dtype, *, measured: bool) -> dict[str, list[Line]]:
    """List the candidates of each pass of a convolution without a bias: the chosen one first, what cannot do it last.

    Parameters
    ----------
    geometry : ConvGeometry
    dtype : dtype
        float32 or float64.
    measured : bool
        Whether to run all that can compute the pass, with the threads that are set.
    """
    passes = {}
    for kind in choose.PASSES:
        ways = choose.candidates(kind, geometry, dtype)
        choice = choose.chosen(ways)
        seconds = _measure(kind, ways, geometry, dtype) if measured else {}
        lines = [Line(way, way is choice, _reason(way, choice, ways), seconds.get(way.name)) for way in ways]
        passes[kind] = sorted(lines, key=lambda line: (not line.chosen, bool(line.way.why_not)))
    return passes


def _reason(way: Candidate, choice: Candidate, ways: Sequence[Candidate]) -> str:
    if way.why_not:
        return way.why_not
    if way.behind:
        return f"a rule prefers {choice.name}" if choice.rule == way.rule else way.rule
    if way is not choice:
        return "predicted slower"
    rivals = [other for other in ways if not (other.why_not or other.behind or other is way)]
    return "; ".join(filter(None, ["predicted fastest" if rivals else "", way.rule]))


def _measure(kind: str, ways: Sequence[Candidate], geometry: ConvGeometry, dtype: np.dtype) -> dict[str, float]:
    """Return the shortest time of each candidate that can compute the pass, in seconds. They take turns."""
    x, w, y = geometry.x_shape, geometry.w_shape, geometry.y_shape
    *read, written = {"forward": (x, w, y), "backward_data": (y, w, x), "backward_weight": (x, y, w)}[kind]
    rng = np.random.default_rng(0)
    inputs, result = [rng.standard_normal(shape, dtype=dtype) for shape in read], runtime.empty(written, dtype)
    if kind == "backward_weight":
        arrays = (*inputs, result, runtime.empty((geometry.out_channels,), dtype))
    else:
        arrays = (*inputs, None, result)
    options = () if kind == "backward_weight" else (False,)  # no bias
    plans = {way.name: way.plan(geometry, dtype, *options) for way in ways if not way.why_not}
    best = dict.fromkeys(plans, inf)
    start = time.perf_counter()
    for number in range(ROUNDS):
        if number >= LEAST_ROUNDS and time.perf_counter() > start + MOST_SECONDS:
            break
        for name, plan in plans.items():
            best[name] = min(best[name], fastest_run(lambda plan=plan: plan(*arrays)))
    return best


def fastest_run(run: Callable[[], None]) -> float:
    """Return the shortest time of some runs, in seconds, after one that compiles and fills the caches.

    It is CPU time with one thread, which other work on the machine disturbs least, else wall time.
    """
    clock = time.process_time if runtime.get_num_threads() == 1 else time.perf_counter
    run()
    times: list[float] = []
    end = time.perf_counter() + TURN_SECONDS
    while not times or (len(times) < MOST_RUNS and time.perf_counter() < end):
        start = clock()
        run()
        times.append(clock() - start)
    return min(times)
