"""The named crash points: every call of a port, before and after, of the orchestrator and of a participant.

Theory of operation. A process that is killed stops between two instructions, but only those places differ
for the outside that lie between two calls of a port: what it computed is gone in any case. So each port
call is a point before it and one after it, with a name that says who and what
(`orchestrator relay.mark_published.before`), and a crash is a `Crash` raised there. It is no `Exception`,
so nobody handles it; `finally` blocks do run, but every port call of a life that has ended raises `Crash`
again before it does anything. That makes it honest: nothing of the dead has an effect.

The names are a closed list. A run that reaches a point which is not on it fails, and the sweep
(`sweep.py`) fails when one on it was never reached: neither can be forgotten.
"""

from collections.abc import Iterator
from random import Random
from typing import Literal

Role = Literal["orchestrator", "participant"]

_BROKER_CALLS = (
    "broker.ensure",
    "broker.subscribe",
    "relay.publish",
    "relay.send",
    "relay.settled",
    "worker.poll",
    "worker.commit",
    "worker.reading",
    "worker.rewind",
    "worker.close",
)
_OUTBOX_CALLS = ("relay.unpublished", "relay.mark_published", "relay.take_committed", "relay.note_published")
_STORE_CALLS = (
    "store.begin", "store.seen", "store.load", "store.find", "store.due_timers", "store.parked_for",
    "store.parked_expired", "store.write", "store.commit", "store.next_due_ms", "store.in_flight",
    "store.enter", "store.renew", "store.read_by_all_ms",
)  # fmt: skip
_PARTICIPANT_CALLS = (
    "store.begin", "store.prefetch", "store.recall", "store.savepoint", "store.sql", "store.remember", "store.amend",
    "store.processed", "store.note", "store.add_outbox", "store.add_dead_letters", "store.commit",
    "store.forget_processed",
)  # fmt: skip

_SIDES = ("before", "after")
CLOCK = "clock.now_ms"
"""Reading a clock has no effect outside, so it is one point."""


def _names(calls: tuple[str, ...]) -> frozenset[str]:
    return frozenset((CLOCK, *(f"{call}.{side}" for call in calls for side in _SIDES)))


POINTS: dict[Role, frozenset[str]] = {
    "orchestrator": _names((*_BROKER_CALLS, *_OUTBOX_CALLS, *_STORE_CALLS)),
    "participant": _names((*_BROKER_CALLS, *_OUTBOX_CALLS, *_PARTICIPANT_CALLS)),
}
"""All that there are."""

NEVER = 1 << 60


class Crash(BaseException):
    """This process was killed here."""


class Points:
    """Counts the port calls of all processes, and says which of them is a crash."""

    def __init__(self) -> None:
        self.calls = 0
        self.visited: dict[Role, dict[str, int]] = {"orchestrator": {}, "participant": {}}
        self.crashed: dict[Role, dict[str, int]] = {"orchestrator": {}, "participant": {}}
        self._crash_at = NEVER
        self._every = 0
        self._random: Random | None = None

    def crash_at(self, call: int) -> None:
        """Crash at port call number `call` from 1, once."""
        self._crash_at = call

    def crash_every(self, calls: int, random: Random) -> None:
        """Crash at every so many calls on average, from now on; never when `calls` is 0."""
        self._every, self._random = calls, random
        if calls:
            self._draw()

    def stop(self) -> None:
        """No drawn crash from now on; one that was asked for still comes."""
        if self._every:
            self._every, self._crash_at = 0, NEVER

    def visit(self, role: Role, name: str) -> bool:
        """Note a port call; whether it is a crash."""
        visited = self.visited[role]
        visited[name] = visited.get(name, 0) + 1
        self.calls += 1
        if self.calls < self._crash_at:
            return False
        self._draw()
        return True

    def note_crash(self, role: Role, name: str) -> None:
        """A process was killed at this point."""
        self.crashed[role][name] = self.crashed[role].get(name, 0) + 1

    def unknown(self) -> Iterator[str]:
        """What was reached and is not on the list."""
        for role, visited in self.visited.items():
            yield from (f"{role} {name}" for name in sorted(set(visited) - POINTS[role]))

    def _draw(self) -> None:
        if self._every and self._random is not None:
            self._crash_at = self.calls + max(1, int(self._random.expovariate(1 / self._every)))
        else:
            self._crash_at = NEVER
