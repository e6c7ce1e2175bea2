"""Several partitions in one request: the four that Iggy does not have.

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

`SEND_AHEAD`: the same, from one who goes on without the reply: it comes when the messages are on the disk, nobody
hurries (`flusher.py`), and then with the next reply that is waited for, or a while later (`connection.py`).

`EACH`: requests of a group's member as they are, each with `u32` code and `u32` bytes before it. The reply: for each
`u32` status, `u32` bytes, and what its reply would have been.
"""

from struct import Struct
from typing import Final

from sagas.broker.embedded.commands import Answer, Broker, Handler, Session
from sagas.broker.embedded.files import AppendFile
from sagas.broker.embedded.frames import BodyReader, u32
from sagas.broker.embedded.messages import stamped, store_offset
from sagas.broker.embedded.metadata import sync_group
from sagas.broker.embedded.options import parse_options
from sagas.broker.log import Partition, Refusal, Status, Topic

READ_TOGETHER: Final = 60_002
"""Iggy's own codes are far below."""

SEND_TOGETHER: Final = 60_003

EACH: Final = 60_004

SEND_AHEAD: Final = 60_005

_SIZES = Struct("<II")

_OF_A_MEMBER: Final[dict[int, Handler]] = {121: store_offset, 606: sync_group}
"""What `EACH` takes, by Iggy's codes."""


def send(broker: Broker, session: Session, body: BodyReader) -> Answer:
    """Append a batch to each of several partitions, or to none."""
    return _sent(broker, session, body, is_awaited=True)


def send_ahead(broker: Broker, session: Session, body: BodyReader) -> Answer:
    """The same, for one who does not wait for the reply."""
    return _sent(broker, session, body, is_awaited=False)


def _sent(broker: Broker, session: Session, body: BodyReader, *, is_awaited: bool) -> Answer:
    del session
    stream, now_us = body.ident_bytes(), broker.now_us()
    batches: dict[tuple[int, int], tuple[Topic[None], Partition[None], int, bytes]] = {}
    while body.left:
        place = broker.places.find(stream, body.spelled(), Status.RESOURCE_NOT_FOUND)
        topic, partition = place.topic, place.partition
        count, size = _SIZES.unpack(body.take(_SIZES.size))
        batch = stamped(body.take(size), count, partition, now_us)
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

    return Answer(files=tuple(files), is_awaited=is_awaited, after=close if complete else None)


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
