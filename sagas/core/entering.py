"""What each place asks for when a run enters it.

Theory of operation. `pending` sends the command, `resolving` asks again ever more slowly, the phases of an undo
send it, a wait and a delay set their timer, a decision is made at once, an end looks at the ledger once more. A
state with branches is entered place by place: those it shares with the state before are left alone, those that
were left lose their timers, and what was under way in them is unknown from then on.

Passing over. A move out of `stuck`, and the way back after a late success, lead to where a branch begins (or, on the
way back, ends), whatever has happened on it. What the ledger says of a step that is entered so is not asked for
again: the run moves on by the answer that is known, until it comes to something that is still open. What is known of
a leaf stands in `sagas/core/passing.py`.
"""

from msgspec.structs import replace

from sagas.core.course import BACKWARD, Phase, Place
from sagas.core.definition import ChoiceSpec, DelaySpec, StepSpec, WaitSpec
from sagas.core.drafts import TIMEOUT_MS_MAX
from sagas.core.effects import ClearTimer
from sagas.core.fanout import begin_items, outcome, refusal_of, undo_items
from sagas.core.instance import COMPENSATED, COMPLETED, ENDS, REJECTED, STUCK, StepRecord, leaf_of
from sagas.core.messages import Event, tag_of
from sagas.core.outcomes import ABSENT, LIST_REFUSED, NO, OVER, WAY_FAILED, YES
from sagas.core.passing import behind, known_word, next_way_has_begun, undone_word, way_has_failed
from sagas.core.reading import because, read_signal
from sagas.core.turn import (
    DEADLINE_TIMER,
    REASON_LENGTH_MAX,
    Turn,
    ask_again_later,
    ask_for,
    break_down,
    get_stuck,
    send_undo,
)
from sagas.errors import told


def enter(turn: Turn) -> None:
    """Do what the state just moved into asks for."""
    state = turn.instance.state
    if state in ENDS:
        _leave(turn, ())
        _settle(turn)
        return
    if state == STUCK:
        return  # what is beside it stands still
    before = turn.definition.lanes.get(turn.moves[-1].source, ())
    if turn.moves[-1].source == STUCK:
        while trigger := behind(turn):
            turn.move(trigger)
            _leave(turn, turn.places)
        if turn.instance.state in ENDS:
            enter(turn)
            return
    here = turn.places
    _leave(turn, here)
    for place in here:
        # An earlier one's entry may have moved the run on; what is still to be entered then is what is left of these.
        if place not in before and place in turn.places:
            _enter_place(turn, place)


def _leave(turn: Turn, here: tuple[Place, ...]) -> None:
    move = turn.moves[-1]
    mover = move.trigger.partition(".")[0]  # whoever moved has cleared the timer of its own leaf
    for place in turn.definition.lanes.get(move.source, ()):
        # Of a fan-out, other items may be under way when one has moved it.
        if place.step == mover and not _is_fanout(turn, place.step):
            continue
        if all(place.step != other.step for other in here):
            turn.leave_behind(place.step)


def _is_fanout(turn: Turn, leaf: str) -> bool:
    spec = turn.definition.steps.get(leaf)
    return spec is not None and spec.each is not None


def _enter_place(turn: Turn, place: Place) -> None:
    if way_has_failed(turn, place.step):
        turn.move(f"{place.step}.{WAY_FAILED}")
        enter(turn)
        return
    if place.step in turn.definition.steps:
        spec = turn.definition.steps[place.step]
        if place.phase in BACKWARD:
            _enter_undoing(turn, spec, place.phase)
        elif place.phase == "pending":
            _enter_pending(turn, spec)
        else:
            record = turn.instance.step(spec.name)
            assert record is not None
            ask_again_later(turn, spec, record)
    elif place.phase == "waiting":
        _enter_waiting(turn, turn.definition.waits[place.step])
    elif place.phase == "delaying":
        _enter_delaying(turn, turn.definition.delays[place.step])
    else:
        _decide(turn, turn.definition.choices[place.step])


# --------------------------------------------------------------------------- steps


