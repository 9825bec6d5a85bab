"""Cross entropy of logits and labels, and its gradient: along rows of classes, and for planes of them.

The loss of a place with label t is ``sum over c of q[c] * (log(sum(exp(x))) - x[c])``, where q is the label's share,
``(1 - smoothing) * weight[t]`` at t, plus ``smoothing / classes * weight[c]`` everywhere. Its gradient is
``sum(q) * softmax(x) - q``.

Three numbers of each place are kept for the way back: the largest logit, the logarithm of the sum of exponentials of
what lies below it, and the label's weight. A place that is ignored has the weight 0, and on the way back the share 0.
"""

from __future__ import annotations

import math

from fastconv import jit
from fastconv.cpu.simd import head, iota, lanes, load, select, splat, store, sum_lanes
from fastconv.cpu.simd_math import exp, log
from fastconv.cpu.softmax import each_row, row_exponentials, row_largest
from fastconv.cpu.softmax_planes import copy_and_largest, each_block, exponential_sums, fill

LABELS = {
    "x": "real", "target": "int64", "weight": "real", "hard": "scalar", "soft": "scalar", "ignored": "int",
}  # fmt: skip
KEPT = {"largest": "real", "logarithm": "real", "mass": "real"}

# ---- rows ------------------------------------------------------------------------------------------------------


@each_row(**LABELS, **KEPT, loss="real")
def row_losses(args, row, start):
    """Write the loss of a row, and what the way back needs."""
    x, columns, t = args.x + start, args.columns, args.target[row]
    largest = row_largest(x, columns)
    logarithm = math.log(row_exponentials(x, columns, splat(x, largest)))
    args.largest[row], args.logarithm[row] = largest, logarithm
    if t == args.ignored:
        args.mass[row] = args.loss[row] = 0.0
        return
    args.mass[row] = args.weight[t]
    loss = args.hard * args.weight[t] * (largest - x[t] + logarithm)
    if args.soft:
        total, shift = splat(x, 0.0), splat(x, largest)
        for i in range(0, columns, lanes(x)):
            mask = head(x, columns - i)
            below = shift - load(x, i, mask) + splat(x, logarithm)
            total = total + select(mask, load(args.weight, i, mask) * below, splat(x, 0.0))
        loss += args.soft * sum_lanes(total)
    args.loss[row] = loss


@each_row(**LABELS, **KEPT, share="real", weights="real", dx="real")
def row_gradients(args, row, start):
    """Write dx = share * (sum(q) * softmax(x) - q); `weights` is the sum of all classes' weights."""
    x, dx, columns, t = args.x + start, args.dx + start, args.columns, args.target[row]
    largest, logarithm = splat(x, args.largest[row]), splat(x, args.logarithm[row])
    zero, soft, own = splat(x, 0.0), splat(x, args.soft), args.hard * args.mass[row]
    every, share, own = splat(x, own + args.soft * args.weights[0]), splat(x, args.share[row]), splat(x, own)
    label = splat(iota(x, 0), t)
    for i in range(0, columns, lanes(x)):
        mask = head(x, columns - i)
        g = exp(load(x, i, mask) - largest - logarithm) * every - select(iota(x, i) == label, own, zero)
        store(dx, i, (g - soft * load(args.weight, i, mask)) * share, mask)


PROBABILITIES = {"x": "real", "target": "real", "weight": "real", "hard": "scalar", "soft": "scalar"}


@jit.inline
def wanted(args, start, i, mask):
    """Q: the weight of a class times its wanted probability, after smoothing."""
    t = load(args.target + start, i, mask) * splat(args.x, args.hard) + splat(args.x, args.soft)
    return select(mask, t * load(args.weight, i, mask), splat(args.x, 0.0))


@each_row(**PROBABILITIES, **KEPT, loss="real")
def row_losses_of_probabilities(args, row, start):
    """Write the loss of a row whose target is a probability of each class."""
    x, columns = args.x + start, args.columns
    largest = row_largest(x, columns)
    logarithm = math.log(row_exponentials(x, columns, splat(x, largest)))
    args.largest[row], args.logarithm[row] = largest, logarithm
    total = mass = splat(x, 0.0)
    for i in range(0, columns, lanes(x)):
        mask = head(x, columns - i)
        q = wanted(args, start, i, mask)
        below = splat(x, largest) - load(x, i, mask) + splat(x, logarithm)
        total, mass = total + select(mask, q * below, splat(x, 0.0)), mass + q
    args.loss[row], args.mass[row] = sum_lanes(total), sum_lanes(mass)


@each_row(**PROBABILITIES, **KEPT, share="real", dx="real")
def row_gradients_of_probabilities(args, row, start):
    """Write dx = share * (sum(q) * softmax(x) - q)."""
    x, dx, columns = args.x + start, args.dx + start, args.columns
    largest, logarithm = splat(x, args.largest[row]), splat(x, args.logarithm[row])
    every, share = splat(x, args.mass[row]), splat(x, args.share[row])
    for i in range(0, columns, lanes(x)):
        mask = head(x, columns - i)
        p = exp(load(x, i, mask) - largest - logarithm)
        store(dx, i, (p * every - wanted(args, start, i, mask)) * share, mask)


# ---- planes ----------------------------------------------------------------------------------------------------


@each_block(**LABELS, **KEPT, loss="real")
def plane_losses(args, start, first, count, scratch):
    """Write the losses of a block of places, and what the way back needs."""
    x, loss = args.x + start, args.loss + first
    best, total, copy = args.largest + first, args.logarithm + first, scratch + 2 * args.width
    copy_and_largest(args, x, count, copy, best)
    exponential_sums(args, count, copy, best, total)
    for i in range(0, count, lanes(x)):
        mask = head(x, count - i)
        store(total, i, log(load(total, i, mask)), mask)
    fill(loss, count, 0.0)
    if args.soft:
        for c in range(args.classes):
            share = splat(x, args.soft * args.weight[c])
            for i in range(0, count, lanes(x)):
                mask = head(x, count - i)
                below = load(best, i, mask) - load(copy + c * args.width, i, mask) + load(total, i, mask)
                store(loss, i, load(loss, i, mask) + share * below, mask)
    for i in range(count):
        t = args.target[first + i]
        if t == args.ignored:
            args.mass[first + i] = loss[i] = 0.0
        else:
            args.mass[first + i] = args.weight[t]
            loss[i] = loss[i] + args.hard * args.weight[t] * (best[i] - copy[t * args.width + i] + total[i])


@each_block(**LABELS, **KEPT, share="real", weights="real", dx="real")
def plane_gradients(args, start, first, count, scratch):
    """Write dx = share * (sum(q) * softmax(x) - q) for a block of places."""
    x, dx, share, every = args.x + start, args.dx + start, args.share + first, scratch
    hard, rest = splat(x, args.hard), splat(x, args.soft * args.weights[0])
    for i in range(0, count, lanes(x)):
        mask = head(x, count - i)
        store(every, i, (load(args.mass + first, i, mask) * hard + rest) * load(share, i, mask), mask)
    for c in range(args.classes):
        soft = splat(x, args.soft * args.weight[c])
        for i in range(0, count, lanes(x)):
            mask = head(x, count - i)
            at = c * args.places
            below = load(x + at, i, mask) - load(args.largest + first, i, mask) - load(args.logarithm + first, i, mask)
            store(dx + at, i, exp(below) * load(every, i, mask) - soft * load(share, i, mask), mask)
    for i in range(count):
        t = args.target[first + i]
        if t != args.ignored:
            dx[t * args.places + i] = dx[t * args.places + i] - args.hard * args.mass[first + i] * share[i]
