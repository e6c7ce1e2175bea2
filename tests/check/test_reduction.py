"""The reduced search is the full one with what cannot matter left out: shown on every small case by doing both."""

from typing import Any

import msgspec
import pytest

from sagas.check import Assumptions
from sagas.check.moves import LOCAL_MASK, NODE_MASK
from sagas.check.orchestrator import Orchestrator
from sagas.check.samples import Samples
from sagas.check.search import Found, Search
from sagas.check.worlds import Worlds
from sagas.core.definition import Definition
from sagas.core.instance import ENDS
from tests.check.sagas import line
from tests.core.parcels import saga_of
from tests.core.trip import trip_saga


def explore(definition: Definition, *, is_full: bool, **switched: Any) -> tuple[Worlds, Found]:
    """All of it; a broken law does not stop it here, for it is looked for in what was found."""
    orchestrator = Orchestrator(definition, Samples(definition.key), Assumptions(**switched))
    worlds = Worlds(orchestrator, is_full=is_full)
    return worlds, Search(worlds, worlds_max=0, depth_max=0, progress=lambda known, depth: None).run()


def instances(worlds: Worlds, found: Found) -> set[Any]:
    """The instances that were reached, with their timers and what was sent."""
    return {msgspec.msgpack.encode(worlds.orchestrator.nodes[world & NODE_MASK]) for world in found.worlds}


def outsides(worlds: Worlds, found: Found) -> set[tuple[str, str, int]]:
    """At the ends: which step stands how often, in which state."""
    return {
        (worlds.orchestrator.nodes[world & NODE_MASK].instance.state, line.step, local.effect)
        for world in found.worlds
        if worlds.orchestrator.nodes[world & NODE_MASK].instance.state in ENDS
        for line in worlds.lines.values()
        for local in [line.locals[(world >> line.shift) & LOCAL_MASK]]
    }


SMALL = ["u", "P", "uP", "uPr", "aP", "hP", "cP", "nP", "uH", "ur", "uu", "uuP", "u&u", "n&u"]


LISTS = [saga_of(lambda make: make.pack("hold"), at_most=1).definition, saga_of(lambda make: make.pack()).definition]


@pytest.mark.parametrize(
    "definition", [*(line(k, deadline=60).definition for k in SMALL), trip_saga.definition, *LISTS]
)
def test_both_searches_reach_the_same_instances_by_the_same_moves(definition: Definition) -> None:
    reduced, found = explore(definition, is_full=False)
    full, wholly = explore(definition, is_full=True)
    assert found.broken is None
    assert wholly.broken is None
    assert instances(reduced, found) == instances(full, wholly)
    assert reduced.orchestrator.taken == full.orchestrator.taken
    assert outsides(reduced, found) <= outsides(full, wholly)
    assert len(found.worlds) <= len(wholly.worlds)


@pytest.mark.parametrize("kinds", ["P", "uP", "uPr", "aP", "uu"])
@pytest.mark.parametrize(
    "switched",
    [
        {"participants": "forget-refusals"},
        {"participants": "forget-undos"},
        {"participants": "undo-blindly"},
        {"participants": "leave-something"},
        {"has_barrier": False},
        {"timeout_means": "refused"},
        {"timeout_means": "done"},
        {"operators": "careless"},
        {"commits_first": False},
    ],
    ids=str,
)
def test_both_searches_come_to_the_same_verdict_in_as_many_messages(kinds: str, switched: dict[str, Any]) -> None:
    definition = line(kinds).definition
    _, found = explore(definition, is_full=False, **switched)
    _, wholly = explore(definition, is_full=True, **switched)
    assert (found.broken is None) == (wholly.broken is None)
    assert _messages(found) == _messages(wholly)


def _messages(found: Found) -> int:
    return sum(len(course.deliveries) + (course.event is not None) for course in found.path)
