"""How what happened becomes the read model's rows. Pure: a row and an event give the row after it.

Nothing here may depend on what came first between topics. Three ways see to that:
* each topic has columns of its own in an order's row;
* where a service's word can be said more than once, the later stage stays: `released` over `reserved`;
* what two topics both say has a rank: what the saga itself began with stands above the client's event.
An order's id may be used anew once its run was purged. Then the later run counts alone: ids begin with their time.
Within one partition messages come in order, so the first of two client's events of an order is the one the saga took.
"""

import re
from collections.abc import Iterator

import msgspec

from sagas.core.instance import ENDS, STUCK
from sagas.core.messages import Rejection, Undeliverable, tag_of
from services import contracts
from services.contracts import Items
from services.money import to_cents
from services.readmodel.tables import Asked, EntryRow, Operation, OrderRow, Outcome, State

FROM_CLIENT, FROM_SAGA = 1, 2
"""Where items, total and address are from."""

REFUSALS = frozenset(
    tag_of(found)
    for found in (*vars(contracts).values(), Undeliverable)
    if isinstance(found, type) and issubclass(found, Rejection) and tag_of(found)
)
"""The tags of answers that say: refused, nothing remains."""

NO_OUTCOMES = frozenset(("sagas.in-progress", "sagas.fault"))

_STAGES = ("", "rejected", "failed", "created", "reserved", "processed", "shipped", "cancelled", "released", "refunded")
"""What services say of an order, the later stage further behind."""

_ASKED = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\.(pending|undoing)\b")
_ENDS: dict[str, State] = {
    "completed": "completed",
    "compensated": "compensated",
    "rejected": "rejected",
    "abandoned": "abandoned",
}
assert set(_ENDS) == set(ENDS), "the engine has other ends than the read model"


class Happened(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a saga's journal, as far as the read model needs it. `path`: the states gone through.

    `step`, `operation`, `event_type` and `reason` are those of an answer, "" when what came in was none.
    """

    order_id: str
    revision: int
    at_ms: int
    verdict: str
    path: tuple[str, ...]
    words: str
    step: str = ""
    operation: Operation = "do"
    event_type: str = ""
    reason: str = ""


def empty(order_id: str, at_ms: int) -> OrderRow:
    """The row of an order of which nothing was known before `at_ms`."""
    return OrderRow(order_id=order_id, listed_ms=at_ms)


def listed(row: OrderRow, at_ms: int) -> OrderRow:
    """The row, listed at the earliest time that is known of it."""
    return msgspec.structs.replace(row, listed_ms=min(row.listed_ms, at_ms))


def ordered(row: OrderRow, source: int, items: Items, total: str, address: str) -> OrderRow:
    """The row with what was ordered, if nobody who knows better, or as well and earlier, has said it."""
    if row.source >= source:
        return row
    return msgspec.structs.replace(
        row, source=source, items=msgspec.json.encode(items).decode(), total=to_cents(total), address=address
    )


def is_past(known: str, said: str) -> bool:
    """Whether the run `said` is an earlier one than `known`; "" is a run that was not told."""
    return bool(said) and said < known


def is_next(known: str, said: str) -> bool:
    """Whether the run `said` is a later one than `known`. Where none is known, it is the first."""
    return bool(known) and said > known


def begun_anew(row: OrderRow) -> OrderRow:
    """The row without what its saga's run before has come to. What was ordered stays until the saga says it."""
    source = min(row.source, FROM_CLIENT)
    return msgspec.structs.replace(row, source=source, state="accepted", cause="", revision=0, updated_ms=0)


def served_by(row: OrderRow, run: str) -> OrderRow:
    """The row, ready for a service's word in `run`, which is no past one: those of a run before are gone."""
    served = max(row.served, run)
    if not is_next(row.served, run):
        return msgspec.structs.replace(row, served=served)
    return msgspec.structs.replace(
        row, served=served, booking="", inventory="", payment="", payment_id="", shipping="", tracking=""
    )


def later(known: str, said: str) -> str:
    """Which of two words of one service stays."""
    return max(known, said, key=_STAGES.index)


def advanced(row: OrderRow, happened: Happened) -> OrderRow:
    """The row after an entry of its saga's journal; the same when it has gone beyond that entry."""
    if happened.revision <= row.revision:
        return row
    cause = row.cause or _cause(happened)
    return msgspec.structs.replace(
        row, revision=happened.revision, updated_ms=happened.at_ms, cause=cause, state=_state(happened, row, cause)
    )


def entry_of(row: OrderRow, happened: Happened) -> EntryRow:
    """The entry of what happened, `row` being the order's after it."""
    outcome = _outcome(happened)
    return EntryRow(
        order_id=happened.order_id,
        revision=happened.revision,
        at_ms=happened.at_ms,
        state=row.state,
        cause=row.cause,
        step=happened.step,
        operation=happened.operation,
        outcome=outcome,
        why=happened.reason if outcome == "refused" else "",
        asked=msgspec.json.encode(tuple(_asked(happened))).decode(),
        words=happened.words,
    )


def _state(happened: Happened, row: OrderRow, cause: str) -> State:
    if not happened.path:
        return "running" if row.state == "accepted" else row.state
    stands = happened.path[-1]
    if stands in _ENDS:
        return _ENDS[stands]
    if stands == STUCK:
        return "stuck"
    return "compensating" if cause or ".undoing" in stands else "running"


def _cause(happened: Happened) -> str:
    """Why it turns back here, "" if it does not."""
    turned = any(".undoing" in state or state in ("compensated", "rejected") for state in happened.path[1:])
    if not turned:
        return ""
    return happened.reason or (happened.words if not happened.event_type else happened.event_type)


def _outcome(happened: Happened) -> Outcome:
    if not happened.event_type or happened.event_type in NO_OUTCOMES:
        return ""
    if happened.verdict == "late":
        return "late"
    if happened.verdict != "advance":
        return ""
    return "refused" if happened.event_type in REFUSALS else "ok"


def _asked(happened: Happened) -> Iterator[Asked]:
    before = set(_ASKED.findall(happened.path[0])) if happened.path else set[tuple[str, str]]()
    for state in happened.path[1:]:
        for step, phase in _ASKED.findall(state):
            if (step, phase) not in before:
                yield Asked(step, "do" if phase == "pending" else "undo")
                before.add((step, phase))
