"""The loop of every process: what is due is done after a poll that looked everywhere."""

from collections.abc import Sequence

import anyio
import pytest

from sagas.broker.memory import MemoryBroker, MemorySubscription, MemoryWorld
from sagas.ports import CaughtUp, Incoming, TopicSpec
from sagas.runtime.relay import Relay
from sagas.runtime.worker import Worker
from sagas.store.sqlite import SqliteStore
from sagas.testing.clock import VirtualClock
from sagas.testing.world import inline

DUE_EVERY_MS = 1_000
ROUNDS = 40


class ToldSubscription(MemorySubscription):
    """One that is told of something all the time, and then looks only there, as the embedded broker's readers do."""

    def __init__(self, world: MemoryWorld, clock: VirtualClock) -> None:
        super().__init__(world, "sagas", "workers", ["orders"])
        self._clock = clock
        self._is_told = False

    async def poll(self, count_max: int) -> Sequence[Incoming]:
        is_told, self._is_told = self._is_told, False
        found = await super().poll(count_max)
        if is_told:
            self._read = set()
        return found

    async def wait(self, at_most_ms: int) -> bool:
        self._clock.advance(300)
        self._is_told = True
        return True


class Watched:
    """Work that has something due every second, and keeps what it was told to have read."""

    def __init__(self, stop: anyio.Event) -> None:
        self._stop = stop
        self._done_ms = 0
        self._rounds = 0
        self.told: list[CaughtUp | None] = []

    def process(self, batch: Sequence[Incoming], now_ms: int) -> None:
        raise AssertionError("nobody publishes anything")

    def fail(self, incoming: Incoming, reason: str, now_ms: int) -> None:
        raise AssertionError(reason)

    def is_awaiting(self) -> bool:
        return True

    def is_due(self, now_ms: int) -> bool:
        self._rounds += 1
        if self._rounds > ROUNDS:
            self._stop.set()
        return now_ms - self._done_ms >= DUE_EVERY_MS

    def after_poll(self, caught_up: CaughtUp | None, now_ms: int) -> bool:
        self._done_ms = now_ms
        self.told.append(caught_up)
        return True


@pytest.mark.anyio
async def test_what_comes_due_while_messages_are_waited_for_is_done_after_a_poll_that_looked_everywhere() -> None:
    clock, stop = VirtualClock(1_700_000_000_000), anyio.Event()
    world = MemoryWorld(clock)
    broker = MemoryBroker(world)
    await broker.ensure([TopicSpec(name="orders", partitions=3)])
    store, work = SqliteStore(":memory:"), Watched(stop)
    await Worker(work, ToldSubscription(world, clock), Relay(store, broker, clock, inline), clock, inline).run(stop)
    store.close()
    assert len(work.told) > 3
    assert all(caught_up is not None and len(caught_up.reading.read) == 3 for caught_up in work.told)
