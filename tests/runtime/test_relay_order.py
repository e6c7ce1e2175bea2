"""Two orchestrators on one database: whoever publishes first publishes everything in the order of the commits."""

from pathlib import Path

import anyio
import pytest

from sagas.broker.memory import MemoryBroker, MemoryWorld
from sagas.ports import TopicSpec
from sagas.runtime.relay import BACKLOG_MAX, Relay
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


async def test_what_another_process_has_published_is_not_waited_for(tmp_path: Path) -> None:
    mine, theirs = SqliteStore(tmp_path / "o.db"), SqliteStore(tmp_path / "o.db")
    clock = VirtualClock()
    broker = MemoryBroker(MemoryWorld(clock))
    await broker.ensure([TopicSpec(name=TOPIC, partitions=1)])
    my_relay, their_relay = Relay(mine, broker, clock, inline), Relay(theirs, broker, clock, inline)
    for relay in (my_relay, their_relay):
        await relay.flush()
    commit(theirs, "before")
    commit(mine, *(f"{number}" for number in range(BACKLOG_MAX + 1)))
    clock.advance(20_000)
    await their_relay.drain()
    theirs.close()

    with anyio.fail_after(30):
        await my_relay.make_room()
    commit(mine, "after")
    while await my_relay.flush():
        pass
    subscription = await broker.subscribe("readers", [TOPIC])
    read = [m.payload.decode() for m in await subscription.poll(2 * BACKLOG_MAX)]
    assert (len(read), read[0], read[-1]) == (BACKLOG_MAX + 3, "before", "after"), "each once"
    mine.close()
    await broker.close()
