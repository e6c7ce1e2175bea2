"""A topic: its partitions, the groups that read them, and the offsets that its readers stored. Pure."""

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from sagas.broker.groups import Group, Refusal, Status
from sagas.broker.partition import Partition, Span, Start

B = TypeVar("B")

Ident = int | str
"""How a caller names a stream, a topic or a group: by id or by name."""

PARTITIONS_MAX = 1000
"""As in Iggy: a topic with more is asked for by mistake."""


@dataclass(frozen=True, slots=True)
class Single:
    """A consumer that reads for itself, with offsets of its own in each partition."""

    id: int


@dataclass(frozen=True, slots=True)
class Membership:
    """A reader in the name of a group: `member` is the caller's number for the connection."""

    group: Group
    member: int


Reader = Single | Membership


@dataclass(slots=True)
class Topic(Generic[B]):
    """Partitions and the groups that read them. `options` is the caller's: the log keeps it as it is.

    `expiry_us`: how long a message is kept at least, None for ever.
    """

    id: int
    name: str
    created_us: int
    options: bytes = b""
    expiry_us: int | None = None
    partitions: list[Partition[B]] = field(default_factory=list[Partition[B]])
    groups: dict[int, Group] = field(default_factory=dict[int, Group])
    _next_group_id: int = 0
    _singles: dict[tuple[int, int], int] = field(default_factory=dict[tuple[int, int], int])

    def partition(self, partition_id: int, missing: Status = Status.PARTITION_NOT_FOUND) -> Partition[B]:
        """The partition of that id; otherwise refuses with `missing`."""
        if not 0 <= partition_id < len(self.partitions):
            raise Refusal(missing, f"partition {partition_id} of topic {self.name!r} is missing")
        return self.partitions[partition_id]

    # ------------------------------------------------------------------ groups

    def find_group(self, group: Ident) -> Group | None:
        """The group of that id or name, None when there is none."""
        if isinstance(group, int):
            return self.groups.get(group)
        for found in self.groups.values():
            if found.name == group:
                return found
        return None

    def group(self, group: Ident) -> Group:
        """The group of that id or name; refuses when there is none."""
        found = self.find_group(group)
        if found is None:
            raise Refusal(Status.GROUP_NOT_FOUND, f"topic {self.name!r} has no group {group!r}")
        return found

    def create_group(self, name: str) -> Group:
        """A new group without members. Its id was never given before: a group made again starts clean."""
        if self.find_group(name) is not None:
            raise Refusal(Status.GROUP_EXISTS, f"topic {self.name!r} has a group {name!r}")
        group = Group(id=self._next_group_id, name=name, partitions=len(self.partitions))
        self._next_group_id += 1
        self.groups[group.id] = group
        return group

    def delete_group(self, group: Ident) -> Group:
        """Remove a group with its members and its stored offsets."""
        removed = self.groups.pop(self.group(group).id)
        removed.end()
        return removed

    # ------------------------------------------------------------------ reading

    def poll(
        self,
        partition_id: int,
        reader: Reader,
        start: Start,
        *,
        count: int,
        now_ms: int,
        auto_commit: bool = False,
        bytes_enough: int | None = None,
        bytes_max: int | None = None,
    ) -> Span[B] | None:
        """At most `count` messages of a partition, of as many bytes as `Partition.span` says; None when there are none.

        Refuses with PARTITION_NOT_OWNED when the reader's group gave the partition to another member, or
        is about to. `auto_commit` stores the offset of the last message returned.
        """
        partition = self.partition(partition_id)
        if isinstance(reader, Membership) and not reader.group.may_poll(reader.member, partition_id, now_ms):
            raise Refusal(Status.PARTITION_NOT_OWNED, f"partition {partition_id} belongs to another member")
        first = partition.start_offset(start, count, self.stored_offset(partition_id, reader))
        span = partition.span(first, count, bytes_enough, bytes_max)
        if span is None:
            return None
        if isinstance(reader, Membership):
            reader.group.note_polled(partition_id, span.last)
        if auto_commit:
            self.store_offset(partition_id, reader, span.last, now_ms)
        return span

    def stored_offset(self, partition_id: int, reader: Single | Membership | Group) -> int | None:
        """The offset stored last, None when there is none."""
        match reader:
            case Single(id=consumer):
                return self._singles.get((consumer, partition_id))
            case Membership(group=group) | (Group() as group):
                return group.stored.get(partition_id)

    def store_offset(self, partition_id: int, reader: Reader, offset: int, now_ms: int) -> None:
        """Note that everything up to and including `offset` is dealt with; it may also go back.

        Refuses an offset that no message has, and a member that does not own the partition.
        """
        partition = self.partition(partition_id, Status.RESOURCE_NOT_FOUND)
        if offset >= partition.end:
            raise Refusal(Status.INVALID_OFFSET, f"offset {offset} is beyond the end, {partition.end}")
        if isinstance(reader, Membership):
            reader.group.store(reader.member, partition_id, offset, now_ms)
        else:
            self._singles[reader.id, partition_id] = offset

    def delete_offset(self, partition_id: int, reader: Reader) -> None:
        """Forget a stored offset; refuses when there is none."""
        self.partition(partition_id, Status.RESOURCE_NOT_FOUND)
        if isinstance(reader, Membership):
            removed = reader.group.stored.pop(partition_id, None)
        else:
            removed = self._singles.pop((reader.id, partition_id), None)
        if removed is None:
            raise Refusal(Status.OFFSET_NOT_FOUND, f"partition {partition_id} has no offset of this consumer")

    def restore_offset(self, partition_id: int, reader: Single | Group, offset: int) -> None:
        """Put back an offset read from a journal.

        A crash of the machine can take messages whose offsets survive. Such an offset is pulled back to the end,
        or the messages that get these places next would be skipped in silence.
        """
        end = self.partitions[partition_id].end
        if end == 0:
            return
        if isinstance(reader, Group):
            reader.stored[partition_id] = min(offset, end - 1)
        else:
            self._singles[reader.id, partition_id] = min(offset, end - 1)

    def offsets(self) -> list[tuple[int, Single | Group, int]]:
        """Every stored offset, as `restore_offset` takes it."""
        singles: list[tuple[int, Single | Group, int]] = [
            (partition_id, Single(consumer), offset) for (consumer, partition_id), offset in self._singles.items()
        ]
        return singles + [
            (partition_id, group, offset)
            for group in self.groups.values()
            for partition_id, offset in group.stored.items()
        ]

    def expire(self, now_us: int) -> list[Partition[B]]:
        """Remove the segments that are older than the topic keeps messages; the partitions that lost some."""
        if self.expiry_us is None:
            return []
        return [partition for partition in self.partitions if partition.expire(now_us - self.expiry_us)]

    # ------------------------------------------------------------------ called by Log, which counts the change

    def grow(self, count: int, epoch: int, now_us: int) -> None:
        """Add `count` partitions and spread all of them over the members of each group anew."""
        size = len(self.partitions) + count
        if count < 0 or size > PARTITIONS_MAX:
            raise Refusal(Status.TOO_MANY_PARTITIONS, f"{size} partitions are more than {PARTITIONS_MAX}")
        self.partitions += [Partition[B](number, epoch, now_us) for number in range(len(self.partitions), size)]
        self._resize_groups()

    def shrink(self, count: int) -> None:
        """Remove the `count` partitions of the highest ids, at most all, with the offsets stored in them."""
        kept = max(0, len(self.partitions) - count)
        del self.partitions[kept:]
        self._singles = {key: offset for key, offset in self._singles.items() if key[1] < kept}
        self._resize_groups()

    def purge(self, epoch: int) -> None:
        """Remove all messages and stored offsets."""
        self.partitions = [Partition[B](old.id, epoch, old.created_us) for old in self.partitions]
        self._singles.clear()
        for group in self.groups.values():
            group.forget_offsets()

    def _resize_groups(self) -> None:
        for group in self.groups.values():
            group.resize(len(self.partitions))
