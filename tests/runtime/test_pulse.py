"""The pulse that is carried on from batch to batch, against what the store says when it is asked."""

import random
from pathlib import Path

from sagas.core.envelope import Header, encode_message
from sagas.core.ids import derived_id, instance_id
from sagas.ports import Incoming
from sagas.runtime.orchestrator import Orchestrator
from sagas.runtime.pulse import Drift, Pulse
from sagas.runtime.rows import PARKED_MS_MAX
from sagas.store.sqlite import SqliteStore
from services.orders.saga import order_saga
from tests.runtime.shop import an_order

NOW_MS = 1_700_000_000_000
ACCEPTED = (
    "create",
    "order.created",
    '{"version":"2","items":[{"product_id":"p","quantity":1}],"total":"1.00","card":"c","address":"a"}',
)
REJECTED = ("create", "order.rejected", '{"reason":"no"}')
UNDONE = ("create", "order.compensated", "{}")


def a_start(key: str) -> Incoming:
    message_id = instance_id("client", key, NOW_MS)
    payload = encode_message(an_order(key), message_id=message_id, key_field="order_id", key=key, now_ms=NOW_MS)
    return Incoming(id=message_id, topic="orders", partition=0, offset=0, timestamp_ms=NOW_MS, payload=payload)


def an_answer(key: str, answer: tuple[str, str, str], began_ms: int = NOW_MS) -> Incoming:
    step, tag, data = answer
    run = instance_id("order", key, began_ms)
    message_id = derived_id(run, step, tag)
    payload = (
        f'{{"id":"{message_id}","order_id":"{key}","event_type":"{tag}",'
        f'"timestamp":"2025-12-01T10:00:00Z","data":{data}}}'
    ).encode()
    operation = "undo" if answer == UNDONE else "do"
    headers = {Header.INSTANCE: run, Header.STEP: step, Header.OPERATION: operation}
    return Incoming(
        id=message_id, topic="orders", partition=0, offset=0, timestamp_ms=NOW_MS, payload=payload, headers=headers
    )


def test_what_is_in_flight_is_counted_right_and_nothing_is_due_earlier_than_is_known(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    store = SqliteStore(tmp_path / "sagas.db")
    orchestrator = Orchestrator([order_saga.definition], store)
    pulse = orchestrator.pulse()
    assert pulse == Pulse(next_due_ms=None, in_flight=0)
    seen: set[int] = set()
    messages = [a_start(f"o-{n}") for n in range(12)]
    # Every run began in the first batch or an answer of it is nobody's: parked, and due when its time there is over.
    messages += [
        an_answer(f"o-{n}", answer, NOW_MS + chance.choice((0, 0, 0, 9)))
        for n in range(12)
        for answer in (chance.choice((ACCEPTED, REJECTED)), UNDONE)
    ]
    chance.shuffle(messages)
    messages.sort(key=lambda message: Header.INSTANCE in message.headers)
    now_ms = NOW_MS
    for batch in (messages[:12], *([message] for message in messages[12:])):
        pulse = pulse.after(orchestrator.process(batch, now_ms))
        asked = orchestrator.pulse()
        assert pulse.in_flight == asked.in_flight
        if asked.next_due_ms is not None:
            assert pulse.next_due_ms is not None
            assert pulse.next_due_ms <= asked.next_due_ms
        seen.add(asked.in_flight)
        now_ms += chance.randrange(3)
    assert len(seen) > 1, "some of them came to an end"


def test_a_message_that_is_parked_makes_the_loop_come_back_when_its_time_is_over(tmp_path: Path) -> None:
    orchestrator = Orchestrator([order_saga.definition], SqliteStore(tmp_path / "sagas.db"))
    drift = orchestrator.process([an_answer("o-1", ACCEPTED)], NOW_MS)
    assert drift == Drift(next_due_ms=NOW_MS + PARKED_MS_MAX, in_flight=0)


def test_what_another_orchestrator_ended_is_never_counted_below_nothing() -> None:
    pulse = Pulse(next_due_ms=7, in_flight=1).after(Drift(next_due_ms=None, in_flight=-2))
    assert pulse == Pulse(next_due_ms=7, in_flight=0)
