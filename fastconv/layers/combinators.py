"""Layers made of layers: one after another, or side by side with one result.

They make an architecture readable as algebra; a residual unit is ``Sequential(Sum(main, Identity()), ReLU())``. Layers
are numbered in the names of parameters, unless one dict gives them names. A name of '' is left out, and so is one that
starts with a dot: names need not follow the nesting. ``Sum({"": Sequential({"conv": main}), "skip": Identity()})`` has
a 'conv.weight'.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import reduce
from itertools import accumulate
from typing import overload

import numpy as np

from fastconv import runtime
from fastconv.arguments import as_share
from fastconv.init import generator
from fastconv.layers.activation import rectified
from fastconv.layers.base import Addend, Layer, Pullback, Shape

Split = Callable[[np.ndarray], list[np.ndarray]]


class Identity(Layer):
    """y = x, the array itself: the skip of a residual unit."""

    def apply(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Pullback]:
        """See `Layer.apply`."""
        return x, lambda dy, _: dy

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        return tuple(input_shape)


class Sequential(Layer):
    """One layer after another. ``model[2]`` is a layer, ``model[:2]`` a Sequential of the same layers.

    Parameters
    ----------
    *layers : Layer, or one dict of str to Layer
        They are called '0', '1', ... in the names of parameters; a dict has other names.
    """

    def __init__(self, *layers: Layer | Mapping[str, Layer]):
        super().__init__(children=_named(layers))

    def __len__(self) -> int:
        """Return the number of layers."""
        return len(self.children)

    def __iter__(self) -> Iterator[Layer]:
        """Iterate over the layers."""
        return iter(self.children.values())

    @overload
    def __getitem__(self, index: int) -> Layer: ...
    @overload
    def __getitem__(self, index: slice) -> "Sequential": ...
    def __getitem__(self, index):
        """Return one layer, or some of them in order."""
        chosen = list(self)[index]
        return Sequential(*chosen) if isinstance(index, slice) else chosen

    def _stages(self) -> list[Layer]:
        """Return the layers without identities, with neighbours merged where one pass does the work of both."""
        stages: list[Layer] = []
        for layer in self:
            if type(layer) is Identity:
                continue
            merged = stages[-1].merged(layer) if stages else None
            if merged is None:
                stages.append(layer)
            else:
                stages[-1] = merged
        return stages

    @property
    def adds(self) -> bool:
        """See `Layer.plus`: the last layer may take an addend."""
        return next((layer.adds for layer in reversed(self.children.values()) if type(layer) is not Identity), False)

    def plus(self, addend: Addend, rectifies: bool | float) -> Layer:
        """See `Layer.plus`."""
        *first, last = self._stages()
        return Sequential(*first, last.plus(addend, rectifies))

    def apply(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Pullback]:
        """See `Layer.apply`."""
        backwards: list[Callable] = []
        previous, previous_shape = None, ()
        stages = self._stages()
        for layer in stages:
            layer.check_after(previous, previous_shape)
            previous, previous_shape = layer, np.shape(x)
            x, backward = layer.forward(x, train)
            backwards.append(backward)

        def pullback(dy: np.ndarray, input_gradient: bool) -> np.ndarray | None:
            # Nobody needs a gradient before the first layer with parameters. Popping frees what each pass has kept.
            first = 0 if input_gradient else next(i for i, layer in enumerate(stages) if layer.has_parameters)
            while len(backwards) > first:
                backward = backwards.pop()
                dy = backward(dy, input_gradient or len(backwards) > first)
            return dy

        return x, pullback

    def flow(self, input_shape: Shape) -> Iterator[tuple[str, Layer, Shape, Shape]]:
        """See `Layer.flow`."""
        shape, previous, previous_shape = tuple(input_shape), None, ()
        for name, layer in self.children.items():
            layer.check_after(previous, previous_shape)
            previous, previous_shape = layer, shape
            shape = layer.output_shape(shape)
            yield name, layer, previous_shape, shape

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        return [tuple(input_shape), *(shape for *_, shape in self.flow(input_shape))][-1]


class Branches(Layer):
    """Layers that all take the same input, and a way to combine what they give.

    A subclass defines `combined_shape` and `combine`.
    """

    def combined_shape(self, shapes: list[Shape]) -> Shape:
        """Return the shape of the result, or raise ValueError if the branches' shapes do not go together."""
        raise NotImplementedError

    def combine(self, ys: list[np.ndarray]) -> tuple[np.ndarray, Split]:
        """Return the result, and the function that takes its gradient apart: ``split(dy)`` gives one per branch."""
        raise NotImplementedError

    def apply(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Pullback]:
        """See `Layer.apply`."""
        ys, backwards = zip(*(branch.forward(x, train) for branch in self.children.values()), strict=True)
        self.combined_shape([y.shape for y in ys])
        y, split = self.combine(ys)

        def pullback(dy: np.ndarray, input_gradient: bool) -> np.ndarray | None:
            parts = zip(backwards, split(dy), strict=True)
            dxs = [backward(part, input_gradient) for backward, part in parts]
            return reduce(_add, dxs) if input_gradient else None

        return y, pullback

    def flow(self, input_shape: Shape) -> Iterator[tuple[str, Layer, Shape, Shape]]:
        """See `Layer.flow`."""
        for name, branch in self.children.items():
            yield name, branch, tuple(input_shape), branch.output_shape(input_shape)

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        return self.combined_shape([shape for *_, shape in self.flow(input_shape)])

    def _disagree(self, shapes: list[Shape], rule: str) -> ValueError:
        found = ", ".join(
            f"branch {name!r} ({type(branch).__name__}) gives {shape}"
            for (name, branch), shape in zip(self.children.items(), shapes, strict=True)
        )
        return ValueError(f"{type(self).__name__}: {rule}, but {found}")


