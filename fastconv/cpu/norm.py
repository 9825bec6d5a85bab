"""Batch normalisation with what follows it, an addend and ReLU: forward and backward, two passes over a channel each.

Memory is what all of it waits for. A task has one channel, so that the second pass finds in the cache what the first
has read; it goes backwards through the samples, starting with those that were read last.

A channel's elements lie in *runs*, one a sample. Where these have a single element, neighbouring channels share a
task: each lane is then a channel, and what is a number otherwise, in all lanes, differs from lane to lane.

ReLU is a comparison with a floor of 0, above which an element must lie, and ReLU6 one with a ceiling, too. Without them
these are NaN, with which all comparisons are false.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from fastconv import jit
from fastconv.cpu.loop import Program, kernel
from fastconv.cpu.simd import (
    VECTOR_BYTES,
    address_of,
    fma,
    head,
    lanes,
    load,
    select,
    splat,
    square_root,
    store,
    stream,
    sum_lanes,
)

BLOCK = 4096  # elements whose squares are summed before they join those of others: rounding grows with their number
SPARSE = 8  # registers of which one is read for a block's centre
PAST_CACHES = 16 << 20  # bytes of a result from which it is stored past the caches
ALONE = 1 << 15  # elements that one thread passes over sooner than two meet

# ---- runs ------------------------------------------------------------------------------------------------------


def sums_over_run(function: Callable) -> Callable:
    """Make a loop over a run of a function ``(sums, data, i, mask)``, which adds one vector to a pair of sums."""
    add = jit.inline(function)

    def run(data, like, count):
        n, zero = lanes(like), splat(like, 0.0)
        sums = (zero, zero)
        whole = count - count % n
        for i in range(0, whole, n):
            sums = add(sums, data, i, head(like, n))
        if whole < count:
            sums = add(sums, data, whole, head(like, count - whole))
        return sums

    return jit.inline(run)


def write_run(function: Callable) -> Callable:
    """Make a loop over a run of a function ``(data, i, mask)``, whose vectors go to y, `past` the caches or not."""
    value = jit.inline(function)

    def run(y, data, count, past):
        n, first = lanes(y), 0
        full = head(y, n)
        if past:
            first = min(count, -(address_of(y) * n // VECTOR_BYTES) % n)
            store(y, 0, value(data, 0, head(y, first)), head(y, first))
        whole = count - (count - first) % n
        if past:
            for i in range(first, whole, n):
                stream(y, i, value(data, i, full))
        else:
            for i in range(first, whole, n):
                store(y, i, value(data, i, full))
        if whole < count:
            store(y, whole, value(data, whole, head(y, count - whole)), head(y, count - whole))

    return jit.inline(run)


@jit.inline
def together(v, width):
    """Sum of the lanes, in all of them; the vector itself where each lane is a channel."""
    return splat(v, sum_lanes(v)) if width == 1 else v


@jit.inline
def of_channels(p, c, width):
    """Return what channel c has in p, in all lanes; or the next channels, one a lane."""
    return splat(p, p[c]) if width == 1 else load(p, c, head(p, width))


@jit.inline
def put(p, c, width, v):
    """Write what `of_channels` reads."""
    store(p, c, v, head(p, width))


# ---- mean and variance -----------------------------------------------------------------------------------------


@sums_over_run
def moments(sums, data, i, mask):
    """Add the distances from a centre, and their squares."""
    x, centre = data
    d = select(mask, load(x, i, mask) - centre, splat(x, 0.0))
    return sums[0] + d, fma(d, d, sums[1])


@jit.inline
def block_moments(x, step, samples, count, centre):
    """Return sums of distances from a centre, and of their squares, over the same part of some samples."""
    first = second = splat(x, 0.0)
    for n in range(samples):
        a, b = moments((x + n * step, centre), x, count)
        first, second = first + a, second + b
    return first, second


@jit.inline
def block_centre(x, step, samples, count, width):
    """Mean of every eighth register of a block.

    A share p of all elements, whose mean lies d from that of all, adds at least p / (1 - p) * d**2 to their variance.
    So from a centre found in an eighth of them, the mean square is at most 8 times the variance: 3 bits are lost at
    worst, and none as a rule.
    """
    n, total = lanes(x), splat(x, 0.0)
    for sample in range(samples):
        for i in range(0, count, SPARSE * n):
            total = total + load(x + sample * step, i, head(x, count - i))
    seen = count // (SPARSE * n) * n + min(n, count % (SPARSE * n))
    return together(total, width) * splat(x, 1.0 / (samples * (seen // width)))


@jit.inline
def statistics(x, step, count, width, args):
    """Mean and biased variance of a channel, of which each element is read once, and an eighth twice.

    In each block distances are taken from a centre near the block's mean. The blocks are joined by the update of T. F.
    Chan, G. H. Golub, R. J. LeVeque, *Algorithms for computing the sample variance* (1983), equation 2.1, with means
    counted from the first centre. So a mean that is large beside the deviation costs no digits.
    """
    seen, origin = 0, splat(x, 0.0)
    mean = squares = origin
    for n in range(0, args.samples, args.block_samples):
        samples = min(args.block_samples, args.samples - n)
        for i in range(0, count, args.block_run):
            part = min(args.block_run, count - i)
            size, block = samples * (part // width), x + (n * step + i)
            centre, share = block_centre(block, step, samples, part, width), splat(x, 1.0 / size)
            first, second = block_moments(block, step, samples, part, centre)
            first, second = together(first, width), together(second, width)
            if not seen:
                origin = centre
            seen += size
            d = fma(first, share, centre - origin) - mean
            mean = fma(d, splat(x, size / seen), mean)
            squares = squares + (second - first * first * share) + d * (d * splat(x, size / seen * (seen - size)))
    one, unusable = splat(x, 1.0 / seen), sum_lanes(squares)
    mean = origin + mean
    if unusable != unusable:  # an infinite element: by definition the mean is infinite, where the update has inf - inf
        total, _ = block_moments(x, step, args.samples, count, splat(x, 0.0))
        mean = select(squares == squares, mean, together(total, width) * one)
    return mean, squares * one


# ---- forward ---------------------------------------------------------------------------------------------------


@jit.inline
def between(v, floor, ceiling):
    """V where it lies above the floor and below the ceiling, or is NaN; else the nearer of the two."""
    return select(v <= floor, floor, select(v >= ceiling, ceiling, v))


@write_run
def normalised(data, i, mask):
    """(x - mean) * scale + bias, between floor and ceiling."""
    x, mean, scale, bias, floor, ceiling = data
    return between(fma(load(x, i, mask) - mean, scale, bias), floor, ceiling)


@write_run
def normalised_sum(data, i, mask):
    """(x - mean) * scale + bias + residual, between floor and ceiling."""
    (x, mean, scale, bias, floor, ceiling), residual = data
    return between(fma(load(x, i, mask) - mean, scale, bias) + load(residual, i, mask), floor, ceiling)


@jit.inline
def move(running, c, width, batch, share):
    """Move a running statistic, if there is one, towards that of the batch."""
    if address_of(running):
        old = of_channels(running, c, width)
        put(running, c, width, fma(batch, share, old * (splat(old, 1.0) - share)))


RUNS = {"samples": "int", "channels": "int", "plane": "int", "width": "int", "training": "int", "past": "int"}
CHANNELS = {"weight": "real", "bias": "real", "mean": "real", "rstd": "real", "floor": "scalar",
            "ceiling": "scalar"}  # fmt: skip


@kernel(
    x="real", y="real", residual="real", added="int", running_mean="real", running_var="real",
    momentum="scalar", eps="scalar", block_samples="int", block_run="int", **RUNS, **CHANNELS,
)  # fmt: skip
def forward(args, task, slot):
    """Write y, the mean and 1 / deviation; with `training`, move the running statistics, which are used otherwise."""
    c = task * args.width
    width = min(args.width, args.channels - c)
    start, step, count = args.plane * c, args.plane * args.channels, args.plane * width
    x, y, one = args.x + start, args.y + start, splat(args.x, 1.0)
    if args.training:
        mean, variance = statistics(x, step, count, width, args)
        size = args.samples * args.plane
        share = splat(x, args.momentum)
        move(args.running_mean, c, width, mean, share)
        move(args.running_var, c, width, variance * splat(x, size / (size - 1)), share)
    else:
        mean, variance = of_channels(args.running_mean, c, width), of_channels(args.running_var, c, width)
    rstd = one / square_root(variance + splat(x, args.eps))
    put(args.mean, c, width, mean)
    put(args.rstd, c, width, rstd)
    scale, bias = of_channels(args.weight, c, width) * rstd, of_channels(args.bias, c, width)
    floor, ceiling = splat(x, args.floor), splat(x, args.ceiling)
    for n in range(args.samples - 1, -1, -1):
        data = (x + n * step, mean, scale, bias, floor, ceiling)
        if args.added:
            normalised_sum(y + n * step, (data, args.residual + (start + n * step)), count, args.past)
        else:
            normalised(y + n * step, data, count, args.past)


# ---- backward --------------------------------------------------------------------------------------------------


@jit.inline
def distance(x, mean, i, mask):
    """X - mean, 0 outside the mask."""
    return select(mask, load(x, i, mask) - mean, splat(x, 0.0))


@jit.inline
def passed(y, dy, floor, ceiling):
    """Dy where y lies between floor and ceiling, or is NaN."""
    zero = splat(dy, 0.0)
    return select(y <= floor, zero, select(y >= ceiling, zero, dy))


@jit.inline
def gradient(d, dy, scale, bias, floor, ceiling, i, mask):
    """Return dy where y lies between floor and ceiling; y is computed again, to the same bits."""
    return passed(fma(d, scale, bias), load(dy, i, mask), floor, ceiling)


@sums_over_run
def gradient_sums(sums, data, i, mask):
    """Add the gradient g that passes ReLU, and its products with the distances from the mean."""
    x, dy, mean, scale, bias, floor, ceiling = data
    d = distance(x, mean, i, mask)
    g = gradient(d, dy, scale, bias, floor, ceiling, i, mask)
    return sums[0] + g, fma(d, g, sums[1])


@sums_over_run
def gradient_sums_kept(sums, data, i, mask):
    """Like `gradient_sums`, by the result y, which had an addend; g is the addend's gradient."""
    x, dy, mean, y, dresidual, floor, ceiling = data
    d = distance(x, mean, i, mask)
    g = passed(load(y, i, mask), load(dy, i, mask), floor, ceiling)
    store(dresidual, i, g, mask)
    return sums[0] + g, fma(d, g, sums[1])


