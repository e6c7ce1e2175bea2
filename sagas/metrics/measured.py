"""Ports that measure: the same calls, passed on, counted once a batch.

Theory of operation. What the runtime does it does through its ports, so whoever wraps the ports sees everything and
the runtime knows nothing of it: with metrics switched off there is no hook that could cost anything. A wrapper adds up
in plain numbers what one batch did and tells the instruments once it is committed; what is rolled back was never
there. Calls that measure nothing are handed on by `__getattr__`.
"""

from collections import Counter
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Any, cast

from sagas.core.instance import ENDS, STUCK, Instance, StepRecord, leaf_of
from sagas.errors import BrokerError
from sagas.metrics.instruments import Instruments
from sagas.ports import (
    Broker,
    Changes,
    Clock,
    DeadLetter,
    Incoming,
    OutboxRow,
    Outgoing,
    ParticipantStore,
    ParticipantTransaction,
    Position,
    PromptBroker,
    Reading,
    Settled,
    Store,
    StoreTransaction,
    Subscription,
    TopicSpec,
)

_UNKNOWN = StepRecord(name="")


class MeasuredBroker:
    """A broker whose publications and polls are measured, and of which every call says whether it can be had."""

    def __init__(self, broker: Broker, instruments: Instruments, clock: Clock) -> None:
        self._broker = broker
        self._instruments = instruments
        self._clock = clock

    async def ensure(self, topics: Sequence[TopicSpec]) -> None:
        """See `ports.Broker`."""
        # Whoever only publishes has made no other call before there is something to publish.
        with _calling(self._instruments, "ensure"):
            await self._broker.ensure(topics)

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        """See `ports.Broker`."""
        with _calling(self._instruments, "publish"):
            began = perf_counter()
            await self._broker.publish(messages)
            self._instruments.publish_s.observe(perf_counter() - began)
        self._instruments.published.inc(len(messages))

    def send(self, messages: Sequence[Outgoing], settled: Settled) -> bool:
        """See `ports.PromptBroker`."""
        if not isinstance(self._broker, PromptBroker):
            return False
        instruments, began = self._instruments, perf_counter()

        def note(error: BrokerError | None) -> None:
            instruments.note_broker(is_up=error is None)
            if error is None:
                instruments.publish_s.observe(perf_counter() - began)
                instruments.published.inc(len(messages))
            else:
                instruments.broker_failures.labels("publish").inc()
            settled(error)

        return self._broker.send(messages, note)

    async def subscribe(self, group: str, topics: Sequence[str]) -> Subscription:
        """See `ports.Broker`."""
        with _calling(self._instruments, "subscribe"):
            subscription = await self._broker.subscribe(group, topics)
        return _MeasuredSubscription(subscription, self._instruments, self._clock)

    async def close(self) -> None:
        """See `ports.Broker`."""
        await self._broker.close()


class _MeasuredSubscription:
    def __init__(self, subscription: Subscription, instruments: Instruments, clock: Clock) -> None:
        self._subscription = subscription
        self._instruments = instruments
        self._clock = clock
        self._empty = instruments.polls.labels("empty")
        self._full = instruments.polls.labels("messages")

    async def poll(self, count_max: int) -> Sequence[Incoming]:
        with _calling(self._instruments, "poll"):
            began = perf_counter()
            batch = await self._subscription.poll(count_max)
            self._instruments.poll_s.observe(perf_counter() - began)
        if not batch:
            self._empty.inc()
            return batch
        self._full.inc()
        self._instruments.batch.observe(len(batch))
        self._instruments.delay_s.observe(max(0, self._clock.now_ms() - batch[0].timestamp_ms) / 1000)
        return batch

    async def wait(self, at_most_ms: int) -> bool:
        with _calling(self._instruments, "wait"):
            return await self._subscription.wait(at_most_ms)

    async def commit(self, positions: Sequence[Position]) -> Sequence[Position]:
        with _calling(self._instruments, "commit"):
            return await self._subscription.commit(positions)

    async def reading(self) -> Reading:
        with _calling(self._instruments, "reading"):
            return await self._subscription.reading()

    async def rewind(self) -> None:
        await self._subscription.rewind()

    async def close(self) -> None:
        await self._subscription.close()


@contextmanager
def _calling(instruments: Instruments, call: str) -> Generator[None, None, None]:
    try:
        yield
    except BrokerError:
        instruments.broker_failures.labels(call).inc()
        instruments.note_broker(is_up=False)
        raise
    instruments.note_broker(is_up=True)


# --------------------------------------------------------------------------- stores


def measured_store(store: Store, instruments: Instruments) -> Store:
    """The orchestrator's store, its transactions measured."""
    return cast(Store, _MeasuredStore(store, instruments, _Writing, _tell_changes))


