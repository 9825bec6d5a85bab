"""What a layer is: parameters, their gradients, and a forward pass that hands out its own backward pass.

A layer is called in one of two ways:

    y, backward = layer.forward(x)      # training
    dx = backward(dy)                   # adds to layer.grads

    y = layer(x)                        # inference: nothing is kept

What the backward pass needs lives in the closure that `forward` returns, not in the layer. So one layer may stand at
several places of a model (its gradients add up), and two forward passes may precede one backward pass.
"""

import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Self

import numpy as np
from numpy.typing import DTypeLike

from fastconv.arrays import REAL_TYPES
from fastconv.layers.state import load_arrays

Shape = tuple[int, ...]
Pullback = Callable[[np.ndarray, bool], np.ndarray | None]


class Backward:
    """The way back through one forward pass. It can be taken once, and releases what the pass has kept.

    Parameters
    ----------
    layer : Layer
    pullback : callable
        What `Layer.apply` returned.
    y_shape : tuple of int
        Shape that the gradient must have.
    """

    __slots__ = ("_layer", "_pullback", "_y_shape")

    def __init__(self, layer: "Layer", pullback: Pullback, y_shape: Shape):
        self._layer, self._pullback, self._y_shape = layer, pullback, y_shape

    def __call__(self, dy: np.ndarray, input_gradient: bool = True) -> np.ndarray | None:
        """Add to the gradients of the parameters and return the gradient of the input.

        Parameters
        ----------
        dy : ndarray
            Gradient of the output, in the output's shape and dtype.
        input_gradient : bool
            False where nobody wants the gradient of the input, as at the start of a model: it is not computed.

        Returns
        -------
        dx : ndarray or None
            In the shape of the input. It may share memory with `dy`, which is never written to.

        Raises
        ------
        RuntimeError
            This pass went back before.
        ValueError
            `dy` has another shape than the output.
        """
        name = type(self._layer).__name__
        if self._pullback is None:
            raise RuntimeError(
                f"{name}: backward was called twice for one forward pass, which would count its gradients twice; "
                f"run forward again"
            )
        if np.shape(dy) != self._y_shape:
            raise ValueError(f"{name}: dy must have the shape of the output, {self._y_shape}, got {np.shape(dy)}")
        pullback, self._pullback = self._pullback, None
        if not (input_gradient or self._layer.has_parameters):
            return None
        dx = pullback(dy, input_gradient)
        return dx if input_gradient else None


def no_backward(dy: np.ndarray, input_gradient: bool = True) -> None:
    """Stand in for the backward pass where there is none."""
    raise RuntimeError("there is no way back through an inference pass; run forward(x, train=True)")


class Addend:
    """An array that a layer adds to its result, and where the backward pass leaves its gradient; see `Layer.plus`."""

    def __init__(self, value: np.ndarray):
        self.value, self.gradient = value, None


