"""Windows of an image as columns, and columns added up to an image: im2col and col2im.

A task has one channel of one sample. In columns a channel has a row for each tap of the window: what the tap meets at
every position. Those that meet padding are 0.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from fastconv import jit
from fastconv.cpu.loop import Program, kernel
from fastconv.cpu.simd import head, lanes, load, load_strided, splat, store, store_strided
from fastconv.geometry import Window

ALONE = 1 << 14  # elements that one thread passes over sooner than two meet

SIZES = dict.fromkeys(
    ("h", "w", "oh", "ow", "kh", "kw", "stride_h", "stride_w", "gap_h", "gap_w", "top", "left"), "int"
)


@jit.inline
def reach(start, step, size, count):
    """Return the first position that meets the image, and the one after the last: 0 <= start + i * step < size."""
    first = 0 if start >= 0 else (step - 1 - start) // step
    last = 0 if start >= size else (size - 1 - start) // step + 1
    first = min(first, count)
    return first, max(first, min(last, count))


@jit.inline
def clear(p, count):
    """Write zeros."""
    for i in range(0, count, lanes(p)):
        store(p, i, splat(p, 0.0), head(p, count - i))


@jit.inline
def copy_row(target, source, step, count):
    """Copy elements that lie `step` apart."""
    n = lanes(target)
    if step == 1:
        whole = count - count % n
        for i in range(0, whole, n):
            store(target, i, load(source, i))
        if whole < count:
            mask = head(target, count - whole)
            store(target, whole, load(source, whole, mask), mask)
    else:
        for i in range(0, count, n):
            mask = head(target, count - i)
            store(target, i, load_strided(source, i * step, step, mask), mask)


@jit.inline
def add_row(target, step, source, count):
    """Add to elements that lie `step` apart."""
    n = lanes(target)
    for i in range(0, count, n):
        mask = head(target, count - i)
        v = load(source, i, mask)
        if step == 1:
            store(target, i, load(target, i, mask) + v, mask)
        else:
            store_strided(target, i * step, step, load_strided(target, i * step, step, mask) + v, mask)


@kernel(x="real", y="real", **SIZES)
def unfold(args, task, slot):
    """Write the columns of a channel."""
    ow, image = args.ow, args.x + task * args.h * args.w
    for tap in range(args.kh * args.kw):
        row, column = tap // args.kw * args.gap_h - args.top, tap % args.kw * args.gap_w - args.left
        columns = args.y + (task * args.kh * args.kw + tap) * args.oh * ow
        top, bottom = reach(row, args.stride_h, args.h, args.oh)
        left, right = reach(column, args.stride_w, args.w, ow)
        clear(columns, top * ow)
        for i in range(top, bottom):
            target = columns + i * ow
            source = image + ((row + i * args.stride_h) * args.w + column + left * args.stride_w)
            clear(target, left)
            copy_row(target + left, source, args.stride_w, right - left)
            clear(target + right, ow - right)
        clear(columns + bottom * ow, (args.oh - bottom) * ow)


@kernel(y="real", x="real", **SIZES)
def fold(args, task, slot):
    """Add up the columns of a channel, tap by tap."""
    ow, image = args.ow, args.x + task * args.h * args.w
    clear(image, args.h * args.w)
    for tap in range(args.kh * args.kw):
        row, column = tap // args.kw * args.gap_h - args.top, tap % args.kw * args.gap_w - args.left
        columns = args.y + (task * args.kh * args.kw + tap) * args.oh * ow
        top, bottom = reach(row, args.stride_h, args.h, args.oh)
        left, right = reach(column, args.stride_w, args.w, ow)
        for i in range(top, bottom):
            target = image + ((row + i * args.stride_h) * args.w + column + left * args.stride_w)
            add_row(target, args.stride_w, columns + (i * ow + left), right - left)


@lru_cache(maxsize=256)
def plan(planes: int, size: tuple[int, int], window: Window, dtype: np.dtype, folds: bool) -> Program:
    """Plan of arrays (x, y), image and columns; the columns are read where it `folds`, else the image."""
    program = Program(dtype, "x y")
    (h, w), (oh, ow), (kh, kw) = size, window.output_size(size), window.kernel
    (stride_h, stride_w), (gap_h, gap_w), ((top, _), (left, _)) = window.stride, window.dilation, window.padding
    sizes = {
        "h": h, "w": w, "oh": oh, "ow": ow, "kh": kh, "kw": kw, "stride_h": stride_h, "stride_w": stride_w,
        "gap_h": gap_h, "gap_w": gap_w, "top": top, "left": left,
    }  # fmt: skip
    alone = planes * oh * ow * kh * kw <= ALONE
    program.add(fold if folds else unfold, planes, alone=alone, x=program.x, y=program.y, **sizes)
    return program
