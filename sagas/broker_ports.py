"""The ports towards the broker: reading in a group, publishing, and sending at once. Part of `sagas/ports.py`."""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from sagas.errors import BrokerError
from sagas.records import Incoming, Outgoing, Position, Reading, TopicSpec


class Subscription(Protocol):
    """One member of a consumer group, reading the partitions of its topics that the group gives it."""

    async def poll(self, count_max: int) -> Sequence[Incoming]:
        """The next messages, at most `count_max`, () when there are none now; those of a partition in order, and each
        once until `rewind` or `close`. Raises BrokerUnavailable; then reading goes on from the stored offsets."""
        ...

    async def wait(self, at_most_ms: int) -> bool:
        """Return as soon as a poll may bring something, after `at_most_ms` at the latest: True. False, at once, where
        the broker cannot tell. The next poll may read only what was told of. Raises BrokerUnavailable."""
        ...

    async def commit(self, positions: Sequence[Position]) -> Sequence[Position]:
        """Store offsets, after the database commit; which of them were refused. That of a partition that has gone to
        another member is, and read again by that one. Raises BrokerUnavailable; then messages may be delivered again.
        """
        ...

    async def reading(self) -> Reading:
        """How far the last poll went. Raises BrokerUnavailable."""
        ...

    async def rewind(self) -> None:
        """Forget what was polled and not committed: the next poll starts from the stored offsets."""

    async def close(self) -> None:
        """Leave the group."""


class Broker(Protocol):
    """Streams of messages. One object is one connection pair: polling and sending do not wait for each other."""

    async def ensure(self, topics: Sequence[TopicSpec]) -> None:
        """Have the stream and the topics there. Topics that exist are taken as they are."""

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        """Append all, those of one partition in the given order; returns once all are acknowledged. Raises
        BrokerUnavailable when any outcome is unknown: publish all again under the same ids."""

    async def subscribe(self, group: str, topics: Sequence[str]) -> Subscription:
        """Join the group `group` on each of `topics`, creating it where it is missing."""
        ...

    async def close(self) -> None:
        """Give up the connections. Calling it twice does nothing."""


Settled = Callable[[BrokerError | None], None]
"""Told of what became of messages that were sent: None when they are acknowledged. Does not raise."""


@runtime_checkable
class PromptBroker(Broker, Protocol):
    """A broker that can send at once, without giving the event loop a turn."""

    def send(self, messages: Sequence[Outgoing], settled: Settled) -> bool:
        """Begin to publish, behind what was sent before; `settled` is called once, perhaps before this returns, with
        what `publish` would have raised. False: nothing was done, because it takes more than sending; `publish` it."""
        ...
