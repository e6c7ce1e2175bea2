"""Consumer groups: who of a group reads which partition, and how a partition changes hands. Pure.

Theory of operation. A group spreads the partitions of a topic over its members, each partition to one.

- *Joining* is cooperative. Partitions without an owner go to members without partitions; then members that hold
  more than their fair share give the rest, last come first given, to members that hold none. A partition that is *in
  flight* (read, and not yet committed up to what was read) is only marked: its owner, the source,
  reads it no more but may still commit. It moves when that commit has come, or after
  `REBALANCING_TIMEOUT_MS`: work in progress is not done twice, and a source that died holds nobody up.
- *Leaving* cannot wait for anybody: all partitions are dealt out anew, in turn, and the marks are dropped. What
  was in flight is read again by the new owner (at least once).
- *When messages are removed* by hand (a purge, partitions that are deleted), offsets are given again to others. A
  member goes by positions of its own and would skip these, so all memberships end: who joins again begins anew.
  Iggy leaves its members as they are.
- Marks are looked at whenever the group is asked something, so `now_ms` comes with every question.

Each change counts `generation` up: that is how members see that they have to ask again. Members are
numbered from 0, lowest free number first, and dealing goes in that order.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum

from sagas.errors import BrokerError

REBALANCING_TIMEOUT_MS = 30_000
"""How long a marked partition waits for its source's commit: Iggy's default."""


class Status(IntEnum):
    """Iggy's numbers for what it refuses; the texts belong to the client."""

    OK = 0
    INVALID_COMMAND = 3
    INVALID_FORMAT = 4
    RESOURCE_NOT_FOUND = 20
    UNAUTHENTICATED = 40
    INVALID_CREDENTIALS = 42
    STREAM_NOT_FOUND = 1009
    STREAM_EXISTS = 1012
    TOPIC_NOT_FOUND = 2010
    TOPIC_EXISTS = 2013
    TOO_MANY_PARTITIONS = 2015
    PARTITION_NOT_FOUND = 3007
    OFFSET_NOT_FOUND = 3021
    INVALID_MESSAGES = 4025
    UNSUPPORTED_OPTION = 4041
    INVALID_OFFSET = 4100
    GROUP_NOT_FOUND = 5000
    GROUP_EXISTS = 5004
    NOT_A_MEMBER = 5006
    PARTITION_NOT_OWNED = 5009


class Refusal(BrokerError):
    """The log does not do what was asked; `status` is Iggy's number for the reason."""

    def __init__(self, status: Status, problem: str) -> None:
        self.status = status
        super().__init__(f"{problem} (status {status.value})")


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a member may read: the partitions it owns without the marked ones."""

    generation: int
    partitions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Mark:
    """A partition on its way to the member in slot `target`."""

    target: int
    since_ms: int


@dataclass(slots=True)
class GroupMember:
    """`member` is the caller's number for a connection, `owned` its partitions in the order they came."""

    member: int
    owned: list[int] = field(default_factory=list[int])
    marked: dict[int, _Mark] = field(default_factory=dict[int, _Mark])

    def unmarked(self) -> list[int]:
        """The partitions it may read."""
        return [partition for partition in self.owned if partition not in self.marked]


