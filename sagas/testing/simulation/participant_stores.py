"""A participant's database as its process sees it: the real SQLite, every call a point, and each effect put on record.

As in `stores.py`, calls run inline, and a crash inside a transaction leaves it by an exception.
"""

from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager

from sagas.core.envelope import Header
from sagas.core.instance import Operation
from sagas.ports import (
    BarrierRow,
    DeadLetter,
    OperationKey,
    OutboxRow,
    ParticipantStore,
    ParticipantTransaction,
    Rows,
    Sql,
)
from sagas.testing.simulation.history import Effect
from sagas.testing.simulation.life import Life
from sagas.testing.simulation.outboxes import WatchedOutbox
from sagas.testing.simulation.points import Crash


class HandlerBroke(Exception):
    """What a participant's own code raises when this fault is on."""


class WatchedParticipantStore(WatchedOutbox):
    """A participant's `ParticipantStore`."""

    def __init__(self, life: Life, inner: ParticipantStore) -> None:
        super().__init__(life, inner)
        self._inner = inner

    @contextmanager
    def transaction(self) -> Generator[ParticipantTransaction, None, None]:
        """One write transaction."""
        life = self._life
        life.reach("store.begin.before")
        self.fail("beginning")
        with self._inner.transaction() as inner:
            life.reach("store.begin.after")
            watched = WatchedParticipantTransaction(life, inner)
            yield watched
            life.reach("store.commit.before")
            self.fail("committing")
        life.scene.now_ms()
        life.scene.history.commit(life.name, watched.rows)
        for effect, answer in watched.effects:
            life.scene.history.effect(effect, answer)
        life.reach("store.commit.after")

    def forget_processed(self, before_ms: int, count_max: int) -> int:
        """Remove old processed events."""
        self._life.reach("store.forget_processed.before")
        count = self._inner.forget_processed(before_ms, count_max)
        self._life.reach("store.forget_processed.after")
        return count

    def forget_operations(self, before_ms: int, count_max: int) -> bool:
        """Forget old operations: there are none in a system that lives for minutes."""
        return self._inner.forget_operations(before_ms, count_max)

    def dead_letters(self, count_max: int) -> list[DeadLetter]:
        """The newest dead letters first."""
        return self._inner.dead_letters(count_max)

    def close(self) -> None:
        """The database outlives the process."""


class WatchedParticipantTransaction:
    """A `ParticipantTransaction` that knows which handlers ran in it.

    A handler is given the business tables (`sql`), and its answer goes to the outbox next: so an answer for
    which `sql` was asked is the answer of a handler that ran, and any other one comes from memory. Whether it
    took effect is what the answer says: a refusal and a fault are rolled back to the savepoint.
    """

    def __init__(self, life: Life, inner: ParticipantTransaction) -> None:
        self._life = life
        self._inner = inner
        self._has_run = False
        self.rows: list[OutboxRow] = []
        self.effects: list[tuple[Effect, str]] = []

    @property
    def sql(self) -> Sql:
        """The business tables."""
        self._has_run = True
        return WatchedSql(self._life, self._inner.sql)

    @contextmanager
    def savepoint(self) -> Generator[None, None, None]:
        """A part that can fail alone."""
        self._life.reach("store.savepoint.before")
        with self._inner.savepoint():
            yield
        self._life.reach("store.savepoint.after")

    @property
    def forgotten_ms(self) -> int:
        """From when on all is remembered."""
        return self._inner.forgotten_ms

    def correct_forgotten(self, before_ms: int) -> None:
        """From when on all is remembered after all."""
        self._inner.correct_forgotten(before_ms)

    def prefetch(self, operations: Collection[OperationKey]) -> None:
        """Read at once what is going to be asked."""
        self._life.reach("store.prefetch.before")
        self._inner.prefetch(operations)
        self._life.reach("store.prefetch.after")

    def recall(self, instance_id: str, step: str, operation: Operation) -> BarrierRow | None:
        """What is remembered of an operation."""
        self._life.reach("store.recall.before")
        found = self._inner.recall(instance_id, step, operation)
        self._life.reach("store.recall.after")
        return found

    def remember(self, row: BarrierRow, now_ms: int) -> bool:
        """Remember an operation."""
        self._life.reach("store.remember.before")
        inserted = self._inner.remember(row, now_ms)
        self._life.reach("store.remember.after")
        return inserted

    def amend(self, row: BarrierRow, now_ms: int) -> None:
        """Replace what is remembered."""
        self._life.reach("store.amend.before")
        self._inner.amend(row, now_ms)
        self._life.reach("store.amend.after")

    def processed(self, event_id: str, event_type: str, now_ms: int) -> bool:
        """Note an event."""
        self._life.reach("store.processed.before")
        is_new = self._inner.processed(event_id, event_type, now_ms)
        self._life.reach("store.processed.after")
        return is_new

    def note(self, event_id: str, event_type: str, now_ms: int) -> None:
        """Note an event, whether it was noted before or not."""
        self._life.reach("store.note.before")
        self._inner.note(event_id, event_type, now_ms)
        self._life.reach("store.note.after")

    def add_outbox(self, rows: Sequence[OutboxRow]) -> None:
        """Write messages to be published."""
        self._life.reach("store.add_outbox.before")
        self._inner.add_outbox(rows)
        for row in rows:
            self.rows.append(row)
            if self._has_run:
                self.effects.append((_effect(row), row.event_type))
        self._has_run = False
        self._life.reach("store.add_outbox.after")

    def add_dead_letters(self, rows: Sequence[DeadLetter]) -> None:
        """Keep messages that could not be dealt with."""
        self._life.reach("store.add_dead_letters.before")
        self._inner.add_dead_letters(rows)
        self._life.reach("store.add_dead_letters.after")


def _effect(row: OutboxRow) -> Effect:
    operation: Operation = "undo" if row.headers.get(Header.OPERATION) == "undo" else "do"
    return Effect(row.headers.get(Header.INSTANCE, ""), row.headers.get(Header.STEP, ""), operation)


class WatchedSql:
    """A participant's own tables, whose statements fail when this fault is on."""

    def __init__(self, life: Life, inner: Sql) -> None:
        self._life = life
        self._inner = inner

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> Rows:
        """Run one statement."""
        self._life.reach("store.sql.before")
        if self._life.is_mortal and self._life.scene.chance(self._life.scene.faults.handler_raises):
            raise HandlerBroke("simulated: the participant's own code fails")
        rows = self._inner.execute(sql, parameters)
        try:
            self._life.reach("store.sql.after")
        except Crash:
            del rows  # whoever keeps the crash would keep this statement running, and its process has died
            raise
        return rows
