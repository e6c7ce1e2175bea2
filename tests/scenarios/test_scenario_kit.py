"""The kit itself: what it refuses, what it shows, and time."""

from typing import Any

import msgspec
import pytest

from sagas import Command, Event, Key, Participant, Rejection, Saga, unchanged
from sagas.testing import Asked, Scenario
from services.contracts import (
    INVENTORY,
    PAYMENTS,
    InventoryReserved,
    OrderCreated,
    PaymentProcessed,
    ProcessPayment,
    ReserveInventory,
)
from services.orders.saga import order_saga
from tests.core.courses import Agreed, Data, Maker
from tests.core.trip import Trip
from tests.core.trip import trip_saga as hotel_saga
from tests.scenarios.order_parts import PLACED, RESERVED, SHIPPED, created, paid, placed, reserved

DEPOT = Participant("depot", key="trip_id")


class Loaded(Event, tag="trip.loaded"):
    trip_id: Key


class Overloaded(Rejection, tag="trip.overloaded"):
    trip_id: Key


class Load(Command[Loaded | Overloaded], tag="trip.load"):
    trip_id: Key


class Unloaded(Event, tag="trip.unloaded"):
    trip_id: Key


class Unload(Command[Unloaded], tag="trip.unload"):
    trip_id: Key


class TripData(msgspec.Struct, frozen=True):
    trip_id: str


trip_saga = Saga("trip", TripData, version=1, deadline=5)


@trip_saga.start(on=DEPOT)
def begin(event: Loaded) -> TripData:
    return TripData(event.trip_id)


@trip_saga.step(to=DEPOT, timeout=30, unknown="undo", resend=0.001)
def load(trip: TripData) -> Load:
    return Load(trip_id=trip.trip_id)


@load.undo
def _(trip: TripData) -> Unload:
    return Unload(trip_id=trip.trip_id)


load.reply(unchanged)
trip_saga.flow(load)


# --------------------------------------------------------------------------- what it refuses


def test_another_command_than_the_expected_one_fails_with_the_whole_picture() -> None:
    story = created().after(seconds=1)
    with pytest.raises(AssertionError) as failure:
        story.expect(ProcessPayment)
    text = str(failure.value)
    assert text.startswith(
        "expected ProcessPayment, but the next command is\n  reserve do #1 → inventory-commands: Reserve"
    )
    assert "state: reserve.pending,   1.000 s after the start" in text
    assert "  10.000 s  resend of reserve do #1" in text
    assert "advance: create.pending → reserve.pending" in text


def test_an_expected_command_with_other_fields_fails() -> None:
    with pytest.raises(AssertionError, match=r"expected ReserveInventory\(order_id='o-2'"):
        created().expect(ReserveInventory(order_id="o-2", items=PLACED.items))


def test_a_command_to_somebody_else_fails() -> None:
    with pytest.raises(AssertionError, match="expected ReserveInventory to go to 'payments-commands'"):
        created().expect(ReserveInventory).to(INVENTORY).to(PAYMENTS)


def test_a_command_that_was_not_sent_fails() -> None:
    story = created()
    story.expect(ReserveInventory)
    with pytest.raises(AssertionError, match="expected ProcessPayment, but no such command was sent"):
        story.expect(ProcessPayment)


def test_a_story_cannot_end_in_another_state() -> None:
    with pytest.raises(AssertionError, match=r"expected the saga to be completed, it is ship\.pending"):
        paid().expect_completed()


def test_a_story_cannot_end_with_a_command_nobody_looked_at() -> None:
    story = paid().late("ship", SHIPPED)
    with pytest.raises(
        AssertionError, match=r"the saga is completed, but this was sent and not expected:\n  ship do #1"
    ):
        story.expect_completed()
    with pytest.raises(AssertionError, match=r"expected no command, but this was sent:\n  ship do #1"):
        story.expect_nothing()


