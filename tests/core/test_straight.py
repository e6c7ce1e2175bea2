"""The straight way decides what the rules decide, or nothing at all."""

from collections.abc import Callable
from dataclasses import replace as replace_spec
from typing import Any, get_args

import pytest
from msgspec.structs import replace

from sagas.check import check
from sagas.cli.definitions import load
from sagas.core import kernel
from sagas.core.definition import Definition, StepSpec
from sagas.core.effects import Decision, Fire, Input, Operate, Reply, SetTimer, Signal, Start
from sagas.core.envelope import encode_data
from sagas.core.instance import BY_HAND, Effect, Instance, StepRecord
from sagas.core.kernel import decide, decide_at_length
from sagas.core.straight import straight_from, straight_on
from services.contracts import Item, OrderCreated
from services.orders.saga import OrderData, order_saga
from tests.check.sagas import line, lines
from tests.core.courses import COURSES
from tests.core.trip import trip_saga
from tests.core.variants import Plan, a_command, variant
from tests.drawings import example_modules

STATES_MAX = 4_000
"""Worlds looked at of each, the nearest first."""

LINES = lines("uP", "hPr", "aaP", "cnH", "uu&u", "rr", "Prr")

SAGAS: dict[str, Definition] = {
    "trip": trip_saga.definition,
    "order": order_saga.definition,
    **{d.name: d for d in load(example_modules())},
    **{f"line {'-'.join(d.steps)} {number}": d for number, d in enumerate(LINES)},
    **{name: make() for name, make in COURSES.items()},
}

NEVER_GONE: dict[str, set[tuple[str, str]]] = {
    "booking": {("tickets.pending", "tickets.sent")},
    "environment": {("on_demand.undoing", "machine.stopped")},
    "renewal": {("charge.pending", "renewal.charge-failed")},
    "lane_that_leaves_nothing": {("b.pending", "b.refused")},
    "branch_by_refusal": {("c.pending", "c.refused"), ("c.undoing", "c.undone")},
    "branch_by_predicate": {("c.undoing", "c.undone")},
    "ways": {("d.pending", "d.done"), ("d.pending", "d.other"), ("d.undoing", "d.undone")},
    "lanes_in_a_way": {("c.pending", "c.done"), ("c.pending", "c.other")},
    "ways_in_a_lane": {("c.undoing", "c.undone")},
    "held_beside_ways": {("c.undoing", "c.undone")},
    "held_beside_longer_ways": {("c.pending", "c.done"), ("c.pending", "c.other"), ("c.undoing", "c.undone")},
    "held_beside_ways_with_a_delay": {("c.pending", "c.done"), ("c.pending", "c.other"), ("c.undoing", "c.undone")},
    "held_beside_a_way_of_lanes": {
        ("x.pending", "x.refused"),
        ("x.undoing", "x.undone"),
        ("c.pending", "c.done"),
        ("c.pending", "c.other"),
        ("c.pending", "c.refused"),
    },
    "held_beside_a_way_that_leaves_nothing": {("c.pending", "c.done"), ("c.pending", "c.other")},
    "held_beside_ways_with_a_wait": {("c.undoing", "c.undone")},
    "held_before_a_way_that_waits": {("c.pending", "c.done"), ("c.pending", "c.other")},
    "held_beside_a_branch_by_refusal": {("c.undoing", "c.undone")},
    "held_beside_a_refusal_and_a_line": {("b.pending", "b.refused")},
    "pivot_in_a_way": {("c.pending", "c.done"), ("c.pending", "c.other")},
}
"""Before or behind them there is always a step that was refused or left out, and the rules pass over that."""

Seen = dict[tuple[str, str], bool]

