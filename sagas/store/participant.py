"""A participant's database on SQLite: the `ParticipantStore` port.

Theory of operation. The kit's tables stand beside the participant's own in one file, so that the
barrier, the business rows and the answer in the outbox are one transaction: either all of them are
there after a crash or none. The participant's own tables are made by its own named migrations, run
by the same mechanism after the kit's.
"""

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from sagas.core.ids import first_id_at
from sagas.core.instance import Operation
from sagas.errors import StoreError
from sagas.ports import BarrierRow, DeadLetter, Migration, OperationKey, OutboxRow, ParticipantTransaction, Sql
from sagas.store import dead_letters
from sagas.store.barrier import BarrierTable, Mark
from sagas.store.database import Database
from sagas.store.encoding import StoredId, pack_id
from sagas.store.migrations import TransactionSql, migrate
from sagas.store.outbox import OutboxTable
from sagas.store.remembered import Remembered
from sagas.store.schema import OWN_PREFIX, PARTICIPANT
from sagas.store.written import Written

_FORGET = """
    DELETE FROM processed_events WHERE event_id IN (
        SELECT event_id FROM processed_events WHERE processed_at < ? ORDER BY processed_at LIMIT ?
    )
"""


_NEXT_OPERATIONS = """
    SELECT instance_id, step, operation, updated_at < ? AND (answer <> '' OR is_blocked) FROM barrier
    WHERE (instance_id, step, operation) > (?, ?, ?) AND instance_id < ?
    ORDER BY instance_id, step, operation LIMIT ?
"""
_FORGET_OPERATION = "DELETE FROM barrier WHERE instance_id = ? AND step = ? AND operation = ? AND updated_at < ?"
_NOTE_FORGOTTEN = "UPDATE barrier_forgotten SET before_ms = max(before_ms, ?)"

_FIRST: tuple[StoredId | int, str, str] = (-1, "", "")
"""Sorts before every operation."""


class SqliteParticipantStore:
    """A participant's database in the file `path`, created if it is missing; ":memory:" for one that is not kept.

    `migrations` make the participant's own tables. Raises StoreError when the file cannot be used or
    two migrations have one name, and SchemaMismatch when the file has one that is not among them. In place of a
    path it takes an open database.
    """

    def __init__(self, path: str | Path | Database, migrations: Sequence[Migration] = ()) -> None:
        names = [name for name, _ in migrations]
        if len(set(names)) < len(names):
            raise StoreError(f"{path}: two migrations have the same name ({', '.join(names)}); rename the later one")
        self._database = path if isinstance(path, Database) else Database(path)
        try:
            migrate(self._database, (*PARTICIPANT, *((OWN_PREFIX + name, change) for name, change in migrations)))
        except BaseException:
            self._database.close()
            raise
        self._outbox = OutboxTable(self._database)
        self._walk = _FIRST
        self._barrier = BarrierTable(self._database)
        self._transaction = SqliteParticipantTransaction(self._database, self._barrier, self._outbox)

    def transaction(self) -> AbstractContextManager[ParticipantTransaction]:
        """One write transaction: committed when the block ends, rolled back when it raises.

        Raises StoreError when another connection keeps the write lock for longer than the busy timeout.
        """
        return _Written(self._database, self._barrier, self._outbox, self._transaction)

    def unpublished(self, count_max: int) -> list[OutboxRow]:
        """The oldest outbox rows not yet published, in `seq` order."""
        return self._outbox.unpublished(count_max)

    def mark_published(self, seqs: Sequence[int], now_ms: int) -> None:
        """Take away these outbox rows, which the broker has acknowledged, in a transaction of its own."""
        self._outbox.mark_published(seqs)

    def take_committed(self) -> list[OutboxRow]:
        """The outbox rows that this object has committed since it was asked last."""
        return self._outbox.take_committed()

    def note_published(self, seqs: Sequence[int]) -> None:
        """Have the next transaction of this object, or the next look at the outbox, take these rows away."""
        self._outbox.note_published(seqs)

    def forget_processed(self, before_ms: int, count_max: int) -> int:
        """Remove at most `count_max` processed events older than `before_ms`, oldest first; how many it removed."""
        with self._database.transaction():
            return self._database.change(_FORGET, (before_ms, max(0, count_max)))

    def forget_operations(self, before_ms: int, count_max: int) -> bool:
        """Look at the next `count_max` operations at most and forget those last touched before `before_ms`.

        What is in progress is kept. Whether there are more to look at: it walks through the barrier in the order of its
        keys, which begin with the time at which the run began, up to the first that is too young (`cleaning.py`).
        """
        until = pack_id(first_id_at(before_ms))
        found = self._database.rows(_NEXT_OPERATIONS, (before_ms, *self._walk, until, max(1, count_max)))
        old = [(*key, before_ms) for *key, is_old in found if is_old]
        # The walk may have passed a do just before it was old enough. Left alone, one that its undo has blocked would
        # be taken for one in progress, and the undo that comes again would take back what was never done.
        old += [(run, step, "do", before_ms) for run, step, operation, _ in old if operation == "undo"]
        if old:
            with self._database.transaction():
                # First what may be missing, then that it is: whoever reads in between sees neither.
                self._database.change(_NOTE_FORGOTTEN, (before_ms,))
                self._database.change_many(_FORGET_OPERATION, old)
        self._walk = found[-1][:3] if len(found) >= max(1, count_max) else _FIRST
        return self._walk != _FIRST

    def dead_letters(self, count_max: int) -> list[DeadLetter]:
        """The newest dead letters first."""
        return dead_letters.newest(self._database, count_max)

    @property
    def remembered(self) -> Remembered:
        """What is known of its answers, to be compared with what was published."""
        return Remembered(self._database)

    def close(self) -> None:
        """Give up the connection. Calling it twice does nothing."""
        self._database.close()


