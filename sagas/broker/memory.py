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

from collections.abc import Sequence

from anyio.lowlevel import checkpoint

from sagas.broker.memory_subscription import MemorySubscription
from sagas.broker.memory_world import US_OF_MS, US_OF_S, MemoryWorld, Record
from sagas.broker.outgoing import checked_headers, checked_name, checked_payload, message_id_text
from sagas.broker.partitioning import partition_of
from sagas.errors import BrokerError
from sagas.ports import Outgoing, Settled, Subscription, TopicSpec

__all__ = ["MemoryBroker", "MemorySubscription", "MemoryWorld"]


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
        made = [(self._world.topic(self._stream, message.topic), message, _record(message)) for message in messages]
        now_us = self._now_us()
        for topic, message, record in made:
            partition = topic.partitions[partition_of(message.key, len(topic.partitions))]
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
        self._world.require_up()
        self._world.clean()

    def _now_us(self) -> int:
        return self._world.clock.now_ms() * US_OF_MS


def _record(message: Outgoing) -> Record:
    headers = dict(sorted(checked_headers(message).items()))
    return Record(message_id_text(message), checked_payload(message), headers)
