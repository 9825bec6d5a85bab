"""Unpooling: elements go to the places that their indices name, and gradients come back from there.

A task owns whole planes and takes their elements in C order: the last of several with one index stays, whatever the
number of threads. Indices have been checked before: they lie inside the planes.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fastconv.cpu.loop import Program, kernel
from fastconv.cpu.pool_planes import fill

CHUNK = 1 << 14  # elements of a task

SIZES = dict.fromkeys(("all_planes", "planes", "elements", "places"), "int")


def _scatter(args, task, slot):
    y, places, elements, add = args.y, args.places, args.elements, args.add
    first = task * args.planes
    last = min(args.all_planes, first + args.planes)
    fill(y + first * places, (last - first) * places, 0.0)
    for plane in range(first, last):
        target = y + plane * places
        for i in range(plane * elements, (plane + 1) * elements):
            place = args.indices[i]
            target[place] = target[place] + args.x[i] if add else args.x[i]


SCATTER = kernel(x="real", indices="int64", y="real", add="int", **SIZES)(_scatter)


def _gather(args, task, slot):
    elements, places, last = args.elements, args.places, args.last + slot * args.step
    for plane in range(task * args.planes, min(args.all_planes, (task + 1) * args.planes)):
        indices, dy, dx = args.indices + plane * elements, args.dy + plane * places, args.dx + plane * elements
        for i in range(elements):
            last[indices[i]] = i
        for i in range(elements):
            dx[i] = dy[indices[i]] if last[indices[i]] == i else 0.0


# `last` is scratch: for every place the last element that went there. Nothing is read of it that was not written.
GATHER = kernel(dy="real", indices="int64", dx="real", last="int64", step="int", **SIZES)(_gather)


def _cut(planes: int, elements: int, places: int) -> tuple[int, dict[str, int]]:
    group = max(1, CHUNK // max(elements, places))
    return -(-planes // group), {"all_planes": planes, "planes": group, "elements": elements, "places": places}


@lru_cache(maxsize=256)
def _scatter_plan(planes: int, elements: int, places: int, add: bool, dtype: np.dtype) -> Program:
    program = Program(dtype, "x indices y")
    tasks, sizes = _cut(planes, elements, places)
    program.add(SCATTER, tasks, x=program.x, indices=program.indices, y=program.y, add=int(add), **sizes)
    return program


def scatter(x: NDArray, indices: NDArray[np.int64], y: NDArray, planes: int, add: bool = False) -> None:
    """Write planes of zeros with the elements of x at their indices; with `add` those of one place are summed."""
    if planes:
        _scatter_plan(planes, x.size // planes, y.size // planes, add, x.dtype)(x, indices, y)


@lru_cache(maxsize=256)
def _gather_plan(planes: int, elements: int, places: int, dtype: np.dtype) -> Program:
    program = Program(dtype, "dy indices dx")
    tasks, sizes = _cut(planes, elements, places)
    last, step = program.worker_workspace(places * 8 // dtype.itemsize)
    program.add(
        GATHER, tasks, dy=program.dy, indices=program.indices, dx=program.dx,
        last=last, step=step * dtype.itemsize // 8, **sizes,
    )  # fmt: skip
    return program


def gather(dy: NDArray, indices: NDArray[np.int64], dx: NDArray, planes: int) -> None:
    """Write the gradient of `scatter`: that of the place, for the last element that went there, else 0."""
    if planes:
        _gather_plan(planes, dx.size // planes, dy.size // planes, dy.dtype)(dy, indices, dx)
