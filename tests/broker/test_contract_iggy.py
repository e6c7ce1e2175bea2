"""The broker contract on the real client: against the embedded server, the same without what Iggy has not, and a real
Iggy where one is named.

`IGGY_CONNECTION_STRING` names it. Then all contract tests run a second time; without it there is no such parameter.
"""

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import anyio
import anyio.abc
import msgspec
import pytest
from apache_iggy import IggyClient, SendMessage

from sagas.broker import iggy_subscription, iggy_together
from sagas.broker import iggy_wire as wire
from sagas.broker.connection_string import parse_connection_string
from sagas.broker.iggy import IggyBroker
from sagas.broker.iggy_connection import SETTLE_S, IggyConnection
from sagas.errors import BrokerUnavailable
from sagas.ports import Outgoing, TopicSpec
from sagas.records import FOREVER_S
from tests.broker.contract import BrokerContract, Connect, DeleteTopic
from tests.broker.reading_contract import ReadingContract
from tests.broker.sending_contract import Outcomes, SendingContract
from tests.broker.traffic import ORDERS, PATIENCE_S, key_of, numbers, outgoing, positions, read, read_and_commit, spread

REAL = os.environ.get("IGGY_CONNECTION_STRING", "")
SERVERS = ["embedded", "embedded, iggy only", *(["real"] if REAL else [])]
PURGE_TOPIC = 305
CALL_TIMEOUT_S = 0.7  # longer than two dials that fail


