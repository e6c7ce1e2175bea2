"""The consumer: a row for every text, written in the transaction that notes its event as processed."""

from collections.abc import Sequence

from sagas.core.envelope import Header
from sagas.core.messages import tag_of
from sagas.ports import Migration, OutboxRow, Sql
from sagas.runtime.consumer import Consumer, Seen
from services.contracts import INVENTORY, ORDERS, PAYMENTS, SHIPPING, OrderCreated
from services.notifications.rules import text_of

_TABLE = """
    CREATE TABLE notifications (
        event_id TEXT NOT NULL,
        order_id TEXT NOT NULL,
        event_type TEXT NOT NULL,
        text TEXT NOT NULL,
        at_ms INTEGER NOT NULL
    ) STRICT
"""


def _create(sql: Sql) -> None:
    sql.execute(_TABLE)
    sql.execute("CREATE INDEX notifications_order ON notifications (order_id)")


MIGRATIONS: tuple[Migration, ...] = (("notifications-001", _create),)


def notify(sql: Sql, seen: Seen) -> Sequence[OutboxRow]:
    """Tell the customer, if there is something to tell."""
    # An order is asked for and confirmed by the same type of event; only the confirmation answers an instance.
    is_request = seen.event_type == tag_of(OrderCreated) and Header.INSTANCE not in seen.headers
    text = None if is_request else text_of(seen.event_type, seen.key)
    if text is not None:
        # No unique key here on purpose: that each event is told once is the kit's promise, and tests hold it to that.
        sql.execute(
            "INSERT INTO notifications (event_id, order_id, event_type, text, at_ms) VALUES (?, ?, ?, ?, ?)",
            [seen.id, seen.key, seen.event_type, text, seen.at_ms],
        )
    return ()


notifications = Consumer("notifications", (ORDERS, INVENTORY, PAYMENTS, SHIPPING), notify)
