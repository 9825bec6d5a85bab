"""Convolutions of one tap, and their gradient for the input: a matrix product whose lanes are pixels.

    y[channels x pixels] = w[channels x depth] * x[depth x pixels]

A stride only drops pixels: what is left is copied first. Results leave as whole vectors, without the transposes of
channel lanes, and pixels are counted through all images, so that small planes fill vectors as well as large ones. A
*strip* is as many pixels as a tile is wide. Some strips of the input, a *pass* of the depth at a time, are copied to
where each strip stays in the L1 cache while all output channels read it: in place, each channel would cost a page, and
planes of many sizes would share few cache sets.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from math import prod

import numpy as np

from fastconv import jit
from fastconv.cpu import strided
from fastconv.cpu.epilogue import EPILOGUE_FIELDS, PLAIN, Epilogue, ending_of, finished
from fastconv.cpu.gemm import pack_panel
from fastconv.cpu.loop import At, Program, kernel
from fastconv.cpu.microkernel import call_tiles, most_rows, tile
from fastconv.cpu.schedule import apart
from fastconv.cpu.simd import (
    VECTOR_BYTES,
    address_of,
    head,
    lanes,
    load,
    prefetch,
    prefetch_to_write,
    splat,
    store,
    stream,
)
from fastconv.geometry import ConvGeometry

VECTORS = 2  # of pixels in a strip
PASS = 128  # products of a pass: 16 KB of input, half of the L1 cache
MOST_STRIPS = 16  # of a task: their pass of the input is 256 KB, and each channel's pixels lie in a row
AHEAD = 2  # rows that are prefetched while one is copied or written: 4.2 -> 3.4 ms, 24 to 144 channels of 56x56
STREAMED_BYTES = 16 << 20  # of results, from which they pass the caches: 13.4 -> 11.3 ms, 64 to 256 channels of 56x56
SUMS_BYTES = 256 << 10  # of sums that a task holds
COPY_BYTES = 8 << 20  # of the pixels that a stride meets, copied at a time
ENOUGH_TASKS = 16  # so that a task more or less on one of a few cores costs little
FEW_WEIGHTS = 1 << 15  # that one thread packs alone

# ---- kernels ---------------------------------------------------------------------------------------------------


@kernel(
    w="real", b="real", panels="real", biases="real", along="int", depth="int", channels="int", height="int",
    tiles="int", width="int", has_bias="int",
)  # fmt: skip
def pack_weights(args, task, slot):
    """Pack the weights of one tile's channels to ``[depth][height]``, and spread their bias over the pixels."""
    group, first = task // args.tiles, task % args.tiles * args.height
    w = args.w + group * args.channels * args.depth
    panel = args.panels + task * args.height * args.depth
    pack_panel(w, args.along, args.depth, args.channels, first, args.height, 0, args.depth, panel)
    for i in range(args.height):
        real = args.has_bias and first + i < args.channels
        bias = splat(w, args.b[group * args.channels + first + i] if real else 0.0)
        for j in range(0, args.width, lanes(w)):
            store(args.biases, (task * args.height + i) * args.width + j, bias)


@jit.inline
def fetch_strips(args, x, first, strips, depth, panels):
    """Copy `depth` rows of some strips to ``panels[strips][depth][width]``."""
    n, width, plane = lanes(x), args.width, args.plane
    image, pixel = first // plane, first % plane
    if pixel + strips * width > plane:
        for strip in range(strips):
            fetch_strip(args, x, first + strip * width, depth, panels + strip * args.panel_step)
        return
    source = x + (image * args.image_step + pixel)
    for k in range(depth):
        for strip in range(strips):
            for j in range(0, width, n):
                i = k * plane + strip * width + j
                prefetch(source, i + AHEAD * plane)
                store(panels, strip * args.panel_step + k * width + j, load(source, i))


