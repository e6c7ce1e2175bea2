"""Every form of a course holds: branches, decisions both ways, waits, delays, save-points."""

from types import SimpleNamespace
from typing import Any

import pytest

from sagas.check import check
from sagas.check.courses import later, required
from sagas.testing import Scenario
from tests.core.courses import COURSES, Agreed, Begun

STATES_MAX = 4_000
"""Looked at of each, the nearest first; `sagas check` itself goes on."""


@pytest.mark.parametrize("name", COURSES)
def test_every_form_of_a_course_holds(name: str) -> None:
    report = check(COURSES[name](), worlds_max=STATES_MAX)
    assert report.is_ok, report.counterexample
    assert report.states > 100


def test_a_decision_is_tried_both_ways() -> None:
    report = check(COURSES["branch_by_predicate"]())
    assert report.is_ok
    assert report.is_whole
    assert report.undo_coverage == (28, 28)
    assert all(not coverage.missing for coverage in report.coverage if coverage.kind == "forward")


def test_a_wait_ends_by_its_signal_by_a_refusal_and_by_its_absence() -> None:
    report = check(COURSES["wait"]())
    assert report.is_whole
    assert report.undo_coverage == (19, 19)


def test_branches_have_no_order_and_what_follows_them_comes_after_both() -> None:
    assert later(COURSES["lanes"]().course) == {"a": set(), "b": {"c"}, "c": set()}
    assert later(COURSES["joined_lanes"]().course)["f"] == {"a", "b", "c", "p"}
    assert later(COURSES["joined_lanes"]().course)["c"] == {"p"}


def test_a_way_that_failed_may_be_undone_while_the_next_one_goes_on() -> None:
    order = later(COURSES["ways"]().course)
    assert order == {"a": {"b", "c", "d"}, "b": {"c"}, "c": set(), "d": set()}


def test_a_completed_run_has_passed_what_is_on_every_path() -> None:
    assert required(COURSES["branch_by_refusal"]().course) == {"a": True, "b": False, "r": True}
    assert required(COURSES["ways"]().course) == {"a": True}


def test_a_story_takes_signals_and_timers_one_by_one() -> None:
    definition = COURSES["wait"]()
    saga: Any = SimpleNamespace(definition=definition)
    story: Scenario[Any] = Scenario(saga).start_event(Begun(k="k-1"))
    done: Any = definition.steps["a"].replies["a.done"]
    story.late("a", done(k="k-1"))
    assert story.state == "word.waiting"
    story.signal(Agreed(k="k-1"))
    assert story.state == "b.pending"
    story.away(seconds=3600).fires("b", kind="timeout")
    assert (story.state, story.effect("b")) == ("b.undoing", "unknown")
    assert len(story.said("b", "undo")) == 1
    assert story.undrawn == []
