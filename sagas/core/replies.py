"""What a participant's answer does to a run: the part of `decide` for replies.

Theory of operation. An answer is first held against the ledger: is it the one that this place awaits, one that is
known already, one the run has moved on from, or one that contradicts what is known? Only the first moves the run;
the others are entered in the ledger, so that no effect is forgotten. Nothing else reads a reply.
"""

from msgspec.structs import replace

from sagas.core.course import BACKWARD
from sagas.core.definition import StepSpec
from sagas.core.effects import ClearTimer, Reply
from sagas.core.entering import enter, give_up, settle_items, turn_back_late
from sagas.core.fanout import is_undone
from sagas.core.flow import unchanged
from sagas.core.instance import COMPENSATED, REJECTED, STUCK, StepRecord
from sagas.core.machine import UNDELIVERABLE, UNDO_UNDELIVERABLE
from sagas.core.messages import Event, Fault, InProgress, Rejection, Undeliverable
from sagas.core.operator import compare_with_word, go_on_undone, is_by_hand
from sagas.core.outcomes import ANSWERED, DONE
from sagas.core.reading import because, read_reply
from sagas.core.turn import (
    REASON_LENGTH_MAX,
    Turn,
    break_down,
    get_stuck,
    is_asked_about,
    item_of,
    send_undo,
    wait_for_answer,
    was_backward,
)
from sagas.errors import told


def on_reply(turn: Turn, message: Reply) -> None:
    """Answer a participant's reply."""
    spec = turn.definition.steps.get(message.step) or turn.definition.step_of(message.step)
    if spec is None:
        turn.answer("violation", f"saga {turn.definition.name!r} has no step {message.step!r}")
        return
    if spec.each is not None and _is_of_no_item(turn, spec, message.step):
        turn.answer("violation", f"{message.step!r} is no item of {spec.name}")
        return
    reply = read_reply(turn.definition, turn.instance.key, spec, message)
    if isinstance(reply, str):
        turn.answer("violation", reply)
        return
    record = turn.instance.step(message.step)
    if record is None or (message.operation == "undo" and not record.undo_sent_ms):
        turn.answer("early", f"{message.step} {message.operation} was not sent yet")
    elif isinstance(reply, InProgress):
        turn.answer("advance", f"{message.step}: in progress")
    elif isinstance(reply, Fault):
        _on_fault(turn, spec, record, message, reply)
    elif _is_never_held_against(spec, reply):
        _on_do_reply(turn, spec, record, reply)
    elif is_by_hand(record, message.operation) and type(reply).__name__ not in (record.reply, record.undo_reply):
        compare_with_word(turn, record, message.operation, reply)
    elif message.operation == "undo":
        _on_undo_reply(turn, spec, record, reply)
    else:
        _on_do_reply(turn, spec, record, reply)


def _is_of_no_item(turn: Turn, spec: StepSpec, name: str) -> bool:
    """Whether the fan-out has no item of this name, and will not have one."""
    return name == spec.name or (turn.instance.mark(spec.name) is not None and turn.instance.step(name) is None)


def _is_never_held_against(spec: StepSpec, reply: Event) -> bool:
    """No answer but a state of affairs: it contradicts nothing, a person's word neither, and may come once more."""
    return isinstance(reply, Undeliverable) and spec.kind == "retriable"


def _on_do_reply(turn: Turn, spec: StepSpec, record: StepRecord, reply: Event) -> None:
    word = type(reply).__name__
    is_refusal = isinstance(reply, Rejection)
    if record.effect in ("intended", "unknown") and _awaits(turn, spec, record, word):
        _advance(turn, spec, record, reply)
    elif _is_never_held_against(spec, reply):
        # A repair ends it: the ledger must not hold it against the true answer.
        turn.answer("late", f"{record.name}: told that its command could not be read")
    elif record.effect in ("done", "refused"):
        if record.reply == word:
            turn.answer("duplicate")
        elif record.effect == "refused" and not is_refusal:
            _done_after_refusal(turn, spec, record, word)
        else:
            turn.answer("violation", f"{record.name} answered {record.reply} before and {word} now")
    elif record.effect == "unknown" and record.reply:
        # It came late once already, or after a refusal, and is to be undone.
        turn.answer("duplicate" if record.reply == word else "late", f"{record.name}: {word} came after {record.reply}")
    elif record.effect in ("intended", "unknown") and _stands_still(turn, spec, record):
        _note_beside(turn, spec, record, reply)
    elif record.effect in ("intended", "unknown") and _is_over_it_ahead(turn, spec, record):
        note = f"{record.name}: {word} came while the run is stuck over it, and is asked for once more by a retry"
        turn.answer("duplicate" if record.reply == word else "late", note)
    elif record.effect == "undone" or spec.undo is None or turn.phase(spec.name) in BACKWARD:
        # Its undo is on the way or answered: the success, or the refusal, is matched to it.
        turn.record(record, reply=word, answered_ms=turn.now_ms)
        turn.answer("late", f"{record.name}: {word} came after its undo was sent")
    else:
        turn.record(record, effect="refused" if is_refusal else "done", reply=word, answered_ms=turn.now_ms)
        turn.answer("late", f"{record.name}: {word} came while {turn.instance.state}")


