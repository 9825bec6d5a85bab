"""The command ``fastconv``. One file holds one group of commands.

A command imports what it needs when it runs, so that help and mistakes are answered at once.
"""

import click

from fastconv.cli.base import Program
from fastconv.cli.bench import bench
from fastconv.cli.learn import explain
from fastconv.cli.models import convert, export, summary
from fastconv.cli.system import info
from fastconv.cli.train import train
from fastconv.cli.trained import evaluate, predict


@click.group("fastconv", cls=Program, invoke_without_command=True)
@click.version_option(package_name="fastconv")
@click.pass_context
def main(context: click.Context) -> None:
    """Train convolutional networks on NumPy arrays, and use them."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for command in (train, evaluate, predict, summary, export, convert, info, explain, bench):
    main.add_command(command)
