"""A participant that does without the kit, with the flaws that one writes by hand, one or all of them.

Without a flaw it is a barrier of its own and conforms; each flaw is what it takes to fail one line.
"""

from collections.abc import Sequence
from enum import Flag, auto

from sagas import Command, Event, Participant, Rejection
from sagas.core.envelope import Envelope, Header, decode_data, decode_envelope, encode_message
from sagas.core.hashing import short_hash
from sagas.core.ids import derived_id
from sagas.core.instance import Operation
from sagas.core.messages import tag_of
from sagas.ports import BarrierRow, Incoming, Migration, OutboxRow, ParticipantStore, ParticipantTransaction, Sql
from sagas.runtime.dead_letters import dead_letter

CHAIRS = Participant("chairs", key="guest_id")


class Seated(Event, tag="guest.seated"):
    guest_id: str


class Full(Rejection, tag="guest.refused"):
    guest_id: str


class Seat(Command[Seated | Full], tag="guest.seat"):
    guest_id: str
    chairs: int


class Risen(Event, tag="guest.risen"):
    guest_id: str


class Rise(Command[Risen], tag="guest.rise"):
    guest_id: str


class Flaw(Flag):
    """What it does wrong."""

    NONE = 0
    FORGETS = auto()
    FORGETS_REFUSALS = auto()
    SILENT_ON_REPEAT = auto()
    FRESH_ANSWER_ON_REPEAT = auto()
    UNDOES_WHAT_NEVER_WAS = auto()
    UNDO_DOES_NOT_BLOCK = auto()
    LOOKS_BEFORE_THE_BATCH = auto()
    ANSWERS_LATER = auto()
    TAKES_ANY_BODY = auto()
    SWALLOWS = auto()
    IGNORES_DEADLINES = auto()
    ALL = (
        FORGETS
        | UNDOES_WHAT_NEVER_WAS
        | UNDO_DOES_NOT_BLOCK
        | LOOKS_BEFORE_THE_BATCH
        | ANSWERS_LATER
        | TAKES_ANY_BODY
        | SWALLOWS
        | IGNORES_DEADLINES
    )


def create(sql: Sql) -> None:
    sql.execute("CREATE TABLE room (chairs INTEGER NOT NULL) STRICT")
    sql.execute("CREATE TABLE guests (guest_id TEXT NOT NULL, chairs INTEGER NOT NULL) STRICT")
    sql.execute("INSERT INTO room VALUES (10)")


MIGRATIONS: tuple[Migration, ...] = (("001-room", create),)

Known = dict[Operation, BarrierRow | None]


