"""The consumer: each event goes on to the topic `audit-log`, as it came, through an outbox of its own.

The row is written in the transaction that notes the event as processed, and published by the relay: batches of
100, every 100 ms. One partition, as in the guide: a log is read from one end to the other.
"""

from collections.abc import Sequence

from sagas.core.ids import timed_id
from sagas.ports import OutboxRow, Sql, TopicSpec
from sagas.records import AUDIT_S
from sagas.runtime.consumer import Consumer, Seen
from services.contracts import INVENTORY, ORDERS, PAYMENTS, SHIPPING

AUDIT_LOG = TopicSpec(name="audit-log", partitions=1, expiry_s=AUDIT_S)


def keep(sql: Sql, seen: Seen) -> Sequence[OutboxRow]:
    """Pass one event on, under an id that a repeat has, too."""
    del sql
    return [
        OutboxRow(
            id=timed_id(seen.at_ms, "audit", seen.topic, seen.id),
            event_type=seen.event_type,
            payload=seen.payload,
            created_at=seen.at_ms,
            aggregate_type=seen.topic,
            aggregate_id=seen.key,
            topic=AUDIT_LOG.name,
            key=seen.key,
            headers={"topic": seen.topic, "event-id": seen.id},
        )
    ]


auditlog = Consumer("auditlog", (ORDERS, INVENTORY, PAYMENTS, SHIPPING), keep, publishes=[AUDIT_LOG])
