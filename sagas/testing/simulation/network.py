"""The broker as a process sees it from afar, and the server itself with Iggy's real weaknesses.

Theory of operation. The server is `MemoryWorld`, whose log passes the contract of the real one. Here it also
crashes: memberships end, and what it had acknowledged lately may be gone, for Iggy answers before it
has written to the disk. Stored offsets stay, so one may lie past the end of a log, and the messages that
come next get offsets that were given before.

A call travels to the server and back. On the way there it may get lost; on the way back the answer may:
both are `BrokerUnavailable` to the caller, who cannot tell which it was.

What is sent at once goes its way without its sender, who may be dead when it arrives. One request does not overtake
another, but the one that is sent behind a lost one arrives, and a connection that is not there yet sends nothing.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from sagas.broker.log import Partition
from sagas.broker.memory import MemoryBroker, MemoryWorld
from sagas.broker.partitioning import partition_of
from sagas.errors import BrokerUnavailable
from sagas.ports import Incoming, Outgoing, Position, Reading, Settled, Subscription, TopicSpec
from sagas.testing.simulation.life import Life, Scene, WorldClock

LATE_RATE = 0.7
"""How many of the messages that get lost turn up later: one that is overtaken is harder than one that is gone."""

NOT_AT_ONCE = 0.2
"""How often a broker that could send at once cannot: a connection to make, a count to ask for."""

ECHO_MS_MAX = 4_000
"""How much later a message may come a second time."""

_US_OF_MS = 1_000


class Server(MemoryWorld):
    """The broker's process: a `MemoryWorld` that can crash."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(WorldClock(scene))
        self._scene = scene
        self.newest_member = 0
        scene.is_member = self.log.is_member

    def new_member(self) -> int:
        """A number for a connection, never given before."""
        self.newest_member = super().new_member()
        return self.newest_member

    def forget_member(self, member: int) -> None:
        """Lose sight of a connection."""
        self.log.leave_all(member)

    def crash(self, forgets_ms: int) -> int:
        """Be gone, with what was acknowledged in the last `forgets_ms` at most; how many messages that are."""
        self.stop()
        forgotten = 0
        after_us = (self._scene.now_ms() - int(self._scene.up_to(forgets_ms))) * _US_OF_MS
        for stream in self.log.streams.values():
            for topic in stream.topics.values():
                for group in topic.groups.values():
                    group.polled.clear()
                if forgets_ms:
                    before = sum(partition.end for partition in topic.partitions)
                    topic.partitions = [_synced(partition, after_us) for partition in topic.partitions]
                    forgotten += before - sum(partition.end for partition in topic.partitions)
        return forgotten


def _synced(partition: "Partition[Any]", after_us: int) -> "Partition[Any]":
    """The partition without what came after `after_us`."""
    kept = Partition[Any](partition.id, partition.epoch, partition.created_us)
    kept.begin_at(partition.first, 0)
    span = partition.span(0, partition.end)
    if span is not None:
        for body, came_us in zip(span.bodies, span.timestamps_us, strict=True):
            if came_us > after_us:
                break
            kept.append(body, count=1, size=0, now_us=came_us)
    return kept


