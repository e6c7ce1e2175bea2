"""`sagas restored`: what a participant's database has forgotten of its answers, and what to do about it.

A participant does not start with a database that came back from a backup (`runtime/restored.py`). This command reads
all that its topics still have, says what is missing, and lets a person choose. *Repeat*: its group is forgotten, so the
participant reads its commands from the oldest on; those that it remembers are answered again, which changes nothing,
and the others are carried out again. *Accept*: it goes on without. Either way that is written down in the database,
or the same answers would keep it from starting for as long as the topic has them. The group goes first: who is
interrupted between the two is asked once more.
"""

from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import anyio
import click
import msgspec
from rich_click import RichCommand

from sagas.cli.definitions import load
from sagas.cli.operate import reason_option
from sagas.cli.output import explained, moment, plain, say, say_json, table
from sagas.cli.settings import settings_here
from sagas.cli.who import whoami
from sagas.clock import SystemClock
from sagas.core.definition import Definition
from sagas.core.participants import Participant
from sagas.errors import SettingsError, StoreError
from sagas.runtime.restored import Comparison, Given
from sagas.store.remembered import RememberedFile

if TYPE_CHECKING:
    from sagas.broker.iggy import IggyBroker

SHOWN_MAX = 20
"""Answers in a table for people; --json has all of them."""

How = Literal["repeat", "accept"]


