"""Direct convolution and its gradient with respect to the input where a group has few channels: lanes are pixels.

Rows of the register tile are the output channels of a group, its A is the weights as they lie in memory, its B a copy
of a band of input rows between zeros (`bands`). Few channels leave the lanes of the other view empty: four of sixteen
would be used by a group of four. Products are in the order of kernel rows, so that a tile leaves out those that meet
only zeros.

Even and odd outputs of a gradient whose stride is 2 are computed apart, and interleaved as they leave.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from fastconv import jit
from fastconv.cpu.axes import Side
from fastconv.cpu.bands import BAND_FIELDS, SHARE_FIELDS, Bands, band_of, copy_band, fetch, next_input
from fastconv.cpu.epilogue import EPILOGUE_FIELDS, PLAIN, Epilogue, ending_of
from fastconv.cpu.loop import Program, kernel
from fastconv.cpu.microkernel import MOST_POINTERS, call_tile, most_vectors, tile
from fastconv.cpu.panels import clear, interleave_line, write_line
from fastconv.cpu.schedule import split
from fastconv.cpu.simd import lanes, splat, store
from fastconv.cpu.tables import Tables
from fastconv.geometry import ConvGeometry


@kernel(
    x="real", w="real", b="real", y="real", copy="real", sums="real", start="real", worker_step="int", copy_size="int",
    tile="int", tile_rows="int", width="int", tiles="int", phases="int64", tables="int32", a_rows="int", c_rows="int",
    s_rows="int", spans="int", sums_step="int", phase_step="int", group_step="int", has_bias="int",
    row_spacing="int", column_spacing="int", **BAND_FIELDS, **SHARE_FIELDS, **EPILOGUE_FIELDS,
)  # fmt: skip
def correlate_pixels(args, task, slot):
    """Compute a band of output rows in some groups of an image."""
    row, rows, column, columns = band_of(args, task % args.bands)
    first = task // args.bands * args.planes
    own = slot * args.worker_step
    copy, sums, start = args.copy + own, args.sums + own, args.start + own
    clear(copy + args.copy_size, args.width)  # read by the last tile: numbers that are not normal would slow it down
    ending = ending_of(args)
    for place in range(first, min(first + args.planes, args.all_planes)):
        plane, depth = place // args.depths, place % args.depths
        group = plane % args.groups
        x = args.x + plane * args.x_planes * args.x_rows * args.x_columns
        y = args.y + (plane * args.y_channels * args.depths + depth) * args.y_rows * args.y_columns
        copy_band(args, x, depth, row, rows, column, copy)
        spread_bias(args, group, start)
        ahead, here = next_input(args, x, row, rows), y + row * args.row_spacing * args.y_columns
        for phase in range(args.row_spacing * args.column_spacing):
            multiply_band(
                args, args.phases + 4 * phase, args.w + group * args.group_step, copy, start,
                sums + phase * args.phase_step, row, rows, columns, ahead, here,
            )  # fmt: skip
        write_band(args, sums, row, rows, column, columns, y, ending)


@jit.inline
def spread_bias(args, group, start):
    """Fill the vectors with which the sums of each row of a tile start."""
    for o in range(args.tiles * args.tile_rows):
        bias = splat(start, 0)
        if args.has_bias:
            bias = splat(start, args.b[group * args.y_channels + min(o, args.y_channels - 1)])
        for j in range(0, args.width, lanes(start)):
            store(start, o * args.width + j, bias)


@jit.inline
def multiply_band(args, phase, w, copy, start, sums, row, rows, columns, ahead, y):
    """Call the tiles of one phase of a band: all output channels of some pixels, and on to the next."""
    depth, tables = phase[0], args.tables
    reach, spans = tables + phase[3] + 2 * row, tables + args.spans
    for i in range(0, ((rows - 1) * args.pitch + columns + args.width - 1) // args.width):
        # Kernel rows that meet input, from the first that the last of the tile's rows meets to the first row's last.
        low = reach[2 * min(rows - 1, spans[2 * i + 1])]
        high = max(low + 1, reach[2 * spans[2 * i] + 1])
        fetch(args, ahead, y, i)
        for o in range(0, args.tiles * args.tile_rows, args.tile_rows):
            call_tile(
                args.tile, (high - low) * depth, w, tables + args.a_rows + o, tables + phase[1] + low * depth,
                copy + i * args.width, tables + phase[2] + low * depth,
                sums + (o * args.sums_step + i * args.width), tables + args.c_rows,
                start + o * args.width, tables + args.s_rows,
            )  # fmt: skip


@jit.inline
def write_band(args, sums, row, rows, column, columns, y, ending):
    """Leave out the sums between rows, and interleave phases."""
    spacing, first = args.row_spacing, column * args.column_spacing
    count = min(columns * args.column_spacing, args.y_columns - first)
    for o in range(args.y_channels):
        for phase in range(spacing):
            source = sums + (phase * args.column_spacing * args.phase_step + o * args.sums_step)
            target = y + ((o * args.depths * args.y_rows + row * spacing + phase) * args.y_columns + first)
            for _ in range(min(rows, (args.y_rows - phase + spacing - 1) // spacing - row)):
                if args.column_spacing == 1:
                    write_line(source, count, target, ending)
                else:
                    interleave_line(source, source + args.phase_step, count, target, ending)
                source, target = source + args.pitch, target + spacing * args.y_columns


# ---- plans -----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=512)
def forward_plan(geometry: ConvGeometry, dtype: np.dtype, bias: bool, epilogue: Epilogue = PLAIN) -> Program:
    """Program of (x, w, b, y) and what the epilogue takes."""
    return _program(Side.forward(geometry), geometry, dtype, bias, epilogue)


@lru_cache(maxsize=512)
def backward_data_plan(geometry: ConvGeometry, dtype: np.dtype, bias: bool) -> Program:
    """Program of (dy, w, b, dx); `b` is None without a bias."""
    return _program(Side.backward(geometry), geometry, dtype, bias, PLAIN)


def _program(side: Side, geometry: ConvGeometry, dtype: np.dtype, bias: bool, epilogue: Epilogue) -> Program:
    channels, tables = side.out_channels, Tables()
    bands = Bands(side, dtype, channels * side.spacings)
    tile_rows = split(channels, MOST_POINTERS)[0]
    padded = -(-channels // tile_rows) * tile_rows  # a last tile with fewer channels repeats the last one
    calls = -(-bands.pixels // (most_vectors(tile_rows) * bands.n))
    vectors = -(-bands.pixels // (calls * bands.n))
    width = vectors * bands.n
    phase_step = padded * calls * width

    program = epilogue.program(dtype)
    program.multiplies_padding = True
    share = bands.share(geometry, dtype, calls)
    sums_size, start_size = phase_step * side.spacings, padded * width
    sums, worker_step = program.worker_workspace(sums_size + start_size + bands.copy_size + 2 * width)
    start = sums + sums_size * dtype.itemsize
    program.add(
        correlate_pixels, -(-share["all_planes"] // share["planes"]) * bands.count,
        x=program.x, w=program.w, b=program.b, y=program.y, sums=sums, start=start,
        copy=start + start_size * dtype.itemsize, copy_size=bands.copy_size, worker_step=worker_step,
        tile=tile(dtype, tile_rows, vectors), tile_rows=tile_rows, width=width, tiles=padded // tile_rows,
        phases=program.table(_phases(side, bands, tables), np.int64),
        a_rows=tables.place(min(o, channels - 1) * side.out_step for o in range(padded)),
        c_rows=tables.place(i * calls * width for i in range(tile_rows)),
        s_rows=tables.place(i * width for i in range(tile_rows)),
        spans=tables.place(p // bands.pitch for i in range(calls) for p in (i * width, (i + 1) * width - 1)),
        tables=program.table(tables.array()),
        sums_step=calls * width, phase_step=phase_step, group_step=side.group_step, has_bias=int(bias),
        row_spacing=side.rows.spacing, column_spacing=side.columns.spacing,
        **bands.arguments(program), **share, **epilogue.arguments(program),
    )  # fmt: skip
    return program


def _phases(side: Side, bands: Bands, tables: Tables) -> list[tuple[int, int, int, int]]:
    """Of each phase: products of a kernel row, tables of the weights and inputs of all, and which rows meet input."""
    found = []
    for phase, rows in enumerate(side.rows.phases):
        for columns in side.columns.phases:
            products = [(c, row, column) for row in rows for c in range(side.in_channels) for column in columns]
            weights = tables.place(side.weight(*product) for product in products)
            places = tables.place(bands.place(*product) for product in products)
            reach = tables.place(end for ends in side.rows.reach(phase) for end in ends)
            found.append((side.in_channels * len(columns), weights, places, reach))
    return found