@write_run
def input_gradient(data, i, mask):
    """(g - mean(g) - d * mean(g * d) / variance) * scale."""
    (x, dy, mean, scale, bias, floor, ceiling), mean_g, slope = data
    d = distance(x, mean, i, mask)
    return (gradient(d, dy, scale, bias, floor, ceiling, i, mask) - mean_g - d * slope) * scale


@write_run
def input_gradient_given(data, i, mask):
    """g * scale: the statistics do not depend on x."""
    (x, dy, mean, scale, bias, floor, ceiling), _, _ = data
    d = distance(x, mean, i, mask)
    return gradient(d, dy, scale, bias, floor, ceiling, i, mask) * scale


@kernel(
    dy="real", x="real", y="real", dx="real", dw="real", db="real", dresidual="real", added="int", wanted="int",
    **RUNS, **CHANNELS,
)  # fmt: skip
def backward(args, task, slot):
    """Write dx, the gradients of weight and bias, and that of the addend if there was one."""
    c = task * args.width
    width = min(args.width, args.channels - c)
    start, step, count = args.plane * c, args.plane * args.channels, args.plane * width
    x, dy, dx, zero = args.x + start, args.dy + start, args.dx + start, splat(args.x, 0.0)
    mean, rstd = of_channels(args.mean, c, width), of_channels(args.rstd, c, width)
    scale, bias = of_channels(args.weight, c, width) * rstd, of_channels(args.bias, c, width)
    floor, ceiling = splat(x, args.floor), splat(x, args.ceiling)
    sum_g = sum_gd = zero
    for n in range(args.samples):
        at = n * step
        if args.added:
            kept = (x + at, dy + at, mean, args.y + (start + at), args.dresidual + (start + at), floor, ceiling)
            g, gd = gradient_sums_kept(kept, x, count)
        else:
            g, gd = gradient_sums((x + at, dy + at, mean, scale, bias, floor, ceiling), x, count)
        sum_g, sum_gd = sum_g + g, sum_gd + gd
    sum_g, sum_gd = together(sum_g, width), together(sum_gd, width)
    put(args.db, c, width, sum_g)
    put(args.dw, c, width, sum_gd * rstd)
    if not args.wanted:
        return
    if args.added:  # what has passed ReLU is what the addend gets
        dy, floor, ceiling = args.dresidual + start, splat(x, math.nan), splat(x, math.nan)
    share = splat(x, 1.0 / (args.samples * args.plane))
    for n in range(args.samples - 1, -1, -1):
        at = n * step
        data = ((x + at, dy + at, mean, scale, bias, floor, ceiling), sum_g * share, sum_gd * rstd * rstd * share)
        if args.training:
            input_gradient(dx + at, data, count, args.past)
        else:
            input_gradient_given(dx + at, data, count, args.past)