class GivenShape(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that was given; `now` is the one that is remembered in its place, "" for none."""

    instance_id: str
    key: str
    step: str
    operation: str
    answer: str
    at_ms: int
    now: str


class RestoredShape(msgspec.Struct, frozen=True, kw_only=True):
    """What `sagas restored` found, and what it did; described in docs/cli.md."""

    participant: str
    database: str
    compared: int
    missing: list[GivenShape]
    known_missing: int
    otherwise: list[GivenShape]
    commands: int
    action: str
    reason: str
    is_done: bool


@click.command(cls=RichCommand)
@click.argument("name", metavar="PARTICIPANT")
@click.option("--repeat", is_flag=True, help="Have it carry out again what it has forgotten.")
@click.option("--accept", is_flag=True, help="Have it go on without.")
@reason_option("Why; kept in its database.", is_required=False)
@click.option("--yes", is_flag=True, help="Do it; without this, only say what would be done.")
@click.option("-m", "--module", "modules", multiple=True, metavar="MODULE", help="Where to look; can be given again.")
@click.option(
    "--db",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The participant's database; $SAGAS_DATA/PARTICIPANT.db by default.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON; docs/cli.md describes it.")
@explained
def command(
    name: str,
    repeat: bool,
    accept: bool,
    reason: str,
    yes: bool,
    modules: tuple[str, ...],
    db: Path | None,
    as_json: bool,
) -> None:
    """Compare a participant's database with the answers it has published, after it came back from a backup.

    Ends with 1 when answers are missing, or others were given since. With --repeat the participant carries out again,
    at its next start, what it has forgotten and its topic of commands still has; with --accept it goes on without.
    """
    if repeat and accept:
        raise click.UsageError("--repeat or --accept, not both")
    how: How | None = "repeat" if repeat else "accept" if accept else None
    if how is not None and not reason.strip():
        raise click.UsageError(f"--{how} needs a --reason: it is kept")
    if how is None and (yes or reason):
        raise click.UsageError("say --repeat or --accept: nothing is done otherwise")
    settings = settings_here()
    participant = _participant(load(modules or settings.definitions), name)
    path = db or settings.database(name)
    found = anyio.run(_compare, participant, path, how, reason, yes)
    if as_json:
        say_json(found)
    else:
        _tell(participant, found)
    raise SystemExit(1 if (found.missing or found.otherwise) and not found.is_done else 0)


def _participant(definitions: list[Definition], name: str) -> Participant:
    known = {step.to.name: step.to for definition in definitions for step in definition.steps.values()}
    if name not in known:
        raise SettingsError(
            f"no step of the sagas loaded is carried out by {name!r}; known: {', '.join(sorted(known)) or 'none'}"
        )
    return known[name]


async def _compare(participant: Participant, path: Path, how: How | None, reason: str, yes: bool) -> RestoredShape:
    # Imported here: what is wrong with the words is said without the client.
    from sagas.hosting import broker_of

    is_done = how is not None and yes
    with closing(RememberedFile(path, read_only=not is_done)) as file:
        broker = broker_of(settings_here())
        try:
            comparison = Comparison(participant, file)
            await _read(broker, participant, comparison)
            commands = await _count(broker, participant)
            if how is not None and not comparison.missing:
                raise StoreError(f"{path}: no answer of {participant.name} is missing, so there is nothing to {how}")
            if is_done and how == "repeat":
                await broker.forget_group(participant.name, participant.commands)
            if how is not None and is_done:
                now_ms = SystemClock().now_ms()
                file.note_restored(max(now_ms, comparison.newest_ms + 1), how, whoami(), reason, now_ms)
        finally:
            await broker.close()
    return RestoredShape(
        participant=participant.name,
        database=str(path),
        compared=comparison.compared,
        missing=[_shape(given) for given in _by_time(comparison.missing.values())],
        known_missing=comparison.known_missing,
        otherwise=[_shape(given, now) for given, now in comparison.otherwise.values()],
        commands=commands,
        action=how or "",
        reason=reason,
        is_done=is_done,
    )


async def _read(broker: "IggyBroker", participant: Participant, comparison: Comparison) -> None:
    """All answers that the topic has now. What comes meanwhile need not be read to its end."""
    scan = broker.scan(participant.events)
    try:
        left = await scan.count()
        while left > 0 and (batch := await scan.poll()):
            comparison.take(batch)
            left -= len(batch)
    finally:
        scan.close()


async def _count(broker: "IggyBroker", participant: Participant) -> int:
    scan = broker.scan(participant.commands)
    try:
        return await scan.count()
    finally:
        scan.close()


def _by_time(given: Iterable[Given]) -> list[Given]:
    return sorted(given, key=lambda each: each.at_ms)


def _shape(given: Given, now: str = "") -> GivenShape:
    instance_id, step, operation = given.operation
    return GivenShape(
        instance_id=instance_id,
        key=given.key,
        step=step,
        operation=operation,
        answer=given.answer,
        at_ms=given.at_ms,
        now=now,
    )


def _tell(participant: Participant, found: RestoredShape) -> None:
    _print(participant, found.missing)
    of_all = f"of {found.compared:,} answers of {participant.name}"
    say(plain(f"{len(found.missing):,} {of_all} are missing in {found.database}"))
    if found.known_missing:
        say(f"{found.known_missing:,} more are missing that somebody has said to know of")
    if found.otherwise:
        _print(participant, found.otherwise)
        say(f"{len(found.otherwise):,} were answered otherwise since: their runs go by the first answer")
    if not found.action:
        if found.missing:
            say(plain(f"next: sagas restored {participant.name} --repeat --reason … or --accept --reason …"))
        return
    does = {
        "repeat": f"{participant.name} reads its {found.commands:,} commands again at its next start, and carries out "
        "those that it has forgotten",
        "accept": f"{participant.name} goes on without what is missing",
    }
    say(plain(does[found.action]))
    if not found.is_done:
        say("nothing was done; say it again with --yes")


def _print(participant: Participant, shapes: Sequence[GivenShape]) -> None:
    if not shapes:
        return
    headings = ("given", participant.key, "step", "answer", "now", "run")
    shown = shapes[:SHOWN_MAX]
    rows = [
        (moment(s.at_ms), s.key, s.step if s.operation == "do" else f"{s.step} (undo)", s.answer, s.now, s.instance_id)
        for s in shown
    ]
    table(headings, rows)
    if len(shown) < len(shapes):
        say(f"… and {len(shapes) - len(shown):,} more; --json has all")
