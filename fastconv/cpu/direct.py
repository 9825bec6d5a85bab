"""Direct convolution and its gradient for the input: lanes are output channels, rows of the tile are pixels.

Both are the same computation seen through different `taps`. The input is read where it lies, NCHW: a row of the
register tile is an output pixel, its addresses differ from the next one's by the stride. A panel holds the weights of
16 or 32 output channels. Sums stand in a block ``[pixels][channels]`` of scratch memory and leave through transposes in
registers.

Padding is never stored where a sum has many products in a kernel column: each kernel column is a call of its own, over
the output columns and the kernel rows that meet real input, so that zeros are neither read nor multiplied. Where sums
are short, or zeros few, the rows that a task needs are copied between zeros first.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fastconv import jit
from fastconv.cpu.ahead import STATE_BYTES, STREAMS, stream_runs
from fastconv.cpu.epilogue import EPILOGUE_FIELDS, PLAIN, Epilogue, ending_of
from fastconv.cpu.loop import Program, kernel
from fastconv.cpu.microkernel import call_tiles
from fastconv.cpu.panels import pack_weights, scatter_lanes
from fastconv.cpu.schedule import REGION, SUMS_BYTES, Schedule
from fastconv.cpu.simd import lanes, load, store
from fastconv.cpu.slabs import copy_slabs
from fastconv.cpu.taps import View, backward_view, forward_view
from fastconv.geometry import ConvGeometry

# What is fetched ahead: weights of the next pass, the lines that results will go to, and the next task's input.
WEIGHTS, OUTPUT, INPUT = range(STREAMS)
FEW_WEIGHTS = 1 << 15  # that one thread packs alone
CACHED_WEIGHTS = 256 << 10  # bytes that stay in L2: more are fetched a pass ahead, 5 % for 256 to 512 channels
ENOUGH_TASKS = 16  # so that a task more or less on one of a few cores costs little


@jit.inline
def run_pass(args, region, index, x, panel, bias, sums, streams):
    """Call the tiles of one pass over all spans of a region of one image."""
    tables = args.tables
    for i in range(region[0], region[1]):
        span = args.spans + 6 * i
        source, target = x + span[0], sums + span[1]
        for e in range(args.passes[span[2] + index], args.passes[span[2] + index + 1]):
            call = args.calls + 10 * e
            c, c_rows = target + call[7], tables + call[8]
            s, s_rows, s_shift = (bias, tables + args.no_offsets, 0) if call[9] else (c, c_rows, span[5])
            call_tiles(
                call[0], call[1], span[3], span[4], span[5], s_shift,
                source + call[2], tables + call[3], tables + call[4], panel + call[5], tables + call[6],
                c, c_rows, s, s_rows, streams,
            )  # fmt: skip


@jit.inline
def write_out(sums, vectors, pixels, y, plane, channels, ending):
    """Transpose the sums of a region to a block of at most `vectors` x lanes channels, finished."""
    n = lanes(y)
    for v in range(0, min(vectors * n, channels), n):
        scatter_lanes(sums + v, vectors * n, pixels, y + v * plane, plane, min(n, channels - v), ending)


@kernel(
    x="real", panels="real", biases="real", y="real",
    regions="int64", spans="int64", passes="int64", calls="int64", tables="int32", no_offsets="int", filled="int",
    sums="real", sums_size="int", rows="real", worker_step="int", streams="int64", streams_step="int", pass_count="int",
    batch="int", images="int", groups="int", blocks="int", chunk="int", chunks="int", region_count="int",
    x_channels="int", x_plane="int", x_columns="int", y_channels="int", y_plane="int",
    vectors="int", panel_step="int", copied="int", copy_plane="int", slab_step="int",
    pitch="int", size="int", fetches_weights="int", **EPILOGUE_FIELDS,
)  # fmt: skip
def correlate(args, task, slot):
    """Compute a region of output pixels of some images of one group, for a chunk of its blocks of output channels."""
    n, ending = lanes(args.x), ending_of(args)
    width = args.vectors * n
    region = args.regions + task // args.chunks % args.region_count * REGION
    outer = task // (args.chunks * args.region_count)
    group, first_image = outer % args.groups, outer // args.groups * args.images
    images = min(args.images, args.batch - first_image)
    sums = args.sums + slot * args.worker_step
    x_size, y_size = args.x_channels * args.x_plane, args.y_channels * args.y_plane
    x = args.x + (first_image * args.groups + group) * x_size
    y = args.y + ((first_image * args.groups + group) * y_size + region[3])
    if args.copied:  # one image a task
        rows = args.rows + slot * args.worker_step
        copy_slabs(args, x, args.x_channels, region + 4, rows)
        x = rows
    first_block = task % args.chunks * args.chunk
    last_block = min(args.blocks, first_block + args.chunk)
    streams = args.streams + slot * args.streams_step
    look_ahead(args, streams, task)
    pass_weights = args.panel_step // args.pass_count
    for block in range(first_block, last_block):
        panel = args.panels + (group * args.blocks + block) * args.panel_step
        bias = args.biases + (group * args.blocks + block) * width
        if args.filled:
            for image in range(images):
                fill(sums + image * args.sums_size, region[2], width, bias)
        channels = min(width, args.y_channels - block * width)
        target = y + block * width * args.y_plane
        stream_runs(streams, OUTPUT, target, region[2], channels, args.y_plane, args.size)
        for index in range(args.pass_count):
            following = panel + (index + 1) * pass_weights
            stream_runs(streams, WEIGHTS, following, pass_weights, args.fetches_weights, pass_weights, args.size)
            for image in range(images):
                source = x + image * args.groups * x_size
                image_sums = sums + image * args.sums_size
                run_pass(args, region, index, source, panel, bias, image_sums, streams)
        for image in range(images):
            image_y = target + image * args.groups * y_size
            write_out(sums + image * args.sums_size, args.vectors, region[2], image_y, args.y_plane, channels, ending)


@jit.inline
def look_ahead(args, streams, task):
    """Prepare to fetch the next task's input during this one, unless it is the same, or there is none."""
    following = (task + 1) // args.chunks
    outer = following // args.region_count
    place = outer // args.groups * args.images * args.groups + outer % args.groups
    region = args.regions + following % args.region_count * REGION
    exists = place < args.batch * args.groups and following != task // args.chunks
    row = region[4] + (region[7] - 1) * region[8]  # of the last slab: the others were perhaps met before
    x = args.x + (place * args.x_channels * args.x_plane + row * args.x_columns + max(0, region[6]))
    runs = args.x_channels if exists else 0
    stream_runs(streams, INPUT, x, region[5] * args.pitch, runs, args.x_plane, args.size)


