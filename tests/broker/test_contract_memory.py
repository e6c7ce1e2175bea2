"""The broker contract on the broker in memory, and what only that one can do: be stopped."""

from collections.abc import AsyncIterator

import anyio
import anyio.lowlevel
import pytest

from sagas.broker.groups import REBALANCING_TIMEOUT_MS
from sagas.broker.memory import MemoryBroker, MemoryWorld
from sagas.errors import BrokerError, BrokerUnavailable
from sagas.ports import Position
from tests.broker.contract import BrokerContract, Connect, DeleteTopic
from tests.broker.reading_contract import ReadingContract
from tests.broker.sending_contract import SendingContract
from tests.broker.traffic import (
    ORDERS,
    PATIENCE_S,
    Turmoil,
    numbers,
    outgoing,
    positions,
    read,
    read_and_commit,
    spread,
)


class StandingClock:
    """A clock that moves only while somebody waits on it."""

    def __init__(self) -> None:
        self._now_ms = 1_760_000_000_000

    def now_ms(self) -> int:
        """The time it stands at."""
        return self._now_ms

    async def sleep_ms(self, duration_ms: int) -> None:
        """Move on by `duration_ms`."""
        self._now_ms += duration_ms
        await anyio.lowlevel.checkpoint()


@pytest.fixture
def world() -> MemoryWorld:
    """A server of its own for each test."""
    return MemoryWorld(StandingClock())


class TestMemoryBroker(BrokerContract, ReadingContract, SendingContract):
    """Every handle is a connection to one world."""

    @pytest.fixture
    async def connect(self, world: MemoryWorld) -> AsyncIterator[Connect]:
        opened: list[MemoryBroker] = []

        def open_one() -> MemoryBroker:
            opened.append(MemoryBroker(world))
            return opened[-1]

        yield open_one
        for broker in opened:
            await broker.close()

    @pytest.fixture
    def delete_topic(self, world: MemoryWorld) -> DeleteTopic:
        async def delete(topic: str) -> None:
            world.log.delete_topic("sagas", topic)

        return delete


@pytest.mark.anyio
@pytest.mark.parametrize("waits", [False, True], ids=["polling", "waiting and polling"])
@pytest.mark.parametrize("count", [0, 20], ids=["nothing to read", "messages"])
async def test_who_reads_gives_the_others_a_turn_each_time(world: MemoryWorld, *, waits: bool, count: int) -> None:
    broker = MemoryBroker(world)
    await broker.ensure([ORDERS])
    await broker.publish(spread(count))
    subscription = await broker.subscribe("workers", ["orders"])
    turns = 0

    async def run() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        for number in range(10):
            if waits:
                await subscription.wait(0)
            await subscription.poll(1)
            assert turns > number
        tasks.cancel_scope.cancel()


@pytest.mark.anyio
async def test_a_stopped_world_is_unavailable_and_loses_nothing(world: MemoryWorld) -> None:
    broker = MemoryBroker(world)
    await broker.ensure([ORDERS])
    await broker.publish(spread(6))
    subscription = await broker.subscribe("workers", ["orders"])
    found = await read(subscription, 6)
    await subscription.commit([position for position in positions(found) if position.partition == 0])
    world.stop()
    for call in (
        broker.ensure([ORDERS]),
        broker.publish([outgoing(7)]),
        broker.subscribe("workers", ["orders"]),
        subscription.poll(1),
        subscription.commit(positions(found)),
    ):
        with pytest.raises(BrokerUnavailable):
            await call
    world.start()
    # From the stored offsets: partitions 1 and 2 were never committed.
    assert numbers(await read(subscription, 4)) == [1, 2, 4, 5]


@pytest.mark.anyio
async def test_the_time_of_a_message_is_the_clock_s(world: MemoryWorld) -> None:
    broker = MemoryBroker(world)
    await broker.ensure([ORDERS])
    await world.clock.sleep_ms(1234)
    await broker.publish([outgoing(1)])
    (message,) = await read(await broker.subscribe("workers", ["orders"]), 1)
    assert message.timestamp_ms == world.clock.now_ms() == 1_760_000_001_234


@pytest.mark.anyio
async def test_a_log_that_is_shorter_than_the_stored_offset_is_read_from_its_beginning(
    world: MemoryWorld, caplog: pytest.LogCaptureFixture
) -> None:
    broker = MemoryBroker(world)
    await broker.ensure([ORDERS])
    await broker.publish([outgoing(number) for number in range(3)])
    subscription = await broker.subscribe("workers", ["orders"])
    await subscription.commit(positions(await read(subscription, 3)))
    # What a broker does that had the offset on its disk and the messages not.
    stored = dict(world.log.topic("sagas", "orders").group("workers").stored)
    world.log.purge_topic("sagas", "orders")
    world.log.topic("sagas", "orders").group("workers").stored.update(stored)
    await broker.publish([outgoing(9)])
    await subscription.rewind()
    assert numbers(await read(subscription, 1)) == [9]
    assert "has dealt with offset 2" in caplog.text


@pytest.mark.anyio
async def test_a_marked_partition_changes_hands_in_time_though_nothing_else_happens(world: MemoryWorld) -> None:
    broker = MemoryBroker(world)
    await broker.ensure([ORDERS])
    await broker.publish(spread(6))
    idle = await broker.subscribe("workers", ["orders"])
    await read(idle, 6)
    other = await broker.subscribe("workers", ["orders"])
    assert not await other.poll(10), "what was read is in flight: it is waited for"
    await world.clock.sleep_ms(REBALANCING_TIMEOUT_MS)
    assert await other.poll(10)


