"""The ports: everything the runtime needs of the outside, as protocols over plain records.

Those towards the broker stand in `broker_ports.py` and are found here, too.

Adapters live in `sagas/store/`, `sagas/broker/` and `sagas/clock.py`, one file each, and pass the contract suite
of their port (`tests/store/contract.py`, `tests/broker/contract.py`). The runtime sees only these two pages.
"""

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable

from sagas.broker_ports import Broker, PromptBroker, Settled, Subscription
from sagas.core.instance import Instance, Operation
from sagas.records import (
    AuditRow,
    BarrierRow,
    CaughtUp,
    Changes,
    DeadLetter,
    DefinitionRow,
    FeedRow,
    Incoming,
    InstanceFilter,
    JournalRow,
    OperationKey,
    OutboxRow,
    Outgoing,
    ParkedRow,
    Position,
    Reading,
    Rows,
    Sql,
    TimerRow,
    TopicSpec,
)  # fmt: skip

__all__ = [
    "AuditRow", "BarrierRow", "Broker", "CaughtUp", "Changes", "Clock", "CommittedOutbox", "DeadLetter",
    "DefinitionRow", "FeedRow", "Incoming", "InstanceFilter", "JournalFeed", "JournalRow", "Migration", "OperationKey",
    "Outbox", "OutboxRow", "Outgoing", "ParkedRow", "ParticipantStore", "ParticipantTransaction", "Position",
    "PromptBroker", "Reading", "Rows", "Settled", "Sql", "Store", "StoreTransaction", "Subscription", "TimerRow",
    "TopicSpec",
]  # fmt: skip


class Clock(Protocol):
    """The time, and waiting for it. Only adapters of this port read a clock."""

    def now_ms(self) -> int:
        """UTC, Unix time in milliseconds."""
        ...

    async def sleep_ms(self, duration_ms: int) -> None:
        """Wait for `duration_ms` milliseconds, at least one turn of the event loop."""


class Outbox(Protocol):
    """What the relay needs of a database: the orchestrator's store and every participant's have it."""

    def unpublished(self, count_max: int) -> list[OutboxRow]:
        """The oldest rows not yet published, in `seq` order."""
        ...

    def mark_published(self, seqs: Sequence[int], now_ms: int) -> None:
        """Note that these rows were acknowledged by the broker, in a transaction of its own."""


@runtime_checkable
class CommittedOutbox(Outbox, Protocol):
    """An outbox that hands over what it has just committed, so that nobody needs to read it back."""

    def take_committed(self) -> list[OutboxRow]:
        """The rows that this object has committed since it was asked last, in `seq` order. Touches no file.

        From the first call on they are kept for that, until they are taken. What other objects write to the same
        database is not among them.
        """
        ...

    def note_published(self, seqs: Sequence[int]) -> None:
        """Have these rows marked by this object's next transaction, or its next `unpublished`. Touches no file."""


class StoreTransaction(Protocol):
    """Reads and writes that are committed together. Valid inside `Store.transaction()` only."""

    def seen(self, message_ids: Collection[str]) -> set[str]:
        """Which of these messages were dealt with before; one that began a run is known by the run alone."""
        ...

    def load(self, instance_ids: Collection[str]) -> dict[str, Instance]:
        """Instances by id; those that do not exist are missing."""
        ...

    def find(self, saga: str, keys: Collection[str]) -> dict[str, Instance]:
        """Instances of `saga` by business key; those that do not exist are missing."""
        ...

    def purged(self, saga: str, keys: Collection[str]) -> set[str]:
        """Those of these business keys whose run of `saga` was purged, as far as that is still known."""
        ...

    def is_purged(self, instance_id: str) -> bool:
        """Whether this run was purged, as far as that is still known."""
        ...

    def due_timers(self, now_ms: int, count_max: int) -> list[TimerRow]:
        """Timers due at or before `now_ms`, the longest overdue first."""
        ...

    def parked_for(self, instance_ids: Collection[str]) -> list[ParkedRow]:
        """Parked replies of these instances, oldest first."""
        ...

    def parked_expired(self, now_ms: int, count_max: int) -> list[ParkedRow]:
        """Parked replies whose time is over."""
        ...

    def write(self, changes: Changes) -> None:
        """Write everything. Raises StaleRevision, and StoreError for a second instance of one key."""


class JournalFeed(Protocol):
    """The journal as others are told of it: each row once at least, those of an instance in their order."""

    def begin_feed(self) -> None:
        """List every journal row for `unfed` from now on, whoever writes it, and once those that are there already."""

    def unfed(self, count_max: int) -> list[FeedRow]:
        """The oldest rows not yet told of, as committed; [] while another orchestrator on this database tells."""
        ...

    def waiting_to_be_fed(self) -> int:
        """How many rows are still to be told of; 0 as long as `begin_feed` was never called."""
        ...

    def mark_fed(self, seq: int) -> None:
        """Note that all rows up to `seq` were told of, in a transaction of its own."""


