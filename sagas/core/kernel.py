"""The rules: `decide` answers every input in every state, and nothing else decides anything.

Theory of operation. An instance is in one state of its machine and keeps a ledger with one record a
step. An input is first held against the ledger and the machine's table: is it the answer that this
state awaits (advance), one that is known already (duplicate), one the run has moved on from (late),
one to something not asked yet (early), or one that contradicts what is known (violation)? Only an
advance moves the machine; each state that is entered says what to do: send the command, send the
undo, ask again, or rest. Time comes in as `now_ms` and chance not at all, so deciding again decides
the same. Production, simulation, replay and checking all call this function; there is no other.

Why it converges: forward moves go down the line of steps, a turn goes to the undo side, and each
undo's answer goes further back, so without new faults every run ends in at most two passes. Waiting
always has a timer. What a participant does twice is its barrier's business; the command's id is
derived from instance, step and operation, the same for every attempt.
"""

from sagas.core.carrying import carry_over, renamed_input
from sagas.core.definition import Definition, StepSpec
from sagas.core.effects import CarryOver, ClearTimer, Decision, Fire, Input, Operate, Reply, SetTimer, Start
from sagas.core.hashing import short_hash
from sagas.core.ids import instance_id
from sagas.core.instance import STUCK, Instance, StepRecord
from sagas.core.machine import NEW, UNDO_UNDELIVERABLE
from sagas.core.messages import Event, Fault, InProgress, Rejection, Undeliverable
from sagas.core.operator import compare_with_word, is_by_hand, operate
from sagas.core.reading import read_reply
from sagas.core.turn import (
    DEADLINE_TIMER,
    REASON_LENGTH_MAX,
    Turn,
    break_down,
    enter,
    get_stuck,
    send_do,
    send_undo,
    turn_back_late,
    wait_for_answer,
)


def decide(definition: Definition, instance: Instance | None, message: Input, now_ms: int) -> Decision:
    """Answer one input.

    `now_ms` is Unix time in milliseconds, supplied by the caller. An input that changes nothing gives
    the instance back with a revision one higher, for it is entered in the journal too. Raises
    IllegalMove if the table lacks a move: that is a bug in this engine, never in a participant.
    """
    if instance is None:
        return _begin(definition, message, now_ms)
    turn = Turn(definition, instance, now_ms)
    if definition.renames:
        message = renamed_input(definition.renames, message)
    match message:
        case Start():
            same = short_hash(message.data) == instance.start_hash
            turn.answer("duplicate" if same else "violation", "" if same else "started before with other data")
        case Reply():
            _on_reply(turn, message)
        case Fire():
            _on_timer(turn, message)
        case Operate():
            operate(turn, message)
        case CarryOver():
            carry_over(turn, message)
    return turn.decision()


# --------------------------------------------------------------------------- starting


def _begin(definition: Definition, message: Input, now_ms: int) -> Decision:
    if not isinstance(message, Start):
        # A reply may have overtaken its start; a timer of an instance that is not there is a ghost.
        return Decision(
            instance=None, verdict="early" if isinstance(message, Reply) else "late", note="no such instance"
        )
    instance = Instance(
        id=instance_id(definition.name, message.key, now_ms),
        saga=definition.name,
        version=definition.version,
        content=definition.content,
        key=message.key,
        state=NEW,
        data=message.data,
        started_ms=now_ms,
        deadline_ms=now_ms + definition.deadline_ms if definition.deadline_ms else 0,
        start_hash=short_hash(message.data),
    )
    turn = Turn(definition, instance, now_ms)
    if instance.deadline_ms:
        fire = Fire(kind="deadline")
        turn.effects.append(SetTimer(name=DEADLINE_TIMER, due_ms=instance.deadline_ms, fire=fire))
    turn.move("start")
    enter(turn)
    return turn.decision()


# --------------------------------------------------------------------------- replies


def _on_reply(turn: Turn, message: Reply) -> None:
    spec = turn.definition.steps.get(message.step)
    if spec is None:
        turn.answer("violation", f"saga {turn.definition.name!r} has no step {message.step!r}")
        return
    reply = read_reply(turn.definition, turn.instance.key, spec, message)
    if isinstance(reply, str):
        turn.answer("violation", reply)
        return
    record = turn.instance.step(spec.name)
    if record is None or (message.operation == "undo" and not record.undo_sent_ms):
        turn.answer("early", f"{spec.name} {message.operation} was not sent yet")
    elif isinstance(reply, InProgress):
        turn.answer("advance", f"{spec.name}: in progress")
    elif isinstance(reply, Fault):
        _on_fault(turn, spec, record, message, reply)
    elif is_by_hand(record, message.operation) and type(reply).__name__ not in (record.reply, record.undo_reply):
        compare_with_word(turn, record, message.operation, reply)
    elif message.operation == "undo":
        _on_undo_reply(turn, spec, record, reply)
    else:
        _on_do_reply(turn, spec, record, reply)


