"""The bytes of the requests that the client has no method for, and what their replies say."""

import pytest

from sagas.broker import iggy_wire as wire
from sagas.broker.embedded.replies import stream_details
from sagas.broker.log import Log

GROUP = b"\x02\x07workers"
SHOP = b"\x02\x04shop"
ORDERS = b"\x02\x06orders"


def test_a_group_is_named_by_stream_topic_and_group() -> None:
    assert wire.group_at("shop", "orders", "workers") == SHOP + ORDERS + GROUP


def test_names_are_measured_in_bytes() -> None:
    assert wire.name_bytes("żółw") == b"\x02\x07" + "żółw".encode()


def test_an_offset_is_stored_for_the_group_in_one_partition_and_waited_for() -> None:
    assert wire.store_offset("shop", "orders", "workers", 2, 258) == (
        b"\x02" + GROUP + SHOP + ORDERS + b"\x01\x02\0\0\0" + b"\x02\x01\0\0\0\0\0\0" + b"\x01"
    )


def test_a_topic_is_made_with_its_options_in_the_order_of_their_names() -> None:
    assert wire.create_topic("shop", "orders", 3, {"b": "true", "a": "1h"}) == (
        SHOP + b"\x03\0\0\0\x06orders" + b"\x02\x01\0\0\0a\x02\x02\0\0\x001h" + b"\x02\x01\0\0\0b\x02\x04\0\0\0true"
    )


def test_an_expiry_of_zero_is_for_ever() -> None:
    assert (wire.expiry_option(0), wire.expiry_option(3600)) == ("unlimited", "3600s")


def test_an_empty_reply_means_no_offset_and_no_membership() -> None:
    assert wire.read_offsets(b"") is None
    assert wire.read_share(b"") is None


def test_a_member_without_partitions_is_still_a_member() -> None:
    assert wire.read_share(b"\x05" + bytes(11)) == wire.Share(5, ())


def test_replies_are_read() -> None:
    reply = b"\x05" + bytes(7) + b"\x02\0\0\0" + b"\x01\0\0\0\x03\0\0\0"
    assert wire.read_share(reply) == wire.Share(5, (1, 3))
    known = wire.read_offsets(b"\x01\0\0\0" + b"\x09" + bytes(7) + b"\x04" + bytes(7))
    assert known == wire.StoredOffset(current=9, stored=4)


@pytest.mark.parametrize(
    ("current", "stored", "is_empty", "following"),
    [
        (9, 4, False, 5),
        (9, 9, False, 10),
        (1, 0, False, 1),
        (0, 0, False, 1),
        # The broker lost the end of its log, or all of it, and kept the offset.
        (9, 10, False, None),
        (0, 1, False, None),
        (0, 7, True, None),
        (0, 0, True, None),
    ],
)
def test_reading_goes_on_after_the_stored_offset_unless_the_log_ends_before_it(
    current: int, stored: int, is_empty: bool, following: int | None
) -> None:
    assert wire.StoredOffset(current, stored).next_offset(is_empty=is_empty) == following


def test_the_stamps_of_a_stream_and_its_topics_are_read() -> None:
    log: Log[None] = Log()
    stream = log.create_stream("s", 1)
    for name in ("orders", "größe"):
        log.create_topic("s", name, 2, 1)
    stream_topic = log.topic("s", "orders")
    stream_topic.partitions[1].append(None, count=3, size=500, now_us=5)
    reply = stream_details(stream)
    assert wire.read_stamp(reply) == (500, 3)
    assert wire.read_topic_stamps(reply) == {"orders": (500, 3), "größe": (0, 0)}


def test_a_stream_that_is_not_there_or_cannot_be_read_has_no_stamps() -> None:
    assert wire.read_stamp(b"") is None
    log: Log[None] = Log()
    stream = log.create_stream("s", 1)
    log.create_topic("s", "orders", 2, 1)
    whole = stream_details(stream)
    assert [wire.read_topic_stamps(whole[:length]) for length in range(40, len(whole) - 1)].count(None) > 40
