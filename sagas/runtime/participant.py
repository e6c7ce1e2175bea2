"""The participant kit: a service's handlers behind the barrier that makes each command take effect once.

Theory of operation. Commands arrive at least once, in any order, an undo perhaps before its do. The
barrier remembers each operation (instance, step, do or undo) with the answer that was given, in the
participant's own database and in the same transaction as its business rows and its outbox:

    seen before             answer from memory, byte for byte; the handler does not run
    an undo, its do unseen  null compensation: answer done, and remember the do as blocked
    an undo, its do refused the same: nothing remains of it
    a do that is blocked    no effect and no answer: its saga has turned back
    a do past its deadline  refused for good, if its saga says that it is better not done than done late
    a do or undo so old that its memory may be cleaned away   not done, and no word on whether it was
    otherwise               run the handler, remember its answer, refusals included

A refusal that is not remembered would be a bug: sent again, the command might succeed after the saga has turned back.
What a handler wrote before it refused is rolled back with its savepoint: a refusal says that nothing remains. A handler
that raises did nothing either, and is answered with `Fault`, which is not remembered: the saga sends it again. Nor is
`CannotUndo`: a person may have the undo sent again once what stood in its way is gone. A handler that returns
`InProgress` is remembered without an answer: `Service.settle` gives it later.

A command that cannot be read, or that nobody here understands, is a dead letter. If its headers say whose, its saga
is told (`Undeliverable`) and turns back. That is remembered as a refusal is: the next release may understand it.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, overload

import msgspec

from sagas.core import barrier
from sagas.core.envelope import Header, encode_data
from sagas.core.ids import answer_id, derived_id
from sagas.core.instance import Operation
from sagas.core.messages import CannotUndo, Event, Fault, InProgress, Rejection, Undeliverable, tag_of
from sagas.core.participants import Participant
from sagas.ports import BarrierRow, Incoming, OutboxRow, ParticipantStore, ParticipantTransaction, TopicSpec
from sagas.runtime.answers import answer_row, definite, fresh_answer
from sagas.runtime.calling import carried_out, nothing_to_undo
from sagas.runtime.dead_letters import DEAD_LETTERS, dead_letter, plain, published_again
from sagas.runtime.delivery import (
    FORGOTTEN,
    Claim,
    Delivery,
    Unreadable,
    asked_of,
    begun,
    claim_headers,
    may_be_forgotten,
    memory_of,
    read_claim,
    reply_headers,
    understand,
)
from sagas.runtime.handlers import Handler, HandlerError, Ticket, read_handler, refusals_of

_log = logging.getLogger("sagas.participant")

_OF_THE_KIT = frozenset({Fault, InProgress, Undeliverable})

H = TypeVar("H", bound=Callable[..., Event])


class Service:
    """The handlers of one participant, and its barrier.

    `@service.handles` registers a function `(sql, command) -> reply`, which runs inside the
    transaction that holds the barrier: what it writes through `sql` is kept or lost with its answer.
    """

    def __init__(self, participant: Participant) -> None:
        self.participant = participant
        self._handlers: dict[str, Handler] = {}
        self._refusals = {tag_of(Undeliverable)}

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

    def topic_specs(self, partitions: int) -> list[TopicSpec]:
        """The topics that must be there, read or written."""
        names = (self.participant.commands, self.participant.events, DEAD_LETTERS)
        return [TopicSpec(name=name, partitions=partitions) for name in names]

    @property
    def command_tags(self) -> frozenset[str]:
        """The commands that are understood."""
        return frozenset(self._handlers)

    def operation_of(self, tag: str) -> Operation | None:
        """What the handler of a command was registered for; None when it has none."""
        return self._handlers[tag].operation if tag in self._handlers else None

    def process(self, batch: Sequence[Incoming], store: ParticipantStore, now_ms: int) -> None:
        """Deal with a batch of commands in one transaction: effects, memory, answers and dead letters."""
        understood = [understand(incoming, self.participant, self._handlers) for incoming in batch]
        with store.transaction() as transaction:
            transaction.prefetch(asked_of(understood))
            for incoming, delivery in zip(batch, understood, strict=True):
                if isinstance(delivery, Delivery):
                    self._pass(transaction, incoming, delivery, now_ms)
                else:
                    self._refuse(transaction, incoming, delivery, now_ms)

    def fail(self, incoming: Incoming, reason: str, store: ParticipantStore, now_ms: int) -> None:
        """Deal with a message on which this engine failed: publish it again, or give up on it and tell its saga."""
        names = {"read_by": self.participant.name, "key_field": self.participant.key}
        again = published_again(incoming, now_ms, **names)
        with store.transaction() as transaction:
            if again is None:
                claim = read_claim(incoming, self.participant.key)
                unreadable = Unreadable(reason, claim if isinstance(claim, Claim) else None)
                self._refuse(transaction, incoming, unreadable, now_ms)
            elif transaction.processed(again.id, again.event_type, now_ms):
                transaction.add_outbox([again])

    def settle(self, transaction: ParticipantTransaction, ticket: Ticket, reply: Event, now_ms: int) -> bool:
        """Give the definite answer to a do that was in progress. False when it is answered or undone already.

        Raises HandlerError for one that its saga could not read, that its command does not declare or that is for
        another key.
        """
        row = transaction.recall(ticket.instance_id, ticket.step, "do")
        if row is None or row.answer or row.is_blocked:
            return False
        command_id = derived_id(ticket.instance_id, ticket.step, "do")
        key, data = definite(row, reply, self.participant, self._handlers)
        headers = reply_headers(ticket.instance_id, ticket.step, "do", command_id)
        answer = fresh_answer(self.participant, reply, data, answer_id(command_id), key, headers, now_ms)
        settled = msgspec.structs.replace(
            row, answer=answer.event_type, answer_data=answer.payload, is_refusal=isinstance(reply, Rejection)
        )
        transaction.amend(settled, now_ms)
        transaction.add_outbox([answer])
        return True

    # ----------------------------------------------------------------- handlers

    def _register(self, function: H, operation: Operation, nothing: Callable[[Any], Event] | None) -> H:
        handler = read_handler(function, self.participant.key, operation, nothing)
        tag = tag_of(handler.command_type)
        if tag in self._handlers:
            raise HandlerError(f"participant {self.participant.name!r} has two handlers for {tag!r}; keep one")
        self._handlers[tag] = handler
        self._refusals |= refusals_of(handler.command_type)
        return function

    # ----------------------------------------------------------------- the barrier

    def _pass(self, transaction: ParticipantTransaction, incoming: Incoming, delivery: Delivery, now_ms: int) -> None:
        claim = delivery.claim
        known = transaction.recall(claim.instance_id, claim.step, claim.operation)
        is_forgotten = known is None and may_be_forgotten(transaction, claim, _latest(incoming, now_ms))
        is_late = 0 < claim.deadline_ms < now_ms
        match barrier.meet(known, delivery.body_hash, is_late=is_late, is_forgotten=is_forgotten):
            case "carry out":
                self._carry_out(transaction, delivery, now_ms)
            case "answer again":
                assert known is not None
                transaction.add_outbox([self._remembered(claim, known, now_ms)])
            case "in progress":
                transaction.add_outbox([self._say(claim, InProgress(), now_ms)])
            case "blocked":
                _log.info("%s of %s came after its undo: not done", claim.step, claim.instance_id)
            case "other body":
                whose = f"{claim.step} {claim.operation} of {claim.instance_id}"
                self._bury(transaction, incoming, f"{whose}: same id as before, another body", now_ms)
            case "forgotten":
                self._refuse(transaction, incoming, Unreadable(FORGOTTEN, claim), now_ms)
            case "too late":
                reason = f"it came {now_ms - claim.deadline_ms} ms after its deadline: nothing was done"
                self._refuse_for_good(transaction, claim, reason, now_ms)

    def _refuse(
        self, transaction: ParticipantTransaction, incoming: Incoming, unreadable: Unreadable, now_ms: int
    ) -> None:
        """Keep what cannot be carried out as a dead letter, and answer its saga, so that it need not wait."""
        claim = unreadable.claim
        known = transaction.recall(claim.instance_id, claim.step, claim.operation) if claim is not None else None
        latest_ms = _latest(incoming, now_ms)
        is_forgotten = claim is not None and claim.operation == "do" and may_be_forgotten(transaction, claim, latest_ms)
        answered = barrier.refuse(known, is_forgotten=is_forgotten)
        if claim is not None and known is not None and answered == "answer again":
            transaction.add_outbox([self._remembered(claim, known, now_ms)])
            return
        self._bury(transaction, incoming, unreadable.reason, now_ms)
        if claim is None or answered == "keep silent":
            return
        self._refuse_for_good(transaction, claim, unreadable.reason, now_ms)

    def _refuse_for_good(self, transaction: ParticipantTransaction, claim: Claim, reason: str, now_ms: int) -> None:
        """Answer that nothing was done, and remember it where the saga turns back on that."""
        answer = self._say(claim, Undeliverable(reason=plain(reason)), now_ms)
        transaction.add_outbox([answer])
        if claim.is_final:
            transaction.remember(memory_of(claim, answer, is_refusal=True), now_ms)

    def _bury(self, transaction: ParticipantTransaction, incoming: Incoming, reason: str, now_ms: int) -> None:
        letter, notice = dead_letter(
            incoming, reason, now_ms, read_by=self.participant.name, key_field=self.participant.key
        )
        # A delivery that is repeated after a crash is the same dead letter, not another.
        if transaction.processed(notice.id, notice.event_type, now_ms):
            _log.warning(
                "dead letter from %s/%d at %d: %s", incoming.topic, incoming.partition, incoming.offset, letter.reason
            )
            transaction.add_dead_letters([letter])
            transaction.add_outbox([notice])

    def _carry_out(self, transaction: ParticipantTransaction, delivery: Delivery, now_ms: int) -> None:
        claim = delivery.claim
        is_there = claim.operation == "do" or self._is_there_something(transaction, claim, now_ms)
        if is_there:
            reply, data = carried_out(transaction, delivery, self.participant.key)
        else:
            reply, data = nothing_to_undo(delivery, self.participant.key)
        answer = self._reply(claim, reply, data, now_ms)
        transaction.add_outbox([answer])
        if type(reply) is Fault or isinstance(reply, CannotUndo):
            return  # a state of affairs: asked once more, the handler looks once more
        if not is_there:
            # Inserted only if it was never seen: from now on its do is not carried out any more.
            block = BarrierRow(
                instance_id=claim.instance_id, step=claim.step, operation="do", command_hash=b"", is_blocked=True
            )
            transaction.remember(block, now_ms)
        if type(reply) is InProgress:
            memory = begun(delivery)
        else:
            is_refusal = isinstance(reply, Rejection)
            memory = memory_of(claim, answer, command_hash=delivery.body_hash, is_refusal=is_refusal)
        inserted = transaction.remember(memory, now_ms)
        # Within one write transaction nobody else can have inserted it since it was looked up.
        assert inserted, f"{claim.step} {claim.operation} of {claim.instance_id} was remembered meanwhile"
        # The barrier has said that it is new.
        transaction.note(claim.command_id, tag_of(type(delivery.command)), now_ms)

    def _is_there_something(self, transaction: ParticipantTransaction, claim: Claim, now_ms: int) -> bool:
        """Whether an undo's do took effect, or may have. One that is in progress is not settled any more."""
        do = transaction.recall(claim.instance_id, claim.step, "do")
        is_refused = do is not None and self._is_refusal(do)
        undoing = barrier.something_to_undo(do, is_refused)
        if undoing == "take back what is in progress":
            assert do is not None
            # settle() must not answer it any more.
            transaction.amend(msgspec.structs.replace(do, is_blocked=True), now_ms)
        return undoing.startswith("take back")

    def _is_refusal(self, known: BarrierRow) -> bool:
        if known.is_refusal is not None:
            return known.is_refusal
        # A release that did not write it down has remembered it: then what is called a refusal today has to do.
        return known.answer in self._refusals

    # ----------------------------------------------------------------- answers

    def _say(self, claim: Claim, word: Event, now_ms: int) -> OutboxRow:
        """A word of the kit's own."""
        return self._reply(claim, word, encode_data(word, self.participant.key), now_ms)

    def _reply(self, claim: Claim, reply: Event, data: bytes, now_ms: int) -> OutboxRow:
        # A definite answer has one id for ever, so that its repeats are recognised; the others have one an attempt.
        message_id, headers = answer_id(claim.command_id), claim_headers(claim)
        is_of_now = type(reply) in _OF_THE_KIT or isinstance(reply, CannotUndo)
        if is_of_now and not (claim.is_final and isinstance(reply, Undeliverable)):
            message_id = derived_id(claim.command_id, tag_of(type(reply)), claim.attempt)
            headers[Header.ATTEMPT] = claim.attempt
        return fresh_answer(self.participant, reply, data, message_id, claim.key, headers, now_ms)

    def _remembered(self, claim: Claim, known: BarrierRow, now_ms: int) -> OutboxRow:
        message_id = answer_id(claim.command_id)
        headers = claim_headers(claim)
        return answer_row(self.participant, message_id, known.answer, known.answer_data, claim.key, headers, now_ms)


def _latest(incoming: Incoming, now_ms: int) -> int:
    return max(now_ms, incoming.timestamp_ms)
