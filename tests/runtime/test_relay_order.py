"""Two orchestrators on one database: whoever publishes first publishes everything in the order of the commits."""

from pathlib import Path

import pytest

from sagas.broker.memory import MemoryBroker, MemoryWorld
from sagas.ports import TopicSpec
from sagas.runtime.relay import Relay
from sagas.store.sqlite import SqliteStore
from sagas.testing import VirtualClock
from sagas.testing.world import inline
from tests.runtime.outbox_rows import TOPIC, commit

pytestmark = pytest.mark.anyio


async def test_a_row_that_another_process_committed_before_is_published_before(tmp_path: Path) -> None:
    mine, theirs = SqliteStore(tmp_path / "o.db"), SqliteStore(tmp_path / "o.db")
    clock = VirtualClock()
    broker = MemoryBroker(MemoryWorld(clock))
    await broker.ensure([TopicSpec(name=TOPIC, partitions=1)])
    relay = Relay(mine, broker, clock, inline)
    commit(mine, "a")
    while await relay.flush():
        pass
    # The other one stands still: what it decided lies in the table, and what was decided after it in memory.
    commit(theirs, "b")
    commit(mine, "c", "d")
    commit(theirs, "e")
    commit(mine, "f")
    while await relay.flush():
        pass
    subscription = await broker.subscribe("readers", [TOPIC])
    assert [m.payload.decode() for m in await subscription.poll(100)] == ["a", "b", "c", "d", "e", "f"]
    for store in (mine, theirs):
        store.close()
    await broker.close()
