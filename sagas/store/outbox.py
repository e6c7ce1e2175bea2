"""The outbox, as the orchestrator's and every participant's database have it.

A row is written in the transaction that decided it and marked once the broker has acknowledged it.
A crash in between publishes it again under the same id. Several rows may have the same id: a command
that is sent again, an answer that is given again.
"""

from collections.abc import Sequence

from sagas.ports import OutboxRow
from sagas.store.database import Database
from sagas.store.encoding import blob, pack, pack_id, unpack_headers, unpack_id

_INSERT = """
    INSERT INTO outbox (id, event_type, payload, created_at, published_at,
                        aggregate_type, aggregate_id, topic, key, headers)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

# The index is named so that the query can never become a walk over all that was ever published.
UNPUBLISHED = """
    SELECT seq, id, event_type, payload, created_at, aggregate_type, aggregate_id, topic, key, headers
    FROM outbox INDEXED BY outbox_unpublished
    WHERE published_at IS NULL
    ORDER BY seq
    LIMIT ?
"""
"""The publisher's query."""

# The first time counts: a row published twice keeps the time it was acknowledged first.
_MARK = "UPDATE outbox SET published_at = ? WHERE seq = ? AND published_at IS NULL"


def add(database: Database, rows: Sequence[OutboxRow]) -> None:
    """Write rows in their order, inside a transaction."""
    database.change_many(_INSERT, [_parameters(row) for row in rows])


def unpublished(database: Database, count_max: int) -> list[OutboxRow]:
    """The oldest rows not yet published, in `seq` order."""
    return [
        OutboxRow(
            seq=seq,
            id=unpack_id(stored_id),
            event_type=event_type,
            payload=payload,
            created_at=created_at,
            aggregate_type=aggregate_type,
            aggregate_id=unpack_id(aggregate_id),
            topic=topic,
            key=key,
            headers=unpack_headers(headers),
        )
        for (
            seq,
            stored_id,
            event_type,
            payload,
            created_at,
            aggregate_type,
            aggregate_id,
            topic,
            key,
            headers,
        ) in database.rows(UNPUBLISHED, (count_max,))
    ]


def mark_published(database: Database, seqs: Sequence[int], now_ms: int) -> None:
    """Note that these rows were acknowledged, in a transaction of its own."""
    if seqs:
        with database.transaction():
            database.change_many(_MARK, [(now_ms, seq) for seq in seqs])


def _parameters(row: OutboxRow) -> tuple[object, ...]:
    return (
        pack_id(row.id),
        row.event_type,
        blob(row.payload),
        row.created_at,
        row.published_at,
        row.aggregate_type,
        pack_id(row.aggregate_id),
        row.topic,
        row.key,
        pack(dict(row.headers)),
    )
