"""The participant kit: a service's handlers behind the barrier that makes each command take effect once.

Theory of operation. Commands arrive at least once, in any order, an undo perhaps before its do. The
barrier remembers each operation (instance, step, do or undo) with the answer that was given, in the
participant's own database and in the same transaction as its business rows and its outbox:

    seen before             answer from memory, byte for byte; the handler does not run
    an undo, its do unseen  null compensation: answer done, and remember the do as blocked
    an undo, its do refused the same: nothing remains of it
    a do that is blocked    no effect and no answer: its saga has turned back
    otherwise               run the handler, remember its answer, refusals included

A refusal that is not remembered would be a bug: sent again, the command might succeed after the saga
has turned back. A handler that raises did nothing (its savepoint is rolled back) and is answered with
`Fault`, which is not remembered: the saga sends the command again. A handler that returns `InProgress`
is remembered without an answer, which `Service.settle` gives later.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, overload

import msgspec

from sagas.core.envelope import Envelope, Header, Undecodable, decode_data, decode_envelope, encode_message
from sagas.core.hashing import short_hash
from sagas.core.ids import derived_id
from sagas.core.instance import Operation
from sagas.core.messages import TEXT_LENGTH_MAX, Command, Event, Fault, InProgress, tag_of
from sagas.core.participants import Participant
from sagas.errors import StoreError
from sagas.ports import BarrierRow, Incoming, OutboxRow, ParticipantStore, ParticipantTransaction
from sagas.runtime.dead_letters import dead_letter
from sagas.runtime.handlers import Handler, HandlerError, Ticket, is_refusal, read_handler

_log = logging.getLogger("sagas.participant")

H = TypeVar("H", bound=Callable[..., Event])


class Delivery(msgspec.Struct, frozen=True):
    """A command as it was understood: whose operation it is, and what carries it out."""

    command_id: str
    command: Command[Any]
    handler: Handler
    instance_id: str
    step: str
    operation: Operation
    attempt: str
    key: str
    body_hash: bytes


class Service:
    """The handlers of one participant, and its barrier.

    `@service.handles` registers a function `(sql, command) -> reply`, which runs inside the
    transaction that holds the barrier: what it writes through `sql` is kept or lost with its answer.
    """

    def __init__(self, participant: Participant) -> None:
        self.participant = participant
        self._handlers: dict[str, Handler] = {}

    def handles(self, function: H) -> H:
        """Register the handler of the command that `function` is annotated with."""
        return self._register(function, "do", None)

    @overload
    def undoes(self, function: H) -> H: ...

    @overload
    def undoes(self, *, nothing: Callable[[Any], Event]) -> Callable[[H], H]: ...

    def undoes(
        self, function: H | None = None, *, nothing: Callable[[Any], Event] | None = None
    ) -> H | Callable[[H], H]:
        """Register the handler of an undo: it runs only if its do took effect, or may have.

        `nothing` makes the reply from the command when there is nothing to undo; it is needed only if
        that reply has required fields besides the business key.
        """
        if function is None:
            return lambda later: self._register(later, "undo", nothing)
        return self._register(function, "undo", None)

    @property
    def command_tags(self) -> frozenset[str]:
        """The commands that are understood."""
        return frozenset(self._handlers)

    def process(self, batch: Sequence[Incoming], store: ParticipantStore, now_ms: int) -> None:
        """Deal with a batch of commands in one transaction: effects, memory, answers and dead letters."""
        with store.transaction() as transaction:
            for incoming in batch:
                delivery = self._understand(incoming)
                if isinstance(delivery, Undecodable):
                    _bury(transaction, incoming, delivery.reason, now_ms)
                else:
                    self._pass(transaction, incoming, delivery, now_ms)

    def settle(self, transaction: ParticipantTransaction, ticket: Ticket, reply: Event, now_ms: int) -> bool:
        """Give the definite answer to a do that was in progress. False when it is answered or undone already."""
        row = transaction.recall(ticket.instance_id, ticket.step, "do")
        if row is None or row.answer or row.is_blocked:
            return False
        command_id = derived_id(ticket.instance_id, ticket.step, "do")
        key = str(getattr(reply, self.participant.key))
        headers = _reply_headers(ticket.instance_id, ticket.step, "do", command_id)
        answer = self._fresh(reply, derived_id(command_id, "answer"), key, headers, now_ms)
        transaction.amend(msgspec.structs.replace(row, answer=answer.event_type, answer_data=answer.payload), now_ms)
        transaction.add_outbox([answer])
        return True

    # ----------------------------------------------------------------- understanding

    def _register(self, function: H, operation: Operation, nothing: Callable[[Any], Event] | None) -> H:
        handler = read_handler(function, self.participant.key, operation, nothing)
        tag = tag_of(handler.command_type)
        if tag in self._handlers:
            raise HandlerError(f"participant {self.participant.name!r} has two handlers for {tag!r}; keep one")
        self._handlers[tag] = handler
        return function

    def _understand(self, incoming: Incoming) -> Delivery | Undecodable:
        if incoming.defect:
            return Undecodable(incoming.defect)
        envelope = decode_envelope(incoming.payload, self.participant.key)
        if isinstance(envelope, Undecodable):
            return envelope
        handler = self._handlers.get(envelope.event_type)
        if handler is None:
            known = ", ".join(sorted(self._handlers))
            return Undecodable(f"{self.participant.name} does not understand {envelope.event_type!r}, only {known}")
        return self._delivery(incoming, envelope, handler)

    def _delivery(self, incoming: Incoming, envelope: Envelope, handler: Handler) -> Delivery | Undecodable:
        instance_id, step, operation, attempt = (
            incoming.headers.get(h, "") for h in (Header.INSTANCE, Header.STEP, Header.OPERATION, Header.ATTEMPT)
        )
        if not instance_id or not step:
            return Undecodable(f"no headers {Header.INSTANCE} and {Header.STEP}: whose command is it?")
        if operation != handler.operation:
            return Undecodable(f"header {Header.OPERATION} is {operation!r}, its handler is for {handler.operation!r}")
        command = decode_data(handler.command_type, self.participant.key, envelope.key, envelope.data)
        if isinstance(command, Undecodable):
            return command
        try:
            command_id = derived_id(instance_id, step, operation)
        except ValueError:
            return Undecodable(f"header {Header.INSTANCE} is no instance id: {instance_id!r}")
        return Delivery(
            command_id=command_id,
            command=command,
            handler=handler,
            instance_id=instance_id,
            step=step,
            operation=handler.operation,
            attempt=attempt,
            key=envelope.key,
            body_hash=short_hash(envelope.data),
        )

    # ----------------------------------------------------------------- the barrier

    def _pass(self, transaction: ParticipantTransaction, incoming: Incoming, delivery: Delivery, now_ms: int) -> None:
        known = transaction.recall(delivery.instance_id, delivery.step, delivery.operation)
        if known is not None and known.is_blocked:
            _log.info("%s of %s came after its undo: not done", delivery.step, delivery.instance_id)
        elif known is not None and known.command_hash != delivery.body_hash:
            reason = f"{delivery.step} {delivery.operation} of {delivery.instance_id}: same id as before, another body"
            _bury(transaction, incoming, reason, now_ms)
        elif known is not None and known.answer:
            transaction.add_outbox([self._remembered(delivery, known, now_ms)])
        elif known is not None:
            transaction.add_outbox([self._reply(delivery, InProgress(), now_ms)])
        else:
            self._carry_out(transaction, delivery, now_ms)

    def _carry_out(self, transaction: ParticipantTransaction, delivery: Delivery, now_ms: int) -> None:
        if delivery.operation == "undo" and not self._is_there_something(transaction, delivery, now_ms):
            reply = delivery.handler.reply_to_nothing(delivery.command, self.participant.key, delivery.key)
        else:
            reply = self._run(transaction, delivery)
        answer = self._reply(delivery, reply, now_ms)
        transaction.add_outbox([answer])
        if isinstance(reply, Fault):
            return
        is_open = isinstance(reply, InProgress)
        row = BarrierRow(
            instance_id=delivery.instance_id,
            step=delivery.step,
            operation=delivery.operation,
            command_hash=delivery.body_hash,
            answer="" if is_open else answer.event_type,
            answer_data=b"" if is_open else answer.payload,
        )
        inserted = transaction.remember(row, now_ms)
        # Within one write transaction nobody else can have inserted it since it was looked up.
        assert inserted, f"{delivery.step} {delivery.operation} of {delivery.instance_id} was remembered meanwhile"
        transaction.processed(delivery.command_id, tag_of(type(delivery.command)), now_ms)

    def _is_there_something(self, transaction: ParticipantTransaction, delivery: Delivery, now_ms: int) -> bool:
        """Whether an undo's do took effect, or may have. One that was never seen is blocked from now on."""
        do = transaction.recall(delivery.instance_id, delivery.step, "do")
        if do is None:
            row = BarrierRow(
                instance_id=delivery.instance_id, step=delivery.step, operation="do", command_hash=b"", is_blocked=True
            )
            transaction.remember(row, now_ms)
            return False
        if not do.answer:
            # It is in progress: the handler takes it back, and settle() must not answer it any more.
            transaction.amend(msgspec.structs.replace(do, is_blocked=True), now_ms)
            return True
        return not any(is_refusal(h.command_type, do.answer) for h in self._handlers.values())

    def _run(self, transaction: ParticipantTransaction, delivery: Delivery) -> Event:
        function, ticket = delivery.handler.function, Ticket(delivery.instance_id, delivery.step)
        try:
            with transaction.savepoint():
                if delivery.handler.takes_ticket:
                    return function(transaction.sql, delivery.command, ticket)
                return function(transaction.sql, delivery.command)
        except StoreError:
            raise  # the database is locked, full or gone: nothing of the batch may be acknowledged
        except Exception as error:  # the service's own code: this command is tried again, the others go on
            _log.exception("%s %s of %s failed", delivery.step, delivery.operation, delivery.instance_id)
            return Fault(reason=f"{type(error).__name__}: {error}"[:TEXT_LENGTH_MAX].replace("\0", ""))

    # ----------------------------------------------------------------- answers

    def _reply(self, delivery: Delivery, reply: Event, now_ms: int) -> OutboxRow:
        # A definite answer has one id for ever, so that its repeats are recognised; the others have one an attempt.
        if isinstance(reply, Fault | InProgress):
            purpose, headers = tag_of(type(reply)), {**_headers(delivery), Header.ATTEMPT: delivery.attempt}
            message_id = derived_id(delivery.command_id, purpose, delivery.attempt)
            return self._fresh(reply, message_id, delivery.key, headers, now_ms)
        return self._fresh(reply, derived_id(delivery.command_id, "answer"), delivery.key, _headers(delivery), now_ms)

    def _fresh(self, reply: Event, message_id: str, key: str, headers: dict[str, str], now_ms: int) -> OutboxRow:
        payload = encode_message(reply, message_id=message_id, key_field=self.participant.key, key=key, now_ms=now_ms)
        return self._row(message_id, tag_of(type(reply)), payload, key, headers, now_ms)

    def _remembered(self, delivery: Delivery, known: BarrierRow, now_ms: int) -> OutboxRow:
        message_id = derived_id(delivery.command_id, "answer")
        return self._row(message_id, known.answer, known.answer_data, delivery.key, _headers(delivery), now_ms)

    def _row(
        self, message_id: str, event_type: str, payload: bytes, key: str, headers: dict[str, str], now_ms: int
    ) -> OutboxRow:
        return OutboxRow(
            id=message_id,
            event_type=event_type,
            payload=payload,
            created_at=now_ms,
            aggregate_type=self.participant.name,
            aggregate_id=key,
            topic=self.participant.events,
            key=key,
            headers=headers,
        )


def _headers(delivery: Delivery) -> dict[str, str]:
    return _reply_headers(delivery.instance_id, delivery.step, delivery.operation, delivery.command_id)


def _reply_headers(instance_id: str, step: str, operation: Operation, command_id: str) -> dict[str, str]:
    return {Header.INSTANCE: instance_id, Header.STEP: step, Header.OPERATION: operation, Header.COMMAND: command_id}


def _bury(transaction: ParticipantTransaction, incoming: Incoming, reason: str, now_ms: int) -> None:
    _log.warning("dead letter from %s/%d at %d: %s", incoming.topic, incoming.partition, incoming.offset, reason)
    transaction.add_dead_letters([dead_letter(incoming, reason, now_ms)])