class Sum(Branches):
    """y = branch0(x) + branch1(x) + ..., as in a residual unit (He et al. 2016).

    https://arxiv.org/abs/1512.03385

    Parameters
    ----------
    *branches : Layer, or one dict of str to Layer
        At least one; they give equal shapes.
    """

    def __init__(self, *branches: Layer | Mapping[str, Layer]):
        super().__init__(children=_named(branches))
        _require_branches(self)

    def _main_and_skip(self) -> tuple[Layer, Layer] | None:
        """Return the two branches of a residual unit, first the one whose last pass adds the other, if it can."""
        if type(self) is not Sum or len(self.children) != 2:
            return None
        first, second = self.children.values()
        return (first, second) if first.adds else (second, first) if second.adds else None

    def apply(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Pullback]:
        """See `Layer.apply`."""
        branches = self._main_and_skip()
        if branches is None:
            return super().apply(x, train)
        main, skip = branches
        value, through_skip = skip.forward(x, train)
        shapes = {main: main.output_shape(np.shape(x)), skip: value.shape}
        self.combined_shape([shapes[branch] for branch in self.children.values()])
        addend = Addend(value)
        y, through_main = main.plus(addend, self.rectifies).forward(x, train)

        def pullback(dy: np.ndarray, input_gradient: bool) -> np.ndarray | None:
            dx = through_main(dy, input_gradient)
            skip_dx = through_skip(addend.gradient, input_gradient)
            return _add(dx, skip_dx) if input_gradient else None

        return y, pullback

    def merged(self, following: Layer) -> Layer | None:
        """Take a ReLU or ReLU6 that follows, where one branch adds the other; see `Layer.merged`."""
        return rectified(self, following, ceilings=True) if self._main_and_skip() else None

    def combined_shape(self, shapes: list[Shape]) -> Shape:
        """See `Branches.combined_shape`."""
        if len(set(shapes)) > 1:
            raise self._disagree(shapes, "branches must give equal shapes")
        return shapes[0]

    def combine(self, ys: list[np.ndarray]) -> tuple[np.ndarray, Split]:
        """See `Branches.combine`."""
        count = len(ys)
        return reduce(_add, ys), lambda dy: [dy] * count


class Mean(Sum):
    """The mean of the branches, as where paths join in FractalNet (Larsson et al. 2017).

    https://arxiv.org/abs/1605.07648

    With `drop`, some branches are left out in training, for a whole batch, and not computed: drop-path, section 4. The
    result is the mean of the others. As with `Dropout`, the draws follow from the layer's seed and the number of its
    training passes.

    Parameters
    ----------
    *branches : Layer, or one dict of str to Layer
        At least one; they give equal shapes.
    drop : float
        How often each branch is left out, from 0 to 1. One always stays.
    rng : Generator or int, optional
        Where the seed comes from; see `fastconv.init.generator`.

    Attributes
    ----------
    buffers : dict
        With `drop`: 'passes', () int64, forward passes in training so far.

    Raises
    ------
    TypeError, ValueError
        `drop` is no number, or outside its range.
    """

    counters = frozenset({"passes"})

    def __init__(
        self,
        *branches: Layer | Mapping[str, Layer],
        drop: float = 0.0,
        rng: np.random.Generator | int | None = None,
    ):
        super().__init__(*branches)
        self.drop = as_share("Mean", "drop", drop)
        if self.drop:
            self._seed = int(generator(rng).integers(2**63))
            self.buffers["passes"] = np.array(0, np.int64)

    def apply(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Pullback]:
        """See `Layer.apply`."""
        if not train or not self.drop:
            return super().apply(x, train)
        return Mean({name: self.children[name] for name in self._survivors()}).apply(x, train)

    def _survivors(self) -> list[str]:
        """Draw the branches of one training pass, in their order."""
        draws = np.random.default_rng([self._seed, int(self.buffers["passes"])]).random(len(self.children))
        self.buffers["passes"] += 1
        bound = min(self.drop, draws.max())
        return [name for name, draw in zip(self.children, draws, strict=True) if draw >= bound]

    def combine(self, ys: list[np.ndarray]) -> tuple[np.ndarray, Split]:
        """See `Branches.combine`."""
        count = len(ys)
        if count == 1:
            return ys[0], lambda dy: [dy]
        total, split = super().combine(ys)
        return _fresh(np.divide, total, count), lambda dy: split(_fresh(np.divide, dy, count))