@pytest.mark.anyio
async def test_a_topic_that_was_made_anew_is_joined_anew(world: MemoryWorld) -> None:
    broker = MemoryBroker(world)
    await broker.ensure([ORDERS])
    first = await broker.subscribe("workers", ["orders"])
    second = await broker.subscribe("workers", ["orders"])
    world.log.delete_topic("sagas", "orders")
    await broker.ensure([ORDERS])
    # Now the new group is of the generation that the first one saw last, and has only the second in it.
    assert not await second.poll(10)
    assert not await first.poll(10)
    await broker.publish(spread(6))
    assert numbers([*await first.poll(10), *await second.poll(10)]) == [0, 1, 2, 3, 4, 5]


@pytest.mark.anyio
async def test_a_group_that_was_deleted_is_joined_anew_and_has_stored_nothing(world: MemoryWorld) -> None:
    broker = MemoryBroker(world)
    await broker.ensure([ORDERS])
    await broker.publish(spread(6))
    subscription = await broker.subscribe("workers", ["orders"])
    await read_and_commit(subscription, 6)
    topic = world.log.topic("sagas", "orders")
    topic.delete_group("workers")
    assert numbers(await subscription.poll(10)) == [0, 1, 2, 3, 4, 5]
    assert [len(group.slots) for group in topic.groups.values()] == [1]


@pytest.mark.anyio
async def test_who_waits_or_polls_looks_into_the_topic_that_is_there_now(world: MemoryWorld) -> None:
    broker = MemoryBroker(world)
    await broker.ensure([ORDERS])
    await broker.publish(spread(3))
    subscription = await broker.subscribe("workers", ["orders"])
    await read(subscription, 3)
    world.log.delete_topic("sagas", "orders")
    with pytest.raises(BrokerError, match="is not there"):
        await subscription.wait(1)
    await broker.ensure([ORDERS])
    await broker.publish(spread(6))
    with anyio.fail_after(PATIENCE_S):
        assert await subscription.wait(10 * 60_000)
    assert numbers(await subscription.poll(10)) == [0, 1, 2, 3, 4, 5]


@pytest.mark.anyio
async def test_partitions_that_others_took_the_place_of_are_not_looked_into(world: MemoryWorld) -> None:
    broker = MemoryBroker(world)
    await broker.ensure([ORDERS])
    subscription = await broker.subscribe("workers", ["orders"])
    assert not await subscription.poll(10)
    world.log.purge_topic("sagas", "orders")
    await broker.publish(spread(3))
    with anyio.fail_after(PATIENCE_S):
        assert await subscription.wait(10 * 60_000)
    assert numbers(await subscription.poll(10)) == [0, 1, 2]


@pytest.mark.anyio
async def test_a_partition_that_was_emptied_or_made_again_is_read_from_its_beginning(world: MemoryWorld) -> None:
    broker = MemoryBroker(world)
    await broker.ensure([ORDERS])
    subscription = await broker.subscribe("workers", ["orders"])
    await broker.publish(spread(9))
    found = await read(subscription, 9)
    world.log.purge_topic("sagas", "orders")
    await broker.publish(spread(12))
    # Offsets that are there again, of other messages.
    assert list(await subscription.commit(positions(found))) == positions(found)
    assert numbers(await subscription.poll(99)) == list(range(12))
    world.log.purge_topic("sagas", "orders")
    assert not await subscription.poll(99)
    await broker.publish(spread(12))
    assert list(await subscription.commit(positions(found))) == positions(found), "though a poll has found it out"
    assert numbers(await subscription.poll(99)) == list(range(12))
    world.log.delete_partitions("sagas", "orders", 1)
    world.log.create_partitions("sagas", "orders", 1, 0)
    await broker.publish(spread(6))
    assert {2, 5} <= set(numbers(await subscription.poll(99)))


@pytest.mark.anyio
async def test_an_offset_that_is_refused_leaves_its_partition_to_be_read(world: MemoryWorld) -> None:
    broker = MemoryBroker(world)
    await broker.ensure([ORDERS])
    await broker.publish(spread(6))
    subscription = await broker.subscribe("workers", ["orders"])
    found = await read(subscription, 6)
    world.log.purge_topic("sagas", "orders")
    await subscription.commit(positions(found))
    await broker.publish(spread(3))
    assert numbers(await subscription.poll(10)) == [0, 1, 2]


@pytest.mark.anyio
async def test_who_waits_after_a_rewind_or_a_refused_offset_reads_again_from_the_stored_offsets(
    world: MemoryWorld,
) -> None:
    broker = MemoryBroker(world)
    await broker.ensure([ORDERS])
    await broker.publish(spread(6))
    subscription = await broker.subscribe("workers", ["orders"])
    found = await read(subscription, 6)
    await subscription.rewind()
    assert await subscription.wait(0)
    assert numbers(await subscription.poll(10)) == list(range(6))
    await subscription.commit(positions(found))
    await subscription.commit([Position(topic="orders", partition=0, offset=99)])
    assert await subscription.wait(0)
    assert not await subscription.poll(10)


@pytest.mark.anyio
@pytest.mark.parametrize("seed", range(60))
async def test_no_message_is_skipped_however_members_come_and_go(world: MemoryWorld, seed: int) -> None:
    assert await Turmoil(seed, lambda: MemoryBroker(world)).skipped(150) == set()
