"""Races with a clock that is set forward and back: what is looked at now and then is looked at all the same."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest

from sagas.broker.memory import MemoryBroker, MemoryWorld
from sagas.ports import CaughtUp, Reading, TopicSpec
from sagas.runtime.orchestrator import Orchestrator
from sagas.runtime.relay import Relay
from sagas.runtime.roles import PULSE_MS_MAX, OrchestratorWork
from sagas.runtime.worker import Worker
from sagas.store.sqlite import SqliteStore
from sagas.testing import VirtualClock
from sagas.testing.world import World, inline
from tests.races.parts import ORDER
from tests.races.test_operators import start
from tests.runtime.outbox_rows import TOPIC, commit
from tests.runtime.shop import a_shop, an_order, foreign, order

pytestmark = pytest.mark.anyio

NOW_MS = 1_700_000_000_000
DAY_MS = 24 * 3600 * 1000
HOURS_MS = 2 * 3600 * 1000
ALL_READ = Reading(partitions=frozenset(), read=frozenset())


class SetClock(VirtualClock):
    """One that somebody sets."""

    def set_by(self, difference_ms: int) -> None:
        self._now_ms += difference_ms


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> World:
    """The demo's system, all of it on a clock that can be set."""
    monkeypatch.setattr("sagas.testing.world.VirtualClock", SetClock)
    return a_shop()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[SqliteStore, SqliteStore]]:
    """The connections of two processes to one database."""
    with ExitStack() as stack:
        made = SqliteStore(tmp_path / "o.db"), SqliteStore(tmp_path / "o.db")
        for store in made:
            stack.callback(store.close)
        yield made


def set_by(world: World, difference_ms: int) -> None:
    assert isinstance(world.clock, SetClock)
    world.clock.set_by(difference_ms)


@pytest.mark.parametrize("seed", range(8))
async def test_clocks_that_are_set_forth_and_back_turn_no_order_back_that_is_answered(shop: World, seed: int) -> None:
    random, count = Random(seed), 0
    async with shop:
        for _ in range(8):
            for _ in range(random.randrange(3)):
                await shop.publish_start("order", an_order(f"o-{count}"))
                count += 1
            for _ in range(random.randrange(4)):
                for node in random.sample(list(shop.nodes.values()), len(shop.nodes)):
                    await node.turn()
            difference_ms = random.randrange(HOURS_MS)
            set_by(shop, random.choice((-difference_ms, difference_ms)))
        await shop.settle(within_s=8 * HOURS_MS / 1000)
        found = {order(shop, f"o-{number}").state for number in range(count)}
        assert found <= {"completed"}, f"seed {seed}"


async def test_offsets_are_stored_after_a_clock_was_set_back(pair: tuple[SqliteStore, SqliteStore]) -> None:
    clock = SetClock(NOW_MS)
    world = MemoryWorld(clock)
    broker = MemoryBroker(world)
    orchestrator = Orchestrator([ORDER], pair[0])
    await broker.ensure(orchestrator.topic_specs(1))
    subscription = await broker.subscribe("orchestrator", orchestrator.topics)
    worker = Worker(OrchestratorWork(orchestrator), subscription, Relay(pair[0], broker, clock, inline), clock, inline)
    await broker.publish([foreign("orders", "o-1", b"news")])
    assert await worker.turn() == 1
    clock.set_by(-DAY_MS)  # within the second for which an offset may wait
    await worker.turn()
    await broker.close()
    broker = MemoryBroker(world)
    subscription = await broker.subscribe("orchestrator", orchestrator.topics)
    assert await subscription.poll(9) == []
    await broker.close()


async def test_rows_that_another_process_has_left_are_published_after_a_clock_was_set_back(
    pair: tuple[SqliteStore, SqliteStore],
) -> None:
    mine, theirs = pair
    clock = SetClock(NOW_MS)
    broker = MemoryBroker(MemoryWorld(clock))
    await broker.ensure([TopicSpec(name=TOPIC, partitions=1)])
    relay = Relay(mine, broker, clock, inline)
    commit(mine, "a")
    while await relay.flush():
        pass
    clock.set_by(-DAY_MS)
    commit(theirs, "b")
    assert await relay.flush() == 1
    await broker.close()


def test_the_timers_of_a_node_that_died_are_seen_after_a_clock_was_set_back(
    pair: tuple[SqliteStore, SqliteStore],
) -> None:
    mine, theirs = pair
    work = OrchestratorWork(Orchestrator([ORDER], mine), mine)
    work.after_poll(CaughtUp(ms=NOW_MS, reading=ALL_READ), NOW_MS)
    now_ms = NOW_MS - DAY_MS
    Orchestrator([ORDER], theirs).process([start("o-1", 1)], now_ms)
    due_ms = theirs.next_due_ms()
    assert due_ms is not None
    assert due_ms > now_ms + PULSE_MS_MAX
    for at_ms in range(now_ms, due_ms + PULSE_MS_MAX + 1, PULSE_MS_MAX):
        if work.is_due(at_ms):
            work.after_poll(CaughtUp(ms=at_ms, reading=ALL_READ), at_ms)
    assert [row.headers["attempt"] for row in theirs.unpublished(9)] == ["1", "2"]
