"""The payments service behind its barrier."""

import logging

import pytest

from sagas import Fault
from services.contracts import PaymentFailed, PaymentProcessed, ProcessPayment, RefundPayment
from services.payments.handlers import bank_says_yes, payments
from services.payments.rules import payment_id
from tests.services.desk import NOW_MS, Desk, reply_in, same_message, ticket_for

PAY = ProcessPayment(order_id="o-1", amount="59.98", card="card-ok")
PAY_SILENT = ProcessPayment(order_id="o-1", amount="59.98", card="card-silent")
REFUND = RefundPayment(order_id="o-1")
PAYMENT_ID = payment_id("o-1")

PAYMENTS = "SELECT order_id, amount, state FROM payments"
MOVEMENTS = "SELECT cents FROM movements ORDER BY seq"


def bank_answers(desk: Desk) -> bool:
    """The bank's yes for the order comes in."""
    with desk.store.transaction() as transaction:
        return bank_says_yes(transaction, "o-1", NOW_MS)


def test_a_good_card_is_captured_once_however_often_it_is_asked_for(payments_desk: Desk) -> None:
    (first,) = payments_desk.hand(PAY, "pay")
    (second,) = payments_desk.hand(PAY, "pay", attempt=2)
    assert reply_in(first, PaymentProcessed) == PaymentProcessed(order_id="o-1", payment_id=PAYMENT_ID)
    assert same_message(first, second)
    assert payments_desk.rows(PAYMENTS) == [("o-1", 5998, "captured")]
    assert payments_desk.rows(MOVEMENTS) == [(5998,)]


def test_a_refund_gives_the_money_back_once_however_often_it_is_asked_for(payments_desk: Desk) -> None:
    payments_desk.hand(PAY, "pay")
    (first,) = payments_desk.hand(REFUND, "pay", "undo")
    (second,) = payments_desk.hand(REFUND, "pay", "undo", attempt=2)
    assert first.event_type == "payment.refunded"
    assert same_message(first, second)
    assert payments_desk.rows(PAYMENTS) == [("o-1", 5998, "refunded")]
    assert payments_desk.rows(MOVEMENTS) == [(5998,), (-5998,)]


def test_a_declined_card_leaves_no_trace_and_stays_declined(payments_desk: Desk) -> None:
    declined = ProcessPayment(order_id="o-1", amount="59.98", card="card-declined")
    (first,) = payments_desk.hand(declined, "pay")
    (second,) = payments_desk.hand(declined, "pay", attempt=2)
    (refund,) = payments_desk.hand(REFUND, "pay", "undo")
    assert reply_in(first, PaymentFailed).reason == "card declined"
    assert same_message(first, second)
    assert refund.event_type == "payment.refunded"
    assert payments_desk.rows(PAYMENTS) == []
    assert payments_desk.rows(MOVEMENTS) == []


def test_a_refund_that_overtook_its_payment_blocks_it(payments_desk: Desk) -> None:
    (refund,) = payments_desk.hand(REFUND, "pay", "undo")
    assert refund.event_type == "payment.refunded"
    assert payments_desk.hand(PAY, "pay") == []
    assert payments_desk.rows(PAYMENTS) == []


# --------------------------------------------------------------------------- the bank that does not answer


def test_a_silent_bank_leaves_the_payment_pending_and_says_so_each_time(payments_desk: Desk) -> None:
    (first,) = payments_desk.hand(PAY_SILENT, "pay")
    (second,) = payments_desk.hand(PAY_SILENT, "pay", attempt=2)
    assert first.event_type == second.event_type == "sagas.in-progress"
    assert first.id != second.id
    assert payments_desk.rows(PAYMENTS) == [("o-1", 5998, "pending")]
    assert payments_desk.rows(MOVEMENTS) == []


def test_a_pending_payment_that_the_bank_confirms_is_captured_and_answered(payments_desk: Desk) -> None:
    payments_desk.hand(PAY_SILENT, "pay")
    assert bank_answers(payments_desk)
    (answer,) = payments_desk.answers()
    (repeated,) = payments_desk.hand(PAY_SILENT, "pay", attempt=2)
    assert reply_in(answer, PaymentProcessed).payment_id == PAYMENT_ID
    assert same_message(answer, repeated)
    assert payments_desk.rows(PAYMENTS) == [("o-1", 5998, "captured")]
    assert payments_desk.rows(MOVEMENTS) == [(5998,)]


