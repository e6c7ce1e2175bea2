"""Who waits for messages, and in which partitions.

A request that finds nothing may wait (`together.py`): it is held here until a message comes to one of its
partitions, or its time is over.
"""

from collections.abc import Callable, Collection

from sagas.broker.log import Partition

Place = tuple[int, int]
"""A partition for ever: the epoch in which it was made, and its number."""


class Wait:
    """A request that may wait. `reply` says what there is, b"" for nothing; `release` is called when more has come."""

    def __init__(
        self, partitions: Collection[Partition[None]], at_most_ms: int, reply: Callable[[], tuple[bytes, ...]]
    ) -> None:
        self.places = frozenset((partition.epoch, partition.id) for partition in partitions)
        self.at_most_ms = at_most_ms
        self.reply = reply
        self.release: Callable[[], None] = _nobody


class Arrivals:
    """Who waits for which partition."""

    def __init__(self) -> None:
        self._waiting: dict[Place, dict[Wait, None]] = {}

    def add(self, wait: Wait) -> None:
        """Have `wait` released by the next message in one of its places."""
        for place in wait.places:
            self._waiting.setdefault(place, {})[wait] = None

    def remove(self, wait: Wait) -> None:
        """Forget it."""
        for place in wait.places:
            waiting = self._waiting.get(place, {})
            waiting.pop(wait, None)
            if not waiting:
                self._waiting.pop(place, None)

    def note(self, *partitions: Partition[None]) -> None:
        """Messages have come to these, all of which are there by now."""
        released: dict[Wait, None] = {}
        for partition in partitions:
            released |= self._waiting.get((partition.epoch, partition.id), {})
        for wait in released:
            wait.release()


def _nobody() -> None:
    """Nobody has to be told: the request is not waiting yet."""
