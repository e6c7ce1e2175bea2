"""The crash sweep, at every call of two short stories and at some calls of the others; `make sweep` leaves none out."""

import logging
from collections.abc import Iterator
from dataclasses import replace

import pytest

from sagas.testing.simulation.points import POINTS
from sagas.testing.simulation.sweep import COMMON, SEED, WORKLOAD, Sweep, sweep_story
from services.simulated import shop


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", [*shop.stories, *COMMON])
def test_a_crash_at_any_call_of_a_story_changes_nothing_about_its_end(name: str) -> None:
    story = sweep_story(shop, name, stride=29)
    assert story.problems == []
    assert story.calls > 100
    if name == "completes":
        assert set(story.ends) == {"completed"}


def test_every_named_point_is_visited_by_some_story() -> None:
    result = Sweep()
    for name in (*shop.stories, *COMMON):
        result.add(sweep_story(shop, name, stride=100_000))
    names = {f"{role} {name}" for role in POINTS for name in POINTS[role]}
    assert {row.point for row in result.rows() if row.visited} == names


def test_a_subject_without_stories_is_swept_through_its_workload() -> None:
    bare = replace(shop, stories={})
    story = sweep_story(bare, WORKLOAD, stride=100_000)
    assert (story.problems, sum(story.ends.values())) == ([], 2 * len(shop.workload(SEED)))
    assert sweep_story(bare, next(iter(COMMON)), stride=100_000).problems == []
