"""A handler registered for the wrong operation, or not at all: who says so, and with which remedy."""

from collections.abc import Sequence

import msgspec
import pytest

from sagas import Event, Participant, Saga, unchanged
from sagas.core.envelope import Header, encode_message
from sagas.core.ids import derived_id, instance_id
from sagas.ports import Incoming, Sql
from sagas.runtime.handlers import HandlerError
from sagas.runtime.participant import Service
from sagas.store.participant import SqliteParticipantStore
from sagas.testing.simulation import Subject
from sagas.testing.world import World
from tests.runtime.trips import HOTEL, BookRoom, FreeRoom, RoomBooked, RoomFreed, TripAsked

GARAGE = Participant("garage", key="trip_id")


class Trip(msgspec.Struct, frozen=True):
    trip_id: str


trip_saga = Saga("trip", Trip, version=1)


@trip_saga.start(on=HOTEL)
def begin(event: TripAsked) -> Trip:
    return Trip(event.trip_id)


@trip_saga.step(to=HOTEL, timeout=30, unknown="undo")
def room(trip: Trip) -> BookRoom:
    return BookRoom(trip_id=trip.trip_id)


@room.undo
def _(trip: Trip) -> FreeRoom:
    return FreeRoom(trip_id=trip.trip_id)


room.reply(unchanged)
trip_saga.flow(room)


def book(sql: Sql, command: BookRoom) -> RoomBooked:
    return RoomBooked(trip_id=command.trip_id)


def free(sql: Sql, command: FreeRoom) -> RoomFreed:
    return RoomFreed(trip_id=command.trip_id)


def a_hotel(*, handles: Sequence[str] = (), undoes: Sequence[str] = (), of: Participant = HOTEL) -> Service:
    service = Service(of)
    for name in handles:
        service.handles(book if name == "book" else free)
    for name in undoes:
        service.undoes(book if name == "book" else free)
    return service


MISTAKES = [
    (a_hotel(handles=["book", "free"]), "the undo of step 'room'", "FreeRoom", "@hotel.undoes"),
    (a_hotel(undoes=["book", "free"]), "step 'room'", "BookRoom", "@hotel.handles"),
    (a_hotel(handles=["book"]), "the undo of step 'room'", "FreeRoom", "@hotel.undoes"),
    (a_hotel(undoes=["free"]), "step 'room'", "BookRoom", "@hotel.handles"),
]


@pytest.mark.parametrize(("hotel", "which", "command", "remedy"), MISTAKES)
def test_a_world_refuses_a_participant_without_the_right_handler(
    hotel: Service, which: str, command: str, remedy: str
) -> None:
    with pytest.raises(HandlerError) as refused:
        World([trip_saga.definition], {hotel: ()})
    for words in ("saga 'trip'", which, command, remedy):
        assert words in str(refused.value)


@pytest.mark.parametrize(("hotel", "which", "command", "remedy"), MISTAKES)
def test_a_subject_refuses_a_participant_without_the_right_handler(
    hotel: Service, which: str, command: str, remedy: str
) -> None:
    with pytest.raises(HandlerError, match=remedy):
        Subject(name="trips", definitions=[trip_saga.definition], services={hotel: ()}, workload=lambda seed: [])


def test_a_participant_that_is_not_given_is_not_asked_for_its_handlers() -> None:
    garage = a_hotel(handles=["book"], of=GARAGE)
    World([trip_saga.definition], {garage: ()})
    World([trip_saga.definition], {})


@pytest.mark.parametrize(
    ("hotel", "command", "operation", "remedy"),
    [
        (a_hotel(handles=["book", "free"]), FreeRoom(trip_id="t-1"), "undo", "register it with `@hotel.undoes`"),
        (a_hotel(undoes=["book", "free"]), BookRoom(trip_id="t-1"), "do", "register it with `@hotel.handles`"),
    ],
)
def test_what_a_handler_of_the_wrong_kind_leaves_says_how_to_register_it(
    hotel: Service, command: Event, operation: str, remedy: str
) -> None:
    instance = instance_id("trip", "t-1", 1_000)
    command_id = derived_id(instance, "room", operation)
    payload = encode_message(command, message_id=command_id, key_field="trip_id", key="t-1", now_ms=1_000)
    headers = {Header.INSTANCE: instance, Header.STEP: "room", Header.OPERATION: operation, Header.ATTEMPT: "1"}
    message = Incoming(
        id=command_id,
        topic=HOTEL.commands,
        partition=0,
        offset=0,
        timestamp_ms=1_000,
        payload=payload,
        headers=headers,
    )
    store = SqliteParticipantStore(":memory:", ())
    hotel.process([message], store, 1_000)
    (letter,) = store.dead_letters(9)
    store.close()
    assert letter.reason.endswith(remedy)
