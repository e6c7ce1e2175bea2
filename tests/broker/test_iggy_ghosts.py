"""A group whose member is gone though the server has it still, as a real Iggy has after a restart, is made again."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from sagas.broker import iggy_ghosts, iggy_subscription
from sagas.broker.embedded.commands import Broker
from sagas.broker.embedded.connection import Connection
from sagas.broker.embedded.disk import Disk
from sagas.broker.embedded.flusher import Flusher
from sagas.broker.iggy import IggyBroker
from sagas.broker.log import Log
from sagas.errors import BrokerError
from sagas.ports import Subscription
from tests.broker.traffic import ORDERS, PATIENCE_S, numbers, outgoing, positions, read_and_commit, spread

pytestmark = pytest.mark.anyio

NOBODY = 1_000_000


def _now_us() -> int:
    return time.time_ns() // 1000


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000


class Server:
    """An embedded broker in this process, whose log can be reached into."""

    def __init__(self, data: Path) -> None:
        self._disk = Disk(data)
        self._broker = Broker(disk=self._disk, now_us=_now_us, now_ms=_now_ms, started_us=_now_us(), is_iggy_only=True)
        self._flusher = Flusher()
        self._connections: dict[int, Connection] = {}
        self._numbers = 0
        self.address = ""

    @property
    def log(self) -> Log[None]:
        """What it has."""
        return self._disk.log

    async def run(self, is_ready: asyncio.Event) -> None:
        """Serve until cancelled."""
        server = await asyncio.get_running_loop().create_server(self._connection, "127.0.0.1", 0)
        self.address = f"iggy://iggy:iggy@127.0.0.1:{server.sockets[0].getsockname()[1]}"
        is_ready.set()
        try:
            await self._flusher.run()
        finally:
            server.close()
            for connection in list(self._connections.values()):
                connection.abort()
            while self._connections:
                await anyio.lowlevel.checkpoint()
            self._disk.close()

    def _connection(self) -> Connection:
        self._numbers += 1
        return Connection(self._broker, self._flusher, self._connections, self._numbers, self._fail)

    def _fail(self, error: OSError) -> None:
        raise AssertionError(error)

    def haunt(self) -> None:
        """A member joins that no connection is behind."""
        self.log.topic("shop", "orders").group("workers").join(NOBODY, 0)


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    """A running one; members look at once, and at every call."""
    monkeypatch.setattr(iggy_ghosts, "LOOK_S", 0.0)
    monkeypatch.setattr(iggy_subscription, "RESYNC_S", 0.0)
    made, is_ready = Server(tmp_path), asyncio.Event()
    running = asyncio.ensure_future(made.run(is_ready))
    await is_ready.wait()
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def read_by(members: Sequence[Subscription], count: int) -> list[int]:
    """Have members poll and commit in turn until there are `count` messages; which they are, each once."""
    found = set[int]()
    with anyio.fail_after(PATIENCE_S):
        while len(found) < count:
            for member in members:
                polled = await member.poll(100)
                await member.commit(positions(polled))
                found |= set(numbers(polled))
    return sorted(found)


async def test_partitions_of_a_member_that_is_gone_are_read_and_nothing_comes_again(server: Server) -> None:
    broker = IggyBroker.from_connection_string(server.address, stream="shop")
    await broker.ensure([ORDERS])
    before = await broker.subscribe("workers", ["orders"])
    await broker.publish(spread(9))
    assert numbers(await read_and_commit(before, 9)) == list(range(9))
    await before.close()
    server.haunt()
    await broker.publish([outgoing(100 + number, message.key) for number, message in enumerate(spread(9))])
    member = await broker.subscribe("workers", ["orders"])
    assert await read_by([member], 9) == list(range(100, 109))
    assert await broker.owners("workers", "orders") == [(0, 1, 2)]
    await broker.close()


async def test_several_members_that_find_it_at_once_skip_nothing_and_share_the_partitions(server: Server) -> None:
    brokers = [IggyBroker.from_connection_string(server.address, stream="shop") for _ in range(3)]
    await brokers[0].ensure([ORDERS])
    first = await brokers[0].subscribe("workers", ["orders"])
    await brokers[0].publish(spread(9))
    await read_and_commit(first, 9)
    server.haunt()
    members = [first, *[await broker.subscribe("workers", ["orders"]) for broker in brokers[1:]]]
    await brokers[0].publish([outgoing(100 + number, message.key) for number, message in enumerate(spread(30))])
    found = set[int]()

    async def work(member: Subscription) -> None:
        while not found >= set(range(100, 130)):
            with suppress(BrokerError):  # the group is not there for a moment: a worker tries again
                polled = await member.poll(3)
                found.update(numbers(polled))
                await member.commit(positions(polled))

    with anyio.fail_after(PATIENCE_S):
        async with anyio.create_task_group() as working:
            for member in members:
                working.start_soon(work, member)
        while sorted(await brokers[0].owners("workers", "orders")) != [(0,), (1,), (2,)]:
            for member in members:
                with suppress(BrokerError):
                    await member.poll(3)
    for broker in brokers:
        await broker.close()


async def test_a_group_without_a_ghost_is_left_alone(server: Server) -> None:
    broker, other = (IggyBroker.from_connection_string(server.address, stream="shop") for _ in range(2))
    await broker.ensure([ORDERS])
    members = [await each.subscribe("workers", ["orders"]) for each in (broker, other)]
    group = server.log.topic("shop", "orders").group("workers")
    await broker.publish(spread(9))
    assert await read_by(members, 9) == list(range(9))
    assert server.log.topic("shop", "orders").group("workers") is group
    for each in (broker, other):
        await each.close()


async def test_a_ghost_that_comes_back_is_said_and_the_group_is_not_made_again_for_ever(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    broker = IggyBroker.from_connection_string(server.address, stream="shop")
    await broker.ensure([ORDERS])
    member = await broker.subscribe("workers", ["orders"])
    with anyio.fail_after(PATIENCE_S):
        while "nobody reads their partitions" not in caplog.text:
            if len(server.log.topic("shop", "orders").group("workers").slots) == 1:
                server.haunt()
            await member.poll(3)
    assert caplog.text.count("is made again") == 1
    await broker.close()
