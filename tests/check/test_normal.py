"""What the search leaves out of an instance, no decision depends on: held against the kernel on real runs."""

from random import Random

import pytest

from sagas.check import Assumptions
from sagas.check.normal import Normaliser
from sagas.check.orchestrator import Orchestrator
from sagas.check.samples import Samples
from sagas.core.definition import Definition
from sagas.core.effects import Fire, Input, Operate, Reply, SetTimer, Verdict
from sagas.core.instance import BY_HAND, Instance
from sagas.core.kernel import decide
from sagas.core.messages import Event, Fault, InProgress, Rejection, Undeliverable, tag_of
from tests.check.sagas import line
from tests.core.test_kernel import START, everything
from tests.core.trip import trip_saga

TRIP = trip_saga.definition


def walk(definition: Definition, random: Random, length: int) -> list[tuple[Instance, dict[str, Fire], int]]:
    """The instances of one run in which anything happens at any time, each with its timers and its time."""
    now_ms = 1_000_000
    instance, timers, passed = None, dict[str, Fire](), list[tuple[Instance, dict[str, Fire], int]]()
    for _ in range(length):
        message: Input = START
        if instance is not None:
            message = random.choice([*everything(instance), *timers.values()])
        now_ms += random.choice((1, 10, 3_000, 4_000, 20_000))
        decision = decide(definition, instance, message, now_ms)
        assert decision.instance is not None
        instance = decision.instance
        timers |= {e.name: e.fire for e in decision.effects if isinstance(e, SetTimer)}
        passed.append((instance, dict(timers), now_ms))
    return passed


@pytest.mark.parametrize("seed", range(40))
def test_an_instance_and_its_normal_form_are_decided_alike(seed: int) -> None:
    bounded = Orchestrator(TRIP, Samples("trip_id"), Assumptions()).definition
    random, normal = Random(f"normal {seed}"), Normaliser(bounded)
    for instance, timers, now_ms in walk(bounded, random, 40):
        plain = normal.instance(instance)
        for message in everything(instance):
            if isinstance(message, Reply) and _is_let_go(instance, message):
                continue
            same = _about(message, instance, plain)
            here = decide(bounded, instance, message, now_ms + 1)
            there = decide(bounded, plain, same, 2)
            assert here.instance is not None
            assert there.instance is not None
            assert _stands(here.verdict) == _stands(there.verdict), (seed, message, instance)
            assert [m.trigger for m in here.moves] == [m.trigger for m in there.moves], (seed, message, instance)
            assert normal.instance(here.instance) == normal.instance(there.instance), (seed, message)
        assert timers or instance.is_ended or instance.is_stuck


def _stands(verdict: Verdict) -> str:
    """The verdict as far as a law asks for it: whether it was said before or comes late is told apart by the reply."""
    return "known or late" if verdict in ("duplicate", "late") else verdict


def _is_let_go(instance: Instance, message: Reply) -> bool:
    """What the normal form does not know: a late reply that was read before, and the words of a refusal.

    A repeat of the one counts as read anew, and of the other as a duplicate. No participant of its word contradicts
    itself, and whoever resolves a step sees to it that nothing more is said of it.
    """
    record = instance.step(message.step)
    if record is None or message.event_type in (tag_of(Fault), tag_of(InProgress)):
        return False
    is_late = message.operation == "do" and record.effect in ("unknown", "undone") and bool(record.reply)
    replies: dict[str, type[Event]] = {**TRIP.steps[message.step].replies, tag_of(Undeliverable): Undeliverable}
    reply = replies.get(message.event_type)
    is_refused_again = record.effect == "refused" and reply is not None and issubclass(reply, Rejection)
    return is_late or is_refused_again or BY_HAND in (record.reply, record.undo_reply)


def _about(message: Input, instance: Instance, plain: Instance) -> Input:
    """The same input, said of the normal form: the latest attempt is its attempt 1."""
    if isinstance(message, Operate):
        return Operate(action=message.action, who=message.who, reason=message.reason, revision=plain.revision)
    if isinstance(message, Fire) and message.step:
        record = instance.step(message.step)
        if record is not None:
            latest = record.undo_attempts if message.operation == "undo" else record.attempts
            return Fire(
                kind=message.kind,
                step=message.step,
                operation=message.operation,
                attempt=int(message.attempt == latest),
            )
    return message


def test_a_normal_form_is_its_own_normal_form() -> None:
    definition = line("uaPr", deadline=60).definition
    orchestrator = Orchestrator(definition, Samples("job_id"), Assumptions())
    turned = orchestrator.begin()[0]
    instance = orchestrator.nodes[turned.node].instance
    assert Normaliser(orchestrator.definition).instance(instance) == instance
