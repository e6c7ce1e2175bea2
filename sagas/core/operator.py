"""What a person does with an instance: an input like any other, in the instance's own order.

Theory of operation. The person acts on what was seen: `revision` is of that moment, and if anything
has happened since, nothing is done and the person looks again. A stuck instance keeps over which step it
is stuck and in which state it was, so that each way out is one move of the machine: another try, or
forward, or back past the step. What a person says of an effect goes into the ledger like an answer.

The participant's own answer may come after that all the same. It is compared with the person's word: where
they agree, it takes the word's place in the ledger; where they differ, the person's word stands, and that is an
incident, which stays with the run. Nothing is sent: the person may have mended it outside already, and undoing
it once more would take back twice.
"""

from sagas.core.definition import StepSpec
from sagas.core.effects import ClearTimer, Operate
from sagas.core.instance import STUCK, Operation, StepRecord
from sagas.core.messages import Event, Rejection
from sagas.core.turn import REASON_LENGTH_MAX, Turn, enter

BY_HAND = "(by hand)"
"""Stands in the ledger where a reply would, for an effect that a person has settled."""


def operate(turn: Turn, message: Operate) -> None:
    """Do what the person asks, or say why it cannot be done."""
    instance = turn.instance
    if message.revision != instance.revision:
        turn.answer("violation", f"it has moved on: revision {message.revision} was seen, it is at {instance.revision}")
        return
    if instance.is_ended:
        turn.answer("violation", f"it has ended already: {instance.state}")
        return
    refusal = _do(turn, message)
    if refusal:
        turn.answer("violation", refusal)
    else:
        turn.note = f"{message.action} by {message.who}: {message.reason}"[:REASON_LENGTH_MAX]


def is_by_hand(record: StepRecord, operation: Operation) -> bool:
    """Whether a person has said what an answer to this operation would say."""
    return record.undo_reply == BY_HAND or (operation == "do" and record.reply == BY_HAND)


def compare_with_word(turn: Turn, record: StepRecord, operation: Operation, reply: Event) -> None:
    """Hold an answer against what a person has said of the step before it came."""
    word = type(reply).__name__
    said = "undone" if record.undo_reply == BY_HAND else "done"
    # A do that was carried out, or an undo that was refused: something of the step remains.
    remains = isinstance(reply, Rejection) == (operation == "undo")
    if operation == "undo":
        turn.record(record, undo_reply=word, undo_answered_ms=turn.now_ms)
    else:
        turn.record(record, reply=word, answered_ms=turn.now_ms)
    if remains == (said == "done"):
        turn.answer("late", f"{record.name}: {word} came, as it was resolved by hand")
        return
    incident = f"{record.name} was resolved as {said} by hand, and its participant said {word} afterwards"
    turn.change(incident=turn.instance.incident or incident)
    turn.answer("violation", incident)


def _do(turn: Turn, message: Operate) -> str:
    """Do it; "" or why it cannot be done, and then nothing was changed."""
    match message.action:
        case "cancel":
            return _cancel(turn, message)
        case "abandon":
            return _abandon(turn, message)
        case "retry" | "resolve-done" | "resolve-undone":
            if turn.instance.state != STUCK:
                return f"it is not stuck but {turn.instance.state}"
            if message.action == "retry":
                return _retry(turn)
            return _resolve_done(turn) if message.action == "resolve-done" else _resolve_undone(turn, message)


def _cancel(turn: Turn, message: Operate) -> str:
    place = turn.definition.places.get(turn.instance.state)
    if place is None:
        return f"it is {turn.instance.state}: retry, resolve or abandon it"
    if place.phase == "undoing":
        return "it is turning back already"
    if not turn.can(f"{place.step}.cancel"):
        return f"step {place.step!r} is past the point of no return"
    record = turn.instance.step(place.step)
    assert record is not None
    turn.effects.append(ClearTimer(name=place.step))
    turn.record(record, effect="unknown")
    turn.change(cause=f"cancelled by {message.who}: {message.reason}"[:REASON_LENGTH_MAX])
    turn.move(f"{place.step}.cancel")
    enter(turn)
    return ""


def _abandon(turn: Turn, message: Operate) -> str:
    place = turn.definition.places.get(turn.instance.state)
    if place is not None:
        turn.effects.append(ClearTimer(name=place.step))
    turn.change(cause=f"abandoned by {message.who}: {message.reason}"[:REASON_LENGTH_MAX], reason="")
    turn.move("operator.abandon")
    enter(turn)
    return ""


def _retry(turn: Turn) -> str:
    spec, record, is_undo = _stuck_over(turn)
    if _is_over_a_late_effect(turn, spec):
        return f"nothing is to be sent again: {spec.name!r} was done after it had been refused; resolve or abandon it"
    _free(turn)
    if is_undo:
        turn.record(record, undo_faults=0)
        turn.move(f"{spec.name}.retry-undo")
    else:
        turn.move(f"{spec.name}.retry")
    enter(turn)
    return ""


def _resolve_done(turn: Turn) -> str:
    spec, record, is_undo = _stuck_over(turn)
    if is_undo or _is_over_a_late_effect(turn, spec):
        return f"the run has turned back: say that {spec.name!r} is undone, or abandon it"
    _free(turn)
    turn.record(record, effect="done", reply=record.reply or BY_HAND, answered_ms=turn.now_ms)
    turn.move(f"{spec.name}.resolve-done")
    enter(turn)
    return ""


def _resolve_undone(turn: Turn, message: Operate) -> str:
    spec, record, _ = _stuck_over(turn)
    if spec.kind == "retriable":
        return f"step {spec.name!r} stands after the point of no return: retry it, or say that it is done"
    cause = turn.instance.cause or f"{spec.name}: resolved by {message.who}: {message.reason}"[:REASON_LENGTH_MAX]
    _free(turn)
    turn.change(cause=cause)
    turn.record(record, effect="undone", undo_reply=BY_HAND, undo_answered_ms=turn.now_ms)
    turn.move(f"{spec.name}.resolve-undone")
    enter(turn)
    return ""


def _stuck_over(turn: Turn) -> tuple[StepSpec, StepRecord, bool]:
    """The step the run is stuck over, its record, and whether it was its undo."""
    spec = turn.definition.steps[turn.instance.stuck_step]
    record = turn.instance.step(spec.name)
    assert record is not None
    return spec, record, turn.instance.stuck_from == f"{spec.name}.undoing"


def _is_over_a_late_effect(turn: Turn, spec: StepSpec) -> bool:
    place = turn.definition.places.get(turn.instance.stuck_from)
    return place is None or place.step != spec.name


def _free(turn: Turn) -> None:
    turn.change(reason="", stuck_step="", stuck_from="")
