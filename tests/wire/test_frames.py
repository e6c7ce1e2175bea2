"""The bytes of the protocol, against bytes captured from the real client."""

import struct

import pytest
from xxhash import xxh32_intdigest

from sagas.broker.batches import (
    BATCH_HEADER_SIZE,
    BadBatch,
    narrow,
    read_header,
    verify_batch,
    verify_frames,
)
from sagas.broker.embedded.frames import (
    FRAME_SIZE_MAX,
    BadFrame,
    BodyReader,
    FrameReader,
    encode_eviction,
    encode_reply,
    name8,
)
from sagas.broker.embedded.options import TopicOptions, parse_options
from sagas.broker.log import Refusal, Status
from tests.wire.raw import CREATE_STREAM, LOGIN, OPTION_PERSISTED, PING, READ, SEND, batch, frame, ident, login_body

CAPTURED_LOGIN = bytes.fromhex("002c000008727573742d73646b06302e31312e300469676779046967677900000000")

CAPTURED_MESSAGES = bytes.fromhex(
    "93f66adddccc81ba72869382ef154e419eedcb0c3f6cc97500000000000000000c000000030000000000000000000000"
    "616263020100000061090100000001"
    "ef71e7c88d01eb4b15edc6197d4c4caabc69cb5b0cc8338201000000020000000000000001000000000000000000000064"
)


def test_the_login_is_read_as_captured() -> None:
    assert login_body() == CAPTURED_LOGIN
    body = BodyReader(CAPTURED_LOGIN)
    assert (body.u32(), body.name8(), body.name8(), body.name8()) == (0x2C00, "rust-sdk", "0.11.0", "iggy")
    assert body.take(body.u8()) == b"iggy"
    assert body.u32() == 0
    body.finish()


@pytest.mark.parametrize(
    ("key", "digest"), [("key-1", 0x39636A09), ("a", 0x550D7456), ("user-1", 0xA43FB6AD), ("", 0x02CC5D05)]
)
def test_the_hash_of_keys_and_consumers_is_xxh32(key: str, digest: int) -> None:
    assert xxh32_intdigest(key.encode()) == digest


def test_requests_are_cut_from_any_pieces() -> None:
    stream = frame(LOGIN, login_body()) + frame(READ, code=PING, number=7) + frame(SEND, b"x" * 1000)
    for size in (1, 255, 256, 257, len(stream)):
        reader = FrameReader()
        requests = [request for at in range(0, len(stream), size) for request in reader.feed(stream[at : at + size])]
        assert [(request.operation, request.code, request.number) for request in requests] == [
            (LOGIN, 0, 0),
            (READ, PING, 7),
            (SEND, 0, 0),
        ]
        assert [request.body for request in requests] == [login_body(), b"", b"x" * 1000]


@pytest.mark.parametrize("size", [0, 255, FRAME_SIZE_MAX + 1, 2**32 - 1])
def test_a_size_out_of_range_is_no_frame(size: int) -> None:
    header = bytearray(frame(READ))
    struct.pack_into("<I", header, 48, size)
    with pytest.raises(BadFrame):
        list(FrameReader().feed(bytes(header)))


def test_another_command_than_a_request_is_no_frame() -> None:
    with pytest.raises(BadFrame):
        list(FrameReader().feed(frame(READ, command=8)))


def test_a_reply_has_its_fields_where_the_client_looks_for_them() -> None:
    (request,) = FrameReader().feed(frame(READ, code=PING, number=7))
    reply = encode_reply(request, b"body")
    assert (len(reply), reply[48:52], reply[60], reply[208]) == (260, struct.pack("<I", 260), 8, READ)
    assert (reply[160:176], reply[200:208], reply[216:220]) == (bytes(range(16)), struct.pack("<Q", 7), bytes(4))
    assert reply[256:] == b"body"


def test_only_some_operations_begin_their_reply_with_a_list_of_errors() -> None:
    (change,) = FrameReader().feed(frame(CREATE_STREAM))
    (send,) = FrameReader().feed(frame(SEND))
    assert encode_reply(change, b"body")[256:] == bytes(4) + b"body"
    assert encode_reply(send, b"body", b" and more")[256:] == b"body and more"


def test_a_refusal_is_a_status_without_a_body() -> None:
    (request,) = FrameReader().feed(frame(CREATE_STREAM))
    reply = encode_reply(request, b"body", status=Status.STREAM_EXISTS)
    assert (len(reply), struct.unpack_from("<I", reply, 216)[0]) == (256, 1012)


