"""`sagas run`: the orchestrator as a process."""

import os
from pathlib import Path

import click
from rich_click import RichCommand

from sagas.cli.definitions import load, modules_wanted
from sagas.cli.output import explained
from sagas.cli.project import nearest_project
from sagas.config import Settings
from sagas.errors import SettingsError


@click.command(cls=RichCommand)
@click.argument("modules", nargs=-1, metavar="[MODULE[:SAGA] ...]")
@click.option(
    "--leave-unknown",
    is_flag=True,
    help="Start although live instances need a version that is not loaded here: they wait for a node that knows it.",
)
@explained
def command(modules: tuple[str, ...], leave_unknown: bool) -> None:
    """Run the orchestrator for the sagas of these modules, until SIGTERM or Ctrl-C.

    Without modules: those of SAGAS_DEFINITIONS, or of [tool.sagas] definitions in the nearest pyproject.toml.
    Prints a line that begins with `ready` once it takes messages. Several versions of a saga run side by side when
    the modules of all are named; new instances take the newest.
    """
    # Imported here: `sagas run --help` needs no broker and no database.
    from sagas.hosting import host_orchestrator

    folder = Path.cwd()
    project = nearest_project(folder)
    settings = Settings.from_environ(os.environ, stream=project.stream, event_store=project.event_store)
    definitions = load(modules_wanted(modules, os.environ, folder))
    if not definitions:
        raise SettingsError("no saga to run; name its module: `sagas run package.module`")
    raise SystemExit(host_orchestrator(definitions, settings, may_strand=leave_unknown))
