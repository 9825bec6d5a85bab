"""Where fewer multiplications lose what is not finite: the outputs of a strip again, by direct sums.

A NaN in one place of a tile reaches all points, and so all of the tile's outputs; Inf becomes NaN on the way. Lanes are
pixels here: slow for what it is, but seldom needed, and exact in where NaN and Inf go.
"""

from __future__ import annotations

from fastconv import jit
from fastconv.cpu.epilogue import finished
from fastconv.cpu.simd import fma, head, lanes, load, select, span, splat, store

MEND_FIELDS = dict(
    x="real", w="real", x_channels="int", x_rows="int", x_columns="int", top="int", left="int", kernel_rows="int",
    kernel_columns="int", w_group="int", w_lane="int", w_channel="int", first_tap="int", tap_step="int",
)  # fmt: skip


@jit.inline
def not_finite(lines, count, found):
    """Whether one of `count` vectors has a lane that is NaN or infinite; ``found[lane]`` is then not 0."""
    n = lanes(lines)
    zero = splat(lines, 0)
    even, odd = zero, zero
    for i in range(0, count - 1, 2):  # 0 * inf is NaN
        even, odd = fma(load(lines, i * n), zero, even), fma(load(lines, (i + 1) * n), zero, odd)
    if count % 2:
        even = fma(load(lines, (count - 1) * n), zero, even)
    store(found, 0, even + odd)
    bad = False
    for lane in range(n):
        bad = bad or found[lane] != 0
    return bad


@jit.inline
def mend(args, group, image, channel, channels, row, column, constants, ending):
    """Compute again, directly, the outputs of a strip in those channels where a sum is not finite."""
    n = lanes(constants)
    plane = args.y_rows * args.y_columns
    for c in range(channels):
        if constants[n + c] != 0:
            y = args.y + ((image * args.groups + group) * args.y_channels + channel + c) * plane
            for i in range(row, min(row + args.tile_rows, args.y_rows)):
                last = min(column + args.strip * args.tile_columns, args.y_columns)
                for j in range(column, last, n):
                    total = sum_window(args, group, image, channel + c, i, j, splat(y, constants[c]))
                    place, mask = i * args.y_columns + j, head(y, last - j)
                    store(y, place, finished(total, y, place, mask, ending), mask)


@jit.inline
def sum_window(args, group, image, channel, row, column, total):
    """Add to `total` all products of a row of n outputs, those with padding left out."""
    x = args.x + (image * args.groups + group) * args.x_channels * args.x_rows * args.x_columns
    w = args.w + (group * args.w_group + channel * args.w_lane + args.first_tap)
    for k in range(args.x_channels):
        for i in range(args.kernel_rows):
            r = row + i - args.top
            if 0 <= r < args.x_rows:
                line = x + (k * args.x_rows + r) * args.x_columns
                for j in range(args.kernel_columns):
                    first = column + j - args.left
                    inside = span(x, -first, args.x_columns - first)
                    tap = w[k * args.w_channel + (i * args.kernel_columns + j) * args.tap_step]
                    total = select(inside, fma(splat(x, tap), load(line, first, inside), total), total)
    return total
