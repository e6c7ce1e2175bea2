"""The orchestrator: takes batches of messages and due timers, and commits what the kernel decides.

Theory of operation. One batch is one transaction: which messages are new, the instances they are for,
one decision each in the order of their partition, and everything decided written together. The
broker's offsets are stored afterwards by whoever called, so a crash between means the batch comes
again, and the inbox ends it, or the run that a message began. If another process moved an instance
meanwhile, nothing is written and the batch is read and decided anew, as often as it takes within a bound.

A large batch is taken in parts within its one transaction: each is read, decided and written before the next. What was
decided of hundreds of messages has left the processor's caches when it is written (5 % of a batch's CPU, measured).

Timers: one due at T may fire only when the reply topics have been read up to T, or a restart after
an outage would time out steps whose answers are already waiting. The caller says up to when. One on which this engine
fails is put off, and the others fire.

Synchronous, and used from one thread at a time.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial

from sagas.core.definition import Definition
from sagas.core.effects import Decision, Operate
from sagas.errors import DamagedInstance, StaleRevision, StoreError
from sagas.ports import Incoming, ParkedRow, Store, TimerRow, TopicSpec
from sagas.runtime.batch import Batch
from sagas.runtime.catalog import Catalog, DefinitionBook
from sagas.runtime.dead_letters import DEAD_LETTERS
from sagas.runtime.elsewhere import Elsewhere
from sagas.runtime.intake import Intake
from sagas.runtime.pulse import NO_DRIFT, Drift, Pulse

_log = logging.getLogger("sagas.orchestrator")

PART_MAX = 125
"""Messages that are read, decided and written together."""

TIMERS_PER_BATCH_MAX = 500
CONFLICTS_MAX = 100
"""Times in a row that a batch may lose to another writer before it is given up: then something is wrong."""


class Orchestrator:
    """Runs the sagas of `definitions` on `store`.

    `book` says what the versions were that runs in the store belong to: without it none is carried over to a newer one.
    `part_max` changes what a batch costs, and nothing else.
    """

    def __init__(
        self,
        definitions: Sequence[Definition],
        store: Store,
        book: DefinitionBook | None = None,
        *,
        part_max: int = PART_MAX,
    ) -> None:
        self.catalog = Catalog(definitions, book)
        self._store = store
        self._elsewhere = Elsewhere(definitions, book)
        self._intake = Intake(definitions, self._elsewhere)
        self._part_max = part_max

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics to read."""
        return self._intake.topics

    def topic_specs(self, partitions: int) -> list[TopicSpec]:
        """The topics that must be there, read or written."""
        written = [topic for d in self.catalog.definitions for topic in d.command_topics]
        return [
            TopicSpec(name=name, partitions=partitions)
            for name in dict.fromkeys([*self.topics, *written, DEAD_LETTERS])
        ]

    def process(self, incoming: Sequence[Incoming], now_ms: int) -> Drift:
        """Deal with a batch of messages in one transaction; what that changes of the pulse."""
        parts = [incoming[at : at + self._part_max] for at in range(0, len(incoming), self._part_max)]
        return self._commit([partial(self._take, part) for part in parts], now_ms)

    def fire(self, read_up_to_ms: int, now_ms: int) -> list[TimerRow]:
        """Fire timers due at or before `read_up_to_ms`, at most `TIMERS_PER_BATCH_MAX`; which they were."""
        fired: list[TimerRow] = []

        def work(batch: Batch) -> None:
            fired[:] = batch.due(read_up_to_ms, TIMERS_PER_BATCH_MAX)
            self._fire(batch, fired, batch.expired(read_up_to_ms, TIMERS_PER_BATCH_MAX))

        try:
            self._commit([work], now_ms)
        except DamagedInstance:
            pass  # the store has set it aside with its timers: those of the others are due all the same
        except StoreError:
            raise
        except Exception:
            _log.exception("firing timers failed; firing them one by one")
        else:
            return fired
        return self._fire_one_by_one(read_up_to_ms, now_ms)

    def _fire(self, batch: Batch, timers: Sequence[TimerRow], expired: Sequence[ParkedRow]) -> None:
        batch.take_waiting(timers, expired, self._intake.read)
        for timer in timers:
            batch.fire(timer)
        batch.unpark(self._intake.read)

    def _fire_one_by_one(self, until_ms: int, now_ms: int) -> list[TimerRow]:
        """Each in a transaction that asks anew which is the next: what one decides takes away or replaces others."""
        for _ in range(TIMERS_PER_BATCH_MAX):
            if not self._give_up_next(until_ms, now_ms):
                break
        fired: list[TimerRow] = []
        for _ in range(TIMERS_PER_BATCH_MAX):
            timers = self._fire_next(until_ms, now_ms)
            if not timers:
                break
            fired += timers
        return fired

    def _fire_next(self, until_ms: int, now_ms: int) -> list[TimerRow]:
        """Fire the timer that is due first, or put it off; [] when none is."""
        timers: list[TimerRow] = []

        def work(batch: Batch) -> None:
            timers[:] = batch.next_due(until_ms)
            batch.load_runs_of(timers)
            self._fire(batch, timers, ())

        def put_off(batch: Batch) -> None:
            for timer in timers if batch.next_due(until_ms) == timers else ():
                batch.put_off(timer)

        try:
            self._commit([work], now_ms)
        except DamagedInstance:
            pass  # it was set aside with its timers
        except StoreError:
            raise
        except Exception:
            due = ", ".join(f"{timer.name} of {timer.instance_id}" for timer in timers)
            _log.exception("timer cannot be fired: %s", due or "none could even be read")
            if timers:
                self._commit([put_off], now_ms)
        return timers

    def _give_up_next(self, until_ms: int, now_ms: int) -> list[ParkedRow]:
        """Take what was parked longest of what was parked too long, or give it up; [] when nothing was."""
        rows: list[ParkedRow] = []
        failure = "came early, and this engine failed on it"

        def work(batch: Batch) -> None:
            rows[:] = batch.expired(until_ms, 1)
            self._fire(batch, (), rows)

        def give_up(batch: Batch) -> None:
            for row in rows if batch.expired(until_ms, 1) == rows else ():
                batch.give_up(row, failure)

        try:
            self._commit([work], now_ms)
        except DamagedInstance as damage:
            failure = f"its run is set aside: {damage}"
            self._commit([give_up], now_ms)
        except StoreError:
            raise
        except Exception:
            parked = ", ".join(row.message_id for row in rows)
            _log.exception("parked message cannot be dealt with: %s", parked or "none could even be read")
            if rows:
                self._commit([give_up], now_ms)
        return rows

    def fail(self, incoming: Incoming, reason: str, now_ms: int) -> None:
        """Deal with one message that this engine itself fails on; the rest of its partition goes on."""
        self._commit([lambda batch: batch.fail(incoming, reason)], now_ms)

    def operate(self, instance_id: str, message: Operate, now_ms: int) -> Decision | str:
        """Do what a person asks of an instance, with an audit row; in words why it cannot be done.

        Guarded by the revision in `message`: if anything happened since the person looked, nothing is done.
        """
        answer: list[Decision | str] = []

        def work(batch: Batch) -> None:
            known = batch.load_instance(instance_id)
            answer[:] = [batch.operate(instance_id, message) if known else f"no instance {instance_id}"]

        self._commit([work], now_ms)
        return answer[0]

    def pulse(self) -> Pulse:
        """When to come back."""
        return Pulse(next_due_ms=self._store.next_due_ms(), in_flight=self._store.in_flight())

    def _take(self, incoming: Sequence[Incoming], batch: Batch) -> None:
        items = [self._intake.read(message) for message in incoming]
        batch.load(items)
        batch.take_parked_first(self._intake.read)
        for item in items:
            batch.take(item)
        batch.unpark(self._intake.read)

    def _commit(self, parts: Sequence[Callable[[Batch], None]], now_ms: int) -> Drift:
        attempt = 0
        while True:
            attempt += 1
            try:
                drift = NO_DRIFT
                with self._store.transaction() as transaction:
                    self._elsewhere.begin()
                    for part in parts:
                        batch = Batch(self.catalog, transaction, now_ms)
                        part(batch)
                        batch.write()
                        drift = drift.and_then(batch.drift())
            except StaleRevision:
                if attempt == CONFLICTS_MAX:
                    raise
            else:
                return drift
