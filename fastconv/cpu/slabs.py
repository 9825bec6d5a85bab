"""Which rows of a volume some output rows meet: the same range of rows in several planes, a *slab* in each.

Rows of a volume are numbered through its planes, so what a few rows of one plane meet lies far apart. A copy holds the
slabs one below the other: for what follows it is an image of a few rows, and a tap that leads to the next plane is one
that leads to the next slab. An image is a volume of one plane, and has one slab.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fastconv import jit
from fastconv.cpu.panels import copy_rows


@dataclass(frozen=True, slots=True)
class Slabs:
    """Rows from `row` on, `rows` of them, of `planes` planes from `plane` on, `step` planes apart.

    Attributes
    ----------
    height : int
        Rows of a plane.
    """

    height: int
    plane: int = 0
    planes: int = 1
    step: int = 1
    row: int = 0
    rows: int = 0

    @classmethod
    def of(cls, places: Iterable[int], height: int) -> Slabs:
        """Describe the smallest slabs that hold these rows of a volume."""
        met = {divmod(place, height) for place in places}
        if not met:
            return cls(height)
        planes, rows = (sorted(set(axis)) for axis in zip(*met, strict=True))
        step = min((b - a for a, b in zip(planes, planes[1:], strict=False)), default=1)
        if any((plane - planes[0]) % step for plane in planes):
            step = 1
        count = (planes[-1] - planes[0]) // step + 1
        return cls(height, planes[0], count, step, rows[0], rows[-1] + 1 - rows[0])

    @property
    def first(self) -> int:
        """The first row of the first slab."""
        return self.plane * self.height + self.row

    def copied(self, place: int, slab_rows: int) -> int:
        """Return the row of a copy, `slab_rows` a slab, where a row of the volume stands."""
        plane, row = divmod(place, self.height)
        return (plane - self.plane) // self.step * slab_rows + row - self.row

    def describe(self, column: int) -> tuple[int, ...]:
        """Return what `copy_slabs` needs to know, from `column` on."""
        return self.first, self.rows, column, self.planes, self.step * self.height


SLABS = len(Slabs(1).describe(0))


@jit.inline
def copy_slabs(args, source, channels, slabs, target):
    """Copy what `Slabs.describe` tells of each channel between zeros."""
    for plane in range(slabs[3]):
        copy_rows(
            source, channels, args.x_plane, args.x_columns, slabs[0] + plane * slabs[4], slabs[1], slabs[2],
            target + plane * args.slab_step, args.copy_plane, args.pitch,
        )  # fmt: skip