class Concat(Branches):
    """The branches' channels (axis 1) one after another, as in Inception (Szegedy et al. 2015).

    https://arxiv.org/abs/1409.4842

    Parameters
    ----------
    *branches : Layer, or one dict of str to Layer
        At least one; their shapes differ in axis 1 only.
    """

    def __init__(self, *branches: Layer | Mapping[str, Layer]):
        super().__init__(children=_named(branches))
        _require_branches(self)

    def combined_shape(self, shapes: list[Shape]) -> Shape:
        """See `Branches.combined_shape`."""
        if min(map(len, shapes)) < 2 or len({(shape[:1], shape[2:]) for shape in shapes}) > 1:
            raise self._disagree(shapes, "branches must give shapes that differ in axis 1 only")
        return (shapes[0][0], sum(shape[1] for shape in shapes), *shapes[0][2:])

    def combine(self, ys: list[np.ndarray]) -> tuple[np.ndarray, Split]:
        """See `Branches.combine`."""
        *starts, channels = accumulate(y.shape[1] for y in ys)
        y = runtime.empty((len(ys[0]), channels, *ys[0].shape[2:]), ys[0].dtype)
        return np.concatenate(ys, axis=1, out=y), lambda dy: np.split(dy, starts, axis=1)


class Gate(Branches):
    """y = trunk(x) * gate(x), as in squeeze-excitation (Hu et al. 2018).

    https://arxiv.org/abs/1709.01507

    Parameters
    ----------
    *branches : Layer, or one dict of str to Layer
        The trunk gives (N, C, ...); the gate the same shape, or 1 in place of any axis after the channels: (N, C, 1, 1)
        has one factor per channel.
    """

    def __init__(self, *branches: Layer | Mapping[str, Layer]):
        super().__init__(children=_named(branches, ("trunk", "gate")))
        if len(self.children) != 2:
            raise ValueError(f"Gate: a trunk and a gate are needed, got {len(self.children)} layers")

    def combined_shape(self, shapes: list[Shape]) -> Shape:
        """See `Branches.combined_shape`."""
        trunk, gate = shapes
        fits = len(gate) == len(trunk) and gate[:2] == trunk[:2]
        if not fits or any(g not in (1, t) for g, t in zip(gate[2:], trunk[2:], strict=True)):
            raise self._disagree(shapes, "the gate must give the trunk's shape, or 1 in any axis after the channels")
        return trunk

    def combine(self, ys: list[np.ndarray]) -> tuple[np.ndarray, Split]:
        """See `Branches.combine`."""
        trunk, gate = ys
        shared = tuple(axis for axis in range(trunk.ndim) if trunk.shape[axis] != gate.shape[axis])

        @np.errstate(all="ignore")
        def split(dy: np.ndarray) -> list[np.ndarray]:
            dgate = _fresh(np.multiply, dy, trunk)
            return [_fresh(np.multiply, dy, gate), dgate.sum(axis=shared, keepdims=True)]

        return _fresh(np.multiply, trunk, gate), split


def _named(layers: tuple[Layer | Mapping[str, Layer], ...], names: tuple[str, ...] = ()) -> dict[str, Layer]:
    """Return the layers of one dict as they are named there, others by `names`, or else numbered."""
    if len(layers) == 1 and isinstance(layers[0], Mapping):
        return dict(layers[0])
    return {names[i] if i < len(names) else str(i): layer for i, layer in enumerate(layers)}


def _require_branches(layer: Layer) -> None:
    if not layer.children:
        raise ValueError(f"{type(layer).__name__}: at least one branch is needed, got none")


@np.errstate(all="ignore")  # as quiet as the kernels
def _fresh(operation: np.ufunc, a: np.ndarray, b: np.ndarray | int) -> np.ndarray:
    """Apply an operation whose result has the shape of `a`, into memory that is used again from step to step."""
    return operation(a, b, out=runtime.empty(a.shape, a.dtype))


def _add(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return _fresh(np.add, a, b)
