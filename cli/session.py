"""One run of training: it shows what happens, keeps the files up to date, and can be interrupted between two steps."""

from dataclasses import asdict
from typing import Any

import fastconv
from fastconv import runtime
from fastconv.cli.interrupt import Interrupted, interruptible
from fastconv.cli.screen import Plain
from fastconv.data import Dataset
from fastconv.layers import Layer
from fastconv.train import AUGMENTATION, OPTIMIZERS, Card, Epoch, Report, fit


def config(model: str, data: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Return all that a run's result depends on, and where it ran, as JSON values."""
    usual_lr = OPTIMIZERS[settings["optimizer"]][1]
    return {
        "model": model,
        "data": data,
        **settings,
        "lr": settings["lr"] or usual_lr,
        "augmentation": asdict(AUGMENTATION),
        "fastconv": fastconv.__version__,
        "host": runtime.host(),
    }


def run(network: Layer, data: Dataset, report: Report, card: Card, screen: Plain, settings: dict[str, Any]) -> Epoch:
    """Train, and save after every epoch.

    Parameters
    ----------
    network, data, settings
        For `fastconv.train.fit`.
    report, card
        Where the results go.
    screen : Plain
        Where they are shown.

    Returns
    -------
    Epoch
        The last one.

    Raises
    ------
    Interrupted
        Ctrl-C was pressed. What is learnt so far is saved, unless that is nothing.
    """
    with interruptible(screen.stopping) as check:

        def on_compile(name: str) -> None:
            check()
            screen.compiling(name)

        def on_step(step: int, loss: float) -> None:
            screen.step(step, loss)
            check()

        stop_watching = runtime.on_compile(on_compile)
        try:
            for result in fit(network, data, on_step=on_step, **settings):
                report.add(result)
                report.save(network, card)
                screen.epoch(result)
        except Interrupted:
            if screen.steps_done:
                report.save(network, card)
            raise
        finally:
            stop_watching()
    return result
