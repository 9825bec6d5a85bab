"""A convolution or its gradient, axis by axis, where lanes are pixels: which input meets which output, in places.

Neighbouring lanes hold neighbouring outputs, so their inputs have to be neighbours as well. With a stride of 2 they
are, among the even inputs and among the odd ones: a convolution has two *phases* of inputs, its gradient two phases of
outputs. A *place* is a position within a phase.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from fastconv.cpu.taps import Phase, backward_phases, forward_phases
from fastconv.geometry import ConvGeometry

MOST_STEP = 2  # phases that are copied apart, or interleaved
ONE_ROW = (Phase(0, 1, 1, 1, ((0, 0),)),)

Tap = tuple[int, int, int]  # tap, and the place and phase of the input that an output at place 0 meets


@dataclass(frozen=True, slots=True)
class Pattern:
    """What code can be compiled for: an axis without its sizes and its padding.

    Places in `phases` count from the first one that an output meets; there are `more` behind that.
    """

    step: int
    spacing: int
    more: int
    phases: tuple[tuple[Tap, ...], ...]


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis: an output stands at ``place * spacing + phase``, an input at ``place * step + phase``.

    Attributes
    ----------
    size, outputs : int
        Inputs and outputs.
    count : int
        Places of outputs.
    step, spacing : int
        Phases of the inputs, and of the outputs: one of the two is 1.
    first, last : int
        Range of the places in `phases`: below 0 and beyond the input lies padding.
    phases : tuple
        For each phase of the outputs its taps, by the input that they meet.
    """

    size: int
    outputs: int
    count: int
    step: int
    spacing: int
    first: int
    last: int
    phases: tuple[tuple[Tap, ...], ...]

    @classmethod
    def of(cls, phases: tuple[Phase, ...], size: int, outputs: int) -> Axis:
        """Describe the phases of an axis of `size` inputs."""
        step = phases[0].advance
        met = [sorted((*divmod(offset, step), tap) for tap, offset in phase.taps) for phase in phases]
        places = [place for taps in met for place, _, _ in taps] or [0]
        taps = tuple(tuple((tap, place, phase) for place, phase, tap in taps) for taps in met)
        return cls(size, outputs, phases[0].count, step, phases[0].spacing, min(places), max(places), taps)

    @property
    def more(self) -> int:
        """Places of inputs, less one, that an output meets through its taps."""
        return self.last - self.first

    @property
    def pattern(self) -> Pattern:
        """The axis without sizes and padding."""
        phases = tuple(tuple((tap, place - self.first, rest) for tap, place, rest in taps) for taps in self.phases)
        return Pattern(self.step, self.spacing, self.more, phases)

    @property
    def used(self) -> int:
        """Places of inputs, from 0 on, that some output meets."""
        return max(0, min(-(-self.size // self.step), self.count + self.last))

    def fits(self) -> bool:
        """Whether there are at most two phases, each with a tap, and the taps do not mostly meet padding."""
        few = max(self.step, self.spacing) <= MOST_STEP and len(self.phases) == self.spacing and all(self.phases)
        # A copy has `count + more` places: with a dilation of 100 in a plane of 10 x 10 nearly all would be zeros.
        return few and self.more <= 4 * self.count + 16

    def reach(self, phase: int) -> list[tuple[int, int]]:
        """For each place of outputs, the first of the phase's taps that meet input, and the one after the last.

        At least one tap is named even where none meets input: a sum has a product then, with a zero.
        """
        offsets = [place * self.step + rest for _, place, rest in self.phases[phase]]
        ranges = []
        for here in range(0, self.count * self.step, self.step):
            low = min(sum(here + offset < 0 for offset in offsets), len(offsets) - 1)
            high = sum(here + offset < self.size for offset in offsets)
            ranges.append((low, max(high, low + 1)))
        return ranges


@dataclass(frozen=True, slots=True)
class Depth:
    """The first of three axes: which input plane each output plane meets through each tap, or -1.

    A volume is computed plane by plane, and to each of them the input has a channel for every pair of a channel and a
    tap along the depth: only where the planes lie says that it is a volume. An image is a volume of one plane.
    """

    planes: int
    met: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, phases: tuple[Phase, ...], size: int, outputs: int, taps: int) -> Depth:
        """Describe the phases of an axis of `size` inputs."""
        met = [[-1] * taps for _ in range(outputs)]
        for phase in phases:
            for tap, offset in phase.taps:
                for j in range(*phase.inside(offset, size)):
                    met[phase.first + j * phase.spacing][tap] = j * phase.advance + offset
        return cls(size, tuple(map(tuple, met)))

    @property
    def taps(self) -> int:
        """Taps along the depth."""
        return len(self.met[0])

    def places(self, channels: int) -> list[int]:
        """List for each output plane where the channels' planes begin among those of all channels, or -1."""
        return [
            -1 if plane < 0 else channel * self.planes + plane
            for taps in self.met
            for channel in range(channels)
            for plane in taps
        ]


ONE_PLANE = Depth(1, ((0,),))


@dataclass(frozen=True, slots=True)
class Side:
    """What differs between a convolution and its gradient: the axes, and how the weights are read.

    Product (c, tap) of output channel o has the weight at ``group * group_step + o * out_step + c * in_step + tap``,
    where tap is ``row * tap_columns + column``. A signal has one row; a volume has one channel more for each further
    tap along its depth.
    """

    rows: Axis
    columns: Axis
    in_channels: int  # of a group
    out_channels: int
    in_step: int
    out_step: int
    group_step: int
    taps: tuple[int, int]
    depth: Depth = ONE_PLANE

    @classmethod
    def forward(cls, geometry: ConvGeometry) -> Side:
        """y from x."""
        taps = prod(geometry.window.kernel)
        steps = taps, geometry.group_in * taps
        sizes = geometry.input_size, geometry.output_size
        return cls._of(geometry, forward_phases(geometry), *sizes, geometry.group_in, geometry.group_out, *steps)

    @classmethod
    def backward(cls, geometry: ConvGeometry) -> Side:
        """dx from dy."""
        taps = prod(geometry.window.kernel)
        steps = geometry.group_in * taps, taps
        sizes = geometry.output_size, geometry.input_size
        return cls._of(geometry, backward_phases(geometry), *sizes, geometry.group_out, geometry.group_in, *steps)

    @classmethod
    def _of(cls, geometry, phases, in_size, out_size, in_channels, out_channels, in_step, out_step) -> Side:
        kernel, depth = (1, *geometry.window.kernel)[-2:], ONE_PLANE
        if len(phases) == 3:
            depth = Depth.of(phases[0], in_size[0], out_size[0], geometry.window.kernel[0])
        if len(phases) == 1:
            phases, in_size, out_size = [ONE_ROW, *phases], (1, *in_size), (1, *out_size)
        rows, columns = (Axis.of(*axis) for axis in zip(phases[-2:], in_size[-2:], out_size[-2:], strict=True))
        group_step = in_channels * out_channels * prod(geometry.window.kernel)
        return cls(
            rows, columns, in_channels * depth.taps, out_channels, in_step, out_step, group_step, kernel, depth
        )  # fmt: skip

    @property
    def tap_columns(self) -> int:
        """Taps of a row of the kernel."""
        return self.taps[1]

    @property
    def steps(self) -> int:
        """Phases of the inputs, rows and columns taken together."""
        return self.rows.step * self.columns.step

    @property
    def spacings(self) -> int:
        """Phases of the outputs, rows and columns taken together."""
        return self.rows.spacing * self.columns.spacing

    def weight(self, channel: int, row: Tap, column: Tap) -> int:
        """Where the weights of output channel 0 have that of a product."""
        channel, plane = divmod(channel, self.depth.taps)
        return channel * self.in_step + (plane * self.taps[0] + row[0]) * self.taps[1] + column[0]

    def fits(self) -> bool:
        """Whether both axes do."""
        return self.rows.fits() and self.columns.fits()

