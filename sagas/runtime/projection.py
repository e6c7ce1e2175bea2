"""A projection: events folded into tables of its own, a read model (CQRS), in any order and however often they come.

Theory of operation. A projection reads topics as a consumer group of its own. A batch is one transaction: each event's
first id (`core/republished.py`) goes into `processed_events`, what its handler writes goes beside it, and how far each
partition was read goes into `projection_positions`. So a repeat changes nothing, nor does an event that others had
published again, and the file itself says which messages it is made of: two files with the same positions have to be
equal, which is what a replay (`replay.py`) compares.

Within a partition events come in order; between partitions and topics they do not. A handler must therefore write
so that the order between topics does not matter: each topic its own columns, or a rule by which one of two values
wins whichever comes first. Nothing a handler writes may depend on the time or on chance, or a replay differs.

What cannot be read is kept as a dead letter in the projection's own file, and its partition goes on. So is what makes
a handler raise, after a few more tries in its place (`HANDLER_PAUSES_MS`; a replay makes one). A message that nobody
here handles is passed over. A projection publishes nothing, and makes no topic: who writes to a topic knows how long it
keeps what is in it. Until all its topics are there it waits.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast, get_args

import msgspec

from sagas.core.envelope import Envelope, Undecodable, decode_data, decode_envelope
from sagas.core.messages import Event, tag_of
from sagas.core.participants import Participant
from sagas.core.republished import first_id
from sagas.core.wellformed import fields_problem
from sagas.errors import SagaError
from sagas.ports import CaughtUp, Incoming, Migration, ParticipantStore, ParticipantTransaction, Sql
from sagas.runtime.cleaning import processed_cleaning
from sagas.runtime.dead_letters import dead_letter
from sagas.runtime.event_store import payload_bytes_max
from sagas.runtime.handlers import HandlerError, function_problem, given_otherwise, signature_of
from sagas.runtime.worker import HANDLER_PAUSES_MS

POSITIONS = "projection_positions"
"""The kit's table: up to which offset, itself included, each partition is in this file."""

_POSITION = f"""
    INSERT INTO {POSITIONS} (topic, "partition", "offset") VALUES (?, ?, ?)
    ON CONFLICT (topic, "partition") DO UPDATE SET "offset" = max("offset", excluded."offset")
"""  # noqa: S608 - a constant

_log = logging.getLogger("sagas.projection")

H = TypeVar("H", bound=Callable[..., None])


class ProjectionError(SagaError):
    """A projection is written wrong: says which, where, and what to write instead."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What a handler may know of a message besides its event: `at_ms` is the event's own time, in Unix ms.

    `id` is the one under which it came first: the same when it is published again.
    """

    id: str
    topic: str
    partition: int
    offset: int
    key: str
    at_ms: int
    headers: dict[str, str]


class _Handler(msgspec.Struct, frozen=True):
    event_type: type[Event]
    function: Callable[[Sql, Any, Seen], None]


