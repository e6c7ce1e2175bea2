"""A trip with everything a course can have, and the services that book it: for whole systems in one process."""

import msgspec

from sagas import Command, Event, Participant, Rejection, Saga, unchanged
from sagas.ports import Sql
from sagas.runtime.participant import Service

HOTEL = Participant("hotel", key="trip_id")
FLIGHT = Participant("flight", key="trip_id")
BANK = Participant("bank", key="trip_id")
DESK = Participant("desk", key="trip_id")


class TripAsked(Event, tag="trip.asked"):
    trip_id: str
    seats: int = 1
    is_abroad: bool = False


class TripApproved(Event, tag="trip.approved"):
    trip_id: str


class TripDenied(Rejection, tag="trip.denied"):
    trip_id: str
    reason: str


class RoomBooked(Event, tag="room.booked"):
    trip_id: str


class RoomFreed(Event, tag="room.freed"):
    trip_id: str


class BookRoom(Command[RoomBooked], tag="room.book"):
    trip_id: str


class FreeRoom(Command[RoomFreed], tag="room.free"):
    trip_id: str


class SeatBooked(Event, tag="seat.booked"):
    trip_id: str


class SeatRefused(Rejection, tag="seat.refused"):
    trip_id: str
    reason: str


class SeatFreed(Event, tag="seat.freed"):
    trip_id: str


class BookSeat(Command[SeatBooked | SeatRefused], tag="seat.book"):
    trip_id: str
    seats: int


class FreeSeat(Command[SeatFreed], tag="seat.free"):
    trip_id: str


class VisaGranted(Event, tag="visa.granted"):
    trip_id: str


class AskVisa(Command[VisaGranted], tag="visa.ask"):
    trip_id: str


class CardCharged(Event, tag="card.charged"):
    trip_id: str


class CardDeclined(Rejection, tag="card.declined"):
    trip_id: str
    reason: str


class ChargeCard(Command[CardCharged | CardDeclined], tag="card.charge"):
    trip_id: str


class InvoiceSent(Event, tag="invoice.sent"):
    trip_id: str


class SendInvoice(Command[InvoiceSent], tag="invoice.send"):
    trip_id: str


class Trip(msgspec.Struct, frozen=True):
    """What the saga remembers of a trip."""

    trip_id: str
    seats: int
    is_abroad: bool


trip_saga = Saga("trip", Trip, version=1)


@trip_saga.start(on=DESK)
def begin(event: TripAsked) -> Trip:
    return Trip(event.trip_id, event.seats, event.is_abroad)


@trip_saga.step(to=HOTEL, timeout=30, unknown="undo")
def room(trip: Trip) -> BookRoom:
    return BookRoom(trip_id=trip.trip_id)


@room.undo
def _(trip: Trip) -> FreeRoom:
    return FreeRoom(trip_id=trip.trip_id)


@trip_saga.step(to=FLIGHT, timeout=30, unknown="undo")
def seat(trip: Trip) -> BookSeat:
    return BookSeat(trip_id=trip.trip_id, seats=trip.seats)


@seat.undo
def _(trip: Trip) -> FreeSeat:
    return FreeSeat(trip_id=trip.trip_id)


@trip_saga.step(to=DESK, timeout=30, unknown="undo", leaves_nothing=True)
def visa(trip: Trip) -> AskVisa:
    return AskVisa(trip_id=trip.trip_id)


def goes_abroad(trip: Trip) -> bool:
    return trip.is_abroad


@trip_saga.wait(on=DESK, timeout=3_600, absence="refusal")
def approval(trip: Trip, signal: TripApproved | TripDenied) -> Trip:
    return trip


@trip_saga.delay
def cooling_off(trip: Trip) -> float:
    return 60.0


@trip_saga.pivot(to=BANK, timeout=30, unknown="ask")
def charge(trip: Trip) -> ChargeCard:
    return ChargeCard(trip_id=trip.trip_id)


@trip_saga.retriable(to=BANK, timeout=30)
def invoice(trip: Trip) -> SendInvoice:
    return SendInvoice(trip_id=trip.trip_id)


room.reply(unchanged)
seat.reply(unchanged)
visa.reply(unchanged)
charge.reply(unchanged)
invoice.reply(unchanged)
trip_saga.flow(
    (room & seat) >> trip_saga.when(goes_abroad, visa) >> approval >> cooling_off >> charge.on(CardDeclined, invoice)
)

hotel, flight, bank, desk = Service(HOTEL), Service(FLIGHT), Service(BANK), Service(DESK)

SEATS = 4
UNBANKED = "poor"
"""A trip whose key begins so has a card that is declined."""


@hotel.handles
def book_room(sql: Sql, command: BookRoom) -> RoomBooked:
    return RoomBooked(trip_id=command.trip_id)


@hotel.undoes
def free_room(sql: Sql, command: FreeRoom) -> RoomFreed:
    return RoomFreed(trip_id=command.trip_id)


@flight.handles
def book_seat(sql: Sql, command: BookSeat) -> SeatBooked | SeatRefused:
    if command.seats > SEATS:
        return SeatRefused(trip_id=command.trip_id, reason="sold out")
    return SeatBooked(trip_id=command.trip_id)


@flight.undoes
def free_seat(sql: Sql, command: FreeSeat) -> SeatFreed:
    return SeatFreed(trip_id=command.trip_id)


@desk.handles
def ask_visa(sql: Sql, command: AskVisa) -> VisaGranted:
    return VisaGranted(trip_id=command.trip_id)


@bank.handles
def charge_card(sql: Sql, command: ChargeCard) -> CardCharged | CardDeclined:
    if command.trip_id.startswith(UNBANKED):
        return CardDeclined(trip_id=command.trip_id, reason="no money")
    return CardCharged(trip_id=command.trip_id)


@bank.handles
def send_invoice(sql: Sql, command: SendInvoice) -> InvoiceSent:
    return InvoiceSent(trip_id=command.trip_id)
