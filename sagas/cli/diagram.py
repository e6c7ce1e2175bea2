"""`sagas diagram`: a saga, one instance on it, its messages, or the map of the topics, as Mermaid text."""

import os
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec
from rich_click import RichCommand

from sagas.cli.definitions import REMEDY, find, load, modules_wanted
from sagas.cli.instances import database_option, find_instance, reading
from sagas.cli.output import explained, say
from sagas.core.definition import Definition
from sagas.core.diagram import Progress, mermaid, progress_of
from sagas.core.instance import Instance
from sagas.core.sequence import sequence
from sagas.core.topology import topology
from sagas.errors import SettingsError, StoreError
from sagas.ports import JournalRow


@click.command(cls=RichCommand)
@click.argument("saga", metavar="[SAGA]", default="")
@click.option("-m", "--module", "modules", multiple=True, metavar="MODULE", help="Where to look; can be given again.")
@click.option("--late", is_flag=True, help="Draw what is rare: late successes, unreadable commands, broken code.")
@click.option("--operator", is_flag=True, help="Draw what a person can do as well.")
@click.option("--instance", default="", metavar="ID", help="Draw where this instance is and where it was.")
@click.option("--sequence", "told", default="", metavar="ID", help="Draw the messages of this instance.")
@click.option("--map", "is_map", is_flag=True, help="Draw the services and topics, of one saga or of all.")
@database_option
@explained
def command(
    saga: str,
    modules: tuple[str, ...],
    late: bool,
    operator: bool,
    instance: str,
    told: str,
    is_map: bool,
    db: Path | None,
) -> None:
    """Draw a saga as Mermaid text, from the moves that its definition has.

    With --instance or --sequence: one instance, by its business key or its id. With --map: who writes to which topic,
    and who reads it.
    """
    if sum(map(bool, (instance, told, is_map))) > 1:
        raise click.UsageError("--instance, --sequence and --map are three drawings: ask for one")
    definitions = load(modules_wanted(modules, os.environ, Path.cwd()))
    if is_map:
        if not definitions:
            raise SettingsError(f"no saga is loaded; {REMEDY}")
        say(topology([find(definitions, saga)] if saga else definitions).rstrip("\n"))
        return
    if not saga and not instance and not told:
        raise click.UsageError("which saga? Or name an instance, or ask for --map")
    if instance or told:
        run, rows, cleaned = _run(instance or told, saga, db)
        if told and cleaned:
            raise StoreError(
                f"{run.saga} {run.key}: its messages cannot be drawn, its journal was cleaned away up to revision "
                f"{cleaned} (SAGAS_JOURNAL_DAYS)"
            )
        definition = _definition(definitions, run)
        drawing = (
            sequence(definition, run, rows)
            if told
            else mermaid(definition, with_late=late, with_operator=operator, progress=_progress(run, rows, cleaned))
        )
    else:
        drawing = mermaid(find(definitions, saga), with_late=late, with_operator=operator)
    say(drawing.rstrip("\n"))


def _run(wanted: str, saga: str, db: Path | None) -> tuple[Instance, list[JournalRow], int]:
    with reading(db) as store:
        run = find_instance(store, wanted, saga)
        return run, store.journal(run.id), store.cleaned_until(run.id)


def _progress(run: Instance, rows: Sequence[JournalRow], cleaned: int) -> Progress:
    progress = progress_of(run, rows)
    if not cleaned:
        return progress
    return msgspec.structs.replace(progress, title=f"{progress.title} · cleaned up to revision {cleaned}")


def _definition(definitions: Sequence[Definition], run: Instance) -> Definition:
    found = next((d for d in definitions if (d.name, d.version) == (run.saga, run.version)), None)
    if found is None:
        find(definitions, run.saga)
        raise SettingsError(
            f"{run.saga} {run.key} is of version {run.version}, which is not loaded; name its module with --module"
        )
    return found
