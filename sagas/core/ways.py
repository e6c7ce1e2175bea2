"""Where a run goes straight on: read off a definition once, for `straight.py`.

A way is one plain step's success in a state with no other place, behind which stands the next plain step or the end. A
run begins straight where a plain step stands first.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sagas.core.effects import ClearTimer, Fire, Move
from sagas.core.instance import COMPLETED
from sagas.core.machine import NEW
from sagas.core.messages import Event, Fault, InProgress, Rejection

if TYPE_CHECKING:
    from sagas.core.definition import Definition, StepSpec


@dataclass(frozen=True, slots=True)
class Asked:
    """A plain step that is asked for the first time.

    `fire` is what its first timer says, `after_ms` when that is due: of a step that is sent again for ever, at the
    earliest.
    """

    spec: "StepSpec"
    fire: Fire
    after_ms: int


@dataclass(frozen=True, slots=True)
class Way:
    """What the success of `spec` with `reply` comes to: `then` is asked for, or the run has come to its end."""

    spec: "StepSpec"
    reply: type[Event]
    moves: tuple[Move]
    clears: ClearTimer
    ends_deadline: bool
    then: Asked | None


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a start comes to."""

    moves: tuple[Move]
    ends_deadline: bool
    then: Asked


Ways = Mapping[tuple[str, str], Way]
"""(state, type of the event that answers) → what it comes to."""

_NO_PLAIN_YES = (Rejection, Fault, InProgress)


def ways_of(definition: "Definition") -> Ways:
    """The straight ways of a saga, as far as it has any."""
    if definition.renames:  # what comes in, and what is in the ledger, may then have another name
        return {}
    ways: dict[tuple[str, str], Way] = {}
    for state in definition.lanes:
        spec = _asked_in(definition, state)
        if spec is not None:
            for tag, reply in spec.replies.items():
                way = _way_of(definition, state, spec, reply)
                if way is not None:
                    ways[state, tag] = way
    return ways


def beginning_of(definition: "Definition") -> Beginning | None:
    """How a run begins, None where something else than a plain step stands first."""
    move = _move(definition, NEW, "start")
    then = _first_asked(definition, move.dest) if move is not None else None
    return Beginning((move,), _ends_deadline(then), then) if move is not None and then is not None else None


def _way_of(definition: "Definition", state: str, spec: "StepSpec", reply: type[Event]) -> Way | None:
    move = _move(definition, state, f"{spec.name}.{reply.__name__}")
    if move is None or issubclass(reply, _NO_PLAIN_YES):
        return None
    then = _first_asked(definition, move.dest)
    if (then is None and move.dest != COMPLETED) or (then is not None and then.spec is spec):
        return None
    return Way(spec, reply, (move,), ClearTimer(name=spec.name), _ends_deadline(then), then)


def _move(definition: "Definition", source: str, trigger: str) -> Move | None:
    dest = definition.table.get((source, trigger))
    return Move(trigger=trigger, source=source, dest=dest) if dest is not None else None


def _asked_in(definition: "Definition", state: str) -> "StepSpec | None":
    """The plain step whose command is out in `state`, None where there is another place, or none such."""
    match definition.lanes.get(state, ()):
        case (place,) if place.phase == "pending":
            spec = definition.steps.get(place.step)
            return None if spec is None or spec.each is not None else spec
        case _:
            return None


def _first_asked(definition: "Definition", state: str) -> Asked | None:
    spec = _asked_in(definition, state)
    if spec is None or spec.expires or spec.timeout_ms <= 0:
        return None
    gives_up = spec.resend_ms >= spec.timeout_ms and spec.unknown != "resend"
    fire = Fire(kind="timeout" if gives_up else "resend", step=spec.name, operation="do", attempt=1)
    return Asked(spec, fire, spec.timeout_ms if gives_up else spec.resend_ms)


def _ends_deadline(then: Asked | None) -> bool:
    """Whether the deadline of the whole run stops: at the pivot, and at the end."""
    return then is None or then.spec.kind != "compensatable"
