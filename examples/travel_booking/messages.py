"""What an agency says to those who carry, house and drive its customers."""

import msgspec

from sagas import Command, Event, Key, Participant, Rejection, Text

FLIGHTS = Participant("flights", key="trip_id")
HOTELS = Participant("hotels", key="trip_id")
CARS = Participant("cars", key="trip_id")
BILLING = Participant("billing", key="trip_id")
MAIL = Participant("mail", key="trip_id")


class TripAsked(Event, tag="trip.asked"):
    """Somebody wants to travel."""

    trip_id: Key
    traveller: Key
    nights: int


class SeatReserved(Event, tag="seat.reserved"):
    """The seat is reserved."""

    trip_id: Key


class SeatRefused(Rejection, tag="seat.refused"):
    """There is no seat left."""

    trip_id: Key
    reason: Text


class ReserveSeat(Command[SeatReserved | SeatRefused], tag="seat.reserve"):
    """Reserve a seat."""

    trip_id: Key
    traveller: Key
    nights: int


class SeatFreed(Event, tag="seat.freed"):
    """The seat is free again."""

    trip_id: Key


class FreeSeat(Command[SeatFreed], tag="seat.free"):
    """Give the seat back."""

    trip_id: Key


class RoomReserved(Event, tag="room.reserved"):
    """The room is reserved."""

    trip_id: Key


class RoomRefused(Rejection, tag="room.refused"):
    """There is no room left."""

    trip_id: Key
    reason: Text


class ReserveRoom(Command[RoomReserved | RoomRefused], tag="room.reserve"):
    """Reserve a room."""

    trip_id: Key
    traveller: Key
    nights: int


class RoomFreed(Event, tag="room.freed"):
    """The room is free again."""

    trip_id: Key


class FreeRoom(Command[RoomFreed], tag="room.free"):
    """Give the room back."""

    trip_id: Key


class CarReserved(Event, tag="car.reserved"):
    """The car is reserved."""

    trip_id: Key


class CarRefused(Rejection, tag="car.refused"):
    """There is no car left."""

    trip_id: Key
    reason: Text


class ReserveCar(Command[CarReserved | CarRefused], tag="car.reserve"):
    """Reserve a car."""

    trip_id: Key
    traveller: Key
    nights: int


class CarFreed(Event, tag="car.freed"):
    """The car is free again."""

    trip_id: Key


class FreeCar(Command[CarFreed], tag="car.free"):
    """Give the car back."""

    trip_id: Key


class TripCharged(Event, tag="trip.charged"):
    """The whole trip is paid."""

    trip_id: Key


class ChargeRefused(Rejection, tag="trip.charge-refused"):
    """The card was declined."""

    trip_id: Key
    reason: Text


class ChargeTrip(Command[TripCharged | ChargeRefused], tag="trip.charge"):
    """Charge the whole trip."""

    trip_id: Key
    traveller: Key


class TicketsSent(Event, tag="tickets.sent"):
    """The tickets are in the mail."""

    trip_id: Key


class SendTickets(Command[TicketsSent], tag="tickets.send"):
    """Mail the tickets."""

    trip_id: Key
    traveller: Key


class Trip(msgspec.Struct, frozen=True):
    """What the saga remembers of a trip."""

    trip_id: str
    traveller: str
    nights: int
