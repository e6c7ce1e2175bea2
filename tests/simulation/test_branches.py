"""Branches, a predicate and a save-point under every fault we can make, for a few seeds."""

from collections.abc import Sequence
from random import Random

import pytest

from sagas import Saga, unchanged
from sagas.core.definition import Definition
from sagas.testing.simulation import Subject
from sagas.testing.simulation.campaign import Tally, run_seed
from tests.runtime.trips import (
    BANK,
    DESK,
    FLIGHT,
    HOTEL,
    AskVisa,
    BookRoom,
    BookSeat,
    CardDeclined,
    ChargeCard,
    FreeRoom,
    FreeSeat,
    SendInvoice,
    Trip,
    TripAsked,
    bank,
    desk,
    flight,
    goes_abroad,
    hotel,
)


def begin(event: TripAsked) -> Trip:
    return Trip(event.trip_id, event.seats, event.is_abroad)


def room(trip: Trip) -> BookRoom:
    return BookRoom(trip_id=trip.trip_id)


def free_room(trip: Trip) -> FreeRoom:
    return FreeRoom(trip_id=trip.trip_id)


def seat(trip: Trip) -> BookSeat:
    return BookSeat(trip_id=trip.trip_id, seats=trip.seats)


def few_seats(trip: Trip) -> BookSeat:
    return BookSeat(trip_id=trip.trip_id, seats=1)


def free_seat(trip: Trip) -> FreeSeat:
    return FreeSeat(trip_id=trip.trip_id)


def visa(trip: Trip) -> AskVisa:
    return AskVisa(trip_id=trip.trip_id)


def charge(trip: Trip) -> ChargeCard:
    return ChargeCard(trip_id=trip.trip_id)


def invoice(trip: Trip) -> SendInvoice:
    return SendInvoice(trip_id=trip.trip_id)


def quick_trips() -> Definition:
    """`((room >> visa if abroad) & (seat | few_seats)) >> charge`, an invoice if the card is declined."""
    saga = Saga("quick", Trip, version=1, key="trip_id", deadline=4)
    saga.start(on=DESK)(begin)
    booked = saga.step(to=HOTEL, timeout=0.7, unknown="undo")(room)
    seated = saga.step(to=FLIGHT, timeout=0.7, unknown="undo")(seat)
    squeezed = saga.step(to=FLIGHT, timeout=0.7, unknown="undo")(few_seats)
    granted = saga.step(to=DESK, timeout=0.7, unknown="undo", leaves_nothing=True)(visa)
    charged = saga.pivot(to=BANK, timeout=0.9, unknown="ask")(charge)
    billed = saga.retriable(to=BANK, timeout=0.5)(invoice)
    booked.undo(free_room)
    seated.undo(free_seat)
    squeezed.undo(free_seat)
    booked.reply(unchanged)
    seated.reply(unchanged)
    squeezed.reply(unchanged)
    granted.reply(unchanged)
    charged.reply(unchanged)
    billed.reply(unchanged)
    lanes = (booked >> saga.when(goes_abroad, granted)) & (seated | squeezed)
    # No delay: half of the runs are without timers, and a delay is one.
    saga.flow(lanes >> charged.on(CardDeclined, billed))
    return saga.definition


def workload(seed: int) -> Sequence[TripAsked]:
    random = Random(f"{seed}:trips")
    return [
        TripAsked(
            trip_id=f"{random.choice(('poor', 'rich'))}-{number}",
            seats=random.choice((1, 2, 9)),
            is_abroad=random.random() < 0.5,
        )
        for number in range(random.randint(2, 4))
    ]


SUBJECT = Subject(
    name="quick trips",
    definitions=[quick_trips()],
    services={hotel: [], flight: [], bank: [], desk: []},
    workload=workload,
)


@pytest.mark.parametrize("first", [0, 4])
def test_no_seed_breaks_a_promise_on_a_course_with_branches(first: int) -> None:
    tally = Tally()
    for seed in range(first, first + 4):
        run_seed(SUBJECT, seed, tally)
    assert [failure.report("tests.simulation.test_branches:SUBJECT") for failure in tally.failures] == []
    assert tally.states.get("completed", 0) > 0
