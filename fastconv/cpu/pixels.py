"""Direct convolution and its gradient with respect to the input where a group has few channels: lanes are pixels.

Rows of the register tile are the output channels of a group, its A is the weights as they lie in memory, its B a copy
of a band of input rows between zeros (`bands`). Few channels leave the lanes of the other view empty: of sixteen, a
depthwise convolution would use one.

Products are in the order of kernel rows, so that a tile leaves out those that meet only zeros.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod

import numpy as np

from fastconv import jit
from fastconv.cpu.bands import FIELDS, ONE_ROW, Axis, Bands, copy_band, interleave_line, write_line
from fastconv.cpu.loop import Program, kernel
from fastconv.cpu.microkernel import MOST_POINTERS, call_tile, most_vectors, tile
from fastconv.cpu.schedule import split
from fastconv.cpu.simd import lanes, splat, store
from fastconv.cpu.tables import Tables
from fastconv.cpu.taps import backward_phases, forward_phases
from fastconv.geometry import ConvGeometry

BAND_BYTES = 100 << 10  # of input that a task copies, and of sums: together they stay in L2
TASK_BYTES = 32 << 10  # of output, below which a task computes several planes


@kernel(
    x="real", w="real", b="real", y="real", copy="real", sums="real", start="real", worker_step="int",
    phases="int64", tables="int32", tile="int", tile_rows="int", width="int", a_rows="int", c_rows="int", s_rows="int",
    spans="int", sums_step="int", phase_step="int", group_step="int", has_bias="int",
    images="int", groups="int", planes="int", y_channels="int", y_rows="int", y_columns="int",
    row_spacing="int", column_spacing="int", **FIELDS,
)  # fmt: skip
def correlate_pixels(args, task, slot):
    """Compute a band of output rows in some groups of the images."""
    part, rest = task % args.parts, task // args.parts
    row, column = rest % args.bands * args.band_rows, part * args.band_columns
    rows, columns = min(args.band_rows, args.rows - row), min(args.band_columns, args.columns - column)
    first = rest // args.bands * args.planes
    copy, sums = args.copy + slot * args.worker_step, args.sums + slot * args.worker_step
    start = args.start + slot * args.worker_step
    for plane in range(first, min(first + args.planes, args.images * args.groups)):
        group = plane % args.groups
        copy_band(args, args.x + plane * args.x_channels * args.x_rows * args.x_columns, row, rows, column, copy)
        spread_bias(args, group, start)
        for phase in range(args.row_spacing * args.column_spacing):
            multiply_band(
                args, args.phases + 4 * phase, args.w + group * args.group_step, copy, start,
                row, rows, columns, sums + phase * args.phase_step,
            )  # fmt: skip
        y = args.y + plane * args.y_channels * args.y_rows * args.y_columns
        write_band(args, sums, row, rows, column, columns, y)


@jit.inline
def spread_bias(args, group, start):
    """Fill the vectors with which the sums of each output channel start."""
    for o in range(args.y_channels):
        bias = splat(start, 0)
        if args.has_bias:
            bias = splat(start, args.b[group * args.y_channels + o])
        for j in range(0, args.width, lanes(start)):
            store(start, o * args.width + j, bias)


@jit.inline
def multiply_band(args, phase, w, copy, start, row, rows, columns, sums):
    """Call the tiles of one phase of a band: all output channels of some pixels, and on to the next."""
    tables = args.tables
    reach, spans = tables + phase[3] + 2 * row, tables + args.spans
    pixels = (rows - 1) * args.pitch + columns
    for i in range(-(-pixels // args.width)):
        p = i * args.width
        # Kernel rows that meet input, from the last row of the tile's to the first.
        low = reach[2 * min(rows - 1, spans[2 * i + 1])]
        high = max(low + 1, reach[2 * spans[2 * i] + 1])
        k = low * phase[0]
        for o in range(0, args.y_channels, args.tile_rows):
            call_tile(
                args.tile, high * phase[0] - k, w, tables + args.a_rows + o, tables + phase[1] + k,
                copy + p, tables + phase[2] + k, sums + (o * args.sums_step + p), tables + args.c_rows,
                start + o * args.width, tables + args.s_rows,
            )  # fmt: skip


@jit.inline
def write_band(args, sums, row, rows, column, columns, y):
    """Leave out the sums between rows, interleave phases."""
    spacing, first = args.row_spacing, column * args.column_spacing
    count = min(columns * args.column_spacing, args.y_columns - first)
    for o in range(args.y_channels):
        for phase in range(spacing):
            source = sums + (phase * args.column_spacing * args.phase_step + o * args.sums_step)
            target = y + ((o * args.y_rows + row * spacing + phase) * args.y_columns + first)
            present = min(rows, (args.y_rows - phase + spacing - 1) // spacing - row)
            for _ in range(present):
                if args.column_spacing == 1:
                    write_line(source, count, target)
                else:
                    interleave_line(source, source + args.phase_step, count, target)
                source, target = source + args.pitch, target + spacing * args.y_columns


# ---- plans -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Side:
    """What differs between the convolution and its gradient: the axes, and how the weights are read.

    Product (c, t) of output channel o has the weight at ``o * out_step + c * in_step + t``.
    """

    rows: Axis
    columns: Axis
    in_channels: int  # of a group
    out_channels: int
    in_step: int
    out_step: int
    tap_columns: int

    @classmethod
    def forward(cls, geometry: ConvGeometry) -> Side:
        """y from x."""
        axes = _axes(forward_phases(geometry), geometry.input_size, geometry.output_size)
        taps, across = prod(geometry.window.kernel), geometry.window.kernel[-1]
        return cls(*axes, geometry.group_in, geometry.group_out, taps, geometry.group_in * taps, across)

    @classmethod
    def backward(cls, geometry: ConvGeometry) -> Side:
        """dx from dy."""
        axes = _axes(backward_phases(geometry), geometry.output_size, geometry.input_size)
        taps, across = prod(geometry.window.kernel), geometry.window.kernel[-1]
        return cls(*axes, geometry.group_out, geometry.group_in, geometry.group_in * taps, taps, across)


def _axes(phases: list, in_size: tuple, out_size: tuple) -> list[Axis]:
    """Rows and columns; a signal has one row."""
    if len(phases) == 1:
        phases, in_size, out_size = [ONE_ROW, *phases], (1, *in_size), (1, *out_size)
    return [Axis.of(*axis) for axis in zip(phases, in_size, out_size, strict=True)]


def fits(geometry: ConvGeometry) -> bool:
    """Whether these plans cover a geometry: one or two axes, strides of 1 or 2 that are no longer than the kernel."""
    if len(geometry.input_size) > 2:
        return False
    sides = Side.forward(geometry), Side.backward(geometry)
    return all(side.rows.fits() and side.columns.fits() for side in sides)


@lru_cache(maxsize=512)
def forward_plan(geometry: ConvGeometry, dtype: np.dtype, bias: bool) -> Program:
    """Program of (x, w, b, y)."""
    return _program(Side.forward(geometry), geometry, dtype, bias)


@lru_cache(maxsize=512)
def backward_data_plan(geometry: ConvGeometry, dtype: np.dtype) -> Program:
    """Program of (dy, w, None, dx)."""
    return _program(Side.backward(geometry), geometry, dtype, bias=False)


def _program(side: Side, geometry: ConvGeometry, dtype: np.dtype, bias: bool) -> Program:
    rows, columns, channels = side.rows, side.columns, side.out_channels
    bands = _cut(side, dtype)
    tile_rows = split(channels, MOST_POINTERS)[0]
    calls = -(-bands.pixels // (most_vectors(tile_rows) * bands.n))
    vectors = -(-bands.pixels // (calls * bands.n))
    width = vectors * bands.n
    padded = -(-channels // tile_rows) * tile_rows  # a last tile with fewer channels repeats its last one
    sums_step = calls * width
    tables = Tables()

    program = Program(dtype, "x w b y")
    program.multiplies_padding = True
    phase_step = padded * sums_step
    sums_size = phase_step * rows.spacing * columns.spacing
    scratch, worker_step = program.worker_workspace(sums_size + padded * width + bands.copy_size + width)
    start = scratch + sums_size * dtype.itemsize
    plane_bytes = channels * bands.band_rows * bands.band_columns * rows.spacing * columns.spacing * dtype.itemsize
    planes = max(1, min(TASK_BYTES // plane_bytes, geometry.groups))
    arguments = dict(
        phases=program.table(_phases(side, bands, tables), np.int64), tile=tile(dtype, tile_rows, vectors),
        tile_rows=tile_rows, width=width, sums_step=sums_step, phase_step=phase_step,
        a_rows=tables.place(min(o, channels - 1) * side.out_step for o in range(padded)),
        c_rows=tables.place(i * sums_step for i in range(tile_rows)),
        s_rows=tables.place(i * width for i in range(tile_rows)),
        spans=tables.place(p // bands.pitch for i in range(calls) for p in (i * width, (i + 1) * width - 1)),
    )  # fmt: skip
    program.add(
        correlate_pixels, -(-geometry.batch * geometry.groups // planes) * bands.bands * bands.parts,
        x=program.x, w=program.w, b=program.b, y=program.y, sums=scratch, start=start,
        copy=start + padded * width * dtype.itemsize, worker_step=worker_step, tables=program.table(tables.array()),
        group_step=geometry.group_in * geometry.group_out * prod(geometry.window.kernel), has_bias=int(bias),
        images=geometry.batch, groups=geometry.groups, planes=planes, y_channels=channels, y_rows=rows.outputs,
        y_columns=columns.outputs, row_spacing=rows.spacing, column_spacing=columns.spacing, **arguments,
        **bands.arguments(),
    )  # fmt: skip
    return program


def _cut(side: Side, dtype: np.dtype) -> Bands:
    """Bands whose copy, and whose sums, are not too large."""
    spacing = side.rows.spacing * side.columns.spacing
    share = max(1, side.out_channels * spacing / (side.in_channels * side.rows.step * side.columns.step))
    return Bands(side.rows, side.columns, side.in_channels, dtype, int(BAND_BYTES / share) // dtype.itemsize)


def _phases(side: Side, bands: Bands, tables: Tables) -> list[tuple[int, int, int, int]]:
    """Of each phase: products of a kernel row, tables of their weights and of their inputs, and of the rows' reach."""
    found = []
    for r, row_taps in enumerate(side.rows.phases):
        for column_taps in side.columns.phases:
            products = [
                (c * side.in_step + row[0] * side.tap_columns + column[0], bands.place(c, row, column))
                for row in row_taps
                for c in range(side.in_channels)
                for column in column_taps
            ]
            weights, places = np.array(products, np.int64).T
            reach = np.array(side.rows.reach(r)).ravel()
            depth = side.in_channels * len(column_taps)
            found.append((depth, tables.place(weights), tables.place(places), tables.place(reach)))
    return found
