"""The barrier and the processed events, as one transaction of a participant knows and changes them.

Theory of operation. A transaction has the write lock from its beginning: what it has read of these tables stays true
until it ends. So `prefetch` reads what is known of all commands of a batch, with one query, `recall` answers from that,
and what is new is kept in memory and written with one statement a table just before the commit, in the same
transaction. A statement by itself, between those of the handlers, costs three times as much (DESIGN.md, decision 94).
Whether an event was processed is another matter: who has to know it asks the table by inserting it (`processed`).

What a savepoint takes back is taken back here as well: each change is in a log with what was known before it, and the
log is undone to where it stood when the savepoint began. The log is also the list of what is to be written.
"""

from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from typing import Any

from sagas.errors import StoreError
from sagas.records import BarrierRow, OperationKey
from sagas.store.database import Database
from sagas.store.encoding import StoredId, blob, pack_id, unpack_id
from sagas.store.lists import IN_LIST_SIZES, in_parts

_COLUMNS = "instance_id, step, operation, command_hash, answer, answer_data, is_blocked, is_refusal"
_RECALL = f"""
    SELECT {_COLUMNS} FROM barrier WHERE instance_id = ? AND step = ? AND operation = ?
"""  # noqa: S608 - our own words only
_RECALL_FIRST = f"""
    SELECT before_ms, {_COLUMNS} FROM barrier_forgotten
    LEFT JOIN barrier ON instance_id = ? AND step = ? AND operation = ?
"""  # noqa: S608 - our own words only
_FORGOTTEN = "SELECT before_ms FROM barrier_forgotten"
_CORRECT = "UPDATE barrier_forgotten SET before_ms = ?"
_REMEMBER = f"""
    INSERT INTO barrier ({_COLUMNS}, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""  # noqa: S608 - our own words only
_AMEND = """
    UPDATE barrier SET command_hash = ?, answer = ?, answer_data = ?, is_blocked = ?, is_refusal = ?, updated_at = ?
    WHERE instance_id = ? AND step = ? AND operation = ?
"""
_PROCESSED = """
    INSERT INTO processed_events (event_id, processed_at, event_type) VALUES (?, ?, ?)
    ON CONFLICT (event_id) DO NOTHING
