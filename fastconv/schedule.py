"""Learning-rate schedules: the rate of a step, from its number and the number of all steps."""

from collections.abc import Callable
from math import cos, pi


def constant(step: int, total_steps: int, max_lr: float) -> float:
    """Return `max_lr` at every step."""
    return max_lr


def one_cycle(
    step: int, total_steps: int, max_lr: float, warmup: float = 0.3, div: float = 25.0, final_div: float = 1e4
) -> float:
    """Return the rate of the one-cycle policy: up from ``max_lr / div`` to `max_lr`, then down, along half cosines.

    The rates are those of `torch.optim.lr_scheduler.OneCycleLR`, after L. N. Smith and N. Topin, *Super-convergence*
    (2017), https://arxiv.org/abs/1708.07120.

    Parameters
    ----------
    step : int
        0 for the first step, total_steps - 1 for the last.
    total_steps : int
    max_lr : float
    warmup : float
        Fraction of the steps after which `max_lr` is reached, 0 to 1.
    div : float
        The first rate is ``max_lr / div``.
    final_div : float
        The last rate is ``max_lr / div / final_div``.

    Raises
    ------
    ValueError
        `step` is not one of the `total_steps`, or `warmup` is no fraction.
    """
    if not 0 <= step < total_steps:
        raise ValueError(f"one_cycle: step must be >= 0 and < total_steps, got {step} of {total_steps}")
    if not 0 <= warmup <= 1:
        raise ValueError(f"one_cycle: warmup must be between 0 and 1, got {warmup}")
    peak, last = warmup * total_steps - 1, total_steps - 1
    first_lr = max_lr / div
    if step < peak:
        return _half_cosine(first_lr, max_lr, step / peak)
    if peak >= last:
        return max_lr
    return _half_cosine(max_lr, first_lr / final_div, (step - peak) / (last - peak))


def _half_cosine(start: float, end: float, fraction: float) -> float:
    return end + (start - end) * (1 + cos(pi * fraction)) / 2


SCHEDULES: dict[str, Callable[[int, int, float], float]] = {"one_cycle": one_cycle, "constant": constant}
