"""Sending, polling, and stored offsets."""

from typing import Final

from sagas.broker.batches import BadBatch, narrow, read_header, stamp
from sagas.broker.embedded.commands import Answer, Broker, Session, read_target, reader_of
from sagas.broker.embedded.files import AppendFile
from sagas.broker.embedded.frames import FRAME_SIZE_MAX, HEADER_SIZE, BodyReader, u32, u64
from sagas.broker.embedded.options import parse_options
from sagas.broker.log import Partition, Reader, Refusal, Span, Start, Status, Strategy, Topic

POLL_BYTES_ENOUGH: Final = 16 * 1024 * 1024
"""From this much on a poll returns no other batch: a count has no limit in the protocol, memory has."""

POLL_BYTES_MAX: Final = FRAME_SIZE_MAX - HEADER_SIZE - 16
"""How much one poll can return, which is what a frame holds. A batch that came in one goes back in one.

Our own client takes a reply that is much smaller than this for all there was (`iggy_sweep.py`).
"""
_PARTITIONING_BY_ID: Final = 2
_NOT_YOURS: Final = u32(2**32 - 1) + u64(0) + u32(0)
"""The poll reply that tells a member of a group to ask again which partitions it may read."""


def send(broker: Broker, session: Session, body: BodyReader) -> Answer:
    """Append a batch to a partition."""
    del session
    body.u32()
    stream_name, topic_name = body.ident(), body.ident()
    kind, partitioning = body.u8(), body.take(body.u8())
    if kind != _PARTITIONING_BY_ID or len(partitioning) != 4:
        # Clients choose the partition themselves and send its number, whatever the program asked for.
        raise Refusal(Status.INVALID_COMMAND, f"partitioning of kind {kind}; this server takes partition ids only")
    count, batch = body.u32(), body.rest()
    stream = broker.disk.log.find_stream(stream_name)
    topic = broker.disk.log.topic(stream_name, topic_name, Status.RESOURCE_NOT_FOUND)
    partition = topic.partition(int.from_bytes(partitioning, "little"), Status.RESOURCE_NOT_FOUND)
    now_us = broker.now_us()
    base_offset = partition.end
    is_durable = parse_options(topic.options).is_durable
    sealed = stamped(batch, count, partition, now_us)
    written = broker.disk.append(partition, sealed, count, now_us, is_durable=is_durable)
    broker.arrivals.note(partition)
    assert stream is not None, "its topic was found"
    return Answer(
        body=u32(1) + u32(stream.id) + u32(topic.id) + u32(partition.id) + u64(base_offset),
        files=written.files,
        after=written.complete.close if written.complete is not None else None,
    )


def stamped(batch: bytes, count: int, partition: Partition[None], now_us: int) -> bytes:
    """The batch with its place and time in the header. Refuses what is no batch."""
    try:
        return stamp(
            batch,
            count,
            partition_id=partition.id,
            base_offset=partition.end,
            base_us=partition.stamp(now_us),
            now_us=now_us,
        )
    except BadBatch as error:
        raise Refusal(Status.INVALID_MESSAGES, str(error)) from error


def poll(broker: Broker, session: Session, body: BodyReader) -> Answer:
    """Messages of a partition, whole batches as they lie on disk, the first and the last of them cut to fit."""
    target = read_target(body)
    start = _start(body.u8(), body.u64())
    count, auto_commit = body.u32(), body.u8() == 1
    topic = broker.disk.log.topic(target.stream, target.topic)
    partition = topic.partition(target.partition_or_first)
    try:
        reader = reader_of(topic, target, session, Status.PARTITION_NOT_OWNED)
        span = topic.poll(
            partition.id,
            reader,
            start,
            count=count,
            now_ms=broker.now_ms(),
            auto_commit=auto_commit,
            bytes_enough=POLL_BYTES_ENOUGH,
            bytes_max=POLL_BYTES_MAX,
        )
    except Refusal as refusal:
        if refusal.status is Status.PARTITION_NOT_OWNED:
            return Answer(body=_NOT_YOURS)
        raise
    head = u32(partition.id) + u64(partition.current_offset)
    if span is None:
        return Answer(body=head + u32(0))
    files = _noted(broker, topic, partition, reader, span.last) if auto_commit else ()
    batches = cut(broker.disk.read(partition, span), span)
    return Answer(body=head + u32(span.count), batches=batches, files=files)


def _start(strategy: int, value: int) -> Start:
    try:
        return Start(Strategy(strategy), value)
    except ValueError as error:
        raise Refusal(Status.INVALID_FORMAT, f"polling strategy {strategy}") from error


def cut(batches: bytes, span: Span[None]) -> bytes:
    """The batches without the messages that are outside the span."""
    if not span.skip and not span.surplus:
        return batches
    tail = span.tail_position - span.position
    if tail == 0:
        return narrow(batches, span.skip, span.count)
    pieces = [batches[:tail], batches[tail:]]
    if span.skip:
        head = read_header(batches)
        pieces[0] = narrow(batches[: head.length], span.skip, head.count - span.skip) + batches[head.length : tail]
    if span.surplus:
        last = read_header(batches, tail)
        pieces[1] = narrow(batches[tail:], 0, last.count - span.surplus)
    return b"".join(pieces)


def _noted(
    broker: Broker, topic: Topic[None], partition: Partition[None], reader: Reader, offset: int | None
) -> tuple[AppendFile, ...]:
    files = broker.disk.note_offset(partition, reader, offset)
    return files if parse_options(topic.options).is_offset_durable else ()


def get_offset(broker: Broker, session: Session, body: BodyReader) -> Answer:
    """The offset a consumer stored, nothing when there is none."""
    target = read_target(body)
    topic = broker.disk.log.topic(target.stream, target.topic)
    partition = topic.partition(target.partition_or_first)
    stored = topic.stored_offset(partition.id, reader_of(topic, target, session, Status.GROUP_NOT_FOUND))
    if stored is None:
        return Answer()
    return Answer(body=u32(partition.id) + u64(partition.current_offset) + u64(stored))


def store_offset(broker: Broker, session: Session, body: BodyReader) -> Answer:
    """Store an offset."""
    target, offset = read_target(body), body.u64()
    topic = broker.disk.log.topic(target.stream, target.topic, Status.RESOURCE_NOT_FOUND)
    partition = topic.partition(target.partition_or_first, Status.RESOURCE_NOT_FOUND)
    reader = reader_of(topic, target, session, Status.RESOURCE_NOT_FOUND)
    topic.store_offset(partition.id, reader, offset, broker.now_ms())
    return Answer(files=_noted(broker, topic, partition, reader, offset))


def delete_offset(broker: Broker, session: Session, body: BodyReader) -> Answer:
    """Forget a stored offset."""
    target = read_target(body)
    topic = broker.disk.log.topic(target.stream, target.topic, Status.RESOURCE_NOT_FOUND)
    partition = topic.partition(target.partition_or_first, Status.RESOURCE_NOT_FOUND)
    reader = reader_of(topic, target, session, Status.RESOURCE_NOT_FOUND)
    topic.delete_offset(partition.id, reader)
    return Answer(files=_noted(broker, topic, partition, reader, None))