class Store(CommittedOutbox, JournalFeed, Protocol):
    """The orchestrator's database. All calls are synchronous, from one thread at a time."""

    def transaction(self) -> AbstractContextManager[StoreTransaction]:
        """One write transaction: committed when the block ends, rolled back when it raises."""
        ...

    def next_due_ms(self) -> int | None:
        """When the next timer or parked reply is due, None when there is none."""
        ...

    def in_flight(self) -> int:
        """How many instances are neither ended nor stuck."""
        ...

    def instances(self, wanted: InstanceFilter) -> list[Instance]:
        """Instances, newest first."""
        ...

    def instance(self, saga: str, key: str) -> Instance | None:
        """The instance of a business key; `saga` may be "" when only one saga has the key."""
        ...

    def journal(self, instance_id: str) -> list[JournalRow]:
        """What happened to an instance, oldest first."""
        ...

    def cleaned_until(self, instance_id: str) -> int:
        """Up to which revision the journal of an instance was cleaned away, 0 when all of it is there."""
        ...

    def lost_instances(self, count_max: int) -> list[str]:
        """Ids that the journal tells of, whose instance is not there and was not purged: [] in a sound database."""
        ...

    def dead_letters(self, count_max: int) -> list[DeadLetter]:
        """The newest dead letters first."""
        ...

    def audit(self, instance_id: str) -> list[AuditRow]:
        """What people did with an instance, oldest first."""
        ...

    def counts(self) -> dict[str, int]:
        """How many instances are in each state."""
        ...

    def close(self) -> None:
        """Give up the connection. Calling it twice does nothing."""


class ParticipantTransaction(Protocol):
    """Barrier, business rows, processed events and outbox of a participant, committed together."""

    @property
    def sql(self) -> Sql:
        """The business tables."""
        ...

    def savepoint(self) -> AbstractContextManager[None]:
        """A part that can fail alone: what it wrote is rolled back when the block raises."""
        ...

    @property
    def forgotten_ms(self) -> int:
        """What was last touched before this time may have been forgotten by the barrier; 0: nothing was ever."""
        ...

    def correct_forgotten(self, before_ms: int) -> None:
        """Have `forgotten_ms` be this: what it was lies in the future."""
        ...

    def prefetch(self, operations: Collection[OperationKey]) -> None:
        """Read at once what `recall` is going to be asked of. It changes no answer."""

    def recall(self, instance_id: str, step: str, operation: Operation) -> BarrierRow | None:
        """What is remembered of an operation, None when it was never seen."""
        ...

    def remember(self, row: BarrierRow, now_ms: int) -> bool:
        """Insert `row` if the operation is not remembered yet; whether it was inserted."""
        ...

    def amend(self, row: BarrierRow, now_ms: int) -> None:
        """Replace what is remembered of an operation."""

    def processed(self, event_id: str, event_type: str, now_ms: int) -> bool:
        """Note an event in `processed_events`; False when it was noted before."""
        ...

    def note(self, event_id: str, event_type: str, now_ms: int) -> None:
        """The same for whom nothing hangs on the answer: nothing is read for it."""

    def add_outbox(self, rows: Sequence[OutboxRow]) -> None:
        """Write messages to be published."""

    def add_dead_letters(self, rows: Sequence[DeadLetter]) -> None:
        """Keep messages that could not be dealt with."""


class ParticipantStore(CommittedOutbox, Protocol):
    """A participant's database: its own tables beside the kit's. Synchronous, one thread at a time."""

    def transaction(self) -> AbstractContextManager[ParticipantTransaction]:
        """One write transaction: committed when the block ends, rolled back when it raises."""
        ...

    def forget_processed(self, before_ms: int, count_max: int) -> int:
        """Remove at most `count_max` processed events older than `before_ms`; how many it removed."""
        ...

    def forget_operations(self, before_ms: int, count_max: int) -> bool:
        """Look at the next `count_max` operations at most and forget those last touched before `before_ms`.

        What is in progress is kept. Whether there are more to look at."""
        ...

    def dead_letters(self, count_max: int) -> list[DeadLetter]:
        """The newest dead letters first."""
        ...

    def close(self) -> None:
        """Give up the connection. Calling it twice does nothing."""


Migration = tuple[str, Callable[[Sql], None]]
"""A named change of a participant's own tables; applied once, in order, each in its own transaction."""
