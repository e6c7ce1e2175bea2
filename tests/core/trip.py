"""A small saga to test the core with: it has every class of step."""

import msgspec

from sagas import Command, Event, Participant, Rejection, Saga, unchanged

HOTELS = Participant("hotels", key="trip_id")
FLIGHTS = Participant("flights", key="trip_id")
MAIL = Participant("mail", key="trip_id")


class TripAsked(Event, tag="trip.asked"):
    trip_id: str
    nights: int = 1


class RoomBooked(Event, tag="room.booked"):
    trip_id: str
    room: int


class RoomRefused(Rejection, tag="room.refused"):
    trip_id: str
    reason: str = ""


class BookRoom(Command[RoomBooked | RoomRefused], tag="room.book"):
    trip_id: str
    nights: int


class RoomFreed(Event, tag="room.freed"):
    trip_id: str


class RoomKept(Rejection, tag="room.kept"):
    trip_id: str
    reason: str = ""


class FreeRoom(Command[RoomFreed | RoomKept], tag="room.free"):
    trip_id: str
    room: int


class SeatHeld(Event, tag="seat.held"):
    trip_id: str


class SeatRefused(Rejection, tag="seat.refused"):
    trip_id: str
    reason: str = ""


class HoldSeat(Command[SeatHeld | SeatRefused], tag="seat.hold"):
    trip_id: str


class SeatReleased(Event, tag="seat.released"):
    trip_id: str


class ReleaseSeat(Command[SeatReleased], tag="seat.release"):
    trip_id: str


class TicketIssued(Event, tag="ticket.issued"):
    trip_id: str


class TicketRefused(Rejection, tag="ticket.refused"):
    trip_id: str
    reason: str = ""


class IssueTicket(Command[TicketIssued | TicketRefused], tag="ticket.issue"):
    trip_id: str


class MailSent(Event, tag="mail.sent"):
    trip_id: str


class SendMail(Command[MailSent], tag="mail.send"):
    trip_id: str


class Trip(msgspec.Struct, frozen=True):
    trip_id: str
    nights: int
    room: int = 0


trip_saga = Saga("trip", Trip, version=1, deadline=60)


@trip_saga.start(on=HOTELS)
def begin(event: TripAsked) -> Trip:
    return Trip(event.trip_id, event.nights)


@trip_saga.step(to=HOTELS, timeout=9, unknown="undo")
def room(trip: Trip) -> BookRoom:
    return BookRoom(trip_id=trip.trip_id, nights=trip.nights)


@room.undo
def _(trip: Trip) -> FreeRoom:
    return FreeRoom(trip_id=trip.trip_id, room=trip.room)


@room.reply
def _(trip: Trip, reply: RoomBooked | RoomRefused) -> Trip:
    if isinstance(reply, RoomRefused):
        return trip
    if reply.room == 13:
        raise ValueError("nobody sleeps in room 13")
    return msgspec.structs.replace(trip, room=reply.room)


@trip_saga.step(to=FLIGHTS, timeout=9, unknown="ask")
def seat(trip: Trip) -> HoldSeat:
    return HoldSeat(trip_id=trip.trip_id)


@seat.undo
def _(trip: Trip) -> ReleaseSeat:
    return ReleaseSeat(trip_id=trip.trip_id)


@trip_saga.pivot(to=FLIGHTS, timeout=9, unknown="hold")
def ticket(trip: Trip) -> IssueTicket:
    return IssueTicket(trip_id=trip.trip_id)


@trip_saga.retriable(to=MAIL, timeout=5)
def mail(trip: Trip) -> SendMail:
    return SendMail(trip_id=trip.trip_id)


seat.reply(unchanged)
ticket.reply(unchanged)
mail.reply(unchanged)
trip_saga.flow(room >> seat >> ticket >> mail)
