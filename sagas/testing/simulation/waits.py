"""What must hold of waits and delays: no wait is given up whose signal had come, and a delay takes its time."""

from collections.abc import Callable, Iterator

from sagas.core.effects import Fire, Signal
from sagas.core.instance import Instance
from sagas.core.renaming import marks_of
from sagas.ports import JournalRow
from sagas.testing.simulation.evidence import Evidence
from sagas.testing.simulation.history import Violation


def no_wait_is_given_up_whose_signal_had_come(evidence: Evidence) -> Iterator[Violation]:
    """Absence is told only when everything that had come before it was read."""
    # A message that was lost had come, and clocks that jumped do not agree when.
    if evidence.faults.can_lose or evidence.faults.jump_every_ms:
        return
    for instance, row, leaf, entered_ms in _ended_by(evidence, "absent", "waiting"):
        wait = evidence.definition_of(instance).waits[leaf]
        came_ms = _signalled_ms(evidence, instance, leaf)
        due_ms = entered_ms + wait.timeout_ms
        if came_ms is not None and came_ms < due_ms:
            what = f"{leaf} was given up at {row.at_ms - due_ms} ms past its time, though its signal had come"
            yield Violation("timers", f"{what} {due_ms - came_ms} ms before", instance.key)


def no_delay_is_cut_short(evidence: Evidence) -> Iterator[Violation]:
    """A delay lasts as long as its saga says, at least."""
    for instance, row, leaf, entered_ms in _ended_by(evidence, "over", "delaying"):
        definition = evidence.definition_of(instance)
        lasts_ms = int(definition.delays[leaf].seconds(definition.decode_data(instance.data)) * 1000)
        if row.at_ms < entered_ms + lasts_ms:
            what = f"{leaf} took {row.at_ms - entered_ms} ms instead of {lasts_ms}"
            yield Violation("timers", what, instance.key)


def _ended_by(evidence: Evidence, kind: str, phase: str) -> Iterator[tuple[Instance, JournalRow, str, int]]:
    """(run, row, leaf, when it was entered) for each timer of this kind that moved a run on."""
    for instance in evidence.instances:
        entered: dict[str, int] = {}
        for row, message, _, after in evidence.replayed(instance):
            if isinstance(message, Fire) and message.kind == kind and row.verdict == "advance":
                yield instance, row, message.step, entered[message.step]
            for leaf, now in marks_of(after.state) if after is not None else ():
                if now == phase:
                    entered.setdefault(leaf, row.at_ms)


def _signalled_ms(evidence: Evidence, instance: Instance, leaf: str) -> int | None:
    """When a signal for this wait first came, None when none ever did. What ended another wait was for that one."""
    wait = evidence.definition_of(instance).waits[leaf]
    there, taken = evidence.first_there, dict(_taken(evidence, instance))
    ids = (i for tag in wait.signals for i in evidence.signals.get((wait.topic, tag, instance.key), ()))
    return min((there[i].at_ms for i in ids if i in there and taken.get(i, leaf) == leaf), default=None)


def _taken(evidence: Evidence, instance: Instance) -> Iterator[tuple[str, str]]:
    """(message's id, wait) for each signal that a wait has taken, or that was kept for one."""
    waits = evidence.definition_of(instance).waits.values()
    for row, message, before, after in evidence.replayed(instance):
        if not isinstance(message, Signal) or row.verdict != "advance" or before is None or after is None:
            continue
        fresh = _signalled(after) - _signalled(before)
        yield from ((row.message_id, w.name) for w in waits if w.name in fresh and message.event_type in w.signals)


def _signalled(instance: Instance) -> set[str]:
    return {leaf for leaf, _ in instance.marks} | {signal[0] for signal in instance.signals}


WAIT_CHECKS: tuple[Callable[[Evidence], Iterator[Violation]], ...] = (
    no_wait_is_given_up_whose_signal_had_come,
    no_delay_is_cut_short,
)
