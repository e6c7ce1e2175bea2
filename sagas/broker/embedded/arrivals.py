"""Waiting for messages: the one request that Iggy does not have.

Theory of operation. A reader says which offset it wants next in each of its partitions, and for how long it
would wait. The reply names the partitions that have such a message: at once if there are any, else when the first
comes, else at the end of the time, and then it names none. It is a hint and nothing more: what is there is read by
polls as ever. A client that asks a server without it is refused (status 3) and goes on polling.

The request, little-endian: the stream, `u32` milliseconds, and for each partition its topic, `u32` number and `u64`
offset. The reply: a `u32` for each partition that has something, its place in the request.
"""

from collections.abc import Callable
from typing import Final

from sagas.broker.embedded.frames import BodyReader, u32
from sagas.broker.log import Log, Partition, Refusal, Status

WAIT_FOR_MESSAGES: Final = 60_001
"""The code of the request. Iggy's own are far below."""

PARTITIONS_MAX: Final = 4_096
WAIT_MS_MAX: Final = 10_000

Place = tuple[int, int]
"""A partition for ever: the epoch in which it was made, and its number."""


class Wait:
    """One reader that waits; `release` is called once, when there is something for it."""

    def __init__(self, wanted: list[tuple[Partition[None], int]], at_most_ms: int) -> None:
        self._wanted = wanted
        self.at_most_ms = at_most_ms
        self.release: Callable[[], None] = _nobody

    @property
    def places(self) -> set[Place]:
        """Where it waits."""
        return {(partition.epoch, partition.id) for partition, _ in self._wanted}

    @property
    def found(self) -> bytes:
        """The reply as things stand."""
        return b"".join(u32(place) for place, (partition, offset) in enumerate(self._wanted) if partition.end > offset)


class Arrivals:
    """Who waits for which partition."""

    def __init__(self) -> None:
        self._waiting: dict[Place, dict[Wait, None]] = {}

    def add(self, wait: Wait) -> None:
        """Have `wait` released by the first message it waits for."""
        for place in wait.places:
            self._waiting.setdefault(place, {})[wait] = None

    def remove(self, wait: Wait) -> None:
        """Forget it."""
        for place in wait.places:
            waiting = self._waiting.get(place, {})
            waiting.pop(wait, None)
            if not waiting:
                self._waiting.pop(place, None)

    def note(self, partition: Partition[None]) -> None:
        """Messages have come to `partition`."""
        for wait in list(self._waiting.get((partition.epoch, partition.id), ())):
            wait.release()


def read_wait(log: Log[None], body: BodyReader) -> Wait:
    """Decode a request. Refuses partitions that are not there, and more than `PARTITIONS_MAX`."""
    stream = body.ident()
    at_most_ms = min(body.u32(), WAIT_MS_MAX)
    wanted: list[tuple[Partition[None], int]] = []
    while body.left:
        if len(wanted) >= PARTITIONS_MAX:
            raise Refusal(Status.INVALID_FORMAT, f"more than {PARTITIONS_MAX} partitions to wait for")
        topic = log.topic(stream, body.ident())
        wanted.append((topic.partition(body.u32()), body.u64()))
    return Wait(wanted, at_most_ms)


def _nobody() -> None:
    """Nobody has to be told: the reader is not waiting yet."""
