"""The laws of `decide` on every form of a course, over all that can happen: no effect is let go."""

from collections.abc import Iterator, Mapping
from typing import Any, get_args

import msgspec
import pytest

from sagas.core.definition import Definition, StepSpec
from sagas.core.effects import Action, ClearTimer, Decision, Fire, Input, Operate, Reply, Send, SetTimer, Signal, Start
from sagas.core.instance import ABANDONED, COMPENSATED, COMPLETED, ENDS, REJECTED, STUCK, Instance, StepRecord
from sagas.core.kernel import decide
from sagas.core.messages import Event, Fault, Rejection, Undeliverable, tag_of
from sagas.core.outcomes import by_hand
from sagas.core.retreat import relation
from tests.core.courses import COURSES, Agreed, Data, Denied

NOW_MS = 1_000_000
INSTANCES_MAX = 150
"""Looked at of each course, the nearest to its start: more find nothing else (tried up to 20,000)."""

Timers = Mapping[str, SetTimer]


def start(definition: Definition, *, says_yes: bool = True) -> Decision:
    data = definition.encode_data(Data("k-1", says_yes))
    return decide(definition, None, Start(key="k-1", data=data), NOW_MS)


def answer(step: str, reply: type[Event], *, is_undo: bool = False) -> Reply:
    return Reply(step=step, operation="undo" if is_undo else "do", event_type=tag_of(reply), data=b"{}")


def inputs(definition: Definition, instance: Instance) -> Iterator[Input]:
    """Everything that can come: answers and timers of every step, signals, and what a person could do."""
    for spec in definition.steps.values():
        engine: list[type[Event]] = [Fault, Undeliverable]
        for reply in [*spec.replies.values(), *engine]:
            yield answer(spec.name, reply)
        for reply in [*spec.undo.replies.values(), *engine] if spec.undo else []:
            yield answer(spec.name, reply, is_undo=True)
        record = instance.step(spec.name) or StepRecord(name=spec.name)
        for kind in ("resend", "timeout"):
            yield Fire(kind=kind, step=spec.name, attempt=record.attempts)
        yield Fire(kind="resend", step=spec.name, operation="undo", attempt=record.undo_attempts)
    for wait in definition.waits:
        yield Fire(kind="absent", step=wait)
        yield from (Signal(event_type=tag_of(signal), data=b"{}") for signal in (Agreed, Denied))
    yield from (Fire(kind="over", step=delay) for delay in definition.delays)
    yield Fire(kind="deadline")
    for action in get_args(Action):
        yield Operate(action=action, who="ann", reason="x", revision=instance.revision)


def plain(instance: Instance) -> Instance:
    """The instance without what only counts: so that the search comes to an end."""
    steps = tuple(
        msgspec.structs.replace(
            record,
            attempts=min(record.attempts, 1),
            faults=4 if record.faults else 0,  # the next one is the last
            sent_ms=NOW_MS,
            answered_ms=0,
            undo_attempts=min(record.undo_attempts, 1),
            undo_faults=min(record.undo_faults, 1),
            undo_sent_ms=min(record.undo_sent_ms, NOW_MS),
            undo_answered_ms=0,
        )
        for record in instance.steps
    )
    return msgspec.structs.replace(instance, revision=1, updated_ms=0, steps=steps, cause=instance.cause[:1], reason="")


def carried_out(timers: Timers, decision: Decision) -> Timers:
    found = dict(timers)
    for effect in decision.effects:
        if isinstance(effect, SetTimer):
            found[effect.name] = effect
        elif isinstance(effect, ClearTimer):
            found.pop(effect.name, None)
    return found


def search(definition: Definition, instances_max: int = INSTANCES_MAX) -> Iterator[tuple[Instance, Timers]]:
    """The instances that all inputs lead to, each with the timers that are set."""
    front: list[tuple[Instance, Timers]] = []
    known: set[bytes] = set()
    for decision in (start(definition), start(definition, says_yes=False)):
        assert decision.instance is not None
        front.append((plain(decision.instance), carried_out({}, decision)))
    while front and len(known) < instances_max:
        instance, timers = front.pop(0)
        key = msgspec.msgpack.encode(instance)
        if key in known:
            continue
        known.add(key)
        yield instance, timers
        for message in inputs(definition, instance):
            decision = decide(definition, instance, message, NOW_MS + 10)
            assert decision.instance is not None
            left = {name: timer for name, timer in timers.items() if name != getattr(message, "step", None)}
            was_fired = isinstance(message, Fire)
            front.append((plain(decision.instance), carried_out(left if was_fired else timers, decision)))


@pytest.mark.parametrize("course", COURSES)
def test_no_run_ends_with_an_open_effect_whatever_happens(course: str) -> None:
    definition = COURSES[course]()
    count = 0
    for instance, _ in search(definition):
        count += 1
        for message in inputs(definition, instance):
            decision = decide(definition, instance, message, NOW_MS + 20)
            problem = problem_of(definition, instance, decision, message)
            assert not problem, f"{instance.state} and {message}: {problem}\n{instance}\n{decision}"
    assert count > 40, "the search is too shallow to mean anything"