class EmbeddedServer:
    """The embedded server as a process of its own, on a port that stays the same over restarts."""

    def __init__(self, data: Path, *options: str) -> None:
        self._data = data
        self._options = options
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def connection_string(self) -> str:
        """Where it is."""
        return f"iggy://iggy:iggy@127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it and wait until it says that it is ready."""
        command = [sys.executable, "-m", "sagas.broker.embedded", "--address", f"127.0.0.1:{self._port}"]
        self._process = subprocess.Popen(
            [*command, "--data", str(self._data), *self._options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        said = ""
        deadline = time.monotonic() + PATIENCE_S
        # Straight from the pipe: of two lines that come together, a buffered reader keeps one that no `select` sees.
        while time.monotonic() < deadline and select.select([pipe], [], [], PATIENCE_S)[0]:
            heard = os.read(pipe, 4096).decode(errors="replace")
            said += heard
            port = re.search(r"127\.0\.0\.1:(\d+)\D", said)
            if port:
                self._port = int(port[1])
                return
            if not heard:
                break
        raise AssertionError(f"the embedded server did not become ready; it said:\n{said}")

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)


@contextmanager
def embedded_server(data: Path, *options: str) -> Generator[EmbeddedServer, None, None]:
    """A running server, killed at the end."""
    server = EmbeddedServer(data, *options)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The connection string of an embedded server for all tests that leave it running."""
    with embedded_server(tmp_path_factory.mktemp("embedded")) as server:
        yield server.connection_string


@pytest.fixture(scope="module")
def plain_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The same of one that has no request that Iggy has not."""
    with embedded_server(tmp_path_factory.mktemp("embedded"), "--iggy-only") as server:
        yield server.connection_string


class Opened(Protocol):
    """Makes brokers."""

    def __call__(self, connection_string: str, stream: str, call_timeout_s: float = 5.0) -> IggyBroker: ...


@pytest.fixture
async def opened() -> AsyncIterator[Opened]:
    """Makes brokers, and closes them all at the end."""
    brokers: list[IggyBroker] = []

    def open_one(connection_string: str, stream: str, call_timeout_s: float = 5.0) -> IggyBroker:
        broker = IggyBroker.from_connection_string(connection_string, stream=stream, call_timeout_s=call_timeout_s)
        brokers.append(broker)
        return broker

    yield open_one
    async with anyio.create_task_group() as closing:
        for broker in brokers:
            closing.start_soon(broker.close)


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> str:
    """The connection string of a server that a test leaves running."""
    if request.param == "real":
        return REAL
    where: str = request.getfixturevalue("shared_server" if request.param == "embedded" else "plain_server")
    return where


@pytest.fixture
def stream() -> str:
    """A stream that no other test has."""
    return f"contract-{uuid4().hex[:12]}"


class TestIggyBroker(BrokerContract, ReadingContract, SendingContract):
    """Each test has a stream of its own, so that all can share a server."""

    @pytest.fixture
    def connect(self, server: str, stream: str, opened: Opened) -> Connect:
        return lambda: opened(server, stream)

    @pytest.fixture
    def delete_topic(self, server: str, stream: str) -> DeleteTopic:
        return lambda topic: ask(server, lambda client: client.delete_topic(stream, topic))


async def ask(server: str, request: Callable[[IggyClient], Awaitable[object]]) -> None:
    """Do something that the port has no word for, on a connection of its own."""
    connection = IggyConnection(parse_connection_string(server), 5.0)
    await connection.call("ask", request)
    connection.close()
    await anyio.sleep(SETTLE_S)


@pytest.mark.anyio
async def test_headers_of_other_programs_become_text_or_a_defect(server: str, stream: str, opened: Opened) -> None:
    broker = opened(server, stream)
    await broker.ensure([ORDERS])
    mixed = SendMessage("a", user_headers={"text": "x", "yes": True, "seven": 7, "half": 0.5, "raw": b"abc"})
    broken = SendMessage("b", user_headers={"text": "x", "raw": b"\xff\xfe"})
    await ask(server, lambda client: client.send_messages(stream, "orders", 0, [mixed, broken]))
    first, second = await read(await broker.subscribe("workers", ["orders"]), 2)
    assert (first.defect, dict(first.headers)) == (
        "",
        {"text": "x", "yes": "true", "seven": "7", "half": "0.5", "raw": "abc"},
    )
    assert dict(second.headers) == {}
    assert "utf-8" in second.defect
    assert second.payload == b"b"


@pytest.mark.parametrize(
    ("there_s", "wanted_s", "said"),
    [
        (3_600, FOREVER_S, "topic 'orders' keeps messages for 1:00:00 and is meant to keep them for ever"),
        (3_600, 2 * 3_600, "topic 'orders' keeps messages for 1:00:00 and is meant to keep them for 2:00:00"),
        (3_600, 3_600, ""),
        (3_600, None, ""),
        (FOREVER_S, 3_600, ""),
    ],
)
@pytest.mark.anyio
async def test_a_topic_that_forgets_sooner_than_it_is_meant_to_is_named(
    server: str,
    stream: str,
    opened: Opened,
    caplog: pytest.LogCaptureFixture,
    there_s: int,
    wanted_s: int | None,
    said: str,
) -> None:
    await opened(server, stream).ensure([TopicSpec(name="orders", expiry_s=there_s)])
    await opened(server, stream).ensure([TopicSpec(name="orders", expiry_s=wanted_s)])
    assert caplog.text.count("meant to keep") == bool(said)
    assert said in caplog.text


@pytest.mark.anyio
async def test_a_group_that_is_deleted_under_its_member_is_made_again(server: str, stream: str, opened: Opened) -> None:
    broker = opened(server, stream)
    await broker.ensure([ORDERS])
    subscription = await broker.subscribe("workers", ["orders"])
    await broker.publish(spread(3))
    await read_and_commit(subscription, 3)
    await ask(server, lambda client: client.delete_consumer_group(stream, "orders", "workers"))
    # A new group has no offsets: everything comes again, and whoever reads knows it by its ids.
    assert numbers(await read(subscription, 3)) == [0, 1, 2]


@pytest.mark.parametrize("where", ["shared_server", "plain_server"])
@pytest.mark.anyio
async def test_a_partition_that_was_emptied_or_made_again_is_read_from_its_beginning(
    request: pytest.FixtureRequest, where: str, stream: str, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(iggy_subscription, "RESYNC_S", 0.0)
    # By the embedded broker: Iggy tells nobody that other messages have the offsets now.
    server: str = request.getfixturevalue(where)
    broker = opened(server, stream)
    await broker.ensure([ORDERS])
    topic = wire.name_bytes(stream) + wire.name_bytes("orders")
    subscription = await broker.subscribe("workers", ["orders"])
    await broker.publish(spread(9))
    found = await read(subscription, 9)
    await ask(server, lambda client: client.send_binary_request(PURGE_TOPIC, topic))
    await broker.publish(spread(12))
    # Offsets that are there again, of other messages.
    assert list(await subscription.commit(positions(found))) == positions(found)
    assert numbers(await read_and_commit(subscription, 12)) == list(range(12))
    await ask(server, lambda client: client.delete_partitions(stream, "orders", 1))
    await ask(server, lambda client: client.create_partitions(stream, "orders", 1))
    await broker.publish(spread(6))
    assert numbers(await read(subscription, 6)) == list(range(6))


@pytest.mark.anyio
async def test_partitions_that_are_removed_and_added_at_once_are_read_from_their_beginning(
    server: str, stream: str, opened: Opened
) -> None:
    broker = opened(server, stream)
    await broker.ensure([ORDERS])
    subscription = await broker.subscribe("workers", ["orders"])
    await broker.publish(spread(9))
    await read_and_commit(subscription, 9)
    await ask(server, lambda client: client.delete_partitions(stream, "orders", 1))
    await ask(server, lambda client: client.create_partitions(stream, "orders", 1))
    await broker.publish([outgoing(number, key_of(2)) for number in range(100, 115)])
    found = set[int]()
    with anyio.fail_after(PATIENCE_S):
        while not found >= set(range(100, 115)):
            found |= set(numbers(await subscription.poll(100)))


@pytest.mark.anyio
async def test_what_is_read_anew_because_its_offset_was_refused_comes_with_the_next_poll(
    server: str, stream: str, opened: Opened
) -> None:
    broker = opened(server, stream)
    await broker.ensure([ORDERS])
    subscription = await broker.subscribe("workers", ["orders"])
    await broker.publish([outgoing(number) for number in range(3)])
    found = await read(subscription, 3)
    await subscription.poll(10)
    await subscription.commit([msgspec.structs.replace(position, offset=999) for position in positions(found)])
    # Nothing new has come, and a poll that says that it has read everything has read these.
    assert numbers(await subscription.poll(10)) == [0, 1, 2]


@pytest.mark.anyio
async def test_a_poll_that_is_cancelled_takes_no_message_with_it(server: str, stream: str, opened: Opened) -> None:
    broker = opened(server, stream)
    await broker.ensure([ORDERS])
    subscription = await broker.subscribe("workers", ["orders"])
    await broker.publish(spread(30))
    found: set[int] = set()
    for attempt in range(10):
        with anyio.move_on_after(0.0003 * attempt):
            found.update(numbers(await subscription.poll(3)))
    with anyio.fail_after(PATIENCE_S):
        while len(found) < 30:
            found.update(numbers(await subscription.poll(100)))
    assert found == set(range(30))


@pytest.mark.anyio
async def test_a_killed_broker_is_unavailable_in_time_and_loses_nothing_when_it_is_back(
    tmp_path: Path, opened: Opened
) -> None:
    with embedded_server(tmp_path) as server:
        broker = opened(server.connection_string, "shop", CALL_TIMEOUT_S)
        await broker.ensure([ORDERS])
        await broker.publish(spread(6))
        subscription = await broker.subscribe("workers", ["orders"])
        found = await read_and_commit(subscription, 6)
        await broker.publish([outgoing(6), outgoing(7)])
        await read(subscription, 2)
        await ask(server.connection_string, lambda client: client.create_partitions("shop", "orders", 3))
        server.kill()
        for _ in range(2):  # The first call finds out, the second one knows.
            for call in (
                lambda: subscription.poll(1),
                lambda: subscription.commit(positions(found)),
                lambda: broker.publish([outgoing(8)]),
            ):
                with anyio.fail_after(CALL_TIMEOUT_S + 0.5), pytest.raises(BrokerUnavailable):
                    await call()
        server.start()
        await broker.publish([outgoing(8, key_of(5, 6))])
        # By the same objects, from the stored offsets, and with the partitions there are now.
        again = await read(subscription, 3)
        assert numbers(again) == [6, 7, 8]
        assert max(message.partition for message in again) == 5


@pytest.mark.anyio
async def test_a_broker_that_answers_nothing_is_given_up_in_time(opened: Opened) -> None:
    async def say_nothing(connection: anyio.abc.SocketStream) -> None:
        async with connection:
            await anyio.sleep_forever()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with anyio.create_task_group() as serving:
        serving.start_soon(listener.serve, say_nothing)
        broker = opened(f"iggy://iggy:iggy@127.0.0.1:{port}", "shop", CALL_TIMEOUT_S)
        for _ in range(2):
            with anyio.fail_after(CALL_TIMEOUT_S + 0.5), pytest.raises(BrokerUnavailable, match="no answer within"):
                await broker.publish([outgoing(1)])
        serving.cancel_scope.cancel()
    await listener.aclose()


@pytest.mark.anyio
async def test_a_broker_that_freezes_is_given_up_and_used_again_when_it_thaws(tmp_path: Path, opened: Opened) -> None:
    with embedded_server(tmp_path) as server:
        broker = opened(server.connection_string, "shop", CALL_TIMEOUT_S)
        await broker.ensure([ORDERS])
        subscription = await broker.subscribe("workers", ["orders"])
        await broker.publish([outgoing(0)])
        server.signal(signal.SIGSTOP)
        with pytest.raises(BrokerUnavailable, match="send"):
            await broker.publish([outgoing(1)])
        with anyio.move_on_after(0.1):
            await subscription.poll(1)
        # Nothing queues behind a request that was given up: both start afresh.
        with pytest.raises(BrokerUnavailable, match="connect"):
            await broker.publish([outgoing(1)])
        with pytest.raises(BrokerUnavailable, match="connect"):
            await subscription.poll(1)
        server.signal(signal.SIGCONT)
        await broker.publish([outgoing(1)])
        found: set[int] = set()
        with anyio.fail_after(PATIENCE_S):
            while 1 not in found:
                found.update(numbers(await subscription.poll(10)))
        # The send that nobody answered may have arrived as well: under the same id.
        assert found == {0, 1}


@pytest.mark.anyio
async def test_the_embedded_broker_is_sent_to_at_once_and_a_plain_one_never(
    shared_server: str, plain_server: str, stream: str, opened: Opened
) -> None:
    for where, is_prompt in ((shared_server, True), (plain_server, False)):
        broker, outcomes = opened(where, stream), Outcomes()
        await broker.ensure([ORDERS])
        assert not broker.send([outgoing(0)], outcomes.of("before anything")), "nothing is known of the topic"
        await broker.publish([outgoing(0)])
        assert broker.send([outgoing(1)], outcomes.of("then")) is is_prompt
        await outcomes.all_told(int(is_prompt))


@pytest.mark.anyio
async def test_a_plain_broker_is_sent_to_at_once_not_even_when_it_may_have_become_another(
    plain_server: str, stream: str, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(iggy_together, "ASK_AGAIN_S", 0.0)
    broker, outcomes = opened(plain_server, stream), Outcomes()
    await broker.ensure([ORDERS])
    for number in range(3):
        await broker.publish([outgoing(number)])
        assert not broker.send([outgoing(number)], outcomes.of("refused"))
    assert outcomes.told == []


@pytest.mark.anyio
async def test_headers_that_are_too_much_for_one_request_go_in_several(
    shared_server: str, stream: str, opened: Opened
) -> None:
    broker = opened(shared_server, stream)
    await broker.ensure([ORDERS])
    headers = {f"{number:03}" + "x" * 252: "y" * 255 for number in range(188)}
    await broker.publish(
        [
            Outgoing(id=outgoing(number).id, topic="orders", key=key_of(number % 2), payload=b"x", headers=headers)
            for number in range(710)  # 69 MB
        ]
    )
    assert await broker.lag("workers", ["orders"]) == {"orders": 710}


@pytest.mark.anyio
async def test_what_cannot_be_encoded_at_all_is_told_of_and_not_under_way_for_ever(
    shared_server: str, stream: str, opened: Opened
) -> None:
    broker, outcomes = opened(shared_server, stream), Outcomes()
    await broker.ensure([ORDERS])
    await broker.publish([outgoing(0)])
    half_a_pair = Outgoing(id=outgoing(1).id, topic="orders", key="k", payload=b"x", headers={"note": "\ud800"})
    assert broker.send([half_a_pair], outcomes.of("half a pair"))
    await outcomes.all_told(1)
    assert "UnicodeEncodeError" in str(outcomes.told[0][1])


@pytest.mark.anyio
async def test_what_is_under_way_to_a_broker_that_is_killed_is_told_to_be_unknown(
    tmp_path: Path, opened: Opened
) -> None:
    with embedded_server(tmp_path) as server:
        broker, outcomes = opened(server.connection_string, "s"), Outcomes()
        await broker.ensure([ORDERS])
        await broker.publish([outgoing(0)])
        server.signal(signal.SIGSTOP)
        for number in (1, 2):
            assert broker.send([outgoing(number)], outcomes.of(str(number)))
        server.kill()
        await outcomes.all_told(2)
        assert [type(error) for _, error in outcomes.told] == [BrokerUnavailable, BrokerUnavailable]
        assert not broker.send([outgoing(3)], outcomes.of("3")), "there is no connection any more"
