"""Gradient of a direct convolution for weights and bias: lanes are output channels, sums run over pixels.

The register tile serves with its two tables of A exchanged: a row of the tile is a weight (a channel and a tap), a
product is a pixel. ``dy`` is transposed into ``[pixels][channels]``, a few output rows at a time; the input is read
where it lies, or, where that lets neighbouring taps share an address, from rows copied between zeros.

Images are dealt to a fixed number of *parts*, whose sums are added in order at the end: results do not depend on
threads.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from fastconv import jit
from fastconv.cpu.ahead import STATE_BYTES, STREAMS, stream_runs
from fastconv.cpu.loop import Program, kernel
from fastconv.cpu.microkernel import call_tiles, most_rows
from fastconv.cpu.panels import gather_lanes
from fastconv.cpu.schedule import split
from fastconv.cpu.schedule_weight import BAND, WeightSchedule
from fastconv.cpu.simd import head, lanes, load, splat, store, transpose
from fastconv.cpu.slabs import copy_slabs
from fastconv.cpu.taps import forward_view
from fastconv.geometry import ConvGeometry

INPUT, GRADIENT, UNUSED = range(STREAMS)  # what is fetched ahead, for the next band
ENOUGH_TASKS = 16  # so that a task more or less on one of a few cores costs little
FEW_SUMS = 1 << 16  # that one thread adds alone
SMALL_GRADIENT = 256 << 10  # bytes of dw up to which sixteen parts may have sums of their own


@kernel(
    x="real", dy="real", sums="real", bias_sums="real",
    bands="int64", entries="int64", tiles="int64", chunks="int64", tables="int32",
    packed="real", rows="real", worker_step="int", batch="int", images="int", groups="int", parts="int",
    band_count="int", chunk_count="int", blocks="int", x_channels="int", x_plane="int", x_columns="int",
    y_channels="int", y_plane="int",
    vectors="int", sum_rows="int", entry_rows="int", row_places="int", copied="int", copy_plane="int", slab_step="int",
    pitch="int", reach="int", streams="int64", streams_step="int", size="int",
)  # fmt: skip
def sum_products(args, task, slot):
    """Sum the products of a part of the bands, for a chunk of the tiles of one group."""
    width = args.vectors * lanes(args.x)
    chunk = args.chunks + task % args.chunk_count * 4
    group, part = task // args.chunk_count % args.groups, task // (args.chunk_count * args.groups)
    place = (part * args.groups + group) * args.blocks
    sums, bias_sums = args.sums + place * args.sum_rows * width, args.bias_sums + place * width
    packed, rows = args.packed + slot * args.worker_step, args.rows + slot * args.worker_step
    streams = args.streams + slot * args.streams_step
    clear(args, chunk, sums, bias_sums, width)
    band_total = -(-args.batch // args.images) * args.band_count
    for index in range(part * band_total // args.parts, (part + 1) * band_total // args.parts):
        first_image = index // args.band_count * args.images
        images = min(args.images, args.batch - first_image)
        band = args.bands + (index % args.band_count + (args.band_count if images < args.images else 0)) * BAND
        place = first_image * args.groups + group
        x = args.x + (place * args.x_channels * args.x_plane + band[4])
        if args.copied:
            copy_slabs(args, x + chunk[2] * args.x_plane, chunk[3] - chunk[2], band + 5, rows)
            x = rows + -chunk[2] * args.copy_plane
        dy = args.dy + (place * args.y_channels * args.y_plane + band[3])
        look_ahead(args, streams, chunk, group, index + 1, (part + 1) * band_total // args.parts)
        for block in range(args.blocks):
            pack_pixels(args, dy, block * width, images, band[2], packed)
            if chunk[0] == 0:
                add_bias(packed, images * band[2], width, bias_sums + block * width)
            multiply_band(args, chunk, band, x, packed, sums + block * args.sum_rows * width, width, streams)


@jit.inline
def clear(args, chunk, sums, bias_sums, width):
    """Set the sums of a chunk to 0."""
    zero = splat(sums, 0)
    first = args.tiles[4 * chunk[0] + 2]
    last = args.tiles[4 * chunk[1] - 2] + args.tiles[4 * chunk[1] - 1]
    for block in range(args.blocks):
        for entry in range(0, args.sum_rows, args.entry_rows):
            start = (block * args.sum_rows + entry) * width
            for i in range(start + first * width, start + last * width, lanes(sums)):
                store(sums, i, zero)
    if chunk[0] == 0:
        for i in range(0, args.blocks * width, lanes(sums)):
            store(bias_sums, i, zero)


@jit.inline
def pack_pixels(args, dy, channel, images, pixels, packed):
    """Transpose the pixels of a band to ``[pixels][channels]``, for the channels of one block."""
    n = lanes(dy)
    width = args.vectors * n
    image_step = args.groups * args.y_channels * args.y_plane
    for v in range(0, width, n):
        channels = min(n, args.y_channels - channel - v)
        for image in range(images):
            target = packed + (image * pixels * width + v)
            if channels > 0:
                source = dy + (image * image_step + (channel + v) * args.y_plane)
                gather_lanes(source, args.y_plane, channels, pixels, target, width)
            else:
                for p in range(pixels):
                    store(target, p * width, splat(dy, 0))


@jit.inline
def add_bias(packed, pixels, width, bias_sums):
    """Add all pixels to the bias's sums."""
    for v in range(0, width, lanes(packed)):
        total = load(bias_sums, v)
        for p in range(pixels):
            total = total + load(packed, p * width + v)
        store(bias_sums, v, total)


