"""A broker that lost what it had acknowledged: its log came back shorter, or retention took what nobody had read yet.

Commands and answers are sent again after a third of their timeout, so every saga that has begun ends as if nothing had
happened. An order whose first event is lost before the orchestrator has read it is known to its client alone.
"""

import random
from typing import TypeVar

import pytest

from sagas.broker.partition import Partition
from sagas.core.instance import COMPENSATED, COMPLETED
from sagas.ports import InstanceFilter
from sagas.records import DAY_S
from sagas.testing.world import World
from tests.runtime.shop import a_shop, an_order, rows

pytestmark = pytest.mark.anyio

ORDERS = 12
B = TypeVar("B")
STREAM = "sagas"


async def begin(world: World, turns: int) -> None:
    """Have all orders begun, and let everybody take some turns."""
    for number in range(ORDERS):
        await world.publish_start("order", an_order(f"o-{number}"))
    await world.nodes["orchestrator"].turn()
    assert len(world.store.instances(InstanceFilter(count_max=99))) == ORDERS
    for _ in range(turns):
        for node in world.nodes.values():
            await node.turn()


def shorten(world: World, chance: random.Random) -> int:
    """Cut every partition off at a place of its own, as a crash of the broker's machine does; how many were lost."""
    lost = 0
    stream = world.broker.log.stream(STREAM)
    for topic in stream.topics.values():
        for number, whole in enumerate(topic.partitions):
            topic.partitions[number] = _cut_off(whole, chance.randint(0, whole.end))
            lost += whole.end - topic.partitions[number].end
    return lost


def _cut_off(whole: Partition[B], kept: int) -> Partition[B]:
    shorter = Partition[B](whole.id, whole.epoch, whole.created_us)
    span = whole.span(0, kept) if kept else None
    if span is not None:
        for body, timestamp_us in zip(span.bodies, span.timestamps_us, strict=True):
            shorter.append(body, count=1, size=1, now_us=timestamp_us)
    return shorter


def is_everything_right(world: World) -> bool:
    """All orders completed, each paid once and reserved once."""
    paid = rows(world, "payments", "SELECT count(*), sum(cents) FROM movements")
    reserved = rows(world, "inventory", "SELECT sum(quantity) FROM reservations WHERE state = 'reserved'")
    return (
        world.store.counts() == {COMPLETED: ORDERS}
        and paid == [(ORDERS, ORDERS * 5998)]
        and reserved == [(2 * ORDERS,)]
    )


@pytest.mark.parametrize("seed", range(40))
async def test_a_log_that_came_back_shorter_loses_no_saga_that_has_begun(seed: int) -> None:
    chance = random.Random(seed)
    async with a_shop() as world:
        await begin(world, turns=chance.randint(1, 14))
        world.broker.stop()
        lost = shorten(world, chance)
        world.broker.start()
        await world.settle(within_s=600)
        assert is_everything_right(world), f"seed {seed}, {lost} messages lost: {world.store.counts()}"


@pytest.mark.parametrize("seed", range(20))
async def test_a_broker_that_comes_back_empty_loses_no_saga_that_has_begun(seed: int) -> None:
    chance = random.Random(seed)
    async with a_shop(with_event_store=True) as world:
        await begin(world, turns=chance.randint(1, 14))
        world.broker.stop()
        log = world.broker.log
        for topic in chance.sample(sorted(log.stream(STREAM).topics), chance.randint(1, 9)):
            log.delete_topic(STREAM, topic)
        if chance.random() < 0.3:
            log.delete_stream(STREAM)
        world.broker.start()
        await world.settle(within_s=600)
        assert is_everything_right(world), f"seed {seed}: {world.store.counts()}"


async def test_offsets_that_are_used_a_second_time_are_not_skipped_once_the_readers_are_back() -> None:
    async with a_shop() as world:
        await begin(world, turns=20)
        await world.settle()
        world.broker.stop()
        shorten(world, random.Random(1))
        world.broker.start()
        # The readers see that the log ends before what they have dealt with. Were the places filled before they look,
        # nobody could see it: our own broker therefore pulls the stored offsets back when it starts.
        await world.work()
        # They take the places of messages that the groups have dealt with.
        for number in range(ORDERS):
            await world.publish_start("order", an_order(f"again-{number}"))
        await world.settle(within_s=600)
        assert world.store.counts() == {COMPLETED: 2 * ORDERS}


@pytest.mark.parametrize(
    "topic", ["payments-commands", "inventory-commands", "payments", "shipping", "orders-commands"]
)
async def test_what_retention_took_unread_is_sent_again(topic: str) -> None:
    reader = "orchestrator" if not topic.endswith("-commands") else topic.removesuffix("-commands")
    async with a_shop() as world:
        await begin(world, turns=0)
        held = world.nodes.pop(reader)
        for _ in range(6):
            for node in world.nodes.values():
                await node.turn()
        await held.kill()
        world.broker.log.purge_topic(STREAM, topic)
        world.nodes[reader] = held
        await held.start()
        await world.settle(within_s=600)
        assert is_everything_right(world)


@pytest.mark.parametrize("reader", ["orchestrator", "payments", "inventory"])
async def test_a_reader_that_was_away_until_its_messages_expired_still_has_every_saga_ended(reader: str) -> None:
    async with a_shop() as world:
        world.broker.segment_size = 1  # each message a segment: what is old goes, whatever else is in its topic
        await begin(world, turns=0)
        held = world.nodes.pop(reader)
        for _ in range(6):
            for node in world.nodes.values():
                await node.turn()
        await held.kill()
        before = kept(world)
        world.clock.advance(8 * DAY_S * 1000)
        for node in world.nodes.values():
            await node.turn()  # somebody else is at work: the broker looks for what has expired
        world.nodes[reader] = held
        await held.start()
        await world.settle(within_s=3_600)
        assert kept(world) < before, "nothing had expired: the test shows nothing"
        assert set(world.store.counts()) <= {COMPLETED, COMPENSATED}, world.store.counts()
        assert sum(world.store.counts().values()) == ORDERS
        owed = rows(world, "payments", "SELECT coalesce(sum(cents), 0) FROM movements")
        reserved = "SELECT coalesce(sum(quantity), 0) FROM reservations WHERE state = 'reserved'"
        held_back = rows(world, "inventory", reserved)
        completed = world.store.counts().get(COMPLETED, 0)
        assert owed == [(completed * 5998,)]
        assert held_back == [(2 * completed,)]


def kept(world: World) -> int:
    """How many of the first messages are still there."""
    topics = world.broker.log.stream(STREAM).topics.values()
    return -sum(partition.first for topic in topics for partition in topic.partitions)
