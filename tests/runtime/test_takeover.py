"""Two orchestrators on one database, one of which stands still: no transition twice, no timer twice, nothing stale."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sagas.broker.memory import MemoryBroker
from sagas.broker.partitioning import partition_of
from sagas.core.envelope import encode_message
from sagas.core.ids import instance_id
from sagas.errors import OwnershipLost
from sagas.ports import CaughtUp, Incoming, InstanceFilter, Reading
from sagas.runtime.orchestrator import Orchestrator
from sagas.runtime.roles import OrchestratorWork
from sagas.store.members import LEASE_MS
from sagas.store.sqlite import SqliteStore
from sagas.testing.world import Node, World
from services.orders.saga import order_saga
from tests.runtime.shop import a_shop, an_order

NOW_MS = 1_700_000_000_000
EVICTED_MS = 36_000
"""When Iggy ends a session without heartbeats."""

PAY_TIMEOUT_MS = 2_000

LAST_PARTITION = 2
"""Of each topic: the second of three members has it, and the first of two."""


class Host:
    """One orchestrator with its own connection to the database in `path`."""

    def __init__(self, path: Path) -> None:
        self.store = SqliteStore(path)
        self.orchestrator = Orchestrator([order_saga.definition], self.store)
        self.work = OrchestratorWork(self.orchestrator, self.store)

    def node(self, world: World) -> Node:
        """It as a process of `world`, in the group of all orchestrators."""
        topics = self.orchestrator.topics
        specs = self.orchestrator.topic_specs(3)
        return Node("orchestrator", world.broker, world.clock, lambda: self.work, self.store, topics, specs)


@pytest.fixture
def hosts(tmp_path: Path) -> tuple[Host, Host]:
    return Host(tmp_path / "sagas.db"), Host(tmp_path / "sagas.db")


def a_start(key: str, number: int) -> Incoming:
    """The message that places an order, as it is polled."""
    message_id = instance_id("client", key, NOW_MS)
    payload = encode_message(an_order(key), message_id=message_id, key_field="order_id", key=key, now_ms=NOW_MS)
    return Incoming(
        id=message_id, topic="orders", partition=0, offset=number, timestamp_ms=NOW_MS, payload=payload, headers={}
    )


def all_read(ms: int) -> CaughtUp:
    """Of one partition, that there is nothing unread in it."""
    only = frozenset({("orders", 0)})
    return CaughtUp(ms=ms, reading=Reading(partitions=only, read=only))


def sent(host: Host) -> list[tuple[str, str]]:
    return [(row.key, row.event_type) for row in host.store.unpublished(99)]


# --------------------------------------------------------------------------- step by step


def test_what_a_zombie_had_in_hand_when_it_stood_still_is_void(hosts: tuple[Host, Host]) -> None:
    zombie, heir = hosts
    zombie.work.process([a_start("o-1", 1)], NOW_MS)
    late_ms = NOW_MS + LEASE_MS + 1
    heir.work.process([a_start("o-2", 2)], late_ms)
    before = sent(heir)
    # It had polled and read its clock; then it was stopped, and another took over.
    with pytest.raises(OwnershipLost):
        zombie.work.process([a_start("o-2", 2), a_start("o-3", 3)], NOW_MS + 5)
    assert sent(heir) == before
    assert heir.store.instance("order", "o-3") is None


def test_after_that_it_works_on_with_the_time_of_now(hosts: tuple[Host, Host]) -> None:
    zombie, heir = hosts
    zombie.work.process([a_start("o-1", 1)], NOW_MS)
    late_ms = NOW_MS + LEASE_MS + 1
    heir.work.process([a_start("o-2", 2)], late_ms)
    with pytest.raises(OwnershipLost):
        zombie.work.process([a_start("o-3", 3)], NOW_MS + 5)
    zombie.work.process([a_start("o-2", 2), a_start("o-3", 3)], late_ms + 10)
    fresh = heir.store.instance("order", "o-3")
    assert fresh is not None
    assert fresh.started_ms == late_ms + 10
    assert sent(heir).count(("o-2", "order.create")) == 1, "the inbox knows what the other had dealt with"


def test_a_timer_fires_once_however_many_try(hosts: tuple[Host, Host]) -> None:
    zombie, heir = hosts
    zombie.work.process([a_start("o-1", 1)], NOW_MS)
    heir.store.enter(NOW_MS)
    resend_ms = NOW_MS + 10_000
    for host in (zombie, heir):
        host.store.renew(None, resend_ms)
    for host in (zombie, heir, zombie):
        host.work.after_poll(all_read(resend_ms), resend_ms)
    assert sent(heir) == [("o-1", "order.create")] * 2, "the command, and one resend of it"


def test_a_zombie_does_not_fire_what_it_thought_was_due(hosts: tuple[Host, Host]) -> None:
    zombie, heir = hosts
    zombie.work.process([a_start("o-1", 1)], NOW_MS)
    late_ms = NOW_MS + LEASE_MS + 1
    heir.store.renew(None, late_ms)
    with pytest.raises(OwnershipLost):
        zombie.orchestrator.fire(NOW_MS + 10_000, NOW_MS + 10_000)
    assert sent(heir) == [("o-1", "order.create")]


# --------------------------------------------------------------------------- a whole system


@asynccontextmanager
async def a_shop_with(hosts: tuple[Host, Host]) -> AsyncGenerator[World]:
    """The demo's shop, run by two orchestrators instead of one."""
    async with a_shop() as world:
        await world.nodes.pop("orchestrator").kill()
        for name, host in zip(("first", "second"), hosts, strict=True):
            world.nodes[name] = host.node(world)
            await world.nodes[name].start()
        yield world


