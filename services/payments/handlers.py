"""The payments service: it captures the total, and gives it back when the saga turns back.

A bank that does not answer at once is the reason for `InProgress`: the payment is written down as
pending, and whoever brings the bank's word later calls `bank_says_yes`.
"""

from sagas import InProgress
from sagas.ports import ParticipantTransaction, Sql
from sagas.runtime.handlers import Ticket
from sagas.runtime.participant import Service
from services.contracts import (
    PAYMENTS,
    PaymentFailed,
    PaymentProcessed,
    PaymentRefunded,
    ProcessPayment,
    RefundPayment,
)
from services.money import to_cents
from services.payments import tables
from services.payments.rules import outcome, payment_id

payments = Service(PAYMENTS)


@payments.handles
def process_payment(sql: Sql, command: ProcessPayment, ticket: Ticket) -> PaymentProcessed | PaymentFailed | InProgress:
    """Capture the total."""
    order_id, payment, cents = command.order_id, payment_id(command.order_id), to_cents(command.amount)
    match outcome(command.card):
        case "captured":
            tables.capture(sql, payment, order_id, cents)
            return PaymentProcessed(order_id=order_id, payment_id=payment)
        case "declined":
            return PaymentFailed(order_id=order_id, reason="card declined")
        case "no answer":
            tables.await_bank(sql, payment, order_id, cents, ticket)
            return InProgress()


@payments.undoes
def refund_payment(sql: Sql, command: RefundPayment) -> PaymentRefunded:
    """Give the money back, or call off what the bank has not answered."""
    tables.give_back(sql, payment_id(command.order_id))
    return PaymentRefunded(order_id=command.order_id)


def bank_says_yes(transaction: ParticipantTransaction, order_id: str, now_ms: int) -> bool:
    """Capture a pending payment and answer its saga. False when there is none, or it was called off meanwhile."""
    ticket = tables.ticket_of(transaction.sql, order_id)
    if ticket is None:
        return False
    reply = PaymentProcessed(order_id=order_id, payment_id=payment_id(order_id))
    # The barrier decides, not the table: once the undo has passed it, no money may move any more.
    if not payments.settle(transaction, ticket, reply, now_ms):
        return False
    tables.capture_pending(transaction.sql, payment_id(order_id))
    return True
