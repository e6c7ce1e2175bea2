"""The order saga told as stories: what it does when all goes well, and when each thing goes wrong."""

from itertools import pairwise

from sagas.testing import Scenario
from services.contracts import (
    INVENTORY,
    ORDERS,
    PAYMENTS,
    SHIPPING,
    CompensateOrder,
    CreateOrder,
    InventoryFailed,
    OrderRejected,
    PaymentFailed,
    ProcessPayment,
    ReleaseInventory,
    ReserveInventory,
    ShipmentFailed,
    ShipOrder,
)
from services.orders.saga import OrderData, order_saga, reserve, ship
from tests.scenarios.order_parts import (
    CANCELLED,
    PAID,
    PLACED,
    RELEASED,
    RESERVED,
    SHIPPED,
    created,
    paid,
    placed,
    reserved,
    turn_back_from_create,
    turn_back_from_pay,
    turn_back_from_reserve,
)

# --------------------------------------------------------------------------- all goes well


def test_an_order_that_nothing_stops_is_created_reserved_paid_and_shipped() -> None:
    story = Scenario(order_saga).start_event(PLACED)
    story.expect(
        CreateOrder(order_id="o-1", items=PLACED.items, total="59.98", card="card-ok", address="1 Harbour Street")
    ).to(ORDERS).reply(PLACED)
    story.expect(ReserveInventory(order_id="o-1", items=PLACED.items)).to(INVENTORY).reply(RESERVED)
    story.expect(ProcessPayment(order_id="o-1", amount="59.98", card="card-ok")).to(PAYMENTS).reply(PAID)
    story.expect(ShipOrder(order_id="o-1", items=PLACED.items, address="1 Harbour Street")).to(SHIPPING).reply(SHIPPED)
    story.expect_completed()
    assert (story.data.payment_id, story.data.tracking) == ("pay-1", "track-1")
    assert story.timers == {}


def test_a_run_given_its_data_goes_the_way_of_one_started_by_its_event() -> None:
    by_data = Scenario(order_saga).given(
        OrderData(order_id="o-1", items=PLACED.items, total="59.98", card="card-ok", address="1 Harbour Street")
    )
    assert by_data.instance == placed().instance


def test_an_order_placed_twice_runs_once() -> None:
    story = created().start_event(PLACED).expect_verdict("duplicate")
    story.expect(ReserveInventory)
    story.expect_nothing()


# --------------------------------------------------------------------------- each step is refused


def test_an_order_that_is_refused_at_once_leaves_nothing_to_undo() -> None:
    story = placed()
    story.expect(CreateOrder).reply(OrderRejected(order_id="o-1", reason="nothing to pay"))
    story.expect_rejected(cause="nothing to pay")
    assert story.timers == {}


def test_an_empty_shelf_cancels_the_order() -> None:
    story = created()
    story.expect(ReserveInventory).reply(InventoryFailed(order_id="o-1", reason="out of stock"))
    turn_back_from_create(story)
    story.expect_compensated(cause="out of stock")


def test_a_declined_card_puts_everything_back() -> None:
    story = reserved()
    story.expect(ProcessPayment).reply(PaymentFailed(order_id="o-1", reason="card declined"))
    story.expect(ReleaseInventory(order_id="o-1")).to(INVENTORY).reply(RELEASED)
    story.expect(CompensateOrder(order_id="o-1")).to(ORDERS).reply(CANCELLED)
    story.expect_compensated(cause="pay: PaymentFailed (card declined)")
    assert story.timers == {}


def test_an_address_nobody_delivers_to_gives_the_money_back_first() -> None:
    story = paid()
    story.expect(ShipOrder).reply(ShipmentFailed(order_id="o-1", reason="address cannot be delivered to"))
    turn_back_from_pay(story)
    story.expect_compensated(cause="address cannot be delivered to")
    assert [step.effect for step in story.instance.steps] == ["undone", "undone", "undone", "refused"]


# --------------------------------------------------------------------------- no answer


def test_a_payment_that_is_not_answered_in_two_seconds_is_undone() -> None:
    story = reserved()
    story.expect(ProcessPayment)
    story.after(seconds=1.9)
    assert story.state == "pay.pending"
    story.after(seconds=0.1)
    record = story.instance.step("pay")
    assert record is not None
    assert record.effect == "unknown"
    turn_back_from_pay(story)
    story.expect_compensated(cause="pay: no answer in 2.0 s")
    assert story.timers == {}


def test_a_reservation_that_is_not_answered_is_undone_as_well() -> None:
    story = created()
    story.expect(ReserveInventory)
    story.after(seconds=30)
    turn_back_from_reserve(story)
    story.expect_compensated(cause="reserve: no answer in 30.0 s")


def test_an_order_that_is_never_confirmed_is_cancelled_for_it_may_have_been_written_down() -> None:
    story = placed()
    story.expect(CreateOrder)
    story.after(seconds=30)
    turn_back_from_create(story)
    story.expect_compensated(cause="create: no answer in 30.0 s")


