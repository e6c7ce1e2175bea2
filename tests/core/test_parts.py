"""A sub-saga: its effects stay undoable until the saga around it has settled."""

import msgspec
import pytest

from sagas import Command, DefinitionError, Event, Participant, Rejection, Saga, unchanged
from sagas.testing import Scenario

SHOP = Participant("shop", key="order_id")


class Returned(Event, tag="returned"):
    order_id: str


class PickedUp(Event, tag="picked-up"):
    order_id: str
    parcel: int


class PickUp(Command[PickedUp], tag="pick-up"):
    order_id: str


class SentBack(Event, tag="sent-back"):
    order_id: str


class SendBack(Command[SentBack], tag="send-back"):
    order_id: str
    parcel: int


class Refunded(Event, tag="refunded"):
    order_id: str


class NotRefunded(Rejection, tag="not-refunded"):
    order_id: str
    reason: str


class Refund(Command[Refunded | NotRefunded], tag="refund"):
    order_id: str


class Parcel(msgspec.Struct, frozen=True):
    order_id: str
    parcel: int = 0


class Return(msgspec.Struct, frozen=True):
    order_id: str
    fetching: Parcel | None = None


parcel_saga = Saga("parcel", Parcel, version=1, key="order_id")


@parcel_saga.start(on=SHOP)
def fetch(event: Returned) -> Parcel:
    return Parcel(event.order_id)


@parcel_saga.step(to=SHOP, timeout=30, unknown="undo")
def pick_up(parcel: Parcel) -> PickUp:
    return PickUp(order_id=parcel.order_id)


@pick_up.reply
def _(parcel: Parcel, reply: PickedUp) -> Parcel:
    return msgspec.structs.replace(parcel, parcel=reply.parcel)


@pick_up.undo
def _(parcel: Parcel) -> SendBack:
    return SendBack(order_id=parcel.order_id, parcel=parcel.parcel)


parcel_saga.flow(pick_up)

return_saga = Saga("return", Return, version=1, key="order_id")


@return_saga.start(on=SHOP)
def begin(event: Returned) -> Return:
    return Return(event.order_id)


@return_saga.part(parcel_saga)
def fetching(data: Return) -> Parcel:
    return Parcel(data.order_id)


@return_saga.pivot(to=SHOP, timeout=30, unknown="ask")
def refund(data: Return) -> Refund:
    return Refund(order_id=data.order_id)


refund.reply(unchanged)
return_saga.flow(fetching >> refund)


def begun() -> Scenario[Return]:
    story = Scenario(return_saga).start_event(Returned(order_id="o-1"))
    assert story.state == "fetching_pick_up.pending"
    return story


def test_a_part_that_has_come_to_its_end_is_undone_when_the_saga_around_it_turns_back() -> None:
    story = begun()
    story.expect(PickUp).reply(PickedUp(order_id="o-1", parcel=7))
    assert story.data == Return("o-1", Parcel("o-1", 7))
    story.expect(Refund).reply(NotRefunded(order_id="o-1", reason="too late"))
    story.expect(SendBack(order_id="o-1", parcel=7)).reply(SentBack(order_id="o-1"))
    story.expect_compensated(cause="too late")


def test_a_saga_that_is_a_part_elsewhere_still_runs_by_itself() -> None:
    story = Scenario(parcel_saga).start_event(Returned(order_id="o-1"))
    story.expect(PickUp).reply(PickedUp(order_id="o-1", parcel=7))
    story.expect_completed()


def another() -> Saga[Parcel]:
    saga = Saga("another", Parcel, version=1, key="order_id")
    saga.start(on=SHOP)(fetch)
    return saga


def test_a_part_without_a_field_for_its_data_is_refused_with_the_field_to_add() -> None:
    with pytest.raises(DefinitionError, match=r"add `fetching: Parcel \| None = None`"):
        another().part(parcel_saga)(fetch_of)


def fetch_of(parcel: Parcel) -> Parcel:
    return parcel


fetch_of.__name__ = "fetching"


def test_a_part_with_another_business_key_is_refused() -> None:
    other = Saga("other", Return, version=1, key="parcel_id")
    with pytest.raises(DefinitionError, match="give both the same key"):
        other.part(parcel_saga)(fetching_of)


def fetching_of(data: Return) -> Parcel:
    return Parcel(data.order_id)


def test_a_part_that_is_not_closed_yet_is_refused() -> None:
    with pytest.raises(DefinitionError, match="has no flow yet"):
        another().part(another())(fetch_of)
