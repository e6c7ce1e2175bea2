"""A broker in this process: the port `Broker` over the pure log. For tests, simulations and a first look.

Theory of operation. A `MemoryWorld` is the server: it holds the log and lives as long as somebody refers to
it. A `MemoryBroker` is one process's connection to it, and each of its subscriptions is a member of its own,
as with the real adapter; the same contract tests run over both. Nothing is shared but bytes: what is
published is taken apart, and what is read is a new record.

Every call gives the loop one turn before it acts, so that other tasks come in between where they
would in earnest, and a cancelled call has done nothing.

`MemoryWorld.stop` is a server that is gone: calls raise BrokerUnavailable and all memberships end, while messages
and stored offsets are kept, as on a disk. After `start`, subscriptions join again at their next call.
"""

import logging
from collections.abc import Sequence
from uuid import UUID

from anyio import move_on_after
from anyio.lowlevel import checkpoint

from sagas.broker.log import Group, Membership, Refusal, Start, Status, Strategy, Topic
from sagas.broker.memory_world import US_OF_MS, US_OF_S, MemoryWorld, Record
from sagas.broker.outgoing import MESSAGES_EXPIRED, checked_headers, checked_name, checked_payload, message_id
from sagas.broker.partitioning import partition_of
from sagas.errors import BrokerError, BrokerUnavailable
from sagas.ports import Incoming, Outgoing, Position, Reading, Settled, Subscription, TopicSpec
from sagas.records import Partition

__all__ = ["MemoryBroker", "MemorySubscription", "MemoryWorld"]

_log = logging.getLogger("sagas.broker")


class MemoryBroker:
    """One process's connection to a `MemoryWorld`; see `ports.Broker`."""

    def __init__(self, world: MemoryWorld, *, stream: str = "sagas") -> None:
        """Raises SettingsError for a stream's name that Iggy would not take."""
        self._world = world
        self._stream = checked_name("stream", stream)
        self._subscriptions: list[MemorySubscription] = []
        self._is_closed = False

    def __repr__(self) -> str:
        """Which stream it is on."""
        return f"MemoryBroker(stream={self._stream!r})"

    async def ensure(self, topics: Sequence[TopicSpec]) -> None:
        """Have the stream and the topics there; see `ports.Broker`. The server's default is to keep everything."""
        for spec in topics:
            checked_name("topic", spec.name)
        await self._turn()
        log, now_us = self._world.log, self._now_us()
        if log.find_stream(self._stream) is None:
            log.create_stream(self._stream, now_us)
        for spec in topics:
            if log.find_topic(self._stream, spec.name) is None:
                expiry_us = spec.expiry_s * US_OF_S if spec.expiry_s else None
                log.create_topic(self._stream, spec.name, spec.partitions, now_us, expiry_us=expiry_us)

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        """Append all or nothing; see `ports.Broker`. Raises BrokerError naming a message that Iggy could not take."""
        await self._turn()
        self._append(messages)

    def send(self, messages: Sequence[Outgoing], settled: Settled) -> bool:
        """Append all or nothing, at once; see `ports.PromptBroker`."""
        if self._is_closed or not self._world.is_up:
            return False
        try:
            self._append(messages)
        except BrokerError as error:
            settled(error)
        else:
            settled(None)
        return True

    def _append(self, messages: Sequence[Outgoing]) -> None:
        made = [(_topic(self._world, self._stream, message.topic), message, _record(message)) for message in messages]
        now_us = self._now_us()
        for topic, message, record in made:
            partition = topic.partition(partition_of(message.key, len(topic.partitions)))
            if partition.open_bytes >= self._world.segment_size:
                partition.begin_segment()
            partition.append(record, count=1, size=len(record.payload), now_us=now_us)
        self._world.note_published(self._stream, {message.topic for message in messages})

    async def subscribe(self, group: str, topics: Sequence[str]) -> Subscription:
        """Join the group on each of `topics`; see `ports.Broker`. Raises BrokerError when a topic is not there."""
        checked_name("group", group)
        await self._turn()
        subscription = MemorySubscription(self._world, self._stream, group, topics)
        self._subscriptions.append(subscription)
        return subscription

    async def close(self) -> None:
        """Give up the connection; its members leave their groups."""
        self._is_closed = True
        for subscription in self._subscriptions:
            await subscription.close()

    async def _turn(self) -> None:
        if self._is_closed:
            raise BrokerError(f"{self!r}: closed")
        await checkpoint()
        _require_up(self._world)
        self._world.clean()

    def _now_us(self) -> int:
        return self._world.clock.now_ms() * US_OF_MS


