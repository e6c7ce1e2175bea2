"""The four requests that Iggy does not have: several partitions read, written, and the rest, at once."""

import signal
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sagas.broker.batch_messages import decode_batches
from tests.wire.raw import CREATE_TOPIC, GET_OFFSET, READ, SEND, RawClient, batch, ident, send_body
from tests.wire.running import RunningBroker, running_broker
from tests.wire.test_broker_kill import create_topics

READ_TOGETHER = 60_002
SEND_TOGETHER = 60_003
EACH = 60_004
SEND_AHEAD = 60_005
STORE = 121
CREATE_GROUP = 139
JOIN = 148
ME = 20
SYNC = 606
LONG_MS = 20_000
SOON_S = 5


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RunningBroker]:
    with running_broker(tmp_path) as running:
        create_topics(running.port)
        yield running


def read_body(
    at_most_ms: int,
    *wanted: tuple[str, int, int],
    stream: str = "s",
    group: str = "g",
    member: int = 0,
    count_max: int = 1000,
) -> bytes:
    parts = [ident(topic) + struct.pack("<IQ", partition, offset) for topic, partition, offset in wanted]
    return ident(stream) + ident(group) + struct.pack("<III", member, at_most_ms, count_max) + b"".join(parts)


def together(*batches: tuple[str, int, bytes], stream: str = "s", count: int = 1) -> bytes:
    parts = [
        ident(topic) + struct.pack("<III", partition, count, len(content)) + content
        for topic, partition, content in batches
    ]
    return ident(stream) + b"".join(parts)


def join(client: RawClient, *topics: str) -> None:
    for topic in topics:
        where = ident("s") + ident(topic)
        client.call(CREATE_GROUP, where + b"\x01g")  # refused when it is there
        assert client.call(JOIN, where + ident("g"))[0] == 0
        assert client.call(READ, where + ident("g"), code=SYNC)[0] == 0


def number_of(client: RawClient) -> int:
    number: int = struct.unpack_from("<I", client.call(READ, code=ME)[1])[0]
    return number


def payloads(body: bytes) -> dict[int, list[bytes]]:
    """By the place in the request."""
    found: dict[int, list[bytes]] = {}
    at = 0
    while at < len(body):
        place, size = struct.unpack_from("<II", body, at)
        found[place] = [message.payload for message in decode_batches("t", 0, body[at + 8 : at + 8 + size])]
        at += 8 + size
    return found


# --------------------------------------------------------------------------- reading


def test_what_is_there_comes_at_once_by_its_place_in_the_request(broker: RunningBroker) -> None:
    with RawClient(broker.port) as client:
        join(client, "quick", "persisted")
        client.call(SEND, send_body("s", "quick", 1, b"a", b"b", b"c"))
        client.call(SEND, send_body("s", "persisted", 0, b"d"))
        wanted = [("quick", 0, 0), ("quick", 1, 1), ("quick", 1, 3), ("persisted", 0, 0)]
        status, body = client.call(READ, read_body(LONG_MS, *wanted), code=READ_TOGETHER)
        assert (status, payloads(body)) == (0, {1: [b"b", b"c"], 3: [b"d"]})


def test_no_more_messages_come_than_were_asked_for(broker: RunningBroker) -> None:
    with RawClient(broker.port) as client:
        join(client, "quick")
        for partition in range(2):
            client.call(SEND, send_body("s", "quick", partition, b"a", b"b"))
        wanted = [("quick", 0, 0), ("quick", 1, 0)]
        for count_max, found in ((3, {0: [b"a", b"b"], 1: [b"a"]}), (2, {0: [b"a", b"b"]}), (1, {0: [b"a"]}), (0, {})):
            body = client.call(READ, read_body(0, *wanted, count_max=count_max), code=READ_TOGETHER)[1]
            assert payloads(body) == found


def test_what_one_reply_cannot_hold_comes_with_the_next(broker: RunningBroker) -> None:
    with RawClient(broker.port) as client:
        join(client, "quick")
        sizes = (12_000_000, 60_000_000)
        for partition, size in enumerate(sizes):
            client.call(SEND, send_body("s", "quick", partition, bytes(size)))
        for wanted in ([("quick", 0, 0), ("quick", 1, 0)], [("quick", 1, 0), ("quick", 0, 0)]):
            body = client.call(READ, read_body(0, *wanted), code=READ_TOGETHER)[1]
            assert {place: len(found[0]) for place, found in payloads(body).items()} == {0: sizes[wanted[0][1]]}