def states(host: Host) -> dict[str, int]:
    return host.store.counts()


async def pass_time(world: World, until_ms: int) -> None:
    """A second at a time, as the processes live through it."""
    while world.clock.now_ms() < until_ms:
        world.clock.advance(min(1_000, until_ms - world.clock.now_ms()))
        await world.work()


@pytest.mark.anyio
async def test_two_share_the_work_and_every_order_ends_once(hosts: tuple[Host, Host]) -> None:
    async with a_shop_with(hosts) as world:
        for number in range(24):
            await world.publish_start("order", an_order(f"o-{number}"))
        await pass_time(world, world.clock.now_ms() + 10_000)
        assert states(hosts[0]) == {"completed": 24}


@pytest.mark.anyio
async def test_nobody_times_out_an_order_whose_answers_lie_unread_with_one_that_stands_still(
    hosts: tuple[Host, Host],
) -> None:
    async with a_shop_with(hosts) as world:
        began_ms = world.clock.now_ms()
        await pass_time(world, began_ms + 2_000)
        for number in range(24):
            await world.publish_start("order", an_order(f"o-{number}"))
        while not any(instance.state == "pay.pending" for instance in hosts[0].store.instances(InstanceFilter())):
            for node in world.nodes.values():
                await node.turn()
        stopped = world.nodes.pop("first")

        # The payments' 2 s pass many times over.
        await pass_time(world, began_ms + EVICTED_MS)
        assert set(states(hosts[1])) & {"compensated", "pay.undoing", "rejected", "stuck"} == set()
        assert states(hosts[1]) != {"completed": 24}, "some are with the one that stands still"

        await stopped.kill()  # the broker gives up on it, and deals out its partitions
        await pass_time(world, began_ms + EVICTED_MS + 3 * LEASE_MS)
        assert states(hosts[1]) == {"completed": 24}

        # It is continued: the same process, with what it had in its memory.
        await stopped.start()
        world.nodes["first"] = stopped
        with pytest.raises(OwnershipLost):
            await pass_time(world, world.clock.now_ms() + 2_000)
        await world.publish_start("order", an_order("o-last"))
        await pass_time(world, world.clock.now_ms() + 5_000)
        assert states(hosts[1]) == {"completed": 25}


@pytest.mark.anyio
async def test_whoever_loses_a_partition_times_nothing_out_before_its_new_owner_has_read_it(
    hosts: tuple[Host, Host],
) -> None:
    async with a_shop_with(hosts) as world:
        gains, loses = world.nodes["first"], world.nodes["second"]
        third = await MemoryBroker(world.broker).subscribe("orchestrator", hosts[0].orchestrator.topics)
        await pass_time(world, world.clock.now_ms() + 2_000)
        key = next(f"o-{number}" for number in range(99) if partition_of(f"o-{number}", 3) == LAST_PARTITION)
        await world.publish_start("order", an_order(key))
        while states(hosts[0]) != {"pay.pending": 1}:
            for node in world.nodes.values():
                await node.turn()
        for _ in range(22):  # until the command was sent again twice: what is due next is the timeout
            world.clock.advance(100)
            for node in (gains, loses):
                await node.turn()
        while await world.nodes["payments"].turn():
            pass
        # The answer lies in a partition of the one that stands still now; the other says that it has read all it has.
        for _ in range(4):
            world.clock.advance(PAY_TIMEOUT_MS // 4)
            await gains.turn()

        await third.close()  # whoever leaves has all partitions dealt out anew, and that one goes to the other
        for _ in range(3):
            await loses.turn()
        assert states(hosts[0]) == {"pay.pending": 1}, "its answer waits with the other"
        await pass_time(world, world.clock.now_ms() + 2_000)
        assert states(hosts[0]) == {"completed": 1}