def test_a_command_is_sent_again_under_the_same_id_while_its_answer_is_awaited() -> None:
    story = created()
    first = story.expect(ReserveInventory)
    story.after(seconds=10)
    second = story.expect(ReserveInventory)
    story.expect_nothing()
    assert (first.sent.attempt, second.sent.attempt) == (1, 2)
    assert first.sent.id == second.sent.id
    second.reply(RESERVED)
    story.expect(ProcessPayment).reply(PAID)
    story.expect(ShipOrder).reply(SHIPPED)
    story.expect_completed()


def test_a_service_that_is_at_it_gets_no_more_time_than_its_timeout() -> None:
    story = reserved()
    story.expect(ProcessPayment).in_progress()
    story.after(seconds=1)
    assert story.state == "pay.pending"
    story.after(seconds=1)
    turn_back_from_pay(story)
    story.expect_compensated(cause="no answer")


def test_an_undo_is_sent_again_until_it_is_answered() -> None:
    story = reserved()
    story.expect(ProcessPayment).reply(PaymentFailed(order_id="o-1", reason="card declined"))
    first = story.expect(ReleaseInventory)
    story.after(seconds=3600)
    again = story.expect(ReleaseInventory)
    assert again.sent.id == first.sent.id
    assert story.state == "reserve.undoing"
    again.reply(RELEASED)
    turn_back_from_create(story)
    story.expect_compensated(cause="card declined")


# --------------------------------------------------------------------------- the pivot


def test_a_parcel_nobody_answers_for_is_asked_about_until_the_answer_is_definite() -> None:
    story = paid()
    first = story.expect(ShipOrder)
    story.after(seconds=60)
    assert story.state == "ship.resolving"
    story.after(seconds=24 * 3600)
    assert story.state == "ship.resolving"
    again = story.expect(ShipOrder)
    assert again.sent.id == first.sent.id
    again.reply(SHIPPED)
    story.expect_completed()
    assert story.timers == {}


def test_a_parcel_asked_about_and_then_refused_turns_the_order_back() -> None:
    story = paid()
    asked = story.expect(ShipOrder)
    story.after(seconds=90)
    asked.reply(ShipmentFailed(order_id="o-1", reason="address cannot be delivered to"))
    turn_back_from_pay(story)
    story.expect_compensated(cause="address cannot be delivered to")


def test_asking_about_a_parcel_becomes_rarer_and_never_stops() -> None:
    story = paid()
    story.expect(ShipOrder)
    story.after(seconds=3600)
    sent_at = [entry.at_ms for entry in story.journal if any(sent.step == "ship" for sent in entry.sent)]
    pauses = [later - earlier for earlier, later in pairwise(sent_at)]
    assert pauses[0] == 20_000
    # From the third on each is a question, and each pause at least as long as the one before.
    assert pauses[2:] == sorted(pauses[2:])
    assert "ship" in story.timers


def test_the_deadline_no_longer_counts_once_the_parcel_was_asked_for() -> None:
    assert "saga.deadline" in reserved().timers
    assert "saga.deadline" not in paid().timers


def test_the_deadline_of_an_order_that_is_turning_back_changes_nothing() -> None:
    story = reserved()
    story.expect(ProcessPayment).reply(PaymentFailed(order_id="o-1", reason="card declined"))
    story.expect(ReleaseInventory)
    story.after(seconds=121)
    assert story.state == "reserve.undoing"
    story.late(reserve, RELEASED)
    turn_back_from_create(story)
    story.expect_compensated(cause="card declined")


# --------------------------------------------------------------------------- faults


def test_a_service_that_fails_for_now_is_asked_again_a_little_later() -> None:
    story = created()
    story.expect(ReserveInventory).fault("disk full")
    story.expect_nothing()
    story.after(seconds=0.2)
    again = story.expect(ReserveInventory)
    assert again.sent.attempt == 2
    again.reply(RESERVED)
    story.expect(ProcessPayment).reply(PAID)
    story.expect(ShipOrder).reply(SHIPPED)
    story.expect_completed()


def test_a_service_that_fails_five_times_is_given_up_and_undone() -> None:
    story = created()
    for _ in range(4):
        story.expect(ReserveInventory).fault("disk full")
        story.after(seconds=3)
    story.expect(ReserveInventory).fault("disk full")
    turn_back_from_reserve(story)
    story.expect_compensated(cause="reserve: 5 attempts failed: disk full")


def test_shipping_that_fails_five_times_waits_for_a_person_and_a_late_parcel_still_completes_it() -> None:
    story = paid()
    for _ in range(4):
        story.expect(ShipOrder).fault("no courier")
        story.after(seconds=3)
    story.expect(ShipOrder).fault("no courier")
    story.expect_stuck(reason="ship: 5 attempts failed: no courier")
    story.late(ship, SHIPPED)
    story.expect_completed()


def test_an_undo_that_fails_is_tried_again_for_ever() -> None:
    story = reserved()
    story.expect(ProcessPayment).reply(PaymentFailed(order_id="o-1", reason="card declined"))
    for _ in range(20):
        story.expect(ReleaseInventory).fault("disk full")
        story.after(seconds=60)
    story.expect(ReleaseInventory).reply(RELEASED)
    turn_back_from_create(story)
    story.expect_compensated(cause="card declined")
