"""The broker dies and comes back: what it acknowledged is there, and what it did not write whole is cut off."""

import random
import signal
import struct
import threading
from pathlib import Path

import pytest

from tests.wire.raw import (
    CREATE_STREAM,
    CREATE_TOPIC,
    OPTION_PERSISTED,
    SEND,
    STORE_OFFSET,
    RawClient,
    ident,
    send_body,
    target,
)
from tests.wire.running import running_broker

KILLS = 10
SENDERS = 4
PARTITIONS = 2
TOPICS = ("quick", "persisted")


class Ledger:
    """What the broker acknowledged, over all its lives."""

    def __init__(self) -> None:
        self.messages: dict[tuple[str, int, int], bytes] = {}
        self.offsets: dict[tuple[str, str, int], int] = {}
        self.lock = threading.Lock()
        self.enough = threading.Event()
        self.wanted = 0

    def send_until_the_end(self, port: int, sender: int, life: int) -> None:
        """Send and commit until the broker is gone. Batches of one to three messages, in turn to all partitions."""
        try:
            with RawClient(port) as client:
                for number in range(10**6):
                    topic, partition = TOPICS[number % 2], number // 2 % PARTITIONS
                    payloads = [f"{life}/{sender}/{number}/{part}".encode() for part in range(1 + number % 3)]
                    status, body = client.call(SEND, send_body("s", topic, partition, *payloads))
                    assert status == 0, status
                    base = struct.unpack_from("<Q", body, 16)[0]
                    consumer = f"consumer-{sender}"
                    # Noted before it is asked for: a commit whose answer is lost may have been made all the same.
                    stored = target(consumer, "s", topic, partition) + struct.pack("<QB", base, 1)
                    with self.lock:
                        for part, payload in enumerate(payloads):
                            self.messages[topic, partition, base + part] = payload
                        if len(self.messages) >= self.wanted:
                            self.enough.set()
                    status, _ = client.call(STORE_OFFSET, stored)
                    assert status == 0, status
                    with self.lock:
                        self.offsets[consumer, topic, partition] = base
        except OSError:
            return


def lost(ledger: Ledger, port: int) -> tuple[int, int]:
    """How many acknowledged messages and offsets are not there any more."""
    with RawClient(port) as client:
        found = {
            (topic, partition, offset): payload
            for topic in TOPICS
            for partition in range(PARTITIONS)
            for offset, payload in enumerate(client.payloads("s", topic, partition))
        }
        stored = {key: client.stored_offset(key[0], "s", key[1], key[2]) for key in ledger.offsets}
    messages = [key for key, payload in ledger.messages.items() if found.get(key) != payload]
    # Each sender's offsets only grow, so a larger one is a commit whose answer was lost.
    offsets = [key for key, offset in ledger.offsets.items() if (stored[key] or 0) < offset]
    return len(messages), len(offsets)


@pytest.mark.e2e
def test_ten_kills_under_load_lose_no_message_and_no_offset(tmp_path: Path) -> None:
    seed = 20_260_918
    chance = random.Random(seed)
    ledger = Ledger()
    for life in range(KILLS):
        with running_broker(tmp_path) as broker:
            if life == 0:
                create_topics(broker.port)
            assert lost(ledger, broker.port) == (0, 0), f"life {life}, seed {seed}"
            ledger.enough.clear()
            ledger.wanted = len(ledger.messages) + chance.randrange(50, 250)
            senders = [
                threading.Thread(target=ledger.send_until_the_end, args=(broker.port, sender, life))
                for sender in range(SENDERS)
            ]
            for sender in senders:
                sender.start()
            assert ledger.enough.wait(20), f"life {life}, seed {seed}: too few messages"
            broker.end(signal.SIGKILL)
            for sender in senders:
                sender.join(20)
    with running_broker(tmp_path) as broker:
        assert lost(ledger, broker.port) == (0, 0), f"seed {seed}"
        assert broker.end() == (0, "")
    assert len(ledger.messages) > KILLS * 50
    assert len(ledger.offsets) == SENDERS * len(TOPICS) * PARTITIONS


def create_topics(port: int) -> None:
    with RawClient(port) as client:
        assert client.call(CREATE_STREAM, b"\x01s")[0] == 0
        for topic, options in (("quick", b""), ("persisted", OPTION_PERSISTED)):
            name = bytes((len(topic),)) + topic.encode()
            body = ident("s") + struct.pack("<I", PARTITIONS) + name + options
            assert client.call(CREATE_TOPIC, body)[0] == 0


@pytest.mark.e2e
@pytest.mark.parametrize("torn", [b"\0" * 300, b"half a batch", b"\xff" * 5000])
def test_a_torn_end_is_cut_off_and_what_was_whole_stays(tmp_path: Path, torn: bytes) -> None:
    with running_broker(tmp_path) as broker:
        create_topics(broker.port)
        with RawClient(broker.port) as client:
            for payload in (b"one", b"two"):
                assert client.call(SEND, send_body("s", "quick", 0, payload))[0] == 0
            stored = target("c", "s", "quick", 0) + struct.pack("<QB", 1, 1)
            assert client.call(STORE_OFFSET, stored)[0] == 0
        broker.end(signal.SIGKILL)
    for path in (*tmp_path.glob("partitions/*/*"), *tmp_path.glob("*.journal")):
        with path.open("ab") as file:
            file.write(torn)
    with running_broker(tmp_path) as broker:
        with RawClient(broker.port) as client:
            assert client.payloads("s", "quick", 0) == [b"one", b"two"]
            assert client.stored_offset("c", "s", "quick", 0) == 1
            assert client.call(SEND, send_body("s", "quick", 0, b"three"))[0] == 0
        code, errors = broker.end()
    assert code == 0
    assert "cut off a torn end" in errors
    with running_broker(tmp_path) as broker, RawClient(broker.port) as client:
        assert client.payloads("s", "quick", 0) == [b"one", b"two", b"three"]


@pytest.mark.e2e
def test_a_batch_that_was_written_in_part_is_as_if_it_was_never_sent(tmp_path: Path) -> None:
    with running_broker(tmp_path) as broker:
        create_topics(broker.port)
        with RawClient(broker.port) as client:
            for payload in (b"one", b"two"):
                assert client.call(SEND, send_body("s", "quick", 0, payload))[0] == 0
        broker.end(signal.SIGKILL)
    (segment,) = [path for path in tmp_path.glob("partitions/*/*") if path.stat().st_size]
    with segment.open("r+b") as file:
        file.truncate(segment.stat().st_size - 1)
    with running_broker(tmp_path) as broker, RawClient(broker.port) as client:
        assert client.payloads("s", "quick", 0) == [b"one"]
        assert client.call(SEND, send_body("s", "quick", 0, b"again"))[0] == 0
        assert client.payloads("s", "quick", 0) == [b"one", b"again"]
