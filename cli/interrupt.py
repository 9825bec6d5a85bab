"""Ctrl-C, held back until the work can stop between two steps."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(Exception):
    """Ctrl-C was pressed, and nothing is half done."""


@contextmanager
def interruptible(on_press: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """Let the first Ctrl-C take effect at the next call of ``check()`` only, which this yields.

    `on_press` is called at once, to tell the user. A second Ctrl-C stops at once, as Python usually does.
    """
    pressed = False

    def press(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        signal.signal(signal.SIGINT, usual)
        on_press()

    def check() -> None:
        if pressed:
            raise Interrupted

    usual = signal.signal(signal.SIGINT, press)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, usual)