@jit.inline
def look_ahead(args, streams, chunk, group, index, last):
    """Prepare to fetch the input and the gradient of a band, unless the part has ended."""
    image, band = index // args.band_count * args.images, args.bands + index % args.band_count * BAND
    place, exists = image * args.groups + group, index < last
    row = band[5] + (band[8] - 1) * band[9]  # of the last slab: the others were perhaps met before
    x = args.x + ((place * args.x_channels + chunk[2]) * args.x_plane + row * args.x_columns + max(0, band[7]))
    dy = args.dy + (place * args.y_channels * args.y_plane + band[3])
    runs = chunk[3] - chunk[2] if exists else 0
    stream_runs(streams, UNUSED, x, 0, 0, 0, args.size)
    stream_runs(streams, INPUT, x, band[6] * args.reach, runs, args.x_plane, args.size)
    stream_runs(streams, GRADIENT, dy, band[2], args.y_channels if exists else 0, args.y_plane, args.size)


@jit.inline
def multiply_band(args, chunk, band, x, packed, sums, width, streams):
    """Add the products of a band: a tile of channels stays in L1 while all taps pass over it."""
    tables = args.tables
    row_places = tables + args.row_places
    for i in range(chunk[0], chunk[1]):
        tile = args.tiles + 4 * i
        for e in range(band[0], band[1]):
            entry = args.entries + 4 * e
            c = sums + (entry[3] + tile[2]) * width
            call_tiles(
                tile[0], entry[0], 1, 0, 0, 0, x, tables + tile[1], tables + entry[1], packed, tables + entry[2],
                c, row_places, c, row_places, streams,
            )  # fmt: skip


@kernel(
    sums="real", bias_sums="real", dw="real", db="real", positions="int32", buffer="real", worker_step="int",
    parts="int", part_step="int", bias_step="int", blocks="int", pieces="int", piece="int", depth="int",
    y_channels="int", vectors="int", sum_rows="int",
)  # fmt: skip
def add_parts(args, task, slot):
    """Add the parts in order, and transpose a piece of the sums of one block into dw."""
    n = lanes(args.sums)
    width = args.vectors * n
    buffer = args.buffer + slot * args.worker_step
    place, first = task // args.pieces, task % args.pieces * args.piece
    group, channel = place // args.blocks, place % args.blocks * width
    for v in range(0, min(width, args.y_channels - channel), n):
        channels = min(n, args.y_channels - channel - v)
        for k in range(first, min(args.depth, first + args.piece), n):
            count = min(n, args.depth - k)
            for i in range(count):
                row = args.sums + ((place * args.sum_rows + args.positions[k + i]) * width + v)
                store(buffer, i * n, add_part(row, args.parts, args.part_step))
            target = args.dw + ((group * args.y_channels + channel + v) * args.depth + k)
            transpose(buffer, n, count, head(buffer, n), target, args.depth, channels, head(buffer, count))
        if first == 0:
            total = add_part(args.bias_sums + (place * width + v), args.parts, args.bias_step)
            store(args.db, group * args.y_channels + channel + v, total, head(buffer, channels))


@jit.inline
def add_part(row, parts, step):
    """Sum of a vector over all parts, in order."""
    total = load(row, 0)
    for part in range(1, parts):
        total = total + load(row, part * step)
    return total


