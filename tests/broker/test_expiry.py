"""Retention: whole segments go once they are too old, never the one that is written to; readers go on behind them."""

import pytest

from sagas.broker.log import (
    FIRST,
    LAST,
    NEXT,
    Log,
    Membership,
    Partition,
    Single,
    Span,
    Start,
    Strategy,
    Topic,
)
from sagas.broker.memory import MemoryBroker, MemoryWorld
from sagas.ports import Incoming, Outgoing, Position, TopicSpec
from sagas.records import AUDIT_S, DAY_S, FOREVER_S, TRANSIENT_S
from sagas.runtime.cleaning import PROCESSED_KEPT_MS
from sagas.testing.clock import VirtualClock

HOUR_US = 3_600 * 1_000_000
SINGLE = Single(1)


def a_topic(*, expiry_hours: int | None = 10, hours: int = 6, per_segment: int = 2) -> tuple[Log[str], Topic[str]]:
    """One message an hour, from hour 0 on, `per_segment` of them in each segment."""
    log = Log[str]()
    log.create_stream("shop", 0)
    expiry_us = None if expiry_hours is None else expiry_hours * HOUR_US
    topic = log.create_topic("shop", "orders", 1, 0, expiry_us=expiry_us)
    for hour in range(hours):
        if hour % per_segment == 0:
            topic.partitions[0].begin_segment()
        topic.partitions[0].append(f"m{hour}", count=1, size=10, now_us=hour * HOUR_US)
    return log, topic


def polled(topic: Topic[str], start: Start, count: int = 100) -> list[str]:
    span = topic.poll(0, SINGLE, start, count=count, now_ms=0)
    return [] if span is None else span.bodies


def span_of(partition: Partition[str], first: int, count: int) -> Span[str]:
    span = partition.span(first, count)
    assert span is not None
    return span


def test_nothing_goes_before_its_time() -> None:
    log, topic = a_topic()
    assert log.expire(11 * HOUR_US) == []
    assert topic.partitions[0].first == 0


@pytest.mark.parametrize(
    ("at_hour", "first", "left"),
    [
        (11, 0, 6),  # the first segment's last message is of hour 1: kept for ten hours, the boundary included
        (12, 2, 4),
        (13, 2, 4),
        (14, 4, 2),
        (99, 4, 2),  # the segment that is written to stays, however old it is
    ],
)
def test_whole_segments_go_from_the_oldest_on(at_hour: int, first: int, left: int) -> None:
    log, topic = a_topic()
    log.expire(at_hour * HOUR_US)
    partition = topic.partitions[0]
    assert (partition.first, partition.count, partition.end) == (first, left, 6)
    assert (partition.held_bytes, partition.first_position) == (left * 10, first * 10)
    assert polled(topic, FIRST) == [f"m{number}" for number in range(first, 6)]


def test_a_topic_without_expiry_keeps_everything() -> None:
    log, topic = a_topic(expiry_hours=None)
    assert log.expire(10**9 * HOUR_US) == []
    assert len(polled(topic, FIRST)) == 6


def test_offsets_go_on_where_they_were() -> None:
    log, topic = a_topic()
    log.expire(99 * HOUR_US)
    assert topic.partitions[0].append("new", count=1, size=10, now_us=99 * HOUR_US) == 6
    assert span_of(topic.partitions[0], 6, 1).bodies == ["new"]


@pytest.mark.parametrize("start", [FIRST, NEXT, Start(Strategy.OFFSET, 0), Start(Strategy.OFFSET, 3)])
def test_whoever_asks_for_what_is_gone_is_given_the_oldest_that_is_left(start: Start) -> None:
    log, topic = a_topic()
    log.expire(99 * HOUR_US)
    span = topic.poll(0, SINGLE, start, count=1, now_ms=0)
    assert span is not None
    assert (span.first, span.last, span.bodies, span.skip, span.position) == (4, 4, ["m4"], 0, 40)


def test_the_other_ways_to_ask_know_nothing_of_what_is_gone() -> None:
    log, topic = a_topic()
    log.expire(12 * HOUR_US)
    assert polled(topic, LAST, 100) == ["m2", "m3", "m4", "m5"]
    assert polled(topic, LAST, 1) == ["m5"]
    assert polled(topic, Start(Strategy.TIMESTAMP, 0)) == ["m2", "m3", "m4", "m5"]
    assert polled(topic, Start(Strategy.TIMESTAMP, 4 * HOUR_US)) == ["m4", "m5"]
    assert polled(topic, Start(Strategy.OFFSET, 6)) == []


