"""Races between a timer and what it waits for."""

from dataclasses import replace

import pytest

from sagas.core.definition import Definition
from sagas.core.effects import Fire, Operate
from sagas.core.instance import COMPENSATED, COMPLETED, STUCK
from sagas.runtime.orchestrator import Orchestrator
from sagas.testing.world import World
from services.contracts import ProcessPayment, RefundPayment, ReleaseInventory, ShipmentFailed, ShipOrder
from tests.core.test_kernel import DONE, REFUSED, UNDONE, Run
from tests.races.parts import ORDER, publish, turn_until
from tests.runtime.shop import SERVICES, a_shop, an_order, effects, foreign, order, rows
from tests.scenarios.order_parts import PAID, REFUNDED, SHIPPED, paid, reserved
from tests.services.desk import Desk

pytestmark = pytest.mark.anyio

FAR_MS = 10**15
PAY_TIMEOUT_MS = ORDER.steps["pay"].timeout_ms
POLL_MAX = 1_000
"""Messages of one poll."""

MOVED = "SELECT sum(cents) FROM movements"


def in_a_hurry(name: str) -> Definition:
    """The order saga with one step that expires."""
    return replace(ORDER, steps={**ORDER.steps, name: replace(ORDER.steps[name], expires=True)})


async def wait_for_the_timeout(shop: World, key: str) -> None:
    """Let time pass until the order's step has been asked for so often that what is due next is its timeout."""
    for _ in range(100):
        with shop.store.transaction() as transaction:
            timers = transaction.due_timers(FAR_MS, 999)
        if any(t.instance_id == order(shop, key).id and t.fire.kind == "timeout" for t in timers):
            return
        shop.clock.advance(100)
        await shop.nodes["orchestrator"].turn()
    raise AssertionError(f"{key} is not about to time out: {order(shop, key).state}")


def timed_out(step: str, *before: str) -> Run:
    """A run whose `step` was asked for as often as it takes, and not answered."""
    run = Run(*(DONE[name] for name in before))
    while run.now.state == f"{step}.pending":
        run.fire(step)
    return run


async def test_race_28_of_a_timeout_and_a_reply_at_one_moment_only_the_first_moves_the_run() -> None:
    timeout = Fire(kind="timeout", step="room", attempt=1)
    run = Run()
    assert run.take(DONE["room"]).verdict == "advance"
    assert run.take(timeout).verdict == "late"
    assert run.now.state == "seat.pending"
    run = Run()
    assert run.take(timeout).verdict == "advance"
    assert run.take(DONE["room"]).verdict == "late"
    assert (run.now.state, run.sent()) == ("room.undoing", [])
    # With both waiting, the reply is read before the timer may fire.
    async with a_shop() as shop:
        await shop.publish_start("order", an_order("o-1"))
        await turn_until(shop, "o-1", "pay.pending")
        await wait_for_the_timeout(shop, "o-1")
        await shop.nodes["payments"].turn()
        shop.clock.advance(PAY_TIMEOUT_MS)
        await shop.nodes["orchestrator"].turn()
        assert order(shop, "o-1").state == "ship.pending"


async def test_race_29_a_do_that_arrives_after_its_timeout_and_its_undo_does_nothing(bank: Desk) -> None:
    story = reserved()
    asked = story.expect(ProcessPayment)
    story.after(seconds=2)
    undo = story.expect(RefundPayment)
    (refunded,) = bank.hand(undo.sent.command, "pay", "undo")
    assert bank.hand(asked.sent.command, "pay") == []
    assert refunded.event_type == "payment.refunded"
    assert bank.rows("SELECT * FROM payments") == []


async def test_race_30_a_success_that_is_told_after_the_timeout_is_matched_to_its_undo(bank: Desk) -> None:
    story = reserved()
    asked = story.expect(ProcessPayment)
    bank.hand(asked.sent.command, "pay")
    story.after(seconds=2)
    undo = story.expect(RefundPayment)
    asked.reply(PAID)
    story.expect_verdict("late")
    bank.hand(undo.sent.command, "pay", "undo")
    undo.reply(REFUNDED)
    story.expect(ReleaseInventory)
    # Told once more, now that the undo is answered: it was undone and stays so.
    asked.reply(PAID)
    story.expect_verdict("late")
    record = story.instance.step("pay")
    assert record is not None
    assert (record.effect, record.reply, bank.rows(MOVED)) == ("undone", "PaymentProcessed", [(0,)])