@lru_cache(maxsize=512)
def backward_weight_plan(geometry: ConvGeometry, dtype: np.dtype, exact: bool = False) -> Program:
    """Program of (x, dy, dw, db). Where it is `exact`, padding is never multiplied."""
    view, batch, groups = forward_view(geometry), geometry.batch, geometry.groups
    schedule = WeightSchedule(view, batch, groups, geometry.group_in, geometry.group_out, dtype, exact)
    width, blocks = schedule.width, -(-geometry.group_out // schedule.width)
    depth = geometry.group_in * view.tap_rows * view.tap_columns
    parts, chunks = _share(schedule, geometry, dtype)
    part_step = groups * blocks * schedule.rows * width

    program = Program(dtype, "x dy dw db")
    program.multiplies_padding = schedule.copied
    sums = program.workspace(parts * part_step)
    bias_sums = program.workspace(parts * groups * blocks * width)
    packed_size = schedule.most_pixels * width
    most_channels = max(last - first for _, _, first, last in chunks)
    copy_size = most_channels * schedule.copy_plane + schedule.n if schedule.copied else 0
    scratch_size = STATE_BYTES // dtype.itemsize + max(packed_size + copy_size, schedule.n**2)
    scratch, worker_step = program.worker_workspace(scratch_size)
    packed = scratch + STATE_BYTES
    program.add(
        sum_products, parts * groups * len(chunks),
        x=program.x, dy=program.dy, sums=sums, bias_sums=bias_sums,
        bands=program.table(schedule.bands, np.int64), entries=program.table(schedule.entries, np.int64),
        tiles=program.table(schedule.tiles, np.int64), chunks=program.table(chunks, np.int64),
        row_places=schedule.tables.place(i * width for i in range(most_rows(1))),
        tables=program.table(schedule.tables.array()), packed=packed, rows=packed + packed_size * dtype.itemsize,
        worker_step=worker_step, batch=batch, images=schedule.images, groups=groups, parts=parts,
        band_count=len(schedule.bands) // 2, chunk_count=len(chunks), blocks=blocks,
        x_channels=geometry.group_in, x_plane=view.in_rows * view.in_columns, x_columns=view.in_columns,
        y_channels=geometry.group_out, y_plane=view.out_rows * view.out_columns, vectors=schedule.vectors,
        sum_rows=schedule.rows, entry_rows=geometry.group_in * schedule.run,
        copied=int(schedule.copied), copy_plane=schedule.copy_plane, slab_step=schedule.slab_rows * schedule.pitch,
        pitch=schedule.pitch, reach=schedule.reach,
        streams=scratch, streams_step=worker_step * dtype.itemsize // 8, size=dtype.itemsize,
    )  # fmt: skip
    piece = 8 * schedule.n
    program.add(
        add_parts, groups * blocks * -(-depth // piece), alone=parts * part_step < FEW_SUMS,
        sums=sums, bias_sums=bias_sums, dw=program.dw, db=program.db,
        positions=program.table(schedule.positions()), buffer=packed, worker_step=worker_step,
        parts=parts, part_step=part_step, bias_step=groups * blocks * width, blocks=blocks,
        pieces=-(-depth // piece), piece=piece, depth=depth,
        y_channels=geometry.group_out, vectors=schedule.vectors, sum_rows=schedule.rows,
    )  # fmt: skip
    return program


def _share(schedule: WeightSchedule, geometry: ConvGeometry, dtype: np.dtype) -> tuple[int, list[tuple[int, ...]]]:
    """Parts of the batch, and chunks of tiles: (first tile, last tile, first channel, last channel)."""
    gradient = schedule.rows * geometry.out_channels * dtype.itemsize
    bands = -(-geometry.batch // schedule.images) * len(schedule.bands) // 2
    parts = ENOUGH_TASKS if gradient <= SMALL_GRADIENT else 4 if gradient <= 4 * SMALL_GRADIENT else 1
    parts = max(1, min(parts, bands))
    count = max(1, min(len(schedule.tiles), -(-ENOUGH_TASKS // (parts * geometry.groups))))
    chunks, first = [], 0
    for size in split(len(schedule.tiles), -(-len(schedule.tiles) // count)):
        last = first + size
        chunks.append((first, last, schedule.channels[first][0], schedule.channels[last - 1][1]))
        first = last
    return parts, chunks
