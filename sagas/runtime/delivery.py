"""Understanding a command: whose operation it is, what carries it out, or why it cannot be read.

The headers say whose it is and the payload what is asked. Each can be unreadable without the other: a
command whose body nobody can read still has a saga that waits for its answer.
"""

import logging
import re
from collections.abc import Iterable, Mapping
from itertools import repeat
from typing import Any

import msgspec

from sagas.core.drafts import is_step_name
from sagas.core.envelope import Envelope, Header, Undecodable, decode_data, decode_envelope
from sagas.core.hashing import short_hash
from sagas.core.ids import derived_id, is_instance_id, time_of
from sagas.core.instance import Operation
from sagas.core.messages import Command, tag_of
from sagas.core.participants import Participant
from sagas.ports import BarrierRow, Incoming, OperationKey, OutboxRow, ParticipantTransaction
from sagas.runtime.handlers import Handler

RETRIABLE = "retriable"
"""The value of the header `kind`."""

_log = logging.getLogger("sagas.participant")

_UNIX_MS = re.compile(r"\A[0-9]{0,15}\Z")
CLOCKS_APART_MS = 24 * 3600 * 1000
"""By how much the clocks of a participant and an orchestrator may differ, and then some."""

FORGOTTEN = (
    "nothing is remembered of it, and it is older than what is remembered here (SAGAS_BARRIER_DAYS): "
    "whether it was done is not known"
)
"""Why an operation is neither carried out nor said to be undone."""

_SAID = (
    Header.INSTANCE,
    Header.STEP,
    Header.OPERATION,
    Header.ATTEMPT,
    Header.KIND,
    Header.DEADLINE,
    Header.SINCE,
)
"""What the headers of a command may say."""

_OPERATIONS: Mapping[str, Operation] = {"do": "do", "undo": "undo"}

REGISTERED_BY: Mapping[Operation, str] = {"do": "handles", "undo": "undoes"}
"""Which decorator of a service is for a command's handler."""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """Whose operation a message says it is for. `key` chooses the partition of the answers to it.

    `is_final`: refusing it settles it, for its saga turns back. An undo, or a step behind the point of no
    return, is asked for again after a repair. After `deadline_ms` (Unix time, 0: never) it is too late for it.
    `since` is what the header of that name says, "" for nothing; `envelope` is what could be read of the message.
    """

    command_id: str
    instance_id: str
    step: str
    operation: Operation
    attempt: str
    key: str
    is_final: bool
    deadline_ms: int
    since: str
    envelope: Envelope | None

    @property
    def since_ms(self) -> int:
        """When the step's command was sent first, or earlier: an older orchestrator does not say it."""
        if self.since:
            return int(self.since)
        if self.operation == "do" and self.attempt == "1" and self.envelope is not None:
            return self.envelope.timestamp_ms
        return time_of(self.instance_id)


class Delivery(msgspec.Struct, frozen=True):
    """A command as it was understood, with what carries it out."""

    claim: Claim
    command: Command[Any]
    handler: Handler
    body_hash: bytes


class Unreadable(msgspec.Struct, frozen=True):
    """A command that cannot be carried out, why, and whose it is if that can be known."""

    reason: str
    claim: Claim | None


def asked_of(deliveries: Iterable[Delivery | Unreadable]) -> list[OperationKey]:
    """The operations that the barrier is going to be asked of."""
    operations: list[OperationKey] = []
    for delivery in deliveries:
        claim = delivery.claim
        if claim is not None:
            operations.append((claim.instance_id, claim.step, claim.operation))
            if claim.operation == "undo":
                operations.append((claim.instance_id, claim.step, "do"))
    return operations


def memory_of(claim: Claim, answer: OutboxRow, *, command_hash: bytes = b"", is_refusal: bool) -> BarrierRow:
    """What is to be remembered of the operation of `claim`, which is answered."""
    return BarrierRow(
        instance_id=claim.instance_id,
        step=claim.step,
        operation=claim.operation,
        command_hash=command_hash,
        answer=answer.event_type,
        answer_data=answer.payload,
        is_refusal=is_refusal,
    )


def begun(delivery: Delivery) -> BarrierRow:
    """What is to be remembered of an operation in progress: in place of its answer, what has to be answered."""
    claim = delivery.claim
    return BarrierRow(
        instance_id=claim.instance_id,
        step=claim.step,
        operation=claim.operation,
        command_hash=delivery.body_hash,
        answer_data=msgspec.json.encode((tag_of(delivery.handler.command_type), claim.key)),
    )


def begun_by(row: BarrierRow) -> tuple[str, str] | None:
    """The type of the command that an operation in progress has to answer, and its key; None: it was not kept."""
    return msgspec.json.decode(row.answer_data, type=tuple[str, str]) if row.answer_data else None