@jit.inline
def fill(sums, pixels, width, bias):
    """Start the sums of all pixels with the bias."""
    for v in range(0, width, lanes(bias)):
        value = load(bias, v)
        for p in range(pixels):
            store(sums, p * width + v, value)


# ---- plans -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Side:
    """What differs between the convolution and its gradient: the view, and how the weights are read.

    Product (i, t) of output channel o has its weight at ``i * outer_step + o * channel_step + t``, t < inner.
    For the convolution all products of an output channel lie one after the other, and `outer` is 1.
    """

    view: View
    in_channels: int  # of a group
    out_channels: int
    channel_step: int
    outer: int
    outer_step: int
    inner: int


def forward_side(geometry: ConvGeometry) -> Side:
    """y from x: all products of an output channel lie one after the other."""
    view = forward_view(geometry)
    depth = geometry.group_in * view.tap_rows * view.tap_columns
    return Side(view, geometry.group_in, geometry.group_out, depth, 1, 0, depth)


def backward_side(geometry: ConvGeometry) -> Side:
    """dx from dy: weights with input and output channels exchanged."""
    view = backward_view(geometry)
    taps = view.tap_rows * view.tap_columns
    return Side(view, geometry.group_out, geometry.group_in, taps, geometry.group_out, geometry.group_in * taps, taps)


@lru_cache(maxsize=512)
def forward_plan(
    geometry: ConvGeometry, dtype: np.dtype, bias: bool, epilogue: Epilogue = PLAIN, exact: bool = False
) -> Program:
    """Program of (x, w, b, y) and what the epilogue takes. Where it is `exact`, padding is never multiplied."""
    return _program(forward_side(geometry), geometry, dtype, bias, exact, epilogue)