def test_a_bank_that_confirms_twice_captures_once(payments_desk: Desk) -> None:
    payments_desk.hand(PAY_SILENT, "pay")
    assert bank_answers(payments_desk)
    assert not bank_answers(payments_desk)
    assert payments_desk.rows(MOVEMENTS) == [(5998,)]


def test_a_pending_payment_is_voided_by_its_refund_and_the_bank_comes_too_late(payments_desk: Desk) -> None:
    payments_desk.hand(PAY_SILENT, "pay")
    (refund,) = payments_desk.hand(REFUND, "pay", "undo")
    assert refund.event_type == "payment.refunded"
    assert not bank_answers(payments_desk)
    assert payments_desk.answers() == []
    assert payments_desk.hand(PAY_SILENT, "pay", attempt=2) == []
    assert payments_desk.rows(PAYMENTS) == [("o-1", 5998, "voided")]
    assert payments_desk.rows(MOVEMENTS) == []


def test_an_operation_that_was_undone_cannot_be_settled_any_more(payments_desk: Desk) -> None:
    payments_desk.hand(PAY_SILENT, "pay")
    payments_desk.hand(REFUND, "pay", "undo")
    reply = PaymentProcessed(order_id="o-1", payment_id=PAYMENT_ID)
    with payments_desk.store.transaction() as transaction:
        assert not payments.settle(transaction, ticket_for("o-1", "pay"), reply, NOW_MS)
    assert payments_desk.answers() == []


def test_a_payment_captured_late_is_refunded_in_full(payments_desk: Desk) -> None:
    payments_desk.hand(PAY_SILENT, "pay")
    bank_answers(payments_desk)
    payments_desk.hand(REFUND, "pay", "undo")
    assert payments_desk.rows(PAYMENTS) == [("o-1", 5998, "refunded")]
    assert payments_desk.rows(MOVEMENTS) == [(5998,), (-5998,)]


# --------------------------------------------------------------------------- a handler that raises


def test_a_handler_that_raises_answers_fault_writes_nothing_and_may_succeed_later(
    payments_desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "sagas.participant")
    payments_desk.rows(
        "CREATE TRIGGER full BEFORE INSERT ON movements BEGIN SELECT raise(FAIL, 'the ledger is full'); END"
    )
    (fault,) = payments_desk.hand(PAY, "pay")
    assert "the ledger is full" in reply_in(fault, Fault).reason
    # The row of the payment was written before the ledger failed: it is gone with it.
    assert payments_desk.rows(PAYMENTS) == []
    payments_desk.rows("DROP TRIGGER full")
    (answer,) = payments_desk.hand(PAY, "pay", attempt=2)
    assert answer.event_type == "payment.processed"
    assert payments_desk.rows(PAYMENTS) == [("o-1", 5998, "captured")]


def test_a_refund_that_fails_keeps_the_money_where_it_is_until_it_succeeds(
    payments_desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "sagas.participant")
    payments_desk.hand(PAY, "pay")
    payments_desk.rows(
        "CREATE TRIGGER full BEFORE INSERT ON movements BEGIN SELECT raise(FAIL, 'the ledger is full'); END"
    )
    (fault,) = payments_desk.hand(REFUND, "pay", "undo")
    assert fault.event_type == "sagas.fault"
    assert payments_desk.rows(PAYMENTS) == [("o-1", 5998, "captured")]
    payments_desk.rows("DROP TRIGGER full")
    (answer,) = payments_desk.hand(REFUND, "pay", "undo", attempt=2)
    assert answer.event_type == "payment.refunded"
    assert payments_desk.rows(PAYMENTS) == [("o-1", 5998, "refunded")]


def test_no_money_moves_for_a_payment_whose_refund_was_begun_even_if_that_failed(
    payments_desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "sagas.participant")
    payments_desk.hand(PAY_SILENT, "pay")
    payments_desk.rows("CREATE TRIGGER full BEFORE UPDATE ON payments BEGIN SELECT raise(FAIL, 'locked'); END")
    (fault,) = payments_desk.hand(REFUND, "pay", "undo")
    payments_desk.rows("DROP TRIGGER full")
    assert fault.event_type == "sagas.fault"
    assert payments_desk.rows(PAYMENTS) == [("o-1", 5998, "pending")]
    assert not bank_answers(payments_desk)
    payments_desk.hand(REFUND, "pay", "undo", attempt=2)
    assert payments_desk.rows(PAYMENTS) == [("o-1", 5998, "voided")]
    assert payments_desk.rows(MOVEMENTS) == []
