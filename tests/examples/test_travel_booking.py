"""Stories of a trip: three reservations at once, all of them or none."""

from examples.travel_booking import messages as m
from examples.travel_booking.saga import booking_saga
from sagas.testing import Scenario

ASKED = m.TripAsked(trip_id="t-1", traveller="ann", nights=3)


def test_all_three_are_asked_for_at_once_and_charged_when_all_are_there() -> None:
    story = Scenario(booking_saga).start_event(ASKED)
    seat, room, car = (story.expect(m.ReserveSeat), story.expect(m.ReserveRoom), story.expect(m.ReserveCar))
    car.reply(m.CarReserved(trip_id="t-1"))
    seat.reply(m.SeatReserved(trip_id="t-1"))
    story.expect_nothing()
    room.reply(m.RoomReserved(trip_id="t-1"))
    story.expect(m.ChargeTrip).reply(m.TripCharged(trip_id="t-1"))
    story.expect(m.SendTickets).reply(m.TicketsSent(trip_id="t-1"))
    story.expect_completed()


def test_a_full_hotel_frees_the_seat_and_the_car_that_is_still_being_asked_for() -> None:
    story = Scenario(booking_saga).start_event(ASKED)
    seat, room, _ = (story.expect(m.ReserveSeat), story.expect(m.ReserveRoom), story.expect(m.ReserveCar))
    seat.reply(m.SeatReserved(trip_id="t-1"))
    room.reply(m.RoomRefused(trip_id="t-1", reason="full"))
    story.expect(m.FreeSeat).reply(m.SeatFreed(trip_id="t-1"))
    story.expect(m.FreeCar).reply(m.CarFreed(trip_id="t-1"))
    story.expect_compensated(cause="full")


def test_a_declined_card_frees_all_three() -> None:
    story = Scenario(booking_saga).start_event(ASKED)
    story.expect(m.ReserveSeat).reply(m.SeatReserved(trip_id="t-1"))
    story.expect(m.ReserveRoom).reply(m.RoomReserved(trip_id="t-1"))
    story.expect(m.ReserveCar).reply(m.CarReserved(trip_id="t-1"))
    story.expect(m.ChargeTrip).reply(m.ChargeRefused(trip_id="t-1", reason="declined"))
    seat, room, car = (story.expect(m.FreeSeat), story.expect(m.FreeRoom), story.expect(m.FreeCar))
    room.reply(m.RoomFreed(trip_id="t-1"))
    car.reply(m.CarFreed(trip_id="t-1"))
    seat.reply(m.SeatFreed(trip_id="t-1"))
    story.expect_compensated(cause="declined")
