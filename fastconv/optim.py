"""Optimisers: they change the parameters of an arena by its gradients, in place, in one pass over the flat arrays.

The formulas are PyTorch's, so that the same settings give the same training. They stand in the docstrings below; the
loops that compute them are in `fastconv.cpu.update`, which is imported at the first step since it brings Numba along.
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

    def _rates(self, *rates: float) -> np.ndarray:
        """Return what changes from step to step as the kernels want it."""
        return np.array(rates, self.arena.params.dtype)

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
        from fastconv.cpu.update import sgd_plan

        params, grads = self.arena.params, self.arena.grads
        plan = sgd_plan(params.size, params.dtype, self.momentum, self.nesterov, self.weight_decay)
        plan(params, grads, self.state.get("momentum"), self._rates(lr))


class Adam(Optimizer):
    """Adaptive steps from running means of the gradient and its square, as `torch.optim.Adam`.

    Step t is::

        g = grad + weight_decay * p
        m += (1 - beta1) * (g - m);   s = beta2 * s + (1 - beta2) * g**2
        p -= lr / (1 - beta1**t) * m / (sqrt(s) / sqrt(1 - beta2**t) + eps)

    Both means start at zero; after t steps they are too small by 1 - beta**t. D. P. Kingma and J. Ba, *Adam: a method
    for stochastic optimization* (2015), algorithm 1, https://arxiv.org/abs/1412.6980.

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
        self.descend(lr, self.weight_decay, 1.0)

    def descend(self, lr: float, weight_decay: float, kept: float) -> None:
        """Take Adam's step, with a weight decay that is part of the gradient, from `kept` times the parameters."""
        from fastconv.cpu.update import adam_plan

        params, (beta1, beta2) = self.arena.params, self.betas
        plan = adam_plan(params.size, params.dtype, self.betas, self.eps, weight_decay)
        rates = self._rates(lr / (1 - beta1**self.steps), sqrt(1 - beta2**self.steps), kept)
        plan(params, self.arena.grads, self.state["mean"], self.state["square"], rates)


class AdamW(Adam):
    """Adam whose weight decay does not pass through the running means, as `torch.optim.AdamW`.

    A step starts from ``p * (1 - lr * weight_decay)`` and is then that of `Adam`. I. Loshchilov and F. Hutter,
    *Decoupled weight decay regularization* (2019), algorithm 2, https://arxiv.org/abs/1711.05101.

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
        self.descend(lr, 0.0, 1 - lr * self.weight_decay)
