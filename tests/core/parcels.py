"""Sagas with a step that is done for each of a list of parcels, alone and among other steps."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from sagas import CannotUndo, Command, Event, Participant, Rejection, Retry, Saga, unchanged
from sagas.core.flow import Flow
from sagas.testing import Scenario

SHOP, HOUSE = Participant("shop", key="order_id"), Participant("house", key="order_id")


class Parcel(msgspec.Struct, frozen=True):
    """An item: `grams` is for what a list says besides its keys."""

    parcel_id: str
    grams: int = 100


class Asked(Event, tag="parcels.asked"):
    order_id: str
    parcels: tuple[Parcel, ...]


class Packed(Event, tag="parcel.packed"):
    order_id: str
    box: str = "b"


class NotPacked(Rejection, tag="parcel.not-packed"):
    order_id: str
    reason: str = ""


class Unpacked(Event, tag="parcel.unpacked"):
    order_id: str


class Pack(Command[Packed | NotPacked], tag="parcel.pack"):
    order_id: str
    parcel_id: str


class Unpack(Command[Unpacked | CannotUndo], tag="parcel.unpack"):
    order_id: str
    parcel_id: str


class Sent(Event, tag="parcel.sent"):
    order_id: str


class Send(Command[Sent], tag="parcel.send"):
    order_id: str
    parcel_id: str


class Ready(Event, tag="table.ready"):
    order_id: str


class Full(Rejection, tag="table.full"):
    order_id: str
    reason: str = ""


class Cleared(Event, tag="table.cleared"):
    order_id: str


class Prepare(Command[Ready | Full], tag="table.prepare"):
    order_id: str


class Clear(Command[Cleared], tag="table.clear"):
    order_id: str


class Order(msgspec.Struct, frozen=True):
    """The data: `parcels` are listed, `boxes` is what the answers said."""

    order_id: str
    parcels: tuple[Parcel, ...]
    boxes: dict[str, str] = {}


def parcels(order: Order) -> tuple[Parcel, ...]:
    """What is listed."""
    return order.parcels


def parcel_id(parcel: Parcel) -> str:
    """What an item is called."""
    return parcel.parcel_id


Fold = Callable[[Order, Parcel, Packed | NotPacked], Order]
Unknown = Literal["undo", "ask", "hold"]


class Maker:
    """Makes the steps of one saga: `pack` for each parcel, `table` and `pay` once, `send` for each behind the pivot."""

    def __init__(
        self,
        at_most: int = 5,
        listed: Callable[[Order], tuple[Parcel, ...]] = parcels,
        version: int = 1,
        renames: Mapping[str, str] | None = None,
    ) -> None:
        self.saga: Saga[Order] = Saga("order", Order, version=version, deadline=600, renames=renames)
        self.each = self.saga.for_each(listed, key=parcel_id, at_most=at_most)

        @self.saga.start(on=SHOP)
        def begin(event: Asked) -> Order:
            return Order(event.order_id, event.parcels)

    def pack(
        self,
        unknown: Unknown = "undo",
        *,
        has_undo: bool = True,
        undo_tries: int = 0,
        fold: Fold | None = None,
        name: str = "pack",
    ) -> Flow[Order]:
        """A step for each parcel that can be undone."""
        build = _named(name, _pack)
        step = self.each.step(
            to=HOUSE,
            timeout=30,
            unknown=unknown,
            leaves_nothing=not has_undo,
            undo_retry=Retry(attempts_max=undo_tries),
        )(build)
        if has_undo:
            step.undo(_unpack)
        step.reply(fold or _boxed)
        return step

    def send(self) -> Flow[Order]:
        """A step for each parcel behind the pivot."""
        step = self.each.retriable(to=HOUSE, timeout=30)(_named("send", _send))
        step.reply(unchanged)
        return step

    def table(self, name: str = "table", unknown: Unknown = "undo") -> Flow[Order]:
        """A step that is done once."""
        step = self.saga.step(to=SHOP, timeout=30, unknown=unknown)(_named(name, _prepare))
        step.undo(_clear)
        step.reply(unchanged)
        return step

    def pay(self) -> Flow[Order]:
        """The pivot."""
        step = self.saga.pivot(to=SHOP, timeout=30, unknown="ask")(_named("pay", _prepare))
        step.reply(unchanged)
        return step


def _named(name: str, function: Callable[..., Any]) -> Any:
    def build(order: Order, *item: Any) -> Any:
        return function(order, *item)

    build.__name__ = name
    build.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]  # a function may carry its own
    return build


def _pack(order: Order, parcel: Parcel) -> Pack:
    return Pack(order_id=order.order_id, parcel_id=parcel.parcel_id)


def _unpack(order: Order, parcel: Parcel) -> Unpack:
    return Unpack(order_id=order.order_id, parcel_id=parcel.parcel_id)


def _boxed(order: Order, parcel: Parcel, reply: Packed | NotPacked) -> Order:
    if isinstance(reply, NotPacked):
        return order
    return msgspec.structs.replace(order, boxes={**order.boxes, parcel.parcel_id: reply.box})


def _send(order: Order, parcel: Parcel) -> Send:
    return Send(order_id=order.order_id, parcel_id=parcel.parcel_id)


def _prepare(order: Order) -> Prepare:
    return Prepare(order_id=order.order_id)


def _clear(order: Order) -> Clear:
    return Clear(order_id=order.order_id)


def saga_of(flow: Callable[[Maker], Flow[Order]], at_most: int = 5) -> Saga[Order]:
    """The saga with this flow."""
    maker = Maker(at_most)
    maker.saga.flow(flow(maker))
    return maker.saga


SAGAS: dict[str, Saga[Order]] = {
    "first": saga_of(lambda make: make.pack() >> make.table()),
    "last, asking": saga_of(lambda make: make.table() >> make.pack("ask")),
    "held": saga_of(lambda make: make.pack("hold") >> make.table()),
    "undo tried twice": saga_of(lambda make: make.pack(undo_tries=2) >> make.table()),
    "leaves nothing": saga_of(lambda make: make.table() >> make.pack(has_undo=False) >> make.table("last")),
    "behind the pivot": saga_of(lambda make: make.table() >> make.pay() >> make.send()),
    "beside": saga_of(lambda make: make.pack() & make.table()),
    "a way": saga_of(lambda make: make.pack() | make.table()),
}


def order(*parcels: str, grams: int = 100) -> Asked:
    """An order of parcels with these keys."""
    return Asked(order_id="o-1", parcels=tuple(Parcel(key, grams) for key in parcels))


def story_of(name: str, *parcels: str) -> "Scenario[Order]":
    """A story of one of these sagas."""
    return Scenario(SAGAS[name]).start_event(order(*parcels))
