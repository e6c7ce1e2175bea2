"""Messages that could not be dealt with, as the orchestrator's and every participant's database keep them.

A letter is written once and settled once: a person has it sent again, or says that it needs nothing. It is
never removed, and what was done with it is never changed: triggers refuse both.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sagas.ports import DeadLetter
from sagas.records import Settled
from sagas.store.database import Database
from sagas.store.encoding import blob, pack, pack_id, unpack_headers, unpack_id

_INSERT = """
    INSERT INTO dead_letters (received_ms, topic, "partition", "offset", message_id, reason, payload, headers,
                              key, size, is_whole, attempts)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_SETTLE = """
    UPDATE dead_letters SET settled_as = ?, settled_at = ?, settled_by = ?, settle_reason = ?
    WHERE id = ? AND settled_as = ''
"""


def add(database: Database, rows: Sequence[DeadLetter]) -> None:
    """Keep messages, inside a transaction."""
    database.insert_many(_INSERT, [_parameters(row) for row in rows])


def newest(
    database: Database, count_max: int, *, is_open_only: bool = False, before_id: int | None = None
) -> list[DeadLetter]:
    """The newest dead letters first: all or the unsettled ones, from below `before_id` on."""
    conditions = ["settled_as = ''"] * is_open_only + ["id < ?"] * (before_id is not None)
    parameters = [] if before_id is None else [before_id]
    rows = database.records(
        "dead_letters", " AND ".join(conditions), parameters, order_by="id DESC", limit=max(0, count_max)
    )
    return [_read(row) for row in rows]


def one(database: Database, letter_id: int) -> DeadLetter | None:
    """The letter with this number, None when there is none."""
    for row in database.records("dead_letters", "id = ?", [letter_id], order_by="id"):
        return _read(row)
    return None


def settle(database: Database, letter_id: int, settled_as: Settled, who: str, reason: str, now_ms: int) -> bool:
    """Note what was done with a letter, inside a transaction; False when something was done with it before."""
    return database.change(_SETTLE, (settled_as, now_ms, who, reason, letter_id)) == 1


def _parameters(row: DeadLetter) -> tuple[object, ...]:
    return (
        row.received_ms,
        row.topic,
        row.partition,
        row.offset,
        pack_id(row.message_id),
        row.reason,
        blob(row.payload),
        pack(dict(row.headers)),
        row.key,
        row.size,
        int(row.is_whole),
        row.attempts,
    )


def _read(row: Mapping[str, Any]) -> DeadLetter:
    return DeadLetter(
        id=row["id"],
        received_ms=row["received_ms"],
        topic=row["topic"],
        partition=row["partition"],
        offset=row["offset"],
        message_id=unpack_id(row["message_id"]),
        reason=row["reason"],
        payload=row["payload"],
        headers=unpack_headers(row["headers"]),
        key=row["key"],
        size=row["size"],
        is_whole=bool(row["is_whole"]),
        attempts=row["attempts"],
        settled_as=row["settled_as"],
        settled_ms=row["settled_at"],
        settled_by=row["settled_by"],
        settle_reason=row["settle_reason"],
    )
