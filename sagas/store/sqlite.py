"""The orchestrator's database on SQLite: the `Store` port.

What a batch decided is written by `StoreTransaction.write` in one transaction (`transaction.py`);
what people ask, from this process or another one, is answered here.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from sagas.core.instance import STUCK, Instance
from sagas.errors import DamagedInstance, StoreError
from sagas.ports import (
    AuditRow,
    CaughtUp,
    DeadLetter,
    DefinitionRow,
    FeedRow,
    InstanceFilter,
    JournalRow,
    OutboxRow,
    StoreTransaction,
)
from sagas.store import audit, dead_letters, feed, reading
from sagas.store.cleaning import Cleaner
from sagas.store.database import Database
from sagas.store.encoding import blob, pack_id, unpack_id
from sagas.store.members import LEASE_MS, Members
from sagas.store.migrations import migrate, require_migrated
from sagas.store.outbox import OutboxTable
from sagas.store.processes import MachineProcesses, Processes
from sagas.store.records import damaged_instance, read_journal_row, read_whole_row
from sagas.store.schema import ORCHESTRATOR
from sagas.store.transaction import SqliteTransaction
from sagas.store.written import Written

_NEXT_DUE = "SELECT min(due) FROM (SELECT min(due_ms) AS due FROM timers UNION ALL SELECT min(expires_ms) FROM parked)"

# What people and the loop ask for is answered from the columns; the record stays as it was found.
_SET_ASIDE = "UPDATE instances SET state = ?, is_live = 0 WHERE id = ?"
_FORGET_TIMERS = "DELETE FROM timers WHERE instance_id = ?"

_DEFINITIONS = "SELECT saga, version, content, shape, first_ms FROM definitions ORDER BY saga, version, first_ms"
_KEEP_DEFINITION = """
    INSERT INTO definitions (saga, version, content, shape, first_ms) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""

_CLEANED = "SELECT cleaned FROM instances WHERE id = ?"

_LOST = """
    SELECT DISTINCT instance_id FROM journal
    WHERE NOT EXISTS (SELECT 1 FROM instances WHERE id = journal.instance_id)
      AND NOT EXISTS (SELECT 1 FROM tombstones WHERE instance_id = journal.instance_id)
    ORDER BY instance_id LIMIT ?
"""

_log = logging.getLogger("sagas.store")


