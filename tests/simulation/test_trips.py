"""Branches, waits and a delay under every fault we can make: some seeds, and crashes at some calls of each story."""

import logging
from collections.abc import Iterator

import pytest

from sagas.testing.simulation import Subject, simulate
from sagas.testing.simulation.campaign import Tally, run_seed
from sagas.testing.simulation.faults import Faults
from sagas.testing.simulation.sweep import sweep_story
from tests.simulation.trips import TRIPS
from tests.simulation.ways import AGAIN, HELD, KEPT, LISTS, WAITS, WAYS


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("first", [0, 4])
def test_no_seed_breaks_a_promise_on_a_course_with_branches_and_waits(first: int) -> None:
    tally = Tally()
    for seed in range(first, first + 4):
        run_seed(TRIPS, seed, tally)
    assert [failure.report("tests.simulation.trips:TRIPS") for failure in tally.failures] == []
    assert tally.states.get("completed", 0) > 0


@pytest.mark.parametrize("name", TRIPS.stories)
def test_a_crash_at_any_call_changes_nothing_about_the_end_of_a_trip(name: str) -> None:
    story = sweep_story(TRIPS, name, stride=61)
    assert story.problems == []
    assert story.calls > 100
    assert set(story.ends) == {"compensated" if name == "a trip is denied" else "completed"}


def test_a_signal_that_never_comes_is_told_by_a_timer_and_without_timers_it_always_comes() -> None:
    silent = Faults(fault_ms=500, silent=1.0)
    with_timers = simulate(TRIPS, 1, timers=True, faults=silent)
    assert with_timers.violations == []
    assert set(with_timers.states) == {"compensated"}
    without = simulate(TRIPS, 1, timers=False)
    assert without.violations == []
    assert set(without.states) & {"completed"}


@pytest.mark.parametrize("subject", [WAYS, WAITS, AGAIN, KEPT, LISTS, HELD], ids=lambda subject: subject.name)
def test_a_legal_saga_is_not_accused(subject: Subject) -> None:
    # Without the second signal nothing ends without timers.
    violations = [v for seed in range(12) for v in simulate(subject, seed, timers=True).violations]
    assert violations == []
