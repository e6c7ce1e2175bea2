"""Where a run goes straight on, or straight back: read off a definition once, for `straight.py`.

A way is one answer to one plain step in a state with no other place. Forward it is a success, behind which stands the
next plain step or the end; back it is a refusal or an undo's success, before which stands a plain step that is to be
undone, or the end. A run begins straight where a plain step stands first.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sagas.core.course import Phase
from sagas.core.effects import ClearTimer, Fire, Move
from sagas.core.instance import COMPENSATED, COMPLETED, REJECTED, Effect, Operation
from sagas.core.machine import NEW
from sagas.core.messages import Event, Fault, InProgress, Rejection, Undeliverable

if TYPE_CHECKING:
    from sagas.core.definition import Definition, StepSpec, UndoSpec


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
class Undone:
    """A plain step whose undo is sent."""

    spec: "StepSpec"
    undo: "UndoSpec"


@dataclass(frozen=True, slots=True)
class Way:
    """What `reply` to an operation of `spec` comes to: `effect` in the ledger, and `then` is sent, None at an end."""

    spec: "StepSpec"
    operation: Operation
    reply: type[Event]
    effect: Effect
    moves: tuple[Move]
    clears: ClearTimer
    ends_deadline: bool
    then: Asked | Undone | None


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a start comes to."""

    moves: tuple[Move]
    ends_deadline: bool
    then: Asked


Ways = Mapping[tuple[str, str], Way]
"""(state, type of the event that answers) → what it comes to."""

_OPERATIONS: Mapping[Operation, Phase] = {"do": "pending", "undo": "undoing"}
_NO_PLAIN_ANSWER = (Fault, InProgress, Undeliverable)


def ways_of(definition: "Definition") -> Ways:
    """The straight ways of a saga, as far as it has any."""
    if definition.renames:  # what comes in, and what is in the ledger, may then have another name
        return {}
    ways: dict[tuple[str, str], Way] = {}
    for state in definition.lanes:
        for operation in _OPERATIONS:
            spec = _plain_in(definition, state, operation)
            for tag, reply in _replies(spec, operation).items() if spec is not None else ():
                way = _way(definition, state, spec, operation, reply) if spec is not None else None
                if way is not None:
                    ways[state, tag] = way
    return ways


def beginning_of(definition: "Definition") -> Beginning | None:
    """How a run begins, None where something else than a plain step stands first."""
    move = _move(definition, NEW, "start")
    then = _asked_in(definition, move.dest) if move is not None else None
    return Beginning((move,), _ends_deadline(then), then) if move is not None and then is not None else None


def _way(
    definition: "Definition", state: str, spec: "StepSpec", operation: Operation, reply: type[Event]
) -> Way | None:
    is_refusal = issubclass(reply, Rejection)
    move = _move(definition, state, f"{spec.name}.{reply.__name__}")
    if move is None or issubclass(reply, _NO_PLAIN_ANSWER) or (is_refusal and operation == "undo"):
        return None
    effect: Effect = "undone" if operation == "undo" else "refused" if is_refusal else "done"
    then = _asked_in(definition, move.dest) if effect == "done" else _undone_in(definition, move.dest)
    ends = (COMPLETED,) if effect == "done" else (COMPENSATED, REJECTED)
    if then.spec is spec if then is not None else move.dest not in ends:
        return None
    clears = ClearTimer(name=spec.name)
    return Way(spec, operation, reply, effect, (move,), clears, _ends_deadline(then), then)


def _move(definition: "Definition", source: str, trigger: str) -> Move | None:
    dest = definition.table.get((source, trigger))
    return Move(trigger=trigger, source=source, dest=dest) if dest is not None else None


def _replies(spec: "StepSpec", operation: Operation) -> Mapping[str, type[Event]]:
    if operation == "do":
        return spec.replies
    return spec.undo.replies if spec.undo is not None else {}


def _plain_in(definition: "Definition", state: str, operation: Operation) -> "StepSpec | None":
    """The plain step whose command, or undo, is out in `state`; None where there is another place, or none such."""
    match definition.lanes.get(state, ()):
        case (place,) if place.phase == _OPERATIONS[operation]:
            spec = definition.steps.get(place.step)
            return None if spec is None or spec.each is not None else spec
        case _:
            return None


def _asked_in(definition: "Definition", state: str) -> Asked | None:
    spec = _plain_in(definition, state, "do")
    if spec is None or spec.expires or spec.timeout_ms <= 0:
        return None
    gives_up = spec.resend_ms >= spec.timeout_ms and spec.unknown != "resend"
    fire = Fire(kind="timeout" if gives_up else "resend", step=spec.name, operation="do", attempt=1)
    return Asked(spec, fire, spec.timeout_ms if gives_up else spec.resend_ms)


def _undone_in(definition: "Definition", state: str) -> Undone | None:
    spec = _plain_in(definition, state, "undo")
    return Undone(spec, spec.undo) if spec is not None and spec.undo is not None else None


def _ends_deadline(then: Asked | Undone | None) -> bool:
    """Whether the deadline of the whole run stops: at the pivot, and at an end."""
    return then is None or (isinstance(then, Asked) and then.spec.kind != "compensatable")