# ---- plans -----------------------------------------------------------------------------------------------------


def _runs(shape: tuple[int, int, int], dtype: np.dtype, training: bool) -> dict[str, int]:
    samples, channels, plane = shape
    width = VECTOR_BYTES // dtype.itemsize if plane == 1 else 1
    past = math.prod(shape) * dtype.itemsize >= PAST_CACHES
    return {
        "samples": samples, "channels": channels, "plane": plane, "width": width, "training": int(training),
        "past": int(past),
    }  # fmt: skip


def _limits(ceiling: float | None) -> dict[str, float]:
    """Return floor and ceiling of a ReLU; None is none."""
    return {"floor": math.nan, "ceiling": math.nan} if ceiling is None else {"floor": 0.0, "ceiling": ceiling}


def _add(program: Program, step, sizes: dict[str, int], **arguments: object) -> None:
    tasks = -(-sizes["channels"] // sizes["width"]) if sizes["samples"] else 0
    alone = sizes["samples"] * sizes["channels"] * sizes["plane"] <= ALONE
    arrays = {name: getattr(program, name) for name in program.names}
    program.add(step, tasks, alone=alone, **arrays, **sizes, **arguments)


@lru_cache(maxsize=256)
def forward_plan(
    shape: tuple[int, int, int],
    dtype: np.dtype,
    training: bool,
    momentum: float,
    eps: float,
    added: bool,
    ceiling: float | None,
) -> Program:
    """Plan of arrays (x, weight, bias, residual, running_mean, running_var, y, mean, rstd).

    `shape` is (samples, channels, plane). The last three are written; with `training` also the running statistics,
    either of which may then be None. `residual` may be None without `added`. `ceiling` is that of a ReLU, or None.
    """
    program = Program(dtype, "x weight bias residual running_mean running_var y mean rstd")
    sizes = _runs(shape, dtype, training)
    block_run = min(BLOCK, shape[2] * sizes["width"])
    _add(
        program, forward, sizes, added=int(added), momentum=momentum, eps=eps, **_limits(ceiling),
        block_run=block_run, block_samples=max(1, BLOCK // block_run),
    )  # fmt: skip
    return program


@lru_cache(maxsize=256)
def backward_plan(
    shape: tuple[int, int, int], dtype: np.dtype, training: bool, added: bool, ceiling: float | None, wanted: bool
) -> Program:
    """Plan of arrays (dy, x, y, weight, bias, mean, rstd, dx, dw, db, dresidual).

    `y` and `dresidual` may be None without `added`; `dx` where it is not `wanted`.
    """
    program = Program(dtype, "dy x y weight bias mean rstd dx dw db dresidual")
    _add(program, backward, _runs(shape, dtype, training), added=int(added), wanted=int(wanted), **_limits(ceiling))
    return program