class Projection:
    """Handlers that fold events into tables; `migrations` make the tables, `name` is that of files and groups.

    `@projection.on(ORDERS)` registers a function `(sql, event, seen) -> None`, whose second parameter is annotated
    with the event, or with several: `InventoryReserved | InventoryFailed`.
    """

    def __init__(self, name: str, migrations: Sequence[Migration] = ()) -> None:
        self.name = name
        self.migrations: tuple[Migration, ...] = (("projection-001-positions", _create), *migrations)
        self._sources: dict[str, Participant] = {}
        self._handlers: dict[tuple[str, str], _Handler] = {}

    def on(self, source: Participant) -> Callable[[H], H]:
        """Register a handler of events in the topic `source.events`. Raises ProjectionError for one written wrong."""
        if not isinstance(cast("object", source), Participant):
            name = getattr(source, "__name__", repr(source))
            raise ProjectionError(
                f"projection {self.name!r}: {name} is no participant; "
                'write `@projection.on(ORDERS)`, with ORDERS = Participant("orders", key="order_id")'
            )

        def register(function: H) -> H:
            for event_type in _event_types(function, source.key):
                at = (source.events, tag_of(event_type))
                if at in self._handlers:
                    raise ProjectionError(f"projection {self.name!r} has two handlers for {at[1]!r}; keep one")
                self._handlers[at] = _Handler(event_type, function)
            self._sources[source.events] = source
            return function

        return register

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics to read."""
        return tuple(self._sources)

    def process(self, batch: Sequence[Incoming], store: ParticipantStore, now_ms: int) -> None:
        """Fold a batch in one transaction. What a handler raises leaves nothing of the batch."""
        with store.transaction() as transaction:
            for incoming in batch:
                self._fold(transaction, incoming, now_ms)
            _note_positions(transaction.sql, batch)

    def fail(self, incoming: Incoming, reason: str, store: ParticipantStore, now_ms: int, *, tries: int = 1) -> None:
        """Keep a message whose handler raised at each of `tries` as a dead letter, and go on."""
        with store.transaction() as transaction:
            self._bury(transaction, incoming, reason, now_ms, tries=tries)
            _note_positions(transaction.sql, [incoming])

    def _fold(self, transaction: ParticipantTransaction, incoming: Incoming, now_ms: int) -> None:
        key_field = self._sources[incoming.topic].key
        envelope = decode_envelope(incoming.payload, key_field, payload_bytes_max(incoming.topic))
        if incoming.defect or isinstance(envelope, Undecodable):
            self._bury(transaction, incoming, incoming.defect or cast(Undecodable, envelope).reason, now_ms)
            return
        handler = self._handlers.get((incoming.topic, envelope.event_type))
        if handler is None:
            return
        event = decode_data(handler.event_type, key_field, envelope.key, envelope.data)
        if isinstance(event, Undecodable):
            # Its id is not noted: sent again once its class is mended, it has to count.
            self._bury(transaction, incoming, event.reason, now_ms)
            return
        counted = first_id(incoming.id, incoming.headers)
        if not transaction.processed(counted, envelope.event_type, now_ms):
            return
        handler.function(transaction.sql, event, _seen(incoming, envelope, counted))

    def _bury(
        self, transaction: ParticipantTransaction, incoming: Incoming, reason: str, now_ms: int, *, tries: int = 1
    ) -> None:
        letter, notice = dead_letter(
            incoming, reason, now_ms, read_by=self.name, key_field=self._sources[incoming.topic].key, tries=tries
        )
        # Once for each delivery's place, however often it comes. The topic of dead letters is told nothing: a replay
        # would tell it everything again.
        if transaction.processed(notice.id, notice.event_type, now_ms):
            _log.warning("%s/%d at %d cannot be read: %s", letter.topic, letter.partition, letter.offset, letter.reason)
            transaction.add_dead_letters([letter])


class ProjectionWork:
    """A projection in the worker's loop, which remembers for `kept_ms` which events it has."""

    def __init__(
        self,
        projection: Projection,
        store: ParticipantStore,
        *,
        kept_ms: int,
        pauses_ms: Sequence[int] = HANDLER_PAUSES_MS,
    ) -> None:
        self.pauses_ms: Sequence[int] = pauses_ms
        self._projection = projection
        self._store = store
        self._cleaning = processed_cleaning(store, kept_ms)

    def process(self, batch: Sequence[Incoming], now_ms: int) -> None:
        """Fold a batch."""
        self._projection.process(batch, self._store, now_ms)

    def fail(self, incoming: Incoming, reason: str, now_ms: int) -> None:
        """Keep one message whose handler raised at each try."""
        self._projection.fail(incoming, reason, self._store, now_ms, tries=1 + len(self.pauses_ms))

    def is_due(self, now_ms: int) -> bool:
        """Whether it is time to forget."""
        return self._cleaning.is_due(now_ms)

    def is_awaiting(self) -> bool:
        """True, as `after_poll` says."""
        return True

    def after_poll(self, caught_up: CaughtUp | None, now_ms: int) -> bool:
        """Forget a few processed events now and then. True: somebody may be watching, so the poll is never slow."""
        self._cleaning.step(now_ms)
        return True


Positions = dict[tuple[str, int], int]
"""Topic and partition → the last offset, itself included."""


def positions_in(rows: Sequence[tuple[Any, ...]]) -> Positions:
    """The positions in rows of `POSITIONS_QUERY`."""
    return {(cast(str, topic), cast(int, partition)): cast(int, offset) for topic, partition, offset in rows}


POSITIONS_QUERY = f'SELECT topic, "partition", "offset" FROM {POSITIONS}'  # noqa: S608 - a constant


def _create(sql: Sql) -> None:
    sql.execute(
        f"CREATE TABLE {POSITIONS} ("
        ' topic TEXT NOT NULL, "partition" INTEGER NOT NULL, "offset" INTEGER NOT NULL,'
        ' PRIMARY KEY (topic, "partition")'
        ") STRICT, WITHOUT ROWID"
    )


def _note_positions(sql: Sql, batch: Sequence[Incoming]) -> None:
    last: Positions = {}
    for incoming in batch:
        at = (incoming.topic, incoming.partition)
        last[at] = max(incoming.offset, last.get(at, 0))
    for (topic, partition), offset in last.items():
        sql.execute(_POSITION, (topic, partition, offset))


def _seen(incoming: Incoming, envelope: Envelope, counted: str) -> Seen:
    return Seen(
        id=counted,
        topic=incoming.topic,
        partition=incoming.partition,
        offset=incoming.offset,
        key=envelope.key,
        at_ms=envelope.timestamp_ms,
        headers=dict(incoming.headers),
    )


def _event_types(function: Callable[..., None], key_field: str) -> tuple[type[Event], ...]:
    problem = function_problem(function)
    if problem:
        raise ProjectionError(f"handler {problem}")
    where = f"{function.__code__.co_filename}:{function.__code__.co_firstlineno}"
    try:
        parameters = list(signature_of(function, where).parameters.values())
    except HandlerError as error:
        raise ProjectionError(str(error)) from None
    if len(parameters) != 3:
        raise ProjectionError(
            f"handler {function.__name__!r} ({where}) takes {len(parameters)} parameters; "
            "write it as `def reserved(sql: Sql, event: InventoryReserved, seen: Seen) -> None`"
        )
    given = given_otherwise(parameters[2], Seen)
    if given:
        raise ProjectionError(f"handler {function.__name__!r} ({where}): {given}")
    annotation = parameters[1].annotation
    found = get_args(annotation) or (annotation,)
    for event_type in found:
        if not isinstance(event_type, type) or not issubclass(event_type, Event) or not tag_of(event_type):
            raise ProjectionError(
                f"handler {function.__name__!r} ({where}): annotate its second parameter with an event that has a tag"
            )
        said = fields_problem(event_type, key_field)
        if said is not None:
            raise ProjectionError(f"event {event_type.__name__} ({where}) {said[0]}; {said[1]}")
    return cast("tuple[type[Event], ...]", found)
