"""What one batch reads and writes: the `StoreTransaction` port.

Theory of operation. A batch, or each part of a large one, reads what it needs, decides, and hands all of it to `write`.
Each table gets its rows together then (`insert_many`, `executemany`). An instance is updated only where it still
has the revision it was read with, and a new one is inserted only if its saga has none for the business key; a row
too few means that somebody else was here first. Then StaleRevision leaves the caller's transaction, SQLite
rolls it back, and the caller reads and decides again. The order of the writes matters twice: what is
cleared and unparked goes before what is set and parked, because a batch may replace a row.

What every batch asks and what hardly ever changes is asked at once when the transaction begins (`begin`): whether this
orchestrator is still a member, and whether anything is parked, purged or fed to others. The write lock is held by then,
so that nobody else can change the answers before the commit.
"""

import logging
from collections.abc import Collection, Iterable, Sequence

from sagas.core.instance import Instance
from sagas.errors import StaleRevision, StoreError
from sagas.ports import Changes, ParkedRow, TimerRow
from sagas.store import audit, dead_letters, feed
from sagas.store.database import Database, IntegrityError, Row
from sagas.store.encoding import pack_id, unpack_id
from sagas.store.known import KnownInstances
from sagas.store.members import Members
from sagas.store.outbox import OutboxTable
from sagas.store.records import (
    is_live,
    journal_parameters,
    pack_instance,
    parked_parameters,
    read_instance,
    read_parked,
    read_timer,
    timer_parameters,
)

UNREADABLE_MS = 60_000
"""After how long a timer is looked at again that cannot be read: a newer release's, or damaged."""

_log = logging.getLogger("sagas.store")

_CREATE = """
    INSERT INTO instances (id, saga, key, state, is_live, revision, updated_ms, record)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_UPDATE = """
    UPDATE instances SET state = ?, is_live = ?, revision = ?, updated_ms = ?, record = ?
    WHERE id = ? AND revision = ?
"""
_GO_ON = """
    UPDATE instances SET state = ?, revision = ?, updated_ms = ?, record = ?
    WHERE id = ? AND revision = ? AND is_live
"""
_ADD_JOURNAL = """
    INSERT INTO journal (instance_id, revision, at_ms, verdict, message_id, note, input, moves)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_SET_TIMER = """
    INSERT INTO timers (instance_id, name, due_ms, fire) VALUES (?, ?, ?, ?)
    ON CONFLICT (instance_id, name) DO UPDATE SET due_ms = excluded.due_ms, fire = excluded.fire
"""
_CLEAR_TIMER = "DELETE FROM timers WHERE instance_id = ? AND name = ?"
_DUE_TIMERS = """
    SELECT instance_id, name, due_ms, fire FROM timers
    WHERE due_ms <= ? ORDER BY due_ms, instance_id, name LIMIT ?
"""
_PUT_OFF = "UPDATE timers SET due_ms = ? WHERE instance_id = ? AND name = ?"
_PARK = "INSERT INTO parked (message_id, instance_id, received_ms, expires_ms, record) VALUES (?, ?, ?, ?, ?)"
_UNPARK = "DELETE FROM parked WHERE message_id = ?"
_PARKED_EXPIRED = """
    SELECT message_id, instance_id, received_ms, expires_ms, record FROM parked
    WHERE expires_ms <= ? ORDER BY expires_ms, rowid LIMIT ?
"""
_IS_PURGED = "SELECT EXISTS (SELECT 1 FROM tombstones WHERE instance_id = ?)"
_SEE = "INSERT INTO inbox (message_id, seen_at) VALUES (?, ?)"
FORGET = "DELETE FROM inbox WHERE message_id = ?"
_STANDING = """
    SELECT EXISTS (SELECT 1 FROM members WHERE epoch = ?),
           EXISTS (SELECT 1 FROM parked),
           EXISTS (SELECT 1 FROM tombstones),
           (SELECT value FROM totals WHERE name = 'feeding')
"""