def _on_do_reply(turn: Turn, spec: StepSpec, record: StepRecord, reply: Event) -> None:
    word = type(reply).__name__
    is_refusal = isinstance(reply, Rejection)
    if record.effect in ("intended", "unknown") and _awaits(turn, spec, word):
        _advance(turn, spec, record, reply)
    elif isinstance(reply, Undeliverable) and spec.kind == "retriable":
        # No answer but a state of affairs, which a repair ends: the ledger must not hold it against the true answer.
        turn.answer("late", f"{spec.name}: told that its command could not be read")
    elif record.effect in ("done", "refused"):
        if record.reply == word:
            turn.answer("duplicate")
        elif record.effect == "refused" and not is_refusal:
            _done_after_refusal(turn, spec, record, word)
        else:
            turn.answer("violation", f"{spec.name} answered {record.reply} before and {word} now")
    elif record.effect == "undone" or spec.undo is None or turn.instance.state == f"{spec.name}.undoing":
        # Its undo is on the way or answered: the success, or the refusal, is matched to it.
        turn.record(record, reply=word, answered_ms=turn.now_ms)
        turn.answer("late", f"{spec.name}: {word} came after its undo was sent")
    else:
        turn.record(record, effect="refused" if is_refusal else "done", reply=word, answered_ms=turn.now_ms)
        turn.answer("late", f"{spec.name}: {word} came while {turn.instance.state}")


def _awaits(turn: Turn, spec: StepSpec, word: str) -> bool:
    # A run that is stuck over the step's undo has turned back: an answer to the do must not send it forward.
    has_turned = turn.instance.state == STUCK and turn.instance.stuck_from == f"{spec.name}.undoing"
    return turn.can(f"{spec.name}.{word}") and not has_turned


def _advance(turn: Turn, spec: StepSpec, record: StepRecord, reply: Event) -> None:
    is_refusal = isinstance(reply, Rejection)
    word = type(reply).__name__
    turn.effects.append(ClearTimer(name=spec.name))
    if isinstance(reply, Undeliverable) and spec.kind == "retriable":
        # Neither back nor on: its effect stays intended, so that a retry after a repair is answered for.
        turn.move(f"{spec.name}.{word}")
        get_stuck(turn, spec, f"{word}{_because(reply)}")
        return
    turn.record(record, effect="refused" if is_refusal else "done", reply=word, answered_ms=turn.now_ms)
    try:
        encoded = turn.instance.data if isinstance(reply, Undeliverable) else _folded(turn, spec, reply)
    except Exception as error:  # the saga author's code, as above
        if turn.can(f"{spec.name}.broken"):
            break_down(turn, spec, f"folding {word} raised {type(error).__name__}: {error}")
        else:
            turn.answer("violation", f"folding {word} raised {type(error).__name__}: {error}")
        return
    cause = f"{spec.name}: {word}{_because(reply)}"[:REASON_LENGTH_MAX] if is_refusal else turn.instance.cause
    turn.change(data=encoded, cause=cause, reason="", stuck_step="", stuck_from="")
    turn.move(f"{spec.name}.{word}")
    enter(turn)


def _folded(turn: Turn, spec: StepSpec, reply: Event) -> bytes:
    data = spec.fold(turn.definition.decode_data(turn.instance.data), reply)
    return turn.definition.encode_data(data)


def _because(reply: Event) -> str:
    reason = getattr(reply, "reason", "")
    return f" ({reason})" if isinstance(reason, str) and reason else ""


def _done_after_refusal(turn: Turn, spec: StepSpec, record: StepRecord, word: str) -> None:
    """A step said no and then did it all the same: its effect is open, and is undone after all."""
    turn.record(record, effect="done", reply=word, answered_ms=turn.now_ms)
    turn.answer("late", f"{spec.name}: {word} came after {record.reply}: undone after all")
    if turn.can(f"{spec.name}.late"):
        turn_back_late(turn, spec)
    # Else it is stuck: the ledger has the effect, and no way out of there ends with it open.


