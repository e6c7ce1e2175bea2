"""The moves of a saga that lead on: those it goes ahead by, and with them those to another way and by silence."""

from collections.abc import Collection, Iterable

from sagas.core.definition import Definition
from sagas.core.instance import COMPLETED, STUCK
from sagas.core.machine import Edge, EdgeKind
from sagas.core.outcomes import WAY_FAILED

Moves = tuple[tuple[str, str, str], ...]
"""(state, trigger, state)."""

_ON: Collection[EdgeKind] = ("forward", "refuse", "undo", "undeliverable", "resolve")


def forward_moves(definition: Definition) -> Moves:
    """Its moves by what was hoped for. They are part of its content."""
    # Out of `stuck` it goes where it would have gone: that is the engine's rule, not the author's.
    return _sorted(edge for edge in definition.edges if edge.kind == "forward" and edge.source != STUCK)


def moves_ahead(definition: Definition) -> Moves:
    """All moves of a run that has not turned back, and has not been stuck."""
    return _sorted(edge for edge in definition.edges if _is_ahead(definition, edge))


def _is_ahead(definition: Definition, edge: Edge) -> bool:
    if edge.kind not in _ON or edge.source == STUCK or edge.trigger.endswith(f".{WAY_FAILED}"):
        return False
    if edge.dest == COMPLETED:
        return True
    places = definition.lanes.get(edge.dest, ())
    return bool(places) and all(place.phase not in ("undoing", "sweeping") for place in places)


def _sorted(edges: Iterable[Edge]) -> Moves:
    return tuple(sorted((edge.source, edge.trigger, edge.dest) for edge in edges))
