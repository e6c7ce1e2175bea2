"""The server from outside: who is let in, what is refused, and how it stops."""

import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from sagas.broker.embedded.server import loopback_address
from sagas.errors import BrokerError
from tests.wire.raw import (
    CREATE_STREAM,
    CREATE_TOPIC,
    GET_TOPIC,
    LOGIN,
    PING,
    READ,
    SEND,
    RawClient,
    frame,
    ident,
    login_body,
    send_body,
    target,
)
from tests.wire.running import RunningBroker, running_broker
from tests.wire.test_broker_kill import create_topics

pytestmark = pytest.mark.e2e

PURGE_TOPIC = 135
CREATE_PARTITIONS = 136
DELETE_PARTITIONS = 137
ORDERS = ident("s") + ident("quick")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBroker]:
    """One broker for all stories that do not stop it."""
    with running_broker(tmp_path_factory.mktemp("broker")) as running:
        create_topics(running.port)
        yield running
        assert running.end()[0] == 0


def partitions(client: RawClient) -> list[tuple[int, int]]:
    """Id and number of messages of each partition of the topic."""
    status, body = client.call(READ, ORDERS, code=GET_TOPIC)
    assert status == 0
    count = struct.unpack_from("<I", body, 12)[0]
    rows = [struct.unpack_from("<IQIQQQ", body, len(body) - 40 * (count - number)) for number in range(count)]
    return [(row[0], row[5]) for row in rows]


def test_before_login_only_a_ping_is_answered(broker: RunningBroker) -> None:
    with RawClient(broker.port, is_logged_in=False) as client:
        assert client.call(READ, code=PING) == (0, b"")
        assert client.call(READ, ORDERS, code=GET_TOPIC) == (40, b"")
        assert client.call(SEND, send_body("s", "quick", 0, b"x")) == (40, b"")
        assert client.call(LOGIN, login_body())[0] == 0
        assert client.call(READ, ORDERS, code=GET_TOPIC)[0] == 0


def test_a_wrong_password_is_evicted_and_may_try_again(broker: RunningBroker) -> None:
    with RawClient(broker.port, is_logged_in=False) as client:
        client.socket.sendall(frame(LOGIN, login_body(password=b"nope")))
        eviction = client.socket.recv(256)
        assert (eviction[60], eviction[255]) == (13, 9)
        assert client.call(LOGIN, login_body())[0] == 0


@pytest.mark.parametrize(("operation", "code"), [(READ, 9999), (129, 0), (255, 0)])
def test_an_unknown_command_is_refused_and_the_connection_goes_on(
    broker: RunningBroker, operation: int, code: int
) -> None:
    with RawClient(broker.port) as client:
        assert client.call(operation, code=code) == (3, b"")
        assert client.call(READ, code=PING) == (0, b"")


def test_a_body_that_ends_early_is_refused_and_the_connection_goes_on(broker: RunningBroker) -> None:
    with RawClient(broker.port) as client:
        for operation, code in ((READ, 100), (READ, GET_TOPIC), (CREATE_TOPIC, 0), (SEND, 0), (CREATE_STREAM, 0)):
            assert client.call(operation, b"\x02", code=code) == (4, b"")
        assert client.call(READ, code=PING) == (0, b"")


def test_messages_that_do_not_add_up_are_refused(broker: RunningBroker) -> None:
    with RawClient(broker.port) as client:
        before = partitions(client)
        body = send_body("s", "quick", 0, b"harmed")
        assert client.call(SEND, body[:-1] + b"!") == (4025, b"")
        assert client.call(SEND, body[:-1]) == (4025, b"")
        assert client.call(SEND, body + b"!") == (4025, b"")
        assert partitions(client) == before


@pytest.mark.parametrize(
    "garbage",
    [b"GET / HTTP/1.1\r\n" + b"x" * 300, b"\xff" * 256, struct.pack("<48xI8xB195x", 65 * 1024 * 1024, 5)],
)
def test_garbage_ends_its_own_connection_only(broker: RunningBroker, garbage: bytes) -> None:
    with RawClient(broker.port) as other, RawClient(broker.port, is_logged_in=False) as client:
        client.socket.sendall(garbage)
        with suppress(ConnectionResetError):
            assert client.socket.recv(1) == b""
        assert other.call(READ, code=PING) == (0, b"")


def test_requests_sent_ahead_are_answered_in_their_order(broker: RunningBroker) -> None:
    with RawClient(broker.port) as client:
        for number in range(50):
            topic = "persisted" if number % 3 == 0 else "quick"
            client.socket.sendall(frame(SEND, send_body("s", topic, 1, b"%d" % number)))
            client.socket.sendall(frame(READ, code=PING))
        replies = [client.reply() for _ in range(100)]
        assert all(status == 0 for status, _ in replies)
        assert [len(body) for _, body in replies] == [24, 0] * 50
        assert client.payloads("s", "persisted", 1)[-17:] == [b"%d" % number for number in range(0, 50, 3)]


def test_a_client_that_does_not_read_does_not_hold_up_the_others(broker: RunningBroker) -> None:
    with RawClient(broker.port) as slow, RawClient(broker.port) as other:
        assert other.call(SEND, send_body("s", "quick", 0, b"z" * 1_000_000))[0] == 0
        poll = target("r", "s", "quick", 0) + struct.pack("<BQIB", 4, 0, 1, 0)
        for _ in range(50):
            slow.socket.sendall(frame(READ, poll, code=100))
        assert other.call(READ, code=PING) == (0, b"")
        sizes = {len(slow.reply()[1]) for _ in range(50)}
        assert len(sizes) == 1
        assert sizes.pop() > 1_000_000