def problem_of(definition: Definition, before: Instance, decision: Decision, message: Input) -> str:
    after = decision.instance
    assert after is not None
    standing = [r.name for r in after.steps if r.is_open and _leaves_something(definition.steps[r.name])]
    if after.revision != before.revision + 1:
        return "it is not entered in the journal"
    if after.state in (COMPENSATED, REJECTED) and standing:
        return f"it ends {after.state}, and {standing} stand"
    if after.state == COMPLETED and any(r.effect in ("intended", "unknown") for r in after.steps if r.name in standing):
        return "it is complete, and it is not known what stands"
    if after.state == ABANDONED and before.state != ABANDONED and not isinstance(message, Operate):
        return "it was given up by nobody"
    if after.state in (COMPENSATED, REJECTED) and before.state not in ENDS and not after.cause:
        return "it turned back and does not say why"
    if after.state == STUCK and before.state != STUCK and not after.reason:
        return "it is stuck and does not say why"
    # What a person or a late success sets right while it is stuck comes when it comes.
    return next(_undos_too_early(definition, after, decision), "") if before.state != STUCK else ""


def _leaves_something(spec: StepSpec) -> bool:
    return spec.undo is not None or spec.kind != "compensatable"


def _undos_too_early(definition: Definition, after: Instance, decision: Decision) -> Iterator[str]:
    if any(place.phase == "sweeping" for place in definition.lanes.get(after.state, ())):
        return  # the run is complete, and what it did otherwise than by this step stands
    # Not what is sent again, nor before what was done after it had been refused: that came when it was too late.
    sent = [e.step for e in decision.effects if isinstance(e, Send) and e.operation == "undo" and e.attempt == 1]
    for step in sent:
        for record in after.steps:
            spec = definition.steps[record.name]
            if relation(definition.course, step, record.name) == "after" and _is_in_order(spec, record):
                yield f"{step} is undone before {record.name}, which follows it"
            if spec.kind == "pivot" and record.effect == "done":
                yield f"{step} is undone behind the pivot"


def _is_in_order(spec: StepSpec, record: StepRecord) -> bool:
    came_late = record.effect == "unknown" and record.reply != ""
    return record.is_open and spec.undo is not None and not came_late


@pytest.mark.parametrize("course", COURSES)
def test_whoever_is_under_way_waits_with_a_timer_in_each_branch_and_nobody_else_does(course: str) -> None:
    definition = COURSES[course]()
    for instance, timers in search(definition):
        places = {place.step for place in definition.lanes.get(instance.state, ())}
        assert set(timers) - {"saga.deadline"} == places, f"{instance.state} has the timers {sorted(timers)}"


@pytest.mark.parametrize("course", COURSES)
def test_every_run_comes_to_rest_when_everybody_answers(course: str) -> None:
    definition = COURSES[course]()
    for instance, _ in search(definition):
        trail = [instance.state]
        while instance.state not in ENDS:
            instance = kindly(definition, instance)
            trail.append(instance.state)
            assert len(trail) < 40, f"it goes round in circles: {trail}"


def kindly(definition: Definition, instance: Instance) -> Instance:
    """What happens next where everybody does as asked, a person included."""
    for message in _kind_inputs(definition, instance):
        decision = decide(definition, instance, message, NOW_MS + 60_000)
        if decision.moves:
            assert decision.instance is not None
            return decision.instance
    raise AssertionError(f"nothing leads on from {instance.state}: {instance}")


def _kind_inputs(definition: Definition, instance: Instance) -> Iterator[Input]:
    for place in definition.lanes.get(instance.state, ()):
        spec = definition.leaf(place.step)
        if isinstance(spec, StepSpec) and place.phase in ("pending", "resolving"):
            yield answer(spec.name, next(r for r in spec.replies.values() if r.__name__ == by_hand(spec)))
        elif isinstance(spec, StepSpec):
            assert spec.undo is not None
            yield answer(
                spec.name, next(r for r in spec.undo.replies.values() if not issubclass(r, Rejection)), is_undo=True
            )
        else:
            yield Signal(event_type=tag_of(Agreed), data=b"{}")
            yield Fire(kind="over", step=spec.name)
    actions: tuple[Any, ...] = ("resolve-undone", "resolve-done", "retry")
    yield from (Operate(action=a, who="ann", reason="x", revision=instance.revision) for a in actions)


@pytest.mark.parametrize("course", COURSES)
def test_deciding_again_decides_the_same(course: str) -> None:
    definition = COURSES[course]()
    for instance, _ in search(definition, 30):
        for message in inputs(definition, instance):
            assert decide(definition, instance, message, 7) == decide(definition, instance, message, 7)
