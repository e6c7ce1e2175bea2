"""A trip: seat, room and car are reserved at once, then all is charged. Whichever is refused, the others are freed."""

from examples.travel_booking import messages as m
from sagas import Saga, unchanged

booking_saga = Saga("booking", m.Trip, version=1, key="trip_id", deadline=300)


@booking_saga.start(on=m.BILLING)
def begin(event: m.TripAsked) -> m.Trip:
    return m.Trip(event.trip_id, event.traveller, event.nights)


@booking_saga.step(to=m.FLIGHTS, timeout=60, unknown="undo")
def seat(trip: m.Trip) -> m.ReserveSeat:
    return m.ReserveSeat(trip_id=trip.trip_id, traveller=trip.traveller, nights=trip.nights)


@seat.undo
def _(trip: m.Trip) -> m.FreeSeat:
    return m.FreeSeat(trip_id=trip.trip_id)


@booking_saga.step(to=m.HOTELS, timeout=60, unknown="undo")
def room(trip: m.Trip) -> m.ReserveRoom:
    return m.ReserveRoom(trip_id=trip.trip_id, traveller=trip.traveller, nights=trip.nights)


@room.undo
def _(trip: m.Trip) -> m.FreeRoom:
    return m.FreeRoom(trip_id=trip.trip_id)


@booking_saga.step(to=m.CARS, timeout=60, unknown="undo")
def car(trip: m.Trip) -> m.ReserveCar:
    return m.ReserveCar(trip_id=trip.trip_id, traveller=trip.traveller, nights=trip.nights)


@car.undo
def _(trip: m.Trip) -> m.FreeCar:
    return m.FreeCar(trip_id=trip.trip_id)


@booking_saga.pivot(to=m.BILLING, timeout=60, unknown="ask")
def charge(trip: m.Trip) -> m.ChargeTrip:
    return m.ChargeTrip(trip_id=trip.trip_id, traveller=trip.traveller)


@booking_saga.retriable(to=m.MAIL, timeout=60)
def tickets(trip: m.Trip) -> m.SendTickets:
    return m.SendTickets(trip_id=trip.trip_id, traveller=trip.traveller)


seat.reply(unchanged)
room.reply(unchanged)
car.reply(unchanged)
charge.reply(unchanged)
tickets.reply(unchanged)
booking_saga.flow((seat & room & car) >> charge >> tickets)
