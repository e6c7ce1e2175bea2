"""What a person does with an instance: an input like any other, in the instance's own order.

Theory of operation. The person acts on what was seen: `revision` is of that moment, and if anything
has happened since, nothing is done and the person looks again. A stuck instance keeps over which step it
is stuck and in which state it was, so that each way out is one move of the machine: another try, or
forward, or back past the step. What a person says of an effect goes into the ledger like an answer.

The participant's own answer may come after that all the same. It is compared with the person's word: where
they agree, it takes the word's place in the ledger, but not where it would lead elsewhere: the run has gone past that
branch. Where they differ, the person's word stands, and that is an incident, which stays with the run. Nothing is sent:
the person may have mended it outside already, and undoing it once more would take back twice.
"""

from sagas.core.course import BACKWARD
from sagas.core.definition import LeafSpec, StepSpec
from sagas.core.effects import Operate
from sagas.core.entering import enter
from sagas.core.instance import BY_HAND, COMPLETED, STUCK, Operation, StepRecord, leaf_of
from sagas.core.messages import Event, Rejection
from sagas.core.outcomes import ABSENT, UNDONE, by_hand, resolved_as
from sagas.core.turn import REASON_LENGTH_MAX, Turn, was_backward


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
    elif not remains or (STUCK, resolved_as(leaf_of(record.name), word)) not in turn.definition.table:
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


def turn_whole(turn: Turn, word: str, why: str) -> bool:
    """Turn a run back from wherever it stands, whatever is under way; False when it is past that."""
    leaf = next((place.step for place in turn.places if turn.can(f"{place.step}.{word}")), None)
    if leaf is None:
        return False
    if turn.phase(leaf) in BACKWARD:
        turn.clear(leaf)
    else:
        turn.leave_behind(leaf)
    turn.change(cause=(f"{leaf}: {why}" if word == "deadline" else why)[:REASON_LENGTH_MAX])
    turn.note = turn.instance.cause
    turn.move(f"{leaf}.{word}")
    enter(turn)
    return True


def _cancel(turn: Turn, message: Operate) -> str:
    if not turn.places:
        return f"it is {turn.instance.state}: retry, resolve or abandon it"
    if turn.has_turned:
        return "it is turning back already"
    if not turn_whole(turn, "cancel", f"cancelled by {message.who}: {message.reason}"):
        return f"step {turn.places[0].step!r} is past the point of no return"
    return ""


def _abandon(turn: Turn, message: Operate) -> str:
    for place in turn.places:
        turn.clear(place.step)
    turn.change(cause=f"abandoned by {message.who}: {message.reason}"[:REASON_LENGTH_MAX], reason="")
    turn.move("operator.abandon")
    enter(turn)
    return ""


def _retry(turn: Turn) -> str:
    spec = _stuck_over(turn)
    if _is_over_a_late_effect(turn, spec):
        return f"nothing is to be sent again: {spec.name!r} was done after it had been refused; resolve or abandon it"
    trigger = f"{spec.name}.{_retry_word(turn, spec)}"
    record = turn.instance.step(turn.instance.stuck_step)
    if record is not None and was_backward(turn, spec.name):
        turn.record(record, undo_faults=0)
    turn.retried = turn.instance.stuck_step
    _free(turn)
    turn.move(trigger)
    enter(turn)
    return ""


def _retry_word(turn: Turn, spec: LeafSpec) -> str:
    phase = _phase_before(turn, spec)
    return {"undoing": "retry-undo", "reverting": "retry-revert", "sweeping": "retry-sweep"}.get(phase, "retry")


def _resolve_done(turn: Turn) -> str:
    spec = _stuck_over(turn)
    if was_backward(turn, spec.name) or _is_over_a_late_effect(turn, spec):
        return f"the run has turned back: say that {spec.name!r} is undone, or abandon it"
    if not turn.can(f"{spec.name}.resolve-done"):
        return f"{spec.name!r} is a decision: retry it once its code is mended, or abandon the run"
    record = turn.instance.step(turn.instance.stuck_step)
    trigger = resolved_as(spec.name, record.reply) if record is not None else ""
    _free(turn)
    if record is not None:
        turn.record(record, effect="done", reply=record.reply or BY_HAND, answered_ms=turn.now_ms)
    else:
        turn.mark(spec.name, by_hand(spec))
    turn.move(trigger if turn.can(trigger) else f"{spec.name}.resolve-done")
    enter(turn)
    return ""


def _resolve_undone(turn: Turn, message: Operate) -> str:
    spec = _stuck_over(turn)
    if isinstance(spec, StepSpec) and spec.kind == "retriable":
        return f"step {spec.name!r} stands after the point of no return: retry it, or say that it is done"
    trigger = f"{spec.name}.{_resolve_word(turn, spec)}"
    if not turn.can(trigger) or (spec.name not in turn.definition.turnable and not isinstance(spec, StepSpec)):
        return f"{spec.name!r} has no effect that could be undone: retry it, or say that it is done"
    cause = turn.instance.cause or f"{spec.name}: resolved by {message.who}: {message.reason}"[:REASON_LENGTH_MAX]
    record = turn.instance.step(turn.instance.stuck_step)
    _free(turn)
    if record is not None:
        turn.record(record, effect="undone", undo_reply=BY_HAND, undo_answered_ms=turn.now_ms)
    else:
        turn.mark(spec.name, ABSENT)
    turn.move(trigger)
    if turn.has_turned:
        turn.change(cause=cause)
    enter(turn)
    return ""


def go_on_undone(turn: Turn, word: str) -> None:
    """The undo that the run is stuck over was answered after all: it goes on by itself, as if a person had said so."""
    over = turn.instance.stuck_step
    spec = _stuck_over(turn)
    trigger = f"{spec.name}.{UNDONE[_resolve_word(turn, spec)]}"
    _free(turn)
    turn.move(trigger)
    turn.answer("advance", f"{over}: {word} came after all, and the run goes on")
    enter(turn)


def _resolve_word(turn: Turn, spec: LeafSpec) -> str:
    if _phase_before(turn, spec) == "sweeping" or turn.instance.stuck_from == COMPLETED:
        return "resolve-swept"
    is_turned = _phase_before(turn, spec) == "undoing" or _is_over_a_late_effect(turn, spec)
    return "resolve-cleared" if is_turned and turn.can(f"{spec.name}.resolve-cleared") else "resolve-undone"


def _stuck_over(turn: Turn) -> LeafSpec:
    """What the run is stuck over."""
    return turn.definition.leaf(leaf_of(turn.instance.stuck_step))


def _phase_before(turn: Turn, spec: LeafSpec) -> str:
    before = turn.definition.lanes.get(turn.instance.stuck_from, ())
    return next((place.phase for place in before if place.step == spec.name), "")


def _is_over_a_late_effect(turn: Turn, spec: LeafSpec) -> bool:
    return not _phase_before(turn, spec)


def _free(turn: Turn) -> None:
    turn.change(reason="", stuck_step="", stuck_from="")