class SqliteStore:
    """The orchestrator's database in the file `path`, created if it is missing; ":memory:" for one that is not kept.

    With `read_only=True` nothing is created or changed and an orchestrator may be writing at the same
    time: for asking from another process. Raises StoreError when the file cannot be used, and
    SchemaMismatch when its schema is not this release's.

    It is also the membership of an orchestrator among those that share the file (`members.py`), in which
    `processes` tells who has died. In place of a path it takes an open database.
    """

    def __init__(
        self,
        path: str | Path | Database,
        *,
        read_only: bool = False,
        lease_ms: int = LEASE_MS,
        processes: Processes | None = None,
    ) -> None:
        self._database = path if isinstance(path, Database) else Database(path, read_only=read_only)
        try:
            if read_only:
                require_migrated(self._database, ORCHESTRATOR)
            else:
                migrate(self._database, ORCHESTRATOR)
        except BaseException:
            self._database.close()
            raise
        self._members = Members(self._database, lease_ms, processes or MachineProcesses())
        self._outbox = OutboxTable(self._database)
        self._transaction = SqliteTransaction(self._database, self._members, self._outbox)
        self.cleaner = Cleaner(self._database, self._members)
        """Takes away what is not kept for ever, step by step."""

    def transaction(self) -> AbstractContextManager[StoreTransaction]:
        """One write transaction: committed when the block ends, rolled back when it raises.

        Raises StoreError when another connection keeps the write lock for longer than the busy timeout, and
        OwnershipLost when this orchestrator was held for dead. An instance that is found to be damaged is set
        aside before its DamagedInstance leaves the block: it is stuck, and its timers are gone.
        """
        return _Written(self._database, self._outbox, self._transaction)

    def enter(self, now_ms: int) -> None:
        """Be one of the orchestrators of this database; nothing when this is one already."""
        self._members.enter(now_ms)

    def renew(self, caught_up: CaughtUp | None, now_ms: int) -> None:
        """Say that this orchestrator is alive, and what it has read; None: as far as it said before.

        Raises OwnershipLost when it was held for dead.
        """
        self._members.renew(caught_up, now_ms)

    def read_by_all_ms(self, caught_up: CaughtUp) -> int:
        """Up to when everything was read, by this orchestrator and the others (`reading.py`)."""
        return reading.read_by_all_ms(self._database, caught_up)

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

    def cleaned_until(self, instance_id: str) -> int:
        """Up to which revision the journal of an instance was cleaned away, 0 when all of it is there."""
        return sum(row[0] for row in self._database.rows(_CLEANED, (pack_id(instance_id),)))

    def begin_feed(self) -> None:
        """List every journal row for `unfed` from now on, whoever writes it, and once those that are there already."""
        feed.begin(self._database)

    def unfed(self, count_max: int) -> list[FeedRow]:
        """The oldest journal rows not yet told of, as they were committed; [] while another member tells of them."""
        return feed.unfed(self._database, count_max, self._members.epoch)

    def waiting_to_be_fed(self) -> int:
        """How many journal rows are still to be told of; 0 as long as `begin_feed` was never called."""
        return feed.waiting(self._database)

    def mark_fed(self, seq: int) -> None:
        """Note that all rows up to `seq` were told of, in a transaction of its own."""
        feed.mark_fed(self._database, seq)

    def next_due_ms(self) -> int | None:
        """When the next timer or parked reply is due, None when there is none."""
        due = self._database.value(_NEXT_DUE)
        return None if due is None else int(due)

    def in_flight(self) -> int:
        """How many instances are neither ended nor stuck: a number that is kept, not counted."""
        return int(self._database.value("SELECT value FROM totals WHERE name = 'live'"))

    def instances(self, wanted: InstanceFilter) -> list[Instance]:
        """Instances, newest first; `wanted.before_id` continues behind the last one of the page before."""
        conditions = [
            (condition, value)
            for condition, value in (
                ("saga = ?", wanted.saga),
                ("state = ?", wanted.state),
                ("key = ?", wanted.key),
                ("id < ?", pack_id(wanted.before_id)),
            )
            if value
        ]
        rows = self._database.records(
            "instances",
            " AND ".join(condition for condition, _ in conditions),
            [value for _, value in conditions],
            order_by="id DESC",
            limit=max(0, wanted.count_max),
        )
        return [_shown(row) for row in rows]

    def instance(self, saga: str, key: str) -> Instance | None:
        """The instance of a business key, None when there is none.

        `saga` may be "" when only one saga has the key; raises StoreError when several have it, and when
        the instance is damaged.
        """
        if not key:
            return None  # which a filter would take for any
        found = self.instances(InstanceFilter(saga=saga, key=key))
        if len(found) > 1:
            names = ", ".join(sorted(instance.saga for instance in found))
            raise StoreError(f"the key {key!r} belongs to several sagas ({names}): name the one you mean")
        if found and found[0].version == 0:
            raise StoreError(found[0].reason)
        return found[0] if found else None

    def journal(self, instance_id: str) -> list[JournalRow]:
        """What happened to an instance, oldest first; [] when it is unknown."""
        rows = self._database.records("journal", "instance_id = ?", [pack_id(instance_id)], order_by="revision")
        return [read_journal_row(row) for row in rows]

    def lost_instances(self, count_max: int) -> list[str]:
        """Ids that the journal tells of, whose instance is not there and was not purged: [] in a sound database."""
        return [unpack_id(stored_id) for (stored_id,) in self._database.rows(_LOST, (max(0, count_max),))]

    def missing_runs(self, instance_ids: Collection[str]) -> list[str]:
        """Those of these runs that are not here, and were not purged as far as that is still known."""
        found = [row for sql in (_there, _purged) for row in self._database.rows_in(sql, map(pack_id, instance_ids))]
        return sorted(set(instance_ids) - {unpack_id(stored_id) for (stored_id,) in found})

    def dead_letters(self, count_max: int) -> list[DeadLetter]:
        """The newest dead letters first."""
        return dead_letters.newest(self._database, count_max)

    def audit(self, instance_id: str) -> list[AuditRow]:
        """What people did with an instance, oldest first."""
        return audit.of_instance(self._database, instance_id)

    def counts(self) -> dict[str, int]:
        """How many instances are in each state; reads an index over all instances."""
        return dict(self._database.rows("SELECT state, count(*) FROM instances GROUP BY state ORDER BY state"))

    def definitions(self) -> list[DefinitionRow]:
        """Every version of a saga that was ever loaded on this database."""
        rows = self._database.rows(_DEFINITIONS)
        return [
            DefinitionRow(saga=saga, version=version, content=content, shape=shape, first_ms=first_ms)
            for saga, version, content, shape, first_ms in rows
        ]

    def definition_count(self) -> int:
        """How many versions of sagas were ever loaded on this database."""
        return int(self._database.value("SELECT count(*) FROM definitions"))

    def keep_definitions(self, rows: Sequence[DefinitionRow]) -> None:
        """Write down those that are not there yet, in a transaction of its own."""
        with self._database.transaction():
            self._database.change_many(
                _KEEP_DEFINITION, [(r.saga, r.version, r.content, blob(r.shape), r.first_ms) for r in rows]
            )

    def close(self) -> None:
        """Give up the connection, and the membership. Calling it twice does nothing."""
        try:
            self._members.leave()
        except StoreError as error:
            _log.warning("the others will wait for this orchestrator until its lease is over: %s", error)
        self._database.close()


class _Written(Written[StoreTransaction]):
    """The orchestrator's: asked at its beginning how things stand; a damaged instance is set aside after it."""

    def __init__(self, database: Database, outbox: OutboxTable, transaction: SqliteTransaction) -> None:
        super().__init__(database, outbox, transaction)
        self._database = database
        self._transaction = transaction

    def begin(self) -> None:
        self._transaction.begin()

    def end(self, *, has_committed: bool) -> None:
        self._transaction.end(has_committed=has_committed)

    def fail(self, error: BaseException) -> None:
        if isinstance(error, DamagedInstance):
            self._set_aside(error)

    def _set_aside(self, damage: DamagedInstance) -> None:
        instance_id = pack_id(damage.instance_id)
        with self._database.transaction():
            self._database.change(_SET_ASIDE, (STUCK, instance_id))
            self._database.change(_FORGET_TIMERS, (instance_id,))
        _log.error("%s", damage)


def _shown(row: Mapping[str, Any]) -> Instance:
    try:
        return read_whole_row(row)
    except DamagedInstance as damage:
        # It must be seen, and the rest of the list as well.
        return damaged_instance(row, damage)


def _there(marks: str) -> str:
    return f"SELECT id FROM instances WHERE id IN ({marks})"  # noqa: S608 - question marks only


def _purged(marks: str) -> str:
    return f"SELECT instance_id FROM tombstones WHERE instance_id IN ({marks})"  # noqa: S608 - question marks only
