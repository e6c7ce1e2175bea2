"""What the ledger and the marks say of a leaf that a run enters anew, because it was stuck in another branch.

Theory of operation. A move out of `stuck` leads to where each other branch begins, whatever has happened on it. A leaf
whose outcome is known is passed over by that outcome (`known_word`). That is done in every branch before any is entered
(`behind`): one that fails turns the others back, and they have to be turned back from where they had come to. Of a way
that has failed it takes more than the outcomes: its undo may still be out, a step that timed out and leaves nothing has
no undo that would tell, and of a list that was refused no item is known. So a leaf is asked whether the way that it is
in had failed (`way_has_failed`): if so, the run goes to that way's undo at once, and from there to the next way.
"""

from collections.abc import Collection

from sagas.core.course import Place, Ways
from sagas.core.definition import DelaySpec, StepSpec, WaitSpec
from sagas.core.fanout import outcome
from sagas.core.instance import COMPENSATED, REJECTED, STUCK, Instance, StepRecord, leaf_of
from sagas.core.machine import UNDELIVERABLE
from sagas.core.messages import Rejection
from sagas.core.outcomes import ABSENT, LIST_REFUSED, OVER, WAY_FAILED, by_hand
from sagas.core.retreat import Retreat
from sagas.core.turn import Turn


def behind(turn: Turn) -> str:
    """The next move by which a run that is freed passes over what it has behind it, "" where it has come to all of it.

    None that turns the run back, and what fails a way last: the branches beside, or inside of that way, are undone
    from where they are then.
    """
    triggers = [trigger for place in turn.places if (trigger := _passed_by(turn, place))]
    on = [trigger for trigger in triggers if not _turns_back(turn, trigger)]
    return next((trigger for trigger in on if not _fails_a_way(turn, trigger)), on[0] if on else "")


def _passed_by(turn: Turn, place: Place) -> str:
    """The move by which the run passes over a place that it has behind it, "" where something of it is open."""
    if place.phase == "reverting":
        return _passed_back_by(turn, turn.definition.steps[place.step])
    if way_has_failed(turn, place.step):
        return f"{place.step}.{WAY_FAILED}"
    word = _word_of(turn, place.step)
    return f"{place.step}.{word}" if word and turn.can(f"{place.step}.{word}") else ""


def _word_of(turn: Turn, leaf: str) -> str:
    spec, mark = turn.definition.leaf(leaf), turn.instance.mark(leaf)
    match spec:
        case StepSpec():
            records = turn.instance.records_of(leaf) if spec.each is not None else ()
            if leaf_of(turn.retried) == leaf or (spec.each is not None and mark is None):
                return ""
            record = turn.instance.step(leaf)
            return outcome(records) if spec.each is not None else known_word(spec, record) if record is not None else ""
        case DelaySpec():
            is_over = mark in (OVER, ABSENT) or (mark is not None and int(mark) <= turn.now_ms)
            return OVER if is_over else ""
        case _:
            return mark or "" if turn.retried != leaf else ""


def _passed_back_by(turn: Turn, spec: StepSpec) -> str:
    assert spec.undo is not None
    records = turn.instance.records_of(spec.name) if spec.each is not None else (turn.instance.step(spec.name),)
    if any(record is not None and record.is_open for record in records) and not next_way_has_begun(turn, spec.name):
        return ""
    return f"{spec.name}.{undone_word(spec)}"


def undone_word(spec: StepSpec) -> str:
    """The word by which the run passes over an undo of which nothing is open."""
    assert spec.undo is not None
    return next(r.__name__ for r in spec.undo.replies.values() if not issubclass(r, Rejection))


def _turns_back(turn: Turn, trigger: str) -> bool:
    dest = turn.definition.table[turn.instance.state, trigger]
    return dest in (COMPENSATED, REJECTED, STUCK) or any(
        p.phase == "undoing" for p in turn.definition.lanes.get(dest, ())
    )


def _fails_a_way(turn: Turn, trigger: str) -> bool:
    leaf = trigger.partition(".")[0]
    if Retreat(turn.definition.course, ()).catcher(leaf) is None:
        return False
    later, before = _later(*_caught(turn, leaf)), turn.places
    there = turn.definition.lanes.get(turn.definition.table[turn.instance.state, trigger], ())
    return any(place not in before and (place.phase == "reverting" or place.step in later) for place in there)


def known_word(spec: StepSpec, record: StepRecord) -> str:
    """The word by which the run passes over a step that is entered anew, "" where it is to be asked for."""
    reply = next((r for r in spec.replies.values() if r.__name__ == record.reply), None)
    is_refusal = record.reply == UNDELIVERABLE or (reply is not None and issubclass(reply, Rejection))
    match record.effect:
        case "undone":
            return UNDELIVERABLE  # whatever it had been answered: nothing of it remains, as if it had been refused
        case "done":
            # A person said so, whatever its participant said.
            return by_hand(spec) if reply is None or is_refusal else record.reply
        case "refused":
            return record.reply if is_refusal else UNDELIVERABLE
        case "unknown" if is_refusal:
            return record.reply  # it was done all the same: the run has gone by the refusal, and its end undoes it
        case _:
            return ""


def way_has_failed(turn: Turn, leaf: str) -> bool:
    """Whether the way that `leaf` is in had failed when the run got stuck in another branch."""
    if not turn.can(f"{leaf}.{WAY_FAILED}"):
        return False
    # Of what follows on the same way nothing is asked here: its undo comes first, so the run has to pass on to it.
    return _is_given_up(turn, leaf) or _has_begun(turn.instance, _later(*_caught(turn, leaf)))


def next_way_has_begun(turn: Turn, leaf: str) -> bool:
    """Whether a way behind the one of `leaf`, which had failed, was begun before the run got stuck elsewhere."""
    return _has_begun(turn.instance, _later(*_caught(turn, leaf)))


def _caught(turn: Turn, leaf: str) -> tuple[Ways, int]:
    caught = Retreat(turn.definition.course, ()).catcher(leaf)
    assert caught is not None, f"{leaf} is in no way that may fail"
    return caught


def _later(ways: Ways, index: int) -> frozenset[str]:
    return frozenset(name for part in ways.parts[index + 1 :] for name in part.names)


def _has_begun(instance: Instance, leaves: Collection[str]) -> bool:
    return any(leaf_of(record.name) in leaves for record in instance.steps) or any(
        leaf in leaves for leaf, _ in instance.marks
    )


def _is_given_up(turn: Turn, leaf: str) -> bool:
    """Whether it had failed, or was left by what failed beside it, in a way that its outcome would not show."""
    spec, mark = turn.definition.leaf(leaf), turn.instance.mark(leaf)
    match spec:
        case StepSpec():
            records = turn.instance.records_of(leaf) if spec.each is not None else (turn.instance.step(leaf),)
            is_settled = any(record is not None and _is_settled_by_its_undo(spec, record) for record in records)
            return is_settled or mark in (ABSENT, LIST_REFUSED)
        case WaitSpec():
            return mark == ABSENT and spec.absence == "hold"
        case DelaySpec():
            return mark == ABSENT
        case _:
            return False


def _is_settled_by_its_undo(spec: StepSpec, record: StepRecord) -> bool:
    if spec.undo is None:  # it leaves nothing, so there is nothing to wait for either
        return spec.unknown == "undo" and record.effect == "unknown"
    return record.is_open and record.undo_sent_ms > 0