def _awaits(turn: Turn, spec: StepSpec, record: StepRecord, word: str) -> bool:
    if spec.each is not None and not (word == UNDELIVERABLE and spec.kind == "retriable"):
        word = ANSWERED if turn.instance.state == STUCK else DONE
    if turn.instance.state == STUCK:
        # A run that is stuck over the step's undo has turned back: an answer to the do must not send it forward.
        # Nor may the answer of one branch free a run that is stuck over another, or over what was done after all.
        return _is_over_it_ahead(turn, spec, record) and turn.can(f"{spec.name}.{word}")
    return turn.can(f"{spec.name}.{word}") and turn.phase(spec.name) not in BACKWARD


def _stands_still(turn: Turn, spec: StepSpec, record: StepRecord) -> bool:
    """Whether its branch, or its item, was under way when the run got stuck over another."""
    if turn.instance.state != STUCK or turn.instance.stuck_step == record.name:
        return False
    before = turn.definition.lanes.get(turn.instance.stuck_from, ())
    return any(place.step == spec.name and place.phase not in BACKWARD for place in before)


def _is_over_it_ahead(turn: Turn, spec: StepSpec, record: StepRecord) -> bool:
    """Whether the run got stuck over the step, or this item of it, while it was at it on its way forward."""
    if turn.instance.state != STUCK or turn.instance.stuck_step != record.name:
        return False
    before = turn.definition.lanes.get(turn.instance.stuck_from, ())
    return any(place.step == spec.name and place.phase not in BACKWARD for place in before)


def _note_beside(turn: Turn, spec: StepSpec, record: StepRecord, reply: Event) -> None:
    """Keep an answer while the run is stuck over another branch: it is passed over when the run is freed."""
    word = type(reply).__name__
    try:
        encoded = turn.instance.data if isinstance(reply, Undeliverable) else _folded(turn, spec, record, reply)
    except Exception as error:  # the saga author's code
        turn.answer("violation", f"folding {word} raised {told(error)}")
        return
    turn.change(data=encoded)
    turn.record(
        record, effect="refused" if isinstance(reply, Rejection) else "done", reply=word, answered_ms=turn.now_ms
    )
    turn.answer("advance", f"{record.name}: {word}, kept until the run is freed")


def _advance(turn: Turn, spec: StepSpec, record: StepRecord, reply: Event) -> None:
    is_refusal = isinstance(reply, Rejection)
    is_undeliverable = is_refusal and isinstance(reply, Undeliverable)
    word = type(reply).__name__
    turn.effects.append(ClearTimer(name=record.name))
    if is_undeliverable and spec.kind == "retriable":
        # Neither back nor on: its effect stays intended, so that a retry after a repair is answered for.
        turn.move(f"{spec.name}.{word}")
        get_stuck(turn, record.name, f"{word}{because(reply)}")
        return
    try:
        encoded = turn.instance.data if is_undeliverable else _folded(turn, spec, record, reply)
    except Exception as error:  # the saga author's code, as above
        _not_folded(turn, spec, record, reply, f"folding {word} raised {told(error)}")
        return
    turn.record(record, effect="refused" if is_refusal else "done", reply=word, answered_ms=turn.now_ms)
    before = turn.instance
    is_stuck = before.state == STUCK
    if encoded != before.data or before.reason or before.stuck_step:
        turn.change(data=encoded, reason="", stuck_step="", stuck_from="")
    if spec.each is not None:
        if is_stuck:
            turn.move(f"{spec.name}.{ANSWERED}")
            enter(turn)
        else:
            settle_items(turn, spec, f"{record.name}: {word}{because(reply)}")
        return
    turn.move(f"{spec.name}.{word}")
    if is_refusal and turn.has_turned:
        turn.change(cause=f"{spec.name}: {word}{because(reply)}"[:REASON_LENGTH_MAX])
    enter(turn)


def _not_folded(turn: Turn, spec: StepSpec, record: StepRecord, reply: Event, reason: str) -> None:
    """The fold raised: the answer is not entered, or a run that is freed would pass over a step that set nothing."""
    # A person may call the step done all the same, and then it goes by what it was answered.
    word = "" if isinstance(reply, Rejection) else type(reply).__name__
    turn.record(record, effect="intended", reply=word)
    if turn.can(f"{spec.name}.broken"):
        break_down(turn, record.name, reason)
    else:
        turn.change(reason=f"{record.name}: {reason}"[:REASON_LENGTH_MAX])
        turn.answer("violation", reason)


def _folded(turn: Turn, spec: StepSpec, record: StepRecord, reply: Event) -> bytes:
    if spec.fold is unchanged:
        return turn.instance.data  # most answers only say yes: reading and writing the data is a tenth of a decision
    data = turn.definition.decode_data(turn.instance.data)
    each = spec.each
    data = spec.fold(data, reply) if each is None else spec.fold(data, item_of(turn, each, record.name), reply)
    return turn.definition.encode_data(data)


