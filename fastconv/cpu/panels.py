"""Moving data between the layouts that users have and those that the register tile reads and writes.

A *panel* holds rows of ``vectors * lanes`` neighbouring output channels, one row for each product of a sum. Channels
become lanes, and lanes channels, through transposes of squares in registers: no copy is made for them.
"""

from __future__ import annotations

from fastconv import jit
from fastconv.cpu.epilogue import finished
from fastconv.cpu.loop import kernel
from fastconv.cpu.simd import (
    deinterleave,
    head,
    interleave,
    lanes,
    load,
    span,
    splat,
    store,
    transpose,
    transpose_finished,
)


@jit.inline
def gather_lanes(source, step, channels, count, target, width):
    """``source[c * step + k]`` -> ``target[k * width + c]`` for c < channels <= lanes, k < count; other lanes are 0."""
    n = lanes(source)
    every = head(source, n)
    whole = count // n * n if channels == n else 0
    for k in range(0, whole, n):  # sizes that are constants make this twice as fast
        transpose(source + k, step, n, every, target + k * width, width, n, every)
    for k in range(whole, count, n):
        present = head(source, count - k)
        transpose(source + k, step, channels, present, target + k * width, width, count - k, every)
    if channels < n:
        keep = head(source, channels)
        for k in range(count):
            store(target, k * width, load(target, k * width, keep))


@jit.inline
def scatter_lanes(source, width, count, target, step, channels, ending):
    """``source[k * width + c]`` -> ``target[c * step + k]`` for c < channels <= lanes, k < count, finished."""
    n = lanes(source)
    low, high, apart = ending
    every = head(source, n)
    whole = count // n * n if channels == n else 0
    for k in range(0, whole, n):
        transpose_finished(source + k * width, width, n, every, target + k, step, n, every, low, high, apart)
    for k in range(whole, count, n):
        present = head(source, count - k)
        transpose_finished(
            source + k * width, width, count - k, every, target + k, step, channels, present, low, high, apart
        )


@jit.inline
def copy_rows(source, channels, plane, columns, row, rows, column, target, target_plane, pitch):
    """Copy a window of each channel, `rows` rows of `pitch` columns from (row, column) on; no column gives zeros."""
    for c in range(channels):
        copy_lines(
            source + (c * plane + row * columns), columns, rows, columns, column, target + c * target_plane, pitch
        )


@jit.inline
def copy_lines(source, step, rows, columns, column, target, pitch):
    """Copy `rows` rows that lie `step` apart: `pitch` columns from `column` on, zeros where there is no column.

    Written from left to right in whole vectors: what runs over a row's end is a zero, or is overwritten by the next
    row.
    """
    n = lanes(source)
    zero = splat(source, 0)
    left = min(pitch, max(0, -column))
    first = max(0, column)
    present = max(0, min(columns, column + pitch) - first)
    for r in range(rows):
        place = r * pitch
        for j in range(0, left, n):
            store(target, place + j, zero)
        place += left
        line = source + (r * step + first)
        for j in range(0, present - n + 1, n):
            store(target, place + j, load(line, j))
        whole = present // n * n
        for j in range(whole, pitch - left, n):
            store(target, place + j, load(line, j, head(source, present - j)))


@jit.inline
def split_lines(source, step, rows, columns, column, even, odd, pitch):
    """Like `copy_lines`, even and odd columns apart: `pitch` of each, the even ones from `column` on."""
    n = lanes(source)
    for r in range(rows):
        line = source + r * step
        for k in range(0, pitch, n):
            here = column + 2 * k
            if here >= 0 and here + 2 * n <= columns:
                low, high = load(line, here), load(line, here + n)
            else:
                low = load(line, here, span(source, -here, columns - here))
                high = load(line, here + n, span(source, -here - n, columns - here - n))
            low, high = deinterleave(low, high)
            store(even, r * pitch + k, low)
            store(odd, r * pitch + k, high)


@jit.inline
def clear(target, count):
    """Write zeros, in whole vectors."""
    zero = splat(target, 0)
    for i in range(0, count, lanes(target)):
        store(target, i, zero)


@jit.inline
def write_line(source, count, target, ending):
    """``source[k]`` -> ``target[k]`` for k < count, finished."""
    n = lanes(source)
    every, first = head(target, n), head(target, count)
    for k in range(0, count - n + 1, n):
        store(target, k, finished(load(source, k), target, k, every, ending))
    if count >= n:
        store(target, count - n, finished(load(source, count - n), target, count - n, every, ending))
    else:
        store(target, 0, finished(load(source, 0), target, 0, first, ending), first)


@jit.inline
def interleave_line(even, odd, count, target, ending):
    """``even[k], odd[k]`` -> ``target[2 * k], target[2 * k + 1]``, `count` elements in all, finished."""
    n = lanes(even)
    for k in range(0, count, 2 * n):
        low, high = interleave(load(even, k // 2), load(odd, k // 2))
        here, there = head(target, count - k), head(target, count - k - n)
        store(target, k, finished(low, target, k, here, ending), here)
        store(target, k + n, finished(high, target, k + n, there, ending), there)


@kernel(
    w="real", b="real", panels="real", biases="real", positions="int32", buffer="real", buffer_step="int",
    blocks="int", channels="int", has_bias="int", width="int", panel_step="int", group_step="int", channel_step="int",
    outer="int", outer_step="int", inner="int",
)  # fmt: skip
def pack_weights(args, task, slot):
    """Pack the panel, and the bias, of one block of output channels of one group.

    Product ``k = i * inner + t`` of channel c has the weight ``w[i * outer_step + c * channel_step + t]`` and goes to
    the panel's row ``positions[k]``.
    """
    w, panels, positions = args.w, args.panels, args.positions
    inner, width = args.inner, args.width
    n = lanes(w)
    buffer = args.buffer + slot * args.buffer_step
    group, block = task // args.blocks, task % args.blocks
    panel = panels + task * args.panel_step
    for v in range(0, width, n):
        first = block * width + v
        channels = min(n, args.channels - first)
        mask = head(w, channels)
        bias = splat(w, 0)
        if args.has_bias and channels > 0:
            bias = load(args.b, group * args.channels + first, mask)
        store(args.biases, task * width + v, bias)
        if channels <= 0:
            for k in range(args.outer * inner):
                store(panel, k * width + v, bias)
            continue
        for i in range(args.outer):
            source = w + (group * args.group_step + i * args.outer_step + first * args.channel_step)
            if args.channel_step == 1:
                store(panel, positions[i] * width + v, load(source, 0, mask))
                continue
            for t in range(0, inner, n):
                gather_lanes(source + t, args.channel_step, channels, min(n, inner - t), buffer, n)
                for k in range(min(n, inner - t)):
                    store(panel, positions[i * inner + t + k] * width + v, load(buffer, k * n))