def test_a_message_ends_the_wait_for_its_partition_and_no_other(broker: RunningBroker) -> None:
    with RawClient(broker.port) as waiting, RawClient(broker.port) as elsewhere, RawClient(broker.port) as sender:
        join(waiting, "quick", "persisted")
        number = number_of(waiting)
        waiting.send(READ, read_body(LONG_MS, ("quick", 0, 0), ("persisted", 1, 0)), code=READ_TOGETHER)
        elsewhere.send(READ, read_body(200, ("quick", 1, 0), member=number), code=READ_TOGETHER)
        sender.call(SEND, send_body("s", "persisted", 1, b"a"))
        began = time.monotonic()
        assert payloads(waiting.reply()[1]) == {1: [b"a"]}
        assert time.monotonic() - began < SOON_S
        assert elsewhere.reply() == (0, b"")


def test_a_partition_of_another_member_gives_nothing_and_is_waited_for(broker: RunningBroker) -> None:
    with RawClient(broker.port) as member, RawClient(broker.port) as stranger:
        join(member, "quick")
        member.call(SEND, send_body("s", "quick", 0, b"a"))
        stranger.send(READ, read_body(100, ("quick", 0, 0)), code=READ_TOGETHER)
        member.call(SEND, send_body("s", "quick", 0, b"b"))
        assert stranger.reply() == (0, b"")
        asked = read_body(0, ("quick", 0, 0), member=number_of(member))
        assert payloads(stranger.call(READ, asked, code=READ_TOGETHER)[1]) == {0: [b"a", b"b"]}


def test_a_member_that_has_gone_is_given_nothing(broker: RunningBroker) -> None:
    with RawClient(broker.port) as member:
        join(member, "quick")
        number = number_of(member)
    with RawClient(broker.port) as client:
        client.call(SEND, send_body("s", "quick", 0, b"a"))
        body = read_body(10, ("quick", 0, 0), member=number)
        assert client.call(READ, body, code=READ_TOGETHER) == (0, b"")


def test_a_topic_that_is_deleted_while_it_is_waited_for_gives_nothing(broker: RunningBroker) -> None:
    with RawClient(broker.port) as waiting, RawClient(broker.port) as other:
        join(waiting, "quick")
        waiting.send(READ, read_body(200, ("quick", 0, 0)), code=READ_TOGETHER)
        assert other.call(134, ident("s") + ident("quick"))[0] == 0
        assert waiting.reply() == (0, b"")


def test_a_topic_that_is_made_again_is_another_one_for_who_asks_as_before(broker: RunningBroker) -> None:
    with RawClient(broker.port) as client:
        asked, sent = read_body(0, ("quick", 0, 0)), together(("quick", 0, batch(b"new")))
        join(client, "quick")
        client.call(READ, together(("quick", 0, batch(b"old"))), code=SEND_TOGETHER)
        assert payloads(client.call(READ, asked, code=READ_TOGETHER)[1]) == {0: [b"old"]}
        where = ident("s") + ident("quick")
        assert client.call(134, where)[0] == 0
        assert client.call(READ, asked, code=READ_TOGETHER)[0] != 0
        assert client.call(READ, sent, code=SEND_TOGETHER)[0] != 0
        assert client.call(CREATE_TOPIC, ident("s") + struct.pack("<I", 2) + b"\x05quick")[0] == 0
        join(client, "quick")
        assert client.call(READ, asked, code=READ_TOGETHER) == (0, b"")
        client.call(READ, sent, code=SEND_TOGETHER)
        assert payloads(client.call(READ, asked, code=READ_TOGETHER)[1]) == {0: [b"new"]}


def test_each_request_waits_for_its_own_partitions_and_its_own_time(broker: RunningBroker) -> None:
    with RawClient(broker.port) as client, RawClient(broker.port) as sender:
        join(client, "quick")
        # A timer that a wait leaves behind may be later, or earlier, than the next one's.
        client.send(READ, read_body(LONG_MS, ("quick", 0, 0)), code=READ_TOGETHER)
        sender.call(READ, together(("quick", 0, batch(b"a"))), code=SEND_TOGETHER)
        assert payloads(client.reply()[1]) == {0: [b"a"]}
        began = time.monotonic()
        assert client.call(READ, read_body(50, ("quick", 1, 0)), code=READ_TOGETHER) == (0, b"")
        assert 0.05 <= time.monotonic() - began < SOON_S
        client.send(READ, read_body(20, ("quick", 1, 0)), code=READ_TOGETHER)
        sender.call(READ, together(("quick", 0, batch(b"b"))), code=SEND_TOGETHER)
        assert client.reply() == (0, b"")
        client.send(READ, read_body(LONG_MS, ("quick", 1, 0)), code=READ_TOGETHER)
        sender.call(READ, together(("quick", 1, batch(b"c"))), code=SEND_TOGETHER)
        assert payloads(client.reply()[1]) == {0: [b"c"]}