async def test_race_31_a_pivot_that_does_not_answer_is_asked_again_and_neither_undone_nor_assumed() -> None:
    story = paid()
    first = story.expect(ShipOrder)
    story.after(seconds=24 * 3600)
    assert (story.state, story.instance.steps[2].effect) == ("ship.resolving", "done")
    asked = [sent for entry in story.journal for sent in entry.sent if sent.step == "ship"]
    story.after(seconds=24 * 3600)
    again = story.expect(ShipOrder)
    asked_since = [sent for entry in story.journal for sent in entry.sent if sent.step == "ship"][len(asked) :]
    assert len(asked_since) > 10
    assert {sent.id for sent in asked_since} == {first.sent.id} == {again.sent.id}
    again.reply(SHIPPED)
    story.expect_completed()
    held = timed_out("ticket", "room", "seat")
    assert (held.now.state, held.sent(), held.now.steps[2].effect) == (STUCK, [], "unknown")


async def test_race_32_a_step_behind_the_pivot_is_sent_again_and_never_turns_the_run() -> None:
    run = Run(DONE["room"], DONE["seat"], DONE["ticket"])
    for _ in range(100):
        run.fire("mail")
        assert (run.now.state, run.sent()) == ("mail.pending", [("mail", "do")])
    run.take(DONE["mail"])
    assert run.now.state == COMPLETED


async def test_race_33_an_undo_that_does_not_answer_is_sent_again_and_the_way_back_waits() -> None:
    story = paid()
    story.expect(ShipOrder).reply(ShipmentFailed(order_id="o-1", reason="nowhere"))
    first = story.expect(RefundPayment)
    story.after(seconds=24 * 3600)
    assert (story.state, story.instance.steps[2].effect) == ("pay.undoing", "done")
    assert {sent.id for entry in story.journal for sent in entry.sent if sent.operation == "undo"} == {first.sent.id}
    again = story.expect(RefundPayment)
    assert len([entry for entry in story.journal if entry.sent]) > 1_000
    again.reply(REFUNDED)
    story.expect(ReleaseInventory)


async def test_race_34_a_timer_of_what_is_over_is_gone_and_if_it_fires_it_does_nothing() -> None:
    async with a_shop() as shop:
        await shop.publish_start("order", an_order("o-1"))
        await shop.settle()
        ended = order(shop, "o-1")
        assert shop.store.next_due_ms() is None
        shop.clock.advance(24 * 3600 * 1000)
        await shop.work()
        assert order(shop, "o-1") == ended
    run = Run(DONE["room"], REFUSED["seat"], UNDONE["room"])
    for kind in ("resend", "timeout", "retry"):
        decision = run.take(Fire(kind=kind, step="room", operation="undo", attempt=1))
        assert (decision.verdict, decision.effects, run.now.state) == ("late", (), COMPENSATED)


async def test_race_35_after_a_downtime_the_waiting_answers_are_read_before_anything_times_out() -> None:
    keys = [f"o-{number}" for number in range(30)]
    async with a_shop() as shop:
        for key in keys:
            await shop.publish_start("order", an_order(key))
        await turn_until(shop, keys[-1], "pay.pending")
        await shop.nodes["payments"].turn()
        await shop.nodes["orchestrator"].kill()
        shop.clock.advance(6 * 3600 * 1000)
        await shop.nodes["orchestrator"].start()
        await shop.settle()
        assert {order(shop, key).state for key in keys} == {"completed"}
    # After a short one no timer is held back, and the answers lie behind more than is read at once.
    async with a_shop() as shop:
        await shop.publish_start("order", an_order("o-1"))
        await turn_until(shop, "o-1", "pay.pending")
        await wait_for_the_timeout(shop, "o-1")
        await publish(shop, *[foreign("payments", "o-1", b"news", number) for number in range(POLL_MAX)])
        await shop.nodes["payments"].turn()
        await shop.nodes["orchestrator"].kill()
        shop.clock.advance(PAY_TIMEOUT_MS)
        await shop.nodes["orchestrator"].start()
        for _ in range(2):
            await shop.nodes["orchestrator"].turn()
        assert order(shop, "o-1").state == "ship.pending"