def _enter_pending(turn: Turn, spec: StepSpec) -> None:
    if spec.each is not None:
        word = begin_items(turn, spec)
        if word:
            end_items(turn, spec, word)
        return
    record = turn.instance.step(spec.name)
    word = known_word(spec, record) if record is not None and spec.name != turn.retried else ""
    if word:
        _pass_over(turn, spec, word)
        return
    if spec.kind != "compensatable" and turn.instance.deadline_ms:
        turn.effects.append(ClearTimer(name=DEADLINE_TIMER))  # the deadline stops at the pivot
    ask_for(turn, spec, record or StepRecord(name=spec.name, attempts=0))


def settle_items(turn: Turn, spec: StepSpec, why: str) -> None:
    """An item of a fan-out is settled, `why` says how: let the run move if that settles the whole."""
    word = outcome(turn.instance.records_of(spec.name))
    if word:
        end_items(turn, spec, word, why)
    else:
        turn.note = why


def end_items(turn: Turn, spec: StepSpec, word: str, why: str = "") -> None:
    """Let the run move by what its fan-out has come to."""
    why = why or (turn.note if word == LIST_REFUSED else refusal_of(turn.instance, spec))
    turn.move(f"{spec.name}.{word}")
    if turn.instance.state == STUCK:
        get_stuck(turn, spec.name, why.removeprefix(f"{spec.name}: "))
    elif turn.has_turned and not turn.instance.cause:
        turn.change(cause=why[:REASON_LENGTH_MAX])
    enter(turn)


def _pass_over(turn: Turn, spec: StepSpec, word: str) -> None:
    turn.move(f"{spec.name}.{word}")
    if turn.has_turned and not turn.instance.cause:
        turn.change(cause=f"{spec.name}: {word}")
    enter(turn)


def _enter_undoing(turn: Turn, spec: StepSpec, phase: Phase) -> None:
    record = turn.instance.step(spec.name)
    assert spec.undo is not None
    # What stands of a way although the next one was begun was done after it had been refused: the end undoes it.
    is_behind = phase == "reverting" and next_way_has_begun(turn, spec.name)
    if spec.each is not None and not is_behind and undo_items(turn, spec):
        return
    if record is not None and record.is_open and not is_behind:
        effect = "unknown" if record.effect == "intended" else record.effect
        send_undo(turn, spec, replace(record, effect=effect, undo_sent_ms=turn.now_ms))
        return
    # A late success sent the run back down the line, or the way back leads through a branch that was not
    # taken: what is undone, was refused or never sent is passed over.
    turn.move(f"{spec.name}.{undone_word(spec)}")
    enter(turn)


def give_up(turn: Turn, spec: StepSpec, record: StepRecord, trigger: str, why: str) -> None:
    """The step's outcome is unknown: enter that in the ledger and do what its definition says."""
    turn.effects.append(ClearTimer(name=record.name))
    turn.record(record, effect="unknown")
    turn.move(trigger)
    turn.note = f"{record.name}: {why}"
    if turn.instance.state == STUCK:
        get_stuck(turn, record.name, why)
    elif turn.has_turned:
        turn.change(cause=turn.note[:REASON_LENGTH_MAX])
    enter(turn)


# --------------------------------------------------------------------------- waits, delays, decisions


def _enter_waiting(turn: Turn, spec: WaitSpec) -> None:
    known = turn.instance.mark(spec.name)
    if known is not None and spec.name != turn.retried and turn.can(f"{spec.name}.{known}"):
        turn.move(f"{spec.name}.{known}")
        if turn.instance.state == STUCK:
            get_stuck(turn, spec.name, "no signal came")
        enter(turn)
        return
    turn.timer(spec.name, "absent", "do", 0, turn.now_ms + spec.timeout_ms)
    early = turn.instance.signal(spec.name)
    if early is not None:
        event_type, data = early
        signal = read_signal(turn.definition, turn.instance.key, spec, event_type, data)
        assert not isinstance(signal, str)  # it was read when it came
        take_signal(turn, spec, signal, data)


