"""Bugs of the rules: what `decide` must not get wrong."""

from dataclasses import replace
from itertools import count
from typing import Any

import msgspec

from sagas.core.effects import Move
from sagas.core.entering import enter
from sagas.core.instance import COMPENSATED, COMPLETED
from sagas.core.messages import Fault, InProgress
from sagas.testing.simulation import Subject
from tests.mutants.mutant import Mutant, always

KERNEL = "sagas.core.kernel"
ENTERING = "sagas.core.entering"
HAPPENINGS = "sagas.core.happenings"
REPLIES = "sagas.core.replies"
STRAIGHT = "sagas.core.straight"
TURN = "sagas.core.turn"


def _fresh_ids(original: Any) -> Any:
    numbers = count()

    def derived(parent: str, *parts: str) -> Any:
        return original(parent, *parts, str(next(numbers)))

    return derived


def _timeout_is_refusal(original: Any) -> Any:
    def give_up(turn: Any, spec: Any, record: Any, trigger: str, why: str) -> None:
        turn.record(record, effect="refused")
        turn.move(trigger)
        turn.change(cause=f"{spec.name}: {why}")
        enter(turn)

    return give_up


def _pivot_failed(original: Any) -> Any:
    def give_up(turn: Any, spec: Any, record: Any, trigger: str, why: str) -> None:
        if spec.kind != "pivot":
            original(turn, spec, record, trigger, why)
            return
        _turn_back(turn, record, why)

    return give_up


def _turn_back(turn: Any, record: Any, why: str) -> None:
    turn.record(record, effect="refused")
    undoable = [s.name for s in turn.definition.steps.values() if s.undo is not None and s.name != record.name]
    turn.change(cause=why)
    _jump(turn, f"{undoable[-1]}.undoing")


def _jump(turn: Any, state: str) -> None:
    """Enter a state to which there is no move."""
    turn.moves.append(Move(trigger="planted", source=turn.instance.state, dest=state))
    turn.change(state=state)
    enter(turn)


def _pivot_done(original: Any) -> Any:
    def give_up(turn: Any, spec: Any, record: Any, trigger: str, why: str) -> None:
        if spec.kind != "pivot":
            original(turn, spec, record, trigger, why)
            return
        turn.record(record, effect="done")
        _jump(turn, COMPLETED)

    return give_up


def _deadline_after_pivot(original: Any) -> Any:
    def on_timer(turn: Any, fire: Any) -> None:
        record = turn.instance.step(fire.step) if fire.step else None
        is_pivot = record is not None and turn.definition.steps[fire.step].kind == "pivot"
        if is_pivot and turn.instance.state.startswith(f"{fire.step}.") and turn.now_ms > turn.instance.deadline_ms:
            _turn_back(turn, record, "the deadline passed")
            return
        original(turn, fire)

    return on_timer


def _fault_is_refusal(original: Any) -> Any:
    def on_fault(turn: Any, spec: Any, record: Any, message: Any, fault: Fault) -> None:
        back = next((trigger for trigger in _refusals(turn, spec) if turn.can(trigger)), "")
        if message.operation == "do" and record.effect == "intended" and back:
            turn.record(record, effect="refused", reply=back.partition(".")[2])
            turn.move(back)
            enter(turn)
            return
        original(turn, spec, record, message, fault)

    return on_fault


def _refusals(turn: Any, spec: Any) -> list[str]:
    from sagas.core.messages import Rejection

    return [f"{spec.name}.{reply.__name__}" for reply in spec.replies.values() if issubclass(reply, Rejection)]


def _in_progress_is_done(original: Any) -> Any:
    def read(definition: Any, key: str, spec: Any, message: Any) -> Any:
        reply = original(definition, key, spec, message)
        if isinstance(reply, InProgress) and message.operation == "do" and spec.name == "pay":
            return next(iter(spec.replies.values()))(order_id=key, payment_id="pay-none")
        return reply

    return read


def _no_timer_after(original: Any) -> Any:
    """Sends, and sets no timer to send again."""

    def send(turn: Any, spec: Any, record: Any) -> None:
        before = len(turn.effects)
        original(turn, spec, record)
        turn.effects[before:] = [e for e in turn.effects[before:] if type(e).__name__ != "SetTimer"]

    return send


def _asks_without_timer(original: Any) -> Any:
    def asking(*args: Any) -> Any:
        return tuple(e for e in original(*args) if type(e).__name__ != "SetTimer")

    return asking


def _ledger_not_read(original: Any) -> Any:
    """Goes straight on wherever the step stands in the ledger."""

    def asked_at(way: Any, instance: Any) -> int | None:
        found = (at for at, record in enumerate(instance.steps) if record.name == way.spec.name)
        return next(found, None)

    return asked_at


def _late_success_dropped(original: Any) -> Any:
    def done_after_refusal(turn: Any, spec: Any, record: Any, word: str) -> None:
        turn.answer("late", "dropped")

    return done_after_refusal


