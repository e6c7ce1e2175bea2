"""How much is asked for at once, of a server that brings whatever it is asked for."""

import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import anyio
import anyio.abc
import pytest
from msgspec.structs import replace

from sagas.broker.iggy import IggyBroker
from sagas.broker.iggy_portion import READ_BYTES, Portion
from sagas.errors import BrokerUnavailable
from sagas.ports import Incoming, Outgoing, TopicSpec
from tests.broker.test_contract_iggy import CALL_TIMEOUT_S, embedded_server
from tests.broker.traffic import PATIENCE_S, numbers, outgoing

pytestmark = pytest.mark.anyio

FRAME_HEADER_BYTES = 256
LINE_BYTES_MAX = 300_000
"""What the line carries in time."""
LARGE = [Outgoing(id=outgoing(n).id, topic="orders", key="k", payload=bytes(20_000)) for n in range(100)]
SPEC = TopicSpec(name="orders", partitions=1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where an embedded broker is that reads one partition at a time."""
    with embedded_server(tmp_path_factory.mktemp("portion"), "--iggy-only") as running:
        yield running.connection_string


@pytest.fixture
async def line(server: str) -> AsyncIterator[str]:
    """The same over a line that never brings a reply that is large."""
    port = int(server.rpartition(":")[2])

    async def carry(near: anyio.abc.SocketStream) -> None:
        async with near, await anyio.connect_tcp("127.0.0.1", port) as far, anyio.create_task_group() as tasks:

            async def there() -> None:
                with suppress(anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
                    while True:
                        await far.send(await near.receive())
                tasks.cancel_scope.cancel()

            tasks.start_soon(there)
            with suppress(anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
                replies = bytearray()
                while True:
                    replies += await far.receive()
                    while len(replies) >= FRAME_HEADER_BYTES:
                        (size,) = struct.unpack_from("<I", replies, 48)
                        if size > LINE_BYTES_MAX:
                            await anyio.sleep_forever()  # until the client gives up
                        if len(replies) < size:
                            break
                        await near.send(bytes(replies[:size]))
                        del replies[:size]

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with anyio.create_task_group() as carrying:
        carrying.start_soon(listener.serve, carry)
        local = listener.extra(anyio.abc.SocketAttribute.local_port)
        yield f"iggy://iggy:iggy@127.0.0.1:{local}"
        carrying.cancel_scope.cancel()
    await listener.aclose()


async def test_a_backlog_of_large_messages_is_read_in_polls_of_a_bounded_size(server: str, tmp_path: Path) -> None:
    broker = IggyBroker.from_connection_string(server, stream=tmp_path.name)
    await broker.ensure([SPEC])
    count = 5 * READ_BYTES // len(LARGE[0].payload)
    await broker.publish([replace(LARGE[0], id=outgoing(number).id) for number in range(count)])
    subscription = await broker.subscribe("workers", ["orders"])
    polls = [await subscription.poll(5_000)]
    with anyio.fail_after(2 * PATIENCE_S):
        while not (await subscription.reading()).read:
            polls.append(await subscription.poll(5_000))
    assert [len(polled) for polled in polls if len(polled) > count / 4] == []
    # A poll that brought fewer than it was asked for has not read to the end for that.
    assert numbers([message for polled in polls for message in polled]) == list(range(count))
    await broker.close()


async def test_a_topic_that_does_not_come_in_time_is_scanned_in_smaller_polls(
    server: str, line: str, tmp_path: Path
) -> None:
    near = IggyBroker.from_connection_string(server, stream=tmp_path.name)
    await near.ensure([SPEC])
    await near.publish(LARGE)
    far = IggyBroker.from_connection_string(line, stream=tmp_path.name, call_timeout_s=CALL_TIMEOUT_S)
    scan = far.scan("orders")
    found = list[Incoming]()
    with anyio.fail_after(2 * PATIENCE_S):
        while len(found) < 100:
            with suppress(BrokerUnavailable):
                found += await scan.poll()
    assert numbers(found) == list(range(100))
    scan.close()
    await far.close()
    await near.close()


def test_so_many_are_asked_for_as_come_to_a_bounded_size() -> None:
    portion = Portion()
    assert portion.of(1_000) == 1_000, "nothing is known"
    portion.note_size(100, 100 * READ_BYTES)
    assert portion.of(1_000) == 1
    portion.note_size(10, READ_BYTES)
    assert portion.of(1_000) == 10
    portion.note_size(0, 0)
    assert portion.of(1_000) == 10
    portion.note_size(1, 1)
    assert portion.of(1_000) == 1_000


def test_what_did_not_come_is_asked_for_in_quarters_and_then_in_ever_more() -> None:
    portion = Portion()
    portion.note_failed(1_000)
    assert portion.of(1_000) == 250
    portion.note_failed(250)
    portion.note_failed(2)
    portion.note_failed(1)
    assert portion.of(1_000) == 1
    asked = list[int]()
    while portion.of(1_000) < 1_000:
        portion.note_came(portion.of(1_000))
        asked.append(portion.of(1_000))
    assert asked == [2, 4, 8, 16, 32, 64, 128, 256, 512, 1_000]
