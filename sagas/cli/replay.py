"""`sagas replay`: build a projection anew from its topics, compare it with the one in use, and swap it in."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import anyio
import click
from rich_click import RichCommand

from sagas.cli.output import explained, plain, say, say_json
from sagas.cli.settings import settings_here
from sagas.config import Settings
from sagas.errors import SettingsError
from sagas.importing import imported

if TYPE_CHECKING:
    from sagas.cli.rebuilding import Rebuilt
    from sagas.runtime.projection import Projection


@click.command(cls=RichCommand)
@click.argument("modules", nargs=-1, metavar="[MODULE ...]")
@click.option("--check", "only_checks", is_flag=True, help="Compare only: swap nothing in.")
@click.option("--accept", "accepts", is_flag=True, help="Swap it in although it differs.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; docs/cli.md describes it.")
@explained
def command(modules: tuple[str, ...], only_checks: bool, accepts: bool, as_json: bool) -> None:
    """Build the projections of these modules anew from offset 0 of their topics, beside those in use.

    Each is compared with the one in use, both made of the same messages, and swapped in if they are equal. The
    system may be running. Without modules: those of the setting `projections`.
    """
    if only_checks and accepts:
        raise click.UsageError("--check swaps nothing in, --accept does although it differs: give one of them")
    settings = settings_here()
    projections = [found for name in modules or settings.projections for found in load_projections(name)]
    if not projections:
        raise SettingsError("no projection to replay; name its module: `sagas replay package.module`")
    done = [anyio.run(_rebuild, projection, settings, accepts, only_checks) for projection in projections]
    if as_json:
        say_json(done)
    else:
        _tell(done)
    if not all(rebuilt.is_equal or rebuilt.is_swapped for rebuilt in done):
        raise SystemExit(1)


def load_projections(module_name: str) -> "list[Projection]":
    """The projections of a module. Raises SettingsError when it cannot be imported or has none."""
    from sagas.runtime.projection import Projection

    module = imported(module_name, "name one with a projection, and run from the folder it is in")
    found = [value for value in vars(module).values() if isinstance(value, Projection)]
    if not found:
        raise SettingsError(f"{module_name}: no projection there; expected `name = Projection(…)` at its top level")
    return found


async def _rebuild(projection: "Projection", settings: Settings, accepts: bool, only_checks: bool) -> "Rebuilt":
    # Imported here: only what reads topics pays for the client, and only what draws for rich.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from sagas.cli.rebuilding import rebuild
    from sagas.clock import SystemClock
    from sagas.hosting import broker_of
    from sagas.runtime.offload import Thread

    broker = broker_of(settings)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    is_drawn = sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not is_drawn) as progress:
        bar = progress.add_task(projection.name, total=None)
        read = 0

        def on_progress(count: int, total: int | None) -> None:
            nonlocal read
            read += count
            progress.update(bar, completed=read, total=max(read, total) if total is not None else read)

        try:
            return await rebuild(
                projection,
                settings.data_dir,
                broker=broker,
                clock=SystemClock(),
                offload=Thread(),
                on_progress=on_progress,
                accepts=accepts,
                only_checks=only_checks,
            )
        finally:
            with anyio.CancelScope(shield=True):
                await broker.close()


def _tell(done: "Sequence[Rebuilt]") -> None:
    from sagas.cli.rebuilding import told

    for rebuilt in done:
        for line in told(rebuilt):
            say(plain(line))
