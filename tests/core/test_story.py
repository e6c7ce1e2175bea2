"""A run told in words, from what the kernel wrote about it."""

import msgspec
import pytest

from sagas.core.durations import elapsed
from sagas.core.effects import CarryOver, Fire, Input, Operate, Reply, Signal, Start, Verdict
from sagas.core.story import happenings, operations, standing, summary, undo_names
from sagas.ports import JournalRow
from services.contracts import (
    InventoryFailed,
    InventoryReleased,
    InventoryReserved,
    OrderCompensated,
    OrderCreated,
    OrderShipped,
    PaymentFailed,
    PaymentProcessed,
    PaymentRefunded,
)
from services.contracts import Item as OrderItem
from services.orders.saga import OrderData, order_saga
from tests.core.courses import Data, lanes, message
from tests.core.past import NOW_MS, Past
from tests.core.trip import RoomBooked, RoomKept, SeatHeld, SeatRefused, Trip, trip_saga
from tests.runtime import trips

ORDER = order_saga.definition
NAMES = undo_names(ORDER)


def an_order() -> Past:
    items = (OrderItem("kettle", 1),)
    return Past(ORDER, "o-1", OrderData("o-1", items, "59.98", "card-ok", "here")).reply(
        "create", OrderCreated(order_id="o-1", items=items, total="59.98")
    )


def a_paid_order() -> Past:
    return (
        an_order()
        .reply("reserve", InventoryReserved(order_id="o-1"))
        .reply("pay", PaymentProcessed(order_id="o-1", payment_id="p-1"))
    )


def a_trip() -> Past:
    return Past(trip_saga.definition, "t-1", Trip("t-1", 2)).reply("room", RoomBooked(trip_id="t-1", room=7))


def test_a_straight_run_is_told_step_by_step() -> None:
    past = a_paid_order().reply("ship", OrderShipped(order_id="o-1", tracking="t"))

    assert summary(past.instance, NAMES) == "create ok · reserve ok · pay ok · ship ok"
    assert standing(past.instance) == ""


def test_a_refusal_is_told_with_its_reason_and_then_the_undos_by_their_own_words() -> None:
    past = (
        an_order()
        .reply("reserve", InventoryReserved(order_id="o-1"))
        .reply("pay", PaymentFailed(order_id="o-1", reason="card declined"))
        .undo_reply("reserve", InventoryReleased(order_id="o-1"))
        .undo_reply("create", OrderCompensated(order_id="o-1"))
    )

    assert summary(past.instance, NAMES) == (
        "create ok · reserve ok · pay refused (card declined) · release ok · compensate ok"
    )
    assert standing(past.instance) == "turned back because of pay: PaymentFailed (card declined)"


def test_what_no_step_refused_is_told_at_the_end() -> None:
    past = (
        Past(trips.trip_saga.definition, "t-1", trips.Trip("t-1", 1, False))
        .reply("room", trips.RoomBooked(trip_id="t-1"))
        .reply("seat", trips.SeatBooked(trip_id="t-1"))
        .signal(trips.TripDenied(trip_id="t-1", reason="too dear"))
    )

    assert summary(past.instance, {}) == (
        "room ok · seat ok · undo seat waiting · undo room waiting · cause: approval: TripDenied (too dear)"
    )


def test_what_turned_a_run_back_before_any_step_is_all_that_is_told_of_it() -> None:
    past = Past(trips.trip_saga.definition, "t-1", trips.Trip("t-1", 1, False))
    told = msgspec.structs.replace(past.instance, steps=(), cause="pack: two items have the key 'a'")

    assert summary(told, {}) == "cause: pack: two items have the key 'a'"


def test_a_refusal_without_a_reason_is_told_without_empty_brackets() -> None:
    past = an_order().reply("reserve", InventoryFailed(order_id="o-1", reason=""))

    assert summary(past.instance, NAMES) == "create ok · reserve refused · compensate waiting"
    assert standing(past.instance) == "on its way: create being undone; turned back because of reserve: InventoryFailed"


def test_a_reason_with_brackets_and_line_ends_is_told_whole() -> None:
    past = an_order().reply("reserve", InventoryFailed(order_id="o-1", reason="sold (out)\nuntil May)"))

    assert operations(past.instance, NAMES)[1].why == "sold (out)\nuntil May)"


def test_a_step_that_did_not_answer_is_unknown_and_stays_so_when_its_answer_comes_late() -> None:
    past = an_order().reply("reserve", InventoryReserved(order_id="o-1")).timeout("pay")
    before = summary(past.instance, NAMES)

    past.reply("pay", PaymentProcessed(order_id="o-1", payment_id="p-1"))

    assert before == "create ok · reserve ok · pay unknown (no answer in 2.0 s) · refund waiting"
    assert summary(past.instance, NAMES) == before
    assert past.journal[-1].verdict == "late"


def test_without_its_definition_an_undo_is_named_after_its_step() -> None:
    past = (
        an_order()
        .reply("reserve", InventoryReserved(order_id="o-1"))
        .timeout("pay")
        .undo_reply("pay", PaymentRefunded(order_id="o-1"))
    )

    assert [told.name for told in operations(past.instance, {})] == [
        "create",
        "reserve",
        "pay",
        "undo pay",
        "undo reserve",
    ]


