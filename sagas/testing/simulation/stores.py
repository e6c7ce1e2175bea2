"""The orchestrator's database as its process sees it: the real SQLite, every call a point, what is committed on record.

Calls run inline, in one step of the event loop, so that a transaction is never torn by another task; a
crash inside one leaves it by an exception, and SQLite rolls it back, as it does for a process that died.
"""

from collections.abc import Collection, Generator
from contextlib import contextmanager

from sagas.core.instance import Instance
from sagas.ports import (
    AuditRow,
    CaughtUp,
    Changes,
    DeadLetter,
    InstanceFilter,
    JournalRow,
    ParkedRow,
    StoreTransaction,
    TimerRow,
)
from sagas.store.sqlite import SqliteStore
from sagas.testing.simulation.feeds import WatchedFeed
from sagas.testing.simulation.life import Life
from sagas.testing.simulation.outboxes import WatchedOutbox

FOREVER_MS = 1 << 53
TIMERS_MAX = 10_000
"""Of a simulated world: more than there ever are."""


class WatchedStore(WatchedOutbox, WatchedFeed):
    """The orchestrator's `Store`."""

    def __init__(self, life: Life, inner: SqliteStore) -> None:
        super().__init__(life, inner)
        WatchedFeed.__init__(self, life, inner)
        self._inner = inner

    @contextmanager
    def transaction(self) -> Generator[StoreTransaction, None, None]:
        """One write transaction."""
        life = self._life
        life.reach("store.begin.before")
        self.fail("beginning")
        with self._inner.transaction() as inner:
            life.reach("store.begin.after")
            watched = WatchedTransaction(life, inner)
            yield watched
            life.reach("store.commit.before")
            self.fail("committing")
        life.scene.now_ms()
        for changes in watched.written:
            life.scene.history.commit(life.name, changes.outbox)
        life.reach("store.commit.after")

    def enter(self, now_ms: int) -> None:
        """Be one of the orchestrators of this database."""
        self._life.reach("store.enter.before")
        self._inner.enter(now_ms)
        self._life.reach("store.enter.after")

    def read_by_all_ms(self, caught_up: CaughtUp) -> int:
        """Up to when everything was read."""
        self._life.reach("store.read_by_all_ms.before")
        read_ms = self._inner.read_by_all_ms(caught_up)
        self._life.reach("store.read_by_all_ms.after")
        return read_ms

    def renew(self, caught_up: CaughtUp | None, now_ms: int) -> None:
        """Say that this orchestrator is alive, and what it has read."""
        self._life.reach("store.renew.before")
        self._inner.renew(caught_up, now_ms)
        self._life.reach("store.renew.after")

    def next_due_ms(self) -> int | None:
        """When the next timer is due, or the next delay is over when there are no timers."""
        self._life.reach("store.next_due_ms.before")
        due_ms = self._inner.next_due_ms() if self._life.scene.timers else self._next_over_ms()
        self._life.reach("store.next_due_ms.after")
        return due_ms

    def _next_over_ms(self) -> int | None:
        if not self._life.scene.delays:
            return None
        with self._inner.transaction() as transaction:
            return min((timer.due_ms for timer in _delays(transaction, FOREVER_MS)), default=None)

    def in_flight(self) -> int:
        """How many instances are neither ended nor stuck."""
        self._life.reach("store.in_flight.before")
        count = self._inner.in_flight()
        self._life.reach("store.in_flight.after")
        return count

    def instances(self, wanted: InstanceFilter) -> list[Instance]:
        """Instances, newest first."""
        return self._inner.instances(wanted)

    def instance(self, saga: str, key: str) -> Instance | None:
        """The instance of a business key."""
        return self._inner.instance(saga, key)

    def journal(self, instance_id: str) -> list[JournalRow]:
        """What happened to an instance."""
        return self._inner.journal(instance_id)

    def cleaned_until(self, instance_id: str) -> int:
        """Up to which revision a journal was cleaned away."""
        return self._inner.cleaned_until(instance_id)

    def lost_instances(self, count_max: int) -> list[str]:
        """Ids that the journal tells of, whose instance is not there and was not purged."""
        return self._inner.lost_instances(count_max)

    def dead_letters(self, count_max: int) -> list[DeadLetter]:
        """The newest dead letters first."""
        return self._inner.dead_letters(count_max)

    def audit(self, instance_id: str) -> list[AuditRow]:
        """What people did with an instance."""
        return self._inner.audit(instance_id)

    def counts(self) -> dict[str, int]:
        """How many instances are in each state."""
        return self._inner.counts()

    def close(self) -> None:
        """The database outlives the process."""


class WatchedTransaction:
    """A `StoreTransaction`."""

    def __init__(self, life: Life, inner: StoreTransaction) -> None:
        self._life = life
        self._inner = inner
        self.written: list[Changes] = []

    def seen(self, message_ids: Collection[str]) -> set[str]:
        """Which of these messages were dealt with before."""
        self._life.reach("store.seen.before")
        found = self._inner.seen(message_ids)
        self._life.reach("store.seen.after")
        return found

    def load(self, instance_ids: Collection[str]) -> dict[str, Instance]:
        """Instances by id."""
        self._life.reach("store.load.before")
        found = self._inner.load(instance_ids)
        self._life.reach("store.load.after")
        return found

    def find(self, saga: str, keys: Collection[str]) -> dict[str, Instance]:
        """Instances by business key."""
        self._life.reach("store.find.before")
        found = self._inner.find(saga, keys)
        self._life.reach("store.find.after")
        return found

    def purged(self, saga: str, keys: Collection[str]) -> set[str]:
        """Whose run was purged."""
        return self._inner.purged(saga, keys)

    def is_purged(self, instance_id: str) -> bool:
        """Whether a run was purged."""
        return self._inner.is_purged(instance_id)

    def due_timers(self, now_ms: int, count_max: int) -> list[TimerRow]:
        """Timers that are due; only those of delays when there are no timers."""
        self._life.reach("store.due_timers.before")
        has_timers = self._life.scene.timers
        found = self._inner.due_timers(now_ms, count_max) if has_timers else _delays(self._inner, now_ms)[:count_max]
        self._life.reach("store.due_timers.after")
        return found

    def parked_for(self, instance_ids: Collection[str]) -> list[ParkedRow]:
        """Parked replies of these instances."""
        self._life.reach("store.parked_for.before")
        found = self._inner.parked_for(instance_ids)
        self._life.reach("store.parked_for.after")
        return found

    def parked_expired(self, now_ms: int, count_max: int) -> list[ParkedRow]:
        """Parked replies whose time is over."""
        self._life.reach("store.parked_expired.before")
        found = self._inner.parked_expired(now_ms, count_max)
        self._life.reach("store.parked_expired.after")
        return found

    def write(self, changes: Changes) -> None:
        """Write everything."""
        self._life.reach("store.write.before")
        self._inner.write(changes)
        self.written.append(changes)
        self._life.reach("store.write.after")


def _delays(transaction: StoreTransaction, until_ms: int) -> list[TimerRow]:
    return [timer for timer in transaction.due_timers(until_ms, TIMERS_MAX) if timer.fire.kind == "over"]
