"""Group normalisation: a task has the channels of one group in one sample, which lie side by side in memory.

The first pass finds their mean and variance, or in the gradient two sums of each channel; the second, which finds the
group in the cache, writes the result. The passes over runs are those of batch normalisation.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from fastconv.cpu.loop import Program, kernel
from fastconv.cpu.norm import ALONE, BLOCK, distance, statistics, sums_over_run, write_run
from fastconv.cpu.simd import VECTOR_BYTES, fma, head, lanes, load, splat, square_root, store, sum_lanes

GROUPS = {"groups": "int", "channels": "int", "plane": "int"}


@write_run
def normalised(data, i, mask):
    """(x - mean) * scale + bias."""
    x, mean, scale, bias = data
    return fma(load(x, i, mask) - mean, scale, bias)


@kernel(
    x="real", weight="real", bias="real", y="real", mean="real", rstd="real", eps="scalar", samples="int",
    block_samples="int", block_run="int", past="int", **GROUPS,
)  # fmt: skip
def forward(args, task, slot):
    """Write y, the mean and 1 / deviation of a group; `channels` is their number in a group."""
    plane = args.plane
    start, c = task * args.channels * plane, task % args.groups * args.channels
    x, y, one = args.x + start, args.y + start, splat(args.x, 1.0)
    mean, variance = statistics(x, 0, args.channels * plane, 1, args)
    rstd = one / square_root(variance + splat(x, args.eps))
    store(args.mean, task, mean, head(x, 1))
    store(args.rstd, task, rstd, head(x, 1))
    for k in range(args.channels):
        data = (x + k * plane, mean, rstd * splat(x, args.weight[c + k]), splat(x, args.bias[c + k]))
        normalised(y + k * plane, data, plane, args.past)


@sums_over_run
def gradient_sums(sums, data, i, mask):
    """Add dy, and its products with the distances from the mean."""
    x, dy, mean = data
    g = load(dy, i, mask)
    return sums[0] + g, fma(distance(x, mean, i, mask), g, sums[1])


@write_run
def input_gradient(data, i, mask):
    """Dy * scale - shift - (x - mean) * slope."""
    x, dy, mean, scale, shift, slope = data
    return load(dy, i, mask) * scale - fma(distance(x, mean, i, mask), slope, shift)


@kernel(
    dy="real", x="real", weight="real", mean="real", rstd="real", dx="real", dws="real", dbs="real", wanted="int",
    past="int", **GROUPS,
)  # fmt: skip
def backward(args, task, slot):
    """Write dx of a group, and what it adds to the gradients of its weights and biases."""
    plane = args.plane
    start, c, row = task * args.channels * plane, task % args.groups * args.channels, task * args.channels
    x, dy, zero = args.x + start, args.dy + start, splat(args.x, 0.0)
    mean, rstd = splat(x, args.mean[task]), splat(x, args.rstd[task])
    total = along = zero
    for k in range(args.channels):
        g, gd = gradient_sums((x + k * plane, dy + k * plane, mean), x, plane)
        g, gd, w = splat(x, sum_lanes(g)), splat(x, sum_lanes(gd)), splat(x, args.weight[c + k])
        store(args.dbs, row + k, g, head(x, 1))
        store(args.dws, row + k, gd * rstd, head(x, 1))
        total, along = fma(g, w, total), fma(gd, w, along)
    if not args.wanted:
        return
    share = rstd * splat(x, 1.0 / (args.channels * plane))
    shift, slope = total * share, along * rstd * rstd * share
    for k in range(args.channels):
        scale = rstd * splat(x, args.weight[c + k])
        data = (x + k * plane, dy + k * plane, mean, scale, shift, slope)
        input_gradient(args.dx + (start + k * plane), data, plane, args.past)


@kernel(dws="real", dbs="real", dw="real", db="real", samples="int", channels="int")
def join(args, task, slot):
    """Add up what the samples give to the gradients of some weights and biases."""
    i = task * lanes(args.dw)
    mask = head(args.dw, args.channels - i)
    dw = db = splat(args.dw, 0.0)
    for n in range(args.samples):
        at = n * args.channels + i
        dw, db = dw + load(args.dws, at, mask), db + load(args.dbs, at, mask)
    store(args.dw, i, dw, mask)
    store(args.db, i, db, mask)


# ---- plans -----------------------------------------------------------------------------------------------------

Sizes = tuple[int, int, int, int]
"""Samples, groups, channels of a group, elements of a channel."""

PAST_CACHES = 16 << 20  # bytes of a result from which it is stored past the caches


def _past(sizes: Sizes, dtype: np.dtype) -> int:
    return int(math.prod(sizes) * dtype.itemsize >= PAST_CACHES)


@lru_cache(maxsize=256)
def forward_plan(sizes: Sizes, dtype: np.dtype, eps: float) -> Program:
    """Plan of arrays (x, weight, bias, y, mean, rstd)."""
    samples, groups, channels, plane = sizes
    program = Program(dtype, "x weight bias y mean rstd")
    places = {name: getattr(program, name) for name in program.names}
    program.add(
        forward, samples * groups, alone=math.prod(sizes) <= ALONE, eps=eps, samples=1, block_samples=1,
        block_run=min(BLOCK, channels * plane), past=_past(sizes, dtype), groups=groups, channels=channels, plane=plane,
        **places,
    )  # fmt: skip
    return program


@lru_cache(maxsize=256)
def backward_plan(sizes: Sizes, dtype: np.dtype, wanted: bool) -> Program:
    """Plan of arrays (dy, x, weight, mean, rstd, dx, dw, db); `dx` may be None where it is not `wanted`."""
    samples, groups, channels, plane = sizes
    program = Program(dtype, "dy x weight mean rstd dx dw db")
    sums = {name: program.workspace(samples * groups * channels) for name in ("dws", "dbs")}
    places = {name: getattr(program, name) for name in program.names[:-2]}
    program.add(
        backward, samples * groups, alone=math.prod(sizes) <= ALONE, wanted=int(wanted), past=_past(sizes, dtype),
        groups=groups, channels=channels, plane=plane, **places, **sums,
    )  # fmt: skip
    every = groups * channels
    tasks = -(-every * dtype.itemsize // VECTOR_BYTES)
    few = samples * every <= ALONE
    program.add(join, tasks, alone=few, dw=program.dw, db=program.db, samples=samples, channels=every, **sums)
    return program