def _done_after_refusal(turn: Turn, spec: StepSpec, record: StepRecord, word: str) -> None:
    """A step said no and then did it all the same: its effect is open, and is undone after all."""
    # On its way forward the run goes on without the step: it has gone another way. Its end undoes this. The refusal
    # is kept, for it says which way: a run that is freed passes over the step by it.
    refusal = record.reply
    if _has_turned(turn):
        record = turn.record(record, effect="done", reply=word, answered_ms=turn.now_ms)
    else:
        record = turn.record(record, effect="unknown", answered_ms=turn.now_ms)
    is_left = spec.undo is None and spec.kind == "compensatable"
    how = "it leaves nothing" if is_left else "undone after all"
    turn.answer("late", f"{record.name}: {word} came after {refusal}: {how}")
    if turn.can(f"{spec.name}.late"):
        turn_back_late(turn, record.name)
    elif spec.each is not None and turn.phase(spec.name) in BACKWARD:
        send_undo(turn, spec, replace(record, undo_sent_ms=turn.now_ms))  # with the other items
    # Else the ledger has the effect, and no way from there ends with it open.


def _has_turned(turn: Turn) -> bool:
    """Whether the run is on its way back, or was when it got stuck."""
    if turn.instance.state != STUCK:
        return turn.has_turned
    before = turn.definition.lanes.get(turn.instance.stuck_from, ())
    return turn.instance.stuck_from in (COMPENSATED, REJECTED) or any(place.phase == "undoing" for place in before)


def _on_undo_reply(turn: Turn, spec: StepSpec, record: StepRecord, reply: Event) -> None:
    word = type(reply).__name__
    if not record.is_open:
        turn.answer("duplicate")
        return
    is_refusal = isinstance(reply, Rejection)
    effect = record.effect if is_refusal else "undone"
    turn.record(record, effect=effect, undo_reply=word, undo_answered_ms=turn.now_ms)
    is_over_it = turn.instance.state == STUCK and turn.instance.stuck_step == record.name
    if is_over_it and not is_refusal and was_backward(turn, spec.name):
        turn.effects.append(ClearTimer(name=record.name))
        go_on_undone(turn, word)
        return
    if turn.phase(spec.name) not in BACKWARD:
        turn.answer("late", f"{record.name}: {word} came while {turn.instance.state}")
        return
    turn.effects.append(ClearTimer(name=record.name))
    if not is_refusal and spec.each is not None and not is_undone(turn, spec):
        turn.answer("advance", f"{record.name}: {word}")
        return
    turn.move(f"{spec.name}.{UNDO_UNDELIVERABLE if isinstance(reply, Undeliverable) else word}")
    if is_refusal:
        get_stuck(turn, record.name, f"its undo was refused: {word}{because(reply)}")
    else:
        enter(turn)


def _on_fault(turn: Turn, spec: StepSpec, record: StepRecord, message: Reply, fault: Fault) -> None:
    """The participant failed for now and nothing was done: try again, but not for ever where it may turn back."""
    is_undo = message.operation == "undo"
    phase = turn.phase(spec.name)
    if phase is None or (phase in BACKWARD) != is_undo or _is_settled(record, is_undo=is_undo):
        turn.answer("late", f"{record.name}: a fault came while {turn.instance.state}")
        return
    if 0 < message.attempt < (record.undo_attempts if is_undo else record.attempts):
        turn.answer("late", f"{record.name}: a fault of attempt {message.attempt}, a later one is out")
        return
    turn.answer("advance", f"{record.name}: fault, will try again: {fault.reason}"[:REASON_LENGTH_MAX])
    if is_undo:
        assert spec.undo is not None
        record = turn.record(record, undo_faults=record.undo_faults + 1)
        if spec.undo.retry.is_exhausted(record.undo_faults):
            turn.effects.append(ClearTimer(name=record.name))
            turn.move(f"{spec.name}.undo-exhausted")
            get_stuck(turn, record.name, f"its undo failed {record.undo_faults} times: {fault.reason}")
            return
        delay_ms = spec.undo.retry.delay_ms(record.undo_faults, turn.instance.id)
        turn.timer(record.name, "retry", "undo", record.undo_attempts, turn.now_ms + delay_ms)
        return
    record = turn.record(record, faults=record.faults + 1)
    due_ms = turn.now_ms + spec.retry.delay_ms(record.faults, turn.instance.id)
    if is_asked_about(turn, spec, record):
        turn.timer(record.name, "retry", "do", record.attempts, due_ms)
    elif spec.retry.is_exhausted(record.faults) and turn.can(f"{spec.name}.exhausted"):
        give_up(turn, spec, record, f"{spec.name}.exhausted", f"{record.faults} attempts failed: {fault.reason}")
    else:
        wait_for_answer(turn, spec, record, "retry", due_ms)


def _is_settled(record: StepRecord, *, is_undo: bool) -> bool:
    """Whether the operation was answered: of a fan-out an item may be while others are under way."""
    return not record.is_open if is_undo else record.effect not in ("intended", "unknown")
