"""The one request that Iggy does not have: an answer when a message comes."""

import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.wire.raw import READ, SEND, RawClient, ident, send_body
from tests.wire.running import RunningBroker, running_broker
from tests.wire.test_broker_kill import create_topics

WAIT = 60_001
LONG_MS = 20_000
SOON_S = 5


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RunningBroker]:
    with running_broker(tmp_path) as running:
        create_topics(running.port)
        yield running


def wait_body(at_most_ms: int, *wanted: tuple[str, int, int], stream: str = "s") -> bytes:
    parts = [ident(topic) + struct.pack("<IQ", partition, offset) for topic, partition, offset in wanted]
    return ident(stream) + struct.pack("<I", at_most_ms) + b"".join(parts)


def places(body: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{len(body) // 4}I", body)


def test_what_is_there_is_told_at_once_by_its_place_in_the_request(broker: RunningBroker) -> None:
    with RawClient(broker.port) as client:
        client.call(SEND, send_body("s", "quick", 1, b"a", b"b"))
        client.call(SEND, send_body("s", "persisted", 0, b"c"))
        wanted = [("quick", 0, 0), ("quick", 1, 1), ("quick", 1, 2), ("persisted", 0, 0)]
        status, body = client.call(READ, wait_body(LONG_MS, *wanted), code=WAIT)
        assert (status, places(body)) == (0, (1, 3))


def test_a_message_releases_who_waits_for_its_partition_and_nobody_else(broker: RunningBroker) -> None:
    with RawClient(broker.port) as waiting, RawClient(broker.port) as elsewhere, RawClient(broker.port) as sender:
        waiting.send(READ, wait_body(LONG_MS, ("quick", 0, 0), ("persisted", 1, 0)), code=WAIT)
        elsewhere.send(READ, wait_body(200, ("quick", 1, 0)), code=WAIT)
        sender.call(SEND, send_body("s", "persisted", 1, b"a"))
        began = time.monotonic()
        assert places(waiting.reply()[1]) == (1,)
        assert time.monotonic() - began < SOON_S
        assert places(elsewhere.reply()[1]) == ()


def test_requests_behind_a_wait_are_served_after_it(broker: RunningBroker) -> None:
    with RawClient(broker.port) as client:
        client.send(READ, wait_body(30, ("quick", 0, 0)), code=WAIT)
        client.send(READ, code=1)
        assert client.reply() == (0, b"")
        assert client.reply() == (0, b"")


def test_a_client_that_goes_while_it_waits_is_forgotten(broker: RunningBroker) -> None:
    with RawClient(broker.port) as gone:
        gone.send(READ, wait_body(LONG_MS, ("quick", 0, 0)), code=WAIT)
    with RawClient(broker.port) as client:
        assert client.call(SEND, send_body("s", "quick", 0, b"a"))[0] == 0
        assert client.payloads("s", "quick", 0) == [b"a"]


@pytest.mark.parametrize(
    "body",
    [
        wait_body(5, ("nowhere", 0, 0)),
        wait_body(5, ("quick", 99, 0)),
        wait_body(5, ("quick", 0, 0), stream="nowhere"),
        wait_body(5, ("quick", 0, 0))[:-1],
        wait_body(5, *[("quick", 0, 0)] * 4_097),
        b"",
    ],
    ids=["no such topic", "no such partition", "no such stream", "cut off", "too many", "empty"],
)
def test_what_cannot_be_waited_for_is_refused_and_the_connection_goes_on(broker: RunningBroker, body: bytes) -> None:
    with RawClient(broker.port) as client:
        assert client.call(READ, body, code=WAIT)[0] != 0
        assert client.call(READ, code=1)[0] == 0
