"""What a check came to, as data: for the command line, for tests and for other tools."""

from collections.abc import Iterable

import msgspec

from sagas.check.counterexample import Counterexample
from sagas.core.definition import Definition
from sagas.core.instance import STUCK
from sagas.core.machine import Edge, EdgeKind
from sagas.core.outcomes import LIST_REFUSED, WAY_FAILED

UNDO_KINDS: tuple[EdgeKind, ...] = ("undo", "refuse", "undeliverable")
"""The moves that turn a run back and carry it to its end."""

# A success after a refusal (`late`, `sweeping`) breaks a participant's promise; only the author's code can raise; and
# of the places that a run could be freed into, the ledger allows for few.
_NOT_PROMISED = ("late", "broken", "undone-swept", WAY_FAILED)


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """How many moves of one kind the search made, of how many that can be made; the others by name."""

    kind: EdgeKind
    edges: int
    taken: int
    missing: tuple[str, ...]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict and its figures.

    `states` are worlds told apart, `nodes` the orchestrator's part of them, `decisions` calls of `decide`, `depth`
    the messages it takes to the farthest. `items_max`: how many items a fan-out had at most, None without any.
    `is_whole`: nothing was left out; otherwise it was explored to `depth`.
    """

    saga: str
    version: int
    assumptions: tuple[str, ...]
    is_ok: bool
    states: int
    transitions: int
    nodes: int
    decisions: int
    depth: int
    is_whole: bool
    is_full: bool
    faults_max: int
    items_max: int | None
    coverage: tuple[Coverage, ...]
    counterexample: Counterexample | None = None

    @property
    def undo_coverage(self) -> tuple[int, int]:
        """Of the moves that turn a run back: how many were made, of how many."""
        undo = [c for c in self.coverage if c.kind in UNDO_KINDS]
        return sum(c.taken for c in undo), sum(c.edges for c in undo)


def coverage(definition: Definition, taken: Iterable[tuple[str, str, str]]) -> tuple[Coverage, ...]:
    """Which of the drawn moves were made; moves that nothing in the definition can lead to are left out."""
    made = set(taken)
    kinds: dict[EdgeKind, list[Edge]] = {}
    for edge in definition.edges:
        if _can_be_made(definition, edge):
            kinds.setdefault(edge.kind, []).append(edge)
    return tuple(
        Coverage(
            kind=kind,
            edges=len(edges),
            taken=sum((e.trigger, e.source, e.dest) in made for e in edges),
            missing=tuple(f"{e.trigger} from {e.source}" for e in edges if (e.trigger, e.source, e.dest) not in made),
        )
        for kind, edges in kinds.items()
    )


def _lists(definition: Definition, step: str, state: str) -> bool:
    """Whether a run may come to this state and to the step at once: then its list is made there."""
    before = (edge.source for edge in definition.edges if edge.dest == state and edge.kind == "forward")
    return any(
        all(place.step != step for place in definition.lanes.get(source, ())) for source in before if source != STUCK
    )


def _can_be_made(definition: Definition, edge: Edge) -> bool:
    step, _, word = edge.trigger.rpartition(".")
    spec = definition.steps.get(step)
    if edge.kind in _NOT_PROMISED or word in _NOT_PROMISED or ".sweeping" in edge.source:
        return False
    if word == "deadline":
        return definition.deadline_ms > 0
    if word == LIST_REFUSED:
        return _lists(definition, step, edge.source)
    return not (word == "exhausted" and spec is not None and spec.retry.attempts_max == 0)
