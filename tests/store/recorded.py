"""Workloads on the real stores, with the statements they send and what stood in the tables after each commit."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sagas.ports import Changes, Migration, ParticipantTransaction, Sql
from sagas.store.database import Database
from sagas.store.migrations import migrate
from sagas.store.participant import SqliteParticipantStore
from sagas.store.schema import ORCHESTRATOR
from sagas.store.sqlite import SqliteStore
from tests.store.builders import (
    NOW_MS,
    a_barrier_row,
    a_dead_letter,
    a_journal_row,
    a_message_id,
    a_parked_row,
    a_step_later,
    a_timer,
    an_instance,
    an_outbox_row,
)
from tests.store.suite import Refused, write, write_and_refuse

TRANSACTIONS = 40

Tables = tuple[tuple[str, tuple[tuple[Any, ...], ...]], ...]
"""What stands in a database: rows by table."""


@dataclass
class Recording:
    """What a workload began with, the statements it sent, and the tables as they were before and after each commit."""

    path: Path
    image: bytes = b""
    synchronous: int = 0
    statements: list[str] = field(default_factory=list[str])
    tables: list[Tables] = field(default_factory=list[Tables])

    def note(self, statement: str) -> None:
        """Take a statement down. SQLite tells of it once more for each trigger that it sets off."""
        if [statement] != self.statements[-1:]:
            self.statements.append(statement)

    def look(self) -> None:
        """Take down what stands in the tables, as somebody else sees it."""
        self.tables.append(read_tables(self.path))

    def begin(self, database: Database) -> None:
        """Take down what `database` does from now on."""
        self.image = self.path.read_bytes()
        self.synchronous = int(database.value("PRAGMA synchronous"))
        self.look()
        database.connection.set_trace_callback(self.note)


def read_tables(path: Path) -> Tables:
    """Everything in the file but the times of migrations, which are the clock's."""
    database = Database(path, read_only=True)
    try:
        names = [name for (name,) in database.rows("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")]
        return tuple(
            (name, tuple(sorted(database.rows(f'SELECT * FROM "{name}"'), key=repr)))
            for name in names
            if name != "schema_migrations"
        )
    finally:
        database.close()


# --------------------------------------------------------------------------- the orchestrator


class _Store(SqliteStore):
    def record(self, recording: Recording) -> None:
        recording.begin(self._database)


def record_orchestrator(path: Path) -> Recording:
    """Batches of sagas that begin, move and end; some are rolled back."""
    SqliteStore(path).close()
    recording, store = Recording(path), _Store(path)
    store.record(recording)
    chance = random.Random(7)
    instances = [an_instance(f"o-{number}") for number in range(4)]
    write(store, Changes(created=instances))
    recording.look()
    for batch in range(TRANSACTIONS):
        number = chance.randrange(len(instances))
        instances[number], revision = a_step_later(instances[number], chance.choice(["pay.pending", "stuck"]))
        instances.append(an_instance(f"o-{len(instances)}", age=batch))
        moved, fresh = instances[number], instances[-1]
        changes = Changes(
            now_ms=NOW_MS + batch,
            inbox=[a_message_id(f"in-{batch}-{message}") for message in range(chance.randrange(1, 12))],
            created=[fresh],
            updated=[(moved, revision)],
            journal=[a_journal_row(moved, moved.revision)],
            outbox=[an_outbox_row(f"{batch}-{row}") for row in range(chance.randrange(4))],
            timers_set=[a_timer(moved, "step", NOW_MS + batch)],
            dead_letters=[a_dead_letter(f"no reason {batch}")] if batch % 7 == 0 else [],
            parked=[a_parked_row(fresh, f"early-{batch}")],
            unparked=[a_message_id(f"early-{batch - 3}")],
        )
        write(store, changes)
        recording.look()
        if batch % 5 == 0:
            with pytest.raises(Refused):
                write_and_refuse(store, Changes(created=[an_instance(f"refused-{batch}")]))
        if rows := store.unpublished(5) if batch % 3 == 0 else []:
            store.mark_published([row.seq for row in rows], NOW_MS)
            recording.look()
    store.close()
    return recording


# --------------------------------------------------------------------------- a participant


def _own_table(sql: Sql) -> None:
    sql.execute("CREATE TABLE moved (cents INTEGER NOT NULL) STRICT")


OWN: tuple[Migration, ...] = (("001-own", _own_table),)


class _ParticipantStore(SqliteParticipantStore):
    def record(self, recording: Recording) -> None:
        recording.begin(self._database)


def record_participant(path: Path) -> Recording:
    """Commands of a participant with a table of its own; a part of each is rolled back."""
    SqliteParticipantStore(path, OWN).close()
    recording, store = Recording(path), _ParticipantStore(path, OWN)
    store.record(recording)
    for number in range(TRANSACTIONS):
        with store.transaction() as transaction:
            transaction.remember(a_barrier_row(f"step-{number}"), NOW_MS)
            transaction.sql.execute("INSERT INTO moved (cents) VALUES (?)", [number])
            transaction.processed(a_message_id(f"event-{number}"), "order.created", NOW_MS)
            transaction.add_outbox([an_outbox_row(f"answer-{number}")])
            with pytest.raises(Refused):
                _fail_in_part(transaction, number)
        recording.look()
        if number % 3 == 0:
            store.mark_published([row.seq for row in store.unpublished(2)], NOW_MS)
            recording.look()
    store.close()
    return recording


def _fail_in_part(transaction: ParticipantTransaction, number: int) -> None:
    with transaction.savepoint():
        transaction.sql.execute("INSERT INTO moved (cents) VALUES (?)", [-number])
        raise Refused


# --------------------------------------------------------------------------- a new file


def record_migrations(path: Path) -> Recording:
    """An orchestrator's file as it is made."""
    database = Database(path)
    recording = Recording(path)
    recording.begin(database)
    migrate(database, ORCHESTRATOR)
    database.close()
    return recording


Reopen = Callable[[Path], SqliteStore | SqliteParticipantStore]


def reopen_orchestrator(path: Path) -> SqliteStore:
    """Open the file as the orchestrator does after a crash."""
    return SqliteStore(path)


def reopen_participant(path: Path) -> SqliteParticipantStore:
    """Open the file as the participant does after a crash."""
    return SqliteParticipantStore(path, OWN)
