"""Cross entropy of logits and labels, and its gradient: along rows of classes, and for planes of them.

The loss of a place with label t is ``sum over c of q[c] * (log(sum(exp(x))) - x[c])``, where q is the label's share,
``hard * weight[t]`` at t, plus ``soft * weight[c]`` everywhere. Its gradient is ``sum(q) * softmax(x) - q``, times the
place's share of dy: they lie `share_step` apart, 0 where there is one for all.

Three numbers of each place are `kept` for the way back: the largest logit, the logarithm of the sum of exponentials of
what lies below it, and the label's weight, 0 for what is ignored. They lie `apart` elements from each other.
"""

from __future__ import annotations

import math

from fastconv import jit
from fastconv.cpu.simd import head, iota, lanes, load, load_beside, select, splat, store, sum_lanes
from fastconv.cpu.simd_math import exp_below_one, log
from fastconv.cpu.softmax import each_row, row_exponentials, row_largest
from fastconv.cpu.softmax_planes import copy_and_largest, each_block, exponential_sums, fill

SHARES = {"weight": "real", "hard": "scalar", "soft": "scalar", "kept": "real", "apart": "int"}
LABELS = {"x": "real", "target": "int64", "ignored": "int", **SHARES}
PROBABILITIES = {"x": "real", "target": "real", **SHARES}
GRADIENT = {"share": "real", "share_step": "int", "dx": "real"}

# ---- rows ------------------------------------------------------------------------------------------------------


@jit.inline
def keep(args, row, start):
    """Find the largest logit of a row and the logarithm; keep them."""
    x = args.x + start
    largest = row_largest(x, args.columns)
    logarithm = math.log(row_exponentials(x, args.columns, splat(x, largest)))
    args.kept[row], args.kept[args.apart + row] = largest, logarithm
    return largest, logarithm


@each_row(**LABELS, loss="real")
def row_losses(args, row, start):
    """Write the loss of a row, and what the way back needs."""
    x, columns, t = args.x + start, args.columns, args.target[row]
    largest, logarithm = keep(args, row, start)
    if t == args.ignored:
        args.kept[2 * args.apart + row] = args.loss[row] = 0.0
        return
    args.kept[2 * args.apart + row] = args.weight[t]
    loss = args.hard * args.weight[t] * (largest - x[t] + logarithm)
    if args.soft:
        total, shift = splat(x, 0.0), splat(x, largest)
        for i in range(0, columns, lanes(x)):
            mask = head(x, columns - i)
            below = shift - load(x, i, mask) + splat(x, logarithm)
            total = total + select(mask, load(args.weight, i, mask) * below, splat(x, 0.0))
        loss += args.soft * sum_lanes(total)
    args.loss[row] = loss


@each_row(**LABELS, weights="real", **GRADIENT)
def row_gradients(args, row, start):
    """Write dx of a row; ``weights[0]`` is the sum of all classes' weights."""
    x, dx, columns, t = args.x + start, args.dx + start, args.columns, args.target[row]
    largest, logarithm = splat(x, args.kept[row]), splat(x, args.kept[args.apart + row])
    zero, soft, own = splat(x, 0.0), splat(x, args.soft), args.hard * args.kept[2 * args.apart + row]
    every, own, label = splat(x, own + args.soft * args.weights[0]), splat(x, own), splat(iota(x, 0), t)
    share = splat(x, args.share[row * args.share_step]) if t != args.ignored else zero
    for i in range(0, columns, lanes(x)):
        mask = head(x, columns - i)
        g = exp_below_one(load(x, i, mask) - largest - logarithm) * every - select(iota(x, i) == label, own, zero)
        store(dx, i, (g - soft * load(args.weight, i, mask)) * share, mask)


@jit.inline
def wanted(args, start, i, mask):
    """Q: the weight of a class times its wanted probability, after smoothing."""
    t = load(args.target + start, i, mask) * splat(args.x, args.hard) + splat(args.x, args.soft)
    return select(mask, t * load(args.weight, i, mask), splat(args.x, 0.0))


@each_row(**PROBABILITIES, loss="real")
def row_losses_of_probabilities(args, row, start):
    """Write the loss of a row whose target is a probability of each class."""
    x, columns = args.x + start, args.columns
    largest, logarithm = keep(args, row, start)
    total = mass = splat(x, 0.0)
    for i in range(0, columns, lanes(x)):
        mask = head(x, columns - i)
        q = wanted(args, start, i, mask)
        below = splat(x, largest) - load(x, i, mask) + splat(x, logarithm)
        total, mass = total + select(mask, q * below, splat(x, 0.0)), mass + q
    args.loss[row], args.kept[2 * args.apart + row] = sum_lanes(total), sum_lanes(mass)


@each_row(**PROBABILITIES, **GRADIENT)
def row_gradients_of_probabilities(args, row, start):
    """Write dx of a row."""
    x, dx, columns = args.x + start, args.dx + start, args.columns
    largest, logarithm = splat(x, args.kept[row]), splat(x, args.kept[args.apart + row])
    every, share = splat(x, args.kept[2 * args.apart + row]), splat(x, args.share[row * args.share_step])
    for i in range(0, columns, lanes(x)):
        mask = head(x, columns - i)
        p = exp_below_one(load(x, i, mask) - largest - logarithm)
        store(dx, i, (p * every - wanted(args, start, i, mask)) * share, mask)


# ---- planes ----------------------------------------------------------------------------------------------------


@each_block(**LABELS, loss="real")
def plane_losses(args, start, first, count, scratch):
    """Write the losses of a block of places, and what the way back needs."""
    x, loss, best = args.x + start, args.loss + first, args.kept + first
    total, mass, copy = best + args.apart, best + 2 * args.apart, scratch + 2 * args.width
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
            mass[i] = loss[i] = 0.0
        else:
            mass[i] = args.weight[t]
            loss[i] = loss[i] + args.hard * args.weight[t] * (best[i] - copy[t * args.width + i] + total[i])


@each_block(**LABELS, weights="real", **GRADIENT)
def plane_gradients(args, start, first, count, scratch):
    """Write dx of a block of places."""
    x, dx, best = args.x + start, args.dx + start, args.kept + first
    total, mass, share, every = best + args.apart, best + 2 * args.apart, scratch, scratch + args.width
    hard, rest, ignored = splat(x, args.hard), splat(x, args.soft * args.weights[0]), splat(iota(x, 0), args.ignored)
    for i in range(0, count, lanes(x)):
        mask = head(x, count - i)
        s = load(args.share + first, i, mask) if args.share_step else splat(x, args.share[0])
        s = select(load_beside(args.target, first + i, x, mask) == ignored, splat(x, 0.0), s)
        store(share, i, s, mask)
        store(every, i, (load(mass, i, mask) * hard + rest) * s, mask)
    for c in range(args.classes):
        soft, at = splat(x, args.soft * args.weight[c]), c * args.places
        for i in range(0, count, lanes(x)):
            mask = head(x, count - i)
            below = load(x + at, i, mask) - load(best, i, mask) - load(total, i, mask)
            store(dx + at, i, exp_below_one(below) * load(every, i, mask) - soft * load(share, i, mask), mask)
    for i in range(count):
        t = args.target[first + i]
        if t != args.ignored:
            dx[t * args.places + i] = dx[t * args.places + i] - args.hard * mass[i] * share[i]
