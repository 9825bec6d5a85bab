"""Compare fastconv with PyTorch: layers of networks and a training step of LeNet, each library in processes of its own.

    python asv_bench/peers.py [--threads N] [--rounds N]

Both libraries keep threads that would fight over the cores in one process. Their processes take turns, on the same
cores; a figure is the minimum over all rounds. With one thread it is CPU time, which other users of the machine disturb
least.
PyTorch is measured with contiguous and with channels_last arrays, and the faster of the two counts, for each figure.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from math import prod

import numpy as np

from fastconv.testing import CASES, ConvCase

LAYERS = {case.id: case for case in CASES["conv2d"] if case.network}
REPEATS = 7


def best(run: Callable[[], object], threads: int) -> float:
    """Shortest of a few runs after the first, in milliseconds."""
    clock = time.process_time if threads == 1 else time.perf_counter
    run()
    times = []
    for _ in range(REPEATS):
        start = clock()
        run()
        times.append(clock() - start)
    return min(times) * 1e3


def operands(case: ConvCase) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    x, w, b = case.arrays(lambda shape: rng.standard_normal(shape, dtype=np.float32))
    return x, w, b, rng.standard_normal(case.geometry.y_shape, dtype=np.float32)


def digits() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((128, 1, 28, 28), dtype=np.float32), rng.integers(0, 10, 128)


def measure_fastconv(threads: int) -> dict[str, list[float]]:
    import fastconv
    from fastconv.layers import Arena
    from fastconv.models import lenet
    from fastconv.optim import SGD

    fastconv.set_num_threads(threads)
    found = {}
    for name, case in LAYERS.items():
        x, w, b, dy = operands(case)

        def gradient(*needs, dy=dy, x=x, w=w, b=b, options=case.options):
            return fastconv.conv2d_backward(dy, x, w, b, **options, needs=needs)

        def forward(x=x, w=w, b=b, options=case.options):
            return fastconv.conv2d(x, w, b, **options)

        runs = forward, lambda g=gradient: g(True, False, False), lambda g=gradient: g(False, True, True)
        found[name] = [best(run, threads) for run in runs]
    model, (x, labels) = lenet(), digits()
    optimizer = SGD(Arena(model), lr=0.01, momentum=0.9)

    def step():
        scores, backward = model.forward(x)
        loss, saved = fastconv.cross_entropy(scores, labels, return_saved=True)
        optimizer.zero_grad()
        backward(fastconv.cross_entropy_backward(1.0, scores, labels, saved=saved), input_gradient=False)
        optimizer.step()
        return loss

    return found | {"LeNet step": [best(step, threads)]}


def measure_torch(threads: int) -> dict[str, list[float]]:
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    found = {}

    def in_layout(layout, *arrays):
        return [a.contiguous(memory_format=layout) if a.dim() == 4 else a for a in map(torch.from_numpy, arrays)]

    for name, case in LAYERS.items():
        window, groups, figures = case.geometry.window, case.geometry.groups, []
        stride, padding = list(window.stride), [before for before, _ in window.padding]
        for layout in (torch.contiguous_format, torch.channels_last):
            x, w, b, dy = in_layout(layout, *operands(case))
            options = stride, padding, list(window.dilation)

            def gradient(*needs, dy=dy, x=x, w=w, options=options, groups=groups):
                return torch.ops.aten.convolution_backward(dy, x, w, [len(w)], *options, False, [0, 0], groups, needs)

            def forward(x=x, w=w, b=b, options=options, groups=groups):
                return nn.functional.conv2d(x, w, b, *options, groups)

            runs = forward, lambda g=gradient: g(True, False, False), lambda g=gradient: g(False, True, True)
            figures.append([best(run, threads) for run in runs])
        found[name] = [min(pair) for pair in zip(*figures, strict=True)]
    steps = [torch_step(layout) for layout in (torch.contiguous_format, torch.channels_last)]
    return found | {"LeNet step": [min(best(step, threads) for step in steps)]}


def torch_step(layout) -> Callable[[], object]:
    import torch
    from torch import nn

    convolutions = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
    features = [part for conv in convolutions for part in (conv, nn.ReLU(), nn.MaxPool2d(2))]
    dense = nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)
    model = nn.Sequential(*features, nn.Flatten(), *dense).to(memory_format=layout)
    x, labels = map(torch.from_numpy, digits())
    x = x.contiguous(memory_format=layout)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def step():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    return step


def rounds(library: str, threads: int) -> dict[str, list[float]]:
    """Measure a library in a process of its own, on the first cores of this one."""
    command = [sys.executable, __file__, "--threads", str(threads), "--only", library]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{library} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare fastconv with PyTorch.")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["fastconv", "torch"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-options.threads :])
    if options.only:
        print(json.dumps({"fastconv": measure_fastconv, "torch": measure_torch}[options.only](options.threads)))
        return
    minima: dict[str, dict[str, list[float]]] = {}
    for _ in range(options.rounds):
        for library in ("fastconv", "torch"):
            for name, figures in rounds(library, options.threads).items():
                old = minima.setdefault(library, {}).get(name, figures)
                minima[library][name] = [min(pair) for pair in zip(old, figures, strict=True)]
    print_table(minima["fastconv"], minima["torch"])


def print_table(ours: dict[str, list[float]], theirs: dict[str, list[float]]) -> None:
    """Print a table in Markdown: milliseconds of fastconv, of PyTorch, and how many times faster fastconv is."""
    print("| layer | forward | input gradient | weight gradient |\n|---|---|---|---|")
    ratios = []
    for name, figures in ours.items():
        pairs = list(zip(figures, theirs[name], strict=True))
        ratios += [torch / fastconv for fastconv, torch in pairs]
        cells = [f"{fastconv:.2f} / {torch:.2f} ({torch / fastconv:.2f})" for fastconv, torch in pairs]
        print("|", " | ".join([name, *cells, *[""] * (3 - len(cells))]), "|")
    print(f"\ngeometric mean of all ratios: {prod(ratios) ** (1 / len(ratios)):.2f}, smallest: {min(ratios):.2f}")


if __name__ == "__main__":
    main()
