"""How output planes are cut into tiles, and how tiles travel between planes and points.

Tiles of one row that stand side by side are a *strip*; strips follow each other down a column of strips, then image by
image, and a *block* is a run of them. Lanes are channels: a line of a plane is transposed in registers when it is read,
zeros taking the place of padding, and again when results leave. So neither narrow planes nor odd sizes waste lanes, and
no padded copy of the input is made.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastconv import jit
from fastconv.cpu.calls import compile_piece
from fastconv.cpu.loop import Program
from fastconv.cpu.points import Crossing, Passage
from fastconv.cpu.schedule import split
from fastconv.cpu.simd import VECTOR_BYTES, head, lanes, splat, store, transpose, transpose_finished
from fastconv.cpu.tables import Tables
from fastconv.cpu.transform import call_map, compile_map

MOST_WIDE = 14  # tiles in a strip: its lines and rows, 45 KB for tiles of 4 x 4, nearly stay in L1
LINE_BYTES = 64 << 10  # of the lines of a strip, where tiles are large
MOST_GROUPED, ROW_BYTES = 7, 48 << 10  # tiles whose transformed rows are in L1 at once, and bytes of large ones


@dataclass(frozen=True, slots=True)
class Tiles:
    """The tiles of a batch of planes.

    Attributes
    ----------
    rows, columns : int
        Size of a plane of output.
    tall, wide : int
        Size of a tile.
    batch, parts, high : int
        A plane has `parts` columns of `high` strips each.
    strip : int
        Tiles in a strip. The last ones of the last strip may lie beyond the plane.
    blocks : int
        The strips of the batch are dealt to so many blocks, equal but for one strip.
    """

    rows: int
    columns: int
    tall: int
    wide: int
    batch: int
    parts: int
    high: int
    strip: int
    blocks: int

    @classmethod
    def make(
        cls, batch: int, size: tuple[int, int], tile: tuple[int, int], most: int, wide: int, multiple: int = 1
    ) -> Tiles:
        """Cut planes of `size` into tiles, and these into blocks of about `most` tiles or fewer.

        A strip has `wide` tiles or fewer. There is a `multiple` of so many blocks, or a block for each strip.
        """
        high, across = (-(-n // m) for n, m in zip(size, tile, strict=True))
        parts = -(-across // wide)
        strip = -(-across // parts)
        strips = batch * parts * high
        blocks = -(-strips // max(1, most // strip))
        blocks = max(1, min(strips, -(-blocks // multiple) * multiple))
        return cls(*size, *tile, batch, parts, high, strip, blocks)

    @property
    def strips(self) -> int:
        """Strips of the batch."""
        return self.batch * self.parts * self.high

    @property
    def fewest(self) -> int:
        """Tiles of the smallest block."""
        return self.strips // self.blocks * self.strip

    @property
    def most(self) -> int:
        """Tiles of the largest block."""
        return -(-self.strips // self.blocks) * self.strip

    def of_block(self, block: int) -> int:
        """Tiles of a block."""
        return ((block + 1) * self.strips // self.blocks - block * self.strips // self.blocks) * self.strip

    def arguments(self) -> dict[str, int]:
        """Arguments of a kernel, of the kinds in TILE_FIELDS."""
        return {
            "y_rows": self.rows, "y_columns": self.columns, "tile_rows": self.tall, "tile_columns": self.wide,
            "parts": self.parts, "high": self.high, "strip": self.strip, "strips": self.strips, "blocks": self.blocks,
        }  # fmt: skip


def widest_strip(lines: Passage, step: int) -> int:
    """Tiles that a strip may have, whose lines are so many and which start `step` columns apart."""
    return min(MOST_WIDE, max(1, LINE_BYTES // (lines.tall * step * VECTOR_BYTES)))


def grouped(tiles: Tiles, *ways: Passage) -> int:
    """Tiles of a strip that are transformed together."""
    rows = max(way.rows for way in ways)
    return split(tiles.strip, min(MOST_GROUPED, max(1, ROW_BYTES // (rows * tiles.wide * VECTOR_BYTES))))[0]


TILE_FIELDS = dict.fromkeys("y_rows y_columns tile_rows tile_columns parts high strip strips blocks".split(), "int")


@jit.inline
def strips_of(args, block):
    """First strip of a block, and the first of the next."""
    return block * args.strips // args.blocks, (block + 1) * args.strips // args.blocks


@jit.inline
def place_of(args, strip):
    """Image, first output row and first output column of a strip."""
    row, above = strip % args.high, strip // args.high
    return above // args.parts, row * args.tile_rows, above % args.parts * args.strip * args.tile_columns


# ---- passages --------------------------------------------------------------------------------------------------


def passage_fields(name: str) -> dict[str, str]:
    """Arguments of a kernel for the passage `name`."""
    return {
        f"{name}_down": "int", f"{name}_down_from": "int32", f"{name}_down_to": "int32",
        f"{name}_across": "int64", f"{name}_across_tables": "int32", f"{name}_across_count": "int",
    }  # fmt: skip


def passage_arguments(
    program: Program, name: str, passage: Passage, outside: list[int], row_step: int, column_step: int, point_step: int,
    *, back: bool = False,
) -> dict[str, int]:  # fmt: skip
    """Values of `passage_fields`, for a way to the points, or back.

    Parameters
    ----------
    outside : list of int
        Where the tile's lines lie: on the side away from the points.
    row_step, column_step : int
        From one transformed row of a strip to the next, and from one column to the next.
    point_step : int
        From one point to the next.
    """
    tables = Tables()
    inside = [i * row_step for i in range(passage.rows)]
    down = (inside, outside) if back else (outside, inside)

    def entry(crossing: Crossing) -> list[int]:
        places = [i * row_step + j * column_step for i, j in crossing.places]
        points = [q * point_step for q in crossing.points]
        ends = (points, places) if back else (places, points)
        return [compile_map(program.dtype, crossing.map), *(tables.place(end) for end in ends)]

    entries = [entry(crossing) for crossing in passage.across]
    values = (
        compile_map(program.dtype, passage.down), *(program.table(table) for table in down),
        program.table(entries, np.int64), program.table(tables.array()), len(entries),
    )  # fmt: skip
    return dict(zip(passage_fields(name), values, strict=True))


@jit.inline
def cross_row(across, tables, row, repeats, source, source_shift, target, target_shift):
    """Play one crossing of a passage, for so many tiles or kernels."""
    call_map(
        across[3 * row], repeats, source, tables + across[3 * row + 1], source_shift,
        target, tables + across[3 * row + 2], target_shift, source,
    )  # fmt: skip


@jit.inline
def cross(across, count, tables, repeats, source, source_shift, target, target_shift):
    """Play all crossings of a passage, each for `repeats` tiles of a strip."""
    for row in range(count):
        cross_row(across, tables, row, repeats, source, source_shift, target, target_shift)


# ---- lines of planes -------------------------------------------------------------------------------------------


def read_line(plane, step, channels, rows, columns, row, column, count, target):
    """Read `count` pixels of a row of `channels` planes, from `column` on, to ``target[pixel][lane]``.

    The planes, of rows x columns, lie `step` apart; what lies outside of them is 0. Up to a vector of pixels
    more are written.
    """
    n = lanes(plane)
    every, zero = head(plane, n), splat(plane, 0)
    left = min(max(0, -column), count) if 0 <= row < rows else count
    for j in range(left):
        store(target, j * n, zero)
    present = min(columns - column, count) - left
    line = plane + (row * columns + column + left)
    for j in range(0, present, n):
        if channels == n:
            transpose(line + j, step, n, head(plane, present - j), target + (left + j) * n, n, n, every)
        else:
            transpose(line + j, step, channels, head(plane, present - j), target + (left + j) * n, n, n, every)
    for j in range(left + max(0, -(-present // n) * n), count):
        store(target, j * n, zero)


def write_line(source, count, line, step, channels, limits, apart):
    """Write `count` pixels ``source[pixel][lane]`` to a row of `channels` planes that lie `step` apart, finished."""
    n = lanes(source)
    every, low, high = head(source, n), splat(source, limits[0]), splat(source, limits[1])
    for j in range(0, count, n):
        pixels, wanted = source + j * n, head(source, count - j)
        if channels == n:
            transpose_finished(pixels, n, n, every, line + j, step, n, wanted, low, high, apart)
        else:
            transpose_finished(pixels, n, n, every, line + j, step, channels, wanted, low, high, apart)


def line_pieces(dtype: np.dtype) -> dict[str, int]:
    """Addresses of what kernels call for a line."""
    return {
        "read_line": compile_piece(read_line, dtype, "riiiiiiir"),
        "write_line": compile_piece(write_line, dtype, "ririiri"),
    }
