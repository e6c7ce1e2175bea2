"""The broker's memory: streams, topics, partitions, offsets. Pure: no file, no socket, no clock, no chance.

Theory of operation. A *stream* holds *topics*, a topic holds *partitions* and consumer *groups*, and a
partition is a row of *batches* that only grows. A message's offset is its place in its partition, from
0 without gaps. Messages are appended in batches, and a batch is opaque here: the log knows how many
messages and bytes it has and when it came, so that appending costs the same for one message and for
a thousand. `B` is what the caller wants back for a batch: the message itself, or `None` when it keeps the
bytes in a file, at `Span.position` of the endless row of bytes that a partition's batches are.

Everything that changes what there *is* (not what is in it) counts `Log.sequence` up, and partitions
remember the count they were made at as their `epoch`. The same changes in the same order give the same ids and
epochs: so a list of the accepted changes restores a log, and (epoch, id) names a partition for ever,
although the ids of streams and topics are given again after a deletion.

In use:

    log = Log[bytes]()
    log.create_stream("shop", now_us)
    topic = log.create_topic("shop", "orders", 3, now_us)
    topic.partitions[0].append(b"...", count=1, size=3, now_us=now_us)
    group = topic.create_group("workers")
    group.join(member, now_ms)              # member: a number of the caller's, one per connection
    group.sync(member, now_ms)              # Assignment(generation, partitions), None for a stranger
    span = topic.poll(0, Membership(group, member), NEXT, count=10, now_ms=now_ms)
    topic.store_offset(0, Membership(group, member), span.last, now_ms)     # the commit
    group.leave(member)

Whatever cannot be done raises `Refusal`, which carries the status number that Iggy answers with.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from sagas.broker.groups import Assignment, Group, GroupMember, Refusal, Status
from sagas.broker.partition import FIRST, LAST, NEXT, Partition, Span, Start, Strategy
from sagas.broker.topic import PARTITIONS_MAX, Ident, Membership, Reader, Single, Topic

__all__ = [
    "FIRST", "LAST", "NEXT", "PARTITIONS_MAX",
    "Assignment", "Group", "GroupMember", "Ident", "Log", "Membership", "Partition", "Reader", "Refusal", "Single",
    "Span", "Start", "Status", "Strategy", "Stream", "Topic",
]  # fmt: skip

B = TypeVar("B")


class _Named(Protocol):
    name: str


_N = TypeVar("_N", bound=_Named)


@dataclass(slots=True)
class Stream(Generic[B]):
    """A name space of topics."""

    id: int
    name: str
    created_us: int
    topics: dict[int, Topic[B]] = field(default_factory=dict[int, Topic[B]])

    def find_topic(self, topic: Ident) -> Topic[B] | None:
        """The topic of that id or name, None when there is none."""
        return _find(self.topics, topic)


class Log(Generic[B]):
    """All streams of one broker."""

    def __init__(self) -> None:
        self.streams: dict[int, Stream[B]] = {}
        self.sequence = 0
        # Topics by the way they are asked for: every request names some, by names that would be searched for.
        self._found: dict[tuple[Ident, Ident], Topic[B]] = {}

    def find_stream(self, stream: Ident) -> Stream[B] | None:
        """The stream of that id or name, None when there is none."""
        return _find(self.streams, stream)

    def find_topic(self, stream: Ident, topic: Ident) -> Topic[B] | None:
        """The topic, None when it or its stream does not exist."""
        known = self._found.get((stream, topic))
        if known is not None:
            return known
        home = self.find_stream(stream)
        found = None if home is None else home.find_topic(topic)
        if found is not None:
            self._found[stream, topic] = found
        return found

    def stream(self, stream: Ident) -> Stream[B]:
        """The stream; refuses when there is none."""
        found = self.find_stream(stream)
        if found is None:
            raise Refusal(Status.STREAM_NOT_FOUND, f"there is no stream {stream!r}")
        return found

    def topic(self, stream: Ident, topic: Ident, missing: Status = Status.TOPIC_NOT_FOUND) -> Topic[B]:
        """The topic; refuses with `missing` when it or its stream does not exist: Iggy's calls differ there."""
        found = self.find_topic(stream, topic)
        if found is None:
            raise Refusal(missing, f"there is no topic {topic!r} in stream {stream!r}")
        return found

    def create_stream(self, name: str, now_us: int) -> Stream[B]:
        """A new, empty stream with the lowest free id; refuses a name that is taken."""
        if self.find_stream(name) is not None:
            raise Refusal(Status.STREAM_EXISTS, f"there is a stream {name!r}")
        stream = Stream[B](_lowest_free(self.streams), name, now_us)
        self.streams[stream.id] = stream
        self.sequence += 1
        return stream

    def delete_stream(self, stream: Ident) -> Stream[B]:
        """Remove a stream with all its topics."""
        removed = self.streams.pop(self.stream(stream).id)
        self._found.clear()
        self.sequence += 1
        return removed

    def create_topic(
        self,
        stream: Ident,
        name: str,
        partitions: int,
        now_us: int,
        options: bytes = b"",
        *,
        expiry_us: int | None = None,
    ) -> Topic[B]:
        """A new topic with the lowest free id of its stream; refuses a name that is taken."""
        home = self.stream(stream)
        if home.find_topic(name) is not None:
            raise Refusal(Status.TOPIC_EXISTS, f"stream {home.name!r} has a topic {name!r}")
        topic = Topic[B](_lowest_free(home.topics), name, now_us, options, expiry_us)
        topic.grow(partitions, self.sequence + 1, now_us)
        home.topics[topic.id] = topic
        self.sequence += 1
        return topic

    def delete_topic(self, stream: Ident, topic: Ident) -> Topic[B]:
        """Remove a topic with its partitions and groups."""
        removed = self.topic(stream, topic)
        del self.stream(stream).topics[removed.id]
        self._found.clear()
        self.sequence += 1
        return removed

    def create_partitions(self, stream: Ident, topic: Ident, count: int, now_us: int) -> Topic[B]:
        """Add partitions to a topic."""
        grown = self.topic(stream, topic)
        grown.grow(count, self.sequence + 1, now_us)
        self.sequence += 1
        return grown

    def delete_partitions(self, stream: Ident, topic: Ident, count: int) -> Topic[B]:
        """Remove a topic's last partitions with their messages."""
        shrunk = self.topic(stream, topic)
        shrunk.shrink(count)
        self.sequence += 1
        return shrunk

    def purge_topic(self, stream: Ident, topic: Ident) -> Topic[B]:
        """Remove all messages and stored offsets of a topic; offsets start at 0 again."""
        purged = self.topic(stream, topic)
        self.sequence += 1
        purged.purge(self.sequence)
        return purged

    def expire(self, now_us: int) -> list[Partition[B]]:
        """Remove what is older than its topic keeps messages; the partitions that lost something."""
        topics = [topic for stream in self.streams.values() for topic in stream.topics.values()]
        return [partition for topic in topics for partition in topic.expire(now_us)]

    def leave_all(self, member: int) -> None:
        """A connection ended: its memberships end with it."""
        for group in self._groups_of(member):
            group.leave(member)

    def is_member(self, member: int) -> bool:
        """Whether a connection is a member of any group."""
        return bool(self._groups_of(member))

    def _groups_of(self, member: int) -> list[Group]:
        topics = [topic for stream in self.streams.values() for topic in stream.topics.values()]
        return [group for topic in topics for group in topic.groups.values() if group.has(member)]


def _find(items: Mapping[int, _N], wanted: Ident) -> _N | None:
    if isinstance(wanted, int):
        return items.get(wanted)
    for item in items.values():
        if item.name == wanted:
            return item
    return None


def _lowest_free(taken: Collection[int]) -> int:
    return next(number for number in range(len(taken) + 1) if number not in taken)
