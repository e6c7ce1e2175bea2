"""A step that is done for each item of a list: what its items have come to, and what is to be done with them.

Theory of operation. The list is made once, when the run comes to the step, and kept; from then on the ledger has a
record for each item. What the step as a whole has come to follows from these records alone (`outcome`), so
nothing else counts them, and entering the step again, out of `stuck`, asks only for what is still open. The
machine moves when the last item is definite, or when one is refused: what is under way then is undone with
the others. The functions here move nothing: they say which word the machine is to be moved by.
"""

import re
from typing import Any

import msgspec
from msgspec.structs import replace

from sagas.core.definition import StepSpec
from sagas.core.effects import ClearTimer
from sagas.core.instance import ITEM_KEY, Instance, StepRecord, item_name
from sagas.core.messages import KEY_LENGTH_MAX
from sagas.core.outcomes import DONE, LIST_REFUSED, PARTLY_REFUSED, REFUSED
from sagas.core.turn import DEADLINE_TIMER, Turn, ask_for, break_down, send_undo
from sagas.errors import told

_SHOWN_MAX = 64


def outcome(records: tuple[StepRecord, ...]) -> str:
    """What a fan-out with these records has come to, "" while it waits for an answer."""
    if any(record.effect in ("refused", "undone") for record in records):
        return PARTLY_REFUSED if any(record.is_open for record in records) else REFUSED
    return DONE if all(record.effect == "done" for record in records) else ""


def refusal_of(instance: Instance, spec: StepSpec) -> str:
    """Which item of the fan-out was refused first in its list, and how."""
    refused = next((r for r in instance.records_of(spec.name) if r.effect in ("refused", "undone")), None)
    return "" if refused is None else f"{refused.name}: {refused.reply or refused.effect}"


def begin_items(turn: Turn, spec: StepSpec) -> str:
    """Ask for every item that is not definite, listing them first if need be; what it comes to, "" to wait."""
    if turn.instance.mark(spec.name) is None:
        problem = _list_items(turn, spec)
        if problem is None:
            return ""
        if problem:
            turn.note = f"{spec.name}: {problem}"
            if spec.kind == "compensatable":
                turn.mark(spec.name, LIST_REFUSED)  # behind the pivot a person has it listed anew
            return LIST_REFUSED
    if spec.kind != "compensatable" and turn.instance.deadline_ms:
        turn.effects.append(ClearTimer(name=DEADLINE_TIMER))  # the deadline stops at the pivot
    records = turn.instance.records_of(spec.name)
    others = tuple(record for record in records if record.name != turn.retried)
    if outcome(others) in (REFUSED, PARTLY_REFUSED):
        return outcome(records)  # it turns back: nothing more is asked for
    for record in records:
        if record.effect in ("intended", "unknown") or record.name == turn.retried:
            ask_for(turn, spec, record)
            if not turn.places:
                return ""  # the author's code raised: the run is stuck
    return outcome(turn.instance.records_of(spec.name))


def undo_items(turn: Turn, spec: StepSpec) -> bool:
    """Undo every item of which something may stand, all at once; False when there is none."""
    standing = [record for record in turn.instance.records_of(spec.name) if record.is_open]
    for record in standing:
        effect = "unknown" if record.effect == "intended" else record.effect
        send_undo(turn, spec, replace(record, effect=effect, undo_sent_ms=turn.now_ms))
        if not turn.places:
            break  # the author's code raised: the run is stuck
    return bool(standing)


def is_undone(turn: Turn, spec: StepSpec) -> bool:
    """Whether nothing of any item stands any more."""
    return not any(record.is_open for record in turn.instance.records_of(spec.name))


def _list_items(turn: Turn, spec: StepSpec) -> str | None:
    """List the items; why they cannot be, "" if they can; None when the author's code raised."""
    assert spec.each is not None
    try:
        listed = list(spec.each.items(turn.definition.decode_data(turn.instance.data)))
        kept = [(item_name(spec.name, str(key)), msgspec.json.encode(item)) for key, item in listed]
        for _, item in kept:
            msgspec.json.decode(item, type=spec.each.item_type)
    except Exception as error:  # the saga author's code: one run gets stuck, the partition goes on
        break_down(turn, spec.name, f"listing its items raised {told(error)}")
        return None
    problem = _problem([key for key, _ in listed], spec.each.at_most)
    if problem:
        return problem
    turn.mark(spec.name, f"{len(kept)} {'item' if len(kept) == 1 else 'items'}")
    turn.change(
        items=(*turn.instance.items, *kept),
        steps=(*turn.instance.steps, *(StepRecord(name=name, attempts=0) for name, _ in kept)),
    )
    return ""


def _problem(keys: list[Any], at_most: int) -> str:
    if len(keys) > at_most:
        return f"{len(keys)} items are listed, at most {at_most} may be"
    seen: set[str] = set()
    for key in keys:
        if not isinstance(key, str) or not re.fullmatch(ITEM_KEY, key):
            said = repr(key)[:_SHOWN_MAX]
            return f"{said} is no item's key: write at most {KEY_LENGTH_MAX} letters, digits and, inside, any of _.:-"
        if key in seen:
            return f"two items have the key {key!r}"
        seen.add(key)
    return ""
