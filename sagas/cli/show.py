"""`sagas show`: the story of one instance."""

from collections.abc import Sequence
from pathlib import Path

import click
from rich_click import RichCommand

from sagas.cli.exits import ExitShape, exits
from sagas.cli.instances import (
    database_option,
    definition_for,
    definitions_at_hand,
    find_instance,
    names_for,
    reading,
)
from sagas.cli.output import explained, moment, plain, say, say_json, table
from sagas.cli.shapes import story_shape
from sagas.core.durations import elapsed
from sagas.core.instance import Instance
from sagas.core.story import Names, Told, happenings, operations, standing
from sagas.ports import InstanceFilter, JournalRow


@click.command(cls=RichCommand)
@click.argument("wanted", metavar="ID")
@click.option("--saga", default="", metavar="NAME", help="Which saga's instance, when several have the key.")
@click.option(
    "--at",
    "moment_wanted",
    metavar="N|TIME",
    help="As it was after N journal entries, or at a time: 2026-01-31T12:00:00Z, or +1.5 for seconds after its start.",
)
@database_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON; docs/cli.md describes it.")
@explained
def command(wanted: str, saga: str, moment_wanted: str | None, db: Path | None, as_json: bool) -> None:
    """Tell the story of one instance: each step with its attempts and times, why it turned back, what is stuck.

    ID is the instance's business key or its own id.
    """
    with reading(db) as store:
        instance = find_instance(store, wanted, saga)
        journal: Sequence[JournalRow] = store.journal(instance.id)
        # Asked after the journal was read: it is never cleaned any less.
        cleaned = store.cleaned_until(instance.id)
        # Commands that are to be typed have to name the saga where its key does not say enough.
        is_shared = len(store.instances(InstanceFilter(key=instance.key, count_max=2))) > 1
    if moment_wanted is not None:
        # Imported here: only who travels in time needs the definitions.
        from sagas.cli.past import as_it_was

        instance, journal = as_it_was(instance, journal, moment_wanted, cleaned)
    definitions = definitions_at_hand()
    names, ways_out = names_for(instance, definitions), list[ExitShape]()
    if instance.is_stuck and moment_wanted is None:
        # Imported here: it brings the event loop along.
        from sagas.clock import SystemClock

        definition = definition_for(instance, definitions)
        is_own = definition is not None and definition.content == instance.content
        ways_out = exits(
            instance, definition if is_own else None, SystemClock().now_ms(), with_saga=bool(saga) or is_shared
        )
    if as_json:
        say_json(story_shape(instance, journal, names, cleaned, ways_out))
    else:
        _tell(instance, journal, names, cleaned)
        _tell_exits(ways_out)


def _tell_exits(ways_out: Sequence[ExitShape]) -> None:
    if ways_out:
        say("what can be done about it (each says first what it would do, and does it with --yes):")
    for way in ways_out:
        say(plain(f"  {way}"))


def _tell(instance: Instance, journal: Sequence[JournalRow], names: Names, cleaned: int) -> None:
    took = elapsed(instance.updated_ms - instance.started_ms)
    say(plain(f"{instance.saga} {instance.key}   {instance.state}   {took}"))
    say(plain(f"started {moment(instance.started_ms)}   id {instance.id}   version {instance.version}"))
    why = standing(instance)
    if why:
        say(plain(why))
    table(
        ("asked", "outcome", "attempts", "sent", "answered after"),
        [_row(instance, told) for told in operations(instance, names)],
        numbers=("attempts", "sent", "answered after"),
    )
    if cleaned:
        say(f"what happened up to revision {cleaned} was cleaned away after its end (SAGAS_JOURNAL_DAYS)")
    for at_ms, words in happenings(journal):
        say(plain(f"{_since(instance, at_ms):>12}  {words}"))


def _row(instance: Instance, told: Told) -> tuple[str, ...]:
    outcome = f"{told.outcome} ({told.why})" if told.why else told.outcome
    answered = elapsed(told.answered_ms - told.sent_ms) if told.answered_ms else ""
    return told.name, outcome, str(told.attempts), _since(instance, told.sent_ms), answered


def _since(instance: Instance, at_ms: int) -> str:
    return f"{(at_ms - instance.started_ms) / 1_000:+.3f} s"