BEGINNING = ("new", "start")


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Both ways are gone wherever a saga is explored, and must come to the same; which straight ones were gone."""
    gone: Seen = {}

    def both(definition: Definition, instance: Instance | None, message: Input, now_ms: int) -> Decision:
        decision = decide_at_length(definition, instance, message, now_ms)
        straight = None
        if instance is not None and isinstance(message, Reply):
            straight = straight_on(definition, instance, message, now_ms)
            if straight is not None:
                gone[instance.state, message.event_type] = True
        elif instance is None and isinstance(message, Start):
            straight = straight_from(definition, message, now_ms)
            gone[BEGINNING] = straight is not None
        assert straight in (None, decision), (instance, message)
        return decision

    monkeypatch.setattr(kernel, "decide", both)
    return gone


@pytest.mark.parametrize("name", SAGAS)
def test_in_every_run_of_every_saga_it_decides_what_the_rules_decide(name: str, seen: Seen) -> None:
    check(SAGAS[name], worlds_max=STATES_MAX)
    assert seen.pop(BEGINNING) == (SAGAS[name].beginning is not None)
    assert set(seen) == set(SAGAS[name].ways) - NEVER_GONE.get(name, set())


def test_most_plain_steps_have_one() -> None:
    asked = {f"{step}.pending" for step in ("create", "reserve", "pay", "ship")}
    undone = {f"{step}.undoing" for step in ("create", "reserve", "pay")}
    assert {state for state, _ in order_saga.definition.ways} == asked | undone
    assert sum(bool(definition.ways) for definition in SAGAS.values()) > len(SAGAS) / 2


ORDER = order_saga.definition
DATA = ORDER.encode_data(OrderData("o-1", (Item("123", 2),), "59.98", "card-ok", "1 Harbour Street"))
INSTANCE = decide(ORDER, None, Start(key="o-1", data=DATA), 1_000).instance
SAID = encode_data(OrderCreated(order_id="o-1", items=(Item("123", 2),), total="59.98"), "order_id")
CREATED = Reply(step="create", operation="do", event_type="order.created", data=SAID)


def started() -> Instance:
    assert INSTANCE is not None
    assert INSTANCE.state == "create.pending"
    return INSTANCE


def changed(**fields: Any) -> Instance:
    """A started order whose only ledger entry has these fields."""
    (record,) = started().steps
    return replace(started(), steps=(replace(record, **fields),))


LEDGERS: dict[str, Callable[[], Instance]] = {
    "no entry at all": lambda: replace(started(), steps=()),
    "unknown": lambda: changed(effect="unknown"),
    "done before": lambda: changed(effect="done", reply="OrderCreated"),
    "refused before": lambda: changed(effect="refused", reply="OrderRejected"),
    "undone": lambda: changed(effect="undone", undo_reply="OrderCompensated"),
    "a person's word": lambda: changed(reply=BY_HAND),
    "a person's word of its undo": lambda: changed(undo_reply=BY_HAND),
    "came before": lambda: changed(effect="unknown", reply="OrderCreated"),
    "sent again": lambda: changed(attempts=3, faults=2, asked_ms=900),
    "known under another name": lambda: changed(sent_as="open"),
    "the next one was there before": lambda: replace(
        started(), steps=(StepRecord(name="reserve", effect="undone"), *started().steps)
    ),
    "the next one stands behind it": lambda: replace(
        started(), steps=(*started().steps, StepRecord(name="reserve", effect="unknown"))
    ),
    "freed just now": lambda: replace(started(), reason="held", stuck_step="create", stuck_from="create.pending"),
    "no deadline": lambda: replace(started(), deadline_ms=0),
    "at the next step": lambda: replace(started(), state="reserve.pending"),
    "turned back": lambda: replace(started(), state="create.undoing"),
    "stuck": lambda: replace(started(), state="stuck", stuck_step="create", stuck_from="create.pending"),
    "completed": lambda: replace(started(), state="completed"),
    "data that does not fit": lambda: replace(started(), data=b'{"order_id":7}'),
    "data that is none": lambda: replace(started(), data=b""),
}

INPUTS: dict[str, Input] = {
    "yes": CREATED,
    "yes of an older attempt": replace(CREATED, attempt=1),
    "no JSON": replace(CREATED, data=b"{"),
    "another version": replace(CREATED, data=b'{"version":"77"}'),
    "of the undo": replace(CREATED, operation="undo"),
    "of another step": replace(CREATED, step="reserve"),
    "of no step": replace(CREATED, step="nowhere"),
    "no": Reply(step="create", operation="do", event_type="order.rejected", data=b'{"reason":"x"}'),
    "a fault": Reply(step="create", operation="do", event_type="sagas.fault", data=b'{"reason":"x"}'),
    "a start": Start(key="o-1", data=DATA),
    "a timer": Fire(kind="resend", step="create", attempt=1),
    "a person": Operate(action="cancel", who="ann", reason="x", revision=1),
    "a signal": Signal(event_type="order.created", data=b"{}"),
}


@pytest.mark.parametrize("ledger", LEDGERS)
@pytest.mark.parametrize("said", INPUTS)
def test_whatever_the_ledger_says_both_come_to_the_same(ledger: str, said: str) -> None:
    instance, message = LEDGERS[ledger](), INPUTS[said]
    assert _answer(decide, instance, message) == _answer(decide_at_length, instance, message)


def _answer(
    rules: Callable[[Definition, Instance | None, Input, int], Decision], instance: Instance, message: Input
) -> Decision | str:
    try:
        return rules(ORDER, instance, message, 2_000)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


RESERVED = Reply(step="reserve", operation="do", event_type="inventory.reserved", data=b"{}")
SOLD_OUT = Reply(step="reserve", operation="do", event_type="inventory.failed", data=b'{"reason":"sold out"}')
PAID = Reply(step="pay", operation="do", event_type="payment.processed", data=b'{"payment_id":"p-1"}')
DECLINED = Reply(step="pay", operation="do", event_type="payment.failed", data=b'{"reason":"declined"}')
SHIPPED = Reply(step="ship", operation="do", event_type="order.shipped", data=b'{"tracking":"t-1"}')
NOWHERE = Reply(step="ship", operation="do", event_type="shipment.failed", data=b'{"reason":"no such street"}')
REFUNDED = Reply(step="pay", operation="undo", event_type="payment.refunded", data=b"{}")
RELEASED = Reply(step="reserve", operation="undo", event_type="inventory.released", data=b"{}")
COMPENSATED = Reply(step="create", operation="undo", event_type="order.compensated", data=b"{}")

STAGES: dict[str, list[Reply]] = {
    "create.pending": [],
    "reserve.pending": [CREATED],
    "pay.pending": [CREATED, RESERVED],
    "ship.pending": [CREATED, RESERVED, PAID],
    "pay.undoing": [CREATED, RESERVED, PAID, NOWHERE],
    "reserve.undoing": [CREATED, RESERVED, DECLINED],
    "create.undoing": [CREATED, SOLD_OUT],
}
ANSWERS = [
    *(CREATED, RESERVED, SOLD_OUT, PAID, DECLINED, SHIPPED, NOWHERE, REFUNDED, RELEASED, COMPENSATED),
    *(replace(answer, operation="undo" if answer.operation == "do" else "do") for answer in (PAID, REFUNDED)),
]
CHANGES: list[dict[str, Any]] = [
    *({"effect": effect} for effect in get_args(Effect)),
    *({"effect": effect, "reply": "Said"} for effect in get_args(Effect)),
    *({"effect": effect, "undo_reply": "Said"} for effect in get_args(Effect)),
    *({"reply": BY_HAND}, {"undo_reply": BY_HAND}, {"undo_sent_ms": 0}, {"undo_sent_ms": 1_500}),
    *(
        {"attempts": 3, "asked_ms": 900},
        {"undo_attempts": 2, "undo_faults": 1},
        {"sent_as": "other"},
    ),
]


@pytest.mark.parametrize("stage", STAGES)
def test_whatever_is_known_of_any_step_both_come_to_the_same_at_every_stage(stage: str) -> None:
    instance = started()
    for message in STAGES[stage]:
        after = decide(ORDER, instance, message, 1_500).instance
        assert after is not None
        instance = after
    assert instance.state == stage
    straight = 0
    for at, known in enumerate(instance.steps):
        for change in CHANGES:
            ledger = (*instance.steps[:at], replace(known, **change), *instance.steps[at + 1 :])
            altered = replace(instance, steps=ledger)
            for message in ANSWERS:
                assert _answer(decide, altered, message) == _answer(decide_at_length, altered, message)
                straight += straight_on(ORDER, altered, message, 2_000) is not None
    assert straight > 0


def test_the_plain_yes_goes_straight_on() -> None:
    straight = straight_on(ORDER, started(), CREATED, 2_000)
    assert straight is not None
    assert straight == decide_at_length(ORDER, started(), CREATED, 2_000)
    assert straight.instance is not None
    assert straight.instance.state == "reserve.pending"


def test_a_saga_that_renames_a_step_has_none() -> None:
    pack = Plan("pack", a_command("pack"), a_command("unpack"))
    assert variant(2, pack).ways
    assert not variant(2, pack._replace(name="box"), renames={"pack": "box"}).ways


def test_a_copy_has_the_ways_of_what_was_changed_in_it() -> None:
    steps = {**ORDER.steps, "reserve": replace_spec(ORDER.steps["reserve"], resend_ms=50)}
    straight = straight_on(replace_spec(ORDER, steps=steps), started(), CREATED, 2_000)
    assert straight is not None
    assert [e.due_ms for e in straight.effects if isinstance(e, SetTimer)] == [2_050]


class Broken(Exception):
    """What an author's function raises here."""


