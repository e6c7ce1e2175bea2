"""Partitions as requests spell them, so that none is searched for twice.

A reader of a dozen partitions names all of them in each of its requests, by stream, topic and number. Looking up what
these bytes stand for is most of what such a request costs, and its answer changes only when a topic or a stream begins
or ends: then everything is forgotten. Only what exists is remembered.
"""

from typing import Final

from sagas.broker.embedded.frames import BodyReader
from sagas.broker.log import Ident, Log, Partition, Status, Topic

_NUMBER_SIZE: Final = 4


class Place:
    """A partition that a request names: its topic, by what name, and where it is now."""

    __slots__ = ("name", "partition", "topic")

    def __init__(self, name: Ident, topic: Topic[None], partition: Partition[None]) -> None:
        self.name = name
        self.topic = topic
        self.partition = partition


class Places:
    """The places of a log."""

    def __init__(self, log: Log[None]) -> None:
        self._log = log
        self._known: dict[tuple[bytes, bytes], Place] = {}
        self._sequence = log.sequence

    @property
    def sequence(self) -> int:
        """It is another number once a place may be another partition's."""
        return self._log.sequence

    def find(self, stream: bytes, spelled: bytes, missing: Status | None = None) -> Place:
        """The partition that `spelled`, a topic and a number, means in `stream`, both as they stand in a request.

        Refuses what is no name; and what does not exist, with `missing` or with what is missing.
        """
        if self._sequence != self._log.sequence:
            self._known.clear()
            self._sequence = self._log.sequence
        found = self._known.get((stream, spelled))
        if found is None:
            found = self._known[stream, spelled] = self._searched(stream, spelled, missing)
        return found

    def _searched(self, stream: bytes, spelled: bytes, missing: Status | None) -> Place:
        name = BodyReader(spelled[:-_NUMBER_SIZE]).ident()
        number = int.from_bytes(spelled[-_NUMBER_SIZE:], "little")
        topic = self._log.topic(BodyReader(stream).ident(), name, missing or Status.TOPIC_NOT_FOUND)
        return Place(name, topic, topic.partition(number, missing or Status.PARTITION_NOT_FOUND))
