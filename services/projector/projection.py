"""The read model's projection: what the services and the saga say of an order, folded into its rows.

The services' topics tell what each of them did, also before a saga has begun or when the orchestrator is away; the
event store tells what the saga made of it. `rules.py` says what becomes of a row.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from sagas import Event, Key, Participant
from sagas.core.envelope import Header
from sagas.core.ids import is_message_id
from sagas.ports import Sql
from sagas.runtime.projection import Projection, Seen
from services.contracts import (
    INVENTORY,
    ORDERS,
    PAYMENTS,
    SHIPPING,
    InventoryFailed,
    InventoryReleased,
    InventoryReserved,
    Items,
    OrderCompensated,
    OrderCreated,
    OrderRejected,
    OrderShipped,
    PaymentFailed,
    PaymentProcessed,
    PaymentRefunded,
    ShipmentFailed,
)
from services.money import Amount
from services.projector import rules
from services.projector.rules import Happened
from services.readmodel import tables
from services.readmodel.tables import OrderRow

EVENT_STORE = Participant("event-store", key="key")
"""The journal of every saga, as the orchestrator tells it: one message a row, those of an order in their order."""

SAGA = "order"
"""The one whose runs are orders: others may be in the event store too."""

Revision = Annotated[int, Meta(ge=1, le=2**53 - 1)]
TimeMs = Annotated[int, Meta(ge=0, le=253_402_300_799_999)]


class SagaInput(msgspec.Struct, frozen=True):
    """What the saga decided upon, as far as it is read here; `data` is the saga's own, or an answer's."""

    type: str
    step: str = ""
    operation: Literal["do", "undo"] = "do"
    event_type: str = ""
    data: msgspec.Raw = msgspec.Raw(b"{}")


class SagaHappened(Event, tag="saga.happened"):
    """One entry of a saga's journal."""

    key: Key
    saga: str
    revision: Revision
    at_ms: TimeMs
    verdict: str
    input: SagaInput
    path: tuple[str, ...] = ()
    words: str = ""
    instance_id: str = ""


class _Ordered(msgspec.Struct, frozen=True):
    """What the order saga begins with, as far as it is read here."""

    items: Items
    total: Amount
    address: str


class _Refused(msgspec.Struct, frozen=True):
    reason: str = ""


_ordered = msgspec.json.Decoder(_Ordered)
_refused = msgspec.json.Decoder(_Refused)

_SAID: Mapping[type[Event], str] = {
    OrderRejected: "rejected",
    OrderCompensated: "cancelled",
    InventoryReserved: "reserved",
    InventoryFailed: "failed",
    InventoryReleased: "released",
    PaymentProcessed: "processed",
    PaymentFailed: "failed",
    PaymentRefunded: "refunded",
    OrderShipped: "shipped",
    ShipmentFailed: "failed",
}
"""What a service's event comes to in its column."""

orders_view = Projection(tables.NAME, tables.MIGRATIONS)


@orders_view.on(ORDERS)
def placed(sql: Sql, event: OrderCreated, seen: Seen) -> None:
    """A client has placed it, or the orders service has written it down."""
    row = _row(sql, event.order_id, seen.at_ms)
    if Header.INSTANCE in seen.headers:
        row = _said(row, seen, "booking", "created")
    tables.save(sql, rules.ordered(row, rules.FROM_CLIENT, event.items, event.total, event.address))


@orders_view.on(ORDERS)
def booked(sql: Sql, event: OrderRejected | OrderCompensated, seen: Seen) -> None:
    """The orders service has refused it, or cancelled it."""
    tables.save(sql, _said(_row(sql, event.order_id, seen.at_ms), seen, "booking", _SAID[type(event)]))


@orders_view.on(INVENTORY)
def shelved(sql: Sql, event: InventoryReserved | InventoryFailed | InventoryReleased, seen: Seen) -> None:
    """The items are set aside, or back, or were not to be had."""
    tables.save(sql, _said(_row(sql, event.order_id, seen.at_ms), seen, "inventory", _SAID[type(event)]))


@orders_view.on(PAYMENTS)
def paid(sql: Sql, event: PaymentProcessed | PaymentFailed | PaymentRefunded, seen: Seen) -> None:
    """The money is captured, or given back, or was not to be had."""
    more = {"payment_id": event.payment_id} if isinstance(event, PaymentProcessed) else {}
    tables.save(sql, _said(_row(sql, event.order_id, seen.at_ms), seen, "payment", _SAID[type(event)], **more))


@orders_view.on(SHIPPING)
def shipped(sql: Sql, event: OrderShipped | ShipmentFailed, seen: Seen) -> None:
    """The parcel is on its way, or cannot be."""
    more = {"tracking": event.tracking} if isinstance(event, OrderShipped) else {}
    tables.save(sql, _said(_row(sql, event.order_id, seen.at_ms), seen, "shipping", _SAID[type(event)], **more))


@orders_view.on(EVENT_STORE)
def happened(sql: Sql, event: SagaHappened, seen: Seen) -> None:
    """Something happened to its saga."""
    if event.saga != SAGA:
        return
    row = _row(sql, event.key, event.at_ms)
    if rules.is_past(row.run, event.instance_id):
        tables.save(sql, row)  # that run was purged, and its key is used anew
        return
    if rules.is_next(row.run, event.instance_id):
        row = rules.begun_anew(row)
        tables.forget_entries(sql, event.key)
    row = msgspec.structs.replace(row, run=max(row.run, event.instance_id))
    if event.input.type == "start":
        row = _begun(row, event.input.data)
    read = Happened(
        order_id=event.key,
        revision=event.revision,
        at_ms=event.at_ms,
        verdict=event.verdict,
        path=event.path,
        words=event.words,
        step=event.input.step,
        operation=event.input.operation,
        event_type=event.input.event_type,
        reason=_reason(event.input.data) if event.input.event_type else "",
    )
    row = rules.advanced(row, read)
    tables.save(sql, row)
    tables.enter(sql, rules.entry_of(row, read))


def _row(sql: Sql, order_id: str, at_ms: int) -> OrderRow:
    return rules.listed(tables.find(sql, order_id) or rules.empty(order_id, at_ms), at_ms)


def _said(row: OrderRow, seen: Seen, column: str, word: str, **more: str) -> OrderRow:
    """The row with a service's word in its column, and what it said `more`."""
    run = seen.headers.get(Header.INSTANCE, "")
    run = run if is_message_id(run) else ""  # anybody may have written it
    if rules.is_past(row.served, run):
        return row
    row = rules.served_by(row, run)
    return msgspec.structs.replace(row, **{column: rules.later(getattr(row, column), word)}, **more)


def _begun(row: OrderRow, data: msgspec.Raw) -> OrderRow:
    try:
        ordered = _ordered.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return row  # another version of the saga begins with other data: the client's event tells as much
    return rules.ordered(row, rules.FROM_SAGA, ordered.items, ordered.total, ordered.address)


def _reason(data: msgspec.Raw) -> str:
    try:
        return _refused.decode(data).reason
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