async def test_race_36_a_clock_that_jumps_turns_nobody_back() -> None:
    async with a_shop() as shop:
        await shop.publish_start("order", an_order("o-1"))
        await turn_until(shop, "o-1", "pay.pending")
        shop.clock.advance(3_600_000)  # the machine's clock is set forward: nobody has waited for an hour
        await shop.nodes["orchestrator"].turn()
        assert order(shop, "o-1").state == "pay.pending"
        await shop.settle()
        assert order(shop, "o-1").state == "completed"
    # Set back by a day, time is only a number: what is awaited is awaited longer, and nothing breaks.
    run = Run(DONE["room"])
    run.now_ms -= 24 * 3600 * 1000
    assert run.take(DONE["seat"]).verdict == "advance"


async def test_race_37_the_deadline_of_the_whole_run_no_longer_counts_at_the_pivot() -> None:
    run = Run(DONE["room"], DONE["seat"])
    assert run.take(Fire(kind="deadline")).verdict == "late"
    run.take(DONE["ticket"])
    assert run.take(Fire(kind="deadline")).verdict == "late"
    assert (run.now.state, [step.effect for step in run.now.steps][:3]) == ("mail.pending", ["done"] * 3)
    before = Run(DONE["room"])
    assert (before.take(Fire(kind="deadline")).verdict, before.now.state) == ("advance", "seat.undoing")


async def test_race_39_a_command_read_after_its_deadline_is_refused_for_good_where_the_saga_says_so() -> None:
    async with World([in_a_hurry("reserve")], SERVICES) as shop:
        await shop.publish_start("order", an_order("o-1"))
        await turn_until(shop, "o-1", "reserve.pending")
        shop.clock.advance(ORDER.steps["reserve"].timeout_ms + 1)
        await shop.nodes["inventory"].turn()
        assert rows(shop, "inventory", "SELECT * FROM reservations") == []
        assert rows(shop, "inventory", "SELECT step, answer FROM barrier") == [("reserve", "sagas.undeliverable")]
        await shop.settle()
        assert (order(shop, "o-1").state, effects(order(shop, "o-1"))["reserve"]) == ("compensated", "refused")
        assert "after its deadline" in order(shop, "o-1").cause
        assert rows(shop, "inventory", "SELECT * FROM reservations") == []
    # The others are carried out however late they are read: their undo follows, if their saga has turned back.
    async with World([in_a_hurry("reserve")], SERVICES) as shop:
        await shop.publish_start("order", an_order("o-1"))
        await turn_until(shop, "o-1", "pay.pending")
        shop.clock.advance(3_600_000)
        await shop.settle()
        assert order(shop, "o-1").state == "completed"


async def test_race_38_a_persons_retry_and_the_timer_before_it_send_one_command_with_one_id() -> None:
    run = timed_out("ticket", "room", "seat")
    record = run.now.steps[2]
    outdated = Fire(kind="resend", step="ticket", attempt=record.attempts)
    run.take(Operate(action="retry", who="ann", reason="it is back", revision=run.now.revision))
    assert run.sent() == [("ticket", "do")]
    assert {run.now.steps[2].attempts} == {record.attempts + 1}
    assert (run.take(outdated).verdict, run.sent()) == ("late", [])


async def test_of_two_timers_that_are_due_together_the_second_does_not_remove_what_the_first_has_set() -> None:
    # Both are read in one batch, and the second has the name under which the first sets that of the undo.
    async with a_shop() as shop:
        await shop.publish_start("order", an_order("o-1"))
        await turn_until(shop, "o-1", "create.pending")
        # The step is begun so late that its own timer is due behind the deadline.
        shop.clock.advance(ORDER.deadline_ms - 1_000)
        await turn_until(shop, "o-1", "reserve.pending")
        late_ms = order(shop, "o-1").deadline_ms + ORDER.steps["reserve"].resend_ms
        Orchestrator([ORDER], shop.store).fire(late_ms, late_ms)
        assert order(shop, "o-1").state == "reserve.undoing"
        # The undo may be lost on its way: only its timer sends it again.
        due_ms = shop.store.next_due_ms()
        assert due_ms is not None
        assert due_ms > late_ms
