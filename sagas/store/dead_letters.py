"""Messages that could not be dealt with, as the orchestrator's and every participant's database keep them."""

from collections.abc import Sequence

from sagas.ports import DeadLetter
from sagas.store.database import Database
from sagas.store.encoding import blob, pack, pack_id, unpack_headers, unpack_id

_INSERT = """
    INSERT INTO dead_letters (received_ms, topic, "partition", "offset", message_id, reason, payload, headers)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""


def add(database: Database, rows: Sequence[DeadLetter]) -> None:
    """Keep messages, inside a transaction."""
    database.change_many(
        _INSERT,
        [
            (
                row.received_ms,
                row.topic,
                row.partition,
                row.offset,
                pack_id(row.message_id),
                row.reason,
                blob(row.payload),
                pack(dict(row.headers)),
            )
            for row in rows
        ],
    )


def newest(database: Database, count_max: int) -> list[DeadLetter]:
    """The newest dead letters first."""
    return [
        DeadLetter(
            id=row["id"],
            received_ms=row["received_ms"],
            topic=row["topic"],
            partition=row["partition"],
            offset=row["offset"],
            message_id=unpack_id(row["message_id"]),
            reason=row["reason"],
            payload=row["payload"],
            headers=unpack_headers(row["headers"]),
        )
        for row in database.records("dead_letters", order_by="id DESC", limit=max(0, count_max))
    ]
