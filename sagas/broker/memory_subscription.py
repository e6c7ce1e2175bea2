"""What one member of a group reads of a `MemoryWorld`: the port `Subscription` over the pure log.

Theory of operation. Which partitions are ours is asked at every call, as the real adapter is told by its server; but
nothing is worked out or looked up by name as long as nothing has changed, which is nearly always. Topics change with
`Log.sequence`, and what is ours with `Group.generation`, once no partition is marked. Partitions are not held, only
their topics: a topic may get others. `wait` looks before it gives the loop a turn, for it takes nothing; the poll that
follows a wait gives it none, for one is enough: half of an order's turns were these. Positions work as those in
`iggy_subscription.py`.
"""

import logging
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from anyio.lowlevel import checkpoint

from sagas.broker.log import Group, Membership, Refusal, Status, Topic
from sagas.broker.memory_world import US_OF_MS, MemoryWorld, Record
from sagas.broker.notifier import notifier
from sagas.broker.outgoing import MESSAGES_EXPIRED, checked_positions
from sagas.broker.positions import Positions
from sagas.errors import BrokerError
from sagas.ports import Incoming, Position, Reading
from sagas.records import Partition

_log = logging.getLogger("sagas.broker")


class _Place(NamedTuple):
    """A partition that is ours, and whose it is."""

    at: Partition
    number: int
    topic: Topic[Record]
    group: Group