def take_signal(turn: Turn, spec: WaitSpec, signal: Event, encoded: bytes) -> None:
    """Let a wait end with its signal, which is kept for a retry where the fold raises; `encoded` is its JSON."""
    word = type(signal).__name__
    try:
        data = spec.fold(turn.definition.decode_data(turn.instance.data), signal)
        turn.change(data=turn.definition.encode_data(data))
    except Exception as error:  # the saga author's code
        if turn.can(f"{spec.name}.broken"):
            if turn.instance.signal(spec.name) is None:
                kept = (spec.name, tag_of(type(signal)), encoded)
                turn.change(signals=(*turn.instance.signals, kept))
            break_down(turn, spec.name, f"folding {word} raised {told(error)}")
        else:
            turn.answer("violation", f"folding {word} raised {told(error)}")
        return
    turn.effects.append(ClearTimer(name=spec.name))
    turn.mark(spec.name, word)
    end_wait(turn, spec, word, f"{word}{because(signal)}")


def end_wait(turn: Turn, spec: WaitSpec, word: str, why: str) -> None:
    """Go on, or back, by what the wait has come to."""
    turn.change(reason="", stuck_step="", stuck_from="")
    turn.move(f"{spec.name}.{word}")
    turn.note = f"{spec.name}: {why}"[:REASON_LENGTH_MAX]
    if turn.instance.state == STUCK:
        get_stuck(turn, spec.name, why)
        return
    if turn.has_turned:
        turn.change(cause=turn.note)
    enter(turn)


def _enter_delaying(turn: Turn, spec: DelaySpec) -> None:
    known = turn.instance.mark(spec.name)
    if known in (OVER, ABSENT):  # a person has called it so
        turn.move(f"{spec.name}.{OVER}")
        enter(turn)
        return
    try:
        due_ms = int(known) if known else turn.now_ms + _duration_ms(turn, spec)
    except Exception as error:  # the saga author's code
        break_down(turn, spec.name, f"its function raised {told(error)}")
        return
    turn.mark(spec.name, str(due_ms))
    if due_ms <= turn.now_ms:
        turn.move(f"{spec.name}.{OVER}")
        enter(turn)
    else:
        turn.timer(spec.name, "over", "do", 0, due_ms)


def _duration_ms(turn: Turn, spec: DelaySpec) -> int:
    seconds = spec.seconds(turn.definition.decode_data(turn.instance.data))
    return max(0, min(int(seconds * 1000), TIMEOUT_MS_MAX))


def _decide(turn: Turn, spec: ChoiceSpec) -> None:
    outcome = turn.instance.mark(spec.name)
    if outcome is None:
        try:
            outcome = YES if spec.test(turn.definition.decode_data(turn.instance.data)) else NO
        except Exception as error:  # the saga author's code
            break_down(turn, spec.name, f"its predicate raised {told(error)}")
            return
        turn.mark(spec.name, outcome)
    turn.move(f"{spec.name}.{outcome}")
    enter(turn)


# --------------------------------------------------------------------------- ends


def _settle(turn: Turn) -> None:
    # The promise behind the word: nothing is called compensated, rejected or completed while an effect is open
    # that should not be. A success that arrived late, while the run was elsewhere, has its undo still before it.
    if turn.instance.state in (COMPENSATED, REJECTED):
        standing = next((r for r in reversed(turn.instance.steps) if _stands(turn, r)), None)
    elif turn.instance.state == COMPLETED:
        standing = next((r for r in turn.instance.steps if r.effect != "done" and _stands(turn, r)), None)
    else:
        standing = None
    if standing is not None and turn.can(f"{leaf_of(standing.name)}.late"):
        turn_back_late(turn, standing.name)
    elif turn.instance.deadline_ms:
        turn.effects.append(ClearTimer(name=DEADLINE_TIMER))


def turn_back_late(turn: Turn, name: str) -> None:
    """Undo a step, or an item of one, after all: it was done although it had been refused."""
    turn.move(f"{leaf_of(name)}.late")
    if turn.instance.state == STUCK:
        get_stuck(turn, name, "was done after it had been refused, and cannot be undone")
    enter(turn)


def _stands(turn: Turn, record: StepRecord) -> bool:
    spec = turn.definition.steps[leaf_of(record.name)]
    # A compensatable step without an undo has said that it leaves nothing.
    return record.is_open and (spec.undo is not None or spec.kind != "compensatable")
