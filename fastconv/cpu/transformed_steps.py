"""The steps of a convolution by fewer multiplications: tiles and weights to points, products there, and the way back.

Each is a piece of a kernel: it takes the kernel's arguments, of which it names those that it needs in its table of
fields. Channels are lanes in all of them; scratch memory is the worker's own.
"""

from __future__ import annotations

from fastconv import jit
from fastconv.cpu.calls import call_piece
from fastconv.cpu.epilogue import EPILOGUE_FIELDS, ending_of
from fastconv.cpu.mend import MEND_FIELDS, mend, not_finite
from fastconv.cpu.microkernel import call_tiles
from fastconv.cpu.simd import head, lanes, load, splat, store, transpose
from fastconv.cpu.tiles import TILE_FIELDS, cross, passage_fields, place_of, strips_of
from fastconv.cpu.transform import call_map

LINE_FIELDS = dict(
    read_line="int",
    x="real", lines="real", worker_step="int", groups="int",
    x_channels="int", x_rows="int", x_columns="int", top="int", left="int", tile_lines="int", line_step="int",
    line_columns="int", **TILE_FIELDS, **passage_fields("x"),
)  # fmt: skip
INPUT_FIELDS = LINE_FIELDS | dict(rows="real", group="int", v_step="int", v_channels="int")


@jit.inline
def transform_tiles(args, slot, group, block, channel, v):
    """Transform the tiles of a block, for a vector of channels from `channel` on: ``v[point][tile][lane]``."""
    shape = args.x_channels, args.x_rows, args.x_columns, args.top, args.left
    window = args.tile_lines, args.line_step, args.line_columns
    passage = args.x_down, args.x_down_from, args.x_down_to, args.x_across, args.x_across_tables, args.x_across_count
    n = lanes(v)
    lines_to_points(args, slot, group, block, channel, (args.x, *shape), window, passage, v, n, v, False)


@jit.inline
def lines_to_points(args, slot, group, block, channel, planes, window, passage, v, pitch, total, summed):
    """Transform the tiles of a block, for a vector of channels from `channel` on; tiles lie `pitch` apart in `v`.

    Parameters
    ----------
    planes : tuple
        (pointer, channels of a group, rows, columns, padding above, to the left).
    window : tuple
        Lines of a tile; from one line in scratch memory to the next, in elements; pixels of a line.
    passage : tuple
        The values of `passage_fields`.
    total, summed
        Where to add up all pixels of the lines, if that is wanted.
    """
    line_columns = window[2]
    down, down_from, down_to, across, across_tables, across_count = passage
    n = lanes(v)
    lines, rows = args.lines + slot * args.worker_step, args.rows + slot * args.worker_step
    first, last = strips_of(args, block)
    for strip in range(first, last):
        start = read_strip(args, lines, group, strip, channel, strip == first, planes, window, total, summed)
        for t in range(0, args.strip, args.group):
            tiles = min(args.group, args.strip - t)
            here = lines + t * args.tile_columns * n
            columns = line_columns - (args.strip - tiles) * args.tile_columns
            call_map(down, columns, here, down_from + start, n, rows, down_to, n, lines)
            target = v + ((strip - first) * args.strip + t) * pitch
            cross(across, across_count, across_tables, tiles, rows, args.tile_columns * n, target, pitch)


@jit.inline
def read_strip(args, lines, group, strip, channel, alone, planes, window, total, summed):
    """Read the lines of a strip, unless `alone` all but those of the strip above; return where the first one stands."""
    x, x_channels, x_rows, x_columns, top, left = planes
    tile_lines, line_step, line_columns = window
    plane, overlap = x_rows * x_columns, tile_lines - args.tile_rows
    image, row, column = place_of(args, strip)
    source = x + ((image * args.groups + group) * x_channels + channel) * plane
    # Lines stand in a ring: those that this strip shares with the one above are there already.
    start = row % tile_lines
    for i in range(0 if alone or row == 0 else overlap, tile_lines):
        line = lines + (start + i) % tile_lines * line_step
        call_piece(
            args.read_line, source, plane, min(lanes(x), x_channels - channel), x_rows, x_columns, row + i - top,
            column - left, line_columns, line,
        )  # fmt: skip
        if summed:
            add_pixels(line, line_columns, total)
    return start


