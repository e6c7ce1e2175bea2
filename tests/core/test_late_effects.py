"""A step that said no and was done all the same, where nothing can undo it."""

from typing import Any

import pytest

from sagas.core.instance import COMPENSATED, COMPLETED, STUCK
from sagas.testing import Scenario
from tests.core.courses import Begun, Data, Maker


def passed_by_another_way() -> tuple[Scenario[Data], Maker]:
    """`a >> (p | c)`: the pivot `p` was refused, the run complete by `c`, and then `p` was done."""
    maker = Maker()
    a, c = maker.steps("ac")
    maker.close(a >> (maker.step("p", kind="pivot", unknown="ask") | c))
    story = Scenario(maker.saga).start_event(Begun(k="k-1"))
    for step, word in (("a", "Done"), ("p", "Refused"), ("c", "Done"), ("p", "Done")):
        answer(story, maker, step, word)
    return story, maker


def answer(story: Scenario[Data], maker: Maker, step: str, word: str) -> Scenario[Data]:
    return story.late(step, maker.reply(step, word)(k="k-1"))


@pytest.mark.parametrize(("word", "verdict"), [("Refused", "duplicate"), ("Done", "late"), ("Other", "late")])
def test_no_answer_frees_a_run_that_is_stuck_over_a_pivot_done_after_its_refusal(word: str, verdict: Any) -> None:
    story, maker = passed_by_another_way()
    assert (story.state, story.instance.stuck_step) == (STUCK, "p")
    reason = story.instance.reason
    answer(story, maker, "p", word).expect_verdict(verdict)
    assert (story.state, story.instance.reason, story.effect("p")) == (STUCK, reason, "unknown")
    story.operate("resolve-undone")
    assert (story.state, story.effect("p")) == (COMPLETED, "undone")


def test_a_step_that_leaves_nothing_holds_up_no_way_back_when_it_is_done_after_its_refusal() -> None:
    maker = Maker()
    a, b = maker.step("a"), maker.step("b", has_undo=False)
    maker.close(a >> b)
    story = Scenario(maker.saga).start_event(Begun(k="k-1"))
    answer(story, maker, "a", "Done")
    answer(story, maker, "b", "Refused")
    answer(story, maker, "b", "Done").expect_verdict("late")
    assert (story.state, story.effect("b")) == ("a.undoing", "done")
    answer(story, maker, "a", "Undone")
    assert story.state == COMPENSATED
    answer(story, maker, "b", "Done").expect_verdict("duplicate")
    assert story.state == COMPENSATED


def test_a_step_that_leaves_nothing_leaves_a_compensated_run_as_it_is() -> None:
    maker = Maker()
    a, b = maker.step("a"), maker.step("b", has_undo=False)
    maker.close(a >> b)
    story = Scenario(maker.saga).start_event(Begun(k="k-1"))
    for step, word in (("a", "Done"), ("b", "Refused"), ("a", "Undone"), ("b", "Done")):
        answer(story, maker, step, word)
    assert story.state == COMPENSATED


def test_a_step_that_leaves_nothing_leaves_a_run_complete_that_went_another_way() -> None:
    maker = Maker()
    b, c = maker.step("b", has_undo=False), maker.step("c")
    maker.close(b | c)
    story = Scenario(maker.saga).start_event(Begun(k="k-1"))
    answer(story, maker, "b", "Refused")
    answer(story, maker, "b", "Done").expect_verdict("late")
    answer(story, maker, "c", "Done")
    assert story.state == COMPLETED
    answer(story, maker, "b", "Other").expect_verdict("late")
    assert story.state == COMPLETED
