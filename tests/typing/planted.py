"""Mistakes that a type checker must report, each on the line that says so, and no other line."""

import msgspec

from sagas import Command, Event, Participant, Rejection, Saga, unchanged
from sagas.testing import Scenario

HOTEL = Participant("hotel", key="trip_id")


class RoomBooked(Event, tag="room.booked"):
    trip_id: str


class RoomRefused(Rejection, tag="room.refused"):
    trip_id: str


class BookRoom(Command[RoomBooked | RoomRefused], tag="room.book"):
    trip_id: str


class RoomFreed(Event, tag="room.freed"):
    trip_id: str


class FreeRoom(Command[RoomFreed], tag="room.free"):
    trip_id: str


class SeatHeld(Event, tag="seat.held"):
    trip_id: str


class HoldSeat(Command[SeatHeld], tag="seat.hold"):
    trip_id: str


class Trip(msgspec.Struct, frozen=True):
    trip_id: str


class Order(msgspec.Struct, frozen=True):
    order_id: str


trip_saga = Saga("trip", Trip, version=1)
order_saga = Saga("order", Order, version=1)


@trip_saga.step(to=HOTEL, timeout=30, unknown="undo")
def room(trip: Trip) -> BookRoom:
    return BookRoom(trip_id=trip.trip_id)


@trip_saga.pivot(to=HOTEL, timeout=30, unknown="ask")
def seat(trip: Trip) -> HoldSeat:
    return HoldSeat(trip_id=trip.trip_id)


@order_saga.step(to=HOTEL, timeout=30, unknown="undo")
def other(order: Order) -> HoldSeat:
    return HoldSeat(trip_id=order.order_id)


def takes_one_answer(trip: Trip, reply: RoomBooked) -> Trip:
    return trip


def leaves_one_out(trip: Trip, reply: RoomBooked | RoomRefused) -> Trip:  # refused
    match reply:  # pyright says it here, too
        case RoomBooked():
            return trip


def no_command(trip: Trip) -> Trip:
    return trip


def of_an_order(order: Order) -> bool:
    return order.order_id == ""


def frees_an_order(order: Order) -> FreeRoom:
    return FreeRoom(trip_id=order.order_id)


def approval(trip: Trip, signal: RoomBooked) -> Order:
    return Order(trip.trip_id)


def pause(trip: Trip) -> str:
    return trip.trip_id


story = Scenario(trip_saga)
room.reply(takes_one_answer)  # refused
room.undo(frees_an_order)  # refused
seat.undo  # refused
room.on(SeatHeld, seat)  # refused
seat.on(RoomBooked, room)  # refused
trip_saga.flow(room >> other)  # refused
trip_saga.flow(room & other)  # refused
trip_saga.flow(room | other)  # refused
trip_saga.flow(other)  # refused
trip_saga.when(of_an_order, room)  # refused
trip_saga.step(to=HOTEL, timeout=30, unknown="undo")(no_command)  # refused
trip_saga.step(to=HOTEL, timeout=30, unknown="hope")  # refused
trip_saga.wait(on=HOTEL, timeout=30, absence="maybe")  # refused
trip_saga.wait(on=HOTEL, timeout=30, absence="hold")(approval)  # refused
trip_saga.delay(pause)  # refused
story.expect(BookRoom).reply(SeatHeld(trip_id="t-1"))  # refused
story.given(Order("o-1"))  # refused
RoomBooked(trip_id=1)  # refused
seat.reply(unchanged)
trip_saga.flow(room >> seat)
