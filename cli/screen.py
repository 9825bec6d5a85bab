"""What training shows: a live bar on a terminal, plain lines elsewhere."""

import os
import sys

import click

from fastconv.train import Epoch

HEADER = "  epoch  train loss  accuracy   test loss  accuracy    time"


def open_screen(live: bool, epochs: int, steps: int) -> "Plain":
    """Choose how to show `epochs` epochs of `steps` steps each; `live` is what the user wants."""
    terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    return (Live if live and terminal else Plain)(epochs, steps)


class Plain:
    """One line for each epoch."""

    def __init__(self, epochs: int, steps: int):
        self.epochs, self.steps, self.total_steps = epochs, steps, epochs * steps
        self.steps_done = 0
        self._compiled = 0

    def compiling(self, name: str) -> None:
        """Tell that a kernel is about to be compiled."""
        if not self._compiled:
            click.echo("compiling kernels, on the first run only ", nl=False)
        self._compiled += 1
        click.echo(".", nl=False)

    def step(self, step: int, loss: float) -> None:
        """Tell that a step, counted from 1, is done."""
        self._end_compiling()
        self.steps_done = step

    def epoch(self, result: Epoch) -> None:
        """Tell what an epoch gave."""
        self._end_compiling()
        if result.epoch == 1:
            self.print(HEADER)
        r = result
        self.print(
            f"{f'{r.epoch}/{self.epochs}':>7}{r.train_loss:12.4f}{r.train_accuracy:10.2%}"
            f"{r.test_loss:12.4f}{r.test_accuracy:10.2%}{r.seconds:6.2f} s"
        )

    def stopping(self) -> None:
        """Tell that Ctrl-C was noticed. This runs in a signal handler, where plain output is not safe."""

    def print(self, line: str) -> None:
        """Print a line."""
        click.echo(line)

    def close(self) -> None:
        """Leave the last line complete."""
        self._end_compiling()

    def _end_compiling(self) -> None:
        if self._compiled:
            click.echo()
            self._compiled = 0


class Live(Plain):
    """One line for each epoch, and below them a bar that moves with every step."""

    def __init__(self, epochs: int, steps: int):
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

        super().__init__(epochs, steps)
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(24),
            TimeRemainingColumn(),
            TextColumn("{task.fields[detail]}", style="dim"),
            transient=True,
        )
        self._task = self._bar.add_task("starting", total=self.total_steps, detail="")
        self._bar.start()

    def compiling(self, name: str) -> None:
        """See `Plain`."""
        self._compiled += 1
        self._bar.update(self._task, description="compiling kernels", detail=f"{self._compiled}: {name}")

    def step(self, step: int, loss: float) -> None:
        """See `Plain`."""
        super().step(step, loss)
        epoch = -(-step // self.steps)
        description, detail = f"epoch {epoch}/{self.epochs}", f"loss {loss:.4f}"
        self._bar.update(self._task, completed=step, description=description, detail=detail)

    def stopping(self) -> None:
        """See `Plain`."""
        self._bar.update(self._task, description="stopping", detail="after this step; at once with another Ctrl-C")

    def print(self, line: str) -> None:
        """See `Plain`."""
        self._bar.console.print(line, markup=False, highlight=False)

    def close(self) -> None:
        """See `Plain`."""
        self._bar.stop()

    def _end_compiling(self) -> None:
        self._compiled = 0