class Layer:
    """A differentiable function of one array, with parameters.

    A subclass defines `apply` and `output_shape`, and `macs` if it multiplies. Its constructor's positional arguments
    are kept as attributes of the same names, from which ``repr`` is made.

    Parameters
    ----------
    params : dict of str to ndarray, optional
        Parameters that the layer itself owns.
    buffers : dict of str to ndarray, optional
        Other state of the layer, such as running statistics: saved and loaded like parameters, but not trained.
    children : dict of str to Layer, optional
        Layers that it is made of. One may be called '', and names may start with a dot, as '.main': such a name is left
        out, and what is in the layer is named as if it stood in this one.

    Attributes
    ----------
    params, grads : dict of str to ndarray
        Parameters, and the sums of their gradients since `zero_grad`. Write into these arrays; do not replace them.
    buffers : dict of str to ndarray
        The same holds for them.
    children : dict of str to Layer
    input_shape : tuple of int or None
        Shape (channels, height, width) of the samples that a model was built for, where its builder says so.
    """

    input_shape: Shape | None = None
    rectifies: bool | float = False  # whether the layer has taken a ReLU that followed it, or its ceiling; see `merged`
    adds = False  # whether the layer can take an addend; see `plus`
    counters: frozenset[str] = frozenset()  # buffers that count passes: a file of weights may lack them
    frozen: frozenset[str] = frozenset()  # own parameters that training leaves as they are; see `finetune.freeze`

    def __init__(
        self,
        *,
        params: Mapping[str, np.ndarray] | None = None,
        buffers: Mapping[str, np.ndarray] | None = None,
        children: Mapping[str, "Layer"] | None = None,
    ):
        self.params = dict(params or {})
        self.grads = {key: np.zeros_like(array) for key, array in self.params.items()}
        self.buffers = dict(buffers or {})
        self.children = dict(children or {})
        for name, child in self.children.items():
            if not isinstance(child, Layer):
                raise TypeError(f"{type(self).__name__}: {name!r} must be a Layer, got {child!r}")
        counts = Counter(_shown_names(self))
        if twice := sorted(name for name, count in counts.items() if count > 1):
            raise ValueError(f"{type(self).__name__}: two layers in it are called {twice}")

    # ---- what a subclass defines

    def apply(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Pullback | None]:
        """Compute the output and the function that goes back; callers use `forward`.

        Returns
        -------
        y : ndarray
        pullback : callable
            ``pullback(dy, input_gradient) -> dx`` calls `accumulate` with the gradients of the parameters. What it
            returns does not matter where `input_gradient` is false. It keeps alive what it refers to; without `train`
            it is dropped.
        """
        raise NotImplementedError

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the output for an input of `input_shape`, batch included. Nothing is computed.

        Raises
        ------
        ValueError
            The layer does not take such an input.
        """
        raise NotImplementedError

    def flow(self, input_shape: Shape) -> Iterator[tuple[str, "Layer", Shape, Shape]]:
        """Yield (name, layer, input shape, output shape) of each child, in the order of computation."""
        return iter(())

    def macs(self, input_shape: Shape) -> int:
        """Return the number of multiply-adds of one forward pass on an input of `input_shape`, batch included."""
        return sum(child.macs(shape) for _, child, shape, _ in self.flow(input_shape))

    def check_after(self, previous: "Layer | None", previous_shape: Shape) -> None:
        """Raise ValueError if this layer cannot follow `previous` when that is fed an input of `previous_shape`.

        `Sequential` asks, because two neighbours can explain a mismatch better than one alone. Its first layer follows
        None.
        """

    def merged(self, following: "Layer") -> "Layer | None":
        """Return one layer that does the work of this one and of the next in one pass over memory, if there is such.

        `Sequential` asks for each pair of neighbours. Both layers stay as they are; the result shares their parameters
        and gradients, and gives the same bits.
        """
        return None

    def plus(self, addend: Addend, rectifies: bool | float) -> "Layer":
        """Return a layer that does what this one does, an addition, and perhaps of a ReLU, in one pass over memory.

        For one forward pass of a `Sum`, if the layer's `adds` says that it can. The result shares parameters and
        gradients, and its backward pass puts a gradient into `addend`.
        """
        raise NotImplementedError

    # ---- forward and backward

    def forward(self, x: np.ndarray, train: bool = True) -> tuple[np.ndarray, Callable[..., np.ndarray | None]]:
        """Compute the output, and return it with the way back.

        Parameters
        ----------
        x : ndarray
            float32 or float64, as the parameters.
        train : bool
            Whether to keep what the backward pass needs.

        Returns
        -------
        y : ndarray
        backward : Backward
            ``dx = backward(dy)`` adds to `grads` and works once. After ``train=False`` it raises RuntimeError.
            Change parameters only after it: it reads them.
        """
        y, pullback = self.apply(x, train)
        return y, Backward(self, pullback, y.shape) if train else no_backward

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return the output for inference."""
        return self.forward(x, train=False)[0]

    @np.errstate(all="ignore")  # overflow gives Inf, and Inf - Inf NaN, without a word, as in the kernels
    def accumulate(self, **gradients: np.ndarray | None) -> None:
        """Add the gradients of this layer's own parameters to `grads`; None stands for a parameter it does not have."""
        for key, gradient in gradients.items():
            if gradient is not None and self.learns(key):
                self.grads[key] += gradient

    def learns(self, key: str) -> bool:
        """Return whether the layer itself has this parameter, and training changes it."""
        return key in self.params and key not in self.frozen

    # ---- the tree of layers

    def named_layers(self) -> Iterator[tuple[str, "Layer"]]:
        """Yield (dotted name, layer) for this layer, '', and all below it; a shared layer once, by its first name."""
        pending: list[tuple[str, Layer]] = [("", self)]
        seen = set()
        while pending:
            name, layer = pending.pop()
            if id(layer) in seen:
                continue
            seen.add(id(layer))
            yield name, layer
            pending += [(join_names(name, child), layer.children[child]) for child in reversed(layer.children)]

    def owners(self) -> Iterator[tuple[str, "Layer", str]]:
        """Yield (dotted name, layer, key) of each parameter, which is ``layer.params[key]``."""
        for name, layer in self.named_layers():
            for key in layer.params:
                yield join_names(name, key), layer, key

    def named_parameters(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield (name, array) of every parameter, as ('0.weight', array); a shared one once."""
        return ((name, layer.params[key]) for name, layer, key in self.owners())

    def named_gradients(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield (name, array) of every gradient, in the order of `named_parameters`."""
        return ((name, layer.grads[key]) for name, layer, key in self.owners())

    def named_buffers(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield (name, array) of every buffer, as ('1.running_mean', array); a shared one once."""
        for name, layer in self.named_layers():
            for key, array in layer.buffers.items():
                yield join_names(name, key), array

    @property
    def has_parameters(self) -> bool:
        """Whether this layer or one below it has a parameter that training changes."""
        return any(layer.learns(key) for _, layer, key in self.owners())

    @property
    def parameter_count(self) -> int:
        """Number of parameters; shared ones count once."""
        return sum(array.size for _, array in self.named_parameters())

    def zero_grad(self) -> None:
        """Set all gradients to zero."""
        for _, gradient in self.named_gradients():
            gradient.fill(0)

    def astype(self, dtype: DTypeLike) -> Self:
        """Convert all parameters, gradients and real buffers in place, to float32 or float64, and return the layer.

        An `Arena` is made after the conversion: it would not know the new arrays.
        """
        if np.dtype(dtype).type not in REAL_TYPES:
            raise TypeError(f"{type(self).__name__}: dtype must be float32 or float64, got {np.dtype(dtype)}")
        for _, layer, key in self.owners():
            layer.params[key] = layer.params[key].astype(dtype)
            layer.grads[key] = layer.grads[key].astype(dtype)
        for _, layer in self.named_layers():
            for key, array in layer.buffers.items():
                layer.buffers[key] = array.astype(dtype) if array.dtype.kind == "f" else array
        return self

    # ---- state

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return copies of all parameters and buffers by name."""
        return {name: array.copy() for name, array in self._named_state().items()}

    def load_state_dict(self, state: Mapping[str, np.ndarray], strict: bool = True) -> tuple[list[str], list[str]]:
        """Copy parameters and buffers by name: all of them, or none if one does not fit.

        Parameters
        ----------
        state : mapping of str to ndarray
        strict : bool
            Whether missing and unexpected names are errors. Wrong shapes always are.

        Returns
        -------
        missing, unexpected : list of str
            Names that only the layer has, but for `counters`, and names that only `state` has.

        Raises
        ------
        ValueError
            The names or shapes differ; the message lists them.
        """
        counters = {
            join_names(name, key)
            for name, layer in self.named_layers()
            for key in layer.counters & layer.buffers.keys()
        }
        return load_arrays(type(self).__name__, self._named_state(), state, strict, counters)

    def _named_state(self) -> dict[str, np.ndarray]:
        return {
            join_names(name, key): array
            for name, layer in self.named_layers()
            for key, array in (layer.params | layer.buffers).items()
        }

    # ---- text

    def __repr__(self) -> str:
        """Return the call that builds the layer, or the tree of its children."""
        if self.children:
            lines = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self.children.items()]
            return "\n  ".join([f"{type(self).__name__}(", *lines]) + "\n)"
        positional = [
            (argument.name, argument.default)
            for argument in inspect.signature(type(self)).parameters.values()
            if argument.kind is argument.POSITIONAL_OR_KEYWORD
        ]
        shown = [
            repr(getattr(self, name)) if default is inspect.Parameter.empty else f"{name}={getattr(self, name)!r}"
            for name, default in positional
            if getattr(self, name) != default
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


def join_names(parent: str, name: str) -> str:
    """Return the dotted name of what is called `name` in `parent`. A hidden name adds nothing."""
    shown = "" if is_hidden(name) else name
    return f"{parent}.{shown}" if parent and shown else parent or shown


def is_hidden(name: str) -> bool:
    """Return whether a layer's name is left out of the names of its parameters."""
    return not name or name.startswith(".")


def _shown_names(layer: Layer) -> Iterator[str]:
    """Yield the names of parameters and of layers that stand in a layer, or seem to."""
    yield from layer.params
    for name, child in layer.children.items():
        yield from _shown_names(child) if is_hidden(name) else (name,)
