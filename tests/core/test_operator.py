"""What a person can do with an instance, and what the engine does not let a person do."""

from typing import get_args

import msgspec
import pytest

from sagas.core.effects import Action, Operate
from sagas.core.instance import ABANDONED, COMPENSATED, COMPLETED, REJECTED, STUCK
from sagas.testing import Scenario
from tests.core.courses import Begun, Maker
from tests.core.test_kernel import DONE, REFUSED, UNDO_REFUSED, UNDONE, Run, fault


def operate(run: Run, action: Action, *, revision: int | None = None) -> str:
    """Do it, and the verdict."""
    seen = run.now.revision if revision is None else revision
    return run.take(Operate(action=action, who="ann", reason="asked bob", revision=seen)).verdict


def held() -> Run:
    """Stuck over a pivot that holds: its outcome is unknown."""
    run = Run(DONE["room"], DONE["seat"])
    while run.now.state == "ticket.pending":
        run.fire("ticket")
    assert (run.now.state, run.now.stuck_step, run.now.stuck_from) == (STUCK, "ticket", "ticket.pending")
    return run


def undo_refused() -> Run:
    run = Run(DONE["room"], REFUSED["seat"], UNDO_REFUSED)
    assert (run.now.state, run.now.stuck_from) == (STUCK, "room.undoing")
    return run


def test_a_retry_sends_the_stuck_command_again_under_its_id_and_waits_anew() -> None:
    run = held()
    assert operate(run, "retry") == "advance"
    assert (run.now.state, run.sent(), run.now.reason) == ("ticket.pending", [("ticket", "do")], "")
    run.take(DONE["ticket"], DONE["mail"])
    assert run.now.state == COMPLETED


def test_a_retry_sends_the_stuck_undo_again() -> None:
    run = undo_refused()
    assert operate(run, "retry") == "advance"
    assert (run.now.state, run.sent()) == ("room.undoing", [("room", "undo")])
    run.take(UNDONE["room"])
    assert run.now.state == COMPENSATED


def test_a_step_resolved_as_done_goes_on_and_as_undone_turns_back() -> None:
    run = held()
    assert operate(run, "resolve-done") == "advance"
    assert (run.now.state, run.now.steps[2].reply) == ("mail.pending", "(by hand)")
    run = held()
    assert operate(run, "resolve-undone") == "advance"
    assert (run.now.state, run.sent()) == ("seat.undoing", [("seat", "undo")])
    assert run.now.cause == "ticket: resolved by ann: asked bob"


def test_an_undo_resolved_as_undone_ends_compensated_and_never_as_done() -> None:
    run = undo_refused()
    assert operate(run, "resolve-done") == "violation"
    assert operate(run, "resolve-undone") == "advance"
    assert (run.now.state, run.now.steps[0].effect) == (COMPENSATED, "undone")


def test_a_broken_fold_can_be_tried_again_once_the_code_is_mended() -> None:
    run = Run(msgspec.structs.replace(DONE["room"], data=b'{"room":13}'))
    assert run.now.state == STUCK
    assert operate(run, "retry") == "advance"
    run.take(DONE["room"])
    assert run.now.state == "seat.pending"


def test_a_pivot_that_was_done_after_its_refusal_is_settled_by_hand_only() -> None:
    run = Run(DONE["room"], DONE["seat"], REFUSED["ticket"], DONE["ticket"])
    assert (run.now.state, run.now.stuck_from) == (STUCK, "seat.undoing")
    assert operate(run, "retry") == "violation"
    assert operate(run, "resolve-undone") == "advance"
    run.take(UNDONE["seat"], UNDONE["room"])
    assert (run.now.state, [s.effect for s in run.now.steps]) == (COMPENSATED, ["undone", "undone", "undone"])


def test_a_cancel_before_the_pivot_undoes_what_may_have_happened() -> None:
    run = Run(DONE["room"])
    assert operate(run, "cancel") == "advance"
    assert (run.now.state, run.now.cause) == ("seat.undoing", "cancelled by ann: asked bob")
    run.take(UNDONE["seat"], UNDONE["room"])
    assert run.now.state == COMPENSATED
    run = Run(DONE["room"], DONE["seat"], DONE["ticket"])
    assert operate(run, "cancel") == "violation"
    assert run.now.state == "mail.pending"


def test_a_delay_beside_a_step_that_cannot_be_undone_is_past_the_point_of_no_return() -> None:
    maker = Maker(deadline=60)
    a, r = maker.step("a"), maker.step("r", kind="retriable")
    maker.saga.flow(a >> (r & maker.pause()))
    story = Scenario(maker.saga).start_event(Begun(k="k-1"))
    story.late("a", maker.reply("a", "Done")(k="k-1"))
    story.operate("cancel").expect_verdict("violation")
    story.late("r", maker.reply("r", "Done")(k="k-1"))
    story.operate("cancel").expect_verdict("violation")
    story.after(seconds=100)
    assert (story.state, story.effect("a"), story.effect("r")) == ("completed", "done", "done")


def test_a_cancel_that_crosses_the_answer_finds_the_instance_moved_on_and_does_nothing() -> None:
    run = Run(DONE["room"])
    seen = run.now.revision
    run.take(DONE["seat"])
    assert operate(run, "cancel", revision=seen) == "violation"
    assert run.now.state == "ticket.pending"
    assert "it has moved on" in run.last.note


def test_what_is_abandoned_rests_with_its_open_effects_in_the_ledger() -> None:
    run = undo_refused()
    assert operate(run, "abandon") == "advance"
    assert (run.now.state, run.now.cause) == (ABANDONED, "abandoned by ann: asked bob")
    assert run.now.steps[0].is_open


@pytest.mark.parametrize("action", get_args(Action))
def test_an_ended_instance_is_left_alone(action: Action) -> None:
    run = Run(REFUSED["room"])
    assert run.now.state == REJECTED
    assert operate(run, action) == "violation"
    assert run.now.state == REJECTED


@pytest.mark.parametrize("action", ["retry", "resolve-done", "resolve-undone"])
def test_an_instance_that_is_not_stuck_is_neither_retried_nor_resolved(action: Action) -> None:
    run = Run(DONE["room"])
    assert operate(run, action) == "violation"
    assert "it is not stuck" in run.last.note


def test_a_fault_that_comes_late_to_a_stuck_instance_changes_nothing() -> None:
    run = held()
    assert run.take(fault("ticket")).verdict == "late"
    assert run.now.state == STUCK


def test_a_deadline_that_passed_while_the_run_was_stuck_turns_it_back_when_it_is_freed() -> None:
    maker = Maker(deadline=60)
    a, p = maker.step("a", unknown="hold"), maker.step("p", kind="pivot", unknown="ask")
    maker.saga.flow(a >> p)
    story = Scenario(maker.saga).start_event(Begun(k="k-1"))
    story.fires("a", kind="timeout").away(seconds=600).fires("saga.deadline")
    assert story.state == STUCK
    story.operate("retry").after(seconds=1)
    assert story.state == "a.undoing"
    assert story.instance.cause == "a: the whole saga took more than 60.0 s"


def test_a_deadline_bounds_the_way_behind_a_pivot_that_was_refused() -> None:
    maker = Maker(deadline=60)
    p, c = maker.step("p", kind="pivot", unknown="ask"), maker.step("c", unknown="ask")
    maker.saga.flow(p | c)
    story = Scenario(maker.saga).start_event(Begun(k="k-1"))
    story.late("p", maker.reply("p", "Refused")(k="k-1"))
    assert story.state == "c.pending"
    story.after(seconds=61)
    assert story.state == "c.undoing"
