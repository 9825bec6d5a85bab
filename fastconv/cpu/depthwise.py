"""Direct convolution and its gradient with respect to the input where a group has one output channel: lanes are pixels.

A depthwise convolution is one; so is the gradient with respect to an input of one channel. The register tile of
`pixels` would load a vector for each product. The window tile computes some rows at once, and takes 1.1 loads for three
products.

Where a row of output is at least a vector long, results go to the output without a stop: the last vector of a row, and
the last rows of a band, are then computed along with neighbours that were computed before.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from fastconv import jit
from fastconv.cpu.axes import Side
from fastconv.cpu.bands import BAND_FIELDS, SHARE_FIELDS, Bands, band_of, copy_band, fetch, next_input
from fastconv.cpu.loop import Program, kernel
from fastconv.cpu.microkernel_pixels import MOST_WINDOW_ROWS, MOST_WINDOW_TAPS, call_window_tile, window_tile
from fastconv.cpu.panels import clear, write_line
from fastconv.cpu.schedule import split
from fastconv.cpu.simd import lanes
from fastconv.cpu.tables import Tables
from fastconv.geometry import ConvGeometry


@kernel(
    x="real", w="real", b="real", y="real", copy="real", sums="real", worker_step="int", tile="int", tile_rows="int",
    depth="int", tap_row="int",
    copy_size="int", slack="int", tables="int32", a_steps="int", b_steps="int", group_step="int", has_bias="int",
    **BAND_FIELDS, **SHARE_FIELDS,
)  # fmt: skip
def slide_windows(args, task, slot):
    """Compute a band of output rows in some groups of an image."""
    row, rows, column, columns = band_of(args, task % args.bands)
    first = task // args.bands * args.planes
    copy, sums = args.copy + slot * args.worker_step, args.sums + slot * args.worker_step
    clear(copy + args.copy_size, args.slack)  # read by the last tile: numbers that are not normal would slow it down
    direct = rows >= args.tile_rows and columns >= lanes(copy)
    group = first % args.groups
    for plane in range(first, min(first + args.planes, args.all_planes)):
        x = args.x + plane * args.x_channels * args.x_rows * args.x_columns
        y = args.y + (plane * args.y_rows + row) * args.y_columns
        copy_band(args, x, row, rows, column, copy)
        ahead = next_input(args, x, row, rows)
        bias = args.b[group] if args.has_bias else 0.0
        w = args.w + group * args.group_step
        if direct:
            last = rows - args.tile_rows, columns - lanes(copy)
            slide_band(args, w, bias, copy, y + column, args.y_columns, rows, columns, last, ahead, y)
        else:
            slide_band(args, w, bias, copy, sums, args.pitch, rows, columns, (rows, columns), ahead, y)
            for r in range(rows):
                write_line(sums + r * args.pitch, columns, y + (r * args.y_columns + column))
        group = group + 1 if group + 1 < args.groups else 0


@jit.inline
def slide_band(args, w, bias, copy, target, pitch, rows, columns, last, ahead, y):
    """Call the tiles of a band: none begins behind the `last` (row, column)."""
    call, a_steps, b_steps = 0, args.tables + args.a_steps, args.tables + args.b_steps
    for row in range(0, rows, args.tile_rows):
        for column in range(0, columns, lanes(copy)):
            i, j = min(row, last[0]), min(column, last[1])
            fetch(args, ahead, y, call)
            call += 1
            call_window_tile(
                args.tile, args.depth, w, a_steps, args.tap_row, copy + (i * args.pitch + j), b_steps, args.pitch,
                target + (i * pitch + j), pitch, bias,
            )  # fmt: skip


# ---- plans -----------------------------------------------------------------------------------------------------


def fits(side: Side) -> bool:
    """Whether the window tile serves: one output channel, kernel rows without gaps, and more than one of them."""
    taps = len(side.rows.phases[0])
    return side.out_channels == side.steps == side.spacings == 1 and side.rows.dense and 2 <= taps <= MOST_WINDOW_TAPS


@lru_cache(maxsize=512)
def forward_plan(geometry: ConvGeometry, dtype: np.dtype, bias: bool) -> Program:
    """Program of (x, w, b, y)."""
    return _program(Side.forward(geometry), geometry, dtype, bias)


@lru_cache(maxsize=512)
def backward_data_plan(geometry: ConvGeometry, dtype: np.dtype) -> Program:
    """Program of (dy, w, None, dx)."""
    return _program(Side.backward(geometry), geometry, dtype, bias=False)


def _program(side: Side, geometry: ConvGeometry, dtype: np.dtype, bias: bool) -> Program:
    bands, tables = Bands(side, dtype, 1), Tables()
    row_taps, column_taps = side.rows.phases[0], side.columns.phases[0]
    tile_rows = split(bands.band_rows, MOST_WINDOW_ROWS)[0]
    high, wide = -(-bands.band_rows // tile_rows), -(-bands.band_columns // bands.n)
    products = [(c, row_taps[0], column) for c in range(side.in_channels) for column in column_taps]

    program = Program(dtype, "x w b y")
    program.multiplies_padding = True
    sums_size = high * tile_rows * bands.pitch + bands.n
    slack = (high * tile_rows - bands.band_rows) * bands.pitch + bands.n  # that the last tiles read behind the copy
    sums, worker_step = program.worker_workspace(sums_size + bands.copy_size + slack + bands.n)
    share = bands.share(geometry, dtype, high * wide)
    program.add(
        slide_windows, -(-geometry.batch * geometry.groups // share["planes"]) * bands.count,
        x=program.x, w=program.w, b=program.b, y=program.y,
        sums=sums, copy=sums + sums_size * dtype.itemsize, copy_size=bands.copy_size, slack=slack,
        worker_step=worker_step,
        tile=window_tile(dtype, tile_rows, len(row_taps)), tile_rows=tile_rows, depth=len(products),
        tap_row=(row_taps[1][0] - row_taps[0][0]) * side.tap_columns,
        a_steps=tables.place(side.weight(*product) for product in products),
        b_steps=tables.place(bands.place(*product) for product in products),
        tables=program.table(tables.array()), group_step=side.group_step, has_bias=int(bias),
        **bands.arguments(), **share,
    )  # fmt: skip
    return program
