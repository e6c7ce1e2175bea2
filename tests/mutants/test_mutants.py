"""The hunt for planted bugs itself: `make mutants` plants all of them."""

import logging

import pytest

from sagas.testing.simulation import simulate
from services.simulated import shop
from tests.mutants.hunt import MUTANTS, hunt
from tests.mutants.mutant import Mutant

QUICKLY_FOUND = ("ack before commit", "mark before publish", "no barrier", "wrong undo order")


@pytest.mark.parametrize("name", QUICKLY_FOUND)
def test_a_planted_bug_is_found_and_leaves_nothing_behind(name: str) -> None:
    found = hunt(name)
    assert found.by
    assert not logging.root.manager.disable, "what other tests look for in the log is there again"
    # What it replaced is there again: the seed that found it finds nothing any more.
    for timers in (False, True):
        assert simulate(shop, found.seeds - 1, timers=timers).violations == []


def test_a_bug_that_is_none_is_not_found() -> None:
    harmless = Mutant(name="harmless", replaced={"sagas.runtime.relay:Relay.wake": lambda original: original})
    with harmless.planted():
        assert simulate(shop, 0, timers=True).violations == []


def test_there_are_at_least_forty_each_with_a_name_of_its_own() -> None:
    assert len(MUTANTS) >= 40