@lru_cache(maxsize=512)
def backward_data_plan(geometry: ConvGeometry, dtype: np.dtype, bias: bool, exact: bool = False) -> Program:
    """Program of (dy, w, b, dx); `b` is None without a bias. Where it is `exact`, padding is never multiplied."""
    return _program(backward_side(geometry), geometry, dtype, bias, exact, PLAIN)


def _program(
    side: Side, geometry: ConvGeometry, dtype: np.dtype, bias: bool, exact: bool, epilogue: Epilogue
) -> Program:
    """Pack the weights, then compute all regions."""
    view, batch, groups = side.view, geometry.batch, geometry.groups
    schedule = Schedule(view, side.in_channels, side.out_channels, dtype, exact)
    width, blocks = schedule.width, -(-side.out_channels // schedule.width)
    depth = side.in_channels * view.tap_rows * view.tap_columns
    x_plane, y_plane = view.in_rows * view.in_columns, view.out_rows * view.out_columns
    images, chunk = _share(batch, groups, blocks, schedule)
    chunks = -(-blocks // chunk)

    program = epilogue.program(dtype)
    program.multiplies_padding = schedule.padded
    panels = program.packed(groups * blocks * depth * width)
    biases = program.packed(groups * blocks * width)
    sums_size = schedule.most_pixels * width
    scratch_size = STATE_BYTES // dtype.itemsize + max(images * sums_size + schedule.copy_size, schedule.n**2)
    scratch, worker_step = program.worker_workspace(scratch_size)
    sums = scratch + STATE_BYTES
    program.add(
        pack_weights, groups * blocks, packs=True, alone=groups * blocks * depth * width < FEW_WEIGHTS,
        w=program.w, b=program.b, panels=panels, biases=biases,
        positions=program.table(schedule.order.ravel()), buffer=scratch, buffer_step=worker_step,
        blocks=blocks, channels=side.out_channels, has_bias=int(bias), width=width, panel_step=depth * width,
        group_step=geometry.group_in * geometry.group_out * view.tap_rows * view.tap_columns,
        channel_step=side.channel_step, outer=side.outer, outer_step=side.outer_step, inner=side.inner,
    )  # fmt: skip
    program.add(
        correlate, -(-batch // images) * groups * len(schedule.regions) * chunks,
        x=program.x, panels=panels, biases=biases, y=program.y,
        regions=program.table(schedule.regions, np.int64), spans=program.table(schedule.spans, np.int64),
        passes=program.table(schedule.passes, np.int64), calls=program.table(schedule.calls, np.int64),
        tables=program.table(schedule.tables.array()), no_offsets=schedule.no_offsets, filled=int(schedule.filled),
        sums=sums, sums_size=sums_size, rows=sums + images * sums_size * dtype.itemsize, worker_step=worker_step,
        streams=scratch, streams_step=worker_step * dtype.itemsize // 8,
        pass_count=schedule.pass_count, batch=batch, images=images, groups=groups,
        blocks=blocks, chunk=chunk, chunks=chunks, region_count=len(schedule.regions),
        x_channels=side.in_channels, x_plane=x_plane, x_columns=view.in_columns,
        y_channels=side.out_channels, y_plane=y_plane, vectors=schedule.vectors, panel_step=depth * width,
        copied=int(schedule.copied), copy_plane=schedule.copy_plane, slab_step=schedule.slab_rows * schedule.pitch,
        pitch=schedule.pitch, size=dtype.itemsize,
        fetches_weights=int(groups * blocks * depth * schedule.row_bytes > CACHED_WEIGHTS),
        **epilogue.arguments(program),
    )  # fmt: skip
    return program


def _share(batch: int, groups: int, blocks: int, schedule: Schedule) -> tuple[int, int]:
    """Images of a task, and blocks of output channels of a task: few weights read again, yet work for all cores."""
    regions = len(schedule.regions)
    images = 1
    if regions == 1 and not schedule.copied:
        image_bytes = schedule.most_pixels * schedule.row_bytes
        images = max(1, min(SUMS_BYTES // image_bytes, batch * groups * blocks // ENOUGH_TASKS))
        images = -(-batch // -(-batch // images)) if batch else 1
    tasks = max(1, -(-batch // images) * groups * regions)
    return images, -(-blocks // min(blocks, -(-ENOUGH_TASKS // tasks)))
