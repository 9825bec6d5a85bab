"""What the tiles that walk down a strip of a plane share: how its vectors come from rows, and go there.

A window of a depthwise convolution has few products, so memory is what takes time: planes are read where they lie, and
nothing is copied between zeros. A mask leaves out the lanes beyond the ends of a row, a condition the rows beyond those
of the plane. With a stride of 2, vectors of even and of odd columns are parted as they are loaded, or joined as they
are stored. Where rows are short, a vector holds a strip of each of some neighbouring planes, its *blocks*: 2016 planes
of 13 x 13 under a 5 x 5 kernel of stride 2 went from 0.32 to 0.21 ms.

Lanes beyond the ends of a row are zeros, and are multiplied: programs of these tiles multiply padding.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba.core import types
from numba.extending import models, register_model

from fastconv.cpu.axes import Pattern, Side
from fastconv.cpu.flow import Values, when
from fastconv.cpu.primitive import I1, I32, shuffle
from fastconv.cpu.simd import ELEMENTS, I64, VECTOR_BYTES, address, broadcast, intrinsic, lanes_of, mangled
from fastconv.cpu.twin import TwinPointer

# What a tile knows of the planes: its table of sizes, in this order.
SIZES = """x_rows x_columns y_rows y_columns columns first_row first_column channels x_channel x_block y_block w_channel
w_block b_block""".split()
MOST_BLOCKS = 4


class Strip(types.Type):
    """What a tile is compiled for; it is the type of the first argument of a tile.

    Neither sizes nor padding are compiled in. `lone` says whether one channel is all that an output meets, `ends`
    whether an epilogue follows: its four instructions for a vector would cost those 5 % that have none.
    """

    def __init__(self, real: types.Float, side: Side, blocks: int, ends: bool = False):
        self.real, self.rows, self.columns = real, side.rows.pattern, side.columns.pattern
        self.tap_columns, self.blocks, self.lone = side.tap_columns, blocks, side.in_channels == 1
        self.ends = ends
        about = real, self.rows, self.columns, side.tap_columns, blocks, self.lone, ends
        super().__init__(name=f"strip({', '.join(map(str, about))})")

    @property
    def taps(self) -> list[int]:
        """Places of all weights."""
        pairs = [(row, column) for rows in self.rows.phases for row in rows for columns in self.columns.phases
                 for column in columns]  # fmt: skip
        return sorted({row[0] * self.tap_columns + column[0] for row, column in pairs})


@register_model(Strip)
class _StripModel(models.PrimitiveModel):
    def __init__(self, manager, fe_type):
        super().__init__(manager, fe_type, I64)


def blocks_of(side: Side, itemsize: int) -> int:
    """Planes that share a vector: neighbours, each with one channel of input and of output."""
    blocks = 1
    while 2 * blocks * side.columns.count <= VECTOR_BYTES // itemsize and blocks < MOST_BLOCKS:
        blocks *= 2
    return blocks if side.in_channels == side.out_channels == 1 else 1


def sizes_of(side: Side, has_bias: bool = False) -> list[int]:
    """Return the table of SIZES."""
    rows, columns = side.rows, side.columns
    x_plane, y_plane = rows.size * columns.size, rows.outputs * columns.outputs
    known = dict(
        x_rows=rows.size, x_columns=columns.size, y_rows=rows.outputs, y_columns=columns.outputs,
        columns=columns.count, first_row=rows.first, first_column=columns.first, channels=side.in_channels,
        x_channel=x_plane, w_channel=side.in_step,
        x_block=x_plane * side.in_channels, y_block=y_plane * side.out_channels, w_block=side.group_step,
        b_block=int(has_bias),
    )  # fmt: skip
    return [known[name] for name in SIZES]


class Emitter:
    """Code that the tiles share: how a strip's vectors come from rows and go there."""

    def __init__(self, b: ir.IRBuilder, strip: Strip, sizes: ir.Value, count: ir.Value, ahead: ir.Value):
        self.b, self.strip, self.count = b, strip, count
        self.n, self.vector = lanes_of(strip.real), ir.VectorType(ELEMENTS[strip.real], lanes_of(strip.real))
        for k, name in enumerate(SIZES):
            setattr(self, name, b.load(address(b, sizes, k)))
        self.ahead_x, self.ahead_y = b.mul(ahead, self.x_block), b.mul(ahead, self.y_block)

    def plus(self, x: ir.Value, k: ir.Value | int) -> ir.Value:
        """Return x + k."""
        return self.b.add(x, I64(k) if isinstance(k, int) else k)

    def times(self, x: ir.Value, k: ir.Value | int) -> ir.Value:
        """Return x * k."""
        return self.b.mul(x, I64(k) if isinstance(k, int) else k)

    def zero(self) -> ir.Value:
        """Return a vector of zeros."""
        return ir.Constant(self.vector, None)

    def load(self, p: ir.Value, place: ir.Value, mask: ir.Value, other: ir.Value) -> ir.Value:
        """Emit a masked load; lanes whose mask is 0 are those of `other`."""
        align = I32(self.strip.real.bitwidth // 8)
        name = f"llvm.masked.load.{mangled(self.vector)}.p0"
        return intrinsic(self.b, name, self.vector, address(self.b, p, place, self.vector), align, mask, other)

    def store(self, value: ir.Value, p: ir.Value, place: ir.Value, mask: ir.Value) -> None:
        """Emit a masked store."""
        align = I32(self.strip.real.bitwidth // 8)
        name = f"llvm.masked.store.{mangled(self.vector)}.p0"
        intrinsic(self.b, name, ir.VoidType(), value, address(self.b, p, place, self.vector), align, mask)

    def fma(self, x: ir.Value, y: ir.Value, z: ir.Value) -> ir.Value:
        """Return x * y + z."""
        return intrinsic(self.b, f"llvm.fma.{mangled(self.vector)}", self.vector, x, y, z)

    def begin(self, column: ir.Value) -> None:
        """Say where begins what is fetched along with a strip: planes ahead, as much as the strip itself, in order."""
        # Line after line: to fetch the rows of the same strip, planes ahead, took 5 to 10 % longer from 56 x 56 on.
        share = self.times(column, self.strip.blocks)
        step, spacing = self.strip.columns.step, self.strip.columns.spacing
        self.next_x = self.plus(self.ahead_x, self.times(self.times(share, self.x_rows), step))
        self.next_y = self.plus(self.ahead_y, self.times(self.times(share, self.y_rows), spacing))

    def fetch(self, p: ir.Value, start: ir.Value, row: ir.Value, vectors: int, write: int) -> None:
        """Emit requests for a row's share of what is fetched."""
        flags = [I32(write), I32(3 if write else 2), I32(1)]
        for v in range(vectors):
            place = self.plus(start, self.plus(self.times(row, vectors * self.n), v * self.n))
            line = self.b.bitcast(address(self.b, p, place), ir.IntType(8).as_pointer())
            intrinsic(self.b, "llvm.prefetch.p0", ir.VoidType(), line, *flags)

    def vectors(self, first: ir.Value, step: int, size: ir.Value, block_step: ir.Value) -> list[list]:
        """Parts of the vectors that hold `step` phases of a strip, from the column `first` of a row of `size` on.

        A part, all or some lanes of a vector, comes from one plane: it is its offset, and the mask of the lanes whose
        column exists.
        """
        b, wide = self.b, self.n // self.strip.blocks * step  # columns of a plane
        places = [divmod(place, wide) for place in range(step * self.n)]
        vectors = []
        for v in range(0, len(places), self.n):
            here = places[v : v + self.n]
            columns = ir.Constant(ir.VectorType(I32, self.n), [column for _, column in here])
            columns = b.add(broadcast(b, b.trunc(first, I32), self.n), columns)
            exists = b.icmp_unsigned("<", columns, broadcast(b, b.trunc(size, I32), self.n))
            owners = [block for block, _ in here]
            parts = []
            for block in sorted(set(owners)):
                lane = owners.index(block)
                offset = self.plus(self.times(block_step, block), self.plus(first, here[lane][1] - lane))
                parts.append((offset, b.and_(exists, self.lanes_of_block(owners, block))))
            vectors.append(parts)
        return vectors

    def lanes_of_block(self, owners: list[int], block: int) -> ir.Constant | ir.Value:
        """Mask of the lanes that belong to a block, if there is such a plane."""
        mask = ir.VectorType(I1, self.n)
        own = ir.Constant(mask, [int(owner == block) for owner in owners])
        if block == 0:
            return own
        return self.b.select(self.b.icmp_signed("<", I64(block), self.count), own, ir.Constant(mask, None))

    def spread(self, p: ir.Value, step: ir.Value) -> ir.Value:
        """Return a vector with one number for each block, `step` elements apart."""
        b, result = self.b, None
        for block in range(self.strip.blocks):
            last = self.plus(self.count, -1)
            near = b.select(b.icmp_signed("<", I64(block), last), I64(block), last)
            value = broadcast(b, b.load(address(b, p, self.times(step, near) if block else 0)), self.n)
            wide = self.n // self.strip.blocks
            order = [lane + (self.n if lane // wide == block else 0) for lane in range(self.n)]
            result = shuffle(b, result, value, order) if block else value
        return result

    def weights(self, w: ir.Value) -> dict[int, ir.Value]:
        """Vectors of all weights, by their place."""
        return {tap: self.spread(address(self.b, w, tap), self.w_block) for tap in self.strip.taps}

    def sources(self, column: ir.Value) -> dict[int, list]:
        """Parts of the vectors that a strip meets, by the place of a tap."""
        pattern = self.strip.columns
        places = sorted({place for taps in pattern.phases for _, place, _ in taps})
        start, step = self.times(self.plus(column, self.first_column), pattern.step), pattern.step
        return {q: self.vectors(self.plus(start, q * step), step, self.x_columns, self.x_block) for q in places}

    def line(self, x: ir.Value, row: ir.Value, sources: dict[int, list]) -> dict[tuple[int, int], ir.Value]:
        """Vectors of a row, by the place and the phase of a tap; meanwhile a share of what comes next is fetched."""
        b, found, place = self.b, {}, self.times(row, self.x_columns)
        for q, vectors in sources.items():
            loaded = []
            for parts in vectors:
                value = self.zero()
                for offset, mask in parts:
                    value = self.load(x, self.plus(place, offset), mask, value)
                loaded.append(value)
            for phase in range(len(loaded)):
                order = [lane * len(loaded) + phase for lane in range(self.n)]
                found[q, phase] = shuffle(b, loaded[0], loaded[-1], order)
        self.fetch(x, self.next_x, row, self.strip.columns.step, write=0)
        return found

    def each_row(self, place: ir.Value, values: Values, body: Callable[..., Values]) -> Values:
        """Emit ``values = body(phase, row, values)`` for the input rows at a place, if they exist and are met."""
        pattern = self.strip.rows
        for phase in sorted({rest for taps in pattern.phases for _, _, rest in taps}):
            row = self.plus(self.times(place, pattern.step), phase)
            exists = self.b.icmp_unsigned("<", row, self.x_rows)
            values = when(self.b, exists, values, lambda inner, p=phase, r=row: body(p, r, inner))
        return values


# ---- twins -----------------------------------------------------------------------------------------------------

STRIPS: dict[int, Strip] = {}  # of compiled tiles, by their address: for the twins


class TwinSizes:
    """The table of SIZES, by name, and what meets what in a plane."""

    def __init__(self, strip: Strip, sizes: TwinPointer):
        self.strip = strip
        for k, name in enumerate(SIZES):
            setattr(self, name, sizes[k])

    def meetings(self, row: int, rows: int) -> list[tuple[int, int, int]]:
        """(output, tap, input) that meet in some rows of a plane: positions in the planes, and in the kernel."""
        row_pairs = _pairs(self.strip.rows, self.first_row, range(row, row + rows), self.x_rows, self.y_rows)
        places = range(self.columns)
        pairs = _pairs(self.strip.columns, self.first_column, places, self.x_columns, self.y_columns)
        return [
            (i * self.y_columns + j, t * self.strip.tap_columns + u, r * self.x_columns + c)
            for i, t, r in row_pairs
            for j, u, c in pairs
        ]


def _pairs(pattern: Pattern, first: int, places: range, size: int, outputs: int) -> list[tuple[int, int, int]]:
    """(output, tap, input) that meet along an axis."""
    met = [
        (place * pattern.spacing + phase, tap, (place + first + q) * pattern.step + rest)
        for place in places
        for phase, taps in enumerate(pattern.phases)
        for tap, q, rest in taps
    ]
    return [(i, tap, r) for i, tap, r in met if i < outputs and 0 <= r < size]