def _raises(*_: object) -> Any:
    raise Broken


@pytest.mark.parametrize(
    "steps",
    [
        {"create": replace_spec(ORDER.steps["create"], fold=_raises)},
        {"reserve": replace_spec(ORDER.steps["reserve"], build=_raises)},
    ],
    ids=["fold", "build"],
)
def test_a_function_that_raises_is_left_to_the_rules(steps: dict[str, StepSpec]) -> None:
    broken = replace_spec(ORDER, steps={**ORDER.steps, **steps})
    assert straight_on(broken, started(), CREATED, 2_000) is None
    decision = decide(broken, started(), CREATED, 2_000)
    assert decision.instance is not None
    assert decision.instance.state == "stuck"


def test_a_first_command_that_cannot_be_built_is_left_to_the_rules() -> None:
    steps = {**ORDER.steps, "create": replace_spec(ORDER.steps["create"], build=_raises)}
    broken, start = replace_spec(ORDER, steps=steps), Start(key="o-1", data=DATA)
    assert straight_from(broken, start, 1_000) is None
    decision = decide(broken, None, start, 1_000)
    assert decision.instance is not None
    assert decision.instance.state == "stuck"


@pytest.mark.parametrize("deadline", [None, 60.0])
@pytest.mark.parametrize("kinds", ["u", "P", "r", "a"])
def test_a_start_asks_for_the_first_step_with_and_without_a_deadline(kinds: str, deadline: float | None) -> None:
    definition = line(kinds, deadline=deadline).definition
    start = Start(key="j-1", data=b'{"job_id":"j-1"}')
    straight = straight_from(definition, start, 1_000)
    assert straight is not None
    assert straight == decide_at_length(definition, None, start, 1_000)
