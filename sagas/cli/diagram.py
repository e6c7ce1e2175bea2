"""`sagas diagram`: a saga as Mermaid text."""

import os
from pathlib import Path

import click
from rich_click import RichCommand

from sagas.cli.definitions import find, load, modules_wanted
from sagas.cli.output import explained, say
from sagas.core.diagram import mermaid


@click.command(cls=RichCommand)
@click.argument("saga", metavar="SAGA")
@click.option("-m", "--module", "modules", multiple=True, metavar="MODULE", help="Where to look; can be given again.")
@click.option("--late", is_flag=True, help="Draw what late successes and unreadable commands do.")
@click.option("--operator", is_flag=True, help="Draw what a person can do as well.")
@explained
def command(saga: str, modules: tuple[str, ...], late: bool, operator: bool) -> None:
    """Draw a saga as Mermaid text, from the moves that its definition has."""
    definition = find(load(modules_wanted(modules, os.environ, Path.cwd())), saga)
    say(mermaid(definition, with_late=late, with_operator=operator).rstrip("\n"))
