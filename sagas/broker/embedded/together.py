"""Several partitions in one request: the three that Iggy does not have.

Theory of operation. An orchestrator reads a dozen partitions and writes to a dozen others, and so does each turn of
each service. A request costs both sides a quarter of a millisecond however little it carries, so asking each
partition by itself is what most of a turn would be spent on. Here one request reads whatever there is in all
partitions of a member, and waits for the first message where there is nothing; another one appends to several; a
third asks for a member's partitions in several topics, or stores its offsets. What they carry are the same batches,
and they hold to the same rules: a partition that is another member's gives nothing, and a send is acknowledged when
all of it is on the disk. A client that asks a server without them is refused (status 3), and does it one by one.

`READ_TOGETHER`, little-endian: the stream, the group, `u32` number of the connection that is the group's member (0 for
the one that asks: a reader that waits must not keep its own commits waiting), `u32` milliseconds to wait, `u32`
messages at most, and for each partition its topic, `u32` number and `u64` offset. The reply: for each partition that
has something `u32` its place in the request, `u32` bytes, and its batches.

`SEND_TOGETHER`: the stream, and for each partition its topic, `u32` number, `u32` messages, `u32` bytes, and its batch.
Nothing is appended when any of it is refused. The reply is empty.

`EACH`: requests of a group's member as they are, each with `u32` code and `u32` bytes before it. The reply: for each
`u32` status, `u32` bytes, and what its reply would have been.
"""

from typing import Final

import msgspec

from sagas.broker.embedded.arrivals import Wait
from sagas.broker.embedded.commands import Answer, Broker, Handler, Session
from sagas.broker.embedded.files import AppendFile
from sagas.broker.embedded.frames import BodyReader, u32
from sagas.broker.embedded.messages import POLL_SIZE_MAX, cut, stamped, store_offset
from sagas.broker.embedded.metadata import sync_group
from sagas.broker.embedded.options import parse_options
from sagas.broker.log import Ident, Membership, Partition, Refusal, Start, Status, Strategy, Topic

READ_TOGETHER: Final = 60_002
"""Iggy's own codes are far below."""

SEND_TOGETHER: Final = 60_003

EACH: Final = 60_004

PARTITIONS_MAX: Final = 4_096
WAIT_MS_MAX: Final = 10_000


_OF_A_MEMBER: Final[dict[int, Handler]] = {121: store_offset, 606: sync_group}
"""What `EACH` takes, by Iggy's codes."""


class _Wanted(msgspec.Struct, frozen=True):
    """A partition that is read, from `offset` on."""

    topic: Ident
    number: int
    offset: int


def read(broker: Broker, session: Session, body: BodyReader) -> Answer:
    """Messages of several partitions; waits where there are none."""
    stream, group = body.ident(), body.ident()
    number, at_most_ms, count_max = body.u32(), min(body.u32(), WAIT_MS_MAX), body.u32()
    member = broker.sessions.get(number) if number else session
    wanted: list[_Wanted] = []
    while body.left:
        if len(wanted) >= PARTITIONS_MAX:
            raise Refusal(Status.INVALID_FORMAT, f"more than {PARTITIONS_MAX} partitions in one request")
        wanted.append(_Wanted(body.ident(), body.u32(), body.u64()))
    partitions = [broker.disk.log.topic(stream, each.topic).partition(each.number) for each in wanted]

    def reply() -> tuple[bytes, ...]:
        # The one that asked for a member may outlive it: then nothing is anybody's.
        return _found(broker, stream, group, member.member, wanted, count_max) if member is not None else ()

    return Answer(wait=Wait(partitions, at_most_ms, reply))


def _found(
    broker: Broker, stream: Ident, group_name: Ident, member: int, wanted: list[_Wanted], count_max: int
) -> tuple[bytes, ...]:
    pieces: list[bytes] = []
    count_left, size_left = count_max, POLL_SIZE_MAX
    for place, each in enumerate(wanted):
        # Looked up anew: while a reader waits its topic may be deleted, or made again.
        topic = broker.disk.log.find_topic(stream, each.topic)
        group = topic.find_group(group_name) if topic is not None else None
        if topic is None or group is None or each.number >= len(topic.partitions):
            continue
        partition = topic.partition(each.number)
        if partition.end <= each.offset:
            continue
        if count_left <= 0 or size_left <= 0:
            break
        batches, count = _batches(
            broker, topic, partition, Membership(group, member), each.offset, count_left, size_left
        )
        if count:
            pieces += (u32(place) + u32(len(batches)), batches)
            count_left -= count
            size_left -= len(batches)
    return tuple(pieces)


def _batches(
    broker: Broker,
    topic: Topic[None],
    partition: Partition[None],
    reader: Membership,
    offset: int,
    count_max: int,
    size_max: int,
) -> tuple[bytes, int]:
    """What a member may read of a partition, and how many messages that are."""
    try:
        span = topic.poll(
            partition.id,
            reader,
            Start(Strategy.OFFSET, offset),
            count=count_max,
            now_ms=broker.now_ms,
            size_max=size_max,
        )
    except Refusal as refusal:
        if refusal.status is not Status.PARTITION_NOT_OWNED:
            raise
        # Another member's by now: whoever asks learns it when it next asks for its partitions.
        return b"", 0
    return (cut(broker.disk.read(partition, span), span), span.count) if span is not None else (b"", 0)


def send(broker: Broker, session: Session, body: BodyReader) -> Answer:
    """Append a batch to each of several partitions, or to none."""
    del session
    log, stream, now_us = broker.disk.log, body.ident(), broker.now_us()
    batches: dict[tuple[int, int], tuple[Topic[None], Partition[None], int, bytes]] = {}
    while body.left:
        topic = log.topic(stream, body.ident(), Status.RESOURCE_NOT_FOUND)
        partition = topic.partition(body.u32(), Status.RESOURCE_NOT_FOUND)
        count = body.u32()
        batch = stamped(body.take(body.u32()), count, partition, now_us)
        if batches.setdefault((topic.id, partition.id), (topic, partition, count, batch))[3] is not batch:
            raise Refusal(
                Status.INVALID_FORMAT, f"topic {topic.name!r}, partition {partition.id}: twice in one request"
            )
    files: dict[AppendFile, None] = {}
    complete: list[AppendFile] = []
    for topic, partition, count, batch in batches.values():
        is_durable = parse_options(topic.options).is_durable
        written = broker.disk.append(partition, batch, count, now_us, is_durable=is_durable)
        files |= dict.fromkeys(written.files)
        if written.complete is not None:
            complete.append(written.complete)
    broker.arrivals.note(*(partition for _, partition, _, _ in batches.values()))

    def close() -> None:
        for file in complete:
            file.close()

    return Answer(files=tuple(files), after=close if complete else None)


def each(broker: Broker, session: Session, body: BodyReader) -> Answer:
    """Several requests of a group's member; one that is refused does not keep the others from being served."""
    pieces: list[bytes] = []
    files: dict[AppendFile, None] = {}
    while body.left:
        code = body.u32()
        part = BodyReader(body.take(body.u32()))
        handler = _OF_A_MEMBER.get(code)
        if handler is None:
            raise Refusal(Status.INVALID_FORMAT, f"code {code} is not served among others")
        try:
            answer = handler(broker, session, part)
        except Refusal as refusal:
            pieces += (u32(refusal.status), u32(0))
        else:
            pieces += (u32(Status.OK), u32(len(answer.body)), answer.body)
            files |= dict.fromkeys(answer.files)
    return Answer(body=b"".join(pieces), files=tuple(files))
