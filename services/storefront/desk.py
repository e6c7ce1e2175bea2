"""Taking an order: the key, the answer and the event to publish, in one transaction.

Theory of operation. The client's Idempotency-Key is looked up under the write lock. New: the order is priced, and its
row and its event are committed together; the relay publishes the event afterwards, whenever the broker can be had. So
202 means that the order is on our disk and will be published, not that it was. It is read first as its saga reads it:
what that could not read would be a dead letter, and the order would be accepted for ever. Known: what was answered
then is answered again, if the request is the same; another one under the same key is a conflict. The order's id is
derived from the key and the time, and sorts by time.
"""

from datetime import UTC, datetime

import msgspec

from sagas.core.envelope import Undecodable, decode_data, decode_envelope, encode_message
from sagas.core.hashing import short_hash
from sagas.core.ids import derived_id, timed_id
from sagas.core.messages import tag_of
from sagas.ports import OutboxRow, ParticipantStore
from sagas.runtime.cleaning import Chore, Cleaning
from services.contracts import ORDERS, OrderCreated
from services.storefront import tables
from services.storefront.catalog import total_of
from services.storefront.problem import FieldError
from services.storefront.shapes import OrderAccepted, PlaceOrder, links_of
from services.storefront.tables import Placement


class Conflict(msgspec.Struct, frozen=True):
    """The key has placed another order, `order_id`."""

    order_id: str


Outcome = Placement | Conflict | tuple[FieldError, ...]
"""The order as it was placed, now or earlier; or why it is not."""


def place(store: ParticipantStore, key: str, wanted: PlaceOrder, now_ms: int, topic: str = ORDERS.events) -> Outcome:
    """Place the order of `key`, once, by an event to `topic`. Raises StoreError; then nothing was placed."""
    fingerprint = short_hash(msgspec.json.encode(wanted))
    with store.transaction() as transaction:
        known = tables.find(transaction.sql, key)
        if known is not None:
            return known if known.fingerprint == fingerprint else Conflict(known.order_id)
        total = total_of(wanted.items, wanted.total)
        if not isinstance(total, str):
            return total
        order_id = timed_id(now_ms, "storefront", key)
        event = _event(order_id, wanted, total, now_ms, topic)
        problem = _problem_of(event.payload)
        if problem:
            return (FieldError("#", problem),)
        placement = Placement(
            key=key,
            order_id=order_id,
            fingerprint=fingerprint,
            answer=_answer(order_id, total, now_ms),
            accepted_ms=now_ms,
        )
        tables.write_down(transaction.sql, placement)
        transaction.add_outbox([event])
        return placement


def find(store: ParticipantStore, order_id: str) -> Placement | None:
    """What was answered for an order, None when it was not placed here."""
    with store.transaction() as transaction:
        return tables.find_order(transaction.sql, order_id)


def forgetting(store: ParticipantStore) -> Cleaning:
    """What forgets the keys that are old enough: a few at each step, the next soon while there are more."""

    def step(before_ms: int, _: int) -> bool:
        with store.transaction() as transaction:
            return tables.forget(transaction.sql, before_ms)

    return Cleaning([Chore(tables.KEYS_KEPT_MS, step)])


def _answer(order_id: str, total: str, now_ms: int) -> bytes:
    accepted = OrderAccepted(
        order_id=order_id,
        total=total,
        accepted_at=datetime.fromtimestamp(now_ms / 1000, UTC),
        links=links_of(order_id),
    )
    return msgspec.json.encode(accepted)


def _problem_of(payload: bytes) -> str:
    """Why the saga could not read what is published, "" when it can."""
    envelope = decode_envelope(payload, ORDERS.key)
    if isinstance(envelope, Undecodable):
        return envelope.reason
    event = decode_data(OrderCreated, ORDERS.key, envelope.key, envelope.data)
    return event.reason if isinstance(event, Undecodable) else ""


def _event(order_id: str, wanted: PlaceOrder, total: str, now_ms: int, topic: str) -> OutboxRow:
    event = OrderCreated(order_id=order_id, items=wanted.items, total=total, card=wanted.card, address=wanted.address)
    message_id = derived_id(order_id, "placed")
    return OutboxRow(
        id=message_id,
        event_type=tag_of(OrderCreated),
        payload=encode_message(event, message_id=message_id, key_field=ORDERS.key, key=order_id, now_ms=now_ms),
        created_at=now_ms,
        aggregate_type="order",
        aggregate_id=order_id,
        topic=topic,
        key=order_id,
    )
