"""Layer normalisation: rows of neighbouring elements, each with a mean and a variance of its own, forward and backward.

A row stays in the cache while it is passed over: twice for its mean and variance, once for the result. The gradients of
weight and bias are sums over all rows; a task adds up those of its own rows, and the tasks' sums are added in order.
"""

from __future__ import annotations

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
    sum_lanes,
)

CHUNK = 1 << 14  # elements of a task
PARTS = 32  # sums of weights' gradients, at most

ROWS = {"rows": "int", "columns": "int", "chunk": "int"}

# ---- one row ---------------------------------------------------------------------------------------------------


@jit.inline
def row_mean(x, count):
    """Mean of a row, in all lanes, from four sums."""
    n, zero = lanes(x), splat(x, 0.0)
    a = b = c = d = zero
    whole = count - count % (4 * n)
    for i in range(0, whole, 4 * n):
        a, b = a + load(x, i), b + load(x, i + n)
        c, d = c + load(x, i + 2 * n), d + load(x, i + 3 * n)
    for i in range(whole, count, n):
        a = a + load(x, i, head(x, count - i))
    return splat(x, sum_lanes((a + b) + (c + d)) / count)


@jit.inline
def row_moments(x, count):
    """Mean and biased variance of a row, in all lanes.

    The sum of distances from a mean that was rounded corrects both: T. F. Chan, G. H. Golub, R. J. LeVeque, *Algorithms
    for computing the sample variance* (1983), equation 1.7.
    """
    n, zero, mean = lanes(x), splat(x, 0.0), row_mean(x, count)
    a = b = aa = bb = zero
    whole = count - count % (2 * n)
    for i in range(0, whole, 2 * n):
        u, v = load(x, i) - mean, load(x, i + n) - mean
        a, b, aa, bb = a + u, b + v, fma(u, u, aa), fma(v, v, bb)
    for i in range(whole, count, n):
        mask = head(x, count - i)
        u = select(mask, load(x, i, mask) - mean, zero)
        a, aa = a + u, fma(u, u, aa)
    share = splat(x, 1.0 / count)
    rest = splat(x, sum_lanes(a + b)) * share
    return mean + rest, splat(x, sum_lanes(aa + bb)) * share - rest * rest


# ---- kernels ---------------------------------------------------------------------------------------------------


@jit.inline
def factor(p, i, mask):
    """Weights of elements, 1 where there are none."""
    return load(p, i, mask) if address_of(p) else splat(p, 1.0)


@jit.inline
def addend(p, i, mask):
    """Biases of elements, 0 where there are none."""
    return load(p, i, mask) if address_of(p) else splat(p, 0.0)


@kernel(x="real", weight="real", bias="real", y="real", mean="real", rstd="real", eps="scalar", **ROWS)
def forward(args, task, slot):
    """Write y, and the mean and 1 / deviation of each row."""
    count, one = args.columns, splat(args.x, 1.0)
    for row in range(task * args.chunk, min(args.rows, (task + 1) * args.chunk)):
        x, y = args.x + row * count, args.y + row * count
        mean, variance = row_moments(x, count)
        rstd = one / square_root(variance + splat(x, args.eps))
        store(args.mean, row, mean, head(x, 1))
        store(args.rstd, row, rstd, head(x, 1))
        for i in range(0, count, lanes(x)):
            mask = head(x, count - i)
            normal = (load(x, i, mask) - mean) * rstd
            store(y, i, fma(normal, factor(args.weight, i, mask), addend(args.bias, i, mask)), mask)


@kernel(
    dy="real", x="real", weight="real", mean="real", rstd="real", dx="real", sums="real", **ROWS
)  # fmt: skip
def backward(args, task, slot):
    """Write dx where it is wanted, and for the rows of a task the sums of dy * normal and of dy."""
    count, zero = args.columns, splat(args.x, 0.0)
    dw = args.sums + 2 * task * count
    db = dw + count
    for i in range(0, 2 * count, lanes(dw)):
        store(dw, i, zero, head(dw, 2 * count - i))
    for row in range(task * args.chunk, min(args.rows, (task + 1) * args.chunk)):
        at = row * count
        x, dy = args.x + at, args.dy + at
        mean, rstd = splat(x, args.mean[row]), splat(x, args.rstd[row])
        total = along = zero
        for i in range(0, count, lanes(x)):
            mask = head(x, count - i)
            v, normal = load(dy, i, mask), (load(x, i, mask) - mean) * rstd
            product, w = v * normal, factor(args.weight, i, mask)
            store(dw, i, load(dw, i, mask) + product, mask)
            store(db, i, load(db, i, mask) + v, mask)
            total, along = fma(v, w, total), fma(select(mask, product, zero), w, along)
        if not address_of(args.dx):
            continue
        share = splat(x, 1.0 / count)
        total, along = splat(x, sum_lanes(total)) * share, splat(x, sum_lanes(along)) * share
        for i in range(0, count, lanes(x)):
            mask = head(x, count - i)
            normal = (load(x, i, mask) - mean) * rstd
            g = load(dy, i, mask) * factor(args.weight, i, mask)
            store(args.dx + at, i, (g - total - normal * along) * rstd, mask)


@kernel(sums="real", dw="real", db="real", parts="int", columns="int", chunk="int")
def join(args, task, slot):
    """Add up the sums of all tasks for some columns."""
    count = args.columns
    for i in range(task * args.chunk, min(count, (task + 1) * args.chunk), lanes(args.sums)):
        mask = head(args.sums, count - i)
        dw = db = splat(args.sums, 0.0)
        for part in range(args.parts):
            place = args.sums + 2 * part * count
            dw, db = dw + load(place, i, mask), db + load(place + count, i, mask)
        store(args.dw, i, dw, mask)
        store(args.db, i, db, mask)


# ---- plans -----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def forward_plan(rows: int, columns: int, dtype: np.dtype, eps: float) -> Program:
    """Plan of arrays (x, weight, bias, y, mean, rstd); weight and bias may be None."""
    program = Program(dtype, "x weight bias y mean rstd")
    places = {name: getattr(program, name) for name in program.names}
    chunk = max(1, CHUNK // columns)
    program.add(
        forward, -(-rows // chunk), alone=rows * columns <= CHUNK, rows=rows, columns=columns, chunk=chunk, eps=eps,
        **places,
    )  # fmt: skip
    return program


@lru_cache(maxsize=256)
def backward_plan(rows: int, columns: int, dtype: np.dtype) -> Program:
    """Plan of arrays (dy, x, weight, mean, rstd, dx, dw, db); weight and dx may be None."""
    program = Program(dtype, "dy x weight mean rstd dx dw db")
    parts = max(1, min(rows, PARTS, rows * columns // CHUNK))
    chunk = -(-rows // parts)
    parts = -(-rows // chunk)
    sums = program.workspace(parts * 2 * columns)
    places = {name: getattr(program, name) for name in program.names[:-2]}
    alone = rows * columns <= CHUNK
    program.add(backward, parts, alone=alone, rows=rows, columns=columns, chunk=chunk, sums=sums, **places)
    chunk = 16 * VECTOR_BYTES // dtype.itemsize
    alone = alone or parts * columns <= CHUNK
    program.add(
        join, -(-columns // chunk), alone=alone, sums=sums, dw=program.dw, db=program.db, parts=parts, columns=columns,
        chunk=chunk,
    )  # fmt: skip
    return program