class Naive:
    """Seats guests on ten chairs."""

    participant = CHAIRS
    command_tags = frozenset({"guest.seat", "guest.rise"})

    def __init__(self, flaws: Flaw) -> None:
        self.flaws = flaws

    def process(self, batch: Sequence[Incoming], store: ParticipantStore, now_ms: int) -> None:
        with store.transaction() as transaction:
            known = [_recall(transaction, incoming) for incoming in batch]
        for incoming, seen in zip(batch, known, strict=True):
            self._deal_with(incoming, seen, store, now_ms)

    def _deal_with(self, incoming: Incoming, seen: Known, store: ParticipantStore, now_ms: int) -> None:
        operation: Operation = "undo" if incoming.headers[Header.OPERATION] == "undo" else "do"
        with store.transaction() as transaction:
            if Flaw.LOOKS_BEFORE_THE_BATCH not in self.flaws:
                seen = _recall(transaction, incoming)
            if self._is_settled(transaction, incoming, operation, seen, now_ms):
                return
            answer = self._act(transaction, incoming, operation, seen, now_ms)
            if Flaw.ANSWERS_LATER not in self.flaws:
                transaction.add_outbox([answer])
        if Flaw.ANSWERS_LATER in self.flaws:
            with store.transaction() as transaction:
                transaction.add_outbox([answer])

    def _is_settled(
        self, transaction: ParticipantTransaction, incoming: Incoming, operation: Operation, seen: Known, now_ms: int
    ) -> bool:
        """Whether the operation is known: then it is answered from memory, as far as there are no flaws."""
        known = seen[operation]
        if known is None or (known.is_blocked and Flaw.UNDO_DOES_NOT_BLOCK in self.flaws):
            return False
        if known.is_blocked:
            return True
        if known.command_hash != short_hash(_envelope(incoming).data) and Flaw.TAKES_ANY_BODY not in self.flaws:
            letter, _ = dead_letter(incoming, "another body", now_ms, read_by="chairs", key_field="guest_id")
            transaction.add_dead_letters([letter])
        elif Flaw.SILENT_ON_REPEAT not in self.flaws:
            payload = known.answer_data
            if Flaw.FRESH_ANSWER_ON_REPEAT in self.flaws:
                payload += b" "
            transaction.add_outbox([_row(incoming, known.answer, payload)])
        return True

    def _act(
        self, transaction: ParticipantTransaction, incoming: Incoming, operation: Operation, seen: Known, now_ms: int
    ) -> OutboxRow:
        is_late = now_ms > int(incoming.headers.get(Header.DEADLINE) or now_ms)
        if is_late and Flaw.IGNORES_DEADLINES not in self.flaws:
            reply: Event = Full(guest_id=_envelope(incoming).key)
        else:
            reply = self._carry_out(transaction, incoming, operation, seen)
        payload = encode_message(
            reply, message_id=incoming.id, key_field="guest_id", key=_envelope(incoming).key, now_ms=now_ms
        )
        answer = _row(incoming, tag_of(type(reply)), payload)
        is_forgotten = Flaw.FORGETS in self.flaws or (isinstance(reply, Full) and Flaw.FORGETS_REFUSALS in self.flaws)
        if not is_forgotten:
            row = _barrier_row(incoming, operation, answer.event_type, payload)
            transaction.remember(row, now_ms)
            if operation == "undo" and seen["do"] is None:
                transaction.remember(_barrier_row(incoming, "do", "", b"", is_blocked=True), now_ms)
        return answer

    def _carry_out(
        self, transaction: ParticipantTransaction, incoming: Incoming, operation: Operation, seen: Known
    ) -> Event:
        envelope = _envelope(incoming)
        if operation == "do":
            command = decode_data(Seat, "guest_id", envelope.key, envelope.data)
            assert isinstance(command, Seat)
            return self._seat(transaction, command)
        do = seen["do"]
        if Flaw.UNDOES_WHAT_NEVER_WAS in self.flaws or (do is not None and do.answer == "guest.seated"):
            self._write(transaction.sql, ("INSERT INTO guests VALUES (?, -1)", [envelope.key]))
        return Risen(guest_id=envelope.key)

    def _seat(self, transaction: ParticipantTransaction, command: Seat) -> Event:
        (free,) = transaction.sql.execute("SELECT chairs FROM room").fetchone() or (0,)
        assert isinstance(free, int)
        if free < command.chairs:
            return Full(guest_id=command.guest_id)
        self._write(
            transaction.sql,
            ("INSERT INTO guests VALUES (?, ?)", [command.guest_id, command.chairs]),
            ("UPDATE room SET chairs = chairs - ?", [command.chairs]),
        )
        return Seated(guest_id=command.guest_id)

    def _write(self, sql: Sql, *statements: tuple[str, list[object]]) -> None:
        try:
            for statement, parameters in statements:
                sql.execute(statement, parameters)
        except Exception:
            if Flaw.SWALLOWS not in self.flaws:
                raise


def _envelope(incoming: Incoming) -> Envelope:
    envelope = decode_envelope(incoming.payload, "guest_id")
    assert isinstance(envelope, Envelope)
    return envelope


def _recall(transaction: ParticipantTransaction, incoming: Incoming) -> Known:
    instance_id, step = incoming.headers[Header.INSTANCE], incoming.headers[Header.STEP]
    return {
        "do": transaction.recall(instance_id, step, "do"),
        "undo": transaction.recall(instance_id, step, "undo"),
    }


def _barrier_row(
    incoming: Incoming, operation: Operation, answer: str, payload: bytes, *, is_blocked: bool = False
) -> BarrierRow:
    return BarrierRow(
        instance_id=incoming.headers[Header.INSTANCE],
        step=incoming.headers[Header.STEP],
        operation=operation,
        command_hash=short_hash(_envelope(incoming).data),
        answer=answer,
        answer_data=payload,
        is_blocked=is_blocked,
    )


def _row(incoming: Incoming, event_type: str, payload: bytes) -> OutboxRow:
    key = _envelope(incoming).key
    return OutboxRow(
        id=derived_id(incoming.id, "answer"),
        event_type=event_type,
        payload=payload,
        created_at=incoming.timestamp_ms,
        aggregate_type="chairs",
        aggregate_id=key,
        topic="chairs",
        key=key,
        headers={Header.INSTANCE: incoming.headers[Header.INSTANCE]},
    )
