"""What all commands share: help in sections, names with suggestions, and mistakes that are answered in one line."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from math import inf
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from rich.console import Console

MISTAKE, INTERRUPTED = 2, 130  # exit codes
LARGEST = 2**63 - 1
SHOWN = 8  # names in a message, which is to stay a line


class Program(click.Group):
    """The top of all commands, listed by section. A mistake ends it with one line and the exit code 2."""

    def main(self, *args: Any, standalone_mode: bool = True, **options: Any) -> Any:
        """Run the command line."""
        if not standalone_mode:
            return super().main(*args, standalone_mode=False, **options)
        try:
            code = super().main(*args, standalone_mode=False, **options)
        except click.ClickException as mistake:
            context = getattr(mistake, "ctx", None)
            where = context.command_path if context else self.name
            click.echo(f"{where}: {' '.join(mistake.format_message().split())}", err=True)
            code = MISTAKE
        except click.Abort:
            click.echo("stopped", err=True)
            code = INTERRUPTED
        sys.exit(code if isinstance(code, int) else 0)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands."""
        commands = self.commands.values()
        width = formatter.width - 6 - max(len(command.name) for command in commands)
        _write_sections(formatter, ((c.section, (c.name, c.get_short_help_str(width))) for c in commands))


class Command(click.Command):
    """A command that belongs to a section of the program's help, and lists its own options by section."""

    def __init__(self, *args: Any, section: str = "Commands", **settings: Any):
        super().__init__(*args, **settings)
        self.section = section

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the options."""
        options = (option for option in self.get_params(ctx) if isinstance(option, click.Option))
        _write_sections(formatter, ((getattr(o, "section", "Help"), o.get_help_record(ctx)) for o in options))


class Option(click.Option):
    """An option that belongs to a section of its command's help, which shows the default."""

    def __init__(self, *args: Any, section: str = "Options", **settings: Any):
        super().__init__(*args, **{"show_default": True, **settings})
        self.section = section


def _write_sections(formatter: click.HelpFormatter, entries: Iterable[tuple[str, tuple[str, str]]]) -> None:
    sections: dict[str, list[tuple[str, str]]] = {}
    for section, entry in entries:
        sections.setdefault(section, []).append(entry)
    for title, rows in sections.items():
        with formatter.section(title):
            formatter.write_dl(rows)


class Name(click.ParamType):
    """A key of a table that is imported when it is needed.

    Parameters
    ----------
    kind : str
        What the table holds: 'model'.
    module, table : str
        Where it is.
    """

    def __init__(self, kind: str, module: str, table: str):
        self.name = kind
        self._module, self._table = module, table

    def table(self) -> dict[str, Any]:
        """Import the table."""
        return getattr(import_module(self._module), self._table)

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name, or fail with those that are near."""
        known = list(self.table())
        if value in known:
            return value
        near = get_close_matches(value.lower(), known, n=2)
        shown = ", ".join(known[:SHOWN]) + (f" and {len(known) - SHOWN} more" if len(known) > SHOWN else "")
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {shown}"
        raise click.UsageError(f"there is no {self.name} {value!r}; {hint}", ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Complete a name in the shell."""
        return [CompletionItem(name) for name in self.table() if name.startswith(incomplete)]


class Number(click.ParamType):
    """A number from `low` up that compiled code can hold.

    Parameters
    ----------
    kind : type
        int or float.
    low : float
        With int the smallest number, with float a limit that is not reached.
    """

    def __init__(self, kind: type[int] | type[float], low: float):
        self._kind, self._low = kind, low
        self.name = "n" if kind is int else "x"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | float:
        """Return the number, or fail."""
        try:
            number = self._kind(value)
        except ValueError:
            self.fail(f"{value!r} is not a {'whole ' if self._kind is int else ''}number", param, ctx)
        if self._kind is int and not self._low <= number <= LARGEST:
            self.fail(f"{number} is not between {self._low} and {LARGEST}", param, ctx)
        if self._kind is float and not self._low < number < inf:
            self.fail(f"{number} is not greater than {self._low} and finite", param, ctx)
        return number


@contextmanager
def mistakes(*kinds: type[Exception], remedy: str = "") -> Iterator[None]:
    """Answer exceptions of these kinds, which the user has caused, in one line that ends with `remedy`."""
    try:
        yield
    except kinds as error:
        text = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.strerror else str(error)
        text = f"{text}; {remedy}" if remedy else text
        raise click.UsageError(text, click.get_current_context(silent=True)) from error


@contextmanager
def watching(console: Console) -> Iterator[None]:
    """Show on a terminal what is going on: the first run compiles kernels."""
    from fastconv import runtime

    if not console.is_terminal:
        yield
        return
    with console.status("measuring") as status:
        stopwatching = runtime.on_compile(
            lambda name: status.update(f"compiling kernels, on the first run only: {name}")
        )
        try:
            yield
        finally:
            stopwatching()


MODEL = Name("model", "fastconv.models", "MODELS")
DATA = Name("data set", "fastconv.data", "DATASETS")
OPTIMIZER = Name("optimizer", "fastconv.train", "OPTIMIZERS")
COUNT, SEED, RATE = Number(int, 1), Number(int, 0), Number(float, 0)
