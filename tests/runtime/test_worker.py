"""The loop of every process: what is due is done after a poll that looked everywhere."""

from collections.abc import Sequence

import anyio
import pytest
from anyio.lowlevel import checkpoint

from sagas.broker.memory import MemoryBroker, MemorySubscription, MemoryWorld
from sagas.errors import StoreError
from sagas.ports import CaughtUp, Incoming, TopicSpec
from sagas.runtime.relay import Relay
from sagas.runtime.worker import Worker
from sagas.store.sqlite import SqliteStore
from sagas.testing.clock import VirtualClock
from sagas.testing.world import inline
from tests.broker.traffic import outgoing

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
        self.pauses_ms: Sequence[int] = ()

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


class Reading(ToldSubscription):
    """One that notes what it was asked, in order."""

    asked: list[str]

    async def poll(self, count_max: int) -> Sequence[Incoming]:
        self.asked.append("poll")
        return await MemorySubscription.poll(self, count_max)

    async def wait(self, at_most_ms: int) -> bool:
        self.asked.append(f"wait {at_most_ms}")
        return True

    async def rewind(self) -> None:
        self.asked.append("rewind")
        await super().rewind()


class Busy(Watched):
    """Work that has nothing due, notes its batches, and fails on the third."""

    def __init__(self, stop: anyio.Event, asked: list[str]) -> None:
        super().__init__(stop)
        self._asked = asked
        self.sizes: list[int] = []

    def process(self, batch: Sequence[Incoming], now_ms: int) -> None:
        self._asked.append("process")
        self.sizes.append(len(batch))
        if len(self.sizes) == 3:
            raise StoreError("the disk is full")

    def is_due(self, now_ms: int) -> bool:
        return False


@pytest.mark.anyio
async def test_where_the_broker_has_more_than_a_batch_the_next_is_read_while_this_one_is_dealt_with() -> None:
    clock, stop = VirtualClock(1_700_000_000_000), anyio.Event()
    world = MemoryWorld(clock)
    broker = MemoryBroker(world)
    await broker.ensure([TopicSpec(name="orders", partitions=1)])
    subscription = Reading(world, clock)
    subscription.asked = []
    store, work = SqliteStore(":memory:"), Busy(stop, subscription.asked)
    worker = Worker(work, subscription, Relay(store, broker, clock, inline), clock, inline, batch_max=2)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker.run, stop)
        # The first wait says that this broker can.
        while "wait 100" not in subscription.asked:
            await checkpoint()
        subscription.asked.clear()
        await broker.publish([outgoing(number) for number in range(5)])
        while "rewind" not in subscription.asked:
            await checkpoint()
        stop.set()
    store.close()
    # Two full batches, each with a read beside it; the third is not full, and fails as any batch does.
    assert work.sizes[:3] == [2, 2, 1]
    first = subscription.asked.index("wait 0")
    beside = ["wait 0", "process", "poll"]
    assert subscription.asked[first : first + 8] == [*beside, *beside, "process", "rewind"]


@pytest.mark.anyio
async def test_a_full_batch_that_fails_beside_a_read_fails_as_it_would_alone() -> None:
    clock, stop = VirtualClock(1_700_000_000_000), anyio.Event()
    world = MemoryWorld(clock)
    broker = MemoryBroker(world)
    await broker.ensure([TopicSpec(name="orders", partitions=1)])
    subscription = Reading(world, clock)
    subscription.asked = []
    store, work = SqliteStore(":memory:"), Busy(stop, subscription.asked)
    work.sizes = [0, 0]
    worker = Worker(work, subscription, Relay(store, broker, clock, inline), clock, inline, batch_max=2)
    await broker.publish([outgoing(number) for number in range(2)])
    worker.can_read_ahead = True
    with pytest.raises(StoreError, match="the disk is full"):
        await worker.turn()
    assert subscription.asked == ["poll", "wait 0", "process", "rewind"]
    store.close()


class Poisoned(Watched):
    """Work that fails on the first message, in a database that is locked when that is to be said for the first time."""

    def __init__(self, stop: anyio.Event) -> None:
        super().__init__(stop)
        self.done: list[int] = []
        self.failed: list[int] = []
        self._is_locked = True

    def process(self, batch: Sequence[Incoming], now_ms: int) -> None:
        if any(message.offset == 0 for message in batch):
            raise RuntimeError("poison")
        self.done += (message.offset for message in batch)

    def fail(self, incoming: Incoming, reason: str, now_ms: int) -> None:
        if self._is_locked:
            self._is_locked = False
            raise StoreError("another connection kept it locked")
        self.failed.append(incoming.offset)


@pytest.mark.anyio
async def test_a_batch_is_read_again_where_the_database_refuses_to_keep_what_failed() -> None:
    clock, stop = VirtualClock(1_700_000_000_000), anyio.Event()
    world = MemoryWorld(clock)
    broker = MemoryBroker(world)
    await broker.ensure([TopicSpec(name="orders", partitions=1)])
    subscription = MemorySubscription(world, "sagas", "workers", ["orders"])
    store, work = SqliteStore(":memory:"), Poisoned(stop)
    worker = Worker(work, subscription, Relay(store, broker, clock, inline), clock, inline)
    await broker.publish([outgoing(number) for number in range(5)])
    with pytest.raises(StoreError, match="kept it locked"):
        await worker.turn()
    await broker.publish([outgoing(number) for number in range(5, 7)])
    await worker.turn()
    store.close()
    assert (work.failed, work.done) == ([0], [1, 2, 3, 4, 5, 6])
