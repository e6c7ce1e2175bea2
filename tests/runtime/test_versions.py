"""An orchestrator that does not know an instance's version leaves it alone for one that does."""

from dataclasses import replace

from sagas.core.envelope import Header, encode_message
from sagas.core.ids import derived_id
from sagas.ports import Incoming
from sagas.runtime.orchestrator import Orchestrator
from sagas.store.sqlite import SqliteStore
from services.orders.saga import order_saga
from tests.runtime.shop import an_order

NOW_MS = 1_700_000_000_000
OLD = order_saga.definition
NEW = replace(OLD, version=2)


def incoming(offset: int, message_id: str, headers: dict[str, str]) -> Incoming:
    payload = encode_message(an_order("o-1"), message_id=message_id, key_field="order_id", key="o-1", now_ms=NOW_MS)
    return Incoming(
        id=message_id, topic="orders", partition=0, offset=offset, timestamp_ms=NOW_MS, payload=payload, headers=headers
    )


def test_timers_and_replies_of_a_version_that_is_not_loaded_wait_for_a_node_that_knows_it() -> None:
    store = SqliteStore(":memory:")
    old, new = Orchestrator([OLD], store), Orchestrator([OLD, NEW], store)
    new.process([incoming(0, "0193a5b0-0000-7000-8000-000000000001", {})], NOW_MS)
    instance = store.instance("order", "o-1")
    assert instance is not None
    assert instance.version == 2

    old.fire(NOW_MS + 3_600_000, NOW_MS + 3_600_000)
    answer = derived_id(derived_id(instance.id, "create", "do"), "answer")
    headers = {Header.INSTANCE: instance.id, Header.STEP: "create", Header.OPERATION: "do"}
    old.process([incoming(1, answer, headers)], NOW_MS + 3_600_001)
    assert store.instance("order", "o-1") == instance
    assert store.dead_letters(9) == []
    assert store.next_due_ms() is not None, "its timers must not be lost"

    new.fire(NOW_MS + 7_200_000, NOW_MS + 3_700_000)
    moved = store.instance("order", "o-1")
    assert moved is not None
    assert moved.state != instance.state
    store.close()
