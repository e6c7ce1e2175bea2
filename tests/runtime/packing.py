"""An order that is packed once it was paid: what tests of parking, timers and releases on one database share."""

from itertools import count
from typing import Any

import msgspec

from sagas import Command, Event, Participant, Saga, Step, unchanged
from sagas.core.definition import Definition
from sagas.core.envelope import Header, encode_message
from sagas.core.ids import timed_id
from sagas.core.instance import Instance
from sagas.ports import Incoming
from sagas.store.sqlite import SqliteStore

NOW_MS = 1_700_000_000_000
HOUR_MS = 3_600_000

BANK, BOX, DESK = (Participant(name, key="order_id") for name in ("bank", "box", "desk"))
_numbers = count()


class Order(msgspec.Struct, frozen=True):
    order_id: str


class OrderAsked(Event, tag="order.asked"):
    order_id: str


class GiftAsked(Event, tag="gift.asked"):
    order_id: str


class Paid(Event, tag="paid"):
    order_id: str


class Packed(Event, tag="packed"):
    order_id: str


class Pack(Command[Packed], tag="pack"):
    order_id: str


class Unpacked(Event, tag="unpacked"):
    order_id: str


class Unpack(Command[Unpacked], tag="unpack"):
    order_id: str


def ordered(version: int = 1, *, deadline: float | None = None) -> Saga[Order]:
    """The saga "order" with its start, and nothing else yet."""
    saga: Saga[Order] = Saga("order", Order, version=version, key="order_id", deadline=deadline)

    @saga.start(on=DESK)
    def begin(event: OrderAsked) -> Order:
        return Order(event.order_id)

    return saga


def packing(saga: Saga[Order], timeout: float = 60) -> Step[Order, Packed]:
    """Its step `pack`, which can be undone."""

    @saga.step(to=BOX, timeout=timeout, unknown="undo")
    def pack(order: Order) -> Pack:
        return Pack(order_id=order.order_id)

    @pack.undo
    def _(order: Order) -> Unpack:
        return Unpack(order_id=order.order_id)

    pack.reply(unchanged)
    return pack


def a_saga(
    name: str = "order", start: type[Event] = OrderAsked, version: int = 1, *, waits: bool = True, timeout: float = 3600
) -> Definition:
    """Waits for a payment, if it does, and packs."""
    saga: Saga[Order] = Saga(name, Order, version=version, key="order_id")

    def begin(event: Any) -> Order:
        if event.order_id == "refused":
            raise ValueError("it does not begin")
        return Order(event.order_id)

    begin.__annotations__ = {"event": start, "return": Order}
    saga.start(on=BANK if start is Paid else DESK)(begin)
    pack = packing(saga, timeout)
    if not waits:
        saga.flow(pack)
        return saga.definition

    @saga.wait(on=BANK, timeout=HOUR_MS / 1000, absence="refusal")
    def payment(order: Order, signal: Paid) -> Order:
        return order

    saga.flow(payment >> pack)
    return saga.definition


def an_event(topic: Participant, event: Any, headers: dict[str, str] | None = None) -> Incoming:
    number, key = next(_numbers), event.order_id
    message_id = timed_id(NOW_MS, f"{number}")
    payload = encode_message(event, message_id=message_id, key_field="order_id", key=key, now_ms=NOW_MS)
    return Incoming(
        id=message_id,
        topic=topic.events,
        partition=0,
        offset=number,
        timestamp_ms=NOW_MS,
        payload=payload,
        headers=headers or {},
    )


def an_answer(run: Instance, event: Any, operation: str = "do") -> Incoming:
    return an_event(BOX, event, {Header.INSTANCE: run.id, Header.STEP: "pack", Header.OPERATION: operation})


def packed(run: Instance) -> Incoming:
    return an_answer(run, Packed(order_id=run.key))


def run_of(store: SqliteStore, saga: str = "order") -> Instance:
    found = store.instance(saga, "o-1")
    assert found is not None
    return found


ASKED, GIVEN, PAID = OrderAsked(order_id="o-1"), GiftAsked(order_id="o-1"), Paid(order_id="o-1")