def _wrong_order(subject: Subject) -> Subject:
    """Undoes the oldest step first."""
    (definition,) = subject.definitions
    back = {
        ("pay.undoing", "pay.PaymentRefunded"): "create.undoing",
        ("create.undoing", "create.OrderCompensated"): "reserve.undoing",
        ("reserve.undoing", "reserve.InventoryReleased"): COMPENSATED,
    }
    return replace(subject, definitions=[replace(definition, table={**definition.table, **back})])


def _undo_one_too_few(subject: Subject) -> Subject:
    """Passes over the step before the one that was refused."""
    (definition,) = subject.definitions
    back = {("ship.pending", "ship.ShipmentFailed"): "reserve.undoing"}
    return replace(subject, definitions=[replace(definition, table={**definition.table, **back})])


def _impatient_pivot(subject: Subject) -> Subject:
    """The steps before the pivot outlast any loss, and soon; the pivot hardly one: so that it is asked about."""
    (definition,) = subject.definitions
    steps = {
        name: replace(
            spec, timeout_ms=80 if name == "ship" else 60_000, resend_ms=80 if name == "ship" else 60, expires=False
        )
        for name, spec in definition.steps.items()
    }
    return replace(subject, definitions=[replace(definition, steps=steps, deadline_ms=0)])


def _short_of_time(subject: Subject) -> Subject:
    """The deadline passes while the pivot is asked about, and not only once in hundreds of runs."""
    (definition,) = subject.definitions
    return replace(subject, definitions=[replace(definition, deadline_ms=1_000)])


def _data_not_folded(subject: Subject) -> Subject:
    """A reply's fold that reads a clock or chance: deciding again decides something else."""
    (definition,) = subject.definitions
    numbers = count()
    pay = definition.steps["pay"]

    def fold(data: Any, reply: Any) -> Any:
        return msgspec.structs.replace(data, payment_id=str(next(numbers)))

    steps = {**definition.steps, "pay": replace(pay, fold=fold)}
    return replace(subject, definitions=[replace(definition, steps=steps)])


def _in_both(name: str, make: Any) -> dict[str, Any]:
    """What is called by the part for answers and by the one for timers."""
    return {f"{module}:{name}": make for module in (REPLIES, HAPPENINGS)}


KERNEL_MUTANTS = (
    Mutant(name="fresh id on resend", replaced={f"{TURN}:derived_id": _fresh_ids}),
    Mutant(name="timeout treated as refused", replaced=_in_both("give_up", _timeout_is_refusal)),
    Mutant(name="pivot timeout treated as failed", replaced=_in_both("give_up", _pivot_failed)),
    Mutant(name="pivot timeout treated as done", replaced=_in_both("give_up", _pivot_done)),
    Mutant(
        name="deadline after pivot turns back",
        replaced={f"{KERNEL}:on_timer": _deadline_after_pivot},
        subject=_short_of_time,
    ),
    Mutant(name="fault counted as refusal", replaced={f"{REPLIES}:_on_fault": _fault_is_refusal}),
    Mutant(
        name="in progress taken for done",
        replaced={f"{REPLIES}:read_reply": _in_progress_is_done},
        test="tests/scenarios/test_order_stories.py",
        why_not_simulated="the bank says yes in the end, and covers the mistake up nearly always",
    ),
    Mutant(
        name="a lost undo is not sent again",
        replaced={f"{HAPPENINGS}:send_undo": _no_timer_after, f"{ENTERING}:send_undo": _no_timer_after},
    ),
    Mutant(
        name="an unanswered pivot is asked once",
        replaced={f"{TURN}:ask_again_later": always(None), f"{ENTERING}:ask_again_later": always(None)},
        subject=_impatient_pivot,
    ),
    Mutant(
        name="a step that is asked straight on has no timer",
        replaced={f"{STRAIGHT}:_asking": _asks_without_timer},
        test="tests/core/test_straight.py",
        why_not_simulated="one seed in 150 loses just the message that the timer would have sent again",
    ),
    Mutant(
        name="straight on whatever the ledger says",
        replaced={f"{STRAIGHT}:_places": _ledger_not_read},
        test="tests/core/test_straight.py",
        why_not_simulated="it takes a step that was refused or undone and is asked for once more",
    ),
    Mutant(name="wrong undo order", replaced={}, subject=_wrong_order),
    Mutant(name="a step is left out of the undo", replaced={}, subject=_undo_one_too_few),
    Mutant(name="a fold that is not pure", replaced={}, subject=_data_not_folded),
    Mutant(
        name="late success dropped",
        replaced={f"{REPLIES}:_done_after_refusal": _late_success_dropped},
        test="tests/core/test_kernel.py",
        why_not_simulated="participants of the kit remember their refusals, so none succeeds after one",
    ),
)