def _on_undo_reply(turn: Turn, spec: StepSpec, record: StepRecord, reply: Event) -> None:
    word = type(reply).__name__
    if not record.is_open:
        turn.answer("duplicate")
        return
    is_refusal = isinstance(reply, Rejection)
    effect = record.effect if is_refusal else "undone"
    turn.record(record, effect=effect, undo_reply=word, undo_answered_ms=turn.now_ms)
    if turn.instance.state != f"{spec.name}.undoing":
        turn.answer("late", f"{spec.name}: {word} came while {turn.instance.state}")
        return
    turn.effects.append(ClearTimer(name=spec.name))
    turn.move(f"{spec.name}.{UNDO_UNDELIVERABLE if isinstance(reply, Undeliverable) else word}")
    if is_refusal:
        get_stuck(turn, spec, f"its undo was refused: {word}{_because(reply)}")
    else:
        enter(turn)


def _on_fault(turn: Turn, spec: StepSpec, record: StepRecord, message: Reply, fault: Fault) -> None:
    """The participant failed for now and nothing was done: try again, but not for ever where it may turn back."""
    is_undo = message.operation == "undo"
    place = turn.definition.places.get(turn.instance.state)
    if place is None or place.step != spec.name or (place.phase == "undoing") != is_undo:
        turn.answer("late", f"{spec.name}: a fault came while {turn.instance.state}")
        return
    if 0 < message.attempt < (record.undo_attempts if is_undo else record.attempts):
        turn.answer("late", f"{spec.name}: a fault of attempt {message.attempt}, a later one is out")
        return
    turn.answer("advance", f"{spec.name}: fault, will try again: {fault.reason}"[:REASON_LENGTH_MAX])
    if is_undo:
        assert spec.undo is not None
        record = turn.record(record, undo_faults=record.undo_faults + 1)
        delay_ms = spec.undo.retry.delay_ms(record.undo_faults, turn.instance.id)
        turn.timer(spec.name, "retry", "undo", record.undo_attempts, turn.now_ms + delay_ms)
        return
    record = turn.record(record, faults=record.faults + 1)
    due_ms = turn.now_ms + spec.retry.delay_ms(record.faults, turn.instance.id)
    if place.phase != "pending":
        turn.timer(spec.name, "retry", "do", record.attempts, due_ms)
    elif spec.retry.is_exhausted(record.faults) and turn.can(f"{spec.name}.exhausted"):
        _give_up(turn, spec, record, f"{spec.name}.exhausted", f"{record.faults} attempts failed: {fault.reason}")
    else:
        wait_for_answer(turn, spec, record, "retry", due_ms)


# --------------------------------------------------------------------------- timers


def _on_timer(turn: Turn, fire: Fire) -> None:
    if fire.kind == "deadline":
        _on_deadline(turn)
        return
    spec = turn.definition.steps.get(fire.step)
    record = turn.instance.step(fire.step)
    place = turn.definition.places.get(turn.instance.state)
    if spec is None or record is None or place is None or not _still_stands(fire, record, place.step, place.phase):
        turn.answer("late", f"timer of {fire.step} attempt {fire.attempt} is outdated")
    elif fire.kind == "timeout" and not turn.can(f"{spec.name}.timeout"):
        turn.answer("late", f"{spec.name} timed out already")
    elif fire.kind == "timeout":
        seconds = (turn.now_ms - record.sent_ms) / 1000
        _give_up(turn, spec, record, f"{spec.name}.timeout", f"no answer in {seconds:.1f} s")
    elif fire.operation == "undo":
        send_undo(turn, spec, record)
    else:
        send_do(turn, spec, record)


def _still_stands(fire: Fire, record: StepRecord, step: str, phase: str) -> bool:
    if step != fire.step or (phase == "undoing") != (fire.operation == "undo"):
        return False
    return fire.attempt == (record.undo_attempts if fire.operation == "undo" else record.attempts)


def _on_deadline(turn: Turn) -> None:
    place = turn.definition.places.get(turn.instance.state)
    trigger = f"{place.step}.deadline" if place is not None else ""
    if place is None or not turn.can(trigger):
        turn.answer("late", f"the deadline no longer matters while {turn.instance.state}")
        return
    spec = turn.definition.steps[place.step]
    record = turn.instance.step(spec.name)
    assert record is not None
    seconds = (turn.now_ms - turn.instance.started_ms) / 1000
    _give_up(turn, spec, record, trigger, f"the whole saga took more than {seconds:.1f} s")


def _give_up(turn: Turn, spec: StepSpec, record: StepRecord, trigger: str, why: str) -> None:
    """The step's outcome is unknown: enter that in the ledger and do what its definition says."""
    turn.effects.append(ClearTimer(name=spec.name))
    turn.record(record, effect="unknown")
    turn.move(trigger)
    turn.note = f"{spec.name}: {why}"
    if turn.instance.state == STUCK:
        get_stuck(turn, spec, why)
    elif not turn.instance.state.endswith(".resolving"):
        turn.change(cause=f"{spec.name}: {why}"[:REASON_LENGTH_MAX])
    enter(turn)