def test_an_answer_the_step_does_not_declare_fails() -> None:
    asked: Asked[Any] = created().expect(ReserveInventory)  # a type checker refuses it without the Any
    with pytest.raises(AssertionError, match=r"reserve do has no reply 'payment\.processed'"):
        asked.reply(PaymentProcessed(order_id="o-1", payment_id="pay-1"))


def test_an_answer_about_another_order_fails() -> None:
    with pytest.raises(AssertionError, match="the story is about 'o-1', the reply about 'o-2'"):
        created().expect(ReserveInventory).reply(InventoryReserved(order_id="o-2"))


def test_a_signal_about_another_run_fails() -> None:
    m = Maker()
    m.close(m.wait(absence="refusal") >> m.step("a"))
    story = Scenario(m.saga).given(Data("k-1"))
    with pytest.raises(AssertionError, match="the story is about 'k-1', the signal about 'k-2'"):
        story.signal(Agreed(k="k-2"))
    story.signal(Agreed(k="k-1"))
    assert story.state == "a.pending"


def test_a_message_that_would_not_survive_the_wire_fails() -> None:
    with pytest.raises(AssertionError, match="cannot be read where it is sent to"):
        Scenario(order_saga).start_event(OrderCreated(order_id="o-1", items=(), total="1"))
    with pytest.raises(AssertionError, match="cannot be read where it is sent to"):
        Scenario(hotel_saga).given(Trip("t-1", 2**60))


def test_an_event_that_does_not_start_the_saga_fails() -> None:
    with pytest.raises(AssertionError, match="saga 'order' is started by OrderCreated"):
        Scenario(order_saga).start_event(RESERVED)


def test_another_cause_than_the_expected_one_fails() -> None:
    story = Scenario(trip_saga).given(TripData("t-1"))
    story.expect(Load).reply(Overloaded(trip_id="t-1"))
    with pytest.raises(AssertionError, match="because of 'no fuel', it says 'load: Overloaded'"):
        story.expect_rejected(cause="no fuel")


def test_another_verdict_than_the_expected_one_fails() -> None:
    with pytest.raises(AssertionError, match="to be 'late', it is 'advance'"):
        placed().expect_verdict("late")


def test_a_story_without_a_beginning_fails() -> None:
    story = Scenario(order_saga)
    with pytest.raises(AssertionError, match="the story has no beginning"):
        story.late("reserve", RESERVED)
    with pytest.raises(AssertionError, match="there is no reply to repeat"):
        story.repeat_last_reply()


def test_a_step_that_does_not_exist_fails() -> None:
    with pytest.raises(AssertionError, match="saga 'order' has no step 'wrap'"):
        placed().late("wrap", RESERVED)


# --------------------------------------------------------------------------- time


def test_the_deadline_turns_a_run_back_before_its_step_times_out() -> None:
    story = Scenario(trip_saga).given(TripData("t-1"))
    story.expect(Load).in_progress()
    story.after(seconds=5)
    story.expect(Unload).reply(Unloaded(trip_id="t-1"))
    story.expect_compensated(cause="load: the whole saga took more than 5.0 s")
    assert story.timers == {}


def test_timers_fire_in_the_order_of_their_times_each_at_its_own() -> None:
    story = reserved().after(seconds=2.5)
    fired = [(entry.at_ms - story.instance.started_ms, entry.what) for entry in story.journal if "timer" in entry.what]
    assert fired == [
        (666, "timer: resend of pay do #1"),
        (1332, "timer: resend of pay do #2"),
        (1998, "timer: resend of pay do #3"),
        (2000, "timer: timeout of pay do #4"),
    ]


def test_time_that_would_never_end_fails() -> None:
    story = Scenario(trip_saga).given(TripData("t-1"))
    story.expect(Load)
    with pytest.raises(
        AssertionError, match=r"more than 10000 timers fired in 31536000\.0 s: it is endless"
    ) as failure:
        story.after(seconds=365 * 24 * 3600)
    assert "lines left out" in str(failure.value)
    assert len(str(failure.value).splitlines()) < 150


def test_a_story_can_be_printed() -> None:
    assert "sent create do #1 → orders-commands: CreateOrder(order_id='o-1'" in str(placed())