def test_requests_behind_a_wait_are_served_after_it(broker: RunningBroker) -> None:
    with RawClient(broker.port) as client:
        client.send(READ, read_body(30, ("quick", 0, 0)), code=READ_TOGETHER)
        client.send(READ, code=1)
        assert client.reply() == (0, b"")
        assert client.reply() == (0, b"")


def test_a_message_that_ends_many_waits_with_sends_behind_them_disturbs_nobody(broker: RunningBroker) -> None:
    # Each of these sends ends the waits of all the others, and so on.
    with RawClient(broker.port) as member, ExitStack() as opened:
        join(member, "quick")
        number = number_of(member)
        waiting = [opened.enter_context(RawClient(broker.port)) for _ in range(200)]
        for client in waiting:
            client.send(READ, read_body(LONG_MS, ("quick", 0, 0), member=number), code=READ_TOGETHER)
            client.send(SEND, send_body("s", "quick", 0, b"behind"))
        assert member.call(SEND, send_body("s", "quick", 0, b"first"))[0] == 0
        for client in waiting:
            status, body = client.reply()
            assert (status, payloads(body)[0][0]) == (0, b"first")
            assert client.reply()[0] == 0
        assert member.payloads("s", "quick", 0) == [b"first", *[b"behind"] * 200]


def test_a_client_that_goes_while_it_waits_is_forgotten(broker: RunningBroker) -> None:
    with RawClient(broker.port) as gone:
        gone.send(READ, read_body(LONG_MS, ("quick", 0, 0)), code=READ_TOGETHER)
    with RawClient(broker.port) as client:
        assert client.call(SEND, send_body("s", "quick", 0, b"a"))[0] == 0
        assert client.payloads("s", "quick", 0) == [b"a"]


@pytest.mark.parametrize(
    "body",
    [
        read_body(5, ("nowhere", 0, 0)),
        read_body(5, ("quick", 99, 0)),
        read_body(5, ("quick", 0, 0), stream="nowhere"),
        read_body(5, ("quick", 0, 0))[:-1],
        read_body(5, *[("quick", 0, 0)] * 4_097),
        b"",
    ],
    ids=["no such topic", "no such partition", "no such stream", "cut off", "too many", "empty"],
)
def test_what_cannot_be_read_is_refused_and_the_connection_goes_on(broker: RunningBroker, body: bytes) -> None:
    with RawClient(broker.port) as client:
        assert client.call(READ, body, code=READ_TOGETHER)[0] != 0
        assert client.call(READ, code=1)[0] == 0


# --------------------------------------------------------------------------- sending


@pytest.mark.parametrize("code", [SEND_TOGETHER, SEND_AHEAD], ids=["together", "ahead"])
def test_several_partitions_get_their_batches_and_keep_them(tmp_path: Path, code: int) -> None:
    with running_broker(tmp_path) as broker:
        create_topics(broker.port)
        with RawClient(broker.port) as client:
            sent = together(("quick", 0, batch(b"a")), ("persisted", 1, batch(b"b")), ("quick", 1, batch(b"c")))
            assert client.call(READ, sent, code=code) == (0, b"")
    with running_broker(tmp_path) as again, RawClient(again.port) as client:
        found = [client.payloads("s", topic, partition) for topic, partition in (("quick", 0), ("persisted", 1))]
        assert found == [[b"a"], [b"b"]]
        assert client.payloads("s", "quick", 1) == [b"c"]


def test_who_waits_for_several_partitions_gets_all_that_came_together(broker: RunningBroker) -> None:
    with RawClient(broker.port) as waiting, RawClient(broker.port) as sender:
        join(waiting, "quick")
        waiting.send(READ, read_body(LONG_MS, ("quick", 0, 0), ("quick", 1, 0)), code=READ_TOGETHER)
        sender.call(READ, together(("quick", 0, batch(b"a")), ("quick", 1, batch(b"b"))), code=SEND_TOGETHER)
        assert payloads(waiting.reply()[1]) == {0: [b"a"], 1: [b"b"]}


GOOD = ("quick", 0, batch(b"a"))


@pytest.mark.parametrize(
    "body",
    [
        together(GOOD, ("nowhere", 0, batch(b"a"))),
        together(GOOD, ("quick", 99, batch(b"a"))),
        together(GOOD, ("quick", 1, batch(b"a")[:-1])),
        together(GOOD, ("quick", 1, batch(b"a")[:-1] + b"b")),
        together(GOOD, ("quick", 1, batch(b"a", b"b"))),
        together(GOOD, GOOD),
        together(GOOD)[:-1],
        together(GOOD, stream="nowhere"),
    ],
    ids=["topic", "partition", "cut off", "changed", "another count", "twice", "a cut request", "stream"],
)
def test_when_one_batch_is_refused_none_is_appended(broker: RunningBroker, body: bytes) -> None:
    with RawClient(broker.port) as client:
        for code in (SEND_TOGETHER, SEND_AHEAD):
            assert client.call(READ, body, code=code)[0] != 0
        assert client.payloads("s", "quick", 0) == []


