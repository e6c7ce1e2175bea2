"""What the ledger and the marks say of a leaf that a run enters anew, because it was stuck in another branch.

Theory of operation. A move out of `stuck` leads to where each other branch begins, whatever has happened on it. A leaf
whose outcome is known is passed over by that outcome (`known_word`). Of a way that has failed it takes more than the
outcomes: its undo may still be out, a step that timed out and leaves nothing has no undo that would tell, and of a list
that was refused no item is known. So a leaf is asked whether the way that it is in had failed (`way_has_failed`): if
so, the run goes to that way's undo at once, and from there to the next way.
"""

from collections.abc import Collection

from sagas.core.course import Ways
from sagas.core.definition import DelaySpec, StepSpec, WaitSpec
from sagas.core.instance import Instance, StepRecord, leaf_of
from sagas.core.machine import UNDELIVERABLE
from sagas.core.messages import Rejection
from sagas.core.outcomes import ABSENT, LIST_REFUSED, WAY_FAILED, by_hand
from sagas.core.retreat import Retreat
from sagas.core.turn import Turn


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
