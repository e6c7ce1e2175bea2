"""The consumer: how many events of each type came in each minute.

A figure for a chart. Offsets are stored before the work, so nothing has to be remembered of any single event; what
a crash costs is the batch that was being counted. A dead letter that a person requeues is counted as another event.
"""

from collections.abc import Sequence

from sagas.ports import Migration, OutboxRow, Sql
from sagas.runtime.consumer import Consumer, Seen
from services.contracts import INVENTORY, ORDERS, PAYMENTS, SHIPPING

MINUTE_MS = 60_000

_TABLE = """
    CREATE TABLE events_by_minute (
        minute_ms INTEGER NOT NULL,
        event_type TEXT NOT NULL,
        events INTEGER NOT NULL,
        PRIMARY KEY (minute_ms, event_type)
    ) STRICT, WITHOUT ROWID
"""
_COUNT = """
    INSERT INTO events_by_minute (minute_ms, event_type, events) VALUES (?, ?, 1)
    ON CONFLICT (minute_ms, event_type) DO UPDATE SET events = events + 1
"""


def _create(sql: Sql) -> None:
    sql.execute(_TABLE)


MIGRATIONS: tuple[Migration, ...] = (("analytics-001", _create),)


def count(sql: Sql, seen: Seen) -> Sequence[OutboxRow]:
    """Count one event."""
    sql.execute(_COUNT, [seen.at_ms - seen.at_ms % MINUTE_MS, seen.event_type])
    return ()


analytics = Consumer("analytics", (ORDERS, INVENTORY, PAYMENTS, SHIPPING), count, delivery="at-most-once")
