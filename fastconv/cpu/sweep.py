"""Correlation of images and signals of one channel, whatever lies around them: lanes are pixels.

    y[o] = sum_k w[k] * x[o + first + k]

over any number of axes, where x goes on beyond its ends as `border.places` says. It is what NumPy's and SciPy's
functions compute: they differ in where the first output stands, how many there are, and what the border is.

A task copies the rows that a band of its outputs meets, border included, into scratch memory that stays in the cache,
in the type in which sums are computed; a tile sweeps over the copy, and its sums leave in the type of the result. So an
image is never padded or converted as a whole. Along all axes but the last the border is a table of rows.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod

import numpy as np

from fastconv import jit
from fastconv.cpu.border import places
from fastconv.cpu.lines import copier, copy_line
from fastconv.cpu.loop import Program, kernel
from fastconv.cpu.microkernel_sweep import call_sweep, sweep_tile
from fastconv.cpu.simd import address_of, prefetch, prefetch_to_write
from fastconv.cpu.sweep_layout import Correlation, Layout

ALONE = 100_000  # products below which another thread costs more than it gains: some 10 us


@kernel(
    x="uint8", numbers="real", w="real", outside="real", y="uint8", results="real", copy="real", sums="real",
    runs="int64", met_planes="int64", met_rows="int64", left="int64", right="int64",
    **dict.fromkeys(
        "load load_bytes write write_bytes tile tile_rows width run_count start w_step w_part parts bands row_parts "
        "band_rows band_columns rows columns planes all_planes outer depth x_planes x_rows x_columns more_rows ahead "
        "more_columns first_column beyond pitch copy_rows copy_columns copy_plane sums_pitch worker_step "
        "in_place".split(),
        "int",
    ),
)  # fmt: skip
def correlate_bands(args, task, slot):
    """Compute a band of output rows, or a part of each of them, in some images."""
    band, first = task % args.bands, task // args.bands * args.planes
    row, column = band // args.row_parts * args.band_rows, band % args.row_parts * args.band_columns
    rows, columns = min(args.band_rows, args.rows - row), min(args.band_columns, args.columns - column)
    copy, sums = args.copy + slot * args.worker_step, args.sums + slot * args.worker_step
    for plane in range(first, min(first + args.planes, args.all_planes)):
        if lies_ready(args, row, column, columns):
            sweep_in_place(args, plane, row, rows, column, columns)
            continue
        copy_planes(args, plane, row, rows + args.more_rows, column, columns + args.more_columns, copy)
        for part in range(args.parts):
            w = args.w + part * args.w_part
            for r in range(0, rows, args.tile_rows):
                here = (plane * args.rows + row + r) * args.columns + column
                for c in range(0, columns, args.width):
                    fetch(args, here + c)
                    x = copy + (args.start + r * args.pitch + c)
                    call_sweep(args.tile, args.runs, args.run_count, x, w, args.w_step, sums + c, args.sums_pitch)
                count = min(args.tile_rows, rows - r)
                write_rows(args, sums, count, columns, here, part)


@jit.inline
def lies_ready(args, row, column, columns):
    """Whether a tile can read the image itself and write the result: no border, no other types, no row cut short."""
    low, whole = column + args.first_column, columns % args.width == 0
    return args.in_place and whole and low >= 0 and low + columns + args.more_columns <= args.x_columns


@jit.inline
def sweep_in_place(args, plane, row, rows, column, columns):
    """Compute parts of rows whose windows lie side by side. A signal of 1e6 in float64, 3 taps: from 2.0 to 1.6 ms."""
    for r in range(row, row + rows):
        here = (plane * args.rows + r) * args.columns + column
        x = args.numbers + (plane * args.x_rows + r) * args.x_columns + (column + args.first_column + args.start)
        for c in range(0, columns, args.width):
            fetch(args, here + c)
            call_sweep(args.tile, args.runs, args.run_count, x + c, args.w, args.w_step, args.results + (here + c), 0)


@jit.inline
def fetch(args, place):
    """Ask for the elements that a tile's sums are about to be written to, and for those of the next band's input.

    Measured on images of 1024 x 1024 in float64: 1 x 1 from 2.1 to 1.5 ms, 3 x 3 from 3.1 to 2.4 ms.
    """
    for r in range(args.tile_rows):
        element = (place + r * args.columns) * args.parts
        for i in range(0, args.width * args.parts * args.write_bytes, 64):
            prefetch_to_write(args.y, element * args.write_bytes + i)
        element += args.ahead * args.parts
        for i in range(0, args.width * args.parts * args.load_bytes, 64):
            prefetch(args.x, element * args.load_bytes + i)


@jit.inline
def copy_planes(args, plane, row, rows, column, columns, copy):
    """Copy what a band's outputs meet: some rows of some planes, real parts and imaginary ones apart."""
    image, outer = plane // args.outer, plane % args.outer
    for k in range(args.depth):
        met = args.met_planes[outer * args.depth + k]
        for part in range(args.parts):
            target = copy + (k * args.parts + part) * args.copy_plane
            for r in range(row, row + rows):
                if met < 0 or args.met_rows[r] < 0:
                    fill(target, columns, args.outside[part])
                else:
                    start = ((image * args.x_planes + met) * args.x_rows + args.met_rows[r]) * args.x_columns
                    copy_row(args, start, part, column + args.first_column, columns, target)
                # Tiles read on: what they make of it is left out, but numbers that are not normal would slow them down.
                fill(target + columns, args.copy_columns - columns, 0)
                target = target + args.pitch
            for _ in range(rows, args.copy_rows):
                fill(target, args.copy_columns, 0)
                target = target + args.pitch