@jit.inline
def fetch_strip(args, x, first, depth, panel):
    """Copy `depth` rows of a strip to ``panel[depth][width]``; pixels after the last one are zeros."""
    n, width, plane = lanes(x), args.width, args.plane
    last = min(args.pixels, first + width)
    if last < first + width:
        for i in range(0, depth * width, n):
            store(panel, i, splat(x, 0.0))
    place = first
    while place < last:
        length = min(plane - place % plane, last - place)
        source = x + (place // plane * args.image_step + place % plane)
        for j in range(0, length, n):
            mask = head(x, length - j)
            for k in range(depth):
                store(panel, k * width + (place - first) + j, load(source, k * plane + j, mask), mask)
        place += length


@jit.inline
def write_strips(args, sums, y, first, strips, ending):
    """Write the sums of some strips, ``[strips][channels][width]``, finished."""
    n, width, plane = lanes(y), args.width, args.plane
    image, pixel = first // plane, first % plane
    rows, streamed = args.tiles * args.height, args.streamed and address_of(y) % VECTOR_BYTES == 0
    if pixel + strips * width > plane:
        for strip in range(strips):
            write_strip(args, sums + strip * rows * width, y, first + strip * width, ending)
        return
    target = y + (image * args.y_image_step + pixel)
    for channel in range(args.channels):
        for strip in range(strips):
            for j in range(0, width, n):
                v = load(sums, (strip * rows + channel) * width + j)
                i = channel * plane + strip * width + j
                v = finished(v, target, i, head(y, n), ending)
                if streamed:
                    stream(target, i, v)
                else:
                    prefetch_to_write(target, i + AHEAD * plane)
                    store(target, i, v)


@jit.inline
def write_strip(args, sums, y, first, ending):
    """Write the sums of a strip, ``[channels][width]``, finished."""
    n, width, plane = lanes(y), args.width, args.plane
    place, last = first, min(args.pixels, first + width)
    while place < last:
        length = min(plane - place % plane, last - place)
        target, source = y + (place // plane * args.y_image_step + place % plane), sums + (place - first)
        for channel in range(args.channels):
            for j in range(0, length, n):
                mask = head(y, length - j)
                v, i = load(source, channel * width + j, mask), channel * plane + j
                store(target, i, finished(v, target, i, mask, ending), mask)
        place += length


@kernel(
    x="real", panels="real", biases="real", y="real", scratch="real", worker_step="int", tile="int", tiles="int",
    height="int", width="int", depth="int", channels="int", groups="int", plane="int", pixels="int",
    image_step="int", y_image_step="int", strips="int", share="int", shares="int", most="int", panel_step="int",
    streamed="int", no_offset="int32", a_steps="int32", b_steps="int32", c_rows="int32",
    **EPILOGUE_FIELDS,
)  # fmt: skip
def multiply(args, task, slot):
    """Compute a share of the strips of one group."""
    group, first = task // args.shares, task % args.shares * args.share
    last = min(args.strips, first + args.share)
    rows, depth, width = args.tiles * args.height, args.depth, args.width
    strip_panels = args.scratch + slot * args.worker_step
    sums = strip_panels + args.share * args.panel_step
    x, y = args.x + group * depth * args.plane, args.y + group * args.channels * args.plane
    panels, biases = args.panels + group * rows * depth, args.biases + group * rows * width
    tile_sums = args.height * width
    for k in range(0, depth, args.most):
        products = min(args.most, depth - k)
        fetch_strips(args, x + k * args.plane, first * width, last - first, products, strip_panels)
        for strip in range(last - first):
            target = sums + strip * rows * width
            start = target if k > 0 else biases
            call_tiles(
                args.tile, products, args.tiles, args.height * depth, tile_sums, tile_sums,
                panels + k * args.height, args.no_offset, args.a_steps, strip_panels + strip * args.panel_step,
                args.b_steps, target, args.c_rows, start, args.c_rows,
            )  # fmt: skip
    write_strips(args, sums, y, first * width, last - first, ending_of(args))


# ---- plans -----------------------------------------------------------------------------------------------------


def fits(geometry: ConvGeometry) -> bool:
    """Whether the convolution has one tap, and meets no padding."""
    window = geometry.window
    return max(window.kernel) == 1 and not any(map(any, window.padding))


@lru_cache(maxsize=512)
def forward_plan(geometry: ConvGeometry, dtype: np.dtype, bias: bool, epilogue: Epilogue = PLAIN) -> Program:
    """Program of (x, w, b, y) and what the epilogue takes."""
    program = epilogue.program(dtype)
    product = Product(program, geometry, geometry.group_in, geometry.group_out, bias, along=True)
    for images, x, y in _shares(geometry, dtype):
        source = program.x + x
        if max(geometry.window.stride) > 1:
            source = program.workspace(images * geometry.in_channels * prod(geometry.output_size))
            strided.add_keep(program, geometry, images * geometry.in_channels, program.x + x, source)
        product.add(images, source, program.y + y, epilogue.arguments(program, y))
    return program


@lru_cache(maxsize=512)
def backward_data_plan(geometry: ConvGeometry, dtype: np.dtype, bias: bool) -> Program:
    """Program of (dy, w, b, dx); `b` is None without a bias."""
    program = Program(dtype, "x w b y")
    product = Product(program, geometry, geometry.group_out, geometry.group_in, bias, along=False)
    for images, x, y in _shares(geometry, dtype):
        dx, dy = program.y + x, program.x + y
        target = dx
        if max(geometry.window.stride) > 1:
            target = program.workspace(images * geometry.in_channels * prod(geometry.output_size))
        product.add(images, dy, target, PLAIN.arguments(program))
        if target is not dx:
            strided.add_spread(program, geometry, images * geometry.in_channels, target, dx, bias)
    return program


def _shares(geometry: ConvGeometry, dtype: np.dtype) -> Iterator[tuple[int, int, int]]:
    """Yield the images that are computed at a time, all if no stride asks for a copy, and the bytes before them.

    These are the bytes of x, and of y.
    """
    image = geometry.in_channels * prod(geometry.output_size) * dtype.itemsize
    most = max(1, COPY_BYTES // image) if max(geometry.window.stride) > 1 else geometry.batch
    x_bytes, y_bytes = (prod(shape[1:]) * dtype.itemsize for shape in (geometry.x_shape, geometry.y_shape))
    for first in range(0, geometry.batch, max(1, most)):
        yield min(most, geometry.batch - first), first * x_bytes, first * y_bytes


class Product:
    """The product of one program: weights are packed once, and multiplied with some images at a time."""

    def __init__(self, program: Program, geometry: ConvGeometry, depth: int, channels: int, bias: bool, *, along: bool):
        self.program, self.groups, self.depth, self.channels = program, geometry.groups, depth, channels
        self.plane, dtype = prod(geometry.output_size), program.dtype
        self.width = VECTORS * VECTOR_BYTES // dtype.itemsize
        self.tiles = -(-channels // most_rows(VECTORS))
        self.height = -(-channels // self.tiles)
        self.rows, self.most = self.tiles * self.height, min(PASS, depth)
        rows = self.groups * self.rows
        self.packed = {"panels": program.packed(rows * depth), "biases": program.packed(rows * self.width)}
        self.sizes = {
            "depth": depth, "channels": channels, "height": self.height, "tiles": self.tiles, "width": self.width
        }  # fmt: skip
        program.add(
            pack_weights, self.groups * self.tiles, packs=True, alone=rows * depth < FEW_WEIGHTS,
            **self.packed, **self.sizes, w=program.w, b=program.b, along=int(along), has_bias=int(bias),
        )  # fmt: skip

    def add(self, images: int, x: At, y: At, ending: dict[str, At | int]) -> None:
        """Append the step that computes y from x, for some images; `ending` has the arguments of the epilogue."""
        program, dtype, plane, groups = self.program, self.program.dtype, self.plane, self.groups
        pixels, width = images * plane, self.width
        strips = -(-pixels // width)
        most_sums = SUMS_BYTES // (self.rows * width * dtype.itemsize)
        share = max(1, min(MOST_STRIPS, most_sums, strips * groups // ENOUGH_TASKS))
        shares, panel_step = -(-strips // share), apart(self.most * width, dtype)
        scratch, worker_step = program.worker_workspace(share * (panel_step + self.rows * width))
        steps, aligned = np.arange(max(self.most, self.height)), plane * dtype.itemsize % VECTOR_BYTES == 0
        large = pixels * groups * self.channels * dtype.itemsize >= STREAMED_BYTES
        program.add(
            multiply, groups * shares, **self.packed, **self.sizes, **ending,
            x=x, y=y, scratch=scratch, worker_step=worker_step,
            tile=tile(dtype, self.height, VECTORS, run=self.height), groups=groups, plane=plane, pixels=pixels,
            image_step=groups * self.depth * plane, y_image_step=groups * self.channels * plane,
            strips=strips, share=share, shares=shares, most=self.most, panel_step=panel_step,
            streamed=int(aligned and large), no_offset=program.table(0 * steps),
            a_steps=program.table(steps * self.height), b_steps=program.table(steps * width),
            c_rows=program.table(steps[: self.height] * width),
        )  # fmt: skip
