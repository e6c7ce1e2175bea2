"""The order saga told as stories: answers that come twice, too late, too early, or against one another."""

from services.contracts import (
    CompensateOrder,
    CreateOrder,
    InventoryFailed,
    OrderRejected,
    PaymentFailed,
    PaymentProcessed,
    ProcessPayment,
    RefundPayment,
    ReleaseInventory,
    ReserveInventory,
    ShipmentFailed,
    ShipOrder,
)
from services.orders.saga import create, pay, reserve, ship
from tests.scenarios.order_parts import (
    CANCELLED,
    PAID,
    PLACED,
    REFUNDED,
    RELEASED,
    RESERVED,
    SHIPPED,
    created,
    paid,
    placed,
    reserved,
    turn_back_from_create,
    turn_back_from_pay,
)


def test_money_captured_after_the_timeout_is_matched_to_its_refund() -> None:
    story = reserved()
    asked = story.expect(ProcessPayment)
    story.after(seconds=2)
    asked.reply(PAID)
    story.expect_verdict("late")
    turn_back_from_pay(story)
    story.expect_compensated(cause="no answer")
    record = story.instance.step("pay")
    assert record is not None
    assert (record.effect, record.reply, record.undo_reply) == ("undone", "PaymentProcessed", "PaymentRefunded")


def test_money_captured_after_the_order_was_compensated_changes_nothing_for_the_refund_was_answered() -> None:
    story = reserved()
    asked = story.expect(ProcessPayment)
    story.after(seconds=2)
    turn_back_from_pay(story)
    asked.reply(PAID)
    story.expect_verdict("late")
    story.expect_compensated(cause="no answer")


def test_a_refusal_after_the_timeout_does_not_shorten_the_way_back() -> None:
    story = reserved()
    asked = story.expect(ProcessPayment)
    story.after(seconds=2)
    asked.reply(PaymentFailed(order_id="o-1", reason="card declined"))
    turn_back_from_pay(story)
    story.expect_compensated(cause="no answer in 2.0 s")


def test_a_fault_of_the_payment_that_comes_while_it_is_refunded_changes_nothing() -> None:
    story = reserved()
    asked = story.expect(ProcessPayment)
    story.after(seconds=2)
    timers = story.timers
    asked.fault("bank is closed")
    story.expect_verdict("late")
    assert story.timers == timers
    turn_back_from_pay(story)
    story.expect_compensated(cause="no answer")


def test_items_set_aside_after_they_were_refused_are_released_after_all() -> None:
    story = created()
    refused = story.expect(ReserveInventory)
    refused.reply(InventoryFailed(order_id="o-1", reason="out of stock"))
    cancel = story.expect(CompensateOrder)
    story.late(reserve, RESERVED).expect_verdict("late")
    release = story.expect(ReleaseInventory)
    cancel.reply(CANCELLED)
    story.expect_verdict("late")
    release.reply(RELEASED)
    story.expect_compensated(cause="out of stock")


def test_items_set_aside_after_the_order_was_compensated_are_released_after_all() -> None:
    story = created()
    story.expect(ReserveInventory).reply(InventoryFailed(order_id="o-1", reason="out of stock"))
    turn_back_from_create(story)
    story.expect_compensated()
    story.late(reserve, RESERVED)
    story.expect(ReleaseInventory).reply(RELEASED)
    story.expect_nothing()
    story.expect_compensated(cause="out of stock")


def test_an_order_written_down_after_it_was_refused_is_cancelled_after_all() -> None:
    story = placed()
    story.expect(CreateOrder).reply(OrderRejected(order_id="o-1", reason="nothing to pay"))
    story.expect_rejected()
    story.late(create, PLACED)
    turn_back_from_create(story)
    story.expect_compensated(cause="nothing to pay")


def test_a_parcel_sent_after_it_was_refused_is_for_a_person_to_sort_out() -> None:
    story = paid()
    story.expect(ShipOrder).reply(ShipmentFailed(order_id="o-1", reason="address cannot be delivered to"))
    story.expect(RefundPayment)
    story.late(ship, SHIPPED)
    story.expect_stuck(reason="was done after it had been refused")


def test_a_reply_that_arrives_twice_moves_the_order_once() -> None:
    story = created()
    asked = story.expect(ReserveInventory)
    asked.reply(RESERVED)
    asked.reply(RESERVED)
    story.expect_verdict("duplicate")
    story.repeat_last_reply().expect_verdict("duplicate")
    story.expect(ProcessPayment).reply(PAID)
    story.late(reserve, RESERVED).expect_verdict("duplicate")
    story.expect(ShipOrder).reply(SHIPPED)
    story.expect_completed()


def test_the_answer_to_an_undo_that_arrives_twice_moves_the_order_once() -> None:
    story = reserved()
    story.expect(ProcessPayment).reply(PaymentFailed(order_id="o-1", reason="card declined"))
    story.expect(ReleaseInventory).reply(RELEASED)
    story.repeat_last_reply().expect_verdict("duplicate")
    turn_back_from_create(story)
    story.repeat_last_reply().expect_verdict("duplicate")
    story.expect_compensated()


def test_a_refund_that_nobody_asked_for_is_early() -> None:
    story = reserved().late(pay, REFUNDED).expect_verdict("early")
    assert story.state == "pay.pending"


def test_an_answer_to_a_step_that_was_not_reached_is_early() -> None:
    story = created().late(ship, SHIPPED).expect_verdict("early")
    assert story.state == "reserve.pending"


def test_a_refusal_after_success_is_a_contradiction_and_moves_nothing() -> None:
    story = paid().late(pay, PaymentFailed(order_id="o-1", reason="card declined")).expect_verdict("violation")
    assert story.state == "ship.pending"


def test_the_first_payment_id_is_kept() -> None:
    story = paid().late(pay, PaymentProcessed(order_id="o-1", payment_id="pay-2")).expect_verdict("duplicate")
    assert story.data.payment_id == "pay-1"
