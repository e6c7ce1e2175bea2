"""What a batch has committed is sent in the same step, and everything unusual goes the long way, in the same order."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar, TypeVarTuple
from uuid import uuid4

import anyio
import anyio.lowlevel
import pytest

from sagas.broker.memory import MemoryBroker, MemoryWorld
from sagas.errors import BrokerUnavailable
from sagas.ports import Outgoing, Settled, TopicSpec
from sagas.runtime import relay as relay_module
from sagas.runtime.relay import Relay
from sagas.store.sqlite import SqliteStore
from sagas.testing import VirtualClock
from sagas.testing.world import inline
from tests.runtime.outbox_rows import TOPIC, commit

pytestmark = pytest.mark.anyio

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class SlowBroker(MemoryBroker):
    """What is sent at once stays under way until the test says what becomes of it."""

    def __init__(self, world: MemoryWorld) -> None:
        super().__init__(world)
        self.under_way: list[tuple[Sequence[Outgoing], Settled]] = []
        self.is_connected = True
        self.may_publish = anyio.Event()
        self.may_publish.set()

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        await self.may_publish.wait()
        await super().publish(messages)

    def send(self, messages: Sequence[Outgoing], settled: Settled) -> bool:
        if self.is_connected:
            self.under_way.append((messages, settled))
        return self.is_connected

    def land(self) -> None:
        """The oldest arrives and is acknowledged."""
        super().send(*self.under_way.pop(0))

    def lose(self, *, has_arrived: bool = False) -> None:
        """Nobody knows what became of the oldest."""
        messages, settled = self.under_way.pop(0)
        if has_arrived:
            super().send(messages, lambda _: None)
        settled(BrokerUnavailable("gone"))


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
async def broker(clock: VirtualClock) -> AsyncIterator[SlowBroker]:
    broker = SlowBroker(MemoryWorld(clock))
    await broker.ensure([TopicSpec(name=TOPIC, partitions=1)])
    yield broker
    await broker.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "o.db")
    yield store
    store.close()


@pytest.fixture
def theirs(tmp_path: Path) -> Iterator[SqliteStore]:
    """The same database, as another process has it."""
    theirs = SqliteStore(tmp_path / "o.db")
    yield theirs
    theirs.close()


@pytest.fixture
async def relay(store: SqliteStore, broker: SlowBroker, clock: VirtualClock) -> Relay:
    """A relay that has looked into the table, as it does at its start."""
    relay = Relay(store, broker, clock, inline)
    assert await relay.flush() == 0
    return relay


def under_way(broker: SlowBroker) -> list[str]:
    return ["".join(message.payload.decode() for message in messages) for messages, _ in broker.under_way]


async def published(broker: SlowBroker) -> str:
    subscription = await broker.subscribe(f"readers {uuid4()}", [TOPIC])
    return "".join(message.payload.decode() for message in await subscription.poll(100_000))


def in_the_table(store: SqliteStore) -> str:
    return "".join(row.payload.decode() for row in store.unpublished(100_000))


async def flush_all(relay: Relay) -> None:
    while await relay.flush():
        pass


async def test_batches_are_sent_as_they_are_committed_one_behind_the_other(
    store: SqliteStore, broker: SlowBroker, relay: Relay
) -> None:
    for names in ("ab", "c", "de"):
        commit(store, *names)
        relay.send()
    assert under_way(broker) == ["ab", "c", "de"], "in the same step, and without waiting for the first"
    assert in_the_table(store) == "abcde"
    broker.land()
    assert in_the_table(store) == "cde", "what is acknowledged, and nothing else"
    broker.land()
    broker.land()
    assert (in_the_table(store), await published(broker)) == ("", "abcde")


async def test_nothing_to_send_sends_nothing(broker: SlowBroker, relay: Relay) -> None:
    relay.send()
    assert under_way(broker) == []


async def test_what_was_sent_and_lost_is_published_again_from_the_table(
    store: SqliteStore, broker: SlowBroker, relay: Relay
) -> None:
    for name in "abc":
        commit(store, name)
        relay.send()
    broker.land()
    broker.lose(has_arrived=True)
    broker.lose()
    commit(store, "d")
    relay.send()
    assert under_way(broker) == [], "what failed goes first, and takes its turn"
    await flush_all(relay)
    assert await published(broker) == "abbcd"
    assert in_the_table(store) == ""


async def test_what_is_under_way_is_passed_over_in_the_table(
    store: SqliteStore, theirs: SqliteStore, broker: SlowBroker, relay: Relay, clock: VirtualClock
) -> None:
    commit(store, "a")
    relay.send()
    clock.advance(60_000)
    commit(theirs, "b")
    await flush_all(relay)
    assert await published(broker) == "b", "and nobody waited for the other"
    commit(store, "c")
    relay.send()
    broker.land()
    broker.land()
    assert await published(broker) == "bac"
    assert in_the_table(store) == ""


async def with_all_under_way(store: SqliteStore, broker: SlowBroker, clock: VirtualClock) -> Relay:
    """A relay that has sent as many rows as it reads at once, "a" and "b"."""
    relay = Relay(store, broker, clock, inline, batch_max=2, committed_max=10)
    assert await relay.flush() == 0
    commit(store, "a", "b")
    relay.send()
    return relay


async def test_when_all_that_can_be_read_is_under_way_it_is_waited_for(
    store: SqliteStore, broker: SlowBroker, clock: VirtualClock
) -> None:
    relay = await with_all_under_way(store, broker, clock)
    broker.is_connected = False
    clock.advance(60_000)
    commit(store, "c")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(flush_all, relay)
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        assert await published(broker) == ""
        broker.is_connected = True
        broker.land()
    assert await published(broker) == "abc"


async def test_what_is_lost_while_the_table_is_read_is_read_again(
    store: SqliteStore, broker: SlowBroker, clock: VirtualClock
) -> None:
    async def lose_meanwhile(function: Callable[[*Ts], T], *args: *Ts) -> T:
        found = function(*args)
        if broker.under_way:
            broker.lose()
        return found

    relay = Relay(store, broker, clock, lose_meanwhile)
    assert await relay.flush() == 0
    commit(store, "a")
    relay.send()
    clock.advance(60_000)
    await flush_all(relay)
    await flush_all(relay)
    assert await published(broker) == "a"


async def test_a_row_that_another_process_committed_before_is_not_overtaken(
    store: SqliteStore, theirs: SqliteStore, broker: SlowBroker, relay: Relay
) -> None:
    for database, name in ((store, "a"), (theirs, "b"), (store, "c")):
        commit(database, name)
        relay.send()
    assert under_way(broker) == ["a"]
    broker.land()
    await flush_all(relay)
    commit(store, "d")
    relay.send()
    broker.land()
    assert await published(broker) == "abcd"


async def test_a_row_of_another_process_between_two_of_one_send_is_not_overtaken(
    store: SqliteStore, theirs: SqliteStore, broker: SlowBroker, relay: Relay
) -> None:
    for database, name in ((store, "a"), (theirs, "b"), (store, "c")):
        commit(database, name)
    relay.send()
    assert under_way(broker) == []
    await flush_all(relay)
    assert await published(broker) == "abc"


async def test_a_broker_that_cannot_send_now_is_published_to(
    store: SqliteStore, broker: SlowBroker, relay: Relay
) -> None:
    broker.is_connected = False
    commit(store, "a")
    relay.send()
    await flush_all(relay)
    broker.is_connected = True
    commit(store, "b")
    relay.send()
    assert under_way(broker) == ["b"]
    broker.land()
    assert await published(broker) == "ab"


async def test_nothing_is_sent_at_once_while_something_is_published_the_long_way(
    store: SqliteStore, broker: SlowBroker, relay: Relay
) -> None:
    broker.may_publish = anyio.Event()
    commit(store, "a")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(relay.flush)
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        commit(store, "b")
        relay.send()
        assert under_way(broker) == []
        broker.may_publish.set()
    await flush_all(relay)
    assert await published(broker) == "ab"


async def test_no_more_is_under_way_than_may_wait(
    store: SqliteStore, broker: SlowBroker, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "BACKLOG_MAX", 3)
    for names in ("ab", "c", "d"):
        commit(store, *names)
        relay.send()
    assert under_way(broker) == ["ab", "c"]
    broker.land()
    broker.land()
    await flush_all(relay)
    assert await published(broker) == "abcd"


async def test_whoever_waits_for_what_is_under_way_hears_that_it_landed(
    store: SqliteStore, broker: SlowBroker, clock: VirtualClock
) -> None:
    relay = await with_all_under_way(store, broker, clock)
    clock.advance(60_000)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(relay.flush)
            for _ in range(10):
                await anyio.lowlevel.checkpoint()
            tasks.start_soon(relay.drain)
            for _ in range(10):
                await anyio.lowlevel.checkpoint()
            broker.land()
    assert (await published(broker), in_the_table(store)) == ("ab", "")


async def test_a_drain_waits_for_what_is_under_way(store: SqliteStore, broker: SlowBroker, relay: Relay) -> None:
    commit(store, "a")
    relay.send()
    is_drained = anyio.Event()

    async def drain() -> None:
        await relay.drain()
        is_drained.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(drain)
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        assert not is_drained.is_set()
        broker.land()
    assert (await published(broker), in_the_table(store)) == ("a", "")


class Readings:
    """Counts how often the table is read, in which step others may commit."""

    def __init__(self) -> None:
        self.count = 0
        self.meanwhile: Callable[[], None] = lambda: None

    async def offload(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        self.count += 1
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()  # the database is busy with a batch, and is read behind it
        return function(*args)


async def test_who_commits_as_much_at_once_as_is_read_at_once_comes_back_from_the_table_to_the_memory(
    store: SqliteStore, broker: SlowBroker, clock: VirtualClock
) -> None:
    readings = Readings()
    relay = Relay(store, broker, clock, readings.offload, batch_max=2, committed_max=10)
    assert await relay.flush() == 0
    clock.advance(60_000)
    readings.meanwhile = lambda: commit(store, "a", "b")
    await relay.flush()
    assert readings.count == 2
    commit(store, "c", "d")
    await flush_all(relay)
    commit(store, "e", "f")
    relay.send()
    assert under_way(broker) == ["ef"], "from memory again, and in the step in which it was committed"
    broker.land()
    assert readings.count == 3, "once more, to find nothing or all that is in memory as well"
    assert (await published(broker), in_the_table(store)) == ("abcdef", "")


async def test_what_lies_in_the_table_before_the_memory_goes_first_however_much_it_is(
    store: SqliteStore, theirs: SqliteStore, broker: SlowBroker, clock: VirtualClock
) -> None:
    commit(theirs, *"abcde")
    readings = Readings()
    relay = Relay(store, broker, clock, readings.offload, batch_max=2, committed_max=10)
    store.take_committed()
    commit(store, "f", "g")
    commit(theirs, "h")
    commit(store, "i")
    await flush_all(relay)
    assert (await published(broker), in_the_table(store)) == ("abcdefghi", "")


async def test_between_two_batches_of_a_flow_the_table_is_not_read(
    store: SqliteStore, theirs: SqliteStore, broker: SlowBroker, clock: VirtualClock
) -> None:
    readings = Readings()
    relay = Relay(store, broker, clock, readings.offload)
    assert await relay.flush() == 0
    for name in "abc":
        commit(store, name)
        relay.send()
        broker.land()
        clock.advance(relay_module.FLOWING_MS - 1)
        await flush_all(relay)
        await flush_all(relay)
    assert readings.count == 1, "at the start: a reading would wait for the batch and keep it from being sent"
    commit(theirs, "d")
    clock.advance(1)
    await flush_all(relay)
    assert await published(broker) == "abcd", "what others wrote, once the flow has stopped"