class SqliteTransaction:
    """Reads and writes that are committed together. Valid inside `SqliteStore.transaction()` only."""

    def __init__(self, database: Database, members: Members, outbox: OutboxTable) -> None:
        self._database = database
        self._members = members
        self._outbox = outbox
        self._known = KnownInstances(database)
        self._any_parked = self._any_purged = self._is_fed = True

    def begin(self) -> None:
        """Ask how things stand, under the write lock. Raises OwnershipLost when we were held for dead."""
        if self._known.begin():
            return  # it was asked before, and nobody has written since but this batch's predecessors
        ((is_member, parked, purged, fed),) = self._database.rows(_STANDING, (self._members.epoch,))
        self._members.require_found(bool(is_member))
        self._any_parked, self._any_purged, self._is_fed = bool(parked), bool(purged), bool(fed)

    def end(self, *, has_committed: bool) -> None:
        """Forget what is not in the database, if it was rolled back."""
        self._known.end(has_committed=has_committed)

    def seen(self, message_ids: Collection[str]) -> set[str]:
        """Which of these messages were dealt with before."""
        found = self._database.rows_in(_inbox_in, map(pack_id, message_ids))
        return {unpack_id(message_id) for (message_id,) in found}

    def load(self, instance_ids: Collection[str]) -> dict[str, Instance]:
        """Instances by id; those that do not exist are missing. Raises DamagedInstance."""
        known = {instance_id: self._known.get(instance_id) for instance_id in instance_ids}
        found = {instance_id: instance for instance_id, instance in known.items() if instance is not None}
        if len(found) < len(known):
            asked = [pack_id(instance_id) for instance_id in known if instance_id not in found]
            read = self._read(self._database.rows_in(_instances_in, asked))
            found.update((instance.id, instance) for instance in read)
        return found

    def find(self, saga: str, keys: Collection[str]) -> dict[str, Instance]:
        """Instances of `saga` by business key; those that do not exist are missing. Raises DamagedInstance."""
        found = self._database.rows_in(_keys_in, keys, saga)
        return {instance.key: instance for instance in self._read(found)}

    def purged(self, saga: str, keys: Collection[str]) -> set[str]:
        """Those of these business keys whose run of `saga` was purged, as far as that is still known."""
        if not keys or not self._any_purged:
            return set()
        return {key for (key,) in self._database.rows_in(_tombstones_in, keys, saga)}

    def is_purged(self, instance_id: str) -> bool:
        """Whether this run was purged, as far as that is still known."""
        return self._any_purged and bool(self._database.value(_IS_PURGED, (pack_id(instance_id),)))

    def due_timers(self, now_ms: int, count_max: int) -> list[TimerRow]:
        """Timers due at or before `now_ms`, the longest overdue first; one that cannot be read is put off."""
        timers: list[TimerRow] = []
        for row in self._database.rows(_DUE_TIMERS, (now_ms, count_max)):
            try:
                timers.append(read_timer(*row))
            except StoreError as error:
                _log.error("%s: its run waits for it", error)
                self._database.change(_PUT_OFF, (now_ms + UNREADABLE_MS, *row[:2]))
        return timers

    def parked_for(self, instance_ids: Collection[str]) -> list[ParkedRow]:
        """Parked replies of these instances, oldest first, without those that cannot be read."""
        # Nearly always nothing is parked at all, and a long list costs more than asking for that.
        if not self._any_parked:
            return []
        found = self._database.rows_in(_parked_in, map(pack_id, instance_ids))
        # Sorted here and not by the query: a long list is asked for in parts.
        found.sort(key=lambda row: (row[2], row[-1]))
        return [row for row in (read_parked(*row[:-1]) for row in found) if not row.incoming.defect]

    def parked_expired(self, now_ms: int, count_max: int) -> list[ParkedRow]:
        """Parked replies whose time is over at `now_ms`, the longest overdue first."""
        return [read_parked(*row) for row in self._database.rows(_PARKED_EXPIRED, (now_ms, count_max))]

    def write(self, changes: Changes) -> None:
        """Write everything.

        Raises StaleRevision when an updated instance no longer has the revision it was read with, and
        when a created one meets another of the same saga and key: read again, then the message that
        would have started it is a duplicate. Let it leave the transaction: what was written before it
        is then rolled back.
        """
        database = self._database
        if changes.updated:
            self._update(changes.updated)
            self._known.note([instance for instance, _ in changes.updated])
        if changes.created:
            self._create(changes.created)
            self._known.note(changes.created)
        database.insert_many(_ADD_JOURNAL, map(journal_parameters, changes.journal))
        if self._is_fed:
            feed.enter(database, changes.journal)
        database.change_many(
            _CLEAR_TIMER, [(pack_id(instance_id), name) for instance_id, name in changes.timers_cleared]
        )
        database.insert_many(_SET_TIMER, map(timer_parameters, changes.timers_set))
        database.insert_many(_SEE, [(pack_id(message_id), changes.now_ms) for message_id in changes.inbox])
        if changes.forgotten:
            database.change_many(FORGET, [(pack_id(message_id),) for message_id in changes.forgotten])
        self._outbox.add(changes.outbox)
        self._outbox.write()
        # These have something now and then only.
        if changes.unparked:
            database.change_many(_UNPARK, [(pack_id(message_id),) for message_id in changes.unparked])
        if changes.parked:
            database.insert_many(_PARK, map(parked_parameters, changes.parked))
            self._any_parked = True
        if changes.dead_letters:
            dead_letters.add(database, changes.dead_letters)
        if changes.audit:
            audit.add(database, changes.audit)

    def _read(self, rows: Iterable[Row]) -> list[Instance]:
        instances = [read_instance(*row) for row in rows]
        self._known.note(instances)
        return instances

    def _update(self, updated: Sequence[tuple[Instance, int]]) -> None:
        going_on: list[Sequence[object]] = []
        others: list[Sequence[object]] = []
        for i, revision in updated:
            record, stored_id = pack_instance(i), pack_id(i.id)
            # Most were live and stay it: a statement that leaves `is_live` alone runs no trigger, and costs less.
            if i.is_live:
                going_on.append((i.state, i.revision, i.updated_ms, record, stored_id, revision))
            else:
                others.append((i.state, 0, i.revision, i.updated_ms, record, stored_id, revision))
        changed = self._database.change_many(_GO_ON, going_on)
        if changed != len(going_on):
            # One was freed, or is stale; those that went on have another revision by now.
            others += ((state, 1, *rest) for state, *rest in going_on)
        changed += self._database.change_many(_UPDATE, others)
        if changed != len(updated):
            raise self._stale(updated)

    def _create(self, created: Sequence[Instance]) -> None:
        try:
            self._database.insert_many(
                _CREATE,
                [
                    (pack_id(i.id), i.saga, i.key, i.state, is_live(i), i.revision, i.updated_ms, pack_instance(i))
                    for i in created
                ],
            )
        except IntegrityError as error:
            self._known.forget()
            # Those that met nobody are there as they were given, or not there: with some others it is one statement.
            runs = ((instance, self.find(instance.saga, [instance.key]).get(instance.key)) for instance in created)
            met = (instance for instance, there in runs if there not in (None, instance))
            raise StaleRevision(next(met, created[-1]).id, 0) from error

    def _stale(self, updated: Sequence[tuple[Instance, int]]) -> StaleRevision:
        """Names the first instance that did not get in: the ones before it are there as they were given."""
        self._known.forget()
        there = self.load([instance.id for instance, _ in updated])
        instance, revision = next((pair for pair in updated if there.get(pair[0].id) != pair[0]), updated[-1])
        return StaleRevision(instance.id, revision)


def _inbox_in(marks: str) -> str:
    return f"SELECT message_id FROM inbox WHERE message_id IN ({marks})"  # noqa: S608 - question marks only


def _instances_in(marks: str) -> str:
    return f"SELECT id, revision, state, record FROM instances WHERE id IN ({marks})"  # noqa: S608 - question marks only


def _keys_in(marks: str) -> str:
    return f"""
        SELECT id, revision, state, record FROM instances WHERE saga = ? AND key IN ({marks})
    """  # noqa: S608 - question marks only


def _tombstones_in(marks: str) -> str:
    return f"SELECT key FROM tombstones WHERE saga = ? AND key IN ({marks})"  # noqa: S608 - question marks only


def _parked_in(marks: str) -> str:
    return f"""
        SELECT message_id, instance_id, received_ms, expires_ms, record, rowid FROM parked
        WHERE instance_id IN ({marks})
    """  # noqa: S608 - question marks only