class MemorySubscription:
    """One member of the group `group`. Its positions work as those in `iggy_subscription.py`."""

    def __init__(self, world: MemoryWorld, stream: str, group: str, topics: Sequence[str]) -> None:
        """Joins at once. Raises BrokerError when a topic is not there."""
        self._world = world
        self._stream = stream
        self._group = group
        self._topics = tuple(dict.fromkeys(topics))
        self._member = world.new_member()
        self._next: dict[Partition, int] = {}
        self._read: set[Partition] = set()
        self._generations: dict[str, int] = {}
        self._first = 0
        self._is_closed = False
        self._settle()

    async def poll(self, count_max: int) -> Sequence[Incoming]:
        """The next messages, at most `count_max`; see `ports.Subscription`."""
        await self._turn()
        self._settle()
        owned = list(self._next)
        self._read = set(owned)
        found: list[Incoming] = []
        for turn in range(len(owned)):
            # Each sweep starts one further, so that a full first partition does not starve the rest.
            at = owned[(self._first + turn) % len(owned)]
            if not self._has(*at, self._next[at]):
                continue
            polled = self._poll_one(at, count_max - len(found))
            if polled:
                found.extend(polled)
                self._next[at] = polled[-1].offset + 1
                if len(found) >= count_max:
                    self._read = set()
                    break
        self._first += 1
        return found

    async def wait(self, at_most_ms: int) -> bool:
        """Return when a poll may bring something; see `ports.Subscription`."""
        await self._turn()
        with move_on_after(at_most_ms / 1000):
            while not any(self._has(*at, following) for at, following in self._next.items()):
                await self._world.something_published(self._stream, self._topics)
        return True

    def _has(self, topic: str, partition: int, offset: int) -> bool:
        return _topic(self._world, self._stream, topic).partition(partition).end > offset

    async def reading(self) -> Reading:
        """How far the last poll went; see `ports.Subscription`."""
        await self._turn()
        self._settle()
        topics = [_topic(self._world, self._stream, topic) for topic in self._topics]
        partitions = frozenset((topic.name, partition.id) for topic in topics for partition in topic.partitions)
        return Reading(partitions=partitions, read=frozenset(self._read))

    async def commit(self, positions: Sequence[Position]) -> None:
        """Store offsets; see `ports.Subscription`."""
        await self._turn()
        self._settle()
        for position in positions:
            self._store(position)

    async def rewind(self) -> None:
        """The next poll starts from the stored offsets."""
        self._next = {}

    async def close(self) -> None:
        """Leave the group."""
        if self._is_closed:
            return
        self._is_closed = True
        self._world.log.leave_all(self._member)

    async def _turn(self) -> None:
        if self._is_closed:
            raise BrokerError(f"group {self._group!r}: this subscription was closed")
        await checkpoint()
        _require_up(self._world)
        self._world.clean()

    def _settle(self) -> None:
        """Be a member of every topic's group, and have positions for the partitions that are ours."""
        now_ms = self._world.clock.now_ms()
        groups = [self._group_of(topic) for topic in self._topics]
        if not all(group.has(self._member) for group in groups):
            self._next = {}
            self._generations = {}
            for group in groups:
                group.join(self._member, now_ms)
        positions: dict[Partition, int] = {}
        for topic, group in zip(self._topics, groups, strict=True):
            assignment = group.sync(self._member, now_ms)
            assert assignment is not None, "joined above"
            if assignment.generation != self._generations.get(topic):
                # Even one that is ours may have been another's in between.
                self._read = {at for at in self._read if at[0] != topic}
                self._generations[topic] = assignment.generation
            for partition in assignment.partitions:
                at = (topic, partition)
                positions[at] = self._next[at] if at in self._next else self._start_of(group, at)
        self._next = positions

    def _group_of(self, topic: str) -> Group:
        there = _topic(self._world, self._stream, topic)
        return there.find_group(self._group) or there.create_group(self._group)

    def _start_of(self, group: Group, at: Partition) -> int:
        topic, number = at
        stored = group.stored.get(number)
        if stored is None:
            return 0
        end = _topic(self._world, self._stream, topic).partition(number).end
        if stored < end:
            return stored + 1
        _log.error(
            "topic %r, partition %d: group %r has dealt with offset %d and the log ends before it: reading the "
            "partition from its beginning, messages known by their id change nothing",
            *(topic, number, self._group, stored),
        )
        return 0

    def _poll_one(self, at: Partition, count_max: int) -> list[Incoming]:
        topic, number = at
        there = _topic(self._world, self._stream, topic)
        reader = Membership(there.group(self._group), self._member)
        start = Start(Strategy.OFFSET, self._next[at])
        # Never fenced: which partitions are ours was asked in this same turn of the loop.
        span = there.poll(number, reader, start, count=count_max, now_ms=self._world.clock.now_ms())
        if span is None:
            return []
        if span.first > self._next[at]:
            _log.warning(MESSAGES_EXPIRED, span.first - self._next[at], *at, self._group)
        return [
            _incoming(at, span.first + index, timestamp_us, record)
            for index, (record, timestamp_us) in enumerate(zip(span.bodies, span.timestamps_us, strict=True))
        ]

    def _store(self, position: Position) -> None:
        at = (position.topic, position.partition)
        topic = _topic(self._world, self._stream, position.topic)
        try:
            reader = Membership(topic.group(self._group), self._member)
            topic.store_offset(position.partition, reader, position.offset, self._world.clock.now_ms())
        except Refusal as refusal:
            if refusal.status is Status.INVALID_OFFSET:
                _log.error("topic %r, partition %d: %s; reading goes on from the stored offset", *at, refusal)
            elif refusal.status not in {Status.RESOURCE_NOT_FOUND, Status.GROUP_NOT_FOUND}:
                raise
            self._next.pop(at, None)
            return
        if self._next.get(at, position.offset + 1) <= position.offset:
            # Dealt with since a rewind: no need to read it once more.
            self._next[at] = position.offset + 1


def _require_up(world: MemoryWorld) -> None:
    if not world.is_up:
        raise BrokerUnavailable("the memory broker is stopped; start() it")


def _topic(world: MemoryWorld, stream: str, topic: str) -> Topic[Record]:
    found = world.log.find_topic(stream, topic)
    if found is None:
        raise BrokerError(f"topic {topic!r} of stream {stream!r} is not there; call ensure() first")
    return found


def _record(message: Outgoing) -> Record:
    headers = checked_headers(message)
    return Record(message_id(message), checked_payload(message), tuple(sorted(headers.items())))


def _incoming(at: Partition, offset: int, timestamp_us: int, record: Record) -> Incoming:
    topic, partition = at
    return Incoming(
        id=str(UUID(int=record.id)),
        topic=topic,
        partition=partition,
        offset=offset,
        timestamp_ms=timestamp_us // US_OF_MS,
        payload=record.payload,
        headers=dict(record.headers),
    )
