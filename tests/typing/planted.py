"""Mistakes that a type checker must report, each on the line that says so, and no other line."""

import msgspec

from sagas import CannotUndo, Command, Event, Participant, Rejection, Saga, unchanged
from sagas.testing import Scenario

HOTEL = Participant("hotel", key="trip_id")


class RoomBooked(Event, tag="room.booked"):
    trip_id: str


class RoomRefused(Rejection, tag="room.refused"):
    beds: int = 0
    trip_id: str  # behind a default, which is right: fields are given by name


class BookRoom(Command[RoomBooked | RoomRefused], tag="room.book"):
    trip_id: str


class RoomFreed(Event, tag="room.freed"):
    trip_id: str


class RoomPaid(CannotUndo, tag="room.paid"):
    trip_id: str
    nights: int


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


class Guest(msgspec.Struct, frozen=True):
    name: str


def guests(trip: Trip) -> tuple[Guest, ...]:
    return (Guest(trip.trip_id),)


def guest_name(guest: Guest) -> str:
    return guest.name


def name_of_an_order(order: Order) -> str:
    return order.order_id


def for_an_order(trip: Trip, order: Order) -> BookRoom:
    return BookRoom(trip_id=order.order_id)


def of_an_order_item(trip: Trip, order: Order, reply: RoomBooked | RoomRefused) -> Trip:
    return trip


def of_one_answer(trip: Trip, guest: Guest, reply: RoomBooked) -> Trip:
    return trip


def frees_without_item(trip: Trip) -> FreeRoom:
    return FreeRoom(trip_id=trip.trip_id)


each_guest = trip_saga.for_each(guests, key=guest_name, at_most=4)


@each_guest.step(to=HOTEL, timeout=30, unknown="undo")
def bed(trip: Trip, guest: Guest) -> BookRoom:
    return BookRoom(trip_id=trip.trip_id)


@bed.undo
def _(trip: Trip, guest: Guest) -> FreeRoom:
    return FreeRoom(trip_id=guest.name)


@bed.reply
def _(trip: Trip, guest: Guest, reply: RoomBooked | RoomRefused) -> Trip:
    return trip


@each_guest.retriable(to=HOTEL, timeout=30)
def key(trip: Trip, guest: Guest) -> HoldSeat:
    return HoldSeat(trip_id=guest.name)


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
trip_saga.for_each(guests, key=name_of_an_order, at_most=4)  # refused
trip_saga.for_each(of_an_order, key=guest_name, at_most=4)  # refused
trip_saga.for_each(guests, key=guest_name)  # refused
each_guest.pivot  # refused
each_guest.step(to=HOTEL, timeout=30, unknown="undo")(for_an_order)  # refused
each_guest.step(to=HOTEL, timeout=30, unknown="undo")(frees_without_item)  # refused
bed.reply(takes_one_answer)  # refused
bed.reply(of_an_order_item)  # refused
bed.reply(of_one_answer)  # refused
bed.undo(frees_without_item)  # refused
bed.on  # refused
key.undo  # refused
trip_saga.flow(bed >> other)  # refused
key.reply(unchanged)
story.expect(BookRoom).reply(SeatHeld(trip_id="t-1"))  # refused
story.given(Order("o-1"))  # refused
RoomBooked(trip_id=1)  # refused
RoomBooked("t-1")  # refused
RoomRefused(beds=1)  # refused
RoomBooked(trip_id="t-1").trip_id = "t-2"  # refused
seat.reply(unchanged)
trip_saga.flow(room >> seat)
