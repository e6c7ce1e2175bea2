"""The server behind `MemoryBroker`: the pure log, alive or stopped, on a clock that is given."""

from collections.abc import Callable, Iterable, Mapping

import msgspec

from sagas.broker.log import Log, Topic
from sagas.errors import BrokerUnavailable, TopicMissing
from sagas.ports import Clock

US_OF_MS = 1_000
US_OF_S = 1_000_000

SEGMENT_SIZE = 64 * 1024 * 1024
"""Of payloads, in bytes: from this size on a partition begins a new segment."""

CLEAN_EVERY_US = 60 * US_OF_S
"""How often expired messages are looked for: Iggy's own default."""


class Record(msgspec.Struct, frozen=True):
    """A message as it is kept."""

    id: str
    payload: bytes
    headers: Mapping[str, str]


class MemoryWorld:
    """The server: streams, topics, messages and groups, shared by the brokers that are made with it.

    Messages expire as in the real one: by whole segments of `segment_size` bytes, looked for every minute.
    """

    def __init__(self, clock: Clock, *, segment_size: int = SEGMENT_SIZE) -> None:
        self.clock = clock
        self.log = Log[Record]()
        self.segment_size = segment_size
        self._cleaned_us = 0
        self.is_up = True
        self._members = 0
        self._listeners: dict[tuple[str, str], list[Callable[[], None]]] = {}

    def stop(self) -> None:
        """Be gone: every call raises BrokerUnavailable, and all members are out of their groups."""
        self.is_up = False
        for member in range(1, self._members + 1):
            self.log.leave_all(member)

    def start(self) -> None:
        """Be there again, with all messages and stored offsets."""
        self.is_up = True

    def clean(self) -> None:
        """Remove what has expired, once a minute."""
        now_us = self.clock.now_ms() * US_OF_MS
        if now_us - self._cleaned_us >= CLEAN_EVERY_US:
            self._cleaned_us = now_us
            self.log.expire(now_us)

    def require_up(self) -> None:
        """Raise BrokerUnavailable while it is stopped."""
        if not self.is_up:
            raise BrokerUnavailable("the memory broker is stopped; start() it")

    def topic(self, stream: str, topic: str) -> Topic[Record]:
        """The topic of that name. Raises BrokerError when it is not there."""
        found = self.log.find_topic(stream, topic)
        if found is None:
            raise TopicMissing(stream, topic)
        return found

    def note_published(self, stream: str, topics: Iterable[str]) -> None:
        """Wake those who listen to one of these topics; nobody else has to look."""
        for topic in topics:
            for wake in self._listeners.get((stream, topic), ()):
                wake()

    def add_listener(self, stream: str, topics: Iterable[str], wake: Callable[[], None]) -> None:
        """Have `wake` called whenever something is published to one of these topics."""
        for topic in topics:
            self._listeners.setdefault((stream, topic), []).append(wake)

    def remove_listener(self, wake: Callable[[], None]) -> None:
        """Call it no more."""
        for listeners in self._listeners.values():
            if wake in listeners:
                listeners.remove(wake)

    def new_member(self) -> int:
        """A number for a connection, never given before."""
        self._members += 1
        return self._members
