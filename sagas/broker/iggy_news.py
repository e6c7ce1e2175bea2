"""Which topics have something new, for one request instead of one for each partition.

Theory of operation. Iggy has no request that waits for messages, and none that reads several partitions at once.
But one tells how many messages and bytes each topic of a stream has. A poll asks that first and then reads the
partitions only of those topics whose numbers are not those of the look before; a topic stays *unread* until all its
partitions were read to their end after such a look. The numbers are a hint and nothing else: every `SWEEP_S` all
topics count as unread, and so they do whenever the partitions of this member have changed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from sagas.broker import iggy_wire as wire

SWEEP_S = 1.0
"""How long a partition may go unread because its topic is said to have nothing new."""


class News:
    """What one subscription knows of its topics. `ask` sends GET_STREAM and answers with the reply."""

    def __init__(self, topics: Sequence[str], ask: Callable[[], Awaitable[bytes]]) -> None:
        self._topics = topics
        self._ask = ask
        self._stamp: wire.Stamp | None = None
        self._stamps: dict[str, wire.Stamp] = {}
        self._sweep_due_at = 0.0
        self.unread: set[str] = set()
        """The topics whose partitions are to be read."""

    def forget(self) -> None:
        """Take all topics for unread at the next look."""
        self._sweep_due_at = 0.0

    def are_read(self) -> None:
        """All partitions of the unread topics were read to their end."""
        self.unread = set()

    async def look(self) -> None:
        """Find out which topics are unread, unless there are some still."""
        now = asyncio.get_running_loop().time()
        if now >= self._sweep_due_at:
            self.unread = set(self._topics)
            self._sweep_due_at = now + SWEEP_S
        if self.unread:
            return
        reply = await self._ask()
        stamp = wire.read_stamp(reply)
        if stamp is not None and stamp == self._stamp:
            return
        stamps = wire.read_topic_stamps(reply)
        if stamp is None or stamps is None:
            # No such stream, or a server that says it in another way: then each poll reads all.
            self.unread = set(self._topics)
            return
        self.unread = {topic for topic in self._topics if stamps.get(topic) != self._stamps.get(topic)}
        self._stamp, self._stamps = stamp, stamps
