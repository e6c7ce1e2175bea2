"""Who waits for messages, and in which partitions.

A request that finds nothing may wait (`reading.py`): its connection is told here when a message comes to one of its
partitions. Readers ask for the same partitions again and again, so a connection stays noted under those it asked for
last, whether it waits just now or not.
"""

from collections.abc import Collection
from typing import Protocol

from sagas.broker.log import Partition

Key = tuple[int, int]
"""A partition for ever: the epoch in which it was made, and its number."""


class Waiting(Protocol):
    """Somebody who may be waiting."""

    def look(self) -> None:
        """Messages have come to one of the partitions."""
        ...


class Wait(Protocol):
    """A request that may wait for messages."""

    at_most_ms: int

    @property
    def partitions(self) -> Collection[Partition[None]]:
        """Those that it waits for."""
        ...

    def reply(self) -> tuple[bytes, ...]:
        """The pieces of what there is, none for nothing."""
        ...


class Arrivals:
    """Who is to be told of messages in which partition."""

    def __init__(self) -> None:
        self._noted: dict[Key, dict[Waiting, None]] = {}
        self._keys: dict[Waiting, frozenset[Key]] = {}

    def watch(self, who: Waiting, partitions: Collection[Partition[None]]) -> None:
        """Have `who` told of messages in these from now on, and in no others."""
        keys = frozenset([(partition.epoch, partition.id) for partition in partitions])
        before = self._keys.get(who)
        if keys == before:
            return
        self.forget(who)
        self._keys[who] = keys
        for key in keys:
            self._noted.setdefault(key, {})[who] = None

    def forget(self, who: Waiting) -> None:
        """Tell it nothing any more."""
        for key in self._keys.pop(who, ()):
            noted = self._noted[key]
            del noted[who]
            if not noted:
                del self._noted[key]

    def note(self, *partitions: Partition[None]) -> None:
        """Messages have come to these, all of which are there by now."""
        told: dict[Waiting, None] = {}
        for partition in partitions:
            told |= self._noted.get((partition.epoch, partition.id), {})
        for who in told:
            who.look()
