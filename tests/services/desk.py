"""A service at its desk: commands are handed in as they arrive from the broker, answers are what it would publish."""

from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import TypeVar

from sagas.core.envelope import Header, Undecodable, decode_data, decode_envelope, encode_message
from sagas.core.ids import derived_id, instance_id
from sagas.core.instance import Operation
from sagas.core.messages import Command, Event
from sagas.ports import DeadLetter, Incoming, Migration, OutboxRow
from sagas.runtime.handlers import Ticket
from sagas.runtime.participant import Service
from sagas.store.participant import SqliteParticipantStore

NOW_MS = 1_735_689_600_000
KEY = "order_id"

E = TypeVar("E", bound=Event)


class Desk:
    """One service with its own database, in memory unless `path` says otherwise."""

    def __init__(self, service: Service, migrations: Sequence[Migration], path: str | Path = ":memory:") -> None:
        self.service = service
        self.store = SqliteParticipantStore(path, migrations)
        self.now_ms = NOW_MS
        """What the clocks say, here and at the broker."""
        self._offsets = count()

    def hand(
        self, command: Command[Event], step: str, operation: Operation = "do", *, attempt: int = 1, since_ms: int = 0
    ) -> list[OutboxRow]:
        """Let the service deal with a command; its new answers. `since_ms` says when its step was first asked for."""
        return self._deal_with(self.incoming(command, step, operation, attempt=attempt, since_ms=since_ms))

    def incoming(
        self, command: Command[Event], step: str, operation: Operation = "do", *, attempt: int = 1, since_ms: int = 0
    ) -> Incoming:
        """A command as it arrives."""
        order_id = str(getattr(command, KEY))
        ticket = ticket_for(order_id, step)
        command_id = derived_id(ticket.instance_id, step, operation)
        payload = encode_message(command, message_id=command_id, key_field=KEY, key=order_id, now_ms=NOW_MS)
        headers = {
            Header.SAGA: "order",
            Header.INSTANCE: ticket.instance_id,
            Header.STEP: step,
            Header.OPERATION: operation,
            Header.ATTEMPT: str(attempt),
            **({Header.SINCE: str(since_ms)} if since_ms else {}),
        }
        return self._incoming(payload, headers, command_id)

    def hand_raw(self, payload: bytes, headers: dict[str, str], message_id: str = "m-1") -> list[OutboxRow]:
        """Let the service deal with any message; its new answers."""
        return self._deal_with(self._incoming(payload, headers, message_id))

    def _incoming(self, payload: bytes, headers: dict[str, str], message_id: str) -> Incoming:
        return Incoming(
            id=message_id,
            topic=self.service.participant.commands,
            partition=0,
            offset=next(self._offsets),
            timestamp_ms=self.now_ms,
            payload=payload,
            headers=headers,
        )

    def _deal_with(self, incoming: Incoming) -> list[OutboxRow]:
        self.service.process([incoming], self.store, self.now_ms)
        return self.answers()

    def answers(self) -> list[OutboxRow]:
        """The answers that were not taken yet; what went to the topic of dead letters is none."""
        rows = self.store.unpublished(100)
        self.store.mark_published([row.seq for row in rows], NOW_MS)
        return [row for row in rows if row.topic == self.service.participant.events]

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        """What the service's tables hold."""
        with self.store.transaction() as transaction:
            return transaction.sql.execute(sql).fetchall()

    def dead_letters(self) -> list[DeadLetter]:
        """What the service could not deal with."""
        return self.store.dead_letters(100)


def ticket_for(order_id: str, step: str) -> Ticket:
    """Whose operation a command of the order's saga is."""
    return Ticket(instance_id("order", order_id, NOW_MS), step)


def reply_in(answer: OutboxRow, reply_type: type[E]) -> E:
    """The reply as the saga reads it from the published bytes."""
    envelope = decode_envelope(answer.payload, KEY)
    assert not isinstance(envelope, Undecodable)
    reply = decode_data(reply_type, KEY, envelope.key, envelope.data)
    assert not isinstance(reply, Undecodable)
    return reply


def same_message(one: OutboxRow, other: OutboxRow) -> bool:
    """Whether two answers are the same on the wire, byte for byte, under the same id."""
    return (one.id, one.event_type, one.payload, one.topic, one.key, one.headers) == (
        other.id,
        other.event_type,
        other.payload,
        other.topic,
        other.key,
        other.headers,
    )