def measured_participant_store(store: ParticipantStore, topic: str, instruments: Instruments) -> ParticipantStore:
    """A participant's store, its transactions measured; answers are what it publishes to `topic`."""

    def tell(tally: "_Answering", to: Instruments) -> None:
        _tell_answers(tally, topic, to)

    return cast(ParticipantStore, _MeasuredStore(store, instruments, _Answering, tell))


class _MeasuredStore:
    def __init__(
        self,
        store: Any,
        instruments: Instruments,
        tallying: Callable[[Any], Any],
        tell: Callable[[Any, Instruments], None],
    ) -> None:
        self._store = store
        self._instruments = instruments
        self._tallying = tallying
        self._tell = tell

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    @contextmanager
    def transaction(self) -> Generator[Any, None, None]:
        began = perf_counter()
        try:
            with self._store.transaction() as transaction:
                tally = self._tallying(transaction)
                yield tally
        except Exception as error:
            self._instruments.commit_failures.labels(type(error).__name__).inc()
            raise
        self._instruments.commit_s.observe(perf_counter() - began)
        self._tell(tally, self._instruments)


class _Writing:
    def __init__(self, transaction: StoreTransaction) -> None:
        self._transaction = transaction
        self.written: list[tuple[Changes, dict[str, Instance]]] = []
        """What was written, each time with what was read for it: what is read later may have been written here."""
        self._read: dict[str, Instance] = {}

    def load(self, instance_ids: Collection[str]) -> dict[str, Instance]:
        found = self._transaction.load(instance_ids)
        self._read.update(found)
        return found

    def find(self, saga: str, keys: Collection[str]) -> dict[str, Instance]:
        found = self._transaction.find(saga, keys)
        self._read.update((instance.id, instance) for instance in found.values())
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transaction, name)

    def write(self, changes: Changes) -> None:
        self._transaction.write(changes)
        self.written.append((changes, self._read))
        self._read = {}


class _Answering:
    def __init__(self, transaction: ParticipantTransaction) -> None:
        self._transaction = transaction
        # What is called for every command is looked up once.
        self.recall = transaction.recall
        self.remember = transaction.remember
        self.processed = transaction.processed
        self.rows: list[OutboxRow] = []
        self.letters = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transaction, name)

    def add_outbox(self, rows: Sequence[OutboxRow]) -> None:
        self._transaction.add_outbox(rows)
        self.rows += rows

    def add_dead_letters(self, rows: Sequence[DeadLetter]) -> None:
        self._transaction.add_dead_letters(rows)
        self.letters += len(rows)


def _tell_answers(tally: _Answering, topic: str, to: Instruments) -> None:
    for answer, count in Counter(row.event_type for row in tally.rows if row.topic == topic).items():
        to.answers.labels(answer).inc(count)
    if tally.letters:
        to.dead_letters.inc(tally.letters)


def _tell_changes(tally: _Writing, to: Instruments) -> None:
    for changes, read in tally.written:
        for verdict, count in Counter(row.verdict for row in changes.journal).items():
            to.inputs.labels(verdict).inc(count)
        for saga, count in Counter(instance.saga for instance in changes.created).items():
            to.started.labels(saga).inc(count)
        instances = {instance.id: instance for instance in changes.created}
        instances |= {instance.id: instance for instance, _ in changes.updated}
        for instance in instances.values():
            _tell_steps(read.get(instance.id), instance, to)
        for row in changes.journal:
            if row.path and row.path[0] != row.path[-1]:
                _tell_move(instances[row.instance_id], row.path[0], row.path[-1], to)
        if changes.dead_letters:
            to.dead_letters.inc(len(changes.dead_letters))
        if changes.parked:
            to.parked.inc(len(changes.parked))


def _tell_steps(before: Instance | None, after: Instance, to: Instruments) -> None:
    known = {step.name: step for step in before.steps} if before is not None else {}
    for step in after.steps:
        was = known.get(step.name, _UNKNOWN)
        if step.answered_ms > was.answered_ms:
            to.step_s.labels(after.saga, leaf_of(step.name), "do").observe(
                max(0, step.answered_ms - step.sent_ms) / 1000
            )
        if step.undo_answered_ms > was.undo_answered_ms:
            took_ms = step.undo_answered_ms - step.undo_sent_ms
            to.step_s.labels(after.saga, leaf_of(step.name), "undo").observe(max(0, took_ms) / 1000)


def _tell_move(instance: Instance, before: str, after: str, to: Instruments) -> None:
    if after in ENDS and before not in ENDS:
        to.ended.labels(instance.saga, after).inc()
        to.duration_s.labels(instance.saga, after).observe(max(0, instance.updated_ms - instance.started_ms) / 1000)
    elif after == STUCK:
        to.got_stuck.labels(instance.saga).inc()
