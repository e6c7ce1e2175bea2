"""`sagas verify`: every stored instance against its journal, or against the topic `event-store`."""

import os
import sys
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from rich_click import RichCommand

from sagas.cli.definitions import VARIABLE, load, modules_wanted
from sagas.cli.instances import database_option, reading
from sagas.cli.output import explained, plain, say, say_json
from sagas.cli.settings import settings_here
from sagas.errors import BrokerError, BrokerUnavailable
from sagas.ports import Store
from sagas.runtime.retelling import Cleaned, Mismatch, Retelling, Unloaded, against_journal, every_instance, lost
from sagas.runtime.verification import Definitions

if TYPE_CHECKING:
    from sagas.broker.iggy_scan import IggyScan

MISMATCHES_SHOWN_MAX = 20

WAIT_S_MAX = 10.0
"""How long is waited, without a message, for what the feed has still to tell."""

LOOK_EVERY_S = 0.2

Advance = Callable[[int], None]


class UncheckedShape(msgspec.Struct, frozen=True, kw_only=True):
    """How many instances cannot be compared because this version of their saga is not loaded."""

    saga: str
    version: int
    instances: int


class VerdictShape(msgspec.Struct, frozen=True, kw_only=True):
    """What `sagas verify --json` prints."""

    source: str
    instances: int
    equal: int
    only_in_topic: int
    different: list[Mismatch]
    cleaned: int = 0
    unchecked: list[UncheckedShape] = []


@click.command(cls=RichCommand)
@click.option("--from-topic", is_flag=True, help="Build them again from the topic event-store, not from the journal.")
@click.option("-m", "--module", "modules", multiple=True, metavar="MODULE", help="Where the sagas are defined.")
@database_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON; docs/cli.md describes it.")
@explained
def command(from_topic: bool, modules: tuple[str, ...], db: Path | None, as_json: bool) -> None:
    """Build every instance again from its journal by the rules that run, and compare it with the stored one.

    Ends with 1 when one differs, and says in what. One that a version decided which is not loaded is not checked, and
    counted apart. An orchestrator may be running meanwhile.
    """
    definitions: Definitions = {(d.name, d.version): d for d in load(modules_wanted(modules, os.environ, Path.cwd()))}
    with reading(db) as store:
        total = sum(store.counts().values())
        with _progress(total) as advance:
            found = _topic(definitions, store, advance) if from_topic else _journal(definitions, store, advance)
    if as_json:
        say_json(found)
    else:
        _tell(found)
    raise SystemExit(1 if found.different else 0)


def _journal(definitions: Definitions, store: Store, advance: Advance) -> VerdictShape:
    count, cleaned, different, unloaded = 0, 0, list[Mismatch](), list[Unloaded]()
    for instance in every_instance(store):
        found = against_journal(definitions, store, instance)
        if isinstance(found, Cleaned):
            cleaned += 1
        elif isinstance(found, Unloaded):
            unloaded.append(found)
        elif found is not None:
            different.append(found)
        count += 1
        advance(1)
    return _shape("journal", count, [*different, *lost(store)], 0, cleaned, unloaded)


def _topic(definitions: Definitions, store: Store, advance: Advance) -> VerdictShape:
    # Imported here: only who reads the topic pays for the client.
    import anyio

    instances = list(every_instance(store))
    retelling = Retelling(definitions, instances)
    anyio.run(_read, retelling, store, advance)
    retelling.finish(store)
    strangers = sum(not _is_stored(store, stranger) for stranger in retelling.strangers)
    different = [*retelling.mismatches, *lost(store)]
    return _shape("topic", len(instances), different, strangers, retelling.cleaned, retelling.unloaded)


async def _read(retelling: Retelling, store: Store, advance: Advance) -> None:
    import anyio

    from sagas.broker.iggy_connection import SETTLE_S
    from sagas.hosting import broker_of
    from sagas.runtime.event_store import EVENT_STORE

    broker = broker_of(settings_here())
    scan = broker.scan(EVENT_STORE)
    try:
        waited_s, waiting = 0.0, store.waiting_to_be_fed()
        await _require_topic(scan)
        while True:
            batch = await scan.poll()
            before = retelling.compared
            retelling.take(batch)
            advance(retelling.compared - before)
            if batch:
                waited_s = 0.0
            elif retelling.is_complete or not waiting or waited_s >= WAIT_S_MAX:
                return
            else:
                # Asked before the poll: what the feed had told by then, the next poll sees.
                waiting = store.waiting_to_be_fed()
                waited_s += LOOK_EVERY_S
                await anyio.sleep(LOOK_EVERY_S)
    finally:
        scan.close()
        with anyio.CancelScope(shield=True):
            await anyio.sleep(SETTLE_S)
            await broker.close()


async def _require_topic(scan: "IggyScan") -> None:
    try:
        await scan.count()
    except BrokerUnavailable:
        raise
    except BrokerError as error:
        raise BrokerError(
            f"{error}; the orchestrator writes it when it runs with SAGAS_EVENT_STORE=true, the whole journal first"
        ) from error


def _is_stored(store: Store, instance_id: str) -> bool:
    return bool(store.journal(instance_id) or store.cleaned_until(instance_id))


def _shape(
    source: str,
    count: int,
    different: Sequence[Mismatch],
    strangers: int,
    cleaned: int,
    unloaded: Sequence[Unloaded],
) -> VerdictShape:
    bad = len({mismatch.id for mismatch in different if mismatch.key})
    return VerdictShape(
        source=source,
        instances=count,
        equal=count - bad - cleaned - len(unloaded),
        only_in_topic=strangers,
        different=list(different),
        cleaned=cleaned,
        unchecked=[
            UncheckedShape(saga=each.saga, version=each.version, instances=number)
            for each, number in sorted(Counter(unloaded).items(), key=lambda item: (item[0].saga, item[0].version))
        ],
    )


def _tell(found: VerdictShape) -> None:
    for mismatch in found.different[:MISMATCHES_SHOWN_MAX]:
        say(plain(f"{mismatch.saga} {mismatch.key}   {mismatch.id}".strip()))
        for difference in mismatch.differences:
            say(plain(f"  {difference}"))
    if len(found.different) > MISMATCHES_SHOWN_MAX:
        say(f"… and {len(found.different) - MISMATCHES_SHOWN_MAX} more")
    whose = "its journal" if found.source == "journal" else "the topic event-store"
    say(f"{found.instances:,} instances: {found.equal:,} equal to what {whose} gives, {len(found.different):,} not")
    if found.cleaned:
        since = "cannot be compared: their journals were cleaned away (SAGAS_JOURNAL_DAYS), and nothing else is missing"
        say(f"{found.cleaned:,} more {since}")
    for each in found.unchecked:
        which = f"version {each.version} of {each.saga!r} is not loaded"
        say(plain(f"{each.instances:,} not checked: {which}; name its module with --module or {VARIABLE}"))
    if found.only_in_topic:
        say(f"the topic tells of {found.only_in_topic:,} more, which this database does not have")


@contextmanager
def _progress(total: int) -> Generator[Advance, None, None]:
    """A bar on stderr while a person looks on."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("instances", total=total)
        yield lambda count: progress.advance(task, count)