def test_a_group_whose_stored_offset_is_gone_goes_on_from_the_oldest() -> None:
    log, topic = a_topic()
    group = topic.create_group("workers")
    group.join(1, 0)
    member = Membership(group, 1)
    topic.poll(0, member, NEXT, count=1, now_ms=0, auto_commit=True)
    assert topic.stored_offset(0, member) == 0
    log.expire(99 * HOUR_US)
    span = topic.poll(0, member, NEXT, count=1, now_ms=0)
    assert span is not None
    assert (span.first, topic.stored_offset(0, member)) == (4, 0)


def test_a_segment_is_begun_once_and_not_while_it_is_empty() -> None:
    partition = Partition[str](0, 1, 0)
    partition.begin_segment()
    partition.begin_segment()
    assert partition.segments == 1
    partition.append("a", count=1, size=1, now_us=0)
    partition.begin_segment()
    partition.begin_segment()
    assert (partition.segments, partition.open_bytes) == (2, 0)
    partition.append("b", count=1, size=1, now_us=0)
    assert partition.expire(1)
    assert (partition.first, partition.segments) == (1, 1)


# --------------------------------------------------------------------------- through the port, on virtual time


def a_message(number: int, topic: str) -> Outgoing:
    return Outgoing(id=f"00000000-0000-0000-0000-{number + 1:012d}", topic=topic, key="k", payload=b"%d" % number)


async def _payloads(world: MemoryWorld, group: str, topic: str) -> list[Incoming]:
    broker = MemoryBroker(world)
    subscription = await broker.subscribe(group, [topic])
    found = list(await subscription.poll(100))
    if found:
        await subscription.commit([Position(topic=topic, partition=0, offset=found[-1].offset)])
    await broker.close()
    return found


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("expiry_s", "days", "kept"),
    [
        (TRANSIENT_S, 6, True),
        (TRANSIENT_S, 8, False),
        (AUDIT_S, 364, True),
        (AUDIT_S, 366, False),
        (FOREVER_S, 10_000, True),
        (None, 10_000, True),  # the server's default, which here is to keep everything
    ],
)
async def test_a_topic_keeps_its_messages_for_as_long_as_it_was_made_for(
    expiry_s: int | None, days: int, kept: bool
) -> None:
    clock = VirtualClock(1_700_000_000_000)
    world = MemoryWorld(clock, segment_size=1)
    broker = MemoryBroker(world)
    await broker.ensure([TopicSpec(name="t", partitions=1, expiry_s=expiry_s)])
    await broker.publish([a_message(0, "t")])
    clock.advance(days * DAY_S * 1000)
    await broker.publish([a_message(1, "t")])
    clock.advance(61_000)
    assert [m.offset for m in await _payloads(world, "reader", "t")] == ([0, 1] if kept else [1])


@pytest.mark.anyio
async def test_a_reader_that_was_away_for_too_long_goes_on_behind_what_expired_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = VirtualClock(1_700_000_000_000)
    world = MemoryWorld(clock, segment_size=1)
    broker = MemoryBroker(world)
    await broker.ensure([TopicSpec(name="t", partitions=1)])
    await broker.publish([a_message(0, "t")])
    assert [m.offset for m in await _payloads(world, "reader", "t")] == [0]
    await broker.publish([a_message(1, "t"), a_message(2, "t")])
    clock.advance(8 * DAY_S * 1000)
    await broker.publish([a_message(3, "t")])
    clock.advance(61_000)
    assert [m.offset for m in await _payloads(world, "reader", "t")] == [3]
    assert "2 messages of topic 't', partition 0, expired before group 'reader' had read them" in caplog.text


def test_topics_are_transient_unless_they_say_otherwise_and_repeats_are_known_for_longer() -> None:
    assert TopicSpec(name="t").expiry_s == TRANSIENT_S == 7 * DAY_S
    assert AUDIT_S == 365 * DAY_S
    assert PROCESSED_KEPT_MS >= TRANSIENT_S * 1000
