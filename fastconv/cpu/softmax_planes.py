"""Softmax and its logarithm with their gradients, along an axis that is not the last: lanes are neighbouring places.

A task takes a block of neighbouring places of one sample, with all their classes. The block is copied while its largest
elements are found: the planes of the classes often lie a multiple of 4096 bytes apart, where they would evict each
other from the cache before they are read again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from fastconv import jit
from fastconv.cpu.loop import Kernel, Program, kernel
from fastconv.cpu.simd import VECTOR_BYTES, head, lanes, load, select, splat, store
from fastconv.cpu.simd_math import exp_below_one, log

BLOCK = 1 << 14  # elements of a block: it stays in the L2 cache
LONGEST = 512  # places of a block
ALONE = 1 << 13  # elements that one thread passes over sooner than two meet


def each_block(**fields: str) -> Callable[[Callable], Kernel]:
    """Make a kernel of a function ``(args, start, first, count, scratch)``.

    It treats `count` places; `start` is the first of them in the arrays, and `first` in an array with one class. The
    scratch memory has `width` elements for each class, and two rows of them before.
    """

    def decorate(function: Callable) -> Kernel:
        treat = jit.inline(function)

        def run(args, task, slot):
            sample, block = task // args.blocks, task % args.blocks
            place = block * args.width
            start = sample * args.classes * args.places + place
            count = min(args.width, args.places - place)
            treat(args, start, sample * args.places + place, count, args.scratch + slot * args.scratch_step)

        run.__name__ = run.__qualname__ = function.__name__
        run.__doc__ = function.__doc__
        sizes = ("classes", "places", "blocks", "width", "scratch_step")
        return kernel(**fields, scratch="real", **dict.fromkeys(sizes, "int"))(run)

    return decorate


@jit.inline
def fill(p, count, value):
    """Write one number to all places."""
    for i in range(0, count, lanes(p)):
        store(p, i, splat(p, value), head(p, count - i))


@jit.inline
def copy_and_largest(args, x, count, copy, best):
    """Copy a block, and find the largest element of each place; NaN is passed over."""
    fill(best, count, -math.inf)
    for c in range(args.classes):
        source, target = x + c * args.places, copy + c * args.width
        for i in range(0, count, lanes(x)):
            mask = head(x, count - i)
            v, most = load(source, i, mask), load(best, i, mask)
            store(target, i, v, mask)
            store(best, i, select(v > most, v, most), mask)


@jit.inline
def exponentials(args, count, copy, best, total):
    """Replace a block by exp(x - largest), and add these up."""
    fill(total, count, 0.0)
    for c in range(args.classes):
        row = copy + c * args.width
        for i in range(0, count, lanes(row)):
            mask = head(row, count - i)
            e = exp_below_one(load(row, i, mask) - load(best, i, mask))
            store(row, i, e, mask)
            store(total, i, load(total, i, mask) + e, mask)


@jit.inline
def exponential_sums(args, count, copy, best, total):
    """Add up exp(x - largest)."""
    fill(total, count, 0.0)
    for c in range(args.classes):
        row = copy + c * args.width
        for i in range(0, count, lanes(row)):
            mask = head(row, count - i)
            e = exp_below_one(load(row, i, mask) - load(best, i, mask))
            store(total, i, load(total, i, mask) + e, mask)


@each_block(x="real", y="real")
def softmax(args, start, first, count, scratch):
    """Write y = exp(x) / sum(exp(x))."""
    x, y, best, total, copy = args.x + start, args.y + start, scratch, scratch + args.width, scratch + 2 * args.width
    copy_and_largest(args, x, count, copy, best)
    exponentials(args, count, copy, best, total)
    for i in range(0, count, lanes(x)):
        mask = head(x, count - i)
        store(total, i, splat(x, 1.0) / load(total, i, mask), mask)
    for c in range(args.classes):
        source, target = copy + c * args.width, y + c * args.places
        for i in range(0, count, lanes(x)):
            mask = head(x, count - i)
            store(target, i, load(source, i, mask) * load(total, i, mask), mask)


@each_block(x="real", y="real")
def log_softmax(args, start, first, count, scratch):
    """Write y = x - log(sum(exp(x)))."""
    x, y, best, total, copy = args.x + start, args.y + start, scratch, scratch + args.width, scratch + 2 * args.width
    copy_and_largest(args, x, count, copy, best)
    exponential_sums(args, count, copy, best, total)
    for i in range(0, count, lanes(x)):
        mask = head(x, count - i)
        store(total, i, log(load(total, i, mask)), mask)
    for c in range(args.classes):
        source, target = copy + c * args.width, y + c * args.places
        for i in range(0, count, lanes(x)):
            mask = head(x, count - i)
            store(target, i, load(source, i, mask) - load(best, i, mask) - load(total, i, mask), mask)


@each_block(dy="real", y="real", dx="real")
def softmax_backward(args, start, first, count, scratch):
    """Write dx = y * (dy - sum(dy * y))."""
    dy, y, dx, total = args.dy + start, args.y + start, args.dx + start, scratch
    fill(total, count, 0.0)
    for c in range(args.classes):
        at = c * args.places
        for i in range(0, count, lanes(y)):
            mask = head(y, count - i)
            store(total, i, load(total, i, mask) + load(dy + at, i, mask) * load(y + at, i, mask), mask)
    for c in range(args.classes):
        at = c * args.places
        for i in range(0, count, lanes(y)):
            mask = head(y, count - i)
            store(dx + at, i, load(y + at, i, mask) * (load(dy + at, i, mask) - load(total, i, mask)), mask)


@each_block(dy="real", y="real", dx="real")
def log_softmax_backward(args, start, first, count, scratch):
    """Write dx = dy - exp(y) * sum(dy)."""
    dy, y, dx, total = args.dy + start, args.y + start, args.dx + start, scratch
    fill(total, count, 0.0)
    for c in range(args.classes):
        for i in range(0, count, lanes(y)):
            mask = head(y, count - i)
            store(total, i, load(total, i, mask) + load(dy + c * args.places, i, mask), mask)
    for c in range(args.classes):
        at = c * args.places
        for i in range(0, count, lanes(y)):
            mask = head(y, count - i)
            share = exp_below_one(load(y + at, i, mask)) * load(total, i, mask)
            store(dx + at, i, load(dy + at, i, mask) - share, mask)


@lru_cache(maxsize=256)
def plane_plan(step: Kernel, samples: int, classes: int, places: int, dtype: np.dtype, **options: float) -> Program:
    """Plan of the arrays of a kernel on blocks, in its order."""
    arrays = [name for name, kind in step.fields if kind not in ("int", "scalar") and name != "scratch"]
    program = Program(dtype, " ".join(arrays))
    n = VECTOR_BYTES // dtype.itemsize
    width = max(n, min(LONGEST, BLOCK // max(1, classes) // n * n, -(-places // n) * n))
    blocks = -(-places // width)
    scratch, scratch_step = program.worker_workspace((classes + 2) * width)
    sizes = {"classes": classes, "places": places, "blocks": blocks, "width": width, "scratch_step": scratch_step}
    named = {name: getattr(program, name) for name in arrays}
    tasks = samples * blocks if classes else 0
    program.add(step, tasks, alone=samples * classes * places <= ALONE, scratch=scratch, **sizes, **named, **options)
    return program
