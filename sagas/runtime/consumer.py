"""A consumer: a service that reads events which were not sent to it, with a group and offsets of its own.

Theory of operation. Two promises are possible, and each consumer chooses one (`Delivery`).

    at-least-once   offsets are stored after the work. A crash between repeats messages: each event's first id
                    (`core/republished.py`) goes into `processed_events` in the transaction that holds what the handler
                    wrote, and a repeat is passed over, as is what others had published again. So a change happens
                    once, though its message may come more often.
    at-most-once    offsets are stored before the work. A crash between loses what was read and not dealt with, and
                    nothing comes twice; so nothing is remembered, and there is nothing to clean. What the engine
                    published again by itself was there before and is passed over; what a person requeues comes again.

What a handler returns goes to the consumer's outbox in the same transaction, and is published by its relay. What
cannot be read is kept as a dead letter, and its partition goes on. So is what makes the handler raise, or return what
no broker would take, after a few more tries in its place (`HANDLER_PAUSES_MS`). It makes the topics that it publishes
to, and waits for those that it reads: who writes to a topic knows how long it keeps what is in it.

Ids are remembered for `kept_ms`, which must not be shorter than the topics keep their messages, and forgotten in
small steps: never more than `STEP_MAX` rows (`cleaning.py`) in one transaction.
"""

import logging
from collections.abc import Callable, Mapping, Sequence

import msgspec

from sagas.core.envelope import Undecodable, decode_envelope
from sagas.core.ids import number_of
from sagas.core.participants import Participant
from sagas.core.republished import first_id
from sagas.ports import CaughtUp, Incoming, OutboxRow, ParticipantStore, ParticipantTransaction, Sql, TopicSpec
from sagas.runtime.cleaning import processed_cleaning
from sagas.runtime.dead_letters import dead_letter, retry_count
from sagas.runtime.event_store import payload_bytes_max
from sagas.runtime.handlers import HandlerError, function_problem
from sagas.runtime.worker import HANDLER_PAUSES_MS, Delivery

HEADER_BYTES_MAX = 255
"""Of a header's name and of its value, as Iggy takes them."""

_log = logging.getLogger("sagas.consumer")


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """An event as a handler is given it: `data` is its JSON, `at_ms` its own time, `payload` the whole of it.

    `id` is the one under which it came first: the same when it is published again.
    """

    id: str
    topic: str
    partition: int
    offset: int
    key: str
    event_type: str
    at_ms: int
    data: bytes
    payload: bytes
    headers: Mapping[str, str] = {}


Handler = Callable[[Sql, Seen], Sequence[OutboxRow]]
"""Writes what follows from an event, and returns what is to be published of it, () for nothing."""