def test_a_run_that_is_stuck_says_why_and_which_undo_was_refused() -> None:
    past = (
        a_trip()
        .reply("seat", SeatRefused(trip_id="t-1", reason="full"))
        .undo_reply("room", RoomKept(trip_id="t-1", reason="non-refundable"))
    )

    assert standing(past.instance) == "stuck: room: its undo was refused: RoomKept (non-refundable)"
    told = operations(past.instance, undo_names(trip_saga.definition))[-1]
    assert (told.name, told.outcome, told.why) == ("free", "refused", "its undo was refused: RoomKept (non-refundable)")


def test_a_pivot_that_is_held_is_unknown_and_says_so() -> None:
    past = a_trip().reply("seat", SeatHeld(trip_id="t-1")).timeout("ticket")

    assert summary(past.instance, {}) == "room ok · seat ok · ticket unknown (no answer in 9.0 s)"
    assert standing(past.instance) == "stuck: ticket: no answer in 9.0 s"


def test_a_run_that_was_abandoned_did_not_turn_back() -> None:
    past = a_trip().operate("abandon", "nobody comes")

    assert standing(past.instance) == "abandoned by ann: nobody comes"


def test_a_person_who_gave_no_reason_is_told_without_one() -> None:
    past = a_trip().reply("seat", SeatHeld(trip_id="t-1")).timeout("ticket").operate("retry", "")

    assert happenings(past.journal)[-1][1] == "ann asked to retry it → ticket asked: retry by ann"


def test_the_names_of_undos_are_the_first_words_of_their_commands() -> None:
    assert NAMES == {"create": "compensate", "reserve": "release", "pay": "refund"}


def test_the_journal_is_told_in_words_with_its_times() -> None:
    past = an_order().reply("reserve", InventoryFailed(order_id="o-1", reason="none left"))

    assert happenings(past.journal) == [
        (NOW_MS, "started for o-1 → create asked"),
        (NOW_MS + 10, "create answered order.created → reserve asked"),
        (NOW_MS + 20, "reserve answered inventory.failed (none left) → create being undone"),
    ]


def test_what_changed_nothing_is_told_with_how_it_stood() -> None:
    past = an_order().reply("create", OrderCreated(order_id="o-1", items=(OrderItem("kettle", 1),), total="59.98"))

    assert happenings(past.journal)[-1] == (NOW_MS + 20, "create answered order.created (duplicate)")


def test_a_branch_that_only_goes_on_waiting_is_not_told_again() -> None:
    done_a, done_b = message("DoneA", "a.done"), message("DoneB", "b.done")
    past = Past(lanes(), "k-1", Data("k-1")).reply("a", done_a(k="k-1")).reply("b", done_b(k="k-1"))

    assert [words for _, words in happenings(past.journal)] == [
        "started for k-1 → a asked, b asked",
        "a answered a.done",
        "b answered b.done → c asked",
    ]


def test_a_journal_row_of_another_release_is_told_all_the_same() -> None:
    verdict: Verdict = "advance"
    row = JournalRow(instance_id="i", revision=1, at_ms=5, verdict=verdict, input=b"\xc1", note="moved")

    assert happenings([row]) == [(5, "something this release cannot read: moved")]


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (Start(key="o-1", data=b"{}"), "started for o-1"),
        (Signal(event_type="agreed", data=b"{}"), "the signal agreed came"),
        (Signal(event_type="denied", data=b'{"reason":"too dear"}'), "the signal denied (too dear) came"),
        (Reply(step="pay", operation="undo", event_type="refunded", data=b"["), "pay undo answered refunded"),
        (Reply(step="pay", operation="do", event_type="paid", data=b'{"reason":7}'), "pay answered paid"),
        (Fire(kind="absent", step="approval"), "approval: no signal came in time"),
        (Fire(kind="over", step="pause"), "pause: its time is over"),
        (Fire(kind="deadline"), "the deadline of the whole run passed"),
        (Fire(kind="resend", step="pay", attempt=2), "pay: resend after attempt 2"),
        (Fire(kind="retry", step="pay", operation="undo", attempt=1), "pay undo: retry after attempt 1"),
        (Operate(action="cancel", who="ann", reason="x", revision=1), "ann asked to cancel it"),
        (CarryOver(from_version=1, from_content="c"), "carried over"),
    ],
)
def test_whatever_came_in_has_its_words(message: Input, words: str) -> None:
    row = JournalRow(instance_id="i", revision=1, at_ms=5, verdict="advance", input=msgspec.msgpack.encode(message))

    assert happenings([row]) == [(5, words)]


@pytest.mark.parametrize(
    ("duration_ms", "words"),
    [
        (0, "0 ms"),
        (999, "999 ms"),
        (1_000, "1.0 s"),
        (59_999, "59.9 s"),
        (60_000, "1 min 0 s"),
        (3_600_000, "1 h 0 min"),
        (90_000_000, "1 d 1 h"),
    ],
)
def test_a_duration_is_told_in_two_units_at_most(duration_ms: int, words: str) -> None:
    assert elapsed(duration_ms) == words