def test_a_full_segment_is_left_behind_by_a_send_of_several(tmp_path: Path) -> None:
    name = b"segment_size"
    option = struct.pack("<BI", 2, len(name)) + name + struct.pack("<BIQ", 12, 8, 1_000)
    with running_broker(tmp_path) as broker:
        create_topics(broker.port)
        with RawClient(broker.port) as client:
            assert client.call(CREATE_TOPIC, ident("s") + struct.pack("<I", 2) + b"\x05small" + option)[0] == 0
            for _ in range(5):
                sent = together(("small", 0, batch(b"x" * 600)), ("small", 1, batch(b"y")), ("quick", 0, batch(b"z")))
                assert client.call(READ, sent, code=SEND_TOGETHER)[0] == 0
    with running_broker(tmp_path) as again, RawClient(again.port) as client:
        found = [
            client.payloads("s", topic, partition) for topic, partition in (("small", 0), ("small", 1), ("quick", 0))
        ]
        assert found == [[b"x" * 600] * 5, [b"y"] * 5, [b"z"] * 5]


# --------------------------------------------------------------------------- of a member


def each(*requests: tuple[int, bytes]) -> bytes:
    return b"".join(struct.pack("<II", code, len(body)) + body for code, body in requests)


def store(topic: str, partition: int, offset: int) -> tuple[int, bytes]:
    where = b"\x02" + ident("g") + ident("s") + ident(topic) + struct.pack("<BI", 1, partition)
    return STORE, where + struct.pack("<QB", offset, 1)


def parts(body: bytes) -> list[tuple[int, bytes]]:
    found: list[tuple[int, bytes]] = []
    at = 0
    while at < len(body):
        status, size = struct.unpack_from("<II", body, at)
        found.append((status, body[at + 8 : at + 8 + size]))
        at += 8 + size
    return found


def test_offsets_are_stored_and_outlive_the_broker_and_one_that_is_refused_stands_alone(tmp_path: Path) -> None:
    with running_broker(tmp_path) as broker:
        create_topics(broker.port)
        with RawClient(broker.port) as member:
            join(member, "quick", "persisted")
            member.call(READ, together(("quick", 0, batch(b"a")), ("persisted", 1, batch(b"b"))), code=SEND_TOGETHER)
            asked = each(store("quick", 0, 0), store("quick", 0, 9), store("nowhere", 0, 0), store("persisted", 1, 0))
            status, body = member.call(READ, asked, code=EACH)
            assert (status, parts(body)) == (0, [(0, b""), (4100, b""), (20, b""), (0, b"")])
        broker.end(signal.SIGKILL)
    with running_broker(tmp_path) as again, RawClient(again.port) as client:
        for topic, partition in (("quick", 0), ("persisted", 1)):
            where = store(topic, partition, 0)[1][:-9]
            assert len(client.call(READ, where, code=GET_OFFSET)[1]) == 20


def test_a_member_asks_for_all_its_partitions_at_once(broker: RunningBroker) -> None:
    with RawClient(broker.port) as client:
        join(client, "quick")
        asked = each(*((SYNC, ident("s") + ident(topic) + ident("g")) for topic in ("quick", "persisted")))
        (quick, persisted) = parts(client.call(READ, asked, code=EACH)[1])
        assert (quick[0], len(quick[1])) == (0, 8 + 4 + 2 * 4)
        assert persisted == (0, b"")


@pytest.mark.parametrize(
    "body", [each((1, b"")), each((SYNC, b""), (EACH, b"")), each((SYNC, b"x"))[:-1]], ids=["code", "itself", "cut off"]
)
def test_what_is_no_request_of_a_member_is_refused_as_a_whole(broker: RunningBroker, body: bytes) -> None:
    with RawClient(broker.port) as client:
        assert client.call(READ, body, code=EACH)[0] == 4


def test_a_server_that_is_iggy_only_knows_none_of_them(tmp_path: Path) -> None:
    with running_broker(tmp_path, "--iggy-only") as broker, RawClient(broker.port) as client:
        for code in (READ_TOGETHER, SEND_TOGETHER, EACH, SEND_AHEAD):
            assert client.call(READ, b"", code=code)[0] == 3