@jit.inline
def add_pixels(line, count, total):
    """Add `count` vectors to the one at `total`."""
    n = lanes(line)
    even, odd = load(total, 0), splat(line, 0)
    for j in range(0, count - 1, 2):
        even, odd = even + load(line, j * n), odd + load(line, (j + 1) * n)
    if count % 2:
        even = even + load(line, (count - 1) * n)
    store(total, 0, even + odd)


TAP_FIELDS = dict(
    read_taps="int",
    w="real", taps="real", worker_step="int", x_channels="int", y_channels="int", kernel_rows="int",
    kernel_columns="int", w_group="int", w_lane="int", w_channel="int", width="int", **passage_fields("w"),
)  # fmt: skip
WEIGHT_FIELDS = TAP_FIELDS | dict(taps_rows="real", pass_size="int", u_vector="int")


@jit.inline
def transform_weights(args, slot, group, panel, first, u):
    """Transform the weights of a panel, a pass of channels from `first` on: ``u[vector][point][channel][lane]``."""
    n = lanes(args.w)
    rows = args.taps_rows + slot * args.worker_step
    last = min(first + args.pass_size, args.x_channels)
    for channel in range(first, last, n):
        for v in range(0, args.width, n):
            taps_to_rows(args, slot, group, panel * args.width + v, channel, min(n, last - channel), rows)
            cross(
                args.w_across, args.w_across_count, args.w_across_tables, min(n, last - channel),
                rows, args.kernel_columns * n, u + ((channel - first) // n * args.u_vector + v), args.width,
            )  # fmt: skip


@jit.inline
def taps_to_rows(args, slot, group, lane, first, passed, rows):
    """Transform the columns of kernels: ``rows[row][channel][column][lane]`` for `passed` channels from `first` on."""
    n = lanes(args.w)
    count = args.kernel_rows * args.kernel_columns
    taps = args.taps + slot * args.worker_step
    for k in range(0, passed, n):
        channels = min(n, passed - k)
        source = args.w + (group * args.w_group + lane * args.w_lane + (first + k) * args.w_channel)
        call_piece(
            args.read_taps, source, channels, count, args.w_lane, args.w_channel, min(n, args.y_channels - lane), taps
        )
        for j in range(args.kernel_columns):
            call_map(
                args.w_down, channels, taps + j * n, args.w_down_from, count * n,
                rows + (k * args.kernel_columns + j) * n, args.w_down_to, args.kernel_columns * n, taps,
            )  # fmt: skip


def read_taps(source, channels, count, lane_step, channel_step, present, taps):
    """Read the taps of some channels, ``taps[channel][tap][lane]``; lanes that are not `present` are 0.

    Up to a vector of taps more are written.
    """
    n = lanes(source)
    every = head(source, n)
    together = channel_step == count  # all taps of a lane follow each other
    size = channels * count if together else count
    for k in range(1 if together else channels):
        for t in range(0, size, n):
            target = taps + (k * count + t) * n
            if present == n:
                transpose(source + t, lane_step, n, head(source, size - t), target, n, n, every)
            else:
                transpose(source + t, lane_step, present, head(source, size - t), target, n, n, every)
        source = source + channel_step


PRODUCT_FIELDS = dict(
    v_step="int", v_channels="int", u_step="int", m_step="int", x_channels="int", pass_size="int",
    width="int", tile_runs="int64", fewest="int", steps="int32", a_steps="int", b_steps="int", c_rows="int",
    no_rows="int", zeros="real",
)  # fmt: skip


@jit.inline
def multiply(args, points, strips, first, v, u, m):
    """Add the products of a pass of channels from `first` on, at so many points: ``m[point][tile][lane]``."""
    n, steps = lanes(v), args.steps
    depth = min(args.pass_size, args.x_channels - first)
    runs = args.tile_runs + (strips - args.fewest) * 6
    for q in range(points):
        a, b, c = v + (q * args.v_step + first // n * args.v_channels), u + q * args.u_step, m + q * args.m_step
        for r in range(0, 6, 3):
            address, rows, repeats = runs[r], runs[r + 1], runs[r + 2]
            a_shift, c_shift = rows * n, rows * args.width
            if first == 0:
                call_tiles(
                    address, depth, repeats, a_shift, c_shift, 0, a, steps + args.no_rows, steps + args.a_steps,
                    b, steps + args.b_steps, c, steps + args.c_rows, args.zeros, steps + args.no_rows,
                )  # fmt: skip
            else:
                call_tiles(
                    address, depth, repeats, a_shift, c_shift, c_shift, a, steps + args.no_rows, steps + args.a_steps,
                    b, steps + args.b_steps, c, steps + args.c_rows, c, steps + args.c_rows,
                )  # fmt: skip
            a, c = a + repeats * a_shift, c + repeats * c_shift


WRITE_FIELDS = dict(
    write_line="int",
    b="real", y="real", has_bias="int", out_lines="real", constants="real", worker_step="int", groups="int",
    y_channels="int", width="int",
    **TILE_FIELDS, **passage_fields("y"), **EPILOGUE_FIELDS, **MEND_FIELDS,
)  # fmt: skip
OUTPUT_FIELDS = WRITE_FIELDS | dict(out_rows="real", group="int", m_step="int")


@jit.inline
def transform_outputs(args, slot, group, panel, block, m):
    """Transform the tiles of a block back, for the channels of a panel, and write them, with bias and epilogue."""
    n, ending = lanes(m), ending_of(args)
    lines, rows = args.out_lines + slot * args.worker_step, args.out_rows + slot * args.worker_step
    constants = args.constants + slot * args.worker_step
    first, last = strips_of(args, block)
    for v in range(0, args.width, n):
        channel = panel * args.width + v
        load_constants(args, group, channel, constants)
        for strip in range(first, last if channel < args.y_channels else first):
            source = m + (v + (strip - first) * args.strip * args.width)
            for t in range(0, args.strip, args.group):
                tiles = min(args.group, args.strip - t)
                cross(
                    args.y_across, args.y_across_count, args.y_across_tables, tiles,
                    source + t * args.width, args.width, rows, args.tile_columns * n,
                )  # fmt: skip
                call_map(
                    args.y_down, tiles * args.tile_columns, rows, args.y_down_from, n,
                    lines + t * args.tile_columns * n, args.y_down_to, n, constants,
                )  # fmt: skip
            write_strip(args, group, strip, channel, lines, constants, ending)


@jit.inline
def load_constants(args, group, channel, constants):
    """Store what is added to the results of a vector of channels: the bias, or 0."""
    channels = args.y_channels - channel
    store(constants, 0, splat(constants, 0))
    if args.has_bias and channels > 0:
        store(constants, 0, load(args.b, group * args.y_channels + channel, head(constants, channels)))


@jit.inline
def write_strip(args, group, strip, channel, lines, constants, ending):
    """Write the lines of a strip, for a vector of channels, and mend what is not finite."""
    n = lanes(lines)
    channels = min(n, args.y_channels - channel)
    plane, columns = args.y_rows * args.y_columns, args.strip * args.tile_columns
    image, row, column = place_of(args, strip)
    y = args.y + (((image * args.groups + group) * args.y_channels + channel) * plane + column)
    for i in range(min(args.tile_rows, args.y_rows - row)):
        count = min(columns, args.y_columns - column)
        call_piece(
            args.write_line, lines + i * columns * n, count, y + (row + i) * args.y_columns, plane, channels,
            args.limits, ending[2],
        )  # fmt: skip
    if not_finite(lines, args.tile_rows * columns, constants + n):
        mend(args, group, image, channel, channels, row, column, constants, ending)