@jit.inline
def fill(target, count, value):
    """Write copies of a number."""
    for i in range(count):
        target[i] = value


@jit.inline
def copy_row(args, start, part, low, count, target):
    """Copy the columns low, ..., low + count - 1 of the row that begins at an element, with its border."""
    first, last = max(low, 0), min(low + count, args.x_columns)
    if first < last:
        copy_columns(args, start + first, part, last - first, target + (first - low))
    for i in range(min(count, -low)):
        copy_border(args, start, part, args.left[low + args.beyond + i], target + i)
    for i in range(max(0, args.x_columns - low), count):
        copy_border(args, start, part, args.right[low + i - args.x_columns], target + i)


@jit.inline
def copy_border(args, start, part, column, target):
    """Copy the element that stands for one beyond the row's ends."""
    if column < 0:
        target[0] = args.outside[part]
    else:
        copy_columns(args, start + column, part, 1, target)


@jit.inline
def copy_columns(args, start, part, count, target):
    """Copy elements to numbers."""
    source = address_of(args.x) + (start * args.parts + part) * args.load_bytes
    copy_line(args.load, source, args.parts, address_of(target), 1, count)


@jit.inline
def write_rows(args, sums, rows, columns, start, part):
    """Copy sums to elements."""
    for r in range(rows):
        target = address_of(args.y) + ((start + r * args.columns) * args.parts + part) * args.write_bytes
        copy_line(args.write, address_of(sums + r * args.sums_pitch), 1, target, args.parts, columns)


# ---- plans ------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=512)
def plan(given: Correlation, mask: bytes | None = None) -> Program:
    """Program of (x, w, outside, y).

    Parameters
    ----------
    given : Correlation
    mask : bytes, optional
        A byte for each tap, 0 where it shall be left out, so that it does not meet a number that is not finite.

    Notes
    -----
    The arrays are C-contiguous. Weights are numbers of the type `work`; complex ones are four kernels,
    ``[[re, -im], [im, re]]``: how the parts of the result follow from those of the image.
    `outside` is the constant beyond the border, its real and its imaginary part.
    """
    given = given.simplified()
    layout = Layout(given, mask is not None)
    runs = layout.runs(mask)
    program = Program(given.work, "x w outside y")
    copy, worker_step = program.worker_workspace(layout.copy_size + layout.sums_size)
    columns, beyond = layout.columns, max(0, -layout.columns.first)
    products = given.batch * prod(given.outputs) * prod(given.kernel) * given.parts**2
    program.add(
        correlate_bands, -(-layout.all_planes // layout.planes) * layout.bands, alone=products < ALONE,
        x=program.x, numbers=program.x, w=program.w, outside=program.outside, y=program.y, results=program.y,
        in_place=int(layout.in_place),
        copy=copy, sums=copy + layout.copy_size * given.work.itemsize, worker_step=worker_step,
        runs=program.table(runs, np.int64), run_count=len(runs), start=layout.start,
        w_step=columns.kernel, w_part=layout.taps * given.parts, parts=given.parts,
        met_planes=program.table(layout.met_planes(), np.int64),
        met_rows=program.table(layout.rows.places(given.border), np.int64),
        left=program.table(places(given.border, columns.size, -beyond, beyond), np.int64),
        right=program.table(places(given.border, columns.size, columns.size, columns.behind), np.int64),
        load=copier(given.source, given.work), load_bytes=given.source.itemsize,
        write=copier(given.work, given.target), write_bytes=given.target.itemsize,
        tile=sweep_tile(given.work, layout.shape), tile_rows=layout.shape.rows, width=layout.width,
        bands=layout.bands, row_parts=layout.row_parts, band_rows=layout.band_rows, band_columns=layout.band_columns,
        rows=layout.rows.outputs, columns=columns.outputs, planes=layout.planes, all_planes=layout.all_planes,
        outer=layout.outer, depth=layout.depth, x_planes=prod(given.size[:-2]), x_rows=layout.rows.size,
        x_columns=columns.size, more_rows=layout.rows.kernel - 1, more_columns=columns.kernel - 1,
        first_column=columns.first, beyond=beyond, pitch=layout.pitch, copy_rows=layout.copy_rows,
        copy_columns=layout.copy_columns, copy_plane=layout.copy_rows * layout.pitch, sums_pitch=layout.sums_pitch,
        ahead=layout.band_rows * columns.outputs if layout.row_parts == 1 else layout.band_columns,
    )  # fmt: skip
    return program