class Consumer:
    """`handler` is called for every event of `sources`; `name` is that of its group and its database file.

    `publishes` are the topics that its rows go to. Raises HandlerError for a handler that would never run.
    """

    def __init__(
        self,
        name: str,
        sources: Sequence[Participant],
        handler: Handler,
        *,
        delivery: Delivery = "at-least-once",
        publishes: Sequence[TopicSpec] = (),
    ) -> None:
        problem = function_problem(handler, needs_code=False)
        if problem:
            raise HandlerError(f"consumer {name!r}: handler {problem}")
        self.name = name
        self.delivery: Delivery = delivery
        self.publishes = tuple(publishes)
        self._published = frozenset(spec.name for spec in publishes)
        self._keys = {source.events: source.key for source in sources}
        self._handler = handler

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics to read."""
        return tuple(self._keys)

    def handle(self, transaction: ParticipantTransaction, incoming: Incoming, now_ms: int) -> bool:
        """Deal with one message; whether it was not a repeat."""
        key_field = self._keys[incoming.topic]
        envelope = decode_envelope(incoming.payload, key_field, payload_bytes_max(incoming.topic))
        problem = incoming.defect or _not_text(incoming.payload)
        if problem or isinstance(envelope, Undecodable):
            reason = problem or (envelope.reason if isinstance(envelope, Undecodable) else "")
            self.bury(transaction, incoming, reason, now_ms)
            return True
        counted = first_id(incoming.id, incoming.headers)
        if self.delivery == "at-most-once":
            if retry_count(incoming):
                return False
        elif not transaction.processed(counted, envelope.event_type, now_ms):
            return False
        seen = Seen(
            id=counted,
            topic=incoming.topic,
            partition=incoming.partition,
            offset=incoming.offset,
            key=envelope.key,
            event_type=envelope.event_type,
            at_ms=envelope.timestamp_ms,
            data=envelope.data,
            payload=incoming.payload,
            headers=incoming.headers,
        )
        rows = self._handler(transaction.sql, seen)
        if rows:
            self._require_sendable(rows)
            transaction.add_outbox(rows)
        return True

    def _require_sendable(self, rows: Sequence[OutboxRow]) -> None:
        """Raise HandlerError for a row that no broker would take: it would keep all behind it from going out."""
        for row in rows:
            if row.topic not in self._published:
                named = ", ".join(sorted(self._published)) or "none"
                raise HandlerError(
                    f"consumer {self.name!r}: its handler publishes to topic {row.topic!r}, and `publishes` names "
                    f"{named}; add TopicSpec(name={row.topic!r}) to it, or correct the name"
                )
            problem = _problem_of(row)
            if problem:
                raise HandlerError(f"consumer {self.name!r}: its handler publishes to topic {row.topic!r} {problem}")

    def bury(
        self, transaction: ParticipantTransaction, incoming: Incoming, reason: str, now_ms: int, *, tries: int = 1
    ) -> None:
        """Keep a message that cannot be dealt with, once."""
        letter, notice = dead_letter(
            incoming, reason, now_ms, read_by=self.name, key_field=self._keys.get(incoming.topic, ""), tries=tries
        )
        if transaction.processed(notice.id, notice.event_type, now_ms):
            _log.warning("dead letter from %s/%d at %d: %s", letter.topic, letter.partition, letter.offset, reason)
            transaction.add_dead_letters([letter])


def _problem_of(row: OutboxRow) -> str:
    """Why Iggy would not take a message, "" when it would."""
    try:
        is_id = number_of(row.id) != 0
    except ValueError:
        is_id = False
    if not is_id:
        return f"with the id {row.id[:64]!r}; expected a UUID, `timed_id(seen.at_ms, …)` for one"
    if not row.payload:
        return "without a payload; a message has one byte at least"
    for name, value in row.headers.items():
        if not name or max(len(name.encode()), len(value.encode())) > HEADER_BYTES_MAX:
            return (
                f"with the header {name[:64]!r}: its name has 1 to {HEADER_BYTES_MAX} bytes, its value no more; put "
                "longer text into the payload"
            )
    return ""


def _not_text(payload: bytes) -> str:
    """Why a payload is no JSON though its envelope can be read, which passes over texts in `data`; "" if it is."""
    try:
        payload.decode()
    except UnicodeDecodeError as error:
        return f"payload is no UTF-8: {error.reason} at byte {error.start}"
    return ""


class ConsumerWork:
    """A consumer in the worker's loop. `handled` and `repeats` count what it did since it was made."""

    def __init__(
        self,
        consumer: Consumer,
        store: ParticipantStore,
        *,
        kept_ms: int,
        pauses_ms: Sequence[int] = HANDLER_PAUSES_MS,
    ) -> None:
        self.pauses_ms: Sequence[int] = pauses_ms
        self._consumer = consumer
        self._store = store
        self._cleaning = processed_cleaning(store, kept_ms)
        self.handled = 0
        self.repeats = 0

    def process(self, batch: Sequence[Incoming], now_ms: int) -> None:
        """Deal with a batch in one transaction. What a handler raises leaves nothing of it."""
        with self._store.transaction() as transaction:
            new = sum(self._consumer.handle(transaction, incoming, now_ms) for incoming in batch)
        self.handled += new
        self.repeats += len(batch) - new

    def fail(self, incoming: Incoming, reason: str, now_ms: int) -> None:
        """Keep a message whose handler raised at each try as a dead letter, and go on."""
        with self._store.transaction() as transaction:
            self._consumer.bury(transaction, incoming, reason, now_ms, tries=1 + len(self.pauses_ms))

    def is_due(self, now_ms: int) -> bool:
        """Whether it is time to forget."""
        return self._cleaning.is_due(now_ms)

    def is_awaiting(self) -> bool:
        """Never: a consumer asks nobody anything."""
        return False

    def after_poll(self, caught_up: CaughtUp | None, now_ms: int) -> bool:
        """Forget a few processed events now and then. A consumer awaits no answers."""
        self._cleaning.step(now_ms)
        return False