def test_polls_cut_batches_at_both_ends(broker: RunningBroker) -> None:
    with RawClient(broker.port) as client:
        base = sum(count for _, count in partitions(client)[:1])
        for batch in ("abc", "def", "ghi"):
            assert client.call(SEND, send_body("s", "quick", 0, *(letter.encode() for letter in batch)))[0] == 0
        for first in range(9):
            for count in range(1, 10 - first):
                found = client.payloads("s", "quick", 0, base + first, count)
                assert b"".join(found) == b"abcdefghi"[first : first + count]


def test_a_topic_can_grow_shrink_and_be_emptied(broker: RunningBroker) -> None:
    with RawClient(broker.port) as client:
        assert client.call(CREATE_PARTITIONS, ORDERS + struct.pack("<I", 2)) == (0, bytes(4))
        assert [number for number, _ in partitions(client)] == [0, 1, 2, 3]
        assert client.call(SEND, send_body("s", "quick", 3, b"x"))[0] == 0
        assert partitions(client)[3] == (3, 1)
        assert client.call(DELETE_PARTITIONS, ORDERS + struct.pack("<I", 2))[0] == 0
        assert client.call(PURGE_TOPIC, ORDERS)[0] == 0
        assert partitions(client) == [(0, 0), (1, 0)]
        assert client.call(SEND, send_body("s", "quick", 0, b"first again"))[0] == 0
        assert client.payloads("s", "quick", 0) == [b"first again"]


def test_many_clients_share_the_syncs_of_a_persisted_topic(broker: RunningBroker) -> None:
    acknowledged: list[bytes] = []

    def send(sender: int) -> None:
        with RawClient(broker.port) as client:
            for number in range(20):
                payload = b"%d/%d" % (sender, number)
                assert client.call(SEND, send_body("s", "persisted", 0, payload))[0] == 0
                acknowledged.append(payload)

    senders = [threading.Thread(target=send, args=(number,)) for number in range(8)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join(20)
    with RawClient(broker.port) as client:
        assert sorted(client.payloads("s", "persisted", 0)) == sorted(acknowledged)
    assert len(acknowledged) == 160


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_cleanly_when_asked(tmp_path: Path, number: signal.Signals) -> None:
    with running_broker(tmp_path) as broker, RawClient(broker.port) as client:
        assert broker.end(number) == (0, "")
        assert client.socket.recv(1) == b""


def test_a_second_broker_on_the_same_directory_says_why_it_does_not_start(tmp_path: Path) -> None:
    with running_broker(tmp_path):
        command = [sys.executable, "-m", "sagas.broker.embedded", "--address", "127.0.0.1:0", "--data", str(tmp_path)]
        second = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    assert second.returncode == 1
    assert "another broker uses this directory" in second.stderr


@pytest.mark.parametrize("streams", [">/dev/full", ">&- 2>&- <&-"])
def test_nobody_need_read_what_it_says_for_it_to_serve(tmp_path: Path, streams: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    command = f'exec "{sys.executable}" -m sagas.broker.embedded --address 127.0.0.1:{port} --data "{tmp_path}"'
    with subprocess.Popen(["/bin/sh", "-c", f"{command} {streams}"]) as served:
        try:
            create_topics(when_it_serves(port, served))
        finally:
            served.terminate()
    assert served.returncode == 0


def when_it_serves(port: int, served: subprocess.Popen[bytes]) -> int:
    """The port, once somebody listens there."""
    until = time.monotonic() + 10
    while True:
        assert served.poll() is None, "it has ended"
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            assert time.monotonic() < until
            time.sleep(0.05)
        else:
            return port


def start_that_fails(data: Path, *before: str) -> str:
    """What a broker that does not start says on stderr."""
    command = [sys.executable, "-m", "sagas.broker.embedded", "--address", "127.0.0.1:0", "--data", str(data)]
    ended = subprocess.run([*before, *command], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1, ended.stderr
    return ended.stderr


def test_a_start_on_a_full_disk_is_one_line(tmp_path: Path) -> None:
    # A file may have at most 4 KiB: what is written ahead does not fit.
    said = start_that_fails(tmp_path, "sh", "-c", 'ulimit -f 8; exec "$@"', "sh")
    assert said.startswith(f"error: {tmp_path}: ")
    assert said.count("\n") == 1, said


def test_a_directory_where_a_file_belongs_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "metadata.journal").mkdir()
    said = start_that_fails(tmp_path)
    assert said.startswith(f"error: {tmp_path}: ")
    assert "metadata.journal" in said
    assert said.count("\n") == 1, said


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        command = [sys.executable, "-m", "sagas.broker.embedded", "--address", address, "--data", str(tmp_path)]
        second = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    assert second.returncode == 1
    assert f"cannot listen on {address}" in second.stderr


@pytest.mark.parametrize("address", ["0.0.0.0:8090", "192.168.1.5:8090", "example.org:8090", ":8090", "[::]:8090"])
def test_only_loopback_is_listened_on(address: str) -> None:
    with pytest.raises(BrokerError, match="loopback only"):
        loopback_address(address)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", "", f"::1:{'9' * 5_000}"])
def test_an_address_is_a_host_and_a_port(address: str) -> None:
    with pytest.raises(BrokerError, match="expected host:port"):
        loopback_address(address)


def test_loopback_has_several_names() -> None:
    assert loopback_address("localhost:0") == ("127.0.0.1", 0)
    assert loopback_address("[::1]:8090") == ("::1", 8090)