class _Written(Written[ParticipantTransaction]):
    """A participant's: what the barrier remembers is written before the outbox, and left behind at the end."""

    def __init__(
        self,
        database: Database,
        barrier: BarrierTable,
        outbox: OutboxTable,
        transaction: "SqliteParticipantTransaction",
    ) -> None:
        super().__init__(database, outbox, transaction)
        self._barrier = barrier

    def write(self) -> None:
        self._barrier.write()
        super().write()

    def end(self, *, has_committed: bool) -> None:
        self._barrier.clear()


class SqliteParticipantTransaction:
    """Barrier, business rows, processed events and outbox, committed together."""

    def __init__(self, database: Database, barrier: BarrierTable, outbox: OutboxTable) -> None:
        self._database = database
        self._barrier = barrier
        self._outbox = outbox
        self._sql = TransactionSql(database)

    @property
    def sql(self) -> Sql:
        """The business tables."""
        return self._sql

    def savepoint(self) -> AbstractContextManager[None]:
        """A part that can fail alone: what it wrote is rolled back when the block raises."""
        return self._database.savepoint(partial(self._take_back, self._barrier.mark, self._outbox.size))

    def _take_back(self, mark: Mark, size: int) -> None:
        self._barrier.take_back(mark)
        self._outbox.forget_after(size)

    @property
    def forgotten_ms(self) -> int:
        """What was last touched before this time may have been forgotten by the barrier; 0: nothing was ever."""
        return self._barrier.forgotten_ms

    def correct_forgotten(self, before_ms: int) -> None:
        """Have `forgotten_ms` be this: what it was lies in the future."""
        self._barrier.correct_forgotten(before_ms)

    def prefetch(self, operations: Collection[OperationKey]) -> None:
        """Read at once what `recall` is going to be asked of."""
        self._barrier.prefetch(operations)

    def recall(self, instance_id: str, step: str, operation: Operation) -> BarrierRow | None:
        """What is remembered of an operation, None when it was never seen."""
        return self._barrier.recall((instance_id, step, operation))

    def remember(self, row: BarrierRow, now_ms: int) -> bool:
        """Insert `row` if the operation is not remembered yet; whether it was inserted."""
        return self._barrier.remember(row, now_ms)

    def amend(self, row: BarrierRow, now_ms: int) -> None:
        """Replace what is remembered of an operation. Raises StoreError when nothing is: `remember` comes first."""
        self._barrier.amend(row, now_ms)

    def processed(self, event_id: str, event_type: str, now_ms: int) -> bool:
        """Note an event in `processed_events`; False when it was noted before."""
        return self._barrier.processed(event_id, event_type, now_ms)

    def note(self, event_id: str, event_type: str, now_ms: int) -> None:
        """Note an event in `processed_events`, unless it was noted before."""
        self._barrier.note(event_id, event_type, now_ms)

    def add_outbox(self, rows: Sequence[OutboxRow]) -> None:
        """Write messages to be published."""
        self._outbox.add(rows)

    def add_dead_letters(self, rows: Sequence[DeadLetter]) -> None:
        """Keep messages that could not be dealt with."""
        dead_letters.add(self._database, rows)