"""

_Known = tuple[BarrierRow | None, int, int]
"""A row, None where there is none; when it was created, 0 unless it is still to be written; when it was touched."""

Mark = tuple[int, int]
"""Where a savepoint began."""

_ABSENT: _Known = (None, 0, 0)


class BarrierTable:
    """What is known and new of operations and processed events in the transaction that is open."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._operations: dict[OperationKey, _Known] = {}
        self._log: list[tuple[OperationKey, _Known]] = []
        self._noted: dict[str, tuple[StoredId, int, str]] = {}
        self._forgotten_ms: int | None = None

    def clear(self) -> None:
        """Know nothing any more: the transaction has ended."""
        self._operations.clear()
        self._log.clear()
        self._noted.clear()
        self._forgotten_ms = None

    @property
    def forgotten_ms(self) -> int:
        """What was last touched before this time may have been forgotten; 0: nothing was ever. Read once."""
        if self._forgotten_ms is None:
            self._forgotten_ms = int(self._database.value(_FORGOTTEN))
        return self._forgotten_ms

    def correct_forgotten(self, before_ms: int) -> None:
        """Have this be the time instead."""
        self._database.change(_CORRECT, (before_ms,))
        self._forgotten_ms = before_ms

    def prefetch(self, operations: Collection[OperationKey]) -> None:
        """Read what is known of these operations, in one query."""
        known = self._operations
        if len(operations) == 1:
            self.recall(*operations)
        unknown = [key for key in operations if key not in known]
        for part in in_parts(unknown):
            known.update(dict.fromkeys(part, _ABSENT))
            wanted = [value for key in part for value in _stored_key(key)]
            self._take_in(self._database.rows(_recall_many(len(part)), wanted))

    def recall(self, key: OperationKey) -> BarrierRow | None:
        """What is remembered of an operation, None when it was never seen."""
        known = self._operations.get(key)
        if known is None:
            self._operations[key] = _ABSENT
            if self._forgotten_ms is None:
                # Whoever is not remembered may be forgotten: that is asked next, and one statement less is 4 µs less.
                ((self._forgotten_ms, *row),) = self._database.rows(_RECALL_FIRST, _stored_key(key))
                self._take_in([row] if row[0] is not None else [])
            else:
                self._take_in(self._database.rows(_RECALL, _stored_key(key)))
            known = self._operations[key]
        return known[0]

    def remember(self, row: BarrierRow, now_ms: int) -> bool:
        """Have `row` inserted if the operation is not remembered yet; whether it will be."""
        self._database.require_transaction()
        key = (row.instance_id, row.step, row.operation)
        if self.recall(key) is not None:
            return False
        self._log.append((key, _ABSENT))
        self._operations[key] = (row, now_ms, now_ms)
        return True

    def amend(self, row: BarrierRow, now_ms: int) -> None:
        """Replace what is remembered of an operation. Raises StoreError when nothing is."""
        self._database.require_transaction()
        key = (row.instance_id, row.step, row.operation)
        if self.recall(key) is None:
            raise StoreError(
                f"{row.operation} of step {row.step!r} of instance {row.instance_id} is not remembered: "
                "it cannot be amended; remember it first"
            )
        before = self._operations[key]
        created_ms = before[1]
        if not created_ms:
            self._database.change(_AMEND, (*_state(row), now_ms, *_stored_key(key)))
        self._log.append((key, before))
        self._operations[key] = (row, created_ms, now_ms)

    def processed(self, event_id: str, event_type: str, now_ms: int) -> bool:
        """Note an event; False when it was noted before."""
        if event_id in self._noted:
            return False
        return self._database.change(_PROCESSED, (pack_id(event_id), now_ms, event_type)) == 1

    def note(self, event_id: str, event_type: str, now_ms: int) -> None:
        """Note an event whether it was noted before or not: then it stays as it was noted first."""
        self._database.require_transaction()
        if event_id not in self._noted:
            self._noted[event_id] = (pack_id(event_id), now_ms, event_type)

    @property
    def mark(self) -> Mark:
        """Where a savepoint begins."""
        return len(self._log), len(self._noted)

    def take_back(self, mark: Mark) -> None:
        """Undo what came after `mark`."""
        operations, events = mark
        while len(self._log) > operations:
            key, before = self._log.pop()
            self._operations[key] = before
        while len(self._noted) > events:
            self._noted.popitem()

    def write(self) -> None:
        """Write what is new, just before the commit."""
        changed = [self._operations[key] for key in dict.fromkeys(key for key, _ in self._log)]
        self._database.insert_many(
            _REMEMBER,
            [
                (*_stored_key((row.instance_id, row.step, row.operation)), *_state(row), created_ms, updated_ms)
                for row, created_ms, updated_ms in changed
                if row is not None and created_ms
            ],
        )
        self._database.insert_many(_PROCESSED, self._noted.values())

    def _take_in(self, rows: Iterable[Sequence[Any]]) -> None:
        for stored_id, step, operation, command_hash, answer, answer_data, is_blocked, is_refusal in rows:
            row = BarrierRow(
                instance_id=unpack_id(stored_id),
                step=step,
                operation=operation,
                command_hash=command_hash,
                answer=answer,
                answer_data=answer_data,
                is_blocked=bool(is_blocked),
                is_refusal=None if is_refusal is None else bool(is_refusal),
            )
            self._operations[row.instance_id, row.step, row.operation] = (row, 0, 0)


def _stored_key(key: OperationKey) -> tuple[StoredId, str, str]:
    return pack_id(key[0]), key[1], key[2]


def _state(row: BarrierRow) -> tuple[bytearray, str, bytearray, int, int | None]:
    # As whole numbers: for a bool the driver first searches for an adapter.
    is_refusal = None if row.is_refusal is None else int(row.is_refusal)
    return blob(row.command_hash), row.answer, blob(row.answer_data), int(row.is_blocked), is_refusal


@lru_cache(maxsize=len(IN_LIST_SIZES))
def _recall_many(size: int) -> str:
    marks = ",".join(["(?, ?, ?)"] * size)
    return f"""
        SELECT {_COLUMNS} FROM barrier WHERE (instance_id, step, operation) IN (VALUES {marks})
    """  # noqa: S608 - question marks only
