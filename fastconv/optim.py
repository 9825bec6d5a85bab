"""Optimisers: they change the parameters of an arena by its gradients, in place, over the whole flat arrays.

The formulas are PyTorch's, so that the same settings give the same training.
"""

from collections.abc import Mapping
from math import inf, sqrt
from numbers import Real

import numpy as np

from fastconv import runtime
from fastconv.layers import Arena
from fastconv.layers.state import load_arrays


class Optimizer:
    """What optimisers share: the rate, the count of steps, weight decay as a gradient, and the state on disk.

    A subclass names its arrays and defines `update`.

    Parameters
    ----------
    arena : Arena
    lr : float
        Learning rate of the steps that do not give their own.
    weight_decay : float

    Attributes
    ----------
    state : dict of str to ndarray
        Running sums, laid out as ``arena.params``; zeros at the start.
    steps : int
        Steps taken.
    """

    def __init__(self, arena: Arena, lr: float, weight_decay: float, state: tuple[str, ...] = ()):
        self.arena = arena
        self.lr = self._setting("lr", lr)
        self.weight_decay = self._setting("weight_decay", weight_decay)
        self.steps = 0
        self.state = {key: runtime.zeros(arena.params.shape, arena.params.dtype) for key in state}
        self._scratch = runtime.zeros(arena.params.shape, arena.params.dtype)
        self._decayed = runtime.zeros(arena.params.shape, arena.params.dtype) if weight_decay else None

    def update(self, lr: float) -> None:
        """Change ``arena.params`` at the rate `lr`; callers use `step`."""
        raise NotImplementedError

    def step(self, lr: float | None = None) -> None:
        """Change the parameters by the gradients.

        Parameters
        ----------
        lr : float, optional
            Learning rate of this step, as a schedule gives it.

        Raises
        ------
        TypeError, ValueError
            `lr` is not a finite number >= 0.
        """
        lr = self.lr if lr is None else self._setting("lr", lr)
        self.steps += 1
        with np.errstate(all="ignore"):  # a diverging run shows in its loss
            self.update(lr)

    def zero_grad(self) -> None:
        """Set all gradients to zero."""
        self.arena.zero_grad()

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return copies of all that the next steps depend on but for the settings: 'steps', 'momentum.0.weight', ..."""
        return {"steps": np.array(self.steps), **{name: view.copy() for name, view in self._named_state().items()}}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from what `state_dict` returned.

        Raises
        ------
        ValueError
            Names or shapes differ; nothing has been changed.
        """
        steps = np.array(self.steps)
        load_arrays(type(self).__name__, {"steps": steps, **self._named_state()}, state)
        self.steps = int(steps)

    def _named_state(self) -> dict[str, np.ndarray]:
        return {
            f"{key}.{name}": view for key, flat in self.state.items() for name, view in self.arena.views(flat).items()
        }

    def _decayed_gradient(self) -> np.ndarray:
        """Return the gradient of the loss plus weight_decay / 2 * the squared length of the parameters."""
        if self._decayed is None:
            return self.arena.grads
        np.multiply(self.arena.params, self.weight_decay, out=self._decayed)
        self._decayed += self.arena.grads
        return self._decayed

    def _setting(self, name: str, value: float, below: float = inf) -> float:
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"{type(self).__name__}: {name} must be a number, got {value!r}")
        if not 0 <= value < below:
            raise ValueError(f"{type(self).__name__}: {name} must be >= 0 and < {below}, got {value}")
        return float(value)


