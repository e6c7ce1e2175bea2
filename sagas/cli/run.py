"""`sagas run`: the orchestrator as a process."""

import click
from rich_click import RichCommand

from sagas.cli.definitions import load
from sagas.cli.output import explained
from sagas.cli.settings import settings_here, settings_options
from sagas.errors import SettingsError

NOT_OURS = ("rate_limit_rps", "rate_limit_burst", "broker_address", "storefront_address")
"""Settings of other processes."""

ARGUMENTS = "definitions"
"""The setting that is given without an option."""


@click.command(cls=RichCommand)
@click.argument("modules", nargs=-1, metavar="[MODULE[:SAGA] ...]")
@click.option(
    "--leave-unknown",
    is_flag=True,
    help="Start although live instances need a version that is not loaded here: they wait for a node that knows it.",
)
@settings_options(without=(ARGUMENTS, *NOT_OURS))
@explained
def command(modules: tuple[str, ...], leave_unknown: bool, **options: str | None) -> None:
    """Run the orchestrator for the sagas of these modules, until SIGTERM or Ctrl-C.

    Without modules: those of SAGAS_DEFINITIONS, or of [tool.sagas] definitions in the nearest pyproject.toml.
    Prints a line that begins with `ready` once it takes messages. Several versions of a saga run side by side when
    the modules of all are named; new instances take the newest. Every setting of the orchestrator has an option here,
    which wins over its variable; `sagas config --origin` shows what holds.
    """
    # Imported here: `sagas run --help` needs no broker and no database.
    from sagas.hosting import host_orchestrator

    settings = settings_here(options)
    definitions = load(modules or settings.definitions)
    if not definitions:
        raise SettingsError("no saga to run; name its module: `sagas run package.module`")
    raise SystemExit(host_orchestrator(definitions, settings, may_strand=leave_unknown))
