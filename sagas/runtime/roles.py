"""What the two kinds of process do in the worker's loop: run sagas, or carry out commands."""

import logging
from collections.abc import Sequence
from typing import Protocol

from sagas.ports import CaughtUp, Incoming, ParticipantStore
from sagas.runtime.cleaning import Cleaning, Keeping, service_cleaning
from sagas.runtime.guard import TimeoutGuard
from sagas.runtime.orchestrator import TIMERS_PER_BATCH_MAX, Orchestrator
from sagas.runtime.participant import Service

PULSE_MS_MAX = 1_000
"""How old the knowledge of what is due and in flight may be: another orchestrator on the database may change it."""

LATE_MS = 60_000
"""So long a partition may go unread before it is said, and how often: a broker gives up on a silent member sooner."""

_log = logging.getLogger("sagas.timers")


class Membership(Protocol):
    """One orchestrator among those that share a database, until the others hold it for dead."""

    def enter(self, now_ms: int) -> None:
        """Be a member; nothing when this is one already."""
        ...

    def renew(self, caught_up: CaughtUp | None, now_ms: int) -> None:
        """Say that this one is alive, and what it has read and up to when (None: as far as it said before).

        Raises OwnershipLost, as every transaction of the store does, when it was held for dead meanwhile.
        """
        ...

    def read_by_all_ms(self, caught_up: CaughtUp) -> int:
        """Up to when everything was read, by this one and by the others."""
        ...


class OrchestratorWork:
    """The orchestrator in the loop: messages first, then the timers whose answers cannot be waiting any more.

    `membership` is needed where others work on the same database: it fences off whoever stood still. `cleaning` takes
    away what is not kept for ever, a step in a turn, so that no batch has to wait.
    """

    pauses_ms: Sequence[int] = ()
    """None: what the engine fails on is published again."""

    def __init__(
        self, orchestrator: Orchestrator, membership: Membership | None = None, cleaning: Cleaning | None = None
    ) -> None:
        self._cleaning = cleaning or Cleaning()
        self._orchestrator = orchestrator
        self._membership = membership
        self._renewed_ms = 0
        self._complained_ms = 0
        self._guard = TimeoutGuard()
        self._pulse = orchestrator.pulse()
        self._pulse_ms = 0
        self._read_ms = 0

    def process(self, batch: Sequence[Incoming], now_ms: int) -> None:
        """Decide a batch."""
        self._read_ms = _last_ms(batch, self._read_ms)
        if self._membership is not None:
            self._membership.enter(now_ms)
        self._pulse = self._pulse.after(self._orchestrator.process(batch, now_ms))

    def is_awaiting(self) -> bool:
        """Whether runs are in flight."""
        return self._pulse.in_flight > 0

    def fail(self, incoming: Incoming, reason: str, now_ms: int) -> None:
        """Deal with one message that the engine fails on."""
        self._orchestrator.fail(incoming, reason, now_ms)

    def is_due(self, now_ms: int) -> bool:
        """Whether a timer is due, or it is time to look."""
        due_ms = self._pulse.next_due_ms
        if self._read_ms and self._cleaning.is_due(now_ms):
            return True
        return (due_ms is not None and due_ms <= now_ms) or abs(now_ms - self._pulse_ms) >= PULSE_MS_MAX

    def after_poll(self, caught_up: CaughtUp | None, now_ms: int) -> bool:
        """Fire what is due and whose answers would have been read; whether runs are in flight. Raises OwnershipLost."""
        if self._membership is not None and abs(now_ms - self._renewed_ms) >= PULSE_MS_MAX:
            self._membership.renew(caught_up, now_ms)
            self._renewed_ms = now_ms
        if self._read_ms:
            self._cleaning.step(now_ms, self._read_ms)
        read_ms = self._read_until(caught_up) if caught_up is not None else 0
        has_more = bool(read_ms)
        # Asked again after each batch of them: a burst is to be noticed while most of it is still to come.
        while self._guard.may_fire(now_ms, self._pulse.next_due_ms) and has_more:
            fired = self._orchestrator.fire(read_ms, now_ms)
            has_more = len(fired) == TIMERS_PER_BATCH_MAX
            timeouts = sum(timer.fire.kind in ("timeout", "deadline") for timer in fired)
            self._pulse, self._pulse_ms = self._orchestrator.pulse(), now_ms
            self._guard.note_timeouts(timeouts, self._pulse.in_flight, now_ms)
        self._pulse, self._pulse_ms = self._orchestrator.pulse(), now_ms
        return self._pulse.in_flight > 0

    def _read_until(self, caught_up: CaughtUp) -> int:
        if self._membership is None:
            return caught_up.ms
        read_ms = self._membership.read_by_all_ms(caught_up)
        if caught_up.ms - read_ms > LATE_MS and caught_up.ms - self._complained_ms > LATE_MS:
            self._complained_ms = caught_up.ms
            _log.error("%s", _unread(caught_up, read_ms))
        return read_ms


def _unread(caught_up: CaughtUp, read_ms: int) -> str:
    elsewhere = sorted(caught_up.reading.partitions - caught_up.reading.read)
    since = f"for {(caught_up.ms - read_ms) / 1000:.0f} s" if read_ms else "yet"
    return (
        f"timers wait: one of the partitions that others own ({', '.join(f'{t}/{n}' for t, n in elsewhere)}) was not "
        f"read {since}; see whether the group has a member that stands still or has died, and end it"
    )


def _last_ms(batch: Sequence[Incoming], before_ms: int) -> int:
    """When the broker got the last message of a batch; for an empty one what it was before."""
    return batch[-1].timestamp_ms if batch else before_ms


class ServiceWork:
    """A participant in the loop: commands, and forgetting in small steps. `keeping` says how long things are kept."""

    pauses_ms: Sequence[int] = ()
    """None: a handler that raises is a fault, and its saga sends the command again."""

    def __init__(self, service: Service, store: ParticipantStore, keeping: Keeping | None = None) -> None:
        self._service = service
        self._store = store
        self._cleaning = service_cleaning(store, keeping or Keeping())
        self._read_ms = 0

    def process(self, batch: Sequence[Incoming], now_ms: int) -> None:
        """Carry out a batch."""
        self._read_ms = _last_ms(batch, self._read_ms)
        self._service.process(batch, self._store, now_ms)

    def is_awaiting(self) -> bool:
        """A participant awaits no answers."""
        return False

    def fail(self, incoming: Incoming, reason: str, now_ms: int) -> None:
        """Deal with one message that the engine fails on."""
        self._service.fail(incoming, reason, self._store, now_ms)

    def is_due(self, now_ms: int) -> bool:
        """Whether it is time to forget."""
        return self._read_ms > 0 and self._cleaning.is_due(now_ms)

    def after_poll(self, caught_up: CaughtUp | None, now_ms: int) -> bool:
        """Forget a few rows now and then. A participant awaits no answers."""
        if self._read_ms:
            self._cleaning.step(now_ms, self._read_ms)
        return False
