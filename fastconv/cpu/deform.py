"""Deformable convolution: sample what the taps read, and multiply it with the weights.

J. Dai and others, *Deformable Convolutional Networks* (2017), https://arxiv.org/abs/1703.06211, equation 2; with a
mask, X. Zhu and others, *Deformable ConvNets v2* (2018), https://arxiv.org/abs/1811.11168, equation 1.

A task is a block of outputs of one image and one group. Its products are cut into *chunks*, some taps of one range of
channels, so that the weights of a chunk stay in the L1 cache while the tile runs over all pixels: lanes are output
channels, rows are pixels. Columns exist only for one chunk at a time.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod

import numpy as np

from fastconv.cpu.deform_sample import SPOT_FIELDS, VECTORS, Ranges, Spots, find_spots, sample
from fastconv.cpu.direct import write_out
from fastconv.cpu.epilogue import EPILOGUE_FIELDS, PLAIN, ending_of
from fastconv.cpu.loop import Program, kernel
from fastconv.cpu.microkernel import call_tiles, most_rows, tile
from fastconv.cpu.panels import pack_weights
from fastconv.cpu.simd import VECTOR_BYTES, lanes
from fastconv.cpu.tables import Tables
from fastconv.geometry import DeformGeometry

PRODUCTS = 128  # of a chunk: 16 KB of weights, half of the L1 cache
SUMS_BYTES = 256 << 10  # of the sums of a task
MOST_PIXELS = 224  # of a task; as many columns of a chunk take 112 KB
FEWEST_PIXELS = 56  # below which reading the weights would cost too much
ENOUGH_TASKS = 16  # so that a task more or less on one of a few cores costs little
FEW_WEIGHTS = 1 << 15  # that one thread packs alone


@kernel(
    panels="real", biases="real", y="real", sums="real", taken="real", chunks="int64", chunk_count="int",
    tables="int32", no_offsets="int32", steps="int32", sums_rows="int32", tile="int", height="int", width_vectors="int",
    groups="int", range_count="int", blocks="int", depth="int", channels="int", parts="int", share="int", **SPOT_FIELDS,
    **EPILOGUE_FIELDS,
)  # fmt: skip
def correlate(args, task, slot):
    """Compute a share of the outputs of one image and one group."""
    n, part, outer = lanes(args.x), task % args.parts, task // args.parts
    image, group, first = outer // args.groups, outer % args.groups, part * args.share
    count, width = min(args.share, args.plane - first), args.width_vectors * n
    spots, places = args.spots + slot * args.worker_step, args.places + slot * args.places_step
    taken, sums = args.taken + slot * args.worker_step, args.sums + slot * args.worker_step
    tiles, block_sums = (count + args.height - 1) // args.height, args.share * width
    tile_columns, tile_sums = args.height * VECTORS * n, args.height * width
    for i in range(args.chunk_count):
        chunk = args.chunks + (group * args.chunk_count + i) * 7
        source = args.x + (image * args.range_count + chunk[0]) * args.range_step
        for tap in range(chunk[2], chunk[3]):
            find_spots(args, image, chunk[1], tap, first, count, spots, places)
            sample(args, source, tap - chunk[2], count, spots, places, taken)
        for block in range(args.blocks):
            index = group * args.blocks + block
            panel, target = args.panels + (index * args.depth + chunk[4]) * width, sums + block * block_sums
            start, start_rows, start_shift = target, args.sums_rows, tile_sums
            if i == 0:
                start, start_rows, start_shift = args.biases + index * width, args.no_offsets, 0
            call_tiles(
                args.tile, chunk[5], tiles, tile_columns, tile_sums, start_shift, taken, args.no_offsets,
                args.tables + chunk[6], panel, args.steps, target, args.sums_rows, start, start_rows,
            )  # fmt: skip
    ending = ending_of(args)
    for block in range(args.blocks):
        channel = block * width
        y = args.y + ((outer * args.channels + channel) * args.plane + first)
        own = sums + block * block_sums
        write_out(own, args.width_vectors, count, y, args.plane, args.channels - channel, ending)


class Chunks:
    """How the products of all groups are cut.

    Attributes
    ----------
    rows : list
        For each chunk, group after group: range, offset group, first and last tap, the panel's first row, products,
        and the table of their places in the columns.
    positions : ndarray
        The panel's row of each product, in the order in which the weights of an output channel lie: (ci, kh, kw).
    most_vectors : int
        Vectors of the longest chunk's columns.
    """

    def __init__(self, geometry: DeformGeometry, ranges: Ranges, block: int):
        self.geometry, self.ranges, self.block, self.tables = geometry, ranges, block, Tables()
        taps = max(1, PRODUCTS // (ranges.vectors * ranges.n))
        self.taps = -(-geometry.taps // -(-geometry.taps // taps))  # as many in each
        self.most_vectors = self.taps * ranges.vectors
        self.positions = np.zeros((geometry.conv.group_in, geometry.taps), np.int64)
        self.rows = [row for group in range(geometry.conv.groups) for row in self._of_group(group)]

    def _of_group(self, group: int) -> list[tuple[int, ...]]:
        rows, panel_row, first_range = [], 0, group * self.ranges.per_group
        for index in range(first_range, first_range + self.ranges.per_group):
            channels = np.arange(self.ranges.channels(index))
            place = self.ranges.firsts[index] - group * self.geometry.conv.group_in
            for first in range(0, self.geometry.taps, self.taps):
                taps = np.arange(min(self.taps, self.geometry.taps - first))
                table = self.tables.place(self._columns(taps[:, None], channels).ravel())
                self.positions[place : place + channels.size, first : first + taps.size] = (
                    panel_row + taps * channels.size + channels[:, None]
                )
                offset_group = index // self.ranges.per_offset_group
                products = taps.size * channels.size
                rows.append((index, offset_group, first, first + taps.size, panel_row, products, table))
                panel_row += products
        return rows

    def _columns(self, tap, channel):
        """Where the products of taps and channels stand in the columns."""
        vector, n = tap * self.ranges.vectors + channel // self.ranges.n, self.ranges.n
        return (vector // VECTORS * self.block * VECTORS + vector % VECTORS) * n + channel % n


@lru_cache(maxsize=256)
def forward_plan(geometry: DeformGeometry, dtype: np.dtype, bias: bool) -> Program:
    """Program of (x, offset, mask, w, b, y)."""
    program, conv = Program(dtype, "x offset mask w b y"), geometry.conv
    n, plane, depth = VECTOR_BYTES // dtype.itemsize, prod(conv.output_size), conv.group_in * geometry.taps
    vectors = min(VECTORS, -(-conv.group_out // n))
    width, blocks = vectors * n, -(-conv.group_out // (vectors * n))
    share, height = _share(plane, conv.batch * conv.groups, blocks * width * dtype.itemsize, most_rows(vectors))
    ranges = Ranges(geometry, dtype, PRODUCTS)
    spots = Spots(geometry, ranges, share)
    chunks = Chunks(geometry, ranges, spots.block)
    columns = (chunks.most_vectors + 1) * n * spots.block
    scratch, worker_step = program.worker_workspace(
        max(spots.elements + columns + blocks * share * width, n * n)  # n * n: what packing needs
    )
    panels, biases = (program.workspace(conv.groups * blocks * rows * width) for rows in (depth, 1))
    few = conv.groups * blocks * depth * width < FEW_WEIGHTS
    program.add(
        pack_weights, conv.groups * blocks, alone=few, w=program.w, b=program.b, panels=panels, biases=biases,
        positions=program.table(chunks.positions.ravel()), buffer=scratch, buffer_step=worker_step, blocks=blocks,
        channels=conv.group_out, has_bias=int(bias), width=width, panel_step=depth * width,
        group_step=conv.group_out * depth, channel_step=depth, outer=1, outer_step=0, inner=depth,
    )  # fmt: skip
    parts, steps = -(-plane // share), np.arange(max(depth, height))
    x = ranges.add_gather(program, program.x)
    program.add(
        correlate, conv.batch * conv.groups * parts, **spots.arguments(program, x, scratch, worker_step),
        panels=panels, biases=biases, y=program.y, taken=scratch + spots.elements * dtype.itemsize,
        sums=scratch + (spots.elements + columns) * dtype.itemsize, chunks=program.table(chunks.rows, np.int64),
        chunk_count=len(chunks.rows) // conv.groups, tables=program.table(chunks.tables.array()),
        no_offsets=program.table(0 * steps), steps=program.table(steps * width),
        sums_rows=program.table(steps[:height] * width),
        tile=tile(dtype, height, vectors, run=height, step=VECTORS * n), height=height, width_vectors=vectors,
        groups=conv.groups, range_count=ranges.count, blocks=blocks, depth=depth, channels=conv.group_out, parts=parts,
        share=share, **PLAIN.arguments(program),
    )  # fmt: skip
    return program


def _share(plane: int, planes: int, pixel_bytes: int, most: int) -> tuple[int, int]:
    """Pixels of a task, a multiple of a tile's rows, and those rows; `most` are possible."""
    enough = max(FEWEST_PIXELS, plane * planes // ENOUGH_TASKS)
    pixels = max(1, min(plane, MOST_PIXELS, SUMS_BYTES // pixel_bytes, enough))
    pixels = -(-plane // -(-plane // pixels))  # as many in each task
    tiles = -(-pixels // most)
    height = -(-pixels // tiles)
    return tiles * height, height
