"""The connection that goes past the client: in order, finite, and only on this machine."""

from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.abc
import msgspec
import pytest

from sagas.broker.connection_string import Credentials, IggyAddress
from sagas.broker.iggy_direct import DirectConnection, is_direct
from sagas.broker.iggy_errors import Refusal, Refused
from sagas.errors import BrokerError, BrokerUnavailable
from tests.wire.raw import PING, batch
from tests.wire.running import RunningBroker, running_broker
from tests.wire.test_broker_kill import create_topics
from tests.wire.test_together import READ_TOGETHER, SEND_TOGETHER, read_body, together

ME = 20
CALL_TIMEOUT_S = 5.0

pytestmark = pytest.mark.anyio


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RunningBroker]:
    with running_broker(tmp_path) as running:
        create_topics(running.port)
        yield running


def address(server: str, **others: object) -> IggyAddress:
    known = IggyAddress(server=server, credentials=Credentials(username="iggy", password="iggy"))
    return msgspec.structs.replace(known, **others)


def connection_to(server: str, timeout_s: float = CALL_TIMEOUT_S) -> DirectConnection:
    return DirectConnection(address(server), timeout_s)


@pytest.mark.parametrize("server", ["127.0.0.1:8090", "127.9.9.9:1", "[::1]:8090", "localhost:8090"])
def test_this_machine_is_spoken_to_directly(server: str) -> None:
    assert is_direct(address(server))


@pytest.mark.parametrize(
    "there",
    [
        address("10.0.0.1:8090"),
        address("broker.example:8090"),
        address("127.0.0.1:8090", is_tls=True),
        address("127.0.0.1:8090", credentials=Credentials(token="t")),
    ],
    ids=["another address", "a name", "TLS", "a token"],
)
def test_everything_else_is_the_clients(there: IggyAddress) -> None:
    assert not is_direct(there)


async def test_requests_under_way_together_are_answered_each_with_its_own(broker: RunningBroker) -> None:
    connection = connection_to(broker.address)
    found: dict[int, bytes] = {}

    async def ask(number: int, code: int, body: bytes) -> None:
        found[number] = await connection.request("ask", code, body)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, 0, READ_TOGETHER, read_body(30, ("quick", 0, 0)))
        tasks.start_soon(ask, 1, ME, b"")
        tasks.start_soon(ask, 2, PING, b"")
        tasks.start_soon(ask, 3, SEND_TOGETHER, together(("quick", 0, batch(b"a"))))
    assert (found[0], found[2], found[3]) == (b"", b"", b"")
    assert len(found[1]) > 4
    connection.close()


async def test_a_refusal_leaves_the_connection_as_it_was(broker: RunningBroker) -> None:
    connection = connection_to(broker.address)
    with pytest.raises(Refused, match="nonsense: status 3") as refused:
        await connection.request("nonsense", 9_999, b"")
    assert refused.value.refusal is Refusal.UNKNOWN_REQUEST
    me = await connection.request("me", ME, b"")
    assert await connection.request("me", ME, b"") == me
    connection.close()
    with pytest.raises(BrokerError, match="closed"):
        await connection.request("me", ME, b"")


async def test_a_caller_that_gives_up_leaves_a_new_connection_to_the_next(broker: RunningBroker) -> None:
    connection = connection_to(broker.address)
    before = await connection.request("me", ME, b"")
    with anyio.move_on_after(0.05):
        await connection.request("wait", READ_TOGETHER, read_body(5_000, ("quick", 0, 0)))
    assert await connection.request("me", ME, b"") != before
    connection.close()


async def test_a_server_that_is_gone_is_unavailable_and_found_again(tmp_path: Path) -> None:
    with running_broker(tmp_path) as broker:
        connection = connection_to(broker.address)
        await connection.request("ping", PING, b"")
    with pytest.raises(BrokerUnavailable):
        await connection.request("ping", PING, b"")
    with pytest.raises(BrokerUnavailable, match="cannot connect"):
        await connection.request("ping", PING, b"")
    connection.close()


async def test_a_name_that_is_not_let_in_is_told_that_there_are_no_such_requests(broker: RunningBroker) -> None:
    there = address(broker.address, credentials=Credentials(username="iggy", password="wrong"))
    with pytest.raises(Refused, match="not let in") as refused:
        await DirectConnection(there, CALL_TIMEOUT_S).request("ping", PING, b"")
    assert refused.value.refusal is Refusal.UNKNOWN_REQUEST


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n" * 20, b"", bytes(256)], ids=["http", "", "zeros"])
async def test_a_server_of_another_kind_is_not_taken_for_ours(said: bytes) -> None:
    async def answer(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            if said:
                await stream.send(said)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with anyio.create_task_group() as serving:
        serving.start_soon(listener.serve, answer)
        with pytest.raises(Refused, match="not let in"):
            await connection_to(f"127.0.0.1:{port}").request("ping", PING, b"")
        serving.cancel_scope.cancel()
    await listener.aclose()


async def test_a_server_that_says_nothing_is_unavailable_in_time() -> None:
    async def say_nothing(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await anyio.sleep_forever()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with anyio.create_task_group() as serving:
        serving.start_soon(listener.serve, say_nothing)
        with pytest.raises(BrokerUnavailable, match=r"no answer within 0\.1 s"):
            await connection_to(f"127.0.0.1:{port}", 0.1).request("ping", PING, b"")
        serving.cancel_scope.cancel()
    await listener.aclose()
