"""Reading several partitions with one request that may wait: READ_TOGETHER, whose form stands in `together.py`.

Theory of operation. A reader names all its partitions in every request, and mostly nothing has come to any of them, or
something to one. So a partition costs a look at where it ends, and everything else (who may read it, what lies there)
is asked for those alone that have something behind the offset. The same look is made again whenever a message comes
to one of the partitions while the request waits.
"""

from collections.abc import Collection
from struct import Struct
from typing import Final

from sagas.broker.embedded.commands import Answer, Broker, Session
from sagas.broker.embedded.frames import BodyReader, u32
from sagas.broker.embedded.messages import POLL_BYTES_ENOUGH, POLL_BYTES_MAX, cut
from sagas.broker.embedded.places import Place
from sagas.broker.log import Ident, Membership, Partition, Refusal, Start, Status, Strategy

PARTITIONS_MAX: Final = 4_096
WAIT_MS_MAX: Final = 10_000

_LIMITS = Struct("<III")
_PART_HEAD_SIZE: Final = 8


def read(broker: Broker, session: Session, body: BodyReader) -> Answer:
    """Messages of several partitions; waits where there are none."""
    stream, group = body.ident_bytes(), body.ident()
    number, at_most_ms, count_max = _LIMITS.unpack(body.take(_LIMITS.size))
    find = broker.places.find
    wanted = [(find(stream, spelled), offset) for spelled, offset in body.spelled_offsets(PARTITIONS_MAX)]
    if not wanted:
        # Nothing is named that might not exist, but the stream.
        BodyReader(stream).ident()
    member = broker.sessions.get(number) if number else session
    return Answer(wait=_Reading(broker, stream, group, member, wanted, count_max, min(at_most_ms, WAIT_MS_MAX)))


class _Reading:
    """One request: `wanted` are the partitions and where to begin in each."""

    def __init__(
        self,
        broker: Broker,
        stream: bytes,
        group: Ident,
        member: Session | None,
        wanted: list[tuple[Place, int]],
        count_max: int,
        at_most_ms: int,
    ) -> None:
        self.at_most_ms = at_most_ms
        self._broker = broker
        self._stream = stream
        self._group = group
        self._member = member
        self._wanted = wanted
        self._count_max = count_max
        self._sequence = broker.places.sequence

    @property
    def partitions(self) -> Collection[Partition[None]]:
        """Those that are waited for."""
        return [place.partition for place, _ in self._wanted]

    def reply(self) -> tuple[bytes, ...]:
        """The pieces of what there is, none for nothing."""
        member = self._member
        if member is None:
            # The one that asked for it may outlive it: then nothing is anybody's.
            return ()
        is_as_it_was = self._sequence == self._broker.places.sequence
        pieces: list[bytes] = []
        count_left, size = self._count_max, 0
        for index, (asked, offset) in enumerate(self._wanted):
            place = asked if is_as_it_was else self._again(asked)
            if place is None or place.partition.end <= offset:
                continue
            if count_left <= 0 or size >= POLL_BYTES_ENOUGH:
                break
            batches, count = self._batches(place, member, offset, count_left, size)
            if count:
                pieces += (u32(index) + u32(len(batches)), batches)
                count_left -= count
                size += _PART_HEAD_SIZE + len(batches)
        return tuple(pieces)

    def _again(self, asked: Place) -> Place | None:
        """The place as it is now: while a reader waits its topic may be deleted, or made again."""
        topic = self._broker.disk.log.find_topic(BodyReader(self._stream).ident(), asked.name)
        if topic is None or asked.partition.id >= len(topic.partitions):
            return None
        return Place(asked.name, topic, topic.partitions[asked.partition.id])

    def _batches(self, place: Place, member: Session, offset: int, count_max: int, size: int) -> tuple[bytes, int]:
        """What the member may read of a partition, and how many messages that are, where there are `size` bytes."""
        topic, partition = place.topic, place.partition
        group = topic.find_group(self._group)
        if group is None:
            return b"", 0
        try:
            span = topic.poll(
                partition.id,
                Membership(group, member.member),
                Start(Strategy.OFFSET, offset),
                count=count_max,
                now_ms=self._broker.now_ms(),
                bytes_enough=POLL_BYTES_ENOUGH - size,
                bytes_max=POLL_BYTES_MAX - size,
            )
        except Refusal as refusal:
            if refusal.status is not Status.PARTITION_NOT_OWNED:
                raise
            # Another member's by now: whoever asks learns it when it next asks for its partitions.
            return b"", 0
        return (cut(self._broker.disk.read(partition, span), span), span.count) if span is not None else (b"", 0)
