"""A command that cannot be read is a dead letter, and its saga is told, so that it need not wait."""

import msgspec
import pytest

from sagas.core.envelope import Header, encode_message
from sagas.core.ids import derived_id
from sagas.core.messages import Undeliverable, tag_of
from services.contracts import PaymentFailed, PaymentProcessed, PaymentRefunded, ProcessPayment, RefundPayment
from tests.services.desk import KEY, NOW_MS, Desk, reply_in, same_message, ticket_for

PAY = ProcessPayment(order_id="o-1", amount="59.98", card="card-ok")
REFUND = RefundPayment(order_id="o-1")
INSTANCE = ticket_for("o-1", "pay").instance_id
HEADERS = {Header.INSTANCE: INSTANCE, Header.STEP: "pay", Header.OPERATION: "do", Header.ATTEMPT: "1"}
UNDO = {**HEADERS, Header.OPERATION: "undo"}
GOOD = encode_message(PAY, message_id=derived_id(INSTANCE, "pay", "do"), key_field=KEY, key="o-1", now_ms=NOW_MS)
GOOD_UNDO = encode_message(REFUND, message_id="m", key_field=KEY, key="o-1", now_ms=NOW_MS)
UNKNOWN = GOOD.replace(b"payment.process", b"payment.hold")

UNREADABLE = [b"\xff\xfe", b"{}", UNKNOWN, GOOD.replace(b'"59.98"', b"59.98"), GOOD.replace(b"o-1", b"../o-1")]


@pytest.mark.parametrize("payload", UNREADABLE, ids=["no JSON", "no envelope", "unknown", "wrong body", "no key"])
def test_a_command_that_cannot_be_read_is_answered_with_the_reason_and_kept(
    payments_desk: Desk, payload: bytes
) -> None:
    (answer,) = payments_desk.hand_raw(payload, HEADERS)
    (letter,) = payments_desk.dead_letters()
    assert reply_in(answer, Undeliverable).reason == letter.reason
    assert answer.headers == {
        Header.INSTANCE: INSTANCE,
        Header.STEP: "pay",
        Header.OPERATION: "do",
        Header.COMMAND: derived_id(INSTANCE, "pay", "do"),
    }
    assert (letter.payload, letter.headers, letter.attempts, letter.is_whole) == (payload, HEADERS, 1, True)


@pytest.mark.parametrize("payload", UNREADABLE, ids=["no JSON", "no envelope", "unknown", "wrong body", "no key"])
def test_a_release_that_understands_it_still_refuses_it_for_its_saga_has_turned_back(
    payments_desk: Desk, payload: bytes
) -> None:
    (first,) = payments_desk.hand_raw(payload, HEADERS)
    (again,) = payments_desk.hand_raw(payload, HEADERS, "m-2")
    (repaired,) = payments_desk.hand(PAY, "pay")
    assert same_message(first, again)
    assert (repaired.id, repaired.payload) == (first.id, first.payload)
    assert payments_desk.rows("SELECT * FROM payments") == []
    assert len(payments_desk.dead_letters()) == 1


def test_its_undo_has_nothing_to_undo(payments_desk: Desk) -> None:
    payments_desk.hand_raw(UNKNOWN, HEADERS)
    (answer,) = payments_desk.hand(REFUND, "pay", "undo")
    assert reply_in(answer, PaymentRefunded) == PaymentRefunded(order_id="o-1")


@pytest.mark.parametrize("headers", [UNDO, {**HEADERS, Header.KIND: "retriable"}], ids=["an undo", "behind the pivot"])
def test_one_whose_saga_cannot_turn_back_is_carried_out_when_it_is_sent_again_after_a_repair(
    payments_desk: Desk, headers: dict[str, str]
) -> None:
    (first,) = payments_desk.hand_raw(UNKNOWN, headers)
    (second,) = payments_desk.hand_raw(UNKNOWN, {**headers, Header.ATTEMPT: "2"})
    assert first.id != second.id, "the saga's inbox would swallow it"
    good, reply = (GOOD_UNDO, "payment.refunded") if headers is UNDO else (GOOD, "payment.processed")
    (repaired,) = payments_desk.hand_raw(good, {**headers, Header.ATTEMPT: "3"})
    assert repaired.event_type == reply


def test_what_was_carried_out_before_is_not_refused_now(payments_desk: Desk) -> None:
    payments_desk.hand(PAY, "pay")
    assert payments_desk.hand_raw(b"\xff", HEADERS) == []
    assert len(payments_desk.dead_letters()) == 1
    (again,) = payments_desk.hand(PAY, "pay")
    assert again.event_type == tag_of(PaymentProcessed)


def test_a_refusal_stays_a_refusal_and_a_blocked_do_stays_blocked(payments_desk: Desk) -> None:
    payments_desk.hand(msgspec.structs.replace(PAY, card="card-declined"), "pay")
    assert payments_desk.hand_raw(UNKNOWN, HEADERS) == []
    (again,) = payments_desk.hand(msgspec.structs.replace(PAY, card="card-declined"), "pay")
    assert again.event_type == tag_of(PaymentFailed)
    payments_desk.hand(RefundPayment(order_id="o-2"), "pay", "undo")
    instance = ticket_for("o-2", "pay").instance_id
    assert payments_desk.hand_raw(UNKNOWN, {**HEADERS, Header.INSTANCE: instance}) == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {**HEADERS, Header.INSTANCE: "o-1"},
        {**HEADERS, Header.INSTANCE: INSTANCE.upper()},
        {**HEADERS, Header.INSTANCE: f"urn:uuid:{INSTANCE}"},
        {**HEADERS, Header.STEP: ""},
        {**HEADERS, Header.STEP: "pay\0"},
        {**HEADERS, Header.STEP: "../pay"},
        {**HEADERS, Header.OPERATION: "redo"},
    ],
)
def test_nobody_is_told_when_the_headers_do_not_say_whose_it_is(payments_desk: Desk, headers: dict[str, str]) -> None:
    for payload in (UNKNOWN, GOOD):
        assert payments_desk.hand_raw(payload, headers) == []
    assert len(payments_desk.dead_letters()) == 2
    assert payments_desk.rows("SELECT * FROM barrier") == []
    assert payments_desk.rows("SELECT * FROM payments") == []


def test_the_same_id_with_another_body_is_kept_and_answered_by_nobody(payments_desk: Desk) -> None:
    payments_desk.hand(PAY, "pay")
    assert payments_desk.hand(msgspec.structs.replace(PAY, amount="0.01"), "pay") == []
    (letter,) = payments_desk.dead_letters()
    assert letter.reason.endswith("same id as before, another body")