class FarBroker:
    """The `Broker` port over a network that loses calls and answers."""

    def __init__(self, life: Life, server: Server) -> None:
        self._life = life
        self._server = server
        self._scene = life.scene
        self._inner = MemoryBroker(server)
        self._ahead: asyncio.Future[None] | None = None
        """Done when what was sent at once last has arrived, or got lost."""

    async def ensure(self, topics: Sequence[TopicSpec]) -> None:
        """Have the topics there."""
        self._life.reach("broker.ensure.before")
        await self._life.travel()
        await self._inner.ensure(topics)
        self._life.reach("broker.ensure.after")

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        """Append all; see `ports.Broker`."""
        self._life.reach("relay.publish.before")
        await self._life.travel()
        failure = await self._carry(messages)
        await self._life.travel()
        if failure is not None:
            raise failure
        self._life.reach("relay.publish.after")

    def send(self, messages: Sequence[Outgoing], settled: Settled) -> bool:
        """Begin to publish; see `ports.PromptBroker`."""
        self._life.reach("relay.send.before")
        if self._scene.chance(NOT_AT_ONCE):
            return False
        outcome: asyncio.Future[BrokerUnavailable | None] = self._scene.loop.create_future()
        before, self._ahead = self._ahead, self._scene.loop.create_future()
        self._scene.spawn(self._go(messages, before, self._ahead, outcome), "what was sent")
        self._life.spawn(self._hear(outcome, settled), "ear")
        self._life.reach("relay.send.after")
        return True

    async def _go(
        self,
        messages: Sequence[Outgoing],
        before: "asyncio.Future[None] | None",
        arrived: "asyncio.Future[None]",
        outcome: "asyncio.Future[BrokerUnavailable | None]",
    ) -> None:
        await self._scene.sleep_ms(self._scene.up_to(self._scene.faults.latency_ms))
        if before is not None:
            await before
        failure = await self._carry(messages)
        # Nobody waits any more for what is over.
        if not arrived.done():
            arrived.set_result(None)
        if not outcome.done():
            outcome.set_result(failure)

    async def _hear(self, outcome: "asyncio.Future[BrokerUnavailable | None]", settled: Settled) -> None:
        failure = await outcome
        await self._life.travel()
        self._life.reach("relay.settled.before")
        settled(failure)
        self._life.reach("relay.settled.after")

    async def _carry(self, messages: Sequence[Outgoing]) -> BrokerUnavailable | None:
        """What becomes of a publish on its way: None when it is carried out and its answer comes back."""
        scene, faults = self._scene, self._scene.faults
        if scene.chance(faults.request_lost):
            return BrokerUnavailable("publish: the request got lost")
        is_partly = len(messages) > 1 and scene.chance(faults.partly)
        try:
            await self._append(self._part(messages) if is_partly else messages)
            if not is_partly and scene.chance(faults.doubled):
                await self._append(messages)
        except BrokerUnavailable as away:
            return away
        if is_partly or scene.chance(faults.ack_lost):
            return BrokerUnavailable("publish: the answer got lost")
        return None

    async def subscribe(self, group: str, topics: Sequence[str]) -> Subscription:
        """Join a group."""
        self._life.reach("broker.subscribe.before")
        await self._life.travel()
        inner = await self._inner.subscribe(group, topics)
        self._life.members.append(self._server.newest_member)
        self._life.reach("broker.subscribe.after")
        return FarSubscription(self._life, inner)

    async def close(self) -> None:
        """Give up the connections."""
        await self._inner.close()

    async def _append(self, messages: Sequence[Outgoing]) -> None:
        kept = [m for m in messages if not self._scene.chance(self._scene.faults.message_lost)]
        # A request that was sent is carried out, whatever becomes of its sender: only until here can it be called off.
        await self._inner.publish(kept)
        self._scene.now_ms()
        there = {id(message) for message in kept}
        for message in messages:
            is_lost = id(message) not in there
            self._scene.history.append(self._life.name, message, is_lost=is_lost)
            if self._scene.chance(LATE_RATE if is_lost else self._scene.faults.echoed):
                self._scene.spawn(self._echo(message), f"echo of {message.id}")

    async def _echo(self, message: Outgoing) -> None:
        """A retry by something on the way: it comes once more, or for the first time, when it is not expected."""
        await self._scene.sleep_ms(self._scene.up_to(ECHO_MS_MAX))
        with suppress(BrokerUnavailable):
            await MemoryBroker(self._server).publish([message])
            self._scene.now_ms()
            self._scene.history.append(self._life.name, message, is_lost=False)

    def _part(self, messages: Sequence[Outgoing]) -> list[Outgoing]:
        """What of a publish arrived: of some partitions all, of one a part, in their order."""
        spots = [(m.topic, partition_of(m.key, 1_000)) for m in messages]
        arrived = {spot: self._scene.random.randrange(spots.count(spot) + 1) for spot in dict.fromkeys(spots)}
        part: list[Outgoing] = []
        for message, spot in zip(messages, spots, strict=True):
            if arrived[spot]:
                arrived[spot] -= 1
                part.append(message)
        return part


class FarSubscription:
    """The `Subscription` port over the same network."""

    def __init__(self, life: Life, inner: Subscription) -> None:
        self._life = life
        self._inner = inner
        self._scene = life.scene

    async def poll(self, count_max: int) -> Sequence[Incoming]:
        """The next messages."""
        self._life.reach("worker.poll.before")
        await self._life.travel()
        found = await self._inner.poll(count_max)
        await self._life.travel()
        if self._scene.chance(self._scene.faults.ack_lost / 4):
            # As the real adapter: it does not know how far the server thinks it has read.
            await self._inner.rewind()
            raise BrokerUnavailable("poll: the answer got lost")
        self._life.reach("worker.poll.after")
        return found

    async def wait(self, at_most_ms: int) -> bool:
        """False: over this network nobody is told of messages, as by Iggy itself."""
        del at_most_ms
        return False

    async def commit(self, positions: Sequence[Position]) -> Sequence[Position]:
        """Store offsets."""
        self._life.reach("worker.commit.before")
        await self._life.travel()
        if self._scene.chance(self._scene.faults.request_lost):
            raise BrokerUnavailable("commit: the request got lost")
        refused = await self._inner.commit(positions)
        await self._life.travel()
        if self._scene.chance(self._scene.faults.ack_lost):
            raise BrokerUnavailable("commit: the answer got lost")
        self._life.reach("worker.commit.after")
        return refused

    async def reading(self) -> Reading:
        """How far the last poll went."""
        self._life.reach("worker.reading.before")
        await self._life.travel()
        if self._scene.chance(self._scene.faults.request_lost):
            raise BrokerUnavailable("reading: the request got lost")
        reading = await self._inner.reading()
        await self._life.travel()
        self._life.reach("worker.reading.after")
        return reading

    async def rewind(self) -> None:
        """The next poll starts from the stored offsets."""
        self._life.reach("worker.rewind.before")
        await self._inner.rewind()
        self._life.reach("worker.rewind.after")

    async def close(self) -> None:
        """Leave the group."""
        self._life.reach("worker.close.before")
        await self._life.travel()
        await self._inner.close()
        self._life.reach("worker.close.after")
