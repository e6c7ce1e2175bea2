"""What a run has behind it, held against a newer version's course: what it lacks there, and what it would do twice.

Theory of operation. A run has behind it what its ledger and its marks say, in whatever way it came: by answers, by a
refusal that led to another way, by silence that counts as consent. The course of the newer version is walked from its
start by the same outcomes (`_as_it_went`), and a step that every such walk to where the run stands goes through must be
one that it has done. Where its outcomes lead nowhere near, any walk counts.
"""

from collections.abc import Iterable, Mapping

from sagas.core.instance import STUCK, Instance, StepRecord, leaf_of
from sagas.core.machine import NEW
from sagas.core.moves import Moves
from sagas.core.renaming import marks_of, renamed_state
from sagas.core.shape import SagaShape

_AHEAD = ("pending", "resolving", "waiting", "delaying")
"""Phases in which a run is on its way forward."""

_GIVEN_UP = ("timeout", "exhausted")
"""What else may have moved a run on from a step whose answer came after all."""


def course_problems(old: SagaShape, new: SagaShape, renames: Mapping[str, str], instance: Instance) -> Iterable[str]:
    """What it has not done and should have, and what it has done and would do again."""
    state = instance.stuck_from if instance.state == STUCK else instance.state
    here = marks_of(state)
    if not here or any(phase not in _AHEAD for _, phase in here):
        return
    passed = (*(leaf_of(record.name) for record in instance.steps), *(leaf for leaf, _ in instance.marks))
    done = {renames.get(name, name) for name in passed if old.step(name) is not None}
    at = {renames.get(step, step) for step, _ in here}
    start = _begun(renamed_state(state, renames, new.states) or "", new)
    moves = _as_it_went(new.moves, renames, instance)
    if start not in reachable(moves, NEW, set()):
        moves = new.moves
    if start not in reachable(moves, NEW, set()):
        return
    for step in new.steps:
        if step.name not in done | at and start not in reachable(moves, NEW, {step.name}):
            yield f"step {step.name!r} was put in before where it stands, and it has not done that"
    ahead, ahead_before = _steps_ahead(new, start), _steps_ahead(old, _begun(state, old))
    for name in sorted(done - at):
        if name in ahead and not any(renames.get(step, step) == name for step in ahead_before):
            yield f"step {name!r} stands behind where it is now, and it has done that"


def reachable(moves: Moves, start: str, without: set[str]) -> set[str]:
    """The states that can be reached from `start` by moves that do not touch a step of `without`."""
    beyond: dict[str, list[str]] = {}
    for source, _, dest in moves:
        beyond.setdefault(source, []).append(dest)
    found, todo = {start}, [start]
    while todo:
        for dest in beyond.get(todo.pop(), ()):
            if dest not in found and not any(step in without for step, _ in marks_of(dest)):
                found.add(dest)
                todo.append(dest)
    return found


def _as_it_went(moves: Moves, renames: Mapping[str, str], instance: Instance) -> Moves:
    """Those moves that a run with these outcomes may have made."""
    triggers = {trigger for _, trigger, _ in moves}
    outcomes = [(record.name, _outcomes(record)) for record in instance.steps]
    outcomes += [(leaf, {word}) for leaf, word in instance.marks]
    said: dict[str, set[str]] = {}
    for leaf, words in outcomes:
        name = renames.get(leaf, leaf)
        if any(f"{name}.{word}" in triggers for word in words):  # else it was said in words that are not used any more
            said[name] = words
    return tuple(move for move in moves if _is_as_said(move, said))


def _outcomes(record: StepRecord) -> set[str]:
    if not record.reply:
        return set()
    return {record.reply} if record.effect in ("done", "refused") else {record.reply, *_GIVEN_UP}


def _is_as_said(move: tuple[str, str, str], said: Mapping[str, set[str]]) -> bool:
    source, trigger, _ = move
    leaf, _, word = trigger.partition(".")
    is_its_undo = (leaf, "reverting") in marks_of(source)
    return leaf not in said or is_its_undo or word in said[leaf]


def _begun(state: str, shape: SagaShape) -> str:
    """The state in which the steps of `state` were sent: shapes of earlier releases have no move to where it asks."""
    wanted = frozenset((step, "pending" if phase == "resolving" else phase) for step, phase in marks_of(state))
    return next((known for known in shape.states if frozenset(marks_of(known)) == wanted), state)


def _steps_ahead(shape: SagaShape, state: str) -> set[str]:
    reached = reachable(shape.moves, state, set()) - {state}
    here = {step for step, _ in marks_of(state)}
    return {step for known in reached for step, phase in marks_of(known) if phase != "reverting"} - here
