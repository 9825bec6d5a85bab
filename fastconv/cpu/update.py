"""Steps of the optimisers: one pass over parameters, gradients and running sums, whose formulas are in `optim`.

The arrays are those of an arena: whole registers, since every tensor starts on a cache line and is padded to one. What
is the same at every step is an argument of the plan; `rates` has what changes.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from fastconv.cpu.loop import Program, kernel
from fastconv.cpu.simd import fma, lanes, load, splat, square_root, store

CHUNK = 1 << 14  # elements of a task: a multiple of every register's lanes
SIZES = {"size": "int", "chunk": "int"}


@kernel(
    params="real", grads="real", velocity="real", rates="real",
    momentum="scalar", nesterov="int", weight_decay="scalar", **SIZES,
)  # fmt: skip
def sgd(args, task, slot):
    """Take a step of gradient descent; without momentum there is no velocity. ``rates = [lr]``."""
    rate = splat(args.params, -args.rates[0])
    momentum, decay = splat(args.params, args.momentum), splat(args.params, args.weight_decay)
    first = task * args.chunk
    for i in range(first, min(args.size, first + args.chunk), lanes(args.params)):
        p, g = load(args.params, i), load(args.grads, i)
        if args.weight_decay:
            g = fma(p, decay, g)
        if args.momentum:
            v = fma(load(args.velocity, i), momentum, g)
            store(args.velocity, i, v)
            g = fma(v, momentum, g) if args.nesterov else v
        store(args.params, i, fma(g, rate, p))


@kernel(
    params="real", grads="real", mean="real", square="real", rates="real",
    mean_share="scalar", square_share="scalar", square_kept="scalar", eps="scalar", weight_decay="scalar", **SIZES,
)  # fmt: skip
def adam(args, task, slot):
    """Take Adam's step. ``rates`` is [lr / (1 - beta1**t), sqrt(1 - beta2**t), factor of the parameters]."""
    like = args.params
    rate, correction, kept = splat(like, -args.rates[0]), splat(like, args.rates[1]), splat(like, args.rates[2])
    mean_share, eps, decay = splat(like, args.mean_share), splat(like, args.eps), splat(like, args.weight_decay)
    square_share, square_kept = splat(like, args.square_share), splat(like, args.square_kept)
    first = task * args.chunk
    for i in range(first, min(args.size, first + args.chunk), lanes(like)):
        p, g, mean = load(args.params, i), load(args.grads, i), load(args.mean, i)
        if args.weight_decay:
            g = fma(p, decay, g)
        mean = fma(g - mean, mean_share, mean)
        square = fma(g * g, square_share, load(args.square, i) * square_kept)
        store(args.mean, i, mean)
        store(args.square, i, square)
        store(args.params, i, fma(mean / (square_root(square) / correction + eps), rate, p * kept))


def _plan(step, arrays: str, size: int, dtype: np.dtype, **settings: object) -> Program:
    program = Program(dtype, arrays)
    places = {name: getattr(program, name) for name in program.names}
    program.add(step, -(-size // CHUNK), alone=size <= CHUNK, size=size, chunk=CHUNK, **places, **settings)
    return program


@lru_cache(maxsize=64)
def sgd_plan(size: int, dtype: np.dtype, momentum: float, nesterov: bool, weight_decay: float) -> Program:
    """Plan of arrays (params, grads, velocity, rates); `velocity` may be None without momentum."""
    settings = {"momentum": momentum, "nesterov": int(nesterov), "weight_decay": weight_decay}
    return _plan(sgd, "params grads velocity rates", size, dtype, **settings)


@lru_cache(maxsize=64)
def adam_plan(size: int, dtype: np.dtype, betas: tuple[float, float], eps: float, weight_decay: float) -> Program:
    """Plan of arrays (params, grads, mean, square, rates). `weight_decay` counts as a part of the gradient."""
    settings = {"mean_share": 1 - betas[0], "square_share": 1 - betas[1], "square_kept": betas[1]}
    arrays = "params grads mean square rates"
    return _plan(adam, arrays, size, dtype, **settings, eps=eps, weight_decay=weight_decay)