def test_an_eviction_carries_its_reason_in_the_last_byte() -> None:
    (request,) = FrameReader().feed(frame(LOGIN))
    eviction = encode_eviction(request, 9)
    assert (len(eviction), eviction[48:52], eviction[60], eviction[255]) == (256, struct.pack("<I", 256), 13, 9)
    assert eviction[128:144] == bytes(range(16))


@pytest.mark.parametrize(
    ("encoded", "named"),
    [(b"\x01\x04\x05\x00\x00\x00", 5), (ident("orders"), "orders"), (b"\x02\x04" + "żó".encode(), "żó")],
)
def test_identifiers_are_numbers_or_names(encoded: bytes, named: int | str) -> None:
    assert BodyReader(encoded).ident() == named


@pytest.mark.parametrize(
    "encoded", [b"", b"\x01\x02\x00\x00", b"\x02\x00", b"\x03\x01a", b"\x02\x05ab", b"\x02\x01\xff"]
)
def test_an_identifier_that_is_none_is_refused(encoded: bytes) -> None:
    with pytest.RaisesExc(Refusal, check=lambda refusal: refusal.status is Status.INVALID_FORMAT):
        BodyReader(encoded).ident()


def test_names_carry_their_length_in_bytes() -> None:
    assert name8("żó") == b"\x04" + "żó".encode()
    assert BodyReader(name8("żó")).name8() == "żó"


def test_topic_options_are_read_and_unknown_ones_refused() -> None:
    expiry = struct.pack("<BI", 2, 14) + b"message_expiry" + struct.pack("<BIQ", 12, 8, 5_000_000)
    assert parse_options(b"") == TopicOptions()
    assert parse_options(OPTION_PERSISTED + expiry) == TopicOptions(
        is_durable=True, is_offset_durable=True, message_expiry_us=5_000_000
    )
    with pytest.RaisesExc(Refusal, check=lambda refusal: refusal.status is Status.UNSUPPORTED_OPTION):
        parse_options(struct.pack("<BI", 2, 3) + b"foo" + struct.pack("<BI", 2, 3) + b"bar")


def option(key: bytes, value: bytes) -> bytes:
    return struct.pack("<BI", 2, len(key)) + key + struct.pack("<BI", 2, len(value)) + value


@pytest.mark.parametrize(
    "block",
    [
        option(b"message_expiry", b"604800000ms"),
        option(b"max_topic_size", bytes(9)),
        option(b"segment_size", bytes(9)),
        option(b"durability", b""),
        option(b"durability", b"x" * 256),
        option(b"durability", b"persisted") * 2,
    ],
    ids=["a text", "a size too long", "a segment too long", "nothing", "far too long", "twice"],
)
def test_topic_options_that_no_client_writes_are_refused(block: bytes) -> None:
    # They are echoed in every reply about the stream, and kept in a record of bounded size.
    with pytest.RaisesExc(Refusal, check=lambda refusal: refusal.status is Status.INVALID_FORMAT):
        parse_options(block)


# --------------------------------------------------------------------------- batches


def test_the_checksums_of_captured_messages_are_verified() -> None:
    checksums = verify_frames(memoryview(CAPTURED_MESSAGES), 2)
    assert checksums.hex() == "93f66adddccc81ba" + "ef71e7c88d01eb4b"


def test_a_changed_byte_anywhere_is_noticed() -> None:
    whole = batch(b"one", b"two")
    assert verify_batch(memoryview(whole), 0).count == 2
    # The reserved bytes of the header are not covered by its checksum, they have to be 0.
    for place in range(len(whole)):
        harmed = bytearray(whole)
        harmed[place] ^= 1
        with pytest.raises(BadBatch):
            verify_batch(memoryview(harmed), 0)


@pytest.mark.parametrize("size", [0, 255, 256, 300, -1])
def test_a_batch_that_ends_early_is_no_batch(size: int) -> None:
    with pytest.raises(BadBatch):
        verify_batch(memoryview(batch(b"one", b"two"))[:size], 0)


def test_a_batch_cut_to_fit_keeps_the_offsets_of_its_messages() -> None:
    whole = batch(b"one", b"two", b"three", b"four")
    cut = narrow(whole, 1, 2)
    header = read_header(cut)
    assert (header.count, header.length) == (2, len(cut))
    first = struct.unpack_from("<I", cut, BATCH_HEADER_SIZE + 24)[0]
    assert (first, cut[BATCH_HEADER_SIZE:] in whole) == (1, True)
