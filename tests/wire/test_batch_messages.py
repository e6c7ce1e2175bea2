"""Messages in batches, against bytes captured from the real client and against what we write ourselves."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from sagas.broker.batch_messages import decode_batches, encode_batch
from sagas.broker.batches import BATCH_HEADER_SIZE, narrow, verify_batch
from sagas.core.ids import text_of
from sagas.errors import BrokerError
from sagas.ports import Outgoing
from tests.wire.test_frames import CAPTURED_MESSAGES

texts = st.text(min_size=1, max_size=20)


def outgoing(payload: bytes = b"p", headers: dict[str, str] | None = None, number: int = 0) -> Outgoing:
    return Outgoing(id=text_of(1 + number), topic="t", key="k", payload=payload, headers=headers or {})


def in_batch(frames: bytes, count: int) -> bytes:
    """Frames as they would lie in a partition, 40 messages behind its start."""
    fields = (3, 40, 1_700_000_000_123_456, 0, BATCH_HEADER_SIZE + len(frames))
    return struct.pack("<QQQQQQI204x", *fields, 0, count) + frames


def with_headers(data: bytes) -> bytes:
    """A batch of one message with these bytes as its headers."""
    rest = struct.pack("<16sIIIIQ", bytes(range(16)), 0, 0, len(data), 1, 0) + b"p" + data
    return in_batch(struct.pack("<Q", xxh3_64_intdigest(rest)) + rest, 1)


def field(kind: int, value: bytes) -> bytes:
    return struct.pack("<BI", kind, len(value)) + value


def test_what_the_client_wrote_is_read() -> None:
    first, second = decode_batches("t", 3, in_batch(CAPTURED_MESSAGES, 2))
    assert (first.payload, first.headers, first.defect) == (b"abc", {"a": "1"}, "")
    assert (second.payload, second.headers) == (b"d", {})
    assert (first.offset, second.offset, first.partition, first.topic) == (40, 41, 3, "t")
    assert (first.timestamp_ms, second.id) == (1_700_000_000_123, "8233c80c-5bcb-69bc-aa4c-4c7d19c6ed15")


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=50), st.dictionaries(texts, texts, max_size=4)), min_size=1))
def test_what_we_write_is_a_batch_and_reads_the_same(contents: list[tuple[bytes, dict[str, str]]]) -> None:
    sent = [outgoing(payload, headers, number) for number, (payload, headers) in enumerate(contents)]
    written = encode_batch(sent)
    assert verify_batch(memoryview(written), 0).count == len(sent)
    read = decode_batches("t", 0, written)
    assert [(m.id, m.payload, m.headers, m.offset) for m in read] == [
        (m.id, m.payload, m.headers, number) for number, m in enumerate(sent)
    ]
    last = decode_batches("t", 0, narrow(written, len(sent) - 1, 1) + written)
    assert [message.offset for message in last] == [len(sent) - 1, *range(len(sent))]


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (1, b"raw", "raw"),
        (2, "żółw".encode(), "żółw"),
        (3, b"\1", "true"),
        (3, b"\0", "false"),
        (4, b"\xff", "-1"),
        (7, struct.pack("<q", -5), "-5"),
        (8, (-7).to_bytes(16, "little", signed=True), "-7"),
        (9, b"\xff", "255"),
        (13, (2**127).to_bytes(16, "little"), str(2**127)),
        (14, struct.pack("<f", 1.5), "1.5"),
        (15, struct.pack("<d", 0.1), "0.1"),
    ],
)
def test_values_of_every_kind_are_read_as_text(kind: int, value: bytes, text: str) -> None:
    (message,) = decode_batches("t", 0, with_headers(field(2, b"name") + field(kind, value)))
    assert (message.headers, message.defect) == ({"name": text}, "")


@pytest.mark.parametrize(
    "data",
    [
        field(2, b"\xff") + field(2, b"v"),
        field(2, b"n") + field(1, b"\xff"),
        field(2, b"n") + field(99, b"v"),
        field(2, b"n"),
        field(2, b"n") + field(2, b"value")[:-1],
        field(2, b"n") + field(14, b"v"),
        b"\2",
        field(2, b"n") + field(2, b""),
        field(2, b"") + field(2, b"v"),
        field(2, b"n") + field(2, b"v" * 256),
        field(2, b"n" * 256) + field(2, b"v"),
        field(2, b"n") + field(3, b"\1\1"),
        field(2, b"n") + field(6, b"\1\1\1"),
        field(13, b"\1") + field(2, b"v"),
        field(2, b"n") + field(14, struct.pack("<f", float("inf"))),
        field(2, b"n") + field(15, struct.pack("<d", float("nan"))),
    ],
    ids=[
        *("a name", "bytes", "an unknown kind", "no value", "cut off", "a short number", "too short"),
        *("an empty value", "an empty name", "a long value", "a long name", "a long truth", "three bytes of four"),
        *("a short name", "infinite", "not a number"),
    ],
)
def test_headers_that_cannot_be_read_are_a_defect_of_their_message(data: bytes) -> None:
    (message,) = decode_batches("t", 0, with_headers(data))
    assert message.headers == {}
    assert message.defect.startswith("headers: ")


@given(
    st.lists(st.sampled_from([{"a": "xyz"}, {"ab": "xy"}, {"abc": "x"}, {"a": "żx"}, {"a": "x", "b": "y"}]), min_size=1)
)
def test_headers_as_long_as_others_are_read_as_they_are(each: list[dict[str, str]]) -> None:
    written = encode_batch([outgoing(headers=headers, number=number) for number, headers in enumerate(each)])
    assert [message.headers for message in decode_batches("alike", 0, written)] == each


@pytest.mark.parametrize(
    ("data", "headers"),
    [
        (field(2, b"n") + field(2, b"\xff\xff"), None),
        (field(2, b"\xff") + field(2, b"va"), None),
        (field(2, b"n") + field(99, b"va"), None),
        (field(2, b"n") + field(10, b"\1\0"), {"n": "1"}),
        (field(2, b"nn") + field(2, b"v"), {"nn": "v"}),
        (field(2, b"n") + field(2, b"ww"), {"n": "ww"}),
    ],
    ids=["no text", "no name", "an unknown kind", "a number", "another name", "another value"],
)
def test_what_was_learned_of_headers_lets_no_others_pass(data: bytes, headers: dict[str, str] | None) -> None:
    for _ in range(2):
        (known,) = decode_batches("learned", 0, with_headers(field(2, b"n") + field(2, b"va")))
        (message,) = decode_batches("learned", 0, with_headers(data))
        assert known.headers == {"n": "va"}
        assert (message.headers, bool(message.defect)) == (headers or {}, headers is None)


def test_headers_of_ever_other_lengths_are_read_beyond_what_is_remembered() -> None:
    each = [{"n": "v" * size} for size in range(1, 200)]
    written = encode_batch([outgoing(headers=headers, number=number) for number, headers in enumerate(each)])
    for _ in range(2):
        assert [message.headers for message in decode_batches("many", 0, written)] == each


def test_what_is_at_the_bounds_is_sent_and_an_empty_value_left_out() -> None:
    headers = {"n" * 255: "v" * 255, "m" * 250: "v", "empty": ""}
    (message,) = decode_batches("t", 0, encode_batch([outgoing(headers=headers)]))
    assert message.headers == {"n" * 255: "v" * 255, "m" * 250: "v"}


@pytest.mark.parametrize(
    "message",
    [
        outgoing(b""),
        outgoing(headers={"n": "x" * 256}),
        outgoing(headers={"n" * 256: "x"}),
        outgoing(headers={"": "x"}),
        outgoing(headers={f"n{number}": "x" * 255 for number in range(400)}),
    ],
    ids=["payload", "value", "name", "no name", "all together"],
)
def test_what_iggy_would_refuse_is_named(message: Outgoing) -> None:
    with pytest.raises(BrokerError, match=message.id):
        encode_batch([outgoing(number=7), message])


@pytest.mark.parametrize("name", ["n" * 256, "", "b"], ids=["too long", "none", "sound"])
def test_a_header_without_a_value_stays_here_whatever_its_name(name: str) -> None:
    (message,) = decode_batches("t", 0, encode_batch([outgoing(headers={name: "", "a": "1", "z": "2"})]))
    assert message.headers == {"a": "1", "z": "2"}