class SGD(Optimizer):
    """Stochastic gradient descent with momentum, as `torch.optim.SGD`.

    A step is::

        g = grad + weight_decay * p;   v = momentum * v + g;   p -= lr * v

    With Nesterov's momentum, ``p -= lr * (g + momentum * v)``: I. Sutskever et al., *On the importance of
    initialization and momentum in deep learning* (2013), https://proceedings.mlr.press/v28/sutskever13.html.

    Parameters
    ----------
    arena : Arena
    lr : float
    momentum : float
    nesterov : bool
        Needs momentum.
    weight_decay : float
        Added to the gradient.

    Raises
    ------
    TypeError, ValueError
        A setting has a wrong type or value.
    """

    def __init__(
        self, arena: Arena, lr: float, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0
    ):
        self.momentum = self._setting("momentum", momentum)
        self.nesterov = nesterov
        if nesterov and not momentum:
            raise ValueError("SGD: nesterov needs momentum > 0, got 0")
        super().__init__(arena, lr, weight_decay, ("momentum",) if momentum else ())

    def update(self, lr: float) -> None:
        """See `Optimizer.update`."""
        gradient, scratch = self._decayed_gradient(), self._scratch
        direction = gradient
        if self.momentum:
            velocity = self.state["momentum"]
            velocity *= self.momentum
            velocity += gradient
            direction = velocity
        if self.nesterov:
            np.multiply(velocity, self.momentum, out=scratch)
            scratch += gradient
            direction = scratch
        np.multiply(direction, lr, out=scratch)
        self.arena.params -= scratch


class Adam(Optimizer):
    """Adaptive steps from running means of the gradient and its square, as `torch.optim.Adam`.

    D. P. Kingma and J. Ba, *Adam: a method for stochastic optimization* (2015), algorithm 1,
    https://arxiv.org/abs/1412.6980.

    Parameters
    ----------
    arena : Arena
    lr : float
    betas : (float, float)
        How much of the running means of the gradient and of its square a step keeps.
    eps : float
        Added to the root of the mean square. Greater than 0: the gaps between an arena's tensors would divide 0 by 0.
    weight_decay : float
        Added to the gradient.

    Raises
    ------
    TypeError, ValueError
        A setting has a wrong type or value.
    """

    def __init__(
        self,
        arena: Arena,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        self.betas = tuple(self._setting("betas", beta, below=1) for beta in betas)
        self.eps = self._setting("eps", eps)
        if len(self.betas) != 2 or not eps:
            raise ValueError(f"{type(self).__name__}: betas must be two numbers and eps > 0, got {betas} and {eps}")
        super().__init__(arena, lr, weight_decay, ("mean", "square"))

    def update(self, lr: float) -> None:
        """See `Optimizer.update`."""
        self.descend(self._decayed_gradient(), lr)

    def descend(self, gradient: np.ndarray, lr: float) -> None:
        """Take Adam's step along `gradient`."""
        mean, square, scratch = self.state["mean"], self.state["square"], self._scratch
        keep_mean, keep_square = self.betas
        np.subtract(gradient, mean, out=scratch)
        scratch *= 1 - keep_mean
        mean += scratch
        square *= keep_square
        np.multiply(gradient, gradient, out=scratch)
        scratch *= 1 - keep_square
        square += scratch
        # Both means start at zero; after t steps they are too small by 1 - beta**t.
        np.sqrt(square, out=scratch)
        scratch /= sqrt(1 - keep_square**self.steps)
        scratch += self.eps
        np.divide(mean, scratch, out=scratch)
        scratch *= lr / (1 - keep_mean**self.steps)
        self.arena.params -= scratch


class AdamW(Adam):
    """Adam whose weight decay does not pass through the running means, as `torch.optim.AdamW`.

    I. Loshchilov and F. Hutter, *Decoupled weight decay regularization* (2019), algorithm 2,
    https://arxiv.org/abs/1711.05101.

    Parameters
    ----------
    arena : Arena
    lr : float
    betas : (float, float)
    eps : float
    weight_decay : float
        Each step first shrinks the parameters by the factor ``1 - lr * weight_decay``.
    """

    def __init__(
        self,
        arena: Arena,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ):
        super().__init__(arena, lr, betas, eps, weight_decay)

    def update(self, lr: float) -> None:
        """See `Optimizer.update`."""
        self.arena.params *= 1 - lr * self.weight_decay
        self.descend(self.arena.grads, lr)
