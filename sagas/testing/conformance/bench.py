"""The bench a participant is attacked on: a fresh database, deliveries as from the broker, and what can be seen."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from itertools import count
from typing import Any

import msgspec

from sagas.core.envelope import Envelope, Header, Undecodable, decode_envelope, encode_envelope, encode_message
from sagas.core.ids import derived_id, instance_id
from sagas.core.instance import Operation
from sagas.core.messages import Command, Fault, InProgress, Rejection, reply_types, tag_of
from sagas.ports import Incoming, Migration, OutboxRow, ParticipantTransaction, Sql
from sagas.store.participant import SqliteParticipantStore
from sagas.testing.conformance.examples import Attackable
from sagas.testing.conformance.sabotage import Broken, Crashed, Plan, SabotagedStore
from sagas.testing.rehearsal import BEGINS_MS

STEP = "attacked"
ANSWERS_MAX = 1_000

Tables = Mapping[str, tuple[str, ...]]
"""Each of the participant's own tables with its rows as text, in an order that does not matter."""


class Failed(Exception):
    """The participant did not withstand the attack; the text says what was seen."""


class Bench:
    """One participant with a fresh database; `given` prepares its tables."""

    def __init__(
        self, service: Attackable, migrations: tuple[Migration, ...], given: Callable[[Sql], None] | None = None
    ) -> None:
        self.service = service
        self.store = SabotagedStore(migrations)
        self._offsets = count()
        if given is not None:
            self.change(given)

    def change(self, hook: Callable[[Sql], None]) -> None:
        """Let a hook change the participant's own tables."""
        with self.store.transaction() as transaction:
            hook(transaction.sql)

    # ----------------------------------------------------------------- delivering

    def incoming(
        self,
        command: Command[Any],
        operation: Operation,
        *,
        attempt: int = 1,
        run: str = "",
        left_ms: int | None = None,
    ) -> Incoming:
        """The command as it is read from the topic. `run` makes it another saga's.

        `left_ms` is until its deadline, negative when that has passed; None: it has none.
        """
        participant = self.service.participant
        key = str(getattr(command, participant.key))
        instance = instance_id(f"conformance{run}", key, BEGINS_MS)
        command_id = derived_id(instance, STEP, operation)
        return Incoming(
            id=command_id,
            topic=participant.commands,
            partition=0,
            offset=next(self._offsets),
            timestamp_ms=BEGINS_MS,
            payload=encode_message(
                command, message_id=command_id, key_field=participant.key, key=key, now_ms=BEGINS_MS
            ),
            headers={
                Header.SAGA: "conformance",
                Header.INSTANCE: instance,
                Header.STEP: STEP,
                Header.OPERATION: operation,
                Header.ATTEMPT: str(attempt),
                **({} if left_ms is None else {Header.DEADLINE: str(BEGINS_MS + left_ms)}),
            },
        )

    def with_another_body(self, incoming: Incoming) -> Incoming:
        """The same message with a field more in its body, which the command's type does not have."""
        field = self.service.participant.key
        envelope = decode_envelope(incoming.payload, field)
        assert isinstance(envelope, Envelope), "it was encoded here a moment ago"
        data = msgspec.json.decode(envelope.data, type=dict[str, msgspec.Raw])
        body = msgspec.json.encode({**data, "another_body": True})
        payload = encode_envelope(envelope.id, field, envelope.key, envelope.event_type, envelope.timestamp_ms, body)
        return msgspec.structs.replace(incoming, payload=payload)

    def deliver(self, *batch: Incoming) -> list[OutboxRow]:
        """Let the participant deal with one batch; the answers it has for the relay, taken away as by one."""
        self.service.process(batch, self.store, BEGINS_MS)
        return self.published()

    def deliver_under(self, plan: Plan, *batch: Incoming) -> bool:
        """The same under sabotage, with nothing published; whether the planned moment came."""
        self.store.sabotage(plan)
        # A handler's failure may leave `process`: the worker then delivers the message again.
        with suppress(Crashed, Broken):
            self.service.process(batch, self.store, BEGINS_MS)
        is_hit = self.store.is_hit
        self.store.sabotage(Plan())
        return is_hit

    # ----------------------------------------------------------------- seeing

    def published(self) -> list[OutboxRow]:
        """The answers that the outbox holds for the relay, and then no more; what goes to other topics is none."""
        rows = self.store.unpublished(ANSWERS_MAX)
        self.store.mark_published([row.seq for row in rows], BEGINS_MS)
        return [row for row in rows if row.topic == self.service.participant.events]

    def tables(self) -> Tables:
        """Everything in the participant's own tables."""
        with self.store.transaction() as transaction:
            own = [name for name in _tables(transaction) if name not in kit_tables()]
            return {name: _rows(transaction, name) for name in own}

    def dead_letters(self) -> int:
        """How many messages could not be dealt with."""
        return len(self.store.dead_letters(ANSWERS_MAX))

    def close(self) -> None:
        """Give up the database."""
        self.store.close()


@cache
def kit_tables() -> frozenset[str]:
    """The tables that every participant's database has."""
    store = SqliteParticipantStore(":memory:")
    try:
        with store.transaction() as transaction:
            return frozenset(_tables(transaction))
    finally:
        store.close()


def _tables(transaction: ParticipantTransaction) -> list[str]:
    found = transaction.sql.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
    )
    return [str(name) for (name,) in found.fetchall()]


def _rows(transaction: ParticipantTransaction, table: str) -> tuple[str, ...]:
    quoted = table.replace('"', '""')
    found = transaction.sql.execute(f'SELECT * FROM "{quoted}"')  # noqa: S608 - a name out of the schema
    return tuple(sorted(map(repr, found.fetchall())))


# --------------------------------------------------------------------------- comparing


def require(condition: bool, seen: str) -> None:
    """Raise Failed with what was `seen` unless `condition` holds."""
    if not condition:
        raise Failed(seen)


def the_answer(answers: list[OutboxRow], to: str) -> OutboxRow:
    """The one answer among `answers`; `to` says what was delivered."""
    require(len(answers) == 1, f"{to} got {len(answers)} answers instead of one")
    return answers[0]


def is_same_answer(one: OutboxRow, other: OutboxRow) -> bool:
    """Whether they are one message, byte for byte. Words that are not definite have an id for each attempt."""
    if one.event_type == other.event_type and one.event_type in (tag_of(InProgress), tag_of(Fault)):
        return True
    return (one.id, one.event_type, one.payload, one.topic, one.key, one.headers) == (
        other.id,
        other.event_type,
        other.payload,
        other.topic,
        other.key,
        other.headers,
    )


def is_refusal(command: Command[Any], answer: OutboxRow) -> bool:
    """Whether `answer` is one of the command's rejections."""
    return any(issubclass(r, Rejection) and tag_of(r) == answer.event_type for r in reply_types(type(command)))


def is_done(command: Command[Any], answer: OutboxRow) -> bool:
    """Whether `answer` is a reply of the command's that says: done."""
    return any(not issubclass(r, Rejection) and tag_of(r) == answer.event_type for r in reply_types(type(command)))


def is_readable(answer: OutboxRow, key_field: str) -> bool:
    """Whether the answer's envelope can be read by the saga."""
    return not isinstance(decode_envelope(answer.payload, key_field), Undecodable)


def difference(before: Tables, after: Tables) -> str:
    """Which tables differ and by how many rows, "nothing" when none does."""
    changed = [
        f"{name}: {len(set(after[name]) - set(before[name]))} new or changed, {len(after[name])} rows"
        for name in after
        if after[name] != before.get(name, ())
    ]
    return "; ".join(changed) or "nothing"
