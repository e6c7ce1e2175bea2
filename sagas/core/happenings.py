"""What happens to a run besides answers: signals from outside, and timers that come due. Parts of `decide`."""

from sagas.core.course import BACKWARD, Phase
from sagas.core.definition import StepSpec, WaitSpec
from sagas.core.effects import Fire, Signal
from sagas.core.entering import end_wait, enter, give_up, take_signal
from sagas.core.instance import ENDS, STUCK, StepRecord
from sagas.core.operator import turn_whole
from sagas.core.outcomes import ABSENT, OVER
from sagas.core.reading import read_signal
from sagas.core.turn import (
    Turn,
    ask_again_later,
    send_do,
    send_undo,
)


def on_signal(turn: Turn, message: Signal) -> None:
    """Answer an event from outside: end the wait for it, or keep it for one that is still to come."""
    accepting = [wait for wait in turn.definition.waits.values() if wait.takes(message.event_type, message.topic)]
    if not accepting:
        came = f" on {message.topic!r}" if message.topic else ""
        turn.answer("violation", f"saga {turn.definition.name!r} waits for no {message.event_type!r}{came}")
        return
    spec = next((wait for wait in accepting if _is_waiting(turn, wait)), None)
    spec = spec or next((wait for wait in accepting if not _has_signal(turn, wait)), accepting[0])
    signal = read_signal(turn.definition, turn.instance.key, spec, message.event_type, message.data)
    word = type(signal).__name__
    if isinstance(signal, str):
        turn.answer("violation", signal)
    elif _is_waiting(turn, spec):
        take_signal(turn, spec, signal, message.data)
    elif _has_signal(turn, spec):
        early = turn.instance.signal(spec.name)
        known = turn.instance.mark(spec.name) or (early[0] if early else "")
        same = known in (word, message.event_type)
        turn.answer("duplicate" if same else "late", "" if same else f"{spec.name} has ended with {known}")
    elif turn.instance.state in ENDS or turn.has_turned:
        turn.answer("late", f"{spec.name}: {word} came while {turn.instance.state}")
    else:
        turn.change(signals=(*turn.instance.signals, (spec.name, message.event_type, message.data)))
        turn.answer("advance", f"{spec.name}: {word} came before it is waited for, and is kept")


def _is_waiting(turn: Turn, spec: WaitSpec) -> bool:
    is_held = turn.instance.state == STUCK and turn.instance.stuck_step == spec.name
    return turn.phase(spec.name) == "waiting" or (is_held and spec.absence == "hold")


def _has_signal(turn: Turn, spec: WaitSpec) -> bool:
    return turn.instance.mark(spec.name) is not None or turn.instance.signal(spec.name) is not None


# --------------------------------------------------------------------------- timers


def on_timer(turn: Turn, fire: Fire) -> None:
    """Answer a timer that came due."""
    if fire.kind == "deadline":
        _on_deadline(turn)
        return
    if fire.kind in ("absent", "over"):
        _on_pause_over(turn, fire)
        return
    spec = turn.definition.step_of(fire.step)
    record = turn.instance.step(fire.step)
    phase = turn.phase(spec.name) if spec is not None else None
    if spec is None or record is None or phase is None or not _still_stands(fire, record, phase):
        turn.answer("late", f"timer of {fire.step} attempt {fire.attempt} is outdated")
    elif fire.kind == "timeout" and spec.each is not None and spec.unknown == "ask":
        _ask_about_item(turn, spec, record)
    elif fire.kind == "timeout" and not turn.can(f"{spec.name}.timeout"):
        turn.answer("late", f"{spec.name} timed out already")
    elif fire.kind == "timeout":
        seconds = (turn.now_ms - record.sent_ms) / 1000
        give_up(turn, spec, record, f"{spec.name}.timeout", f"no answer in {seconds:.1f} s")
    elif fire.operation == "undo":
        send_undo(turn, spec, record)
    else:
        send_do(turn, spec, record)


def _ask_about_item(turn: Turn, spec: StepSpec, record: StepRecord) -> None:
    seconds = (turn.now_ms - record.sent_ms) / 1000
    ask_again_later(turn, spec, turn.record(record, effect="unknown"))
    turn.note = f"{record.name}: no answer in {seconds:.1f} s, asking"


def _still_stands(fire: Fire, record: StepRecord, phase: Phase) -> bool:
    if (phase in BACKWARD) != (fire.operation == "undo"):
        return False
    if fire.operation == "do" and record.effect not in ("intended", "unknown"):
        return False  # an item that is settled, while others of its fan-out are under way
    return fire.attempt == (record.undo_attempts if fire.operation == "undo" else record.attempts)


def _on_pause_over(turn: Turn, fire: Fire) -> None:
    wait, delay = turn.definition.waits.get(fire.step), turn.definition.delays.get(fire.step)
    phase = turn.phase(fire.step)
    if fire.kind == "absent" and wait is not None and phase == "waiting":
        if wait.absence != "hold":
            turn.mark(wait.name, ABSENT)
        end_wait(turn, wait, ABSENT, f"no signal in {wait.timeout_ms / 1000:.1f} s")
    elif fire.kind == "over" and delay is not None and phase == "delaying":
        turn.move(f"{delay.name}.{OVER}")
        enter(turn)
    else:
        turn.answer("late", f"timer of {fire.step} is outdated")


def _on_deadline(turn: Turn) -> None:
    # The bound, and not how long it took: a run that was stuck, or whose orchestrator was away, is turned back later.
    seconds = (turn.instance.deadline_ms - turn.instance.started_ms) / 1000
    if not turn_whole(turn, "deadline", f"the whole saga took more than {seconds:.1f} s"):
        turn.answer("late", f"the deadline no longer matters while {turn.instance.state}")
