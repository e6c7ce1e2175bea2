"""Trips for the simulated world: branches, a predicate, a save-point, two waits and a delay, with times to match."""

from collections.abc import Iterable, Sequence
from random import Random

from sagas import Event, Saga, unchanged
from sagas.core.definition import Definition
from sagas.testing.simulation import Aftermath, Subject
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
    TripApproved,
    TripAsked,
    TripDenied,
    bank,
    desk,
    flight,
    goes_abroad,
    hotel,
)


class NoticeRead(Event, tag="notice.read"):
    """The guest has read the notice; whoever says nothing has read it as well."""

    trip_id: str


DENIED = "rich-denied"
"""A trip that nobody approves."""


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


def approval(trip: Trip, signal: TripApproved | TripDenied) -> Trip:
    return trip


def notice(trip: Trip, signal: NoticeRead) -> Trip:
    return trip


def cooling_off(trip: Trip) -> float:
    return 0.5 * trip.seats


def quick_trips() -> Definition:
    """`((room >> visa if abroad >> notice) & (seat | few_seats)) >> approval >> cooling_off >> charge`.

    An invoice if the card is declined.
    """
    saga = Saga("quick", Trip, version=1, key="trip_id", deadline=9)
    saga.start(on=DESK)(begin)
    booked = saga.step(to=HOTEL, timeout=0.7, unknown="undo")(room)
    seated = saga.step(to=FLIGHT, timeout=0.7, unknown="undo")(seat)
    squeezed = saga.step(to=FLIGHT, timeout=0.7, unknown="undo")(few_seats)
    granted = saga.step(to=DESK, timeout=0.7, unknown="undo", leaves_nothing=True)(visa)
    charged = saga.pivot(to=BANK, timeout=0.9, unknown="ask")(charge)
    billed = saga.retriable(to=BANK, timeout=0.5)(invoice)
    noticed = saga.wait(on=HOTEL, timeout=0.8, absence="consent")(notice)
    approved = saga.wait(on=DESK, timeout=2.5, absence="refusal")(approval)
    cooled = saga.delay(cooling_off)
    booked.undo(free_room)
    seated.undo(free_seat)
    squeezed.undo(free_seat)
    booked.reply(unchanged)
    seated.reply(unchanged)
    squeezed.reply(unchanged)
    granted.reply(unchanged)
    charged.reply(unchanged)
    billed.reply(unchanged)
    lanes = (booked >> saga.when(goes_abroad, granted) >> noticed) & (seated | squeezed)
    saga.flow(lanes >> approved >> cooled >> charged.on(CardDeclined, billed))
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


def signals(seed: int, starts: Sequence[Event]) -> Sequence[Event]:
    """Each guest reads the notice; each trip is decided on, and one in five by two people."""
    random = Random(f"{seed}:signals")
    said: list[Event] = []
    for start in starts:
        assert isinstance(start, TripAsked)
        trip_id, kind = start.trip_id, 1.0 if start.trip_id == DENIED else random.random()
        said.append(NoticeRead(trip_id=trip_id))
        if kind < 0.85:
            said.append(TripApproved(trip_id=trip_id))
        if kind > 0.65:
            said.append(TripDenied(trip_id=trip_id, reason="too dear"))
    return said


def contradicted(aftermath: Aftermath) -> Iterable[str]:
    """A trip that was charged or billed was approved, and one that was denied or not approved was neither."""
    for instance in aftermath.instances:
        said = instance.mark("approval")
        if instance.state == "completed" and said != "TripApproved":
            yield f"trip {instance.key} is completed, and its approval came to {said}"


TRIPS = Subject(
    name="quick trips",
    definitions=[quick_trips()],
    services={hotel: [], flight: [], bank: [], desk: []},
    workload=workload,
    signals=signals,
    check=contradicted,
    stories={
        "a trip abroad": [TripAsked(trip_id="rich-1", is_abroad=True)],
        "a card is declined": [TripAsked(trip_id="poor-1")],
        "too many seats": [TripAsked(trip_id="rich-1", seats=9)],
        "a trip is denied": [TripAsked(trip_id=DENIED)],
    },
    not_reached=[f"participant store.{call}.{side}" for call in ("amend", "sql") for side in ("before", "after")],
)
