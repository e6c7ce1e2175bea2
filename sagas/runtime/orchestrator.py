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
        self._intake = Intake(definitions)
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
        expired: list[ParkedRow] = []

        def work(batch: Batch) -> None:
            fired[:] = batch.due(read_up_to_ms, TIMERS_PER_BATCH_MAX)
            expired[:] = batch.expired(read_up_to_ms, TIMERS_PER_BATCH_MAX)
            batch.take_waiting(fired, expired, self._intake.read)
            for timer in fired:
                batch.fire(timer)
            batch.unpark(self._intake.read)

        for _ in range(TIMERS_PER_BATCH_MAX):
            try:
                self._commit([work], now_ms)
            except DamagedInstance:
                continue  # The store has set it aside with its timers: those of the others are due all the same.
            except StoreError:
                raise
            except Exception:
                _log.exception("firing %d timers failed; firing them one by one", len(fired))
                for row in expired:
                    self._give_up_one(row, now_ms)
                for timer in fired:
                    self._fire_one(timer, now_ms)
            return fired
        return []

    def _fire_one(self, timer: TimerRow, now_ms: int) -> None:
        def work(batch: Batch) -> None:
            batch.load_instance(timer.instance_id)
            batch.take_waiting([timer], (), self._intake.read)
            batch.fire(timer)
            batch.unpark(self._intake.read)

        def put_off(batch: Batch) -> None:
            batch.put_off(timer)

        self._try_alone(work, put_off, f"timer {timer.name} of {timer.instance_id}", now_ms)

    def _give_up_one(self, row: ParkedRow, now_ms: int) -> None:
        def work(batch: Batch) -> None:
            batch.take_waiting((), [row], self._intake.read)
            batch.unpark(self._intake.read)

        def give_up(batch: Batch) -> None:
            batch.give_up(row, "came early, and this engine failed on it")

        self._try_alone(work, give_up, f"parked message {row.message_id}", now_ms)

    def _try_alone(
        self, work: Callable[[Batch], None], otherwise: Callable[[Batch], None], what: str, now_ms: int
    ) -> None:
        try:
            self._commit([work], now_ms)
        except DamagedInstance:
            return  # it was set aside
        except StoreError:
            raise
        except Exception:
            _log.exception("%s cannot be dealt with", what)
            self._commit([otherwise], now_ms)

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