@dataclass(slots=True)
class Group:
    """The members of one group over `partitions` partitions, and the offsets it stored.

    `slots` are the members by slot number; `stored` and `polled` are offsets by partition, the last
    committed and the highest read.
    """

    id: int
    name: str
    partitions: int
    generation: int = 0
    slots: dict[int, GroupMember] = field(default_factory=dict[int, GroupMember])
    stored: dict[int, int] = field(default_factory=dict[int, int])
    polled: dict[int, int] = field(default_factory=dict[int, int])

    # ------------------------------------------------------------------ membership

    def has(self, member: int) -> bool:
        """Whether this connection is a member."""
        return self._find(member) is not None

    def join(self, member: int, now_ms: int) -> None:
        """Become a member; joining twice changes nothing."""
        self._settle(now_ms)
        if self.has(member):
            return
        slot = next(number for number in range(len(self.slots) + 1) if number not in self.slots)
        self.slots[slot] = GroupMember(member)
        self.slots = dict(sorted(self.slots.items()))
        self.generation += 1
        self._give_unowned()
        self._give_excess(now_ms)

    def leave(self, member: int) -> None:
        """End a membership and deal out all partitions anew; refuses a stranger."""
        slot = next((number for number, found in self.slots.items() if found.member == member), None)
        if slot is None:
            raise Refusal(Status.NOT_A_MEMBER, f"connection {member} is not in group {self.name!r}")
        del self.slots[slot]
        self._deal_anew()

    @property
    def is_steady(self) -> bool:
        """Whether no partition is marked: then nothing changes hands as long as `generation` stays what it is."""
        return not any(member.marked for member in self.slots.values())

    def sync(self, member: int, now_ms: int) -> Assignment | None:
        """What a member may read now, None for a stranger."""
        self._settle(now_ms)
        found = self._find(member)
        return None if found is None else Assignment(self.generation, tuple(sorted(found.unmarked())))

    def roster(self, now_ms: int) -> list[tuple[int, tuple[int, ...]]]:
        """Slot number and owned partitions of each member, marked ones included."""
        self._settle(now_ms)
        return [(slot, tuple(member.owned)) for slot, member in self.slots.items()]

    # ------------------------------------------------------------------ reading and committing

    def may_poll(self, member: int, partition: int, now_ms: int) -> bool:
        """The fence: only the owner reads a partition, and not while it is marked."""
        self._settle(now_ms)
        found = self._find(member)
        return found is not None and partition in found.owned and partition not in found.marked

    def note_polled(self, partition: int, offset: int) -> None:
        """A member was given the messages up to `offset`. Reading older ones again takes nothing back."""
        self.polled[partition] = max(offset, self.polled.get(partition, 0))

    def store(self, member: int, partition: int, offset: int, now_ms: int) -> None:
        """Commit; refuses everybody but the owner. A commit of what was read completes a hand-off."""
        self._settle(now_ms)
        found = self._find(member)
        if found is None or partition not in found.owned:
            raise Refusal(Status.RESOURCE_NOT_FOUND, f"connection {member} does not own partition {partition}")
        self.stored[partition] = offset
        self._settle(now_ms)

    def is_in_flight(self, partition: int) -> bool:
        """Whether something was read of a partition that is not committed yet."""
        polled = self.polled.get(partition)
        return polled is not None and self.stored.get(partition, -1) < polled

    # ------------------------------------------------------------------ called by the topic

    def end(self) -> None:
        """The topic has removed it: whoever still holds it sees that it is not as it was."""
        self.generation += 1

    def resize(self, partitions: int) -> None:
        """The topic has another number of partitions now; if it has fewer, all memberships end."""
        is_less = partitions < self.partitions
        self.partitions = partitions
        for offsets in (self.stored, self.polled):
            for gone in [number for number in offsets if number >= partitions]:
                del offsets[gone]
        if is_less:
            self._end_memberships()
        else:
            self._deal_anew()

    def forget_offsets(self) -> None:
        """The topic was purged: what was read or stored is of messages that are gone, and all memberships end."""
        self.stored.clear()
        self.polled.clear()
        self._end_memberships()

    # ------------------------------------------------------------------ how partitions change hands

    def _end_memberships(self) -> None:
        self.slots.clear()
        self.generation += 1

    def _find(self, member: int) -> GroupMember | None:
        for found in self.slots.values():
            if found.member == member:
                return found
        return None

    def _deal_anew(self) -> None:
        self.generation += 1
        members = list(self.slots.values())
        for number, member in enumerate(members):
            member.marked.clear()
            member.owned = list(range(number, self.partitions, len(members)))

    def _give_unowned(self) -> None:
        owned = {partition for member in self.slots.values() for partition in member.owned}
        unowned = [partition for partition in range(self.partitions) if partition not in owned]
        idle = [member for member in self.slots.values() if not member.owned]
        if not idle:
            return
        for turn, partition in enumerate(unowned):
            idle[turn % len(idle)].owned.append(partition)
            # Nobody owns it, so nobody is at work on it: what its last owner left uncommitted is read again.
            if self.is_in_flight(partition):
                del self.polled[partition]

    def _give_excess(self, now_ms: int) -> None:
        targets = {mark.target for member in self.slots.values() for mark in member.marked.values()}
        idle = [slot for slot, member in self.slots.items() if not member.owned and slot not in targets]
        if not idle:
            return
        for turn, (source, partition) in enumerate(list(self._excess())):
            target = idle[turn % len(idle)]
            if self.is_in_flight(partition):
                source.marked[partition] = _Mark(target, now_ms)
            else:
                source.owned.remove(partition)
                self.slots[target].owned.append(partition)

    def _excess(self) -> Iterator[tuple[GroupMember, int]]:
        """What members hold above their fair share; the first of them may keep one more each, if shares are uneven."""
        share, uneven = divmod(self.partitions, len(self.slots))
        for member in self.slots.values():
            held = member.unmarked()
            if len(held) <= share:
                continue
            allowed = share + 1 if uneven else share
            uneven = max(0, uneven - 1)
            yield from ((member, partition) for partition in held[: allowed - len(held) - 1 : -1])

    def _settle(self, now_ms: int) -> None:
        """Complete the hand-offs that have nothing in flight any more, or have waited long enough."""
        for source in self.slots.values():
            if not source.marked:
                continue
            for partition, mark in list(source.marked.items()):
                # A clock that was set back may end the wait early, but never make it longer.
                is_overdue = abs(now_ms - mark.since_ms) >= REBALANCING_TIMEOUT_MS
                if is_overdue or not self.is_in_flight(partition):
                    del source.marked[partition]
                    source.owned.remove(partition)
                    # A target that left took all marks with it (_deal_anew), so it is there.
                    self.slots[mark.target].owned.append(partition)
                    self.generation += 1