def may_be_forgotten(transaction: ParticipantTransaction, claim: Claim, latest_ms: int) -> bool:
    """Whether nothing is remembered of an operation, perhaps because it was cleaned away.

    `latest_ms` is the later one of what the clocks here and of the broker say.
    """
    forgotten_ms = transaction.forgotten_ms
    if forgotten_ms > latest_ms - CLOCKS_APART_MS:
        # Everything is remembered for a day at least: a clock that was ahead has cleaned. What it took had been touched
        # before now; what is asked for from now on is not among it.
        forgotten_ms = latest_ms - CLOCKS_APART_MS
        _log.error("a clock that was ahead has cleaned the barrier: what was asked before now may be forgotten")
        transaction.correct_forgotten(forgotten_ms)
    if not forgotten_ms or claim.since_ms >= forgotten_ms + CLOCKS_APART_MS:
        return False
    # An undo whose do is remembered has something to go by.
    operations: tuple[Operation, ...] = ("do",) if claim.operation == "do" else ("do", "undo")
    return all(transaction.recall(claim.instance_id, claim.step, operation) is None for operation in operations)


def read_claim(incoming: Incoming, key_field: str) -> Claim | str:
    """Whose operation the headers say it is, or in words why they do not say it."""
    if incoming.defect:
        return incoming.defect
    envelope = decode_envelope(incoming.payload, key_field)
    return _claim(incoming, envelope)


def understand(incoming: Incoming, participant: Participant, handlers: Mapping[str, Handler]) -> Delivery | Unreadable:
    """The command in `incoming`. Never raises for what is in a message."""
    if incoming.defect:
        return Unreadable(incoming.defect, None)
    envelope = decode_envelope(incoming.payload, participant.key)
    claim = _claim(incoming, envelope)
    if not isinstance(envelope, Envelope):
        return Unreadable(envelope.reason, claim if isinstance(claim, Claim) else None)
    handler = handlers.get(envelope.event_type)
    if handler is None:
        reason = f"{participant.name} does not understand {envelope.event_type!r}, only {', '.join(sorted(handlers))}"
        return Unreadable(reason, claim if isinstance(claim, Claim) else None)
    if not isinstance(claim, Claim):
        return Unreadable(claim, None)
    if claim.operation != handler.operation:
        said = f"header {Header.OPERATION} is {claim.operation!r}, its handler is for {handler.operation!r}"
        remedy = f"register it with `@{participant.name}.{REGISTERED_BY[claim.operation]}`"
        return Unreadable(f"{said}: {remedy}", claim)
    command = decode_data(handler.command_type, participant.key, envelope.key, envelope.data)
    if isinstance(command, Undecodable):
        return Unreadable(command.reason, claim)
    return Delivery(claim, command, handler, short_hash(envelope.data))


def _claim(incoming: Incoming, envelope: Envelope | Undecodable) -> Claim | str:
    instance_id, step, said, attempt, kind, deadline, since = map(incoming.headers.get, _SAID, repeat(""))
    readable = envelope if isinstance(envelope, Envelope) else None
    if not instance_id or not step:
        return f"no headers {Header.INSTANCE} and {Header.STEP}: whose command is it?"
    operation = _OPERATIONS.get(said)
    if operation is None:
        return f"header {Header.OPERATION} is {said!r}, expected do or undo"
    if not is_step_name(step):
        return f"header {Header.STEP} is no step's name: {step[:64]!r}"
    if not is_instance_id(instance_id):
        return f"header {Header.INSTANCE} is no instance id: {instance_id[:64]!r}"
    if deadline or since:
        for name, value in ((Header.DEADLINE, deadline), (Header.SINCE, since)):
            if not _UNIX_MS.match(value):
                return f"header {name} is no Unix time in ms: {value[:64]!r}"
    can_turn_back = operation == "do" and kind != RETRIABLE
    return Claim(
        command_id=derived_id(instance_id, step, operation),
        instance_id=instance_id,
        step=step,
        operation=operation,
        attempt=attempt,
        # Without a readable key the answer goes by the instance's id: to some partition, which is enough.
        key=(readable.key if readable is not None else "") or instance_id,
        is_final=can_turn_back,
        # An undo, and what stands behind the pivot, is waited for, whatever a header says.
        deadline_ms=int(deadline) if deadline and can_turn_back else 0,
        since=since,
        envelope=readable,
    )


def claim_headers(claim: Claim) -> dict[str, str]:
    """The headers of an answer to the command of `claim`."""
    return reply_headers(claim.instance_id, claim.step, claim.operation, claim.command_id)


def reply_headers(instance_id: str, step: str, operation: Operation, command_id: str) -> dict[str, str]:
    """The headers of an answer."""
    return {Header.INSTANCE: instance_id, Header.STEP: step, Header.OPERATION: operation, Header.COMMAND: command_id}
