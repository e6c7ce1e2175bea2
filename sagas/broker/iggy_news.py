"""Which partitions have something new, for a request or two instead of one for each partition.

Theory of operation. Iggy has no request that waits for messages, and none that reads several partitions at once. But
one tells how many messages and bytes each topic of a stream has, and another how far each partition of a topic goes. A
poll asks these first, and then reads the partitions only that have become longer than they were read: of several
topics those are asked for their ends whose numbers are not those of the look before, of a single one always. A topic
of which all partitions had something the last time is not asked for its ends, since they all have something again.

A partition stays *unread* until it was read to its end after such a look. The numbers are a hint and nothing else:
every `SWEEP_S` all partitions count as unread, and so they do whenever those of this member have changed.

Iggy keeps its members when messages are removed by hand. A partition that ends before what was read of it was *cut*:
it is to be read from the stored offset. One that has grown beyond that by then is not told from any other.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

from sagas.broker import iggy_wire as wire
from sagas.broker.iggy_connection import IggyConnection
from sagas.records import Partition

SWEEP_S = 1.0
"""How long a partition may go unread because it is said to have nothing new."""


class End(Protocol):
    """How far a partition goes, as the client tells it. An empty one has its current offset at 0, too."""

    @property
    def id(self) -> int:
        """The number of the partition."""
        ...

    @property
    def current_offset(self) -> int:
        """The offset of its last message."""
        ...

    @property
    def messages_count(self) -> int:
        """How many messages are there still."""
        ...


class Asked(Protocol):
    """Whom to ask."""

    async def stream(self) -> bytes:
        """The reply to GET_STREAM."""
        ...

    async def ends(self, topic: str) -> Sequence[End]:
        """Those of all partitions of a topic; none when it is not there."""
        ...


class IggyNumbers:
    """`Asked` of a server."""

    def __init__(self, connection: IggyConnection, stream: str) -> None:
        self._connection = connection
        self._stream = stream

    async def stream(self) -> bytes:
        """The reply to GET_STREAM."""
        body = wire.stream_at(self._stream)
        return await self._connection.call(
            "get stream", lambda client: client.send_binary_request(wire.GET_STREAM, body)
        )

    async def ends(self, topic: str) -> Sequence[End]:
        """Those of all partitions of a topic; none when it is not there."""
        details = await self._connection.call(
            f"get topic {topic!r}", lambda client: client.get_topic(self._stream, topic)
        )
        return () if details is None else details.partitions


class News:
    """What one subscription knows of its topics."""

    def __init__(self, topics: Sequence[str], asked: Asked) -> None:
        self._topics = topics
        self._asked = asked
        self._stamp: wire.Stamp | None = None
        self._stamps: dict[str, wire.Stamp] = {}
        self._ends: dict[Partition, tuple[int, int]] = {}
        self._busy: set[str] = set()
        self._sweep_due_at = 0.0
        self.unread: set[Partition] = set()
        """The partitions that are to be read."""
        self.cut: set[Partition] = set()
        """Of these, as the last look found: which end before what was read of them. Offsets are given again there."""

    def forget(self) -> None:
        """Take all partitions for unread at the next look."""
        self._sweep_due_at = 0.0

    def are_read(self, found: Collection[Partition], ours: Collection[Partition]) -> None:
        """All unread partitions were read to their end; in `found` of `ours` there was something."""
        with_some, of_all = Counter(topic for topic, _ in found), Counter(topic for topic, _ in ours)
        for topic in {topic for topic, _ in self.unread}:
            (self._busy.add if with_some[topic] == of_all[topic] else self._busy.discard)(topic)
        self.unread = set()

    async def look(self, positions: Mapping[Partition, int], now_s: float) -> None:
        """Find out which partitions are unread, unless there are some still.

        `positions` is what to read next in each of ours, `now_s` the time on any clock. Raises BrokerError.
        """
        self.cut = set()
        if now_s >= self._sweep_due_at:
            self.unread = set(positions)
            self._sweep_due_at = now_s + SWEEP_S
        if self.unread:
            return
        unread: set[Partition] = set()
        try:
            for topic in await self._changed():
                unread |= await self._longer(topic, [at for at in positions if at[0] == topic], positions)
        except BaseException:
            self.forget()  # what was told of the topics before is not told again
            raise
        self.unread = unread

    async def _changed(self) -> Iterable[str]:
        """The topics that may have something new."""
        if len(self._topics) == 1:
            return self._topics
        reply = await self._asked.stream()
        stamp = wire.read_stamp(reply)
        if stamp is not None and stamp == self._stamp:
            return ()
        stamps = wire.read_topic_stamps(reply)
        if stamp is None or stamps is None:
            # No such stream, or a server that says it in another way: then each poll reads all.
            return self._topics
        changed = [topic for topic in self._topics if stamps.get(topic) != self._stamps.get(topic)]
        self._stamp, self._stamps = stamp, stamps
        return changed

    async def _longer(
        self, topic: str, ours: Collection[Partition], positions: Mapping[Partition, int]
    ) -> set[Partition]:
        """Those of our partitions of a topic that go further than they were read."""
        if len(self._topics) > 1 and topic in self._busy:
            return set(ours)
        ends = {(topic, end.id): (end.current_offset, end.messages_count) for end in await self._asked.ends(topic)}
        # One that is not told of is read all the same; and of one that was never looked at the end alone does not tell
        # whether it is empty or has its first message.
        longer = {
            at for at in ours if at not in ends or (ends[at] != self._ends.get(at) and ends[at][0] >= positions[at])
        }
        self._ends.update(ends)
        # One that was emptied has its current offset at 0 as well: then a single message that was read hides it.
        self.cut |= {at for at in ours if at in ends and ends[at][0] < positions[at] - 1}
        return longer | self.cut