class MemorySubscription:
    """One member of the group `group` on each of `topics`."""

    def __init__(self, world: MemoryWorld, stream: str, group: str, topics: Sequence[str]) -> None:
        """Joins at once. Raises BrokerError when a topic is not there."""
        self._world = world
        self._stream = stream
        self._group = group
        self._topics = tuple(dict.fromkeys(topics))
        self._member = world.new_member()
        self._positions = Positions()
        self._read: AbstractSet[Partition] = frozenset()
        self._groups: dict[str, tuple[Group, int]] = {}
        self._places: list[_Place] = []
        self._settled_at: int | None = None
        """The log's sequence that all this is of, None when it has to be worked out anew anyhow."""
        self._first = 0
        self._has_given_turn = False
        self._news = notifier()
        self._is_closed = False
        self._settle()
        world.add_listener(stream, self._topics, self._news.notify)

    async def poll(self, count_max: int) -> Sequence[Incoming]:
        """The next messages, at most `count_max`; see `ports.Subscription`."""
        self._require_open()
        if not self._has_given_turn:
            await checkpoint()
        self._has_given_turn = False
        self._settle()
        self._read = frozenset(self._positions.next)
        places, positions = self._places, self._positions.next
        found: list[Incoming] = []
        for turn in range(len(places)):
            # Each sweep starts one further, so that a full first partition does not starve the rest.
            place = places[(self._first + turn) % len(places)]
            if place.topic.partitions[place.number].end <= positions[place.at]:
                continue
            found += self._poll_one(place, count_max - len(found))
            if len(found) >= count_max:
                self._read = frozenset()
                break
        self._first += 1
        return found

    async def wait(self, at_most_ms: int) -> bool:
        """Return when a poll may bring something; see `ports.Subscription`."""
        self._require_open()
        if self._has_any():
            await checkpoint()
        else:
            await self._news.wait_for(self._has_any, at_most_ms / 1000)  # which gives the loop a turn
        self._has_given_turn = True
        return True

    def _has_any(self) -> bool:
        self._world.require_up()
        if self._settled_at != self._world.log.sequence:
            return any(map(self._has, self._positions.next))
        positions = self._positions.next
        for at, number, topic, _ in self._places:  # noqa: SIM110 - any() costs twice as much, and this is asked often
            if topic.partitions[number].end > positions[at]:
                return True
        return False

    def _has(self, at: Partition) -> bool:
        topic, number = at
        return self._world.topic(self._stream, topic).partition(number).end > self._positions.next[at]

    async def reading(self) -> Reading:
        """How far the last poll went; see `ports.Subscription`."""
        self._require_open()
        await checkpoint()
        self._settle()
        topics = [self._world.topic(self._stream, topic) for topic in self._topics]
        partitions = frozenset((topic.name, partition.id) for topic in topics for partition in topic.partitions)
        return Reading(partitions=partitions, read=frozenset(self._read))

    async def commit(self, positions: Sequence[Position]) -> Sequence[Position]:
        """Store offsets; see `ports.Subscription`."""
        self._require_open()
        checked_positions(positions, self._topics)
        await checkpoint()
        if self._settle():
            return positions
        return [position for position in positions if not self._has_stored(position)]

    async def rewind(self) -> None:
        """The next poll starts from the stored offsets."""
        self._positions.put({})
        self._settled_at = None

    async def close(self) -> None:
        """Leave the group."""
        if self._is_closed:
            return
        self._is_closed = True
        self._world.remove_listener(self._news.notify)
        self._news.close()
        self._world.log.leave_all(self._member)

    def _require_open(self) -> None:
        if self._is_closed:
            raise BrokerError(f"group {self._group!r}: this subscription was closed")

    # ----------------------------------------------------------------- what is ours

    def _settle(self) -> bool:
        """Be a member of every topic's group, and have positions for the partitions that are ours.

        Whether a membership had ended: then what was polled may be gone, and others have its offsets.
        """
        self._world.require_up()
        self._world.clean()
        if self._settled_at == self._world.log.sequence:
            for group, generation in self._groups.values():
                if group.generation != generation:
                    break
            else:
                return False
        return self._settle_anew()

    def _settle_anew(self) -> bool:
        now_ms = self._world.clock.now_ms()
        topics = [self._world.topic(self._stream, topic) for topic in self._topics]
        groups = [topic.find_group(self._group) or topic.create_group(self._group) for topic in topics]
        was_removed = not all(group.has(self._member) for group in groups)
        if was_removed:
            self._positions.begin()
            self._groups = {}
            for group in groups:
                group.join(self._member, now_ms)
        known = self._positions.next
        positions: dict[Partition, int] = {}
        places: list[_Place] = []
        for name, topic, group in zip(self._topics, topics, groups, strict=True):
            assignment = group.sync(self._member, now_ms)
            assert assignment is not None, "joined above"
            if self._groups.get(name) != (group, assignment.generation):
                # Even one that is ours may have been another's in between.
                self._read = {at for at in self._read if at[0] != name}
            self._groups[name] = group, assignment.generation
            for number in assignment.partitions:
                place = _Place((name, number), number, topic, group)
                places.append(place)
                positions[place.at] = known[place.at] if place.at in known else self._start_of(place)
        self._positions.put(positions)
        self._places = places
        # What is marked changes hands in time, and nothing tells of it.
        self._settled_at = self._world.log.sequence if all(group.is_steady for group in groups) else None
        return was_removed

    def _start_of(self, place: _Place) -> int:
        stored = place.group.stored.get(place.number)
        if stored is None:
            return 0
        if stored < place.topic.partitions[place.number].end:
            return stored + 1
        _log.error(
            "topic %r, partition %d: group %r has dealt with offset %d and the log ends before it: reading the "
            "partition from its beginning, messages known by their id change nothing",
            *(*place.at, self._group, stored),
        )
        return 0

    # ----------------------------------------------------------------- reading and storing

    def _poll_one(self, place: _Place, count_max: int) -> list[Incoming]:
        """Reads past the group's fence: which partitions are ours was asked in this same turn of the loop."""
        at, number, topic, group = place
        asked = self._positions.next[at]
        span = topic.partitions[number].span(asked, count_max)
        if span is None:
            return []
        group.note_polled(number, span.last)
        self._positions.next[at] = span.last + 1
        if span.first > asked:
            _log.warning(MESSAGES_EXPIRED, span.first - asked, *at, self._group)
        return [
            _incoming(at, span.first + index, timestamp_us, record)
            for index, (record, timestamp_us) in enumerate(zip(span.bodies, span.timestamps_us, strict=True))
        ]

    def _has_stored(self, position: Position) -> bool:
        is_stored = self._positions.has_returned(position) and self._store(position)
        if is_stored:
            self._positions.note_stored(position)
        else:
            self._positions.forget((position.topic, position.partition))
            self._settled_at = None
        return is_stored

    def _store(self, position: Position) -> bool:
        """Whether it was stored."""
        at = (position.topic, position.partition)
        topic = self._world.topic(self._stream, position.topic)
        try:
            topic.store_offset(position.partition, self._reader(topic), position.offset, self._world.clock.now_ms())
        except Refusal as refusal:
            if refusal.status is Status.INVALID_OFFSET:
                _log.error("topic %r, partition %d: %s; reading goes on from the stored offset", *at, refusal)
            elif refusal.status not in {Status.RESOURCE_NOT_FOUND, Status.GROUP_NOT_FOUND}:
                raise
            return False
        return True

    def _reader(self, topic: Topic[Record]) -> Membership:
        return Membership(topic.group(self._group), self._member)


def _incoming(at: Partition, offset: int, timestamp_us: int, record: Record) -> Incoming:
    topic, partition = at
    return Incoming(
        id=record.id,
        topic=topic,
        partition=partition,
        offset=offset,
        timestamp_ms=timestamp_us // US_OF_MS,
        payload=record.payload,
        headers=dict(record.headers),
    )
